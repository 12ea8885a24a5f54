"""TimeSformer with divided space-time attention (Bertasius et al., arXiv 2102.05095) as SurgCLIP's package has it.

That code differs from the paper in two places. The published weights were trained with both, so they are kept:

- A block takes the first patch of each frame for its class token, before temporal attention, and drops the one that it
  was given. The class token of the last block is thus made of patches; the learnt one has no effect.
- The blocks keep tokens patch by patch, the frames of a patch next to one another; the end reads them as if they were
  frame by frame. Each of the T output vectors is therefore the mean of a horizontal band of patches over all frames,
  without the band's first token, and none of them is the vector of a frame.

Shapes: B clips, T frames, P patches of a frame, D width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from surgvl.models.vit import Attention

EPS = 1e-6


class Mlp(nn.Module):
    """Two layers [..., D] -> [..., D].

    Args:
        dim: width D.
        hidden: width between them.
    """

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Apply both."""
        found: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return found


class DividedBlock(nn.Module):
    """Attention over time, then over space, then an MLP.

    Args:
        dim: width D.
        heads: attention heads.
        hidden: width of the MLP.
    """

    def __init__(self, dim: int, heads: int, hidden: int):
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(dim, eps=EPS), Attention(dim, heads)
        self.temporal_norm1, self.temporal_attn = nn.LayerNorm(dim, eps=EPS), Attention(dim, heads)
        self.temporal_fc = nn.Linear(dim, dim)
        self.norm2, self.mlp = nn.LayerNorm(dim, eps=EPS), Mlp(dim, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens [B, 1 + P, T, D], class tokens first -> the same shape."""
        B, _, T, D = x.shape
        patches = x[:, 1:]
        first = patches[:, :1]
        over_time = self.temporal_attn(self.temporal_norm1(patches.flatten(0, 1))).view_as(patches)
        patches = patches + self.temporal_fc(over_time)
        frames = torch.cat([first, patches], 1).transpose(1, 2).flatten(0, 1)
        over_space = self.attn(self.norm1(frames)).view(B, T, -1, D).transpose(1, 2)
        # The class token is added to itself.
        x = torch.cat([over_space[:, :1], patches], 1) + over_space
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class PatchEmbed(nn.Module):
    """Frames to patches.

    Args:
        dim: width D.
        patch_px: side of a patch.
    """

    def __init__(self, dim: int, patch_px: int):
        super().__init__()
        self.proj = nn.Conv2d(3, dim, patch_px, patch_px)

    def forward(self, frames: Tensor) -> Tensor:
        """Frames [N, 3, S, S] -> [N, P, D]."""
        found: Tensor = self.proj(frames).flatten(2).transpose(1, 2)
        return found


class TimeSformer(nn.Module):
    """Clips to T vectors, with the names of the published weights.

    Args:
        dim: width D.
        depth: blocks.
        heads: attention heads.
        hidden: width of the MLPs.
        patch_px: side of a patch.
        num_patches: P.
        num_frames: T.
    """

    def __init__(self, dim: int, depth: int, heads: int, hidden: int, patch_px: int, num_patches: int, num_frames: int):
        super().__init__()
        self.patch_embed = PatchEmbed(dim, patch_px)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + num_patches, dim))
        self.time_embed = nn.Parameter(torch.zeros(1, num_frames, dim))
        self.blocks = nn.ModuleList(DividedBlock(dim, heads, hidden) for _ in range(depth))
        self.norm, self.pool_norm = nn.LayerNorm(dim, eps=EPS), nn.LayerNorm(dim, eps=EPS)

    def forward(self, video: Tensor) -> Tensor:
        """Normalised clips float32 [B, 3, T, S, S] -> T vectors, none of which is a frame's, [B, T, D]."""
        B, _, T = video.shape[:3]
        patches = self.patch_embed(video.transpose(1, 2).flatten(0, 1)) + self.pos_embed[:, 1:]
        patches = patches.view(B, T, -1, patches.shape[2]).transpose(1, 2) + self.time_embed[:, None]
        first = (self.cls_token + self.pos_embed[:, :1])[:, :, None].expand(B, 1, T, -1)
        x = torch.cat([first, patches], 1)
        for block in self.blocks:
            x = block(x)
        # Read as [B, T, 1 + P, D] what is [B, 1 + P, T, D]: see above.
        bands = self.norm(x).reshape(B, T, -1, x.shape[3])
        out: Tensor = self.pool_norm(bands[:, :, 1:].mean(2))
        return out
