"""What the clips of an index score with one another, which is what a query's scores are judged by.

A sample of the clips stands for the index, so that this costs the same for any size; a query is held against the same
sample. Shapes: S clips of the sample, E width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from surgvl.core.arrays import Float32Array

# Clips of the sample: 2,000 give a twentieth and a standard deviation to some percent.
SAMPLE = 2000
# Fewer say nothing about a spread.
_LEAST = 20
# A query's scores spread at least this share of what random pairs do. On phantom videos sentences about what is on
# screen reach 0.54 to 0.87, and one about something else 0.40.
_SHARE = 0.5
# Scores that spread less are the same in the third decimal, whatever random pairs do.
_SAME = 0.0005
# Clips nearer to another recording than the lowest of these shares count as of the index's kind. With a twentieth, 0
# to 16 % of the clips of a held-out phantom video lie outside, and 44 to 100 % of those of nine of eleven real ones.
_OUTSIDE = 0.05


@dataclass(frozen=True)
class Reference:
    """A sample of an index.

    Attributes:
        vectors: float32 [S, E], unit vectors.
        spread: standard deviation of the cosines of random pairs; 0 where there are too few clips to tell.
        near: cosine with the nearest clip of another recording that all but a twentieth of the clips have; -1 where
            there are too few to tell.
    """

    vectors: Float32Array
    spread: float
    near: float

    @classmethod
    def of(cls, vectors: Float32Array, videos: Sequence[str]) -> Self:
        """Measure a sample.

        Args:
            vectors: unit vectors [S, E].
            videos: [S], the recording of each.
        """
        if len(vectors) < _LEAST:
            return cls(vectors, 0.0, -1.0)
        cosines = vectors @ vectors.T
        spread = float(cosines[~np.eye(len(vectors), dtype=bool)].std())
        names = np.unique(np.asarray(videos, np.str_), return_inverse=True)[1]
        cosines[names[:, None] == names[None]] = -1
        nearest = cosines.max(1)
        return cls(vectors, spread, float(np.quantile(nearest, _OUTSIDE)) if names.any() else -1.0)

    def remark(self, query: Float32Array, is_foreign_clip: bool = False) -> str:
        """One line where the scores of a query say little; empty where they can be relied on.

        Args:
            query: unit vector [E].
            is_foreign_clip: it is a clip of a recording that is not in the index.
        """
        if len(self.vectors) < _LEAST:
            return ""
        scores = self.vectors @ query
        if scores.std() < max(_SHARE * self.spread, _SAME):
            return (
                f"the query hardly separates the clips of this index: its scores spread {scores.std():.4f} (standard "
                f"deviation), those of random pairs of clips {self.spread:.4f}; nothing here may be what it asks for"
            )
        if is_foreign_clip and scores.max() < self.near:
            return (
                f"the clip is unlike the recordings of this index: its nearest clip in a sample of them scores "
                f"{scores.max():.3f}, and 19 of 20 clips have one of another recording at {self.near:.3f} or above"
            )
        return ""
