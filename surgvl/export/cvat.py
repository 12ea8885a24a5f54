"""CVAT's XML for video tasks ("CVAT for video 1.1"), which an existing task of the same video imports.

CVAT has no labels of intervals. As its users do, a class is a track of boxes as large as the picture, from an
interval's first frame to its last; labels with a box of their own have that, and those at the same time tracks of their
own. CVAT moves a box evenly from one key frame to the next, so an `outside` box ends each interval, and the next one
without a frame between is a track of its own. `confidence` is an attribute that changes with them. Frames are counted
from 0, so the task must hold every frame of the file (frame step 1). The labels must exist in the task: a comment at
the beginning of the file holds them as the task's raw editor takes them.
"""

import json
from xml.etree.ElementTree import Comment, Element, SubElement

from surgvl.data.formats.cvat import ATTRIBUTES, ROOT
from surgvl.export.base import Format
from surgvl.export.interval_table import Interval, IntervalTable
from surgvl.export.xml_file import document


class Cvat(Format):
    """Tracks of boxes, as large as the picture where a label has none, one a class."""

    name = "cvat"
    title = "CVAT"
    purpose = "tracks for a video task"
    suffix = ".xml"
    content_type = "application/xml"

    def encode(self, table: IntervalTable) -> bytes:
        """The whole file."""
        labels = list(dict.fromkeys(name for classes in table.classes.values() for name in classes))
        root = Element(ROOT)
        for line in table.origin.lines():
            root.append(Comment(f" {line.replace('--', '- -')} "))
        raw = json.dumps([{"name": name, "type": "any", "attributes": _raw_attributes()} for name in labels])
        escaped = raw.replace("--", "-\\u002d")
        root.append(Comment(f" Labels of the task, for its raw editor: {escaped} "))
        SubElement(root, "version").text = "1.1"
        _meta(SubElement(root, "meta"), table, labels)
        rows: dict[tuple[str, str], list[Interval]] = {}
        for row in table:
            rows.setdefault((row.track, row.name), []).append(row)
        lanes = [(name, lane) for (_, name), own in rows.items() for lane in _one_at_a_time(own)]
        for number, (name, lane) in enumerate(lanes):
            track = SubElement(root, "track", id=str(number), label=name, source="auto")
            for row in lane:
                _box(track, table, row, row.first_frame, is_outside=False)
                if row.last_frame + 1 < len(table.frames):
                    _box(track, table, row, row.last_frame + 1, is_outside=True)
        return document(root)


def _one_at_a_time(rows: list[Interval]) -> list[list[Interval]]:
    """The rows in as few lists as can be, in each of which a frame lies between one and the next."""
    found: list[list[Interval]] = []
    for row in sorted(rows, key=lambda each: each.first_frame):
        lane = next((lane for lane in found if lane[-1].last_frame + 1 < row.first_frame), None)
        if lane is None:
            found.append([row])
        else:
            lane.append(row)
    return found


def _box(track: Element, table: IntervalTable, row: Interval, frame: int, is_outside: bool) -> None:
    """A key frame; an outside one ends the interval."""
    left, top, width, height = map(float, row.xywh.split(",")) if row.xywh else (0.0, 0.0, 1.0, 1.0)
    across = {"xtl": left, "ytl": top, "xbr": left + width, "ybr": top + height}
    size_px = {"x": table.width_px, "y": table.height_px}
    corners = {corner: f"{share * size_px[corner[0]]:.2f}" for corner, share in across.items()}
    state = {"outside": str(int(is_outside)), "occluded": "0", "keyframe": "1", "z_order": "0"}
    box = SubElement(track, "box", {"frame": str(frame), **corners, **state})
    for name, value in zip(ATTRIBUTES, (f"{row.confidence:.4f}", row.track), strict=True):
        SubElement(box, "attribute", name=name).text = value


def _meta(meta: Element, table: IntervalTable, labels: list[str]) -> None:
    task = SubElement(meta, "task")
    facts = {"name": table.video_id, "size": str(len(table.frames)), "mode": "interpolation", "overlap": "0"}
    for fact, text in {**facts, "flipped": "False"}.items():
        SubElement(task, fact).text = text
    kinds = SubElement(task, "labels")
    for name in labels:
        label = SubElement(kinds, "label")
        SubElement(label, "name").text = name
        SubElement(label, "type").text = "any"
        attributes = SubElement(label, "attributes")
        for each in _raw_attributes():
            attribute = SubElement(attributes, "attribute")
            for key, value in each.items():
                SubElement(attribute, key).text = "" if key == "values" else str(value)
    size = SubElement(task, "original_size")
    SubElement(size, "width").text = str(table.width_px)
    SubElement(size, "height").text = str(table.height_px)


def _raw_attributes() -> list[dict[str, object]]:
    """The attributes of a label as the raw editor takes them."""
    kind: dict[str, object] = {"mutable": True, "input_type": "text", "default_value": "", "values": [""]}
    return [{"name": name, **kind} for name in ATTRIBUTES]
