"""PSI-AVA: 8 robotic prostatectomies, phases, steps, instruments and atomic actions (Valderrama et al., 2212.04582).

Layout: `fold1/annotations/train.csv` and `val.csv` (or `annotations/` itself, or both folds), without a header, 13
columns: case, frame, key id, a box x1,y1,x2,y2 of 0 to 1, up to three actions (-1 for none), instrument, step, phase; a
row for each box. Frames count seconds from 1, as in `keyframes/CASE001/00001.jpg`; videos may be in `videos/`.
Phases and steps count from 0, instruments and actions from 1. The names are the English ones of the COCO files.

Frames every 35 s are labelled, here for one second each. The extended lists, with a frame for every second, have rows
of empty boxes and class 0 in between: those give phase and step, and neither instrument nor action. Each box is an
`instrument_box`. The two folds swap their cases; the paper calls the second half validation, and has no other test.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from surgvl.core.errors import DataError
from surgvl.core.ontology import RATED, rated_kind
from surgvl.core.plurals import plural
from surgvl.data.formats.box_labels import Instance
from surgvl.data.formats.layout import find_videos
from surgvl.data.formats.sparse_labels import moment_track
from surgvl.data.formats.text_files import parse_int, read_fields, short_repr
from surgvl.data.readers.base import Contents, VideoDataset
from surgvl.data.spans import Track

PHASES = (
    "Idle",
    "LPIL",
    "RPIL",
    "Retzius_Space",
    "Dorsal_Venous_Complex",
    "Id_Bladder_Neck",
    "Seminal_Vesicles",
    "Denonvilliers_Fascia",
    "Pedicle_Control",
    "Severing_Prostate_Urethra",
    "Bladder_Neck_Rec",
)
# Spelt as published.
STEPS = (
    "Idle",
    "Id_Illiac_Vein_Artery",
    "Dissection_Illiac_Lymph_Nodes",
    "Dissection_Obturator_Lymph_Nodes",
    "Pack_Lymph_Nodes",
    "Prevessical_Dissection",
    "Ligation_Dorsal_Venous_Complex",
    "Prostate_Dissection",
    "Seminal_Vessicle_Dissection",
    "Denon_Dissection",
    "Cut_Prostate",
    "Hold_Prostate",
    "Pack_Prostate",
    "Pass_Suture_Urethra",
    "Pass_Suture_Neck",
    "Pull_Suture",
    "Tie_Suture",
    "Suction",
    "Cut",
    "Cut_Bladder",
    "Clip_Pedicles",
)
INSTRUMENTS = (
    "Bipolar Forceps",
    "Prograsp Forceps",
    "Large Needle Driver",
    "Monopolar Curved Scissors",
    "Suction Instrument",
    "Clip Applier",
    "Laparoscopic Grasper",
)
ACTIONS = (
    "Cauterize",
    "Close",
    "Close Something",
    "Cut",
    "Grasp",
    "Hold",
    "Open",
    "Open Something",
    "Pull",
    "Push",
    "Release",
    "Staple",
    "Still",
    "Suction",
    "Travel",
    "Wash",
)
_COLUMNS = 13
_HALVES = (("CASE001", "CASE004", "CASE014", "CASE015"), ("CASE002", "CASE003", "CASE007", "CASE021"))


@dataclass
class Frames:
    """Labels of the frames of one case.

    Attributes:
        names: task -> class names.
        labels: task -> second -> names.
        boxes: exact time of each frame whose instruments were labelled, seconds -> their boxes.
        num_without: instruments without a usable box.
    """

    names: Mapping[str, Sequence[str]]
    labels: dict[str, dict[float, set[str]]] = field(default_factory=dict)
    boxes: dict[float, list[Instance]] = field(default_factory=dict)
    num_without: int = 0

    def add(self, task: str, second: float, ids: Iterable[int], first: int, where: str) -> None:
        """Add classes of a frame by their ids; a frame without any stays a labelled one.

        Args:
            task: a key of `names`.
            second: time of the frame.
            ids: class ids.
            first: id of the first class.
            where: file and row, for the message.

        Raises:
            DataError: an id without a name.
        """
        there = self.labels.setdefault(task, {}).setdefault(second, set())
        for number in ids:
            if not first <= number < first + len(self.names[task]):
                allowed = f"{first} to {first + len(self.names[task]) - 1}"
                raise DataError(f"{where}: {task} is {number}; allowed are {allowed}: correct the row")
            there.add(self.names[task][number - first])

    def add_box(self, time_s: float, xywh: Sequence[float], instrument: int) -> None:
        """Add the box of an instrument; a frame whose boxes are unusable stays a labelled one.

        Args:
            time_s: exact time of the frame.
            xywh: left, top, width and height, as parts of the picture.
            instrument: id of its class, from 1.
        """
        there = self.boxes.setdefault(time_s, [])
        if min(xywh[2:]) > 0:
            there.append(Instance(xywh, {"instrument": self.names["instrument"][instrument - 1]}))
        else:
            self.num_without += 1

    def tracks(self) -> dict[str, Track]:
        """The labels as tracks, a second for each frame, and the frames that were looked at for several labels."""
        tracks = {task: moment_track(present, 1.0, self.names[task]) for task, present in self.labels.items()}
        return tracks | {
            rated_kind(task): moment_track(dict.fromkeys(present, (RATED,)), 1.0, (RATED,))
            for task, present in self.labels.items()
            if task in ("instrument", "action")
        }

    def doubled(self, task: str) -> int:
        """Number of frames with several classes of a task that should have one."""
        return sum(len(names) > 1 for names in self.labels.get(task, {}).values())


def read_boxes(path: Path, classes: Mapping[str, Sequence[str]]) -> dict[str, Frames]:
    """Read a list of boxes.

    Args:
        path: the file.
        classes: task -> class names, for phase, step, instrument and action.

    Returns:
        Case -> its frames.

    Raises:
        DataError: a different number of columns, a class id without a name, or a box that is not in parts of the
            picture.
    """
    cases: dict[str, Frames] = {}
    for line, fields in read_fields(path):
        where = f"{path}, line {line}"
        if len(fields) != _COLUMNS:
            raise DataError(f"{where} has {len(fields)} values; expected {_COLUMNS}: correct the row")
        if not re.fullmatch(r"CASE\d+", fields[0]):
            raise DataError(f"{where}: case is {short_repr(fields[0])}; it must be such as CASE001: correct the row")
        second = parse_int(fields[1], path, line, "frame", least=1) - 1.0
        *actions, instrument, step, phase = (parse_int(text, path, line, "class", least=-1) for text in fields[7:])
        frames = cases.setdefault(fields[0], Frames(classes))
        frames.add("phase", second, (phase,), 0, where)
        frames.add("step", second, (step,), 0, where)
        # Class 0 marks the frames between key frames, which nobody looked at for instruments.
        if instrument:
            frames.add("instrument", second, (instrument,), 1, where)
            frames.add("action", second, (number for number in actions if number > 0), 1, where)
            frames.add_box(second, _xywh(fields[3:7], where), instrument)
    return cases


def _xywh(fields: Sequence[str], where: str) -> tuple[float, float, float, float]:
    try:
        left, top, right, bottom = (float(text) for text in fields)
    except ValueError:
        left = top = right = bottom = -1.0
    if not all(0 <= value <= 1 for value in (left, top, right, bottom)):
        fact = f"box is {short_repr(','.join(fields))}; it must be left,top,right,bottom, each 0 to 1"
        raise DataError(f"{where}: {fact}, in parts of the picture: correct the row")
    return left, top, right - left, bottom - top


class PSIAVA(VideoDataset):
    """PSI-AVA's lists of boxes; a video is a case."""

    name = "psi_ava"
    LICENCE = "not stated (code MIT)"
    LICENCE_FROM = "LICENSE of github.com/BCV-Uniandes/TAPIR, which is of the code; its README has none of the data"
    SOURCE = "arXiv 2212.04582; github.com/BCV-Uniandes/TAPIR"
    PROCEDURE = "robot-assisted radical prostatectomy"
    SPECIALTY = "urology"
    CLASSES = {
        "phase": PHASES,
        "step": STEPS,
        "instrument": INSTRUMENTS,
        "action": ACTIONS,
    }
    SPLITS = {
        "fold1": {"train": _HALVES[0], "test": _HALVES[1]},
        "fold2": {"train": _HALVES[1], "test": _HALVES[0]},
    }

    def read(self, contents: Contents) -> None:
        """Read the lists of all folds, a case from the first list that has it, and the videos."""
        cases: dict[str, Frames] = {}
        for fold in ("", "fold1", "fold2"):
            for name in ("train.csv", "val.csv"):
                path = self.root / fold / "annotations" / name
                try:
                    if path.is_file():
                        cases = read_boxes(path, self.CLASSES) | cases
                except DataError as error:
                    contents.unreadable.append(str(error))
        add_cases(self, contents, cases, first=1)


