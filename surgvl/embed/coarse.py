"""A few vectors of a video, spread over it: enough to search it within seconds, before all of it has been read.

Shapes: N clips, T frames, S pixels, E width of the space.
"""

from pathlib import Path

import numpy as np
import torch

from surgvl.core.arrays import Float32Array
from surgvl.embed.encode_file import CLIPS, clip_encoder
from surgvl.models.video_text import VideoText
from surgvl.models.vit import VideoViT
from surgvl.video.clip import Preprocess, read_clip
from surgvl.video.reader import VideoReader

COUNT = 12


def encode_coarse(
    model: VideoText | VideoViT, path: Path, preprocess: Preprocess, device: str, count: int = COUNT
) -> tuple[Float32Array, list[float], list[float]]:
    """Vectors of clips in the middle of equal parts of a video, which are sought, not streamed.

    Args:
        model: on the device.
        path: the file.
        preprocess: how its clips are cut.
        device: torch device.
        count: most clips; fewer where parts would be shorter than `step_s`.

    Returns:
        Vectors float32 [N, E], starts and ends of the parts in seconds.

    Raises:
        DataError: the file cannot be read.
    """
    with VideoReader(path) as reader:
        duration_s = reader.info.duration_s
        box = reader.content_box() if preprocess.crop == "content" else None
        parts = min(count, max(1, int(duration_s / preprocess.step_s)))
        edges = np.linspace(0.0, duration_s, parts + 1)
        middles = ((edges[:-1] + edges[1:]) / 2).tolist()
        clips = np.stack([read_clip(reader, preprocess, middle_s, duration_s, box) for middle_s in middles])
    encode = clip_encoder(model)
    batches = torch.split(torch.from_numpy(clips).permute(0, 4, 1, 2, 3), CLIPS)
    with torch.inference_mode():
        found = torch.cat([encode(batch.to(device)).cpu() for batch in batches]).numpy()
    return found, edges[:-1].tolist(), edges[1:].tolist()
