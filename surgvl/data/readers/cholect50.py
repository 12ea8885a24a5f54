"""CholecT50: action triplets per second in 50 cholecystectomies (Nwoye et al., arXiv 2109.03223; splits 2204.05235).

Layouts: `videos/VID01/000000.png` (1 fps) with `labels/VID01.json`; or the older CholecT45, `data/VID01/000000.png`
with `triplet|instrument|verb|target/VID01.txt`. Frame k covers the second k <= t < k + 1. A segment of a triplet is a
run of consecutive seconds. Boxes are read where a file has any: those of the challenge's validation clips have.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from surgvl.core.errors import DataError
from surgvl.core.files import read_json
from surgvl.core.ontology import CHOLECT50_PHASES, INSTRUMENTS, TARGETS, TRIPLET_NAMES, TRIPLETS, VERBS
from surgvl.core.plurals import plural
from surgvl.data.formats.cholect50_boxes import frames_of, read_instance_boxes
from surgvl.data.formats.layout import find_files, find_videos
from surgvl.data.formats.text_files import MAX_COUNT, read_text, short_repr
from surgvl.data.readers.base import Contents, VideoDataset
from surgvl.data.spans import Span, Track, join_runs
from surgvl.data.splits import Splits

VECTOR_LENGTH = 15
MAX_FPS = 1000
COMPONENTS = {"instrument": INSTRUMENTS, "verb": VERBS, "target": TARGETS}
# For each component, its class in each of the 100 triplets.
COMPONENT_OF = {
    name: np.array([classes.index(triplet[at]) for triplet in TRIPLETS])
    for at, (name, classes) in enumerate(COMPONENTS.items())
}

_FOLDS = {
    1: (79, 2, 51, 6, 25, 14, 66, 23, 50, 111),
    2: (80, 32, 5, 15, 40, 47, 26, 48, 70, 96),
    3: (31, 57, 36, 18, 52, 68, 10, 8, 73, 103),
    4: (42, 29, 60, 27, 65, 75, 22, 49, 12, 110),
    5: (78, 43, 62, 35, 74, 1, 56, 4, 13, 92),
}
_RDP_TRAIN: tuple[int, ...] = (1, 15, 26, 40, 52, 65, 79, 2, 18, 27, 43, 56, 66, 92, 4, 22, 31, 47)
_RDP_TRAIN += (57, 68, 96, 5, 23, 35, 48, 60, 70, 103, 13, 25, 36, 49, 62, 75, 110)
_RDP_VAL = (8, 12, 29, 50, 78)
_RDP_TEST = (6, 51, 10, 73, 14, 74, 32, 80, 42, 111)
_CHALLENGE_VAL = (5, 18, 36, 65, 74)
_CHALLENGE_TEST = (92, 96, 103, 110, 111)


def _ids(numbers: Any) -> tuple[str, ...]:
    return tuple(f"VID{number:02d}" for number in numbers)


def _splits() -> Splits:
    every = sorted(number for fold in _FOLDS.values() for number in fold)
    held = {*_CHALLENGE_VAL, *_CHALLENGE_TEST}
    splits = {
        "rdp": {"train": _ids(_RDP_TRAIN), "val": _ids(_RDP_VAL), "test": _ids(_RDP_TEST)},
        "challenge": {
            "train": _ids(number for number in every if number not in held),
            "val": _ids(_CHALLENGE_VAL),
            "test": _ids(_CHALLENGE_TEST),
        },
    }
    for fold, test in _FOLDS.items():
        # The published loader validates on the last five videos of the remaining folds, in order.
        rest = [number for other in sorted(_FOLDS) if other != fold for number in _FOLDS[other]]
        splits[f"cv{fold}"] = {"train": _ids(rest[:-5]), "val": _ids(rest[-5:]), "test": _ids(test)}
    # CholecT45 lacks the last video of each fold.
    for fold, test in _FOLDS.items():
        rest = [number for other in sorted(_FOLDS) if other != fold for number in _FOLDS[other][:-1]]
        splits[f"t45_cv{fold}"] = {"train": _ids(rest[:-5]), "val": _ids(rest[-5:]), "test": _ids(test[:-1])}
    return splits


def read_json_labels(path: Path) -> dict[str, Track]:
    """Read `VIDxx.json`: frame number -> a vector of 15 numbers for each visible instrument.

    In a vector, [0] is the triplet, [1] the instrument, [7] the verb, [8] the target and [14] the phase; -1 is none.
    Triplets are matched by name if the file lists its categories.

    Returns:
        Tracks `triplet` and, if the file has phases, `phase`.

    Raises:
        DataError: a different layout, ids out of range, or vectors of a different length.
    """
    record = read_json(path)
    if not isinstance(record, dict) or not isinstance(record.get("annotations"), dict):
        raise DataError(f"{path} has no 'annotations' by frame, so it is not a CholecT50 label file")
    triplet_of = _categories(record, "triplet", TRIPLET_NAMES, path)
    phase_of = _categories(record, "phase", CHOLECT50_PHASES, path)
    frames: dict[int, Any] = {}
    for key, instances in record["annotations"].items():
        if not re.fullmatch(r"\d{1,9}", key, re.ASCII) or int(key) > MAX_COUNT:
            fact = f"frame numbers of 'annotations' are whole numbers from 0, at most {MAX_COUNT:,}"
            raise DataError(f"{path}: {fact}, not {short_repr(key)}: correct the file")
        if int(key) in frames or not isinstance(instances, list):
            fact = "occurs twice" if int(key) in frames else f"must be a list of instances, got {short_repr(instances)}"
            raise DataError(f"{path}: frame {key} of 'annotations' {fact}: correct the file")
        frames[int(key)] = instances
    if not frames:
        raise DataError(f"{path}: 'annotations' holds no frame: correct the file")
    stated, fps = record.get("num_frames", 0), record.get("fps", 1)
    if not isinstance(stated, int) or not 0 <= stated <= MAX_COUNT:
        raise DataError(f"{path}: num_frames is {short_repr(stated)}; it must be a whole number, at most {MAX_COUNT:,}")
    if isinstance(fps, bool) or not isinstance(fps, int | float) or not 0 < fps <= MAX_FPS:
        raise DataError(f"{path}: fps is {short_repr(fps)}; it must be above 0, at most {MAX_FPS}: correct the file")
    # Numbers may be far apart: the clips of the challenge are sampled frames.
    numbers = sorted(frames)
    present = np.zeros((len(numbers), len(TRIPLETS)), bool)
    phases = [""] * len(numbers)
    odd = 0
    for at, number in enumerate(numbers):
        for vector in frames[number]:
            ids = _vector(vector, path, number)
            if ids[0] >= 0:
                triplet = TRIPLET_NAMES.index(_lookup(triplet_of, ids[0], path, number, "triplet"))
                present[at, triplet] = True
                parts = (COMPONENT_OF[name][triplet] for name in COMPONENTS)
                odd += any(own >= 0 and own != part for own, part in zip(ids[1:4], parts, strict=True))
            if ids[4] >= 0:
                phases[at] = _lookup(phase_of, ids[4], path, number, "phase")
    what = "with components that differ from those of the triplet"
    notes = [f"{plural(odd, 'instance')} in {path.name} {what}"] if odd else []
    num_frames = max(stated, numbers[-1] + 1)
    if num_frames > len(numbers):
        notes.append(f"{plural(num_frames - len(numbers), 'frame')} without an entry in {path.name}")
    tracks = {"triplet": Track(_triplet_runs(present, numbers, 1 / fps), num_frames / fps, notes)}
    if any(phases):
        tracks["phase"] = Track(join_runs(numbers, phases, 1 / fps), num_frames / fps)
    return tracks


def read_binary_file(path: Path, num_classes: int) -> Any:
    """Read a txt file of the older layout: rows `frame,b0,b1,...`, frames from 0 without gaps, values 0 or 1.

    Returns:
        bool [num_frames, num_classes].

    Raises:
        DataError: other content.
    """
    lines = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    for number, line in enumerate(lines):
        if line.count(",") != num_classes:
            raise DataError(
                f"{path}, row {number} must have {num_classes + 1} values, got {line.count(',') + 1}: correct the row"
            )
    try:
        # By way of an array of texts it takes five times as long.
        values = np.array([[int(value) for value in line.split(",")] for line in lines], np.int64)
    except (OverflowError, ValueError) as error:
        raise DataError(f"{path}: values must be whole numbers ({short_repr(str(error))}): correct the file") from None
    wrong = np.flatnonzero(values[:, 0] != np.arange(len(values)))
    if len(wrong):
        raise DataError(
            f"{path}, row {wrong[0]}: frame must be {wrong[0]} (from 0, in steps of 1), got {values[wrong[0], 0]}"
        )
    wrong = np.flatnonzero((values[:, 1:] < 0).any(1) | (values[:, 1:] > 1).any(1))
    if len(wrong):
        raise DataError(f"{path}, row {wrong[0]}: labels must be 0 or 1: correct the row")
    return values[:, 1:].astype(bool)


def read_binary_labels(root: Path, video_id: str) -> dict[str, Track]:
    """Read a video of the older layout and compare its component labels with its triplets.

    Returns:
        Track `triplet`; its notes count the seconds whose component labels differ from those implied by the triplets.

    Raises:
        DataError: a file cannot be read, or files differ in length.
    """
    present = read_binary_file(root / "triplet" / f"{video_id}.txt", len(TRIPLETS))
    notes = []
    for name, classes in COMPONENTS.items():
        path = root / name / f"{video_id}.txt"
        if not path.is_file():
            notes.append(f"no {name} file next to the triplets")
            continue
        stated = read_binary_file(path, len(classes))
        if len(stated) != len(present):
            raise DataError(f"{path} has {len(stated)} rows and its triplet file {len(present)}: copy both again")
        derived = present.astype(np.int64) @ np.eye(len(classes), dtype=np.int64)[COMPONENT_OF[name]] > 0
        if differ := int((derived != stated).any(1).sum()):
            notes.append(f"{name} labels differ from those of the triplets in {differ} of {len(present)} seconds")
    return {"triplet": Track(_triplet_runs(present, range(len(present))), float(len(present)), notes)}


class CholecT50(VideoDataset):
    """CholecT50 in its JSON layout, or CholecT45 in the older txt layout."""

    name = "cholect50"
    LICENCE = "CC BY-NC-SA 4.0"
    LICENCE_FROM = "README of github.com/CAMMA-public/cholect50"
    SOURCE = "arXiv 2109.03223; by request at camma.unistra.fr/datasets"
    PROCEDURE = "laparoscopic cholecystectomy"
    SPECIALTY = "general surgery"
    # A triplet's label holds its components, so these have classes and no segments of their own.
    CLASSES = {"triplet": TRIPLET_NAMES, **COMPONENTS, "phase": CHOLECT50_PHASES}
    SPLITS = _splits()

    def read(self, contents: Contents) -> None:
        """Read frame folders or videos, and either layout of labels; JSON takes precedence."""
        videos = find_videos(self.root / "data", r"VID\d+", contents) | find_videos(
            self.root / "videos", r"VID\d+", contents
        )
        new = find_files(self.root / "labels", r"(VID\d+)\.json", contents)
        old = find_files(self.root / "triplet", r"(VID\d+)\.txt", contents)
        for video_id in sorted(videos.keys() | new.keys() | old.keys()):
            path = videos.get(video_id)
            info = self.open_video(contents, video_id, path)
            tracks: dict[str, Track] = {}
            boxes = None
            try:
                if video_id in new:
                    tracks = read_json_labels(new[video_id])
                    boxes = read_instance_boxes(new[video_id])
                elif video_id in old:
                    tracks = read_binary_labels(self.root, video_id)
                else:
                    contents.problems.append(f"{video_id}: no triplet labels: labels/VIDEO.json is missing")
            except DataError as error:
                contents.unreadable.append(str(error))
            times_s = None
            if info is not None:
                tracks, times_s = self.as_shown(contents, video_id, path, tracks)
            self.add_video(contents, video_id, path, info, tracks)
            if boxes is not None and len(boxes.frames):
                record = read_json(new[video_id])
                names = (
                    _categories(record, kind, classes, new[video_id])
                    for kind, classes in (("triplet", TRIPLET_NAMES), ("instrument", INSTRUMENTS))
                )
                if boxes.num_without:
                    contents.problems.append(f"{video_id}: {plural(boxes.num_without, 'instance')} without a box")
                self.add_boxes(contents, video_id, frames_of(boxes, *names), 1 / boxes.fps, times_s)


def _triplet_runs(present: Any, numbers: Sequence[int], step_s: float = 1.0) -> list[Span]:
    spans: list[Span] = []
    for triplet in np.flatnonzero(present.any(0)).tolist():
        own = [numbers[row] for row in np.flatnonzero(present[:, triplet]).tolist()]
        spans += join_runs(own, [TRIPLET_NAMES[triplet]] * len(own), step_s)
    return sorted(spans)


def _categories(record: dict[str, Any], kind: str, official: tuple[str, ...], path: Path) -> dict[int, str]:
    """Id -> official name, by the file's own list if it has one."""
    listed = record.get("categories", {})
    listed = listed.get(kind) if isinstance(listed, dict) else None
    if not listed:
        return dict(enumerate(official))
    try:
        names = {int(number): str(name).strip() for number, name in listed.items()}
    except (AttributeError, TypeError, ValueError):
        raise DataError(f"{path}: categories of {kind} must map numbers to names: correct the file") from None
    known = {_plain(name): name for name in official}
    if unknown := sorted(name for name in names.values() if _plain(name) not in known):
        raise DataError(f"{path}: unknown {kind} {short_repr(unknown[0])} among its categories: correct the file")
    return {number: known[_plain(name)] for number, name in names.items()}


def _plain(name: str) -> str:
    """A name without the differences between files: case, blanks, the misspelling of Calot."""
    return name.lower().replace(" ", "").replace("carlot", "calot")


def _vector(vector: Any, path: Path, frame: int) -> tuple[int, int, int, int, int]:
    """Triplet, instrument, verb, target and phase ids of one instance."""
    if not isinstance(vector, list) or len(vector) != VECTOR_LENGTH:
        raise DataError(
            f"{path}, frame {frame}: an instance must be a list of {VECTOR_LENGTH} numbers: correct the file"
        )
    ids = (vector[0], vector[1], vector[7], vector[8], vector[14])
    if not all(type(value) in (int, float) and -1 <= value <= MAX_COUNT and value == int(value) for value in ids):
        raise DataError(f"{path}, frame {frame}: ids {short_repr(ids)} must be whole numbers from -1: correct the file")
    return int(ids[0]), int(ids[1]), int(ids[2]), int(ids[3]), int(ids[4])


def _lookup(names: dict[int, str], number: int, path: Path, frame: int, kind: str) -> str:
    if number not in names:
        raise DataError(f"{path}, frame {frame}: {kind} {number} is not one of 0 to {len(names) - 1}: correct the file")
    return names[number]
