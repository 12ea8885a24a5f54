"""ProstaTD: 21 robotic prostatectomies with action triplets per second, 89 classes (Chen et al., arXiv 2506.01130).

Layout, as SurgVISTA reads it under the name Prostate21: `annos/train/psiv1.json`, `annos/val/`, `annos/test/` (or
`annos/` itself): frame number -> list of [triplet, instrument, verb, target, track, triplet track, cx, cy, w, h], at
one frame per second, -1 for what is absent; a frame without a list entry has no action, a frame that is missing was
removed. Pictures are in `frames/psiv1/` or `videos/`. Boxes are centre and size in parts of the picture, as the READMEs
say; those in other units are left out and reported. Tracks are not read.

Videos come from ESAD (esadv), PSI-AVA (psiv, with PSI-AVA's case numbers) and a hospital (pwhv); do not test on the
first two after training on those sets. The splits are the five of the second repository's script for COCO files;
SurgVISTA's 14/2/5, which the first one has, too, has the sizes of `split5`.
"""

import math
from pathlib import Path
from typing import Any

from surgvl.core.errors import DataError
from surgvl.core.files import read_json
from surgvl.core.ontology import RATED, rated_kind
from surgvl.core.plurals import plural, shorten
from surgvl.data.formats.box_labels import Instance
from surgvl.data.formats.layout import find_files, find_videos
from surgvl.data.formats.sparse_labels import moment_track
from surgvl.data.formats.text_files import MAX_COUNT, short_repr
from surgvl.data.readers.base import Contents, VideoDataset
from surgvl.data.spans import Track

INSTRUMENTS = ("scissors", "forceps", "aspirator", "needle driver", "grasper", "clip applier", "Endobag")
VERBS = ("retract", "coagulate", "cut", "dissect", "grasp", "bag", "suture", "suck", "clip", "null")
TARGETS = (
    "bladder",
    "catheter",
    "seminal vesicle",
    "prostate",
    "fascias",
    "gauze",
    "Endobag",
    "thread",
    "fluid",
    "null",
)
# Instrument -> verb -> positions of its targets, in the order of the published triplet ids.
_GROUPS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    ("scissors", (("retract", "0123456"), ("coagulate", "0234"), ("cut", "012347"), ("dissect", "0234"))),
    (
        "forceps",
        (("retract", "012346"), ("coagulate", "0234"), ("dissect", "234"), ("grasp", "1234567"), ("suture", "034")),
    ),
    ("aspirator", (("retract", "02346"), ("suck", "8"))),
    ("needle driver", (("retract", "034"), ("grasp", "0134567"), ("suture", "034"))),
    ("grasper", (("retract", "01234"), ("grasp", "1234567"))),
    ("clip applier", (("clip", "02346"),)),
    ("Endobag", (("bag", "34"),)),
)
TRIPLETS = tuple(
    f"{instrument},{verb},{TARGETS[int(target)]}"
    for instrument, verbs in _GROUPS
    for verb, targets in (*verbs, ("null", "9"))
    for target in targets
)
_PARTS = ("instrument", "verb", "target")
_CLASSES = {"triplet": TRIPLETS, "instrument": INSTRUMENTS, "verb": VERBS, "target": TARGETS}
_VIDEOS = tuple(
    [f"esadv{number}" for number in range(1, 5)]
    + [f"psiv{number}" for number in (1, 2, 3, 4, 7, 14, 15, 21)]
    + [f"pwhv{number}" for number in range(1, 10)]
)
# Test and validation videos of each published split; the rest is for training.
_PUBLISHED = (
    ("esadv1 psiv1 psiv4 pwhv8", "psiv7 pwhv5"),
    ("esadv2 psiv7 pwhv4 pwhv9", "psiv1 pwhv6"),
    ("esadv3 psiv14 pwhv1 psiv2", "esadv1 pwhv2"),
    ("esadv4 psiv15 pwhv2 pwhv7", "esadv3 pwhv3"),
    ("psiv3 psiv21 pwhv3 pwhv5 pwhv6", "psiv14 pwhv1"),
)


def read_annos(path: Path) -> tuple[dict[str, Track], list[str]]:
    """Read one video's file.

    Returns:
        Task -> track, and notes for the user.

    Raises:
        DataError: the file has a different form, or an instrument, verb or target without a name.
    """
    record = read_json(path)
    if not isinstance(record, dict) or not record:
        raise DataError(f"{path} is not frame number -> list of actions: copy it again, or delete it")
    present: dict[str, dict[float, set[str]]] = {task: {} for task in _CLASSES}
    # Whether triplets count from 0 or from 1 is not documented: what fits the parts of all rows.
    firsts: list[int] = []
    for key, rows in record.items():
        second = _second(key, path)
        for task in _CLASSES:
            present[task][second] = set()
        for row in rows if isinstance(rows, list) else [rows]:
            ids = _row_ids(row, f"{path}, frame {key}")
            if ids is None:
                continue
            names = [_CLASSES[task][number] for task, number in zip(_PARTS, ids[1:], strict=True)]
            triplet = ",".join(names)
            if triplet not in TRIPLETS:
                raise DataError(f"{path}, frame {key}: {triplet} is not one of the 89 triplets: correct the row")
            present["triplet"][second].add(triplet)
            for task, name in zip(_PARTS, names, strict=True):
                present[task][second].add(name)
            if ids[0] >= 0:
                firsts.append(ids[0] - TRIPLETS.index(triplet))
    notes = []
    if odd := sum(first != max(set(firsts), key=firsts.count) for first in firsts):
        fact = f"{odd} of {plural(len(firsts), 'triplet number')} in {path.name} do not match their parts"
        notes.append(f"{fact}: the parts are used")
    last = int(max(present["triplet"]))
    if gaps := last - int(min(present["triplet"])) + 1 - len(record):
        notes.append(f"{plural(gaps, 'frame')} removed from {path.name}: those seconds have no label")
    tracks = {task: moment_track(moments, 1.0, _CLASSES[task]) for task, moments in present.items()}
    seen = moment_track(dict.fromkeys(present["triplet"], (RATED,)), 1.0, (RATED,))
    return tracks | {rated_kind(task): seen for task in _CLASSES}, notes


