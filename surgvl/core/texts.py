"""Checks of texts that people pass from Python and on the command line."""

from collections.abc import Sequence

from surgvl.core.errors import DataError

MAX_CHARACTERS = 300
"""Longest question; the page has the same limit."""


def text_list(given: str | Sequence[str], what: str) -> list[str]:
    """Texts as a list; a single text is a list of one, not of its letters.

    Raises:
        DataError: one of them is not a string.
    """
    texts = [given] if isinstance(given, str) else list(given)
    if odd := [each for each in texts if not isinstance(each, str)]:
        raise DataError(f"{what} must be strings, got {str(odd[0])[:40]!r}: give a list of strings")
    return texts


def check_question(question: str) -> str:
    """The question, unchanged.

    Raises:
        DataError: not a string, empty, or too long.
    """
    if not isinstance(question, str) or not question.strip():
        raise DataError(f"the question must be a text, got {str(question)[:40]!r}: ask in plain language")
    if len(question) > MAX_CHARACTERS:
        raise DataError(f"the question must have at most {MAX_CHARACTERS} characters, got {len(question)}: shorten it")
    return question
