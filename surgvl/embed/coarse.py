"""A few vectors of a video, spread over it: enough to search it within seconds, before all of it has been read.

Shapes: N clips, T frames, S pixels, E width of the space.
"""

import time
from collections import deque
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from surgvl.core.arrays import Float32Array
from surgvl.embed.encode_file import clip_encoder
from surgvl.models.video_text import VideoText
from surgvl.models.vit import VideoViT
from surgvl.video.clip import Preprocess, read_clip
from surgvl.video.reader import VideoReader

COUNT = 12
# Seeking costs milliseconds in a short recording, and a second each in a large picture with distant key frames.
BUDGET_S = 1.0


def encode_coarse(
    model: VideoText | VideoViT,
    path: Path,
    preprocess: Preprocess,
    device: str,
    count: int = COUNT,
    budget_s: float = BUDGET_S,
) -> tuple[Float32Array, list[float], list[float]]:
    """Vectors of clips in the middle of equal parts of a video, which are sought, not streamed.

    Where time runs out, those that are read stand for the video between them: the first one lies in its middle, and
    each later one far from those before.

    Args:
        model: on the device.
        path: the file.
        preprocess: how its clips are cut.
        device: torch device.
        count: most clips; fewer where parts would be shorter than `step_s`.
        budget_s: seconds after which no further clip is read and encoded; at least one is.

    Returns:
        Vectors float32 [N, E], starts and ends of the parts in seconds.

    Raises:
        DataError: the file cannot be read.
    """
    begun = time.monotonic()
    encode = clip_encoder(model)
    found: dict[float, Float32Array] = {}
    with VideoReader(path) as reader, torch.inference_mode():
        duration_s = reader.info.duration_s
        box = reader.content_box() if preprocess.crop == "content" else None
        parts = min(count, max(1, int(duration_s / preprocess.step_s)))
        for part in spread(parts):
            moment_s = (part + 0.5) * duration_s / parts
            clip = torch.from_numpy(read_clip(reader, preprocess, moment_s, duration_s, box))
            found[moment_s] = encode(clip.permute(3, 0, 1, 2)[None].to(device)).cpu().numpy()[0]
            if time.monotonic() - begun >= budget_s:
                break
    moments_s = sorted(found)
    edges_s = [0.0, *((a + b) / 2 for a, b in pairwise(moments_s)), duration_s]
    return np.stack([found[moment_s] for moment_s in moments_s]), edges_s[:-1], edges_s[1:]


def spread(count: int) -> list[int]:
    """The numbers 0 to `count` - 1 in such an order that the first ones, however many, are spread over all of them.

    The middle comes first, then the middles of the halves, and so on.
    """
    found: list[int] = []
    ranges = deque([(0, count)])
    while ranges:
        start, end = ranges.popleft()
        if start < end:
            middle = (start + end) // 2
            found.append(middle)
            ranges += [(start, middle), (middle + 1, end)]
    return found
