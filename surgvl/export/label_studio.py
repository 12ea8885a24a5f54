"""Label Studio's JSON: a task with predictions of type `timelinelabels`, to correct on its timeline.

Label Studio counts frames from 1 and knows one rate a video (`frameRate`). With a variable rate the clock is so fine
that each of its ticks shows the right frame (see `FrameTimes.clock_fps`); the task carries its rate as `fps`. The
labelling interface that the predictions need is in the task's `meta`.
"""

from xml.etree.ElementTree import Element, SubElement, indent, tostring

from surgvl.data.formats.label_studio import FIRST_FRAME, TIMELINE
from surgvl.export.base import Format
from surgvl.export.interval_table import Interval, IntervalTable
from surgvl.export.json import about, dumps


class LabelStudio(Format):
    """A list of one task."""

    name = "label_studio"
    title = "Label Studio"
    purpose = "predictions to correct"
    suffix = ".label_studio.json"
    content_type = "application/json"

    def encode(self, table: IntervalTable) -> bytes:
        """The whole file."""
        prediction: dict[str, object] = {
            "model_version": f"surgvl {table.origin.version}, {table.origin.model}",
            "result": [_region(table, number, row) for number, row in enumerate(table)],
        }
        if len(table):
            prediction["score"] = round(sum(row.confidence for row in table) / len(table), 6)
        task = {
            "data": {"video": table.media, "fps": table.frames.clock_fps},
            "meta": {"label_config": label_config(table), **about(table)},
            "predictions": [prediction],
        }
        return dumps([task])


def _region(table: IntervalTable, number: int, row: Interval) -> dict[str, object]:
    first, after = (table.frames.tick(frame) for frame in (row.first_frame, row.last_frame + 1))
    return {
        "id": f"{row.track}-{number}",
        "from_name": row.track,
        "to_name": "video",
        "type": TIMELINE,
        "origin": "prediction",
        "score": row.confidence,
        "value": {"ranges": [{"start": first + FIRST_FRAME, "end": after - 1 + FIRST_FRAME}], TIMELINE: [row.name]},
    }


def label_config(table: IntervalTable) -> str:
    """The labelling interface, as a project's settings take it."""
    view = Element("View")
    SubElement(view, "Video", name="video", value="$video", frameRate="$fps", timelineHeight="220")
    for track, classes in table.classes.items():
        labels = SubElement(view, "TimelineLabels", name=track, toName="video")
        for name in classes:
            SubElement(labels, "Label", value=name)
    indent(view)
    return tostring(view, encoding="unicode")
