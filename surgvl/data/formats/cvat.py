"""CVAT's XML ("CVAT for video 1.1" and "for images 1.1"): a label holds where a track is inside, or where a tag is set.

A track's shape lasts from its key frame to the next one, and ends at an `outside` one. The attribute `track`, which
surgvl writes, is the task; without it, that is `phase`. Frames count from 0; a task with a frame step or a first frame
is read by its `frame_filter` and `start_frame`.
"""

import re
from pathlib import Path
from xml.etree.ElementTree import Element

from surgvl.core.errors import DataError
from surgvl.data.formats.annotations import Annotation, Export, VideoNames, joined, read_xml
from surgvl.data.formats.text_files import MAX_COUNT

ROOT = "annotations"
CONFIDENCE, TASK = "confidence", "track"
ATTRIBUTES = (CONFIDENCE, TASK)
DEFAULT_TASK = "phase"


def read_cvat(path: Path, videos: VideoNames) -> Export:
    """Read a file.

    Raises:
        DataError: it is not such a file, or its video is not at hand.
    """
    root, export = read_xml(path, ROOT), Export()
    names = [*root.iterfind(".//source"), *root.iterfind("meta/*/name")]
    name = next((each.text for each in names if each.text and each.text.strip()), path.name)
    video_id = videos.find(name)
    first = _number(root.findtext("meta/*/start_frame") or "0", path)
    step = _number((re.findall(r"step=(\d+)", root.findtext("meta/*/frame_filter") or "") or ["1"])[0], path) or 1
    size = _number(root.findtext("meta/*/size") or "0", path)
    runs: list[tuple[str, str, int, int]] = []
    for track in root.iter("track"):
        runs += _track_runs(track, size, path)
    tagged: dict[tuple[str, str], set[int]] = {}
    for image in root.iter("image"):
        for tag in image.iter("tag"):
            tagged.setdefault((_task(tag), tag.get("label", "")), set()).add(_number(image.get("id", ""), path))
    runs += [(*key, *run) for key, frames in tagged.items() for run in joined(frames)]
    for task, label, begin, end in runs:
        span = videos.span(video_id, first + begin * step, first + end * step + step - 1, path)
        if label:
            export.annotations.append(Annotation(video_id, task, label, *span))
    if not runs:
        export.notes.append(f"{path.name} holds no track and no tag")
    return export


def _track_runs(track: Element, size: int, path: Path) -> list[tuple[str, str, int, int]]:
    """Task, label, first and last frame of each stretch in which a track's shape is inside."""
    runs: list[tuple[str, str, int, int]] = []
    begin, task, last = -1, DEFAULT_TASK, -1
    for shape in sorted(track, key=lambda each: _number(each.get("frame", ""), path)):
        frame, outside = _number(shape.get("frame", ""), path), shape.get("outside") == "1"
        # Without a key frame at its end, a shape lasts until the task's last frame.
        if begin >= 0 and outside:
            runs.append((task, track.get("label", ""), begin, frame - 1))
            begin = -1
        elif begin < 0 and not outside:
            begin, task = frame, _task(shape)
        last = frame
    if begin >= 0:
        runs.append((task, track.get("label", ""), begin, max(last, size - 1)))
    return runs


def _task(shape: Element) -> str:
    for each in shape.iter("attribute"):
        if each.get("name") == TASK and each.text and each.text.strip():
            return each.text.strip()
    return DEFAULT_TASK


def _number(text: str, path: Path) -> int:
    if not re.fullmatch(r"\d{1,9}", text.strip(), re.ASCII) or int(text) > MAX_COUNT:
        raise DataError(f"{path}: {text!r} is not a frame number: export the file again")
    return int(text)
