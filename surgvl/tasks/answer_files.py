"""Files of answers that `ask` wrote: read, checked against a manifest, and joined with those of controls.

A row whose `ablated` is not empty was answered with another video in place of its own, and stands beside the row of the
same mode, stretch and question that was answered with the right one.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from surgvl.core.errors import DataError
from surgvl.core.files import read_json
from surgvl.tasks.base import MODES, Answers

AnswerRow = dict[str, Any]
Key = tuple[str, float, float, str]

_COLUMNS: dict[str, type | tuple[type, ...]] = {
    "video_id": str,
    "start_s": (int, float),
    "end_s": (int, float),
    "question": str,
    "answer": str,
    "type": str,
    "prediction": str,
    "matched": bool,
    "mode": str,
    "ablated": str,
}


@dataclass(frozen=True)
class AnswerFile:
    """Rows of one answers.jsonl, and `run.json` beside it, where there is one."""

    path: Path
    rows: list[AnswerRow]
    facts: dict[str, Any]


def read_answers(folder: Path) -> AnswerFile:
    """Read a folder that holds answers.jsonl, or that file.

    Raises:
        DataError: absent, a line that is not JSON, or fields that do not fit.
    """
    path = folder / "answers.jsonl" if folder.is_dir() else folder
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}): run `surgvl ask --manifest` first") from error
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}, line {number}: not JSON ({error}): run `surgvl ask` again") from error
        given = {"ablated": "", **row} if isinstance(row, dict) else {}
        names = [name for name, kind in _COLUMNS.items() if not isinstance(given.get(name), kind)]
        if names := names or sorted(set(given) - set(_COLUMNS)):
            raise DataError(f"{path}, line {number}: {names} do not fit; fields are {list(_COLUMNS)}: ask again")
        if given["mode"] not in MODES:
            raise DataError(f"{path}, line {number}: mode {given['mode']!r}; known are {', '.join(MODES)}: ask again")
        rows.append(given)
    record = path.parent / "run.json"
    return AnswerFile(path, rows, dict(read_json(record)) if record.is_file() else {})


def of_split(file: AnswerFile, video_ids: Sequence[str], truth: Mapping[Key, set[str]]) -> AnswerFile:
    """The rows of some videos, each found again in a manifest.

    Args:
        file: what was read.
        video_ids: of the split.
        truth: the manifest's answers to each question about a stretch.

    Raises:
        DataError: a row that the manifest does not have, or no row at all.
    """
    wanted, rows = set(video_ids), []
    for number, row in enumerate(file.rows, 1):
        if row["video_id"] not in wanted:
            continue
        if row["answer"] not in truth.get(_key(row), ()):
            what = f"{row['question']!r} with answer {row['answer']!r} about {row['video_id']} at {row['start_s']} s"
            raise DataError(f"{file.path}, line {number}: {what} is not in the manifest: ask again with it")
        rows.append(row)
    return AnswerFile(file.path, rows, file.facts)


def join(files: Sequence[AnswerFile]) -> list[Answers]:
    """Answers of each mode with those of its controls.

    Raises:
        DataError: two files hold answers of one kind, controls stand alone, or a control lacks a question.
    """
    kinds: dict[tuple[str, str], AnswerFile] = {}
    for file in files:
        for kind in sorted({(row["mode"], row["ablated"]) for row in file.rows}):
            if kind in kinds:
                raise DataError(f"{kinds[kind].path} and {file.path} both hold {_named(*kind)}: give one of them")
            rows = [row for row in file.rows if (row["mode"], row["ablated"]) == kind]
            kinds[kind] = AnswerFile(file.path, rows, file.facts)
    found = []
    for (mode, ablated), file in sorted(kinds.items()):
        if ablated:
            if (mode, "") not in kinds:
                raise DataError(f"{file.path} holds {_named(mode, ablated)}, and no file those with the right video")
            continue
        rows = file.rows
        found.append(
            Answers(
                video_ids=[row["video_id"] for row in rows],
                questions=[row["question"] for row in rows],
                answers=[row["answer"] for row in rows],
                types=[row["type"] or "all" for row in rows],
                predictions=[row["prediction"] for row in rows],
                matched=np.array([row["matched"] for row in rows], bool),
                mode=mode,
                controls={
                    f"{name} video": _beside(rows, control)
                    for (of_mode, name), control in sorted(kinds.items())
                    if name and of_mode == mode
                },
                encoder={True: "frozen", False: "fine-tuned"}.get(file.facts.get("frozen", ""), "not stated"),
                num_trainable=int(file.facts.get("num_trainable", 0)),
            )
        )
    return found


def _beside(rows: Sequence[AnswerRow], control: AnswerFile) -> list[str]:
    """What a control said to each question."""
    said = {_key(row): row["prediction"] for row in control.rows}
    if lacks := [row for row in rows if _key(row) not in said]:
        first = f"{lacks[0]['question']!r} about {lacks[0]['video_id']} at {lacks[0]['start_s']} s"
        name = _named(control.rows[0]["mode"], control.rows[0]["ablated"])
        raise DataError(
            f"{control.path}: {name} lack {len(lacks)} of {len(rows)} questions, the first {first}: "
            "ask with the same --split and --every_s"
        )
    return [said[_key(row)] for row in rows]


def _key(row: AnswerRow) -> Key:
    return row["video_id"], float(row["start_s"]), float(row["end_s"]), row["question"]


def _named(mode: str, ablated: str) -> str:
    return f"{mode} answers with {f'the {ablated}' if ablated else 'the right'} video"
