"""The contract of a data set: its licence, its official splits, and a reader from its public layout to a manifest."""

import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NotRequired, TypedDict

import pyarrow as pa

from surgvl.core.errors import ConfigError, DataError
from surgvl.core.files import read_json
from surgvl.data.manifest import Manifest, Segment, VideoRow
from surgvl.data.readers.layout import find_files as find_files
from surgvl.data.readers.layout import find_videos as find_videos
from surgvl.data.readers.layout import remarks_on_rest
from surgvl.data.readers.layout import shorten as shorten
from surgvl.data.readers.pictures import at_pictures, questions_within, times_of
from surgvl.data.spans import Track, clip
from surgvl.video import VideoInfo, probe

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

Splits = Mapping[str, Mapping[str, Sequence[str]]]
TOLERANCE_S = 2.0


class Clip(TypedDict):
    """A stretch of a video as training sees it; a batch has lists and a stacked video [B, 3, T, H, W]."""

    video: "torch.Tensor"
    video_id: str
    start_s: float
    end_s: float
    text: NotRequired[list[str]]
    labels: NotRequired[dict[str, list[str]]]
    question: NotRequired[str]
    answer: NotRequired[str]


@dataclass
class Found:
    """What a reader collects: rows, remarks, and the files it had to set aside because they cannot be read.

    `passed_over` has the names in each folder that fitted no pattern of the layout.
    """

    videos: list[VideoRow] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    qa: list[Any] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    set_aside: list[str] = field(default_factory=list)
    passed_over: dict[Path, set[str]] = field(default_factory=dict)