def _second(key: str, path: Path) -> float:
    digits = key.rsplit(".", 1)[0]
    if not digits.isascii() or not digits.isdigit() or int(digits) > MAX_COUNT:
        raise DataError(f"{path}: {short_repr(key)} is not a frame number: correct the key")
    return float(int(digits))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _row_ids(row: Any, where: str) -> list[int] | None:
    """Triplet, instrument, verb and target of a row; None for a placeholder."""
    if not isinstance(row, list) or len(row) < 4 or not all(_is_number(value) for value in row[:4]):
        raise DataError(f"{where}: {short_repr(row)} is not [triplet, instrument, verb, target, ...]: correct it")
    ids = [int(value) for value in row[:4]]
    if min(ids[1:]) < 0:
        return None
    for task, number in zip(_PARTS, ids[1:], strict=True):
        if number >= len(_CLASSES[task]):
            allowed = f"-1 to {len(_CLASSES[task]) - 1}"
            raise DataError(f"{where}: {task} is {number}; allowed are {allowed}: correct the row")
    return ids


def read_boxes(path: Path) -> tuple[dict[float, list[Instance]], list[str]]:
    """Read the boxes of one video's file, which `read_annos` has read without an error.

    Returns:
        Second -> instances with a box, empty if the file has no box, and notes for the user.
    """
    frames: dict[float, list[Instance]] = {}
    without, odd = 0, 0
    for key, rows in read_json(path).items():
        own = frames.setdefault(_second(key, path), [])
        for row in rows if isinstance(rows, list) else [rows]:
            ids = _row_ids(row, f"{path}, frame {key}")
            if ids is None:
                continue
            box = row[6:10]
            if len(box) < 4 or not all(_is_number(value) and value >= 0 for value in box):
                without += 1
                continue
            if max(box) > 1:
                odd += 1
                continue
            x, y, w, h = box
            names = [_CLASSES[task][number] for task, number in zip(_PARTS, ids[1:], strict=True)]
            own.append(Instance((x - w / 2, y - h / 2, w, h), {"triplet": ",".join(names), "instrument": names[0]}))
    notes = []
    if odd:
        notes = [f"{plural(odd, 'instance')} in {path.name} with a box that is not in parts of the picture, left out"]
    if not any(frames.values()):
        return {}, notes
    return frames, [*notes, f"{plural(without, 'instance')} in {path.name} without a box"] if without else notes


class ProstaTD(VideoDataset):
    """ProstaTD's triplets, and its videos if they are at hand."""

    name = "prostatd"
    LICENCE = "CC BY-NC-SA 4.0 with additional terms: no commercial models, human oversight"
    LICENCE_FROM = "LICENSE of github.com/yik-leung/ProstaTD"
    SOURCE = "arXiv 2506.01130; github.com/SmartHealthX/ProstaTD, github.com/yik-leung/ProstaTD"
    PROCEDURE = "robot-assisted radical prostatectomy"
    SPECIALTY = "urology"
    CLASSES = _CLASSES
    SPLITS = {
        f"split{at}": {
            "train": tuple(name for name in _VIDEOS if name not in f"{test} {val}".split()),
            "val": tuple(val.split()),
            "test": tuple(test.split()),
        }
        for at, (test, val) in enumerate(_PUBLISHED, 1)
    }

    def read(self, contents: Contents) -> None:
        """Read annotations of all folders, and videos."""
        files: dict[str, Path] = {}
        moved = []
        for split in ("train", "val", "test", ""):
            for video_id, path in find_files(self.root / "annos" / split, r"([a-z]+v\d+)\.json", contents).items():
                if video_id in files:
                    contents.problems.append(f"{video_id} occurs twice: {files[video_id]} is used, {path} is not")
                elif split and self.split_of.get(video_id, split) != split:
                    moved.append(video_id)
                files.setdefault(video_id, path)
        contents.unmatched.pop(self.root / "annos", None)
        if moved:
            fact = f"{plural(len(moved), 'video')} in a folder of a different split than in protocol {self.protocol}"
            contents.problems.append(
                f"{fact}: {shorten(moved)}; the protocol is used: choose another, or a splits.json"
            )
        videos = find_videos(self.root / "frames", r"[a-z]+v\d+", contents)
        videos |= find_videos(self.root / "videos", r"[a-z]+v\d+", contents)
        for video_id in sorted(files.keys() | videos.keys()):
            medium = videos.get(video_id)
            info = self.open_video(contents, video_id, medium)
            tracks: dict[str, Track] = {}
            boxes: dict[float, list[Instance]] = {}
            try:
                if video_id in files:
                    tracks, notes = read_annos(files[video_id])
                    boxes, more = read_boxes(files[video_id])
                    notes += more
                    contents.problems += [f"{video_id}: {note}" for note in notes]
                else:
                    contents.problems.append(f"{video_id}: no annotations: annos/VIDEO.json is missing")
            except DataError as error:
                contents.unreadable.append(str(error))
            times_s = None
            if info is not None:
                tracks, times_s = self.as_shown(contents, video_id, medium, tracks, first=(0, 1))
            self.add_video(contents, video_id, medium, info, tracks)
            self.add_boxes(contents, video_id, boxes, 1.0, times_s)
