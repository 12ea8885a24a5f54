"""Teachers brought to one scale, so that no teacher outweighs another by the size of its features.

- `running`: zero mean and unit deviation of each channel, from running moments, as in UNIC (arXiv 2408.05088);
- `phi_s`: the features turned so that every channel has the same variance, and divided by one number, as in PHI-S
  (arXiv 2410.01680): y = H U^T (x - mean) / sqrt(mean eigenvalue), U the eigenvectors of the covariance, H a normalised
  Hadamard matrix;
- `none`.

Moments are kept in buffers, pooled over devices, and lie in the checkpoint. Shapes: R rows of features, E channels.
"""

import contextlib

import torch
import torch.distributed as dist
from torch import Tensor, nn

from surgvl.core.errors import ConfigError

KINDS = ("phi_s", "running", "none")
EPS = 1e-3


def hadamard(num: int) -> Tensor:
    """Normalised Hadamard matrix, float64 [num, num]: orthogonal, all entries of one size.

    Sylvester's doubling of Paley's first construction, which covers the usual widths (384, 768, 1024, 1152, 1280, 1408,
    1536): num = 2^k (q + 1) with q a prime that leaves 3 when divided by 4, or num = 2^k.

    Raises:
        ConfigError: no such matrix is known to this function.
    """
    doublings, core = 0, num
    while core > 1:
        if _paley(core - 1):
            break
        if core % 2:
            raise ConfigError(f"no Hadamard matrix for {num} channels here: give the normaliser `running`")
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
    """Features [..., E] -> the same shape on a common scale; moments are learned in training mode only.

    Args:
        dim: channels E.
        kind: phi_s, running or none.
        momentum: weight of old moments once enough rows were seen; before, all batches count alike.

    Raises:
        ConfigError: an unknown kind, or channels for which no Hadamard matrix is known.
    """

    def __init__(self, dim: int, kind: str = "phi_s", momentum: float = 0.999):
        super().__init__()
        if kind not in KINDS:
            raise ConfigError(f"normaliser {kind!r} is unknown; allowed are {', '.join(KINDS)}: choose one of them")
        self.kind, self.momentum = kind, momentum
        self.num_updates = 0
        self.register_buffer("mean", torch.zeros(dim))
        spread = torch.eye(dim) if kind == "phi_s" else torch.ones(dim)
        self.register_buffer("spread", spread)
        if kind == "phi_s":
            self.register_buffer("turn", torch.eye(dim))
            self.register_buffer("hadamard", hadamard(dim).float(), persistent=False)

    def get_extra_state(self) -> int:
        """Updates so far, for the checkpoint."""
        return self.num_updates

    def set_extra_state(self, state: int) -> None:
        """Updates so far, from the checkpoint."""
        self.num_updates = state

    @torch.no_grad()
    def learn(self, features: Tensor) -> None:
        """Take up the moments of a batch, float32 [..., E]."""
        if self.kind == "none":
            return
        rows = features.flatten(0, -2).float()
        first = rows.mean(0)
        second = rows.T @ rows / len(rows) if self.kind == "phi_s" else rows.square().mean(0)
        if dist.is_available() and dist.is_initialized():
            for each in (first, second):
                dist.all_reduce(each)
                each /= dist.get_world_size()
        self.num_updates += 1
        rate = max(1 / self.num_updates, 1 - self.momentum)
        mean, spread = self.get_buffer("mean"), self.get_buffer("spread")
        # Raw second moments of the past, so that batches of different means pool exactly.
        past = spread + (mean[:, None] * mean if self.kind == "phi_s" else mean.square())
        past.lerp_(second, rate) if self.num_updates > 1 else past.copy_(second)
        mean.lerp_(first, rate) if self.num_updates > 1 else mean.copy_(first)
        spread.copy_(past - (mean[:, None] * mean if self.kind == "phi_s" else mean.square()))
        # Eigenvectors are dear and moments settle: turn anew after 1, 2, 4, 8 ... updates.
        if self.kind == "phi_s" and self.num_updates & (self.num_updates - 1) == 0:
            self._turn(spread)

    def _turn(self, covariance: Tensor) -> None:
        values, vectors = torch.linalg.eigh(covariance.double())
        scale = values.clamp(min=0).mean().sqrt().clamp(min=EPS)
        self.get_buffer("turn").copy_(self.get_buffer("hadamard").double() @ vectors.T / scale)

    def forward(self, features: Tensor) -> Tensor:
        """Bring features to the common scale, in float32: moments and targets in bfloat16 would be too coarse."""
        # The meta device, on which steps are estimated, has no autocast.
        with contextlib.nullcontext() if features.is_meta else torch.autocast(features.device.type, enabled=False):
            return self._scaled(features.float())

    def _scaled(self, features: Tensor) -> Tensor:
        if self.kind == "none":
            return features
        if self.training:
            self.learn(features)
        centred = features - self.get_buffer("mean")
        if self.kind == "running":
            return centred / self.get_buffer("spread").clamp(min=EPS**2).sqrt()
        return centred @ self.get_buffer("turn").T
