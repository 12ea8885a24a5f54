"""Pooled visual tokens of stretches of video, encoded once by a frozen encoder and memory-mapped.

Shapes: M stretches, V stored tokens, D encoder width, T frames.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from surgvl.data.frames import ClipSource, Frames
from surgvl.errors import DataError, Unreadable
from surgvl.io import atomic, take_space
from surgvl.models.chat import Chat

Stretch = tuple[str, float, float]
Row = dict[str, Any]
# All tokens of a stretch that cannot be read; no encoder gives that.
UNREAD = np.float16("-inf")


class Seen:
    """Pooled tokens by stretch (video_id, start_s, end_s): float16 [V, D] each, in a file that is mapped, not read.

    A stretch that cannot be read has none (`stretch in seen`), and its video is named in `problems`.

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
                    clips = [_clip_or_none(source, stretch, num_frames) for stretch in todo[at : at + batch]]
                    good = [at + number for number, clip in enumerate(clips) if clip is not None]
                    values[at : at + batch] = UNREAD
                    if good:
                        read = np.stack([clip for clip in clips if clip is not None])
                        video = torch.from_numpy(read).permute(0, 4, 1, 2, 3).to(device)
                        values[good] = chat.see(video).half().cpu().numpy()
                values.flush()
        self.values = np.memmap(path, np.float16, "r", shape=shape)
        unread = {row for row in np.flatnonzero(self.values[:, 0, 0] == UNREAD) if (self.values[row] == UNREAD).all()}
        self.unread = {each for each, row in self.row.items() if row in unread}
        self.problems: dict[str, str] = {}
        # In the order of the stretches, so that a resumed run, which finds the file there, tells the same.
        for video_id, start_s, end_s in (each for each in self.row if each in self.unread):
            fact = f"cannot be read at {start_s:g} to {end_s:g} s (questions about such stretches are left out)"
            self.problems.setdefault(video_id, f"{source.paths[video_id]} {fact}: copy it again")

    def readable(self, rows: Sequence[Row]) -> list[Row]:
        """The rows (`video_id`, `start_s`, `end_s` and more) whose stretch has tokens.

        Raises:
            DataError: there are none.
        """
        kept = [row for row in rows if (row["video_id"], row["start_s"], row["end_s"]) in self]
        if not kept:
            first = next(iter(self.problems.values()), "there is no question")
            raise DataError(f"none of {len(rows)} questions is about video that can be read; the first: {first}")
        return kept

    def __contains__(self, stretch: Stretch) -> bool:
        """Whether there are tokens of a stretch."""
        return stretch in self.row and stretch not in self.unread

    def __getitem__(self, stretch: Stretch) -> Tensor:
        """Pooled tokens float32 [V, D] of a stretch."""
        return torch.from_numpy(self.values[self.row[stretch]].astype(np.float32))

    def stack(self, stretches: Sequence[Stretch]) -> Tensor:
        """Pooled tokens float32 [B, V, D] of B stretches."""
        return torch.from_numpy(self.values[[self.row[stretch] for stretch in stretches]].astype(np.float32))


def _clip_or_none(source: ClipSource, stretch: Stretch, num_frames: int) -> Frames | None:
    try:
        return clip_at(source, stretch, num_frames)
    except Unreadable:
        return None


def clip_at(source: ClipSource, stretch: Stretch, num_frames: int) -> Frames:
    """Clip uint8 [T, S, S, 3] centred on a stretch and shifted into the video."""
    video_id, start_s, end_s = stretch
    clip_s = num_frames / source.fps
    last_s = max(0.0, source.durations_s[video_id] - clip_s)
    start = min(max(0.0, (start_s + end_s) / 2 - clip_s / 2), last_s)
    return source.clip(video_id, start, num_frames)
