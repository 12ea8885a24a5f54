"""ELAN's annotation format (EAF 3.0, Max Planck Institute for Psycholinguistics): tiers of annotations on a time line.

Annotations of a tier must not overlap. A track with one class at a time is one tier; any other is one tier a class.
The confidence of an annotation is its child on a tier of its own.
"""

import mimetypes
from collections.abc import Iterator
from datetime import datetime
from urllib.parse import quote
from xml.etree.ElementTree import Element, SubElement

from surgvl.data.formats.elan import CONFIDENCE, ROOT, TASK_MARK, TIME_UNITS
from surgvl.export.base import Format
from surgvl.export.interval_table import Interval, IntervalTable
from surgvl.export.milliseconds import milliseconds
from surgvl.export.xml_file import document

_XSI = "http://www.w3.org/2001/XMLSchema-instance"


class Eaf(Format):
    """Tiers `phase`, `triplet: grasper,retract,gallbladder`, ..., each with a tier of confidences."""

    name = "eaf"
    title = "ELAN"
    purpose = "annotation tiers"
    suffix = ".eaf"
    content_type = "application/xml"

    def encode(self, table: IntervalTable) -> bytes:
        """The whole file."""
        root = Element(
            ROOT,
            {
                "AUTHOR": f"surgvl {table.origin.version}",
                "DATE": datetime.now().astimezone().isoformat(timespec="seconds"),
                "FORMAT": "3.0",
                "VERSION": "3.0",
                "xmlns:xsi": _XSI,
                "xsi:noNamespaceSchemaLocation": "http://www.mpi.nl/tools/elan/EAFv3.0.xsd",
            },
        )
        header = SubElement(root, "HEADER", MEDIA_FILE="", TIME_UNITS=TIME_UNITS)
        address = table.media if "://" in table.media else f"./{quote(table.media)}"
        kind = mimetypes.guess_type(table.media)[0] or "unknown"
        SubElement(header, "MEDIA_DESCRIPTOR", MEDIA_URL=address, MIME_TYPE=kind, RELATIVE_MEDIA_URL=address)
        for number, line in enumerate(table.origin.lines(), 1):
            SubElement(header, "PROPERTY", NAME=f"surgvl {number}").text = line
        SubElement(header, "PROPERTY", NAME="lastUsedAnnotationId").text = str(2 * len(table))
        slots = SubElement(root, "TIME_ORDER")
        for number, row in enumerate(table):
            for place, time_s in enumerate((row.start_s, row.end_s)):
                slot = f"ts{2 * number + place}"
                SubElement(slots, "TIME_SLOT", TIME_SLOT_ID=slot, TIME_VALUE=str(milliseconds(time_s)))
        for name, rows in _tiers(table):
            tier = SubElement(root, "TIER", LINGUISTIC_TYPE_REF="class", TIER_ID=name)
            child = SubElement(
                root, "TIER", LINGUISTIC_TYPE_REF=CONFIDENCE, PARENT_REF=name, TIER_ID=f"{name} {CONFIDENCE}"
            )
            for number, row in rows:
                of, by, parent = SubElement(tier, "ANNOTATION"), SubElement(child, "ANNOTATION"), f"a{2 * number + 1}"
                begin, end = (f"ts{2 * number + place}" for place in (0, 1))
                names = {"ANNOTATION_ID": parent, "TIME_SLOT_REF1": begin, "TIME_SLOT_REF2": end}
                held = SubElement(of, "ALIGNABLE_ANNOTATION", names)
                SubElement(held, "ANNOTATION_VALUE").text = row.name
                held = SubElement(by, "REF_ANNOTATION", ANNOTATION_ID=f"a{2 * number + 2}", ANNOTATION_REF=parent)
                SubElement(held, "ANNOTATION_VALUE").text = f"{row.confidence:.4f}"
        SubElement(
            root, "LINGUISTIC_TYPE", GRAPHIC_REFERENCES="false", LINGUISTIC_TYPE_ID="class", TIME_ALIGNABLE="true"
        )
        SubElement(
            root,
            "LINGUISTIC_TYPE",
            CONSTRAINTS="Symbolic_Association",
            GRAPHIC_REFERENCES="false",
            LINGUISTIC_TYPE_ID=CONFIDENCE,
            TIME_ALIGNABLE="false",
        )
        SubElement(
            root,
            "CONSTRAINT",
            DESCRIPTION="1-1 association with a parent annotation",
            STEREOTYPE="Symbolic_Association",
        )
        return document(root)


def _tiers(table: IntervalTable) -> Iterator[tuple[str, list[tuple[int, Interval]]]]:
    """Name of each tier, and its intervals with their numbers in the table."""
    numbered = list(enumerate(table))
    for track, classes in table.classes.items():
        rows = [(number, row) for number, row in numbered if row.track == track]
        if track in table.origin.exclusive:
            yield track, rows
            continue
        for name in classes:
            if own := [(number, row) for number, row in rows if row.name == name]:
                yield f"{track}{TASK_MARK}{name}", own
