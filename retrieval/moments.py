"""What a search finds: moments with their scores, and how these are written."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from surgvl.retrieval.base import DECIMALS
from surgvl.retrieval.reference import word_for


@dataclass(frozen=True)
class Moment:
    """A span of a video, in seconds of the source file, with the best score of its clips.

    `odds`: one in how many random pairs of clips is as much alike (`reference.Reference.odds`); 0 where it is unknown.
    `is_foreign`: whether the recording is unlike what the model knows, as an archive finds out.
    """

    video_id: str
    path: str
    start_s: float
    end_s: float
    score: float
    procedure: str
    source: str
    odds: int = 0
    is_foreign: bool = False

    @property
    def word(self) -> str:
        """The odds in a word: `strong`, `maybe` or `weak`; empty where they are unknown.

        In a foreign recording `maybe` is the most: there the model finds moments alike that are not.
        """
        word = word_for(self.odds)
        return "maybe" if self.is_foreign and word == "strong" else word


class SearchResults(list[Moment]):
    """Moments, best first.

    Attributes:
        remark: one line if the scores mean little (see `reference`); empty otherwise.
    """

    def __init__(self, moments: Iterable[Moment] = (), remark: str = "") -> None:
        super().__init__(moments)
        self.remark = remark


def score_texts(scores: Sequence[float], least: int = 3) -> list[str]:
    """Scores with just enough decimals, `least` to six, to tell different ones apart."""
    different = len({round(score, DECIMALS) for score in scores})
    texts = [""] * len(scores)
    for decimals in range(least, DECIMALS + 1):
        texts = [f"{score:.{decimals}f}" for score in scores]
        if len(set(texts)) == different:
            break
    return texts


def looks_like_a_file(query: str) -> bool:
    """Whether a query looks like a file name rather than a sentence: `clip9.mp4`, `/films/one`, `./one`."""
    return (
        re.fullmatch(r"(\.{0,2}|~)/.*|.*\S\.[a-z]\w{1,3}", query.strip(), re.IGNORECASE | re.ASCII | re.DOTALL)
        is not None
    )
