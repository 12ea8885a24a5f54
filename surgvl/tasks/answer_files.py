"""Answer files of `surgvl ask`: read them, check them against a manifest, and join them with those of controls.

A row whose `ablated` is not empty is the answer under a control, with another video in place of its own, or to the
question put in another way; it belongs to the row of the same mode, segment and question that was answered as it is.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from surgvl.core.checks import check_choice
from surgvl.core.errors import DataError
from surgvl.core.files import read_json
from surgvl.core.results import UNRECORDED
from surgvl.core.tables import markdown_table
from surgvl.metrics.answer_types.base import type_of
from surgvl.metrics.outcomes import OUTCOMES, PROBLEMS, counted, outcome
from surgvl.tasks.answers import MODES, Answers

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
# Of later versions, and of general models.
_OPTIONAL: dict[str, type | tuple[type, ...]] = {
    **{"outcome": str, "raw": str, "reply": str},
    # As they were shown, where `prediction` was read from `raw`; from the question to the reply.
    **{"options": list, "seconds": (int, float)},
    # 0 ... 1; null where the answerer does not say how sure it is.
    "confidence": (int, float, type(None)),
    # Of an open answer, by `surgvl judge`.
    "judged": str,
}
# Options of a row of an earlier version.
_UNTOLD = ("?", "?")
# What may be shown in place of the right video; other values of `ablated` are ways to put the question.
VIDEOS = {"no_video": "no video", "black": "black video", "other": "other video"}


@dataclass(frozen=True)
class AnswerFile:
    """The rows of an answers.jsonl, and the facts in the `run.json` next to it, if there is one.

    Attributes:
        toolkit: which other toolkit wrote the file, so that its replies were read by this version; empty for surgvl.
    """

    path: Path
    rows: list[AnswerRow]
    facts: dict[str, Any]
    toolkit: str = ""


def read_answers(folder: Path) -> AnswerFile:
    """Read a folder that holds answers.jsonl, or that file.

    Raises:
        DataError: the file is absent, a line is not JSON, or fields are missing, unknown or of a wrong type.
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
            raise DataError(f"{path}, line {number} is not JSON ({error}): run `surgvl ask` again") from error
        given = {"ablated": "", **row} if isinstance(row, dict) else {}
        kinds = _COLUMNS | {name: kind for name, kind in _OPTIONAL.items() if name in given}
        names = [name for name, kind in kinds.items() if not isinstance(given.get(name), kind)]
        if names := names or sorted(set(given) - set(kinds)):
            raise DataError(
                f"{path}, line {number}: {names} do not fit; fields are {list(_COLUMNS)}: run `surgvl ask` again"
            )
        if given["mode"] not in MODES:
            raise DataError(f"{path}, line {number}: mode must be one of {', '.join(MODES)}, got {given['mode']!r}")
        if "outcome" in given:
            check_choice(f"{path}, line {number}: outcome", given["outcome"], OUTCOMES)
        sure = given.get("confidence")
        if sure is not None and not 0 <= sure <= 1:
            raise DataError(f"{path}, line {number}: confidence must be 0 to 1 or null, got {sure}: correct it")
        if given["prediction"] and given["mode"] == "typed":
            try:
                type_of(given["type"]).verify(given["prediction"])
            except DataError as error:
                raise DataError(f"{path}, line {number}: {error}") from error
        rows.append(given)
    record = path.parent / "run.json"
    return AnswerFile(path, rows, dict(read_json(record)) if record.is_file() else {})


def of_split(file: AnswerFile, video_ids: Sequence[str], truth: Mapping[Key, set[str]]) -> AnswerFile:
    """The rows about some videos, checked against a manifest.

    Args:
        file: the answers.
        video_ids: the videos to keep.
        truth: the manifest's answers to each question about a segment.

    Raises:
        DataError: a row is not in the manifest.
    """
    wanted, rows = set(video_ids), []
    for number, row in enumerate(file.rows, 1):
        if row["video_id"] not in wanted:
            continue
        if row["answer"] not in truth.get(_key(row), ()):
            what = f"{row['question']!r} with answer {row['answer']!r} about {row['video_id']} at {row['start_s']} s"
            raise DataError(
                f"{file.path}, line {number}: {what} is not in the manifest: run `surgvl ask` with this manifest"
            )
        rows.append(row)
    return AnswerFile(file.path, rows, file.facts)


