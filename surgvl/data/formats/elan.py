"""ELAN's annotation format (EAF 2 and 3): each tier is a task, its annotations are spans in milliseconds.

A tier `phase` has one class at a time; of `triplet: grasper,grasp,liver`, as surgvl writes it, the task is what stands
before the colon. Annotations on child tiers take the times of their parents; tiers of confidences are skipped.
"""

from pathlib import Path
from xml.etree.ElementTree import Element

from surgvl.core.errors import DataError
from surgvl.core.plurals import plural
from surgvl.data.formats.annotations import Annotation, Export, VideoNames, read_xml
from surgvl.data.formats.text_files import MAX_S

ROOT = "ANNOTATION_DOCUMENT"
TIME_UNITS = "milliseconds"
CONFIDENCE = "confidence"
TASK_MARK = ": "


def read_elan(path: Path, videos: VideoNames) -> Export:
    """Read a file.

    Raises:
        DataError: it is not an EAF file, or a time is not one.
    """
    root, export = read_xml(path, ROOT), Export()
    header = root.find("HEADER")
    if header is not None and header.get("TIME_UNITS", TIME_UNITS) != TIME_UNITS:
        raise DataError(f"{path}: times are in {header.get('TIME_UNITS')}, expected {TIME_UNITS}: save it with ELAN")
    media = root.find("HEADER/MEDIA_DESCRIPTOR")
    name = (media.get("RELATIVE_MEDIA_URL") or media.get("MEDIA_URL", "")) if media is not None else ""
    video_id = videos.find(name or path.name)
    # A medium that starts later on ELAN's time line has its own offset.
    origin = _number(media.get("TIME_ORIGIN", "0"), path) if media is not None else 0.0
    slots = {
        slot.get("TIME_SLOT_ID", ""): _number(slot.get("TIME_VALUE", ""), path)
        for slot in root.iter("TIME_SLOT")
        if slot.get("TIME_VALUE")
    }
    spans = _spans(root, slots)
    num_loose = 0
    for tier in root.iter("TIER"):
        if tier.get("LINGUISTIC_TYPE_REF") == CONFIDENCE:
            continue
        task = tier.get("TIER_ID", "").partition(TASK_MARK)[0].strip() or "phase"
        for held in (*tier.iter("ALIGNABLE_ANNOTATION"), *tier.iter("REF_ANNOTATION")):
            label = (held.findtext("ANNOTATION_VALUE") or "").strip()
            span = spans.get(held.get("ANNOTATION_ID", ""))
            num_loose += span is None
            if span and label and span[1] > span[0]:
                start_s, end_s = ((time_ms + origin) / 1000 for time_ms in span)
                export.annotations.append(Annotation(video_id, task, label, max(0.0, start_s), end_s))
    if num_loose:
        export.notes.append(f"{plural(num_loose, 'annotation')} without times left out: align them in ELAN")
    return export


def _spans(root: Element, slots: dict[str, float]) -> dict[str, tuple[float, float]]:
    """Annotation id -> begin and end; annotations that refer to others have theirs."""
    spans: dict[str, tuple[float, float]] = {}
    for held in root.iter("ALIGNABLE_ANNOTATION"):
        begin, end = (slots.get(held.get(f"TIME_SLOT_REF{place}", "")) for place in (1, 2))
        if begin is not None and end is not None:
            spans[held.get("ANNOTATION_ID", "")] = (begin, end)
    parents = {held.get("ANNOTATION_ID", ""): held.get("ANNOTATION_REF", "") for held in root.iter("REF_ANNOTATION")}
    for child in parents:
        parent, seen = parents[child], {child}
        while parent in parents and parent not in seen:
            seen.add(parent)
            parent = parents[parent]
        if parent in spans:
            spans[child] = spans[parent]
    return spans


def _number(text: str, path: Path) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not abs(value) <= MAX_S * 1000:
        raise DataError(f"{path}: a time is {text!r}; times are whole milliseconds: save the file with ELAN")
    return value
