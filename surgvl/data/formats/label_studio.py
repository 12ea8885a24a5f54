"""Label Studio's JSON export: timeline labels of videos in frames from 1, and labels of spans in seconds.

Of a task, its annotations are read, or without any its predictions. A frame number becomes a time by the rate `fps` of
the task's data, which surgvl writes, or by the video itself. What `from_name` names is the task.
"""

import math
from pathlib import Path
from typing import Any

from surgvl.core.errors import DataError
from surgvl.core.files import read_json
from surgvl.core.plurals import plural
from surgvl.data.formats.annotations import Annotation, Export, VideoNames
from surgvl.data.formats.text_files import MAX_COUNT, MAX_S, short_repr
from surgvl.data.spans import round_time

TIMELINE = "timelinelabels"
SPANS = "labels"
# The first frame and the last one of a range belong to it.
FIRST_FRAME = 1


def read_label_studio(path: Path, videos: VideoNames) -> Export:
    """Read a file.

    Raises:
        DataError: a different form, or a number that is no frame or time.
    """
    tasks, export = read_json(path), Export()
    if not isinstance(tasks, list) or not all(isinstance(each, dict) and "data" in each for each in tasks):
        raise DataError(f"{path} must be a list of tasks with `data`: export it as JSON from Label Studio")
    num_others = 0
    for task in tasks:
        data = task["data"] if isinstance(task["data"], dict) else {}
        name = next((data[key] for key in ("video", "video_url", "url") if isinstance(data.get(key), str)), "")
        if not name:
            raise DataError(f"{path}: a task's data names no video, got {short_repr(data)}: export it again")
        video_id = videos.find(name)
        done = [each for each in task.get("annotations") or () if not each.get("was_cancelled")]
        for source in done or task.get("predictions") or ():
            for region in source.get("result") or ():
                found = _spans(region, data.get("fps"), video_id, videos, path)
                num_others += not found
                export.annotations += found
    if num_others:
        export.notes.append(f"{plural(num_others, 'region')} of {path.name} are not labels of spans: left out")
    return export


def _spans(region: Any, fps: Any, video_id: str, videos: VideoNames, path: Path) -> list[Annotation]:
    value = region.get("value") if isinstance(region, dict) else None
    if not isinstance(value, dict) or region.get("type") not in (TIMELINE, SPANS):
        return []
    spans = []
    if region["type"] == TIMELINE:
        for each in value.get("ranges") or ():
            ends = (each.get("start"), each.get("end")) if isinstance(each, dict) else ()
            frames = [int(frame) for frame in ends if type(frame) is int]
            if len(frames) < 2 or not FIRST_FRAME <= frames[0] <= frames[1] <= MAX_COUNT:
                raise DataError(f"{path}: a range must be two frames from {FIRST_FRAME}, got {short_repr(each)}")
            first, last = (frame - FIRST_FRAME for frame in frames)
            spans.append(_times(first, last, fps, video_id, videos, path))
    else:
        times = [float(value[key]) for key in ("start", "end") if type(value.get(key)) in (int, float)]
        if len(times) < 2 or not 0 <= times[0] <= times[1] <= MAX_S:
            raise DataError(f"{path}: start and end must be seconds, got {short_repr(value)}: export it again")
        spans.append((times[0], times[1]))
    names = [str(name) for name in value.get(region["type"]) or ()]
    task = str(region.get("from_name") or "phase")
    return [Annotation(video_id, task, name, *span) for span in spans for name in names if span[1] > span[0]]


def _times(first: int, last: int, fps: Any, video_id: str, videos: VideoNames, path: Path) -> tuple[float, float]:
    """Begin and end in seconds of frames from 0, both included."""
    if fps is None:
        return videos.span(video_id, first, last, path)
    if type(fps) not in (int, float) or not 0 < fps < math.inf:
        raise DataError(f"{path}: fps must be above 0, got {short_repr(fps)}: correct the task's data")
    return round_time(first / fps), round_time((last + 1) / fps)
