"""RandAugment (arXiv 1909.13719) and random erasing (arXiv 1708.04896) of clips, drawn alike for all frames of a clip.

The operations are torchvision's. VideoMAE's and SurgVISTA's fine-tuning calls `rand-m7-n4-mstd0.5-inc1` of timm's:
there each drawn operation is skipped half of the time, its magnitude has a deviation of 0.5, inverting and adding while
solarising are among them, and noise is drawn for each frame. Draws are made on the host.
Shapes: B clips, T frames, H x W pixels.
"""

import torch
from torch import Tensor

# Magnitudes are out of this.
LARGEST = 10
_GREY = 128
# Of erased pixels: mean and deviation of those of ImageNet, in 0..255.
_MEAN, _STD = 114.0, 58.0
_AREA, _ASPECT = (0.02, 1 / 3), (0.3, 1 / 0.3)


def rand_augment(video: Tensor, num_operations: int, magnitude: int) -> Tensor:
    """Apply random operations of a fixed strength to uint8 [B, 3, T, H, W].

    Args:
        video: clips.
        num_operations: one after the other, drawn for each clip.
        magnitude: of all, 0 to `LARGEST`.
    """
    # Imported here because torchvision's import takes as long as a small command.
    from torchvision.transforms.v2 import InterpolationMode, RandAugment

    policy = RandAugment(num_operations, magnitude, LARGEST + 1, InterpolationMode.BILINEAR, fill=_GREY)
    # torchvision takes frames first, and draws once for all of them.
    return torch.stack([policy(clip.transpose(0, 1)).transpose(0, 1) for clip in video])


def erase(video: Tensor, probability: float) -> Tensor:
    """Fill a random rectangle of some of the clips with noise; float32 [B, 3, T, H, W] in 0..255, changed in place."""
    from torchvision.transforms import RandomErasing

    height, width = video.shape[-2:]
    shape = torch.empty(3, height, width, device="meta")
    for clip in video:
        if torch.rand(()) < probability:
            top, left, down, across, noise = RandomErasing.get_params(shape, _AREA, _ASPECT)
            if (down, across) == (height, width):  # no rectangle fits
                continue
            filled = (noise * _STD + _MEAN).clamp(0, 255).to(video.device)
            clip[:, :, top : top + down, left : left + across] = filled[:, None]
    return video
