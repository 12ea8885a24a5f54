"""Replies that other toolkits logged, as answers to a manifest's questions.

No toolkit logs what was shown in place of the video, or how long a reply took: the first is said with the file
(`no_video:FILE`), the second in a column `seconds`, if anybody adds it; and in `confidence` how sure the model was.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import surgvl.tasks.replies
from surgvl.core.errors import ConfigError, DataError
from surgvl.core.operations import UNKNOWN
from surgvl.core.registry import discover
from surgvl.core.results import UNRECORDED
from surgvl.tasks.answer_files import VIDEOS, AnswerFile, read_answers
from surgvl.tasks.replies.base import ReplyFormat, Row, number_of
from surgvl.tasks.replies.records import SUFFIXES, read_records
from surgvl.tasks.reply_matcher import ReplyMatcher
from surgvl.tasks.truth import Labels


def read_all(answers: Path | None, controls: Sequence[Path], manifest: Labels | None, split: str) -> list[AnswerFile]:
    """Answers, and those of controls, in the order given; for the arguments see `answers_of`.

    Raises:
        ConfigError: another toolkit's file is a control, and nothing says of what.
        DataError: as `answers_of`.
    """
    files = [answers_of(path, manifest, split) for path in ([answers] if answers else [])]
    for path in controls:
        files.append(answers_of(path, manifest, split))
        if files[-1].toolkit and not files[-1].rows[0]["ablated"]:
            forms = ", ".join(f"{name}:{path}" for name in VIDEOS)
            raise ConfigError(
                f"--controls {path}: no row says what was shown in place of the video: give one of {forms}"
            )
    return files


def answers_of(path: Path, manifest: Labels | None, split: str) -> AnswerFile:
    """Answers of `surgvl ask`, or of another toolkit; recognised by the content.

    Args:
        path: folder that holds answers.jsonl, that file, or a file of replies; `no_video:FILE`, `black:FILE` and
            `other:FILE` are replies of another toolkit that was shown no video, a black one, or that of another
            question.
        manifest: questions of all splits; answers of `surgvl ask` are read without.
        split: whose questions are asked.

    Raises:
        ConfigError: replies of another toolkit without a manifest, or a control's name before answers of `surgvl ask`.
        DataError: the file cannot be read, or a row does not fit the questions.
    """
    control, _, rest = str(path).partition(":")
    if control in VIDEOS and rest and not path.exists():
        file = answers_of(Path(rest), manifest, split)
        if not file.toolkit:
            raise ConfigError(f"{path}: rows of `surgvl ask` say themselves what was shown: leave {control}: out")
        return replace(file, rows=[row | {"ablated": control} for row in file.rows])
    if path.is_dir() or path.suffix.lower() not in (*SUFFIXES, ".pkl"):
        return read_answers(path)
    rows = read_records(path)
    formats = list(discover(surgvl.tasks.replies, ReplyFormat).values())  # type: ignore[type-abstract]
    known = next((each for each in formats if rows[0].keys() >= each.NEEDS), None)
    if known is None:
        if path.suffix.lower() == ".jsonl":
            return read_answers(path)
        forms = "; ".join(f"{each.title}: {', '.join(sorted(each.NEEDS))}" for each in formats)
        raise DataError(f"{path}: columns {', '.join(map(str, rows[0]))} are of no known form ({forms}): rename them")
    if manifest is None:
        raise ConfigError(f"{path} has replies that {known.title} logged: give --manifest, whose questions they answer")
    reader, replies = known(path), []
    for number, row in enumerate(rows, 1):
        try:
            if missing := sorted(known.NEEDS - row.keys()):
                raise ValueError(f"lacks {', '.join(missing)}")
            replies.append(replace(reader.reply(row), seconds=_seconds(row), confidence=_confidence(row)))
        except ValueError as error:
            raise DataError(f"{path}, row {number} {error}: correct it, or drop the row") from error
    return AnswerFile(
        path,
        ReplyMatcher(manifest, split).answered(path, replies),
        {"protocol": f"replies logged by {known.title}, {UNRECORDED}", "pretraining_video_ids": [UNKNOWN]},
        known.title,
    )


def _seconds(row: Row) -> float | None:
    """How long a reply took, if its row says so.

    Raises:
        ValueError: it is not a number, or negative.
    """
    seconds = number_of(row, "seconds")
    if seconds is not None and seconds < 0:
        raise ValueError(f"has {seconds:g} as seconds, which must be at least 0")
    return seconds


def _confidence(row: Row) -> float | None:
    """How sure the model was of its reply, if the row says so.

    Raises:
        ValueError: it is not a number from 0 to 1.
    """
    confidence = number_of(row, "confidence")
    if confidence is not None and not 0 <= confidence <= 1:
        raise ValueError(f"has {confidence:g} as confidence, which must be from 0 to 1")
    return confidence