def add_cases(dataset: VideoDataset, contents: Contents, cases: Mapping[str, Frames], first: int) -> None:
    """Add cases with their videos or pictures.

    Args:
        dataset: with `keyframes/`, `frames/` or `videos/`.
        contents: takes videos and labels.
        cases: labels by case.
        first: number of the picture at 0 s.
    """
    videos: dict[str, Path] = {}
    for folder in ("keyframes", "frames", "videos"):
        videos |= find_videos(dataset.root / folder, r"CASE\d+", contents)
    for case in sorted(videos.keys() | cases.keys()):
        path = videos.get(case)
        info = dataset.open_video(contents, case, path)
        tracks = cases[case].tracks() if case in cases else {}
        if case not in cases:
            contents.problems.append(f"{case}: no labels: no file in annotations/ names it")
            continue
        if without := cases[case].num_without:
            fact = f"{plural(without, 'instrument')} without a box within the picture"
            contents.problems.append(f"{case}: {fact}, left out of instrument_box")
        for task in ("phase", "step"):
            if count := cases[case].doubled(task):
                contents.problems.append(f"{case}: {count} frames with several labels of task {task}, all kept")
        boxes, times_s = cases[case].boxes, None
        if info is not None:
            tracks, times_s = dataset.as_shown(contents, case, path, tracks, first=(first,))
        if times_s is None:
            # As for the labels: a box counts for the second that its picture was taken from.
            boxes = {float(int(second)): each for second, each in boxes.items()}
        dataset.add_video(contents, case, path, info, tracks)
        dataset.add_boxes(contents, case, boxes, 1.0, times_s, ("instrument",))
