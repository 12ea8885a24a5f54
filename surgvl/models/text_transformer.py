"""The text transformer of CLIP (Radford et al., arXiv 2103.00020), with the names and initial weights of open_clip's.

The small text tower is one. It stands here because importing open_clip takes longer than all else that a search needs.
Shapes: B sentences, L tokens, W width, E width of the output.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn


class TextBlock(nn.Module):
    """Pre-norm transformer block [B, L, W] -> [B, L, W].

    Args:
        width: W.
        heads: attention heads.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_2 = nn.LayerNorm(width)
        layers = {"c_fc": nn.Linear(width, 4 * width), "gelu": nn.GELU(), "c_proj": nn.Linear(4 * width, width)}
        self.mlp = nn.Sequential(OrderedDict(layers))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Attention with an additive mask [L, L], then the MLP, each with a residual connection."""
        given = self.ln_1(x)
        x = x + self.attn(given, given, given, need_weights=False, attn_mask=mask)[0]
        out: Tensor = x + self.mlp(self.ln_2(x))
        return out


class TextTransformer(nn.Module):
    """Token ids int64 [B, L] -> vectors [B, E] of their end tokens; each token sees those before it.

    Args:
        context_length: L of the longest sentence.
        vocab_size: number of token ids.
        width: W.
        heads: attention heads.
        layers: number of blocks.
        output_dim: E.
        eos_id: id of the end token.
    """

    def __init__(
        self, context_length: int, vocab_size: int, width: int, heads: int, layers: int, output_dim: int, eos_id: int
    ):
        super().__init__()
        self.eos_id = eos_id
        self.token_embedding = nn.Embedding(vocab_size, width)
        self.positional_embedding = nn.Parameter(torch.empty(context_length, width))
        blocks = [TextBlock(width, heads) for _ in range(layers)]
        self.transformer = nn.ModuleDict({"resblocks": nn.ModuleList(blocks)})
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.empty(width, output_dim))
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.positional_embedding, std=0.01)
        for block in blocks:
            nn.init.normal_(block.attn.in_proj_weight, std=width**-0.5)
            nn.init.normal_(block.attn.out_proj.weight, std=width**-0.5 * (2 * layers) ** -0.5)
            nn.init.normal_(block.mlp.get_parameter("c_fc.weight"), std=(2 * width) ** -0.5)
            nn.init.normal_(block.mlp.get_parameter("c_proj.weight"), std=width**-0.5 * (2 * layers) ** -0.5)
        nn.init.normal_(self.text_projection, std=width**-0.5)

    def forward(self, ids: Tensor) -> Tensor:
        """Encode token ids."""
        x = self.token_embedding(ids) + self.positional_embedding[: ids.shape[1]]
        mask = torch.full((ids.shape[1], ids.shape[1]), -torch.inf, dtype=x.dtype, device=x.device).triu(1)
        for block in self.transformer.get_submodule("resblocks").children():
            x = block(x, mask)
        ends = (ids == self.eos_id).int().argmax(1)
        out: Tensor = self.ln_final(x)[torch.arange(len(ids), device=ids.device), ends] @ self.text_projection
        return out
