"""Controls of visual question answering: the same question about another clip, so that a model that ignores the clip
shows up.

`black`: every frame is black. `other`: a clip of another question, about another video of the same split. It is drawn
from any moment, because operations follow the same course: the same moment of another one would often be right.
Shapes: M windows, T frames, S side in pixels.
"""

from collections.abc import Sequence

import numpy as np

from surgvl.chat.question import Window
from surgvl.core.arrays import Int64Array, UInt8Array
from surgvl.core.errors import ConfigError
from surgvl.data.frame_store import FrameStore

KINDS = ("black", "other")
BLACK = Window("(black)", 0.0, 1.0)
"""Stands for any window; no file has this name."""


class WithBlack(FrameStore):
    """A prepared store with one more video, which is black: `BLACK`.

    Args:
        store: all other videos; `problems` is shared with it.
    """

    def __init__(self, store: FrameStore):
        super().__init__(store.paths, store.preprocess, store.cache)
        self.problems = store.problems
        self.durations_s = {**store.durations_s, BLACK.video_id: BLACK.end_s}

    def name(self, video_id: str) -> str:
        """Name of stored files about a video."""
        return video_id if video_id == BLACK.video_id else super().name(video_id)

    def frames(self, video_id: str, numbers: Int64Array) -> UInt8Array:
        """Frames uint8 [T, S, S, 3]; zeros for the black video."""
        if video_id == BLACK.video_id:
            return np.zeros((len(numbers), self.picture.size_px, self.picture.size_px, 3), np.uint8)
        return super().frames(video_id, numbers)


def replaced(windows: Sequence[Window], control: str, seed: int = 0) -> list[Window]:
    """The window to show in place of each of M windows; equal windows get equal replacements.

    Args:
        windows: what the questions are about.
        control: empty for the windows themselves, `black`, or `other`: drawn from the windows of other videos.
        seed: of the draws.

    Raises:
        ConfigError: an unknown control, or `other` with a single video.
    """
    if not control:
        return list(windows)
    if control == "black":
        return [BLACK] * len(windows)
    if control != "other":
        raise ConfigError(f"control must be one of {', '.join(KINDS)}, got {control!r}")
    known = sorted(set(windows))
    videos = [window[0] for window in known]
    if len(set(videos)) < 2:
        raise ConfigError(f"all questions are about {videos[0]}: the control with another video needs a second one")
    rng, shown = np.random.default_rng(seed), {}
    # Sorted by video, so a draw at or beyond a video's first window skips that video's windows.
    first = {video_id: videos.index(video_id) for video_id in dict.fromkeys(videos)}
    many = {video_id: videos.count(video_id) for video_id in first}
    for window in known:
        at = int(rng.integers(len(known) - many[window[0]]))
        shown[window] = known[at if at < first[window[0]] else at + many[window[0]]]
    return [shown[window] for window in windows]
