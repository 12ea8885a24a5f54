"""Pooled visual tokens of stretches of video, encoded once by a frozen encoder and memory-mapped.

Shapes: M stretches, V stored tokens, D encoder width, T frames.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from surgvl.data.frames import ClipSource
from surgvl.io import atomic, take_space
from surgvl.models.chat import Chat

Stretch = tuple[str, float, float]


class Seen:
    """Pooled tokens by stretch (video_id, start_s, end_s): float16 [V, D] each, in a file that is mapped, not read.

    Args:
        chat: whose encoder looks.
        source: prepared source of clips.
        stretches: what to look at; a clip of T frames is centred on each.
        num_frames: T.
        path: the file; its content is not checked against the model, so it lies in the run folder of that model.
        device: torch device of the encoder.
    """

    def __init__(
        self,
        chat: Chat,
        source: ClipSource,
        stretches: Sequence[Stretch],
        num_frames: int,
        path: Path,
        device: str = "cpu",
        batch: int = 32,
    ):
        self.row = {stretch: number for number, stretch in enumerate(dict.fromkeys(stretches))}
        shape = (len(self.row), chat.projector.num_stored, chat.encoder.dim)
        done = path.is_file() and path.stat().st_size == 2 * int(np.prod(shape))
        if not done:
            todo = list(self.row)
            with atomic(path) as temporary, torch.inference_mode():
                take_space(temporary, 2 * int(np.prod(shape)))
                values = np.memmap(temporary, np.float16, "r+", shape=shape)
                for at in tqdm(range(0, len(todo), batch), desc="looking", unit="batch", disable=None, leave=False):
                    clips = [clip_at(source, stretch, num_frames) for stretch in todo[at : at + batch]]
                    video = torch.from_numpy(np.stack(clips)).permute(0, 4, 1, 2, 3).to(device)
                    values[at : at + batch] = chat.see(video).half().cpu().numpy()
                values.flush()
        self.values = np.memmap(path, np.float16, "r", shape=shape)

    def __getitem__(self, stretch: Stretch) -> Tensor:
        """Pooled tokens float32 [V, D] of a stretch."""
        return torch.from_numpy(self.values[self.row[stretch]].astype(np.float32))

    def stack(self, stretches: Sequence[Stretch]) -> Tensor:
        """Pooled tokens float32 [B, V, D] of B stretches."""
        return torch.from_numpy(self.values[[self.row[stretch] for stretch in stretches]].astype(np.float32))


def clip_at(source: ClipSource, stretch: Stretch, num_frames: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Clip uint8 [T, S, S, 3] centred on a stretch and shifted into the video."""
    video_id, start_s, end_s = stretch
    clip_s = num_frames / source.fps
    last_s = max(0.0, source.durations_s[video_id] - clip_s)
    start = min(max(0.0, (start_s + end_s) / 2 - clip_s / 2), last_s)
    return source.clip(video_id, start, num_frames)
