"""GraSP: 13 robotic prostatectomies with phases, steps, instruments and atomic actions (Ayobi et al., 2401.11174).

Layout: `annotations/grasp_long-term_train.json`, `grasp_long-term_test.json` (phases and steps of every second) and
`grasp_short-term_train.json`, `grasp_short-term_test.json` (instruments and actions of a frame every 35 s, here one
second each), or the files of `fold1` and `fold2` for the training cases; the COCO form, with `phases`, `steps` and
`actions` in each annotation. Files of before December 2024 have wrong phases and steps in places.
Pictures are `frames/CASE001/00000.jpg`, one per second from 0, or `000000000.jpg` with nine digits, at 30 per second.

Phases and steps are those of PSI-AVA; the eight training cases are PSI-AVA's cases. Boxes and masks are not read.
The repository has a licence for its code and none for the data; that of the files themselves was not verified.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from surgvl.core.errors import DataError
from surgvl.core.files import read_json
from surgvl.data.formats.layout import shorten
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
_NAME = re.compile(r"(?:.*/)?(CASE\d+)/(\d+)\.\w+")
_DIGITS_AT_30_FPS = 9
# Key of an annotation -> task and id of the first class.
_KEYS = {"phases": ("phase", 0), "steps": ("step", 0), "category_id": ("instrument", 1), "actions": ("action", 1)}
_CATEGORIES = {"instrument": "categories", "action": "actions_categories", "phase": "phases_categories"}


def frame_time(name: object) -> tuple[str, float]:
    """Case and second of a picture such as `CASE001/00012.jpg` or `CASE001/000000360.jpg`.

    Raises:
        ValueError: the name has another form.
    """
    if not isinstance(name, str) or not (match := _NAME.fullmatch(name)):
        raise ValueError(f"{short_repr(name)} is not CASE001/number.jpg")
    return match[1], int(match[2]) / (30 if len(match[2]) == _DIGITS_AT_30_FPS else 1)


def read_coco(path: Path, classes: Mapping[str, Sequence[str]], cases: dict[str, Frames]) -> list[str]:
    """Read the labels of one file into the frames of each case.

    Args:
        path: the file.
        classes: task -> class names.
        cases: case -> frames, added to.

    Returns:
        A note if the file numbers its categories otherwise than `classes`.

    Raises:
        DataError: the file is not of the COCO form, or has a class id without a name.
    """
    record = read_json(path)
    try:
        images = {image["id"]: frame_time(image["file_name"]) for image in record["images"]}
        annotations = [(at, images[row["image_id"]], row) for at, row in enumerate(record["annotations"])]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is not a COCO file of GraSP ({error!r}): copy it again, or delete it") from error
    # Long-term files have one category for the whole picture, which is no instrument.
    keys = [key for key in _KEYS if "long-term" not in path.name or key in ("phases", "steps")]
    for at, (case, second), row in annotations:
        frames = cases.setdefault(case, Frames(classes))
        for key in keys:
            if key in row:
                task, first = _KEYS[key]
                frames.add(
                    task, second, _ids(row[key], f"{path}, annotation {at}", key), first, f"{path}, annotation {at}"
                )
    return _renamed(path, record, classes, keys)


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
        """Read all files; phases and steps of key frames only where there is no long-term file of the case."""
        base = self.root / "annotations" if (self.root / "annotations").is_dir() else self.root
        files = sorted(base.glob("grasp_*-term_*.json"))
        found: dict[str, dict[str, Frames]] = {"long": {}, "short": {}}
        for path in files:
            try:
                kind = "long" if "long-term" in path.name else "short"
                contents.problems += read_coco(path, self.CLASSES, found[kind])
            except DataError as error:
                contents.unreadable.append(str(error))
        cases = found["short"]
        for case, frames in found["long"].items():
            cases.setdefault(case, Frames(self.CLASSES)).labels |= frames.labels
        add_cases(self, contents, cases, first=0)
