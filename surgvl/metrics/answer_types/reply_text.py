"""What a model's reply declares: its text without thought, a JSON object's answer, and "the answer is ...".

The last declaration wins, because a model that reasons states several.
"""

import json
import re
import unicodedata

DECLARES = re.compile(
    r"\b(?:answer|option|choice|conclusion)\b(?:\s+(?:is|was|would\s+be|should\s+be|must\s+be)\b)?\s*[:=\-]*\s*"
    r"(?:option|choice|letter)?\s*",
    re.IGNORECASE,
)
_END, _CLAUSE = re.compile(r"[.;!?](?=\s|$)"), re.compile(r",\s+(?!(?:or|and)\b)(?=[A-Za-z])", re.IGNORECASE)
# What is negated is not declared: "no grasper", "not the hook", "isn't a hook".
_NEGATED = re.compile(r"(?:\b(?:no|not|nor|neither|without|never|rather\s+than)|n't)\s+(?:the\s+|an?\s+)?$")
_THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
_REFUSAL = re.compile(
    r"\b(?:i(?:'m|\s+am)\s+(?:sorry|unable|not\s+able)"
    r"|i\s+(?:can't|cannot|can\s+not|won't|will\s+not|must\s+decline)\s+"
    r"(?:assist|help|answer|provide|identify|analy[sz]e|comply|comment|view|process|discuss|fulfil|do)"
    r"|as\s+an\s+ai\b|against\s+(?:my|our)\s+(?:policy|policies|guidelines))",
    re.IGNORECASE,
)


def without_thought(reply: str) -> str:
    """A reply without the part in which a reasoning model thinks aloud, nor Markdown's stars."""
    return re.sub(r"[*`]+", "", unicodedata.normalize("NFKC", _THOUGHT.sub(" ", reply))).strip()


def is_refusal(reply: str) -> bool:
    """Whether a reply declines to answer, by the wording of its first 200 characters."""
    return bool(_REFUSAL.search(without_thought(reply).replace("’", "'")[:200]))


def answer_text(reply: str) -> str:
    """A reply without thought, or the `answer` of the JSON object in it: empty if that is null."""
    text = without_thought(reply).replace("’", "'")
    found = re.search(r"\{.*\}", text, re.DOTALL)
    try:
        value = json.loads(found[0]) if found else None
    except ValueError:
        return text
    if not isinstance(value, dict) or "answer" not in value:
        return text
    said = value["answer"]
    if said is None:
        return ""
    return ", ".join(map(str, said)) if isinstance(said, list) else str(said)


def declarations(text: str, clauses: bool = True) -> list[str]:
    """What follows each declaration, the last first: to the end of its clause, sentence and line; else the whole text.

    Args:
        text: of a reply.
        clauses: whether a comma may end an answer ("3, since two are hidden").
    """
    found = []
    for each in reversed(list(DECLARES.finditer(text))):
        line = text[each.end() :].partition("\n")[0]
        sentence = _END.split(line)[0]
        found += [*([_CLAUSE.split(sentence)[0]] if clauses else []), sentence, line]
    return [each for each in dict.fromkeys(found) if each.strip()] or [text]


def is_negated(text: str, found: re.Match[str]) -> bool:
    """Whether a word that was found in a text is negated there."""
    before = text[max(0, found.start() - 24) : found.start()].casefold()
    return found[0].casefold() not in ("yes", "no") and bool(_NEGATED.search(before))