class VideoDataset(ABC):
    """A public data set on disk. A subclass in a file of its name is found by `plugins`.

    Attributes:
        name: public name, equal to the file name.
        LICENCE: licence of the pixels and labels.
        SOURCE: paper and place to ask for it.
        SPLITS: protocol -> split (`train`, `val`, `test`) -> video ids, as published; the first protocol is the
            default.
        PROCEDURE: what is operated.
        SPECIALTY: the surgical field.
        RENDERED: whether a program drew the videos.
        ABSENT: what to do where the folder is absent or holds nothing; empty for the usual words.

    Args:
        root: the data set's folder. A `splits.json` in it, {"train": [ids], "val": [ids], "test": [ids]}, comes before
            SPLITS, as protocol `own`.
        protocol: a key of SPLITS; empty for the default.

    Raises:
        DataError: the folder is absent.
        ConfigError: an unknown protocol, or one whose splits overlap.
    """

    name: ClassVar[str] = ""
    LICENCE: ClassVar[str] = ""
    SOURCE: ClassVar[str] = ""
    SPLITS: ClassVar[Splits] = {}
    PROCEDURE: ClassVar[str] = ""
    SPECIALTY: ClassVar[str] = ""
    RENDERED: ClassVar[bool] = False
    ABSENT: ClassVar[str] = ""

    def __init__(self, root: Path, protocol: str = "") -> None:
        self.root = Path(root).resolve()
        if not self.root.is_dir():
            advice = self.ABSENT or f"give the folder that {self.name} was unpacked to"
            raise DataError(f"{root} is not a folder: {advice}")
        splits = self.splits()
        if protocol and protocol not in splits:
            known = ", ".join(splits) or "none"
            raise ConfigError(f"{self.name} has no split protocol {protocol!r}; known are {known}: choose one")
        self.protocol = protocol or next(iter(splits), "")
        self.split_of = assign(splits.get(self.protocol, {}), f"{self.name} {self.protocol}")

    def splits(self) -> Splits:
        """Protocols of this copy: the one that the folder states, if it does, and the class's.

        Raises:
            DataError: `splits.json` is not of the form above.
        """
        path = self.root / "splits.json"
        return {"own": read_splits(path), **self.SPLITS} if path.is_file() else self.SPLITS

    @abstractmethod
    def read(self, found: Found) -> None:
        """Read the folder into `found`; a file that cannot be read is set aside, the rest goes on."""

    @cached_property
    def found(self) -> Found:
        """Everything read, once."""
        found = Found()
        self.read(found)
        found.problems += remarks_on_rest(self.root, found)
        ends_s = {row.video_id: row.duration_s for row in found.videos}
        num_asked = sum(map(len, found.qa))
        found.qa = [questions_within(table, ends_s) for table in found.qa]
        if lost := num_asked - sum(map(len, found.qa)):
            found.problems.append(
                f"{lost} of {num_asked} questions are about times after the end of their video, left out"
            )
        ids = {row.video_id for row in found.videos}
        if not ids and not found.set_aside:
            raise DataError(f"{self.root} holds nothing in the layout of {self.name}: {self._why(found)}")
        of = f" of protocol {self.protocol}" if self.protocol else ""
        if absent := sorted(set(self.split_of) - ids):
            total = len(self.split_of)
            found.problems.append(f"{len(absent)} of {total} videos{of} are missing: {shorten(absent)}")
        if self.split_of and (strange := sorted(ids - set(self.split_of))):
            found.problems.append(f"not in any split{of}: {shorten(strange)}")
        if bare := [row.video_id for row in found.videos if not row.path]:
            found.problems.append(f"labels but no video file for {len(bare)}: {shorten(bare)}")
        return found

    def _why(self, found: Found) -> str:
        """Why nothing was found: the first remark, what lies there, and the layout as the module's text has it."""
        there = shorten(sorted(path.name for path in self.root.iterdir() if not path.name.startswith(".")))
        paragraphs = (sys.modules[type(self).__module__].__doc__ or "").split("\n\n")
        layout = " ".join(next((text for text in paragraphs if text.startswith("Layout")), "").split())
        parts = [*found.problems[:1], f"there are {there}" if there else "the folder is empty", self.ABSENT or layout]
        return "; ".join(part for part in parts if part) or "check the folder"

    @property
    def videos(self) -> list[VideoRow]:
        """Readable videos, and those of which only labels are at hand (empty path)."""
        return self.found.videos

    def problems(self) -> list[str]:
        """What is missing or does not fit, one line each; nothing of it stops the reading."""
        return [*self.found.problems, *(f"set aside: {line}" for line in self.found.set_aside)]

    def to_manifest(self) -> Manifest:
        """Videos, segments and questions as a manifest with this folder as root.

        Raises:
            DataError: every file had to be set aside.
        """
        if not self.found.videos:
            raise DataError(f"{self.root}: no video of {self.name} can be read: {self.found.set_aside[0]}")
        qa = pa.concat_tables(self.found.qa) if self.found.qa else ()
        return Manifest(self.found.videos, self.found.segments, qa, root=self.root, where=self.name)

    # ---- help for readers

    def open_video(self, found: Found, video_id: str, path: Path | None) -> VideoInfo | None:
        """Probe a video; an unreadable one is set aside. None where there is no file or it cannot be read.

        Args:
            found: takes what is set aside.
            video_id: for the message.
            path: a file or a frame folder.
        """
        if path is None:
            return None
        try:
            return probe(path)
        except DataError as error:
            found.set_aside.append(f"{video_id}: {error}")
            return None

    def shown(
        self, found: Found, video_id: str, path: Path | None, tracks: Mapping[str, Track], first: Sequence[int] = (0,)
    ) -> tuple[dict[str, Track], "NDArray[np.float64] | None"]:
        """Labels as the video shows them: the same for a file, moved to its pictures for a frame folder.

        Args:
            found: takes remarks on the folder.
            video_id: for the remarks.
            path: a file or a frame folder that could be opened; None where there is none.
            tracks: labels over the time of the operation.
            first: see `surgvl.data.readers.pictures.times_of`.

        Returns:
            The tracks, and for a frame folder the time of the operation that each picture shows.
        """
        if path is None or not path.is_dir():
            return dict(tracks), None
        end_s = max((track.end_s for track in tracks.values()), default=0.0)
        times_s, notes = times_of(path, end_s, first)
        found.problems += [f"{video_id}: {note}" for note in notes]
        return {task: at_pictures(track, times_s) for task, track in tracks.items()}, times_s

    @cached_property
    def rendered(self) -> bool:
        """Whether a program drew the videos: also a part of a phantom, read as the data set whose layout it has."""
        return self.RENDERED or any((folder / "phantom.json").is_file() for folder in (self.root, self.root.parent))

    def add_video(
        self,
        found: Found,
        video_id: str,
        path: Path | None,
        info: VideoInfo | None,
        tracks: Mapping[str, Track],
        label_fps: float = 1.0,
    ) -> None:
        """Add a video and its tracks (task -> labels), cut to the video's length; remarks where the lengths differ."""
        end_s = max((track.end_s for track in tracks.values()), default=0.0)
        # Also of a video that is not added: they may say why.
        found.problems += [f"{video_id}: {note}" for track in tracks.values() for note in track.notes]
        if info is None and (path is not None or end_s <= 0):
            if path is None:
                found.problems.append(f"{video_id}: no video file and no labels that can be used, left out")
            return
        duration_s = info.duration_s if info else end_s
        found.videos.append(
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
                found.problems.append(f"{video_id}: {task} labels are {longer} than the video {fact}")
            spans = clip(track.spans, duration_s)
            if lost := len(track.spans) - len(spans):
                fact = f"{lost} of {len(track.spans)} {task} labels start after the end of the video"
                found.problems.append(f"{video_id}: {fact}, left out")
            found.segments += [
                Segment(video_id=video_id, start_s=start, end_s=end, task=task, label=label)
                for start, end, label in spans
            ]


def assign(splits: Mapping[str, Sequence[str]], where: str) -> dict[str, Any]:
    """Video id -> split.

    Raises:
        ConfigError: an id is in two splits or twice in one.
    """
    split_of: dict[str, str] = {}
    for split, ids in splits.items():
        for video_id in ids:
            if video_id in split_of:
                raise ConfigError(
                    f"{where}: {video_id} is in {split_of[video_id]} and in {split}: each video has one split"
                )
            split_of[video_id] = split
    return split_of


def read_splits(path: Path) -> dict[str, tuple[str, ...]]:
    """Read `splits.json`: split -> video ids.

    Raises:
        DataError: other content.
    """
    record = read_json(path)
    whole = isinstance(record, dict) and record.keys() <= {"train", "val", "test"}
    if not whole or not all(isinstance(ids, list) and all(isinstance(i, str) for i in ids) for ids in record.values()):
        raise DataError(f'{path} is not {{"train": [ids], "val": [ids], "test": [ids]}}: correct the file')
    return {split: tuple(ids) for split, ids in record.items()}


def numbered(pattern: str, *ranges: tuple[int, int]) -> tuple[str, ...]:
    """Ids of number ranges, both ends included: `numbered("video{:02d}", (1, 40))`."""
    return tuple(pattern.format(number) for first, last in ranges for number in range(first, last + 1))
