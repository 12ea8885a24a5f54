"""Augmentation of batches on the device, uint8 in and float in 0..255 out; all frames of a clip change alike.

Brightness and colour vary because they differ between scopes and hospitals. Horizontal flips are off by default,
because sentences and answers name left and right.
Shapes: B clips, T frames, S pixels.
"""

import torch
from torch import Tensor, nn


class Augment(nn.Module):
    """Random shift, gain and channel colour of clips.

    Args:
        shift: maximum shift in either direction, as a fraction of the side; the border is replicated.
        gain: maximum change of brightness, log scale.
        colour: maximum change of a single channel, log scale.
        flip: flip half of the clips horizontally.
    """

    def __init__(self, shift: float = 0.08, gain: float = 0.15, colour: float = 0.05, flip: bool = False):
        super().__init__()
        self.shift, self.gain, self.colour, self.flip = shift, gain, colour, flip

    def forward(self, video: Tensor) -> Tensor:
        """Augment uint8 [B, 3, T, S, S] -> float32 [B, 3, T, S, S] in 0..255."""
        B, _, _, S, _ = video.shape
        device = video.device
        reach = round(self.shift * S)
        # Drawn on the host: slicing by device values would synchronise at every step.
        offsets = torch.randint(0, 2 * reach + 1, (B, 2)) - reach if reach else torch.zeros(B, 2, dtype=torch.int64)
        mirrored = torch.rand(B) < 0.5 if self.flip else torch.zeros(B, dtype=torch.bool)
        # Gather rows and columns while the data are bytes: a quarter of the traffic of floats.
        rows = (torch.arange(S) + offsets[:, :1]).clamp(0, S - 1)
        columns = (torch.arange(S) + offsets[:, 1:]).clamp(0, S - 1)
        columns = torch.where(mirrored[:, None], columns.flip(1), columns)
        taken = zip(video, rows.to(device), columns.to(device), strict=True)
        moved = torch.stack([clip.index_select(2, row).index_select(3, column) for clip, row, column in taken])
        scale = torch.empty(B, 3, device=device).uniform_(-self.colour, self.colour)
        scale += torch.empty(B, 1, device=device).uniform_(-self.gain, self.gain)
        return (moved * scale.exp()[:, :, None, None, None]).clamp_(0.0, 255.0)
