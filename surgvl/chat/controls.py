"""Controls of a question: the same question with another picture, so that a model that ignores the picture is seen.

`black`: every frame is black. `other`: a clip that was asked about in another video of the same split, at a moment
drawn at random, because operations take the same course: the same moment of another one would often be right.
Shape letters: M stretches, T frames, S side in pixels.
"""

from collections.abc import Sequence

import numpy as np

from surgvl.chat.feature_cache import Stretch
from surgvl.core.arrays import UInt8Array
from surgvl.core.errors import ConfigError
from surgvl.data.frame_store import FrameStore

KINDS = ("black", "other")
# Stands for any stretch; no file is named so.
BLACK: Stretch = ("(black)", 0.0, 1.0)


class WithBlack(FrameStore):
    """A prepared source of clips that also has one black video, `BLACK`.

    Args:
        source: what it is made of.
    """

    def __init__(self, source: FrameStore):
        super().__init__(source.paths, source.fps, source.size_px, source.crop, source.cache)
        self.problems = source.problems
        self.durations_s = {**source.durations_s, BLACK[0]: BLACK[2]}

    def name(self, video_id: str) -> str:
        """What stored files about a video are named after."""
        return video_id if video_id == BLACK[0] else super().name(video_id)

    def clip(self, video_id: str, start_s: float, num_frames: int) -> UInt8Array:
        """Frames uint8 [T, S, S, 3]; zeros of the black video."""
        if video_id == BLACK[0]:
            return np.zeros((num_frames, self.size_px, self.size_px, 3), np.uint8)
        return super().clip(video_id, start_s, num_frames)


def replaced(stretches: Sequence[Stretch], kind: str, seed: int = 0) -> list[Stretch]:
    """What is shown in place of each of M stretches; equal stretches get equal ones.

    Args:
        stretches: (video_id, start_s, end_s) of each question.
        kind: empty for the stretches themselves, `black`, or `other`: drawn among the stretches of other videos.
        seed: of the draws.

    Raises:
        ConfigError: an unknown kind, or `other` with a single video.
    """
    if not kind:
        return list(stretches)
    if kind == "black":
        return [BLACK] * len(stretches)
    if kind != "other":
        raise ConfigError(f"control {kind!r} is unknown; known are {', '.join(KINDS)}: choose one")
    known = sorted(set(stretches))
    videos = [video_id for video_id, _, _ in known]
    if len(set(videos)) < 2:
        raise ConfigError(f"all questions are about {videos[0]}: the control with another video needs a second one")
    rng, shown = np.random.default_rng(seed), {}
    # Sorted, so a video's stretches lie side by side: a number beyond those before them skips them.
    first = {video_id: videos.index(video_id) for video_id in dict.fromkeys(videos)}
    many = {video_id: videos.count(video_id) for video_id in first}
    for stretch in known:
        at = int(rng.integers(len(known) - many[stretch[0]]))
        shown[stretch] = known[at if at < first[stretch[0]] else at + many[stretch[0]]]
    return [shown[stretch] for stretch in stretches]
