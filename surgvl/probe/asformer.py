"""ASFormer: a transformer over a whole video whose layers attend to ever wider surroundings, refined by decoders.

Yi, Wen and Jiang, arXiv 2110.08568 (BMVC 2021): an encoder and three decoders of ten layers with 64 maps. Layer i is a
dilated convolution (2^i clips apart) and attention to the clips at most 2^i / 2 away. The encoder attends to itself; a
decoder, whose input is the classes' probabilities of the stage before it, takes its values from that stage's features.
The attention of decoder n is weighted by exp(-3 n), so that later ones correct less. Loss and refinement are those of
MS-TCN. Sees past and future: offline.

In the released code a window begins and ends with a block of clips; here, as in the text, with the clip itself. A mask
over all pairs would take memory in T^2; blocks of clips take it in T times the window.

Shapes: T clips of a video in temporal order, D width, M maps, d width of queries and keys, C classes of a head.
"""

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from surgvl.probe.labels import Head
from surgvl.probe.ms_tcn import MSTCN, activation

# Least number of queries that are computed together.
BLOCK = 32
# Channels of the input that are dropped for a whole video in training.
CHANNEL_DROPOUT = 0.3
DECAY = 3.0


def local_attention(q: Tensor, k: Tensor, v: Tensor, reach: int) -> Tensor:
    """Each clip attends to those at most `reach` clips away; memory grows with T times `reach`.

    Args:
        q: queries [T, d].
        k: keys [T, d].
        v: values [T, e].
        reach: clips on each side.

    Returns:
        [T, e].
    """
    T, block = len(q), max(reach, BLOCK)
    blocks, window = math.ceil(T / block), block + 2 * reach
    after = blocks * block - T
    queries = F.pad(q, (0, 0, 0, after)).view(blocks, block, -1)
    # A block's queries see its own keys and `reach` more on each side.
    keys, values = (F.pad(each, (0, 0, reach, after + reach)).unfold(0, window, block).mT for each in (k, v))
    query, key = torch.arange(block, device=q.device), torch.arange(window, device=q.device) - reach
    first = block * torch.arange(blocks, device=q.device)[:, None]
    exists = (first + key >= 0) & (first + key < T)
    near = (key - query[:, None]).abs() <= reach
    # Queries beyond the end are cut off; a softmax over nothing would make their gradients NaN.
    seen = (near & exists[:, None]) | (first + query >= T)[..., None]
    found = F.scaled_dot_product_attention(queries, keys, values, attn_mask=seen)
    return found.reshape(blocks * block, -1)[:T]


class Layer(nn.Module):
    """Dilated convolution and local attention, each with a residual connection. [1, M, T] -> the same.

    Args:
        maps: M.
        number: i, from 0.
        weight: of the attention.
    """

    def __init__(self, maps: int, number: int, weight: float):
        super().__init__()
        self.reach, self.weight = 2**number // 2, weight
        self.dilated = nn.Conv1d(maps, maps, 3, padding=2**number, dilation=2**number)
        self.query, self.key, self.value = (nn.Linear(maps, maps // 2) for _ in range(3))
        self.out = nn.Linear(maps // 2, maps)
        self.mix = nn.Conv1d(maps, maps, 1)
        self.dropout = nn.Dropout()

    def forward(self, x: Tensor, before: Tensor | None) -> Tensor:
        """`before` [1, M, T]: features that the values are taken from; None for those of this layer."""
        own = F.relu(self.dilated(x))
        # Instance norm, which torch refuses for a single clip.
        norm = F.layer_norm(own, own.shape[2:])[0].T
        values = norm if before is None else before[0].T
        seen = local_attention(self.query(norm), self.key(norm), self.value(values), self.reach)
        attended = self.out(F.relu(seen)).T[None]
        found: Tensor = x + self.dropout(self.mix(own + self.weight * attended))
        return found


class Stage(nn.Module):
    """The encoder, or a decoder: layers between two 1x1 convolutions.

    Args:
        width: channels of the input.
        maps: M.
        layers: number of layers.
        weight: of the attention.
        heads: name and number of outputs of each head.
    """

    def __init__(self, width: int, maps: int, layers: int, weight: float, heads: Sequence[Head]):
        super().__init__()
        self.enter = nn.Conv1d(width, maps, 1)
        self.layers = nn.ModuleList(Layer(maps, number, weight) for number in range(layers))
        self.leave = nn.ModuleDict({head.name: nn.Conv1d(maps, head.size, 1) for head in heads})

    def forward(self, x: Tensor, before: Tensor | None) -> tuple[dict[str, Tensor], Tensor]:
        """[1, width, T] and the features of the stage before -> logits [1, C, T] by head, and features [1, M, T]."""
        x = self.enter(x)
        for layer in self.layers:
            x = layer(x, before)
        return {name: leave(x) for name, leave in self.leave.items()}, x


class ASFormer(MSTCN):
    """Transformer of an encoder and three decoders; arguments as `Readout`."""

    name = "asformer"
    weight_decay: ClassVar[float] = 1e-5

    def __init__(self, dim: int, heads: Sequence[Head]):
        super().__init__(dim, heads)
        self.dropout = nn.Dropout1d(CHANNEL_DROPOUT)

    def stage(self, number: int, width: int) -> nn.Module:
        """The encoder, then the decoders."""
        weight = math.exp(-DECAY * max(0, number - 1))
        return Stage(width, self.maps, self.layers, weight, self.asked)

    def all_stages(self, tokens: Tensor) -> list[dict[str, Tensor]]:
        """Logits [T, C] by head of every stage, from the tokens [T, K, D] of one video."""
        x, features, found = self.dropout(self.norm(tokens).T[None]), None, list[dict[str, Tensor]]()
        for stage in self.stack:
            logits, features = stage(x, features)
            found.append({name: values[0].T for name, values in logits.items()})
            x = torch.cat([activation(head, logits[head.name]) for head in self.asked], 1)
        return found