def join(files: Sequence[AnswerFile]) -> list[Answers]:
    """The answers of each mode, with those of its controls.

    Raises:
        DataError: two files hold the same kind of answers, or a control stands alone or lacks a question.
    """
    kinds: dict[tuple[str, str], AnswerFile] = {}
    for file in files:
        for kind in sorted({(row["mode"], row["ablated"]) for row in file.rows}):
            if kind in kinds:
                raise DataError(f"{kinds[kind].path} and {file.path} both hold {_named(*kind)}: pass one of them")
            rows = [row for row in file.rows if (row["mode"], row["ablated"]) == kind]
            kinds[kind] = AnswerFile(file.path, rows, file.facts)
    found = []
    for (mode, ablated), file in sorted(kinds.items()):
        if ablated:
            if (mode, "") not in kinds:
                raise DataError(f"{file.path} holds {_named(mode, ablated)}, but no file those with the right video")
            continue
        rows = file.rows
        others = {name: control for (of_mode, name), control in sorted(kinds.items()) if name and of_mode == mode}
        variants = {name: _variant(rows, control) for name, control in others.items() if name not in VIDEOS}
        shown = {VIDEOS[name]: _same_questions(rows, control) for name, control in others.items() if name in VIDEOS}
        found.append(
            Answers(
                video_ids=[row["video_id"] for row in rows],
                questions=[row["question"] for row in rows],
                answers=[row["answer"] for row in rows],
                types=[row["type"] or "all" for row in rows],
                predictions=[row["prediction"] for row in rows],
                matched=np.array([row["matched"] for row in rows], bool),
                outcomes=outcomes(rows),
                mode=mode,
                confidences=_confidences(rows),
                controls={name: [row["prediction"] for row in each] for name, each in shown.items()},
                control_confidences={name: _confidences(each) for name, each in shown.items()},
                control_outcomes={VIDEOS[name]: outcomes(each.rows) for name, each in others.items() if name in VIDEOS},
                variants={name: said for name, said in variants.items() if any(each is not None for each in said)},
                judged=[row.get("judged", "") for row in rows] if any("judged" in row for row in rows) else [],
                control_judged={
                    name: [row.get("judged", "") for row in each]
                    for name, each in shown.items()
                    if any("judged" in row for row in each)
                },
                judge=str(file.facts.get("judge", {}).get("protocol", "marked by a judge that is not recorded")),
                encoder={True: "frozen", False: "fine-tuned"}.get(file.facts.get("frozen", ""), "not stated"),
                num_trainable=int(file.facts.get("num_trainable", 0)),
                protocol=str(file.facts.get("protocol", UNRECORDED)),
            )
        )
    return found


def outcomes(rows: Sequence[AnswerRow]) -> list[str]:
    """The outcome of each row, one of the six of `surgvl.metrics.outcomes`; whether it is right is found here."""
    right = [type_of(row["type"]).right(row["answer"], row["prediction"]) for row in rows]
    said = [row.get("outcome", "" if row["matched"] else "unparsed") for row in rows]
    pairs = zip(said, right, strict=True)
    return [outcome(next((name for name in PROBLEMS if name == each), ""), is_right) for each, is_right in pairs]


def outcome_counts(answers: Sequence[Answers]) -> dict[str, dict[str, int]]:
    """How often each of the six outcomes occurs, by the name of the answers: their mode, and the control's video."""
    found = {each.mode: counted(each.outcomes) for each in answers}
    return found | {
        f"{each.mode}, {name}": counted(said) for each in answers for name, said in each.control_outcomes.items()
    }


def outcome_table(counts: Mapping[str, Mapping[str, int]]) -> str:
    """The counts as a Markdown table."""
    rows = [[name, *(f"{each[key]:,}" for key in OUTCOMES)] for name, each in counts.items()]
    return "\n".join(["", *markdown_table(["answers", *OUTCOMES], rows, set(OUTCOMES)), ""]) if rows else ""


def _confidences(rows: Sequence[AnswerRow]) -> list[float]:
    """The confidence of each row that has one and an answer, else NaN."""
    stated = [row.get("confidence") if row["prediction"] else None for row in rows]
    return [math.nan if each is None else float(each) for each in stated]


def _same_questions(rows: Sequence[AnswerRow], control: AnswerFile) -> list[AnswerRow]:
    """The rows of a control for the same questions."""
    said = {_key(row): row for row in control.rows}
    if lacks := [row for row in rows if _key(row) not in said]:
        first = f"{lacks[0]['question']!r} about {lacks[0]['video_id']} at {lacks[0]['start_s']} s"
        name = _named(control.rows[0]["mode"], control.rows[0]["ablated"])
        raise DataError(
            f"{control.path}: {name} lack {len(lacks)} of {len(rows)} questions, the first {first}: "
            "run `surgvl ask` with the same --split and --every_s"
        )
    return [said[_key(row)] for row in rows]


def _variant(rows: Sequence[AnswerRow], control: AnswerFile) -> list[str | None]:
    """The predictions for the same questions put in another way; None for those that this way does not change.

    Files of earlier versions have answers in another order to questions without options, too.
    """
    if not control.rows[0]["ablated"].startswith("order "):
        return [row["prediction"] for row in _same_questions(rows, control)]
    changed = [row for row in rows if type_of(row["type"]).takes_options and len(row.get("options", _UNTOLD)) > 1]
    said = {_key(row): row["prediction"] for row in _same_questions(changed, control)}
    return [said.get(_key(row)) for row in rows]


def _key(row: AnswerRow) -> Key:
    return row["video_id"], float(row["start_s"]), float(row["end_s"]), row["question"]


def _named(mode: str, ablated: str) -> str:
    if ablated and ablated not in VIDEOS:
        return f"{mode} answers in {ablated}"
    shown = {"": "the right video", "no_video": "no video"}.get(ablated, f"the {ablated} video")
    return f"{mode} answers with {shown}"
