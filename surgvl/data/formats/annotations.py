"""Labels as annotation tools export them: spans of a video, found by the video's name."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from surgvl.core.errors import DataError
from surgvl.data.formats.text_files import MAX_COUNT, decode_text
from surgvl.data.spans import round_time
from surgvl.video.frame_times import FrameTimes, frame_times

# Label Studio puts eight digits before the names of uploaded files.
_UPLOAD = re.compile(r"[0-9a-f]{8}-")


@dataclass(frozen=True)
class Annotation:
    """A labelled span.

    Attributes:
        video_id: the video.
        task: what is told apart, such as `phase`.
        label: the class.
        start_s: when it begins, in seconds.
        end_s: when it ends.
    """

    video_id: str
    task: str
    label: str
    start_s: float
    end_s: float


@dataclass
class Export:
    """What an exported file holds.

    Attributes:
        annotations: the spans, in order of the file.
        notes: one line for each thing that a user should know.
    """

    annotations: list[Annotation] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class VideoNames:
    """Finds videos by the names that tools give them, and the times of their frames.

    Args:
        paths: video id -> file or frame folder.
    """

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._paths = paths
        self._times = cache(frame_times)

    def find(self, name: str) -> str:
        """Id of the video of a name, path or address; the name without folder and suffix if it is not at hand."""
        last = PurePosixPath(unquote(name).replace("\\", "/").partition("?")[0]).name
        for word in (name, last, _UPLOAD.sub("", last, count=1)):
            for known in (word, PurePosixPath(word).stem):
                if known in self._paths:
                    return known
        return PurePosixPath(_UPLOAD.sub("", last, count=1)).stem

    def times(self, video_id: str, where: Path) -> FrameTimes:
        """When the frames of a video are shown.

        Raises:
            DataError: the video is not at hand, or cannot be read.
        """
        if video_id not in self._paths:
            fact = f"counts the frames of {video_id}, which is not there"
            raise DataError(f"{where} {fact}: put the video beside it, or export times")
        return self._times(self._paths[video_id])

    def span(self, video_id: str, first: int, last: int, where: Path) -> tuple[float, float]:
        """Begin of a frame and end of another, both from 0.

        Raises:
            DataError: as for `times`, or frames that the video does not have.
        """
        times = self.times(video_id, where)
        if not 0 <= first <= last < MAX_COUNT or first >= len(times):
            fact = f"frames {first} to {last} of {video_id}, which has {len(times)}"
            raise DataError(f"{where} labels {fact}: export again with every frame of this video")
        return round_time(times.begin_s(first)), round_time(times.begin_s(min(last + 1, len(times))))


def read_xml(path: Path, root: str) -> ET.Element:
    """The root element of an XML file.

    Args:
        path: the file.
        root: name that the element must have.

    Raises:
        DataError: it cannot be parsed, has another root or declares entities.
    """
    text = decode_text(path)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise DataError(f"{path} declares a document type, as no annotation tool does: export it again")
    try:
        element = ET.fromstring(text.encode() if text.startswith("<?xml") else text)
    except (ET.ParseError, ValueError, LookupError) as error:
        raise DataError(f"{path} is not XML ({error}): export it again") from None
    if element.tag != root:
        raise DataError(
            f"{path} begins with <{element.tag}>, expected <{root}>: export it from the tool of this format"
        )
    return element


def joined(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Runs of consecutive numbers, as first and last."""
    runs: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs
