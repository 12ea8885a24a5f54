"""Reference scores among the clips of an index, by which a query's scores are judged.

They come from a sample of the clips, so the cost does not grow with the index; queries are compared with the same
sample. Shapes: S clips of the sample, E width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from surgvl.core.arrays import Float32Array

# Clips in the sample: 2,000 give a 5 % quantile and a standard deviation to a few percent.
SAMPLE = 2000
# Fewer clips give no useful standard deviation.
_LEAST = 20
# A query is suspect if its scores' standard deviation is below this fraction of that of random pairs. On phantom videos
# sentences about what is on screen reach 0.54 to 0.87, and one about something else 0.40.
_SHARE = 0.5
# Scores with a smaller standard deviation agree to three decimals, whatever random pairs do.
_SAME = 0.0005
# A clip is an outlier if its nearest clip of another recording scores below this quantile. At 5 %, 0 to 16 % of the
# clips of a held-out phantom video are outliers, and 44 to 100 % of those of nine out of eleven real ones.
_OUTSIDE = 0.05


# Words for scores, from the rarest: as much alike as one in so many random pairs.
STRONG, MAYBE = 100, 20


def word_for(odds: int) -> str:
    """`strong`, `maybe` or `weak`; empty where the odds are unknown."""
    if odds <= 0:
        return ""
    return "strong" if odds >= STRONG else "maybe" if odds >= MAYBE else "weak"


@dataclass(frozen=True)
class Reference:
    """A sample of an index.

    Attributes:
        vectors: float32 [S, E], unit vectors.
        spread: standard deviation of the cosines of random pairs; 0 with too few clips.
        near: 5 % quantile of the cosine with the nearest clip of another recording; -1 with too few clips.
        deviations: float32 [P], ascending: by how many standard deviations of a clip's cosines with all others its
            cosine with a random clip of another recording exceeds their mean; empty with too few clips.
    """

    vectors: Float32Array
    spread: float
    near: float
    deviations: Float32Array

    @classmethod
    def of(cls, vectors: Float32Array, videos: Sequence[str]) -> Self:
        """Compute the reference of a sample.

        Args:
            vectors: unit vectors [S, E].
            videos: [S], the recording of each.
        """
        none = np.zeros(0, np.float32)
        if len(vectors) < _LEAST:
            return cls(vectors, 0.0, -1.0, none)
        cosines = vectors @ vectors.T
        spread = float(cosines[~np.eye(len(vectors), dtype=bool)].std())
        names = np.unique(np.asarray(videos, np.str_), return_inverse=True)[1]
        if not names.any():
            return cls(vectors, spread, -1.0, none)
        foreign = names[:, None] != names[None]
        deviations = (cosines - cosines.mean(1, keepdims=True)) / np.maximum(cosines.std(1, keepdims=True), _SAME)
        nearest = np.where(foreign, cosines, -1).max(1)
        return cls(vectors, spread, float(np.quantile(nearest, _OUTSIDE)), np.sort(deviations[foreign]))

    def odds(self, query: Float32Array, scores: ArrayLike) -> list[int]:
        """How rare scores are: 900 if one in 900 random pairs of clips of two recordings is as much alike.

        A score counts by its distance from the mean of the query's scores in their standard deviations, because
        sentences and clips score in different ranges; a query whose scores hardly differ counts by the deviation that
        makes it suspect (see `remark`). 0 with too few clips.

        Args:
            query: unit vector [E].
            scores: [H] of hits.
        """
        values = np.atleast_1d(np.asarray(scores, np.float64))
        if not len(self.deviations):
            return [0] * len(values)
        found = self.vectors @ query
        deviations = (values - found.mean()) / max(float(found.std()), _SHARE * self.spread, _SAME)
        rarer = len(self.deviations) - np.searchsorted(self.deviations, deviations.astype(np.float32))
        return [int(number) for number in np.round(len(self.deviations) / np.maximum(rarer, 1))]

    def remark(self, query: Float32Array, is_foreign_clip: bool = False) -> str:
        """One line if the scores of a query mean little; empty otherwise.

        Args:
            query: unit vector [E].
            is_foreign_clip: the query is a clip of a recording outside the index.
        """
        if len(self.vectors) < _LEAST:
            return ""
        scores = self.vectors @ query
        if scores.std() < max(_SHARE * self.spread, _SAME):
            return (
                f"The query hardly separates the clips of this index, so there may be no match: its scores have a "
                f"standard deviation of {scores.std():.4f}, random pairs of clips {self.spread:.4f}."
            )
        if is_foreign_clip and scores.max() < self.near:
            return (
                f"The clip is unlike the recordings of this index: its nearest clip in a sample scores "
                f"{scores.max():.3f}, while 19 of 20 clips have one in another recording at {self.near:.3f} or above."
            )
        return ""
