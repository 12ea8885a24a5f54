"""One of the options of a closed question, and a parser that reads which of them a reply declares.

The parser knows the given options only, and the last declaration wins. It never guesses: the article "a" and the
pronoun "I" are not letters of options, and a reply that names two options without choosing one is unparsed. (Parsers
differ: the same replies to LongVT scored 33 to 65 % by four of them; its issue 25.)
Shapes: A options.
"""

import re
from collections.abc import Sequence
from typing import ClassVar

from surgvl.metrics.answer import to_text
from surgvl.metrics.answer_types.base import AnswerType
from surgvl.metrics.answer_types.options import Options
from surgvl.metrics.answer_types.reply_text import DECLARES, answer_text, is_negated

_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_ARTICLES = r"(?:(?:it\s+is|it's|this\s+is|there\s+is|the|an?)\s+)*"


class Choice(AnswerType):
    """One of the options, letter for letter as the data spell it."""

    name: ClassVar[str] = "choice"
    takes_options: ClassVar[bool] = True

    def instruction(self, options: Options) -> str:
        """How to declare an option."""
        if options.letters:
            return "Answer with the letter of one option only."
        return "Answer with one line of this list only."

    def read(self, reply: str, options: Sequence[str] = ()) -> str | None:
        """The declared option."""
        return parse_choice(reply, Options.of(options))


def parse_choice(reply: str, options: Options) -> str | None:
    """The option that a reply declares, as the data spell it; None if it declares none, or two.

    In this order: a JSON object's `answer`; the whole reply; the last declaration ("the answer is ..."); a letter or
    option that the reply begins with; the only option, or else the only letter, that it mentions.
    """
    text = answer_text(reply)
    reader = _Reader(options)
    bare = text.strip(" \t\n.,;:!()[]\"'")
    if (found := reader.whole(bare)) is not None:
        return found
    for declared in reversed(list(DECLARES.finditer(text))):
        if (found := reader.start(text[declared.end() :])) is not None:
            return found
    if reader.begins_with_letter(text):
        return reader.start(text)
    return reader.begins_with_option(text) or reader.only_option(text) or reader.only_letter(text)


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
        said = {self._answer(each[0]) for each in self.text.finditer(text) if not is_negated(text, each)}
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
