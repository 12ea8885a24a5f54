"""GraSP: 13 robotic prostatectomies with phases, steps, instruments and atomic actions (Ayobi et al., 2401.11174).

Layout: `annotations/grasp_long-term_train.json`, `grasp_long-term_test.json` (phases and steps of every second) and
`grasp_short-term_train.json`, `grasp_short-term_test.json` (instruments and actions of a frame every 35 s, here one
second each), or the files of `fold1` and `fold2` for the training cases; the COCO form, with `phases`, `steps` and
`actions` in each annotation. Files of before December 2024 have wrong phases and steps in places.
Pictures are `frames/CASE001/00000.jpg`, one per second from 0, or `000000000.jpg` with nine digits, in the middle of
the second: those of cases 21, 41, 47, 50, 51 and 53 count 30 a second, the others 45 of which a third is left out, as
the authors' loader has it, and the numbers of case 14 are uneven. A file in which they count otherwise was not at hand.

Phases and steps are those of PSI-AVA; the eight training cases are PSI-AVA's cases. Each `bbox`, left, top, width and
height in pixels of its picture, is an `instrument_box`; masks are not read.
"""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from surgvl.core.errors import DataError
from surgvl.core.files import read_json
from surgvl.core.plurals import shorten
from surgvl.data.formats.text_files import short_repr
from surgvl.data.readers.base import Contents, VideoDataset
from surgvl.data.readers.psi_ava import PSIAVA, Frames, add_cases

ACTIONS = (
    "Cauterize",
    "Close",
    "Cut",
    "Grasp",
    "Hold",
    "Open",
    "Open Something",
    "Pull",
    "Push",
    "Release",
    "Still",
    "Suction",
    "Travel",
    "Other",
)
# Boxes are rounded to whole pixels.
_EDGE_PX = 2
_NAME = re.compile(r"(?:.*/)?(CASE\d+)/(\d+)\.\w+")
_LONG_NAME = 9
# Numbers of pictures a second where names are long.
_AT_30 = ("CASE021", "CASE041", "CASE047", "CASE050", "CASE051", "CASE053")
_AT_OTHERS = 45
_UNEVEN = "CASE014"
# Key of an annotation -> task and id of the first class.
_KEYS = {"phases": ("phase", 0), "steps": ("step", 0), "category_id": ("instrument", 1), "actions": ("action", 1)}
_CATEGORIES = {"instrument": "categories", "action": "actions_categories", "phase": "phases_categories"}


def frame_time(name: object) -> tuple[str, float]:
    """Case and time in seconds of a picture such as `CASE001/00012.jpg` or `CASE021/000000375.jpg`.

    Raises:
        ValueError: the name has a different form.
    """
    if not isinstance(name, str) or not (match := _NAME.fullmatch(name)):
        raise ValueError(f"{short_repr(name)} is not CASE001/number.jpg")
    rate = 1
    if len(match[2]) == _LONG_NAME:
        rate = 30 if match[1] in _AT_30 else _AT_OTHERS
    return match[1], int(match[2]) / rate


def read_coco(path: Path, classes: Mapping[str, Sequence[str]], cases: dict[str, Frames]) -> list[str]:
    """Read the labels of one file into the frames of each case.

    Args:
        path: the file.
        classes: task -> class names.
        cases: case -> frames, added to.

    Returns:
        Notes: categories that the file numbers otherwise than `classes`, and times that are uncertain.

    Raises:
        DataError: the file is not of the COCO form, or has a class id without a name or a box of other than four
            numbers.
    """
    record = read_json(path)
    try:
        images = {image["id"]: frame_time(image["file_name"]) for image in record["images"]}
        sizes = {image["id"]: (image.get("width", 0), image.get("height", 0)) for image in record["images"]}
        annotations = [(at, images[row["image_id"]], row) for at, row in enumerate(record["annotations"])]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is not a COCO file of GraSP ({error!r}): copy it again, or delete it") from error
    # Long-term files have one category for the whole picture, which is not an instrument.
    keys = [key for key in _KEYS if "long-term" not in path.name or key in ("phases", "steps")]
    for at, (case, time_s), row in annotations:
        frames, where = cases.setdefault(case, Frames(classes)), f"{path}, annotation {at}"
        for key in keys:
            if key in row:
                task, first = _KEYS[key]
                # A picture is taken in the middle of the second that it labels.
                frames.add(task, float(int(time_s)), _ids(row[key], where, key), first, where)
        if "category_id" in keys and "category_id" in row:
            box = _xywh(row.get("bbox"), sizes[row["image_id"]], where)
            for number in _ids(row["category_id"], where, "category_id"):
                frames.add_box(time_s, box, number)
    notes = _renamed(path, record, classes, keys)
    if any(case == _UNEVEN and time_s % 1 for case, time_s in images.values()):
        fact = f"{_UNEVEN} in {path.name}: the pictures of its release at 30 a second are numbered unevenly"
        notes.append(f"{fact}, so its times are uncertain: use the files of the release at one picture a second")
    return notes


