"""Texts as people give them from Python and on the command line."""

from collections.abc import Sequence

from surgvl.core.errors import DataError

# Of a question; the page reads no more either.
MAX_CHARACTERS = 300


def words(given: str | Sequence[str], what: str) -> list[str]:
    """Texts as a list; a single one is a list of one, never its letters.

    Raises:
        DataError: something among them is no text.
    """
    texts = [given] if isinstance(given, str) else list(given)
    if odd := [each for each in texts if not isinstance(each, str)]:
        raise DataError(f"{what} hold {str(odd[0])[:40]!r}, which is no text: give a list of texts")
    return texts


def short(question: str) -> str:
    """A question as it came.

    Raises:
        DataError: no text, or one that is too long to be a question.
    """
    if not isinstance(question, str) or not question.strip():
        raise DataError(f"the question {str(question)[:40]!r} is no text: ask in plain language")
    if len(question) > MAX_CHARACTERS:
        raise DataError(f"the question has {len(question)} characters; up to {MAX_CHARACTERS} are read: shorten it")
    return question
