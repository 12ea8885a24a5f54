"""k nearest neighbours: the votes of the most similar training clips; nothing is trained.

DINO's protocol (Caron et al., arXiv 2104.14294, after Wu et al., arXiv 1805.01978): cosine similarity, 20 neighbours,
each with the weight exp(similarity / 0.07). A neighbour without a label of a kind does not vote about it.

Shapes: B clips, N training clips, D width, C classes of a head.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from surgvl.probe.base import Readout
from surgvl.probe.labels import Head, Truth

NUM_NEIGHBOURS = 20
TEMPERATURE = 0.07
# Least share of the votes, so that logits are finite.
LEAST = 1e-6


class KNN(Readout):
    """Nearest neighbours among the training clips; arguments as `Readout`."""

    name = "knn"
    averages = True
    steps: ClassVar[int] = 0

    def __init__(self, dim: int, heads: Sequence[Head]):
        super().__init__(dim, heads)
        self.resize({"memory": (0, dim)})

    def resize(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Make room for as many training clips as are stored."""
        num = shapes["memory"][0]
        self.register_buffer("memory", torch.zeros(num, self.dim))
        for head in self.asked:
            # Votes: a row of 0 and 1 for the classes, or the number; NaN where unknown.
            self.register_buffer(f"votes_{head.name}", torch.full((num, head.size), torch.nan))

    def prepare(self, tokens: NDArray[np.float16], truth: Truth) -> None:
        """Keep the unit mean tokens of the training clips, and their labels."""
        self.resize({"memory": (len(tokens), self.dim)})
        device = self.get_buffer("memory").device
        self.register_buffer("memory", F.normalize(_means(torch.from_numpy(np.array(tokens))), dim=1).to(device))
        for head in self.asked:
            known = truth[head.name]
            votes = known[:, None] if head.kind == "number" else known
            if head.kind == "one":
                votes = np.where(known[:, None] >= 0, np.arange(head.size) == known[:, None], -1)
            votes = np.where(votes < 0, np.nan, votes) if head.kind != "number" else votes
            self.register_buffer(f"votes_{head.name}", torch.from_numpy(votes.astype(np.float32)).to(device))

    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        """Tokens [B, K, D] -> the log of the share of votes (of many: its log odds) or the mean, float32 [B, C]."""
        similarity = F.normalize(_means(tokens), dim=1) @ self.get_buffer("memory").T
        found = {}
        for head in self.asked:
            votes = self.get_buffer(f"votes_{head.name}")
            known = votes.isfinite().all(1)
            near, rows = similarity[:, known].topk(min(NUM_NEIGHBOURS, int(known.sum())), dim=1)
            weights = (near / TEMPERATURE).softmax(1)
            share = torch.einsum("bk,bkc->bc", weights, votes[known][rows])
            if head.kind == "one":
                share = share.clamp(min=LEAST).log()
            elif head.kind == "many":
                share = share.logit(LEAST)
            found[head.name] = share
        return found


def _means(tokens: Tensor) -> Tensor:
    return tokens.float().mean(1)