def _xywh(box: Any, size: tuple[Any, Any], where: str) -> list[float]:
    """A box of pixels in parts of its picture; of no area where there is none, no size of the picture, or no overlap.

    Raises:
        DataError: the values are not four numbers.
    """
    if not box:
        return [0.0] * 4
    numbers = [*box, *size] if isinstance(box, list) else []
    if len(numbers) != 6 or not all(type(value) in (int, float) and math.isfinite(value) for value in numbers):
        fact = f"bbox is {short_repr(box)} in a picture of {short_repr(size)} pixels"
        raise DataError(f"{where}: {fact}; it must be [left, top, width, height], four numbers: correct the file")
    x, y, w, h, width, height = numbers
    inside = min(x, y) >= -_EDGE_PX and x + w <= width + _EDGE_PX and y + h <= height + _EDGE_PX
    return [x / width, y / height, w / width, h / height] if min(width, height) > 0 and inside else [0.0] * 4


def _ids(value: Any, where: str, key: str) -> list[int]:
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(number, int) for number in values):
        raise DataError(f"{where}: {key} is {short_repr(value)}; it must be a number or a list of numbers: correct it")
    return values


def _renamed(path: Path, record: Any, classes: Mapping[str, Sequence[str]], keys: Sequence[str]) -> list[str]:
    """Categories of the file that have another name here, as a note."""
    other = []
    for key in keys:
        task, first = _KEYS[key]
        named = record.get(_CATEGORIES.get(task, ""))
        for category in named if isinstance(named, list) else []:
            if not isinstance(category, dict) or not isinstance(category.get("id"), int):
                continue
            at, name = category["id"] - first, str(category.get("name", ""))
            if 0 <= at < len(classes[task]) and _plain(classes[task][at]) != _plain(name):
                other.append(f"{task} {category['id']} is {name!r} there and {classes[task][at]!r} here")
    return [f"{path.name}: {shorten(other, 3)}; labels follow the numbers"] if other else []


def _plain(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower())


class GraSP(VideoDataset):
    """GraSP's annotation files; a video is a case."""

    name = "grasp"
    LICENCE = "not stated (code MIT)"
    LICENCE_FROM = "LICENSE of github.com/BCV-Uniandes/GraSP, which is of the code; its README has none of the data"
    SOURCE = "arXiv 2401.11174; github.com/BCV-Uniandes/GraSP"
    PROCEDURE = "robot-assisted radical prostatectomy"
    SPECIALTY = "urology"
    CLASSES = {**PSIAVA.CLASSES, "action": ACTIONS}
    SPLITS = {
        "standard": {
            "train": tuple(f"CASE{number:03d}" for number in (1, 2, 3, 4, 7, 14, 15, 21)),
            "test": tuple(f"CASE{number:03d}" for number in (41, 47, 50, 51, 53)),
        }
    }

    def read(self, contents: Contents) -> None:
        """Read all files, a case from the first that has it, folds last; phases and steps of key frames only where no
        long-term file has the case.
        """
        base = self.root / "annotations" if (self.root / "annotations").is_dir() else self.root
        files = sorted(base.glob("grasp_*-term_*.json"), key=lambda path: ("_fold" in path.name, path.name))
        found: dict[str, dict[str, Frames]] = {"long": {}, "short": {}}
        for path in files:
            own: dict[str, Frames] = {}
            try:
                contents.problems += read_coco(path, self.CLASSES, own)
            except DataError as error:
                contents.unreadable.append(str(error))
                continue
            kind = "long" if "long-term" in path.name else "short"
            found[kind] = own | found[kind]
        cases = found["short"]
        for case, frames in found["long"].items():
            cases.setdefault(case, Frames(self.CLASSES)).labels |= frames.labels
        add_cases(self, contents, cases, first=0)
