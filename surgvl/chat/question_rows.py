"""Rows of a manifest's question table, and the windows that they are about; nothing here imports torch.

Shapes: T frames, S pixels.
"""

from collections.abc import Container, Mapping, Sequence
from typing import Any

from surgvl.chat.answerer import Window
from surgvl.core.arrays import UInt8Array
from surgvl.core.errors import DataError
from surgvl.core.plurals import none_of
from surgvl.data.frame_store import FrameStore

QuestionRow = dict[str, Any]
"""A row of a manifest's question table."""


def window_of(row: Mapping[str, Any]) -> Window:
    """The window that a question row is about."""
    return Window(row["video_id"], row["start_s"], row["end_s"])


def window_frames(store: FrameStore, window: Window) -> UInt8Array:
    """Frames uint8 [T, S, S, 3] of the clip that stands for a window.

    Raises:
        Unreadable: the video cannot be read there.
    """
    return store.clip(store.key_of(*window))


def readable_rows(
    rows: Sequence[QuestionRow], windows: Container[Window], problems: Mapping[str, str]
) -> list[QuestionRow]:
    """The question rows whose window can be read.

    Raises:
        DataError: there are none; the first of the problems (video id -> what is wrong) says why.
    """
    kept = [row for row in rows if window_of(row) in windows]
    if not kept:
        first = next(iter(problems.values()), "there is no question")
        raise DataError(none_of(len(rows), "question", "is about video that can be read", first))
    return kept
