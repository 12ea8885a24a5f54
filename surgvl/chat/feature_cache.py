"""Pooled visual tokens of the stretches of video that questions are about.

Shapes: B stretches, V stored tokens, D encoder width, T frames.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from surgvl.core.arrays import UInt8Array
from surgvl.core.errors import DataError
from surgvl.core.plurals import none_of
from surgvl.data.frame_store import FrameStore
from surgvl.embed.features import Clip, Features
from surgvl.models.chat import Chat

Stretch = tuple[str, float, float]
Row = dict[str, Any]


def looked_at(source: FrameStore, stretch: Stretch, num_frames: int) -> Clip:
    """The clip of T frames that stands for a stretch: around its middle, shifted into the video."""
    video_id, start_s, end_s = stretch
    return source.clip_around(video_id, (start_s + end_s) / 2, num_frames)


def clip_at(source: FrameStore, stretch: Stretch, num_frames: int) -> UInt8Array:
    """Frames uint8 [T, S, S, 3] of that clip."""
    video_id, start_ms = looked_at(source, stretch, num_frames)
    return source.clip(video_id, start_ms / 1000, num_frames)


class Seen:
    """Pooled tokens float32 [V, D] by stretch (video_id, start_s, end_s), encoded now unless they are stored.

    A stretch that cannot be read has none (`stretch in seen`), and its video is named in `problems`.

    Args:
        chat: whose frozen encoder looks, on its device.
        source: prepared source of clips.
        stretches: what to look at; a clip of T frames is centred on each.
        num_frames: T.
        folder: where tokens are stored, see `surgvl.embed.features`.
    """

    def __init__(self, chat: Chat, source: FrameStore, stretches: Sequence[Stretch], num_frames: int, folder: Path):
        self.clips = {each: looked_at(source, each, num_frames) for each in dict.fromkeys(stretches)}
        kept = "x".join(map(str, chat.projector.grid)) if chat.projector.kind == "grid" else ""
        pool = {"pool": chat.projector.pool, "kept": kept} if kept else {}
        self.features = Features(chat.encoder, source, num_frames, folder, **pool)  # type: ignore[arg-type]
        self.features.add(self.clips.values())
        self.problems: dict[str, str] = {}
        for video_id, start_s, end_s in (each for each in self.clips if each not in self):
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
            raise DataError(none_of(len(rows), "question", "is about video that can be read", first))
        return kept

    def __contains__(self, stretch: Stretch) -> bool:
        """Whether there are tokens of a stretch."""
        return stretch in self.clips and self.clips[stretch] in self.features

    def __getitem__(self, stretch: Stretch) -> Tensor:
        """Pooled tokens float32 [V, D] of a stretch."""
        return self.features[self.clips[stretch]]

    def stack(self, stretches: Sequence[Stretch]) -> Tensor:
        """Pooled tokens float32 [B, V, D] of B stretches."""
        return self.features.stack([self.clips[stretch] for stretch in stretches])
