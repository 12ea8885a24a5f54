"""Motion scores of patches, which select tubes that are hard to predict.

`pixels` is the score of UniSurg (arXiv 2602.05638; from a secondary source): temporal change plus difference to the
neighbouring patches. `flow` is the magnitude of Farneback's optical flow, as its repository suggests; OpenCV computes
it on the host, so it synchronises with the device.
Shapes: B clips, T frames, H = W pixels, p patch side, h = w = H/p.
"""

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from surgvl.core.errors import ConfigError

SCORES = ("pixels", "flow")
SCALES = ("standard", "raw")


def by_patch(values: Tensor, patch_px: int) -> Tensor:
    """Average over patches: [B, H, W] -> [B, h, w]."""
    return F.avg_pool2d(values[:, None], patch_px)[:, 0]


def pixel_motion(video: Tensor, patch_px: int) -> Tensor:
    """Mean absolute temporal change plus mean absolute difference to the four neighbouring patches.

    Args:
        video: float [B, 3, T, H, W] in 0..255.
        patch_px: p.

    Returns:
        Float [B, h, w], in units of the full range of a channel.
    """
    video = video.float() / 255
    frames = video.shape[2]
    change = (video[:, :, 1:] - video[:, :, :-1]).abs().mean((1, 2)) if frames > 1 else torch.zeros_like(video[:, 0, 0])
    score = by_patch(change, patch_px)
    h, w = score.shape[1:]
    total, number = torch.zeros_like(score), torch.zeros_like(score[0])
    for axis, (rows, cols) in ((3, (h - 1, w)), (4, (h, w - 1))):
        size = video.shape[axis] - patch_px
        apart = (video.narrow(axis, patch_px, size) - video.narrow(axis, 0, size)).abs().mean((1, 2))
        each = by_patch(apart, patch_px)
        first, second = (slice(0, rows), slice(0, cols)), (slice(h - rows, h), slice(w - cols, w))
        for where in (first, second):
            total[:, where[0], where[1]] += each
            number[where] += 1
    return score + total / number.clamp(min=1)


def flow_motion(video: Tensor, patch_px: int) -> Tensor:
    """Mean magnitude of the optical flow between frames, in patch sides; shapes as in `pixel_motion`."""
    grey = video.float().mean(1).clamp(0, 255).byte().cpu().numpy()
    lengths = np.zeros((grey.shape[0], *grey.shape[2:]), np.float32)
    for clip, length in zip(grey, lengths, strict=True):
        for before, after in zip(clip[:-1], clip[1:], strict=True):
            start = np.zeros((*before.shape, 2), np.float32)
            flow = cv2.calcOpticalFlowFarneback(before, after, start, 0.5, 3, 15, 3, 5, 1.2, 0)
            length += np.linalg.norm(flow, axis=-1) / max(1, len(clip) - 1)
    return by_patch(torch.from_numpy(lengths), patch_px).to(video.device) / patch_px


def motion(video: Tensor, patch_px: int, score: str = "pixels", scale: str = "standard") -> Tensor:
    """A motion score per patch, float [B, h, w], without gradient.

    Args:
        video: float [B, 3, T, H, W] in 0..255.
        patch_px: p.
        score: pixels or flow.
        scale: raw, in the score's own unit; or standard, with zero mean and unit deviation over the patches of a clip,
            so that a clip's light and pace do not matter. A still clip scores 0.

    Raises:
        ConfigError: an unknown score or scale.
    """
    for what, value, allowed in (("score", score, SCORES), ("scale", scale, SCALES)):
        if value not in allowed:
            raise ConfigError(f"the motion {what} must be one of {', '.join(allowed)}, got {value!r}")
    with torch.no_grad():
        scores = (pixel_motion if score == "pixels" else flow_motion)(video, patch_px)
        if scale == "raw":
            return scores
        return (scores - scores.mean((1, 2), keepdim=True)) / (scores.std((1, 2), keepdim=True, correction=0) + 1e-6)
