"""Controls of visual question answering: the same question about another clip, so that a model that ignores the clip
shows up, or in other words, so that one that depends on them does.

`no_video`: the question alone. `black`: every frame is black. `other`: a clip of another question, about another video
of the same split. It is drawn from any moment, because operations follow the same course: the same moment of another
one would often be right. `order 2`, ...: options in another order. `wording 2`, ...: another wording; `example`: one
that shows an answered question before.
Shapes: M windows, T frames, S side in pixels.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from surgvl.chat.answerer import Window
from surgvl.core.arrays import Int64Array, UInt8Array
from surgvl.core.errors import ConfigError
from surgvl.data.frame_store import FrameStore
from surgvl.metrics.answer_types.base import PLAIN, answer_types
from surgvl.prompts.wordings import Wordings

KINDS = ("no_video", "black", "other")
BLACK = Window("(black)", 0.0, 1.0)
"""Stands for any window; no file has this name."""
NO_VIDEO = Window("(no video)", 0.0, 1.0)
"""Stands for any window, and shows nothing."""
NUM_ORDERS = 3
EXAMPLE = "example"


@dataclass(frozen=True)
class Variant:
    """A question put in another way.

    Attributes:
        wording: template.
        order: of the options.
    """

    wording: str = PLAIN
    order: int = 1


def variant_names(wordings: Wordings, kinds: Collection[str]) -> tuple[str, ...]:
    """Names of the variants of questions of some types: other wordings, orders of options if any has some, an example.

    Args:
        wordings: the set.
        kinds: types of answers, not `open`.

    Raises:
        ConfigError: the set has no wordings of one of them.
    """
    if lacks := sorted(set(kinds) - set(wordings.types)):
        raise ConfigError(f"wordings {wordings.name!r} have none for questions of type {', '.join(lacks)}: add them")
    types = [wordings.types[kind] for kind in kinds]
    least = min((len(each.wordings) for each in types), default=1)
    example = [EXAMPLE] * all(each.example is not None for each in types)
    have_options = any(answer_types()[kind].takes_options for kind in kinds)
    orders = (f"order {number}" for number in range(2, NUM_ORDERS + 1) if have_options)
    return (*(f"wording {number}" for number in range(2, least + 1)), *orders, *example) if types else ()


def variant(name: str, kind: str, wordings: Wordings | None = None, options: bool = True) -> Variant | None:
    """How questions of one type are put under a control; None if it does not change them.

    Args:
        name: empty for questions as they are always put, one of `KINDS`, or a name of a variant.
        kind: type of the answer.
        wordings: a set that has the variant.
        options: whether the questions have options, without which they have no order.
    """
    of_type = wordings.types.get(kind) if wordings else None
    plain = of_type.wordings[0] if of_type else PLAIN
    what, _, number = name.partition(" ")
    if not name or name in KINDS:
        return Variant(plain)
    if kind == "open":
        return None
    if what == "order":
        return Variant(plain, int(number)) if options else None
    assert of_type is not None
    return Variant(of_type.example or plain if name == EXAMPLE else of_type.wordings[int(number) - 1])


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
        control: empty for the windows themselves, `no_video`, `black`, or `other`: drawn from those of other videos.
        seed: of the draws.

    Raises:
        ConfigError: an unknown control, or `other` with a single video.
    """
    if not control:
        return list(windows)
    if control == "no_video":
        return [NO_VIDEO] * len(windows)
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
