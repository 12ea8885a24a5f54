"""From vectors of clips to intervals: zero-shot probabilities (CLIP, arXiv 2103.00020), smoothed and merged.

Shapes: N clips in temporal order, C classes, E width of the space, F frames.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from surgvl import video
from surgvl.core.arrays import Float32Array, Float64Array, Int64Array, softmax
from surgvl.core.checks import check_range
from surgvl.export.interval_table import Interval, IntervalTable, Origin
from surgvl.metrics.temporal import segments, smooth
from surgvl.prompts import PromptSet
from surgvl.video.clip import Preprocess
from surgvl.video.frame_times import FrameTimes, frame_times

# Kinds of labels of which a moment has exactly one.
EXCLUSIVE = ("phase", "step")
SMOOTH_S = 5.0
# At most four classes at once: a softmax shares 1 among all.
THRESHOLD = 0.25


@dataclass(frozen=True, kw_only=True)
class TimelineConfig:
    """How intervals are made of the cosines of clips.

    Args:
        causal: use only what an online system could know: clips and smoothing that do not look ahead, and a decision
            holds from the moment that it was made.
        smooth_s: window of a moving average over the cosines, seconds; 0 for none.
        threshold: least probability of a class of a kind of which several hold at once, such as triplets and tools.
    """

    causal: bool = False
    smooth_s: float = SMOOTH_S
    threshold: float = THRESHOLD

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: one is out of range.
        """
        check_range("--smooth_s", self.smooth_s, 0, 3600)
        check_range("--threshold", self.threshold, 0, 1)


@dataclass(frozen=True)
class ClassSet:
    """A prompt set, its class names [C], and their zero-shot vectors float32 [C, E]."""

    prompt_set: PromptSet
    names: list[str]
    vectors: Float32Array


@dataclass(frozen=True)
class ClipVectors:
    """The clips of a video, one after the other.

    Attributes:
        vectors: unit vectors float32 [N, E].
        times_s: the moments that they stand for, seconds, ascending [N].
        begins_s: from when on the decision about each holds, up to the next one's [N].
        step_s: seconds from one clip to the next.
    """

    vectors: Float32Array
    times_s: Float64Array
    begins_s: Float64Array
    step_s: float

    @classmethod
    def of_segments(
        cls, vectors: Float32Array, starts_s: ArrayLike, ends_s: ArrayLike, preprocess: Preprocess, causal: bool
    ) -> "ClipVectors":
        """Clips that stand for segments of video; causal: a decision holds from the moment at which its clip ends."""
        times_s = preprocess.moments(starts_s, ends_s)
        return cls(vectors, times_s, times_s if causal else np.asarray(starts_s, np.float64), preprocess.step_s)


@dataclass(frozen=True)
class Track:
    """The probabilities of one kind of label.

    Attributes:
        name: such as `phase`.
        made_by: the prompt set whose classes these are, with its version, or the readout.
        classes: their names [C].
        probabilities: float64 [N, C].
        is_exclusive: whether exactly one class holds at a time.
    """

    name: str
    made_by: str
    classes: list[str]
    probabilities: Float64Array
    is_exclusive: bool

    def intervals(self, edges: Int64Array, frames: FrameTimes, threshold: float) -> Iterator[Interval]:
        """Merge clips of equal class.

        Args:
            edges: number of the first frame that each clip stands for, and of the frame after all, int64 [N + 1].
            frames: times of the frames.
            threshold: least probability of a class of a track that is not exclusive.
        """
        # Where frames last for seconds, some clips stand for none.
        shown = np.diff(edges) > 0
        begins, ends, found = edges[:-1][shown], edges[1:][shown], self.probabilities[shown]
        holds = found >= threshold
        if self.is_exclusive:
            holds = np.arange(len(self.classes)) == found.argmax(1)[:, None]
        runs = [
            (begins[first], ends[after - 1], number, found[first:after, number].mean())
            for number in np.flatnonzero(holds.any(0))
            for is_on, first, after in zip(*segments(holds[:, number]), strict=True)
            if is_on
        ]
        for first, after, number, confidence in sorted(runs):
            times = frames.begin_s(first), frames.begin_s(after)
            yield Interval(
                self.name, self.classes[number], *times, int(first), int(after) - 1, round(float(confidence), 6)
            )


