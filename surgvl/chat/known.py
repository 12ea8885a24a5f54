"""Questions that a model was tuned on, recognised whatever their case, blanks and final punctuation."""

import unicodedata
from collections.abc import Iterable


def plain(text: str) -> str:
    """A question without what does not tell two of them apart: case, width of letters, blanks, final punctuation."""
    text = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    while text and (text[-1] == " " or unicodedata.category(text[-1]).startswith("P")):
        text = text[:-1]
    return text


def find_known(question: str, known: Iterable[str]) -> str | None:
    """The known question that this one is, as the model learnt it; None where it is none of them.

    Args:
        question: as a person typed it.
        known: questions; one that is spelt alike comes before those that are alike but for their spelling.
    """
    known = list(known)
    if question in known:
        return question
    wanted = plain(question)
    return next((text for text in known if plain(text) == wanted), None) if wanted else None
