"""Stored answers scored again: what a model wrote is read again, and late replies are counted, without the model.

Readers of replies differ: the same replies to LongVT scored 33 to 65 % by four of them (its issue 25). So a reply is
kept as it was written, with the options as they were shown.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from surgvl.core.errors import DataError
from surgvl.core.plurals import part_of
from surgvl.core.tables import markdown_table
from surgvl.metrics.answer_types.base import answer_types, read_answer, type_of
from surgvl.tasks.answer_files import AnswerFile, AnswerRow
from surgvl.tasks.reply_matcher import ReplyMatcher
from surgvl.tasks.truth import Labels


def reread(file: AnswerFile, questions: Labels, split: str) -> tuple[AnswerFile, int]:
    """The same answers, read again from what the model wrote, and how many are other ones than before.

    Replies that never came, or that the server marked as refused, stay as they are. A judge's mark and the
    confidence are of the answer that was read before, and go where that is another one now.

    Args:
        file: the answers.
        questions: a manifest, by whose options the replies that another toolkit logged are read.
        split: whose questions they answer.

    Raises:
        DataError: the answers are not those of a general model of this version, so that there is nothing to read.
    """
    if not any("options" in row and "raw" in row for row in file.rows):
        raise DataError(
            f"{file.path} has no replies with their options: only answers of a general vision-language model can be "
            "read again; those of an earlier version after `surgvl ask --resume`, which reads its stored replies, and "
            "those that another toolkit logged from its own file, or after `surgvl judge --resume` on that"
        )
    matcher = ReplyMatcher(questions, split)
    rows = [_reread(row, matcher) if "options" in row and "raw" in row else row for row in file.rows]
    changed = sum(old != new for old, new in zip(file.rows, rows, strict=True))
    return dataclasses.replace(file, rows=rows), changed


def _reread(row: AnswerRow, matcher: ReplyMatcher) -> AnswerRow:
    again = _read(row) if "reply" in row else matcher.read_again(row)
    if again["prediction"] == row["prediction"]:
        return again
    stale = {"judged": "", "confidence": None}
    return again | {name: stale[name] for name in stale if name in row}


def _read(row: AnswerRow) -> AnswerRow:
    """A row of a general model, read again; one of another toolkit has no key of a stored reply."""
    kind = answer_types()["open"] if row["mode"] == "open" else type_of(row["type"])
    said, problem = read_answer(kind, row["raw"], row["options"])
    if row["mode"] == "open" and said == row["prediction"]:
        return row
    right = not problem and type_of(row["type"]).right(row["answer"], said)
    outcome = problem or ("correct" if right else "wrong")
    return row | {"prediction": said, "matched": not problem, "outcome": outcome}


def late_after(file: AnswerFile, limit_s: float) -> AnswerFile:
    """The same answers; those whose reply took longer than a limit are late, and count as wrong.

    Args:
        file: the answers.
        limit_s: seconds.

    Raises:
        DataError: no row says how long its reply took.
    """
    if not any("seconds" in row for row in file.rows):
        remedy = "add a column `seconds`" if file.toolkit else "ask a general model"
        raise DataError(f"{file.path} does not say how long replies took: {remedy}, or leave --late_after_s out")
    late = {"prediction": "", "matched": False, "outcome": "late"}
    rows = [row | late if row.get("seconds", 0.0) > limit_s else row for row in file.rows]
    return dataclasses.replace(file, rows=rows)


def scored_again(
    files: Sequence[AnswerFile], rescore: bool, late_after_s: float, questions: Labels, split: str
) -> tuple[list[AnswerFile], str]:
    """Answer files, read again and with late replies counted as asked for, and what that did, as Markdown.

    Args:
        files: the answers, and those of controls.
        rescore: whether to read replies again.
        late_after_s: a reply that took longer is late; 0: none is.
        questions: a manifest.
        split: whose questions are answered.
    """
    notes = [latency_note(file) for file in files if file.toolkit]
    if rescore:
        pairs = [(file, 0) if file.toolkit else reread(file, questions, split) for file in files]
        notes += filter(None, map(_marks_note, files, (file for file, _ in pairs)))
        files, changed = [file for file, _ in pairs], sum(number for _, number in pairs)
        notes.append(f"- replies read again: {changed:,} of {sum(len(file.rows) for file in files):,} differ\n")
    if late_after_s:
        files = [late_after(file, late_after_s) for file in files]
        notes.append(latency_table(files))
    return list(files), "".join(notes)


def _marks_note(before: AnswerFile, after: AnswerFile) -> str:
    """How many marks of a judge were of answers that are read differently now, as a list item."""
    lost = sum(bool(old.get("judged")) and not new["judged"] for old, new in zip(before.rows, after.rows, strict=True))
    total = sum(bool(row.get("judged")) for row in before.rows)
    if not lost:
        return ""
    part = part_of(lost, total, "mark", "is")
    return f"- judge: {part} of an answer that is read differently now, and not counted: mark {before.path} again\n"


def latency_note(file: AnswerFile) -> str:
    """Whether another toolkit's file tells how long replies took, as a list item."""
    replies = [row for row in file.rows if row["raw"]]
    told = sum("seconds" in row for row in replies)
    if not told:
        return f"- latency of {file.path.name}: not logged by {file.toolkit}, so no reply counts as late\n"
    return f"- latency of {file.path.name}: told of {told:,} of its {len(replies):,} replies\n"


def latency_table(files: Sequence[AnswerFile]) -> str:
    """How long replies took, as a Markdown table; those of requests that were tried again include the wait."""
    cells = []
    for mode in sorted({row["mode"] for file in files for row in file.rows}):
        own = [row for file in files for row in file.rows if row["mode"] == mode and not row["ablated"]]
        took = np.array([row["seconds"] for row in own if "seconds" in row], np.float64)
        if len(took):
            spread = [f"{value:.2f} s" for value in (*np.percentile(took, [50, 95]), took.max())]
            late = sum(row.get("outcome") == "late" for row in own)
            cells.append([mode, f"{len(took):,}", *spread, f"{late:,}"])
    head = ["answers", "timed", "median", "95 % within", "longest", "late"]
    return "\n".join(["", *markdown_table(head, cells, set(head[1:])), ""]) if cells else ""
