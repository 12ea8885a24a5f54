"""Made vectors with the structure of clip embeddings, and queries like sentences and clips, for `retrieval.py`.

Recordings of an hour, a clip a second. Scenes of about a minute come from 300 kinds that all recordings share; a
recording has a style, a scene drifts, and neighbouring seconds have a cosine of 0.97. All clips lie in one cone (the
median cosine of two is 0.5), and sentences in another (a sentence and its best clip have 0.2), as towers trained with
a contrastive loss embed them.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.signal import lfilter

PER_RECORDING = 3600
_LATENT, _KINDS = 96, 300


def unit(rows: Any) -> Any:
    """Rows of unit length, float32."""
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


class World:
    """Makes recordings and queries of one space.

    Args:
        dim: E.
        seed: same seed, same vectors.
    """

    def __init__(self, dim: int, seed: int = 0) -> None:
        self.dim, self._rng = dim, np.random.default_rng(seed)
        falling = np.arange(1, _LATENT + 1)[:, None] ** -0.35
        self._basis = unit(self._normal(_LATENT, dim)) * falling.astype(np.float32)
        self._kinds = self._normal(_KINDS, _LATENT)
        self._clip_cone, self._text_cone = unit(self._normal(dim)), unit(self._normal(dim))

    def _normal(self, *shape: int) -> Any:
        return self._rng.standard_normal(shape, dtype=np.float32)

    def recording(self, num: int) -> Any:
        """Unit vectors [num, E] of consecutive seconds."""
        drift = lfilter([0.312], [1, -0.95], self._normal(num, _LATENT), axis=0).astype(np.float32)
        latent = 0.5 * drift + 0.6 * self._normal(_LATENT)
        at = 0
        while at < num:
            until = at + int(self._rng.exponential(60)) + 5
            latent[at:until] += self._kinds[self._rng.integers(_KINDS)] + 0.5 * self._normal(_LATENT)
            at = until
        rows = latent @ self._basis
        rows /= np.sqrt((rows**2).sum(1).mean())
        return unit(rows + self._clip_cone + 0.25 / np.sqrt(self.dim) * self._normal(num, self.dim))

    def recordings(self, num: int) -> Iterator[Any]:
        """Recordings of an hour, `num` vectors in all; the last may be shorter."""
        for at in range(0, num, PER_RECORDING):
            yield self.recording(min(PER_RECORDING, num - at))

    def clips(self, num: int) -> Any:
        """Clips [num, E] of recordings outside of the index, five of each, a minute apart."""
        rows = np.concatenate([self.recording(300)[30::60] for _ in range((num + 4) // 5)])
        return rows[:num]

    def texts(self, num: int) -> Any:
        """Sentences [num, E] about scenes."""
        about = self._kinds[self._rng.integers(_KINDS, size=num)] + 0.7 * self._normal(num, _LATENT)
        rows = 0.6 * unit(about @ self._basis) + self._text_cone
        return unit(rows + 0.5 / np.sqrt(self.dim) * self._normal(num, self.dim))