def tracks(clips: ClipVectors, sets: Sequence[ClassSet], logit_scale: float, config: TimelineConfig) -> list[Track]:
    """Tracks of prompt sets; a set of triplets has one of its instruments as well, whose probabilities are sums.

    Args:
        clips: the clips of a video.
        sets: prompt sets with their class vectors.
        logit_scale: factor of the cosines before the softmax.
        config: smoothing.
    """
    tasks, found = [each.prompt_set.task for each in sets], list[Track]()
    for each in sets:
        cosines = np.asarray(clips.vectors, np.float64) @ each.vectors.T
        one_video = np.zeros(len(cosines), np.int64)
        chances = softmax(smooth(cosines, clips.times_s, one_video, config.smooth_s, config.causal), logit_scale)
        task, is_alone = each.prompt_set.task, tasks.count(each.prompt_set.task) == 1
        name = task if is_alone else each.prompt_set.name
        made_by = f"{each.prompt_set.name} {each.prompt_set.version}"
        found.append(Track(name, made_by, each.names, chances, task in EXCLUSIVE))
        if task == "triplet":
            tools = np.array([name.partition(",")[0] for name in each.names])
            names = list(dict.fromkeys(tools.tolist()))
            sums = np.stack([chances[:, tools == tool].sum(1) for tool in names], 1)
            found.append(Track("tool" if is_alone else f"{name}_tool", made_by, names, sums, False))
    return found


def interval_table(
    source: Path, clips: ClipVectors, sets: Sequence[ClassSet], logit_scale: float, config: TimelineConfig, model: str
) -> IntervalTable:
    """The timeline of a video from the vectors of its clips; reads the file's time stamps.

    Args:
        source: the video.
        clips: its clips.
        sets: prompt sets with their class vectors.
        logit_scale: factor of the cosines before the softmax.
        config: smoothing and thresholds.
        model: name or folder of the model that made the vectors; the file names no folder above it.

    Raises:
        DataError: the video cannot be read.
    """
    found = tracks(clips, sets, logit_scale, config)
    return table_of_tracks(source, found, clips.begins_s, clips.step_s, config, model)


def table_of_tracks(
    source: Path, found: Sequence[Track], begins_s: Float64Array, step_s: float, config: TimelineConfig, model: str
) -> IntervalTable:
    """The timeline of a video from the probabilities of its clips; reads the file's time stamps.

    Args:
        source: the video.
        found: the tracks.
        begins_s: from when on the decision about each clip holds, seconds, ascending [N].
        step_s: seconds from one clip to the next.
        config: thresholds; smoothing as it was done.
        model: name or folder of the model; the file names no folder above it.

    Raises:
        DataError: the video cannot be read.
    """
    frames, info = frame_times(source), video.probe(source)
    edges = np.array([*map(frames.first_from, begins_s.tolist()), len(frames)])
    origin = Origin(
        model=re.sub(r"[^:@]*/", "", model),
        prompt_sets={each.name: each.made_by for each in found},
        exclusive=tuple(each.name for each in found if each.is_exclusive),
        protocol="online" if config.causal else "offline",
        step_s=step_s,
        smooth_s=config.smooth_s,
        threshold=config.threshold,
    )
    return IntervalTable(
        video_id=source.stem,
        media=str(source),
        width_px=info.width_px,
        height_px=info.height_px,
        frames=frames,
        classes={each.name: tuple(each.classes) for each in found},
        origin=origin,
        intervals=tuple(row for each in found for row in each.intervals(edges, frames, config.threshold)),
    )
