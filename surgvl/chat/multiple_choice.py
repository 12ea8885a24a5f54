"""Closed questions to a general model: lettered options, and a parser that reads which of them a reply declares.

The parser knows the given options only, and the last declaration wins. It never guesses: the article "a" and the
pronoun "I" are no letters of options, and a reply that names two options without choosing one is unparsed. (Parsers
differ: the same replies to LongVT scored 33 to 65 % by four of them; its issue 25.)
Shapes: A options.
"""

import json
import random
import re
import string
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from surgvl.chat.question import to_text
from surgvl.core.files import text_hash

_LETTERS = string.ascii_uppercase
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_ARTICLES = r"(?:(?:it\s+is|it's|this\s+is|there\s+is|the|an?)\s+)*"
_DECLARES = re.compile(
    r"\b(?:answer|option|choice|conclusion)\b(?:\s+(?:is|was|would\s+be|should\s+be|must\s+be)\b)?\s*[:=\-]*\s*"
    r"(?:option|choice|letter)?\s*",
    re.IGNORECASE,
)
# A negated option is not chosen: "no grasper", "not the hook", "isn't a hook".
_NEGATED = re.compile(r"(?:\b(?:no|not|nor|neither|without|never|rather\s+than)|n't)\s+(?:the\s+|an?\s+)?$")
_THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
_REFUSAL = re.compile(
    r"\b(?:i(?:'m|\s+am)\s+(?:sorry|unable|not\s+able)"
    r"|i\s+(?:can't|cannot|can\s+not|won't|will\s+not|must\s+decline)\s+"
    r"(?:assist|help|answer|provide|identify|analy[sz]e|comply|comment|view|process|discuss|fulfil|do)"
    r"|as\s+an\s+ai\b|against\s+(?:my|our)\s+(?:policy|policies|guidelines))",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Options:
    """The options of a closed question, in the order in which they are shown.

    Attributes:
        answers: A allowed answers as the data spell them.
    """

    answers: tuple[str, ...]

    @property
    def letters(self) -> bool:
        """Whether an option is declared by its letter; more than 26 are declared by their text."""
        return len(self.answers) <= len(_LETTERS)

    @property
    def labels(self) -> list[str]:
        """What declares each option: a letter, or its text."""
        return list(_LETTERS[: len(self.answers)]) if self.letters else [to_text(each) for each in self.answers]

    def of_label(self, label: str) -> str:
        """The answer that a label stands for; ValueError if there is none."""
        return self.answers[self.labels.index(label)]

    def prompt(self, question: str) -> str:
        """The question with its options, and how to answer."""
        if self.letters:
            rows = [f"{label}. {to_text(each)}" for label, each in zip(self.labels, self.answers, strict=True)]
            return "\n".join([question, *rows, "Answer with the letter of one option only."])
        return "\n".join([question, *map(to_text, self.answers), "Answer with one line of this list only."])


def ordered(answers: Sequence[str], shuffle: bool, seed: int, about: str) -> Options:
    """Options in the given order, or shuffled by the seed and what is asked about, whatever was asked before.

    Args:
        answers: A allowed answers.
        shuffle: whether to shuffle them.
        seed: of the shuffle.
        about: identifies the question, such as its text and its clip.
    """
    kept = list(answers)
    if shuffle:
        random.Random(int(text_hash(f"{seed} {about}"), 16)).shuffle(kept)
    return Options(tuple(kept))


def without_thought(reply: str) -> str:
    """A reply without the part in which a reasoning model thinks aloud, nor Markdown's stars."""
    return re.sub(r"[*`]+", "", unicodedata.normalize("NFKC", _THOUGHT.sub(" ", reply))).strip()


def is_refusal(reply: str) -> bool:
    """Whether a reply declines to answer, by the wording of its first 200 characters."""
    return bool(_REFUSAL.search(without_thought(reply).replace("’", "'")[:200]))


def parse_choice(reply: str, options: Options) -> str | None:
    """The option that a reply declares, as the data spell it; None if it declares none, or two.

    In this order: a JSON object's `answer`; the whole reply; the last declaration ("the answer is ..."); a letter or
    option that the reply begins with; the only option, or else the only letter, that it mentions.
    """
    text = without_thought(reply).replace("’", "'")
    if (said := _json_answer(text)) is not None:
        text = said
    reader = _Reader(options)
    bare = text.strip(" \t\n.,;:!()[]\"'")
    if (found := reader.whole(bare)) is not None:
        return found
    for declared in reversed(list(_DECLARES.finditer(text))):
        if (found := reader.start(text[declared.end() :])) is not None:
            return found
    if reader.begins_with_letter(text):
        return reader.start(text)
    return reader.begins_with_option(text) or reader.only_option(text) or reader.only_letter(text)


def _json_answer(text: str) -> str | None:
    found = re.search(r"\{.*\}", text, re.DOTALL)
    try:
        value = json.loads(found[0]) if found else None
    except ValueError:
        return None
    return str(value["answer"]) if isinstance(value, dict) and "answer" in value else None


class _Reader:
    """Finds letters and texts of options."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.letters = options.labels if options.letters else []
        self.spelt: dict[str, str] = {}
        for answer in options.answers:
            spelt = " ".join(to_text(answer).casefold().split())
            self.spelt.setdefault(spelt, answer)
            if spelt.isdigit() and int(spelt) < len(_NUMBERS):
                self.spelt.setdefault(_NUMBERS[int(spelt)], answer)
        # The longest first, so that `cystic duct` is not read as `duct`.
        texts = sorted(map(re.escape, self.spelt), key=len, reverse=True)
        self.text = re.compile(rf"(?<![\w-])(?:{'|'.join(texts)})(?![\w-])".replace(r"\ ", r"[\s_]+"), re.IGNORECASE)

    def _answer(self, said: str) -> str:
        return self.spelt[" ".join(to_text(said).casefold().split())]

    def whole(self, bare: str) -> str | None:
        """The option of a reply that is nothing else."""
        if bare.upper() in self.letters and bare.casefold() not in self.spelt:
            return self.options.of_label(bare.upper())
        return self.spelt.get(" ".join(to_text(bare).casefold().split()))

    def start(self, text: str) -> str | None:
        """The option at the start of what follows a declaration."""
        text = text.lstrip(" \t\n\"'")
        letter = re.match(r"[(\[]?([A-Z])(?:[)\].:,;]+|(?=\s|$))\s*", text) if self.letters else None
        if letter and letter[1] in self.letters:
            by_letter, rest = self.options.of_label(letter[1]), text[letter.end() :]
            after = self.text.match(rest)
            if after is None:
                # "A grasper-like tool": without a stop behind it, the letter is an article, or the pronoun I.
                word = letter[1] in "AI" and letter[0].strip() == letter[1] and re.match(r"[a-z]", rest)
                return None if word else by_letter
            by_text = self._answer(after[0])
            if by_text == by_letter:
                return by_letter
            # "A grasper" is a grasper, whatever option A is; "A. grasper" contradicts itself.
            return by_text if letter[1] == "A" and letter[0].strip() == "A" else None
        named = re.match(rf"{_ARTICLES}[\"']?", text, re.IGNORECASE)
        found = self.text.match(text, named.end() if named else 0) or self.text.match(text)
        return self._answer(found[0]) if found else None

    def begins_with_letter(self, text: str) -> bool:
        """Whether a reply begins with a letter, set off by a stop: "B. hook", "(B) ..."."""
        found = re.match(r"(?:\(([A-Z])\)|\[([A-Z])\]|([A-Z])[).:](?!\w))", text)
        return found is not None and any(letter in self.letters for letter in found.groups())

    def begins_with_option(self, text: str) -> str | None:
        """The option that a reply begins with, set off by a stop: "Hook. ...", "No, ..."."""
        if found := self.text.match(text):
            stop = text[found.end() : found.end() + 1]
            if stop in (".", ";", ":", "!", "\n") or (stop == "," and found[0].casefold() in ("yes", "no")):
                return self._answer(found[0])
        return None

    def only_option(self, text: str) -> str | None:
        """The only option whose text occurs, leaving out negated ones."""
        said = {self._answer(each[0]) for each in self.text.finditer(text) if not _negated(text, each)}
        return said.pop() if len(said) == 1 else None

    def only_letter(self, text: str) -> str | None:
        """The only capital letter that stands alone; not where an option's text occurs, and not as a word."""
        if self.text.search(text):
            return None
        said = {
            each[1]
            for each in re.finditer(r"(?<![\w'-])([A-Z])(?![\w'-])", text)
            if each[1] in self.letters
            and not (each[1] in "AI" and re.match(r"\s+(?!(?:or|and)\s+[A-Z]\b)[a-z]", text[each.end() :]))
        }
        return self.options.of_label(said.pop()) if len(said) == 1 else None


def _negated(text: str, found: re.Match[str]) -> bool:
    before = text[max(0, found.start() - 24) : found.start()].casefold()
    return found[0].casefold() not in ("yes", "no") and bool(_NEGATED.search(before))
