"""FiftyOne's temporal detections (dataset type `FiftyOneTemporalDetectionDataset`): {classes, labels: {video: [...]}}.

A detection has `support`, its first and last frame from 1, or `timestamps` in seconds, and a label or its number in
`classes`. The attribute `track`, which surgvl writes, is the task; without it, that is `phase`.
"""

from pathlib import Path
from typing import Any

from surgvl.core.errors import DataError
from surgvl.core.files import read_json
from surgvl.data.formats.annotations import Annotation, Export, VideoNames
from surgvl.data.formats.text_files import MAX_S, short_repr

LABELS, SUPPORT, TIMESTAMPS, TASK = "labels", "support", "timestamps", "track"
# The first frame and the last one of a support belong to it.
FIRST_FRAME = 1
DEFAULT_TASK = "phase"


def read_fiftyone(path: Path, videos: VideoNames) -> Export:
    """Read a file.

    Raises:
        DataError: a different form, or numbers that are not frames or times.
    """
    record, export = read_json(path), Export()
    if not isinstance(record, dict) or not isinstance(record.get(LABELS), dict):
        raise DataError(f"{path} has no {LABELS!r} by video: export it as temporal detections from FiftyOne")
    classes = record.get("classes") or []
    for name, detections in record[LABELS].items():
        video_id = videos.find(name)
        for each in detections or ():
            if not isinstance(each, dict):
                raise DataError(f"{path}: a detection of {name} must be an object, got {short_repr(each)}")
            export.annotations.append(_annotation(each, classes, video_id, videos, path))
    return export


def _annotation(each: dict[str, Any], classes: list[Any], video_id: str, videos: VideoNames, path: Path) -> Annotation:
    label = each.get("label")
    if type(label) is int and 0 <= label < len(classes):
        label = classes[label]
    if not isinstance(label, str) or not label:
        raise DataError(f"{path}: a label is {short_repr(label)}; it must be a name or a number in `classes`")
    attributes = each.get("attributes")
    task = attributes.get(TASK) if isinstance(attributes, dict) else None
    task = task if isinstance(task, str) and task else DEFAULT_TASK
    for key in (SUPPORT, TIMESTAMPS):
        pair = each.get(key)
        if not isinstance(pair, list):
            continue
        if key == SUPPORT and len(pair) == 2 and all(type(value) is int for value in pair):
            span = videos.span(video_id, pair[0] - FIRST_FRAME, pair[1] - FIRST_FRAME, path)
            return Annotation(video_id, task, label, *span)
        times = [float(value) for value in pair if type(value) in (int, float)]
        if key == TIMESTAMPS and len(times) == len(pair) == 2 and 0 <= times[0] < times[1] <= MAX_S:
            return Annotation(video_id, task, label, times[0], times[1])
    raise DataError(f"{path}: a detection needs {SUPPORT} or {TIMESTAMPS} of two numbers, got {short_repr(each)}")
