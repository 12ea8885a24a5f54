"""A timeline of a video as a table: intervals in which a class of a track is seen, and how they were found.

An interval begins when its first frame is shown and ends when the frame after its last one is. Its times are therefore
presentation times of frames of the file, with a variable rate as well, and neighbours share theirs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pyarrow as pa

from surgvl.core.version import __version__
from surgvl.video.frame_times import FrameTimes

_SCHEMA = pa.schema(
    [
        ("video_id", pa.string()),
        ("track", pa.string()),
        ("name", pa.string()),
        ("start_s", pa.float64()),
        ("end_s", pa.float64()),
        ("first_frame", pa.int64()),
        ("last_frame", pa.int64()),
        ("confidence", pa.float64()),
        ("prompt_set", pa.string()),
        ("model", pa.string()),
        ("protocol", pa.string()),
        ("xywh", pa.string()),
    ]
)


@dataclass(frozen=True)
class Interval:
    """A stretch of video in which a class is seen.

    Attributes:
        track: what is told apart, such as `phase`, `triplet` or `tool`.
        name: the class.
        start_s: when it begins, seconds since the first frame of the file.
        end_s: when it ends.
        first_frame: number of its first frame in the file, from 0.
        last_frame: number of its last frame.
        confidence: mean softmax probability of the class in the interval.
        xywh: box of a label, as in `surgvl.data.tables.Segment`; empty without one.
    """

    track: str
    name: str
    start_s: float
    end_s: float
    first_frame: int
    last_frame: int
    confidence: float
    xywh: str = ""


@dataclass(frozen=True)
class Origin:
    """How a timeline was made.

    Attributes:
        model: name of the model, and the hash of its configuration and weights.
        prompt_sets: prompt set of each track, with its version, such as `cholec80_phase 1`.
        exclusive: tracks with one class at a time; the others have those above the threshold.
        protocol: `online` if nothing was used before it could be known, else `offline`.
        step_s: seconds from one clip to the next.
        smooth_s: window of the moving average over the cosines.
        threshold: least probability of a class of a track that is not exclusive.
        version: of surgvl.
    """

    model: str
    prompt_sets: dict[str, str]
    exclusive: tuple[str, ...]
    protocol: str
    step_s: float
    smooth_s: float
    threshold: float
    version: str = __version__

    def lines(self) -> list[str]:
        """The same in words."""
        tracks = ", ".join(f"{track} by {name}" for track, name in self.prompt_sets.items())
        several = [track for track in self.prompt_sets if track not in self.exclusive]
        threshold = f"; {', '.join(several)} with probability >= {self.threshold:g}" if several else ""
        seen = "past clips and causal smoothing only" if self.protocol == "online" else "clips may look ahead"
        return [
            f"Made by surgvl {self.version} with model {self.model}.",
            f"Zero-shot, prompt sets: {tracks}{threshold}.",
            f"One clip every {self.step_s:g} s, cosines averaged over {self.smooth_s:g} s.",
            f"Protocol: {self.protocol} ({seen}).",
            "Confidence: mean softmax probability over the interval. Not for clinical use.",
        ]


@dataclass(frozen=True)
class IntervalTable:
    """The intervals of one video, ordered by track and time.

    Attributes:
        video_id: name of the video.
        media: where the file is, as other files refer to it: a path relative to them, or an address.
        width_px: width as displayed.
        height_px: height as displayed.
        frames: times of its frames.
        classes: class names of each track, in the order of its prompt set.
        origin: how it was made.
        intervals: the rows.
    """

    video_id: str
    media: str
    width_px: int
    height_px: int
    frames: FrameTimes
    classes: dict[str, tuple[str, ...]]
    origin: Origin
    intervals: tuple[Interval, ...]

    def __len__(self) -> int:
        return len(self.intervals)

    def __iter__(self) -> Iterator[Interval]:
        return iter(self.intervals)

    def __getitem__(self, at: int) -> Interval:
        return self.intervals[at]

    def within(self, spans: Sequence[tuple[float, float]]) -> "IntervalTable":
        """The same cut to spans of time; confidences are those of the whole intervals.

        Args:
            spans: (start, end) in seconds, ascending and disjoint.
        """
        found = []
        cuts = [(self.frames.first_from(start_s), self.frames.first_from(end_s)) for start_s, end_s in spans]
        for row in self.intervals:
            for low, high in cuts:
                first, last = max(row.first_frame, low), min(row.last_frame, high - 1)
                if first <= last:
                    start_s, end_s = self.frames.begin_s(first), self.frames.begin_s(last + 1)
                    found.append(replace(row, start_s=start_s, end_s=end_s, first_frame=first, last_frame=last))
        order = list(self.classes)
        found.sort(key=lambda row: (order.index(row.track), row.first_frame, row.last_frame))
        return replace(self, intervals=tuple(found))

    def save(self, path: Path | str, format: str = "") -> None:
        """Write a file; see `surgvl.export.base.write_table`."""
        # Formats import this module.
        from surgvl.export.base import write_table

        write_table(self, path, format)

    def to_arrow(self) -> pa.Table:
        """One row an interval, with the video's id, the prompt set, the model and the protocol as further columns.

        Without any box, there is no column `xywh`.
        """
        origin = self.origin
        rows = [
            {
                "video_id": self.video_id,
                **asdict(row),
                "prompt_set": origin.prompt_sets[row.track],
                "model": origin.model,
                "protocol": origin.protocol,
            }
            for row in self
        ]
        found = pa.Table.from_pylist(rows, _SCHEMA)
        return found if any(row.xywh for row in self) else found.drop_columns("xywh")
