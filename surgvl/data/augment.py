"""Augmentation of batches on the device, uint8 in and float in 0..255 out; all frames of a clip change alike.

Crops follow each method's own code. Brightness and colour vary because they differ between scopes and hospitals.
Frames are read as squares, whatever the shape of their picture. A crop is therefore drawn on a picture with the wanted
aspect ratio, found on the square, and resized from there, which restores its shape.
Crops, shifts and flips are drawn on the host, so that nothing is read from the device; colours are drawn there.
Shapes: B clips, T frames, R pixels read, S pixels given to the encoder.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from surgvl.core.errors import DataError
from surgvl.data.augment_config import AugmentConfig
from surgvl.data.crops import draw_crop
from surgvl.data.rand_augment import erase, rand_augment
from surgvl.video.content_area import Box


class Augment(nn.Module):
    """RandAugment, random crop, shift, flip, gain, channel colour and random erasing of clips, in this order.

    Args:
        config: what varies, and by how much.
        size_px: S; None: pictures keep their own size and aspect ratio, and nothing is cropped.
    """

    def __init__(self, config: AugmentConfig, size_px: int | None):
        super().__init__()
        self.config, self.size_px = config, size_px

    def forward(self, video: Tensor, aspects: Sequence[float] | None = None) -> Tensor:
        """Augment uint8 [B, 3, T, R, R] -> float32 [B, 3, T, S, S] in 0..255.

        Args:
            video: clips.
            aspects: width / height of each clip's picture, [B]; needed where `config.per_video`.

        Raises:
            DataError: crops depend on the aspect ratios and there are none.
        """
        if self.config.rand_augment:
            video = rand_augment(video, self.config.rand_augment, self.config.rand_magnitude)
        if self.size_px is not None and (self.config.crop != "none" or video.shape[-1] != self.size_px):
            video = torch.stack(list(map(self._cropped, video, self._boxes(video, aspects))))
        video = self._coloured(self._moved(video))
        return erase(video, self.config.erase) if self.config.erase else video

    def _boxes(self, video: Tensor, aspects: Sequence[float] | None) -> list[Box]:
        """A crop for each clip, in pixels of its frames."""
        B, R = len(video), video.shape[-1]
        ratios: Sequence[float] = [self.config.picture_aspect or 1.0] * B
        if self.config.per_video:
            if aspects is None:
                raise DataError("--augmentation.picture_aspect 0 needs the aspect ratio of each video: give a ratio")
            ratios = aspects
        boxes = []
        for aspect in ratios:
            height, width = max(R, round(R / aspect)), max(R, round(R * aspect))
            boxes.append(_scaled(draw_crop(self.config, height, width), R / height, R / width))
        return boxes

    def _cropped(self, clip: Tensor, box: Box) -> Tensor:
        """Resize a part of uint8 [3, T, R, R] -> float32 [3, T, S, S]."""
        assert self.size_px is not None
        part = clip[:, :, box.top : box.bottom, box.left : box.right].float()
        return F.interpolate(part, (self.size_px, self.size_px), mode="bilinear", antialias=True)

    def _moved(self, video: Tensor) -> Tensor:
        """Shift and flip [B, 3, T, H, W]: squares, but for a model that takes frames at their own aspect ratio."""
        B, (height, width) = len(video), video.shape[-2:]
        reach = round(self.config.shift * max(height, width))
        if not reach and not self.config.flip:
            return video
        offsets = torch.randint(0, 2 * reach + 1, (B, 2)) - reach if reach else torch.zeros(B, 2, dtype=torch.int64)
        mirrored = torch.rand(B) < 0.5 if self.config.flip else torch.zeros(B, dtype=torch.bool)
        # Gather rows and columns before colours: what was not resized is still bytes, a quarter of the traffic.
        rows = (torch.arange(height) + offsets[:, :1]).clamp(0, height - 1)
        columns = (torch.arange(width) + offsets[:, 1:]).clamp(0, width - 1)
        columns = torch.where(mirrored[:, None], columns.flip(1), columns)
        taken = zip(video, rows.to(video.device), columns.to(video.device), strict=True)
        return torch.stack([clip.index_select(2, row).index_select(3, column) for clip, row, column in taken])

    def _coloured(self, video: Tensor) -> Tensor:
        """Change gain and colour of [B, 3, T, S, S] -> float32."""
        gain, colour = self.config.gain, self.config.colour
        if not gain and not colour:
            return video.float()
        scale = torch.empty(len(video), 3, device=video.device).uniform_(-colour, colour)
        scale += torch.empty(len(video), 1, device=video.device).uniform_(-gain, gain)
        return (video * scale.exp()[:, :, None, None, None]).clamp_(0.0, 255.0)


def _scaled(box: Box, down: float, across: float) -> Box:
    """A box in a picture that is scaled in both directions; at least a pixel remains."""
    bottom, right = max(1, round(box.bottom * down)), max(1, round(box.right * across))
    return Box(min(round(box.top * down), bottom - 1), min(round(box.left * across), right - 1), bottom, right)
