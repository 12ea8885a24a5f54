"""The contract of a data set: its licence, its official splits, and a reader from its public layout to a manifest."""

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa

from surgvl.core.arrays import Float64Array
from surgvl.core.errors import ConfigError, DataError
from surgvl.core.plurals import part_of, plural, shorten
from surgvl.data.formats.box_labels import Instance, box_segments
from surgvl.data.formats.layout import merge_alike, unmatched_entries, why_nothing
from surgvl.data.formats.pictures import at_pictures, questions_within, times_of
from surgvl.data.manifest import Manifest, Segment, VideoRow
from surgvl.data.spans import Track, clip_spans
from surgvl.data.splits import Splits, read_splits, split_of_each
from surgvl.video import VideoInfo, probe
from surgvl.video.clip import Preprocess

if TYPE_CHECKING:
    from surgvl.data.labelled_clips import LabelledClips

TOLERANCE_S = 2.0
PREPROCESS = Preprocess(num_frames=16, fps=4.0, size_px=224)


@dataclass
class Contents:
    """What a reader collects from a data set's folder.

    Attributes:
        videos: one row for each video.
        segments: labels over time.
        qa: arrow tables of questions, with the columns of `QA`.
        problems: one line for each thing that is missing or does not fit.
        unreadable: one line for each file, row or entry that cannot be read.
        unmatched: by folder, the names of entries that match no pattern of the layout.
    """

    videos: list[VideoRow] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    qa: list[Any] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    unmatched: dict[Path, set[str]] = field(default_factory=dict)


