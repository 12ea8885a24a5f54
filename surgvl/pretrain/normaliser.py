"""Normalisation of teacher features, so that no teacher dominates by the scale of its features.

- `running`: zero mean and unit deviation per channel, from running moments, as in UNIC (arXiv 2408.05088);
- `phi_s`: features rotated so that all channels have the same variance, divided by one scalar, as in PHI-S
  (arXiv 2410.01680): y = H U^T (x - mean) / sqrt(mean eigenvalue), U the eigenvectors of the covariance, H a normalised
  Hadamard matrix. Sign and order of eigenvectors are arbitrary, so a new estimate would change the targets: as in
  AM-RADIO, all is estimated from a sample, here the features of the first updates, and frozen;
- `none`.

Moments are buffers, averaged over devices and saved in checkpoints. Shapes: E channels.
"""

import contextlib

import torch
import torch.distributed as dist
from torch import Tensor, nn

from surgvl.core.errors import ConfigError

KINDS = ("phi_s", "running", "none")
EPS = 1e-3


def hadamard(num: int) -> Tensor:
    """Normalised Hadamard matrix, float64 [num, num]: orthogonal, all entries of equal magnitude.

    Sylvester's doubling of Paley's first construction, which covers the usual widths (384, 768, 1024, 1152, 1280, 1408,
    1536): num = 2^k (q + 1) with a prime q = 3 mod 4, or num = 2^k.

    Raises:
        ConfigError: this construction has no such matrix.
    """
    doublings, core = 0, num
    while core > 1:
        if _paley(core - 1):
            break
        if core % 2:
            raise ConfigError(f"no Hadamard matrix is known for {num} channels: choose the normaliser `running`")
        doublings, core = doublings + 1, core // 2
    matrix = torch.ones(1, 1, dtype=torch.float64) if core == 1 else _core(core - 1)
    for _ in range(doublings):
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    out: Tensor = matrix / num**0.5
    return out


def _paley(q: int) -> bool:
    return q > 2 and q % 4 == 3 and all(q % d for d in range(3, int(q**0.5) + 1, 2))


def _core(q: int) -> Tensor:
    """Paley's first construction, +-1 entries, float64 [q + 1, q + 1]."""
    squares = {value * value % q for value in range(1, q)}
    sign = torch.tensor([0.0] + [1.0 if value in squares else -1.0 for value in range(1, q)], dtype=torch.float64)
    at = torch.arange(q)
    skew = torch.zeros(q + 1, q + 1, dtype=torch.float64)
    skew[1:, 1:] = sign[(at[None] - at[:, None]) % q]
    skew[0, 1:], skew[1:, 0] = 1, -1
    return skew + torch.eye(q + 1, dtype=torch.float64)


class Normaliser(nn.Module):
    """Normalises features [..., E]; moments are updated in training mode only.

    Args:
        dim: channels E.
        kind: phi_s, running or none.
        momentum: of the moments of `running`; until the average has warmed up, all batches count equally.
        sample_updates: updates that are the sample of `phi_s`, 1 or more; until it is complete, features are centred
            and divided by the scalar, but not rotated.

    Raises:
        ConfigError: an unknown kind, an empty sample, or a channel count without a known Hadamard matrix.
    """

    def __init__(self, dim: int, kind: str = "phi_s", momentum: float = 0.999, sample_updates: int = 32):
        super().__init__()
        if kind not in KINDS:
            raise ConfigError(f"the normaliser must be one of {', '.join(KINDS)}, got {kind!r}")
        if sample_updates < 1:
            raise ConfigError(f"the normaliser's sample_updates must be >= 1, got {sample_updates}")
        self.kind, self.momentum, self.sample_updates = kind, momentum, sample_updates
        self.num_updates = 0
        self.register_buffer("mean", torch.zeros(dim))
        spread = torch.eye(dim) if kind == "phi_s" else torch.ones(dim)
        self.register_buffer("spread", spread)
        if kind == "phi_s":
            self.register_buffer("turn", torch.eye(dim))
            self.register_buffer("hadamard", hadamard(dim).float(), persistent=False)

    def get_extra_state(self) -> int:
        """The number of updates, for the checkpoint."""
        return self.num_updates

    def set_extra_state(self, state: int) -> None:
        """The number of updates, from the checkpoint."""
        self.num_updates = state

    @torch.no_grad()
    def update(self, features: Tensor) -> None:
        """Update the moments with a batch, float32 [..., E]; does nothing once the sample of `phi_s` is complete."""
        rotates = self.kind == "phi_s"
        if self.kind == "none" or (rotates and self.num_updates >= self.sample_updates):
            return
        rows = features.flatten(0, -2).float()
        first = rows.mean(0)
        second = rows.T @ rows / len(rows) if rotates else rows.square().mean(0)
        if dist.is_available() and dist.is_initialized():
            for each in (first, second):
                dist.all_reduce(each)
                each /= dist.get_world_size()
        self.num_updates += 1
        rate = 1 / self.num_updates if rotates else max(1 / self.num_updates, 1 - self.momentum)
        mean, spread = self.get_buffer("mean"), self.get_buffer("spread")
        # Average raw second moments, so that batches with different means pool exactly.
        past = spread + (mean[:, None] * mean if rotates else mean.square())
        past.lerp_(second, rate) if self.num_updates > 1 else past.copy_(second)
        mean.lerp_(first, rate) if self.num_updates > 1 else mean.copy_(first)
        spread.copy_(past - (mean[:, None] * mean if rotates else mean.square()))
        if rotates:
            self._set_rotation(spread.double())

    def _set_rotation(self, covariance: Tensor) -> None:
        turn, scale = self.get_buffer("turn"), covariance.diagonal().mean().clamp(min=EPS**2).sqrt()
        if self.num_updates < self.sample_updates:
            turn.copy_(torch.eye(len(turn), device=turn.device) / scale)
            return
        turn.copy_(self.get_buffer("hadamard").double() @ torch.linalg.eigh(covariance).eigenvectors.T / scale)
        # Devices of different kinds may choose different signs.
        if dist.is_available() and dist.is_initialized():
            dist.broadcast(turn, 0)

    def forward(self, features: Tensor) -> Tensor:
        """Normalise in float32: bfloat16 is too coarse for moments and targets."""
        # The meta device, which `estimate` uses, has no autocast.
        with contextlib.nullcontext() if features.is_meta else torch.autocast(features.device.type, enabled=False):
            return self._normalise(features.float())

    def _normalise(self, features: Tensor) -> Tensor:
        if self.kind == "none":
            return features
        if self.training:
            self.update(features)
        centred = features - self.get_buffer("mean")
        if self.kind == "running":
            return centred / self.get_buffer("spread").clamp(min=EPS**2).sqrt()
        return centred @ self.get_buffer("turn").T
