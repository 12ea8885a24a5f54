"""Replies of other toolkits matched with the questions of a manifest, checked, and read by our types.

A row belongs to the question that fits all it tells: video, times, question and type. Of several, its number among the
questions of the split decides, if the row states the true answer, too: numbers that are counted in another way would
show there. Rows that fit none or several stop the evaluation; a question without a row is missing.
Letters are read by the options of the row, or of its prompt. Where it has neither, no letter is guessed.
"""

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath

from surgvl.core.errors import DataError
from surgvl.core.plurals import part_of
from surgvl.metrics.answer import normalise
from surgvl.metrics.answer_options import options_of
from surgvl.metrics.answer_types.base import is_typed, read_answer, type_of
from surgvl.metrics.answer_types.options import Options, Unlettered
from surgvl.metrics.outcomes import outcome
from surgvl.tasks.answer_files import AnswerRow, Key
from surgvl.tasks.predicted_classes import class_key
from surgvl.tasks.replies.base import Reply
from surgvl.tasks.truth import Labels

_NEAR_S = 0.01
_SHOWN = 3
_OPTION = re.compile(r"^\s*\(?([A-Z])[.):]\s+(.+?)\s*$", re.MULTILINE)


class ReplyMatcher:
    """The questions of a manifest, found by what a row tells of them.

    Args:
        manifest: questions of all splits.
        split: whose questions are asked.
    """

    def __init__(self, manifest: Labels, split: str) -> None:
        self.split = split
        self.columns = manifest.qa_table.to_pydict()
        names = ("video_id", "start_s", "end_s", "question")
        self.keys: list[Key] = list(zip(*(self.columns[name] for name in names), strict=True))
        own = set(manifest.video_ids(split))
        self.numbers = [at for at, key in enumerate(self.keys) if key[0] in own]
        self.own = set(self.numbers)
        self.of_key: dict[Key, list[int]] = {}
        self.of_video: dict[str, list[int]] = {}
        self.of_second: dict[tuple[str, int], list[int]] = {}
        self.of_text: dict[str, list[int]] = {}
        self.texts = [_spaced(key[3]) for key in self.keys]
        for at, key in enumerate(self.keys):
            self.of_key.setdefault(key, []).append(at)
            self.of_video.setdefault(key[0], []).append(at)
            self.of_second.setdefault((key[0], int(key[1])), []).append(at)
            self.of_text.setdefault(self.texts[at], []).append(at)
        self.videos: dict[str, set[str]] = {}
        for name in manifest.video_ids():
            for known in {name, PurePosixPath(name).name, PurePosixPath(name).stem}:
                self.videos.setdefault(known, set()).add(name)
        self._found: dict[str, set[str]] = {}

    @cached_property
    def options(self) -> dict[str, tuple[str, ...]]:
        """Allowed answers of each closed question."""
        return options_of(self.columns)

    def answered(self, path: Path, replies: Sequence[Reply]) -> list[AnswerRow]:
        """A row of answers for each question of the split.

        Raises:
            DataError: replies fit no question, several, or one that has a reply already, or state another truth.
        """
        own: dict[int, Reply] = {}
        none, several, again, other = [], [], [], []
        for number, reply in enumerate(replies, 1):
            found, where = self._fitting(reply), f"row {number} ({reply.named})"
            if not found:
                none.append(where)
            elif len({self.keys[at] for at in found}) > 1:
                several.append(f"{where} fits {len(found)}")
            elif found[0] in own:
                again.append(where)
            elif truth := self._differs(reply, found):
                other.append(f"{where} {truth}")
            else:
                own |= dict.fromkeys(found, reply)
        _refuse(path, none, len(replies), f"no question of split {self.split!r} or another one", "check the manifest")
        remedy = "add columns that tell them apart, such as video, start and end, or number them and state the answer"
        _refuse(path, several, len(replies), "several questions", remedy)
        _refuse(path, again, len(replies), "a question that another row answers", "keep one reply a question")
        remedy = "score against the questions that were asked"
        _refuse(path, other, len(replies), "a question with a different true answer", remedy)
        return [self._row(at, own.get(at)) for at in self.numbers]

    def read_again(self, row: AnswerRow) -> AnswerRow:
        """A row that this class made, perhaps of an earlier version, with its reply read by this one."""
        found = self.of_key.get((row["video_id"], float(row["start_s"]), float(row["end_s"]), row["question"]), [])
        for at in found:
            if self.columns["answer"][at] == row["answer"]:
                again = self._row(at, Reply(row["raw"], options=tuple(row["options"])))
                return row | {name: again[name] for name in ("prediction", "matched", "outcome")}
        return row

    def _fitting(self, reply: Reply) -> list[int]:
        """The questions that fit all that a reply tells, those of the split first; of several its number may decide."""
        texts = self._asked(reply.question) if reply.question else None
        videos = self._named(reply.video) if reply.video else None
        if reply.index is not None and reply.truth and reply.index < len(self.numbers):
            at = self.numbers[reply.index]
            if (texts or videos) and self._fits(at, reply, texts, videos):
                return self.of_key[self.keys[at]]
        if videos is not None and reply.start_s is not None:
            seconds = sorted({int(reply.start_s + shift) for shift in (-_NEAR_S, _NEAR_S)})
            near = [
                at for name in sorted(videos) for second in seconds for at in self.of_second.get((name, second), ())
            ]
        elif videos is not None:
            near = [at for name in sorted(videos) for at in self.of_video.get(name, ())]
        else:
            near = [at for text in sorted(texts or ()) for at in self.of_text[text]]
        found = [at for at in near if self._fits(at, reply, texts, videos)]
        return [at for at in found if at in self.own] or found

    def _fits(self, at: int, reply: Reply, texts: set[str] | None, videos: set[str] | None) -> bool:
        """Whether a question is one of some texts, about one of some videos, and of the type and times of a reply."""
        video, start_s, end_s, _ = self.keys[at]
        return (
            (reply.start_s is None or abs(reply.start_s - start_s) <= _NEAR_S)
            and (reply.end_s is None or abs(reply.end_s - end_s) <= _NEAR_S)
            and (texts is None or self.texts[at] in texts)
            and (videos is None or video in videos)
            and reply.type in ("", self.columns["type"][at])
        )

    def _named(self, name: str) -> set[str]:
        """The videos of a name, or of a path, of which the last parts decide."""
        file = PurePosixPath(name.replace("\\", "/"))
        names = [name, *("/".join(file.parts[at:]) for at in range(len(file.parts))), file.stem]
        return next((self.videos[each] for each in names if each in self.videos), set())

    def _asked(self, text: str) -> set[str]:
        """The questions that a text is, or else contains; one within another that is contained, too, is left out."""
        text = _spaced(text)
        if text not in self._found:
            inside = [text] if text in self.of_text else [each for each in self.of_text if _within(each, text)]
            self._found[text] = {
                each for each in inside if not any(each != other and each in other for other in inside)
            }
        return self._found[text]

    def _differs(self, reply: Reply, found: Sequence[int]) -> str:
        """What a reply states as true, if that is not the answer of its question; else nothing."""
        if not reply.truth:
            return ""
        shown = Options(_shown(reply))
        stated = shown.of_label(reply.truth) if shown.letters and reply.truth in shown.labels else reply.truth
        for at in found:
            truth, kind = self.columns["answer"][at], type_of(self.columns["type"][at])
            if normalise(truth) == normalise(self._spelt(stated, at)):
                return ""
            if (said := kind.read(stated, self._options(at))) and kind.right(truth, said):
                return ""
        return f"states {stated!r}, the manifest {self.columns['answer'][found[0]]!r}"

    def _options(self, at: int) -> Unlettered:
        """The options of a question, of which the order in which they were shown is not known."""
        kind = type_of(self.columns["type"][at])
        known = self.options.get(self.columns["question"][at]) if kind.takes_options else ()
        return Unlettered(kind.members(self.columns["answer"][at]) if known is None else known)

    def _spelt(self, said: str, at: int) -> str:
        """A choice as the manifest spells it: options are often shown with other case and punctuation."""
        options = self._options(at)
        if type_of(self.columns["type"][at]).name != "choice" or said in options:
            return said
        same = [each for each in options if class_key(each) == class_key(said)]
        return same[0] if len(same) == 1 else said

    def _row(self, at: int, reply: Reply | None) -> AnswerRow:
        """The row of answers of a question."""
        names = ("video_id", "start_s", "end_s", "question", "answer", "type")
        row: AnswerRow = {name: self.columns[name][at] for name in names}
        kind, shown = type_of(row["type"]), _shown(reply) if reply else ()
        text = reply.text if reply else ""
        shown = shown if kind.takes_options else ()
        said, problem = read_answer(kind, text, shown or self._options(at))
        said = self._spelt(said, at)
        timed = {} if reply is None or reply.seconds is None else {"seconds": reply.seconds}
        return row | {
            "prediction": said,
            "confidence": None if problem or reply is None else reply.confidence,
            "matched": not problem,
            "mode": "typed" if is_typed(row["type"]) else "open" if kind.name == "open" else "closed",
            "ablated": "",
            "outcome": outcome(problem, kind.right(row["answer"], said)),
            "raw": text,
            # Empty where they are not known to have had letters.
            "options": list(shown),
            **timed,
        }


def _spaced(text: str) -> str:
    """A text without case and with single spaces."""
    return " ".join(text.casefold().split())


def _within(part: str, text: str) -> bool:
    """Whether a text contains another one, not within a word."""
    at = text.find(part)
    while at >= 0:
        around = text[at - 1 : at] + text[at + len(part) : at + len(part) + 1]
        if not any(each.isalnum() for each in around):
            return True
        at = text.find(part, at + 1)
    return False


def _shown(reply: Reply) -> tuple[str, ...]:
    """The lettered options of a reply: its own, or the last lines of its prompt that begin with A, B and so on."""
    if reply.options:
        return reply.options
    found: list[str] = []
    for letter, option in _OPTION.findall(reply.question):
        if letter == "A":
            found = [option]
        elif found and letter == chr(ord("A") + len(found)):
            found.append(option)
    return tuple(found) if len(found) > 1 else ()


def _refuse(path: Path, rows: Sequence[str], total: int, what: str, remedy: str) -> None:
    """Raise DataError if some rows fit `what`."""
    if rows:
        more = f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
        part = part_of(len(rows), total, "row", "fits")
        raise DataError(f"{path}: {part} {what}: {'; '.join(rows[:_SHOWN])}{more}: {remedy}")