class VideoDataset(ABC):
    """A public data set on disk. A subclass is found by the name of its file below `surgvl/data/readers`.

    Attributes:
        name: public name, equal to the file name.
        LICENCE: licence of the pixels and labels.
        LICENCE_FROM: where it was read; empty where nobody could verify it.
        SOURCE: the paper, and where to request the data.
        SPLITS: protocol -> split (`train`, `val`, `test`) -> video ids, as published; the first protocol is the
            default.
        CLASSES: task -> class names in the order of the published ids; tasks without a fixed list are absent.
        PROCEDURE: the operation shown.
        SPECIALTY: the surgical specialty.
        RENDERED: whether a program rendered the videos.
        ABSENT: advice where the folder is absent or holds nothing; empty for the default advice.

    Args:
        root: the data set's folder. A `splits.json` in it, {"train": [ids], "val": [ids], "test": [ids]}, takes
            precedence over SPLITS, as protocol `own`.
        protocol: a key of SPLITS; empty for the default.

    Raises:
        DataError: the folder is absent.
        ConfigError: an unknown protocol, or one whose splits overlap.
    """

    name: ClassVar[str] = ""
    LICENCE: ClassVar[str] = ""
    LICENCE_FROM: ClassVar[str] = ""
    SOURCE: ClassVar[str] = ""
    SPLITS: ClassVar[Splits] = {}
    CLASSES: ClassVar[Mapping[str, Sequence[str]]] = {}
    PROCEDURE: ClassVar[str] = ""
    SPECIALTY: ClassVar[str] = ""
    RENDERED: ClassVar[bool] = False
    ABSENT: ClassVar[str] = ""

    def __init__(self, root: Path | str, protocol: str = "") -> None:
        self.root = Path(root).resolve()
        if not self.root.is_dir():
            advice = self.ABSENT or f"give the folder that {self.name} was unpacked to"
            raise DataError(f"{root} is not a folder: {advice}")
        splits = self.splits()
        if protocol and protocol not in splits:
            known = ", ".join(splits) or "none"
            raise ConfigError(f"{self.name} has no split protocol {protocol!r}; known are {known}: choose one")
        self.protocol = protocol or next(iter(splits), "")
        where = str(self.root / "splits.json") if self.protocol == "own" else f"{self.name} {self.protocol}"
        self.split_of = split_of_each(splits.get(self.protocol, {}), where)

    def splits(self) -> Splits:
        """Split protocols of this copy: that of its `splits.json`, if there is one, and those of the class.

        Raises:
            DataError: `splits.json` does not have the form above.
        """
        path = self.root / "splits.json"
        return {"own": read_splits(path), **self.SPLITS} if path.is_file() else self.SPLITS

    @abstractmethod
    def read(self, contents: Contents) -> None:
        """Read the folder into `contents`; list files that cannot be read in `contents.unreadable` and continue."""

    @cached_property
    def contents(self) -> Contents:
        """Everything in the folder; read once.

        Raises:
            DataError: the folder holds nothing in the data set's layout.
        """
        self.read(contents := Contents())
        contents.problems += unmatched_entries(self.root, contents)
        ends_s = {row.video_id: row.duration_s for row in contents.videos}
        num_questions = sum(map(len, contents.qa))
        contents.qa = [questions_within(table, ends_s) for table in contents.qa]
        if lost := num_questions - sum(map(len, contents.qa)):
            contents.problems.append(
                f"{part_of(lost, num_questions, 'question', 'is')} about a time after the end of the video, left out"
            )
        ids = {row.video_id for row in contents.videos}
        if not ids and not contents.unreadable:
            raise DataError(why_nothing(self, contents))
        of = f" of protocol {self.protocol}" if self.protocol else ""
        if absent := sorted(set(self.split_of) - ids):
            videos, verb = plural(len(self.split_of), "video"), "is" if len(absent) == 1 else "are"
            contents.problems.append(f"{len(absent)} of {videos}{of} {verb} missing: {shorten(absent)}")
        if self.split_of and (strange := sorted(ids - set(self.split_of))):
            contents.problems.append(f"not in any split{of}: {shorten(strange)}")
        if bare := [row.video_id for row in contents.videos if not row.path]:
            contents.problems.append(f"labels but no video file for {len(bare):,}: {shorten(bare)}")
        return contents

    @property
    def videos(self) -> list[VideoRow]:
        """Readable videos, and those of which only labels are at hand (empty path)."""
        return self.contents.videos

    def clips(self, split: str, preprocess: Preprocess = PREPROCESS) -> "LabelledClips":
        """The clips of a split, one after the other, with their labels.

        Args:
            split: `train`, `val` or `test`.
            preprocess: frames, rate and size of a clip.

        Raises:
            DataError: no video is in the split.
        """
        # Reading labels needs no torch; its import would take most of the time of `surgvl data`.
        from surgvl.data.labelled_clips import LabelledClips

        return LabelledClips(self.to_manifest().split(split), preprocess)

    def problems(self) -> list[str]:
        """Files that are missing, inconsistent or unreadable, one line each; none of them stops the reading."""
        found = merge_alike(self.contents.problems, {row.video_id for row in self.contents.videos})
        return [*found, *(f"unreadable: {line}" for line in self.contents.unreadable)]

    def to_manifest(self) -> Manifest:
        """Convert videos, segments and questions to a manifest with this folder as root, once.

        Raises:
            DataError: no video can be read.
        """
        return self._manifest

    @cached_property
    def _manifest(self) -> Manifest:
        if not self.contents.videos:
            raise DataError(f"{self.root}: no video of {self.name} can be read: {self.contents.unreadable[0]}")
        qa = pa.concat_tables(self.contents.qa) if self.contents.qa else ()
        return Manifest(self.contents.videos, self.contents.segments, qa, root=self.root, where=self.name)

    # ---- for subclasses

    def open_video(self, contents: Contents, video_id: str, path: Path | None) -> VideoInfo | None:
        """Probe a video; None where there is no file or it cannot be read.

        Args:
            contents: takes the line on a video that cannot be read.
            video_id: for that line.
            path: a file or a frame folder.
        """
        if path is None:
            return None
        try:
            return probe(path)
        except DataError as error:
            contents.unreadable.append(f"{video_id}: {error}")
            return None

    def as_shown(
        self,
        contents: Contents,
        video_id: str,
        path: Path | None,
        tracks: Mapping[str, Track],
        first: Sequence[int] = (0,),
    ) -> tuple[dict[str, Track], Float64Array | None]:
        """Labels at the times at which the video shows them: unchanged for a file, moved for a frame folder.

        Args:
            contents: takes remarks on the folder.
            video_id: for the remarks.
            path: a file or a frame folder that can be opened; None where there is none.
            tracks: labels over the time of the operation.
            first: see `surgvl.data.formats.pictures.times_of`.

        Returns:
            The tracks, and for a frame folder the time of the operation that each picture shows, float64 [P].
        """
        if path is None or not path.is_dir():
            return dict(tracks), None
        end_s = max((track.end_s for track in tracks.values()), default=0.0)
        times_s, notes = times_of(path, end_s, first)
        contents.problems += [f"{video_id}: {note}" for note in notes]
        return {task: at_pictures(track, times_s) for task, track in tracks.items()}, times_s

    @cached_property
    def rendered(self) -> bool:
        """Whether a program rendered the videos; true also of a part of a phantom that is read as a public data set."""
        return self.RENDERED or any((folder / "phantom.json").is_file() for folder in (self.root, self.root.parent))

    def add_video(
        self,
        contents: Contents,
        video_id: str,
        path: Path | None,
        info: VideoInfo | None,
        tracks: Mapping[str, Track],
        label_fps: float = 1.0,
    ) -> None:
        """Add a video and its tracks (task -> labels), clipped to the video; note where the lengths differ."""
        end_s = max((track.end_s for track in tracks.values()), default=0.0)
        # Also of a video that is not added: they may say why.
        contents.problems += [f"{video_id}: {note}" for track in tracks.values() for note in track.notes]
        if info is None and (path is not None or end_s <= 0):
            if path is None:
                contents.problems.append(f"{video_id}: no video file and no usable labels, left out")
            return
        duration_s = info.duration_s if info else end_s
        contents.videos.append(
            VideoRow(
                video_id=video_id,
                path=os.path.relpath(path, self.root) if path else "",
                source=self.name,
                procedure=self.PROCEDURE,
                specialty=self.SPECIALTY,
                fps=info.fps if info else label_fps,
                duration_s=duration_s,
                licence=self.LICENCE,
                split=self.split_of.get(video_id, ""),
                rendered=self.rendered,
            )
        )
        for task, track in tracks.items():
            excess_s = track.end_s - duration_s
            if track.end_s and (excess_s > TOLERANCE_S or (track.whole and excess_s < -TOLERANCE_S)):
                longer = "longer" if excess_s > 0 else "shorter"
                fact = f"({track.end_s:.1f} s, video {duration_s:.1f} s)"
                advice = "check that both are of one recording, neither cut nor at another rate"
                contents.problems.append(f"{video_id}: {task} labels are {longer} than the video {fact}: {advice}")
            spans = clip_spans(track.spans, duration_s)
            if lost := len(track.spans) - len(spans):
                fact = f"{lost} of {len(track.spans)} {task} labels start after the end of the video"
                contents.problems.append(f"{video_id}: {fact}, left out")
            contents.segments += [
                Segment(video_id=video_id, start_s=start, end_s=end, task=task, label=label)
                for start, end, label in spans
            ]

    def add_boxes(
        self,
        contents: Contents,
        video_id: str,
        frames: Mapping[float, Sequence[Instance]],
        length_s: float,
        times_s: Float64Array | None,
        kinds: Sequence[str] = ("instrument", "triplet"),
    ) -> None:
        """Add the boxes of labelled frames to the video that was added last, if it was this one; see `box_segments`."""
        if contents.videos and contents.videos[-1].video_id == video_id:
            end_s = contents.videos[-1].duration_s
            contents.segments += box_segments(video_id, frames, kinds, length_s, end_s, times_s)
