"""Predictions as text files, one a process: the form of VideoMAE's evaluation, which SurgVISTA and SurgRec write, too.

A folder has `0.txt`, `1.txt` and so on; other files, such as `log.txt`, are ignored. The first line may hold two
accuracies; each further one has a name, scores in brackets and the true class:

- SurgVISTA, moments (isyangshu/SurgVISTA, `downstream/downstream_phase/engine_for_phase.py`, and `_frame`):
  `UNIQUE VIDEO FRAME [scores] class`; of triplets (`engine_for_triplet.py`), the truth is a list of 0 and 1.
- SurgVISTA, clips (`engine_for_clip.py`): `CLIP [scores] class`.
- SurgRec (Siiichenggg/SurgRec-open-source, `surgrec_video/engine/engine_for_finetuning.py`):
  `CLIP [scores] class chunk crop`, where CLIP is the file's name up to its first dot.

As in their `merge`, scores of one class a row become a softmax, chunks and crops of a clip are averaged, and what
processes repeat to share the samples evenly counts once. Classes are ids, unless a label map of SurgRec lies beside.

Shape letters: N rows, C classes.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from surgvl.core.arrays import Float64Array
from surgvl.core.errors import DataError
from surgvl.core.label_map import read_label_map
from surgvl.core.plurals import plural
from surgvl.core.prediction_table import PredictionTable

_LINE = re.compile(
    r"(?P<name>[^\[\]]+?) *\[(?P<scores>[^\[\]]*)\] (?:\[(?P<flags>[^\[\]]*)\]|(?P<label>\d+))(?P<part>[ \d]*)"
)
_MOMENT = re.compile(r"\d+ (\S+) (\d+)")


class _Row(NamedTuple):
    """A line: its name, scores [C], true classes, and which chunk and crop it is of."""

    name: str
    scores: Float64Array
    truth: tuple[int, ...]
    many: bool
    part: str


def is_rank_file(path: Path) -> bool:
    """Whether a text file is one of this form, by its first two lines."""
    try:
        with path.open(encoding="utf-8") as file:
            return any(_LINE.fullmatch(file.readline().strip()) for _ in range(2))
    except (OSError, UnicodeDecodeError):
        return False


def read_ranks(path: Path, fps: float | None = None) -> PredictionTable:
    """Read a folder of such files, or one of them.

    Args:
        path: the folder or file.
        fps: numbers of frames for each second; by default 1, as the labels of phases.

    Raises:
        DataError: a file is missing, a line has a different form, or lines differ in classes or in the truth of a name.
    """
    rows = [row for file in _files(path) for row in _read(file)]
    if not rows:
        raise DataError(f"{path} has no predictions: run the evaluation again")
    num_classes, many = len(rows[0].scores), rows[0].many
    parts: dict[str, dict[str, _Row]] = {}
    for row in rows:
        if len(row.scores) != num_classes or row.many != many:
            fact = f"rows must have one form and {num_classes} classes, got {row.name!r}"
            raise DataError(f"{path}: {fact}: do not mix runs")
        own = parts.setdefault(row.name, {})
        if own and next(iter(own.values())).truth != row.truth:
            raise DataError(f"{path}: {row.name!r} has two true classes: two clips have this name, or runs are mixed")
        own.setdefault(row.part, row)
    moments = [_MOMENT.fullmatch(name) for name in parts]
    if any(moments) and not all(moments):
        raise DataError(f"{path}: rows must all be moments of videos, or all be clips: do not mix runs")
    videos = [moment[1] if moment else name for name, moment in zip(parts, moments, strict=True)]
    times_s = np.array([int(moment[2]) if moment else 0 for moment in moments], np.float64) / (fps or 1.0)
    scores = np.stack([np.mean([_level(row) for row in own.values()], axis=0) for own in parts.values()])
    return PredictionTable(
        videos,
        np.round(times_s, 4),
        _names(path, num_classes),
        scores.astype(np.float32),
        truth=[next(iter(own.values())).truth for own in parts.values()],
        whole=not any(moments),
    )


def _level(row: _Row) -> Float64Array:
    """The scores of a row on one scale with those of others: of exclusive classes their probabilities."""
    if row.many:
        return row.scores
    up = np.exp(row.scores - row.scores.max())
    return np.asarray(up / up.sum())


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = {int(each.stem): each for each in path.glob("*.txt") if each.stem.isdecimal()}
    missing = next(number for number in range(len(found) + 1) if number not in found)
    if missing < max(len(found), 1):
        raise DataError(f"{path} lacks {missing}.txt: it needs the file of each process, from 0.txt on")
    return [found[number] for number in sorted(found)]


def _read(file: Path) -> Iterator[_Row]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read ({error}): copy it again") from error
    for number, line in enumerate(lines, 1):
        found = _LINE.fullmatch(line.strip())
        if found is None and number == 1 and "[" not in line:
            continue  # accuracies of the last batch
        try:
            if found is None:
                raise ValueError("not `name [scores] class`")
            scores = _numbers(found["scores"])
            flags = None if found["flags"] is None else _numbers(found["flags"])
        except ValueError as error:
            raise DataError(f"{file}, line {number} is not a prediction ({error}): copy the file again") from error
        truth = (int(found["label"]),) if flags is None else tuple(np.flatnonzero(flags).tolist())
        if max(truth, default=0) >= len(scores) or (flags is not None and len(flags) != len(scores)):
            fact = f"{plural(len(scores), 'score')} for true class {', '.join(map(str, truth)) or 'none'}"
            raise DataError(f"{file}, line {number}: {fact}: copy the file again")
        if not np.isfinite(scores).all():
            raise DataError(f"{file}, line {number}: scores must be finite: check the model behind them")
        yield _Row(found["name"], scores, truth, flags is not None, found["part"].strip())


def _numbers(text: str) -> Float64Array:
    return np.array([float(each) for each in text.split(",")], np.float64)


def _names(path: Path, num_classes: int) -> Sequence[str]:
    """The names of SurgRec's label map in the folder; without one none, which says that classes are ids."""
    folder = path if path.is_dir() else path.parent
    for file in sorted(folder.glob("label_map*.json")):
        names = read_label_map(file)
        if sorted(names) != list(range(num_classes)):
            raise DataError(f"{file} names {len(names)} classes, but the predictions have {num_classes}: correct it")
        return [names[number] for number in range(num_classes)]
    return []
