"""Data sets of question files: for each video a folder of text, one file for each picture, named by its number.

A picture stands for one second. Where pictures are at hand, a question is about the second at which its picture is
shown: picture folders are shown one picture a second, in the order of their numbers, and gaps are not waited for.
"""

import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from surgvl.core.errors import DataError
from surgvl.data.formats.layout import find_files, shorten
from surgvl.data.formats.qa_text import (
    Parse,
    QuestionLine,
    parse_pair,
    question_table,
    question_type,
    read_question_lines,
)
from surgvl.data.readers.base import Contents, VideoDataset
from surgvl.data.spans import Track
from surgvl.video.frame_folder import image_number, sorted_images

_NAME = re.compile(r"(?:frame)?_?(\d+)(?:_QA)?\.txt", re.IGNORECASE)


@dataclass(frozen=True)
class TextFiles:
    """How a data set writes its question files.

    Attributes:
        rate_fps: how many of the numbers in their names make a second of video.
        every: only files whose number is a multiple are read, where the published loader does so.
        header: lines at the top that are no questions.
        parse: makes a question of a line.
        free: answers are sentences.
        drop: answers whose questions are left out, where the published loader does so.
        answers: the published list of answers, to remark on others; empty where there is none.
    """

    rate_fps: float = 1.0
    every: int = 1
    header: int = 0
    parse: Parse = parse_pair
    free: bool = False
    drop: frozenset[str] = frozenset()
    answers: Collection[str] = ()


@dataclass
class Tally:
    """What is counted over all files of a data set, to be remarked on once."""

    dropped: int = 0
    bare: list[str] = field(default_factory=list)
    misnamed: list[str] = field(default_factory=list)
    unlisted: Counter[str] = field(default_factory=Counter)
    first_unlisted: str = ""

    def report(self, contents: Contents, source: str, files: TextFiles) -> None:
        """Add the remarks."""
        if self.dropped:
            names = ", ".join(sorted(files.drop))
            contents.problems.append(f"{self.dropped} questions of {source} are left out, as its loader does: {names}")
        if self.bare:
            contents.problems.append(f"{len(self.bare)} question files have no picture, left out: {shorten(self.bare)}")
        if self.misnamed:
            contents.problems.append(f"{len(self.misnamed)} files have no number, left out: {shorten(self.misnamed)}")
        if self.unlisted:
            names = shorten(sorted(self.unlisted))
            fact = f"{self.unlisted.total()} answers are none of the {len(files.answers)} published ones"
            contents.problems.append(f"{fact}, kept: {names}; the first in {self.first_unlisted}")


def read_questions(
    folder: Path,
    video_id: str,
    source: str,
    contents: Contents,
    files: TextFiles,
    tally: Tally,
    starts_s_of: Mapping[int, float] | None = None,
) -> Any:
    """Read the question files of one video.

    Args:
        folder: holds `00000.txt`, `frame000_QA.txt` or `14400_QA.txt` and so on.
        video_id: of the rows.
        source: name of the question set, of the rows.
        contents: a file that cannot be read is set aside.
        files: how they are written.
        tally: takes what is left out.
        starts_s_of: start of each picture's second, by its number; None: the number says it.

    Returns:
        Arrow table with the columns of `QA`, by number and line.
    """
    starts_s: list[float] = []
    rows: list[QuestionLine] = []
    by_number: list[tuple[int, Path]] = []
    for path in folder.iterdir():
        if match := _NAME.fullmatch(path.name):
            by_number.append((int(match[1]), path))
        elif path.suffix.lower() == ".txt":
            tally.misnamed.append(f"{folder.name}/{path.name}")
    for number, path in sorted(by_number):
        if number % files.every:
            continue
        if starts_s_of is not None and number not in starts_s_of:
            tally.bare.append(f"{video_id}/{path.name}")
            continue
        start_s = number / files.rate_fps if starts_s_of is None else starts_s_of[number]
        try:
            lines = read_question_lines(path, files.parse, files.header)
        except DataError as error:
            contents.unreadable.append(str(error))
            continue
        for line, row in lines:
            if row.answer in files.drop:
                tally.dropped += 1
                continue
            if files.answers and row.answer not in files.answers:
                tally.unlisted[row.answer] += 1
                tally.first_unlisted = tally.first_unlisted or f"{path}, line {line}"
            starts_s.append(start_s)
            rows.append(row if row.type else row._replace(type=question_type(row.question, files.free)))
    return question_table(video_id, starts_s, rows, source)


def read_qa_tree(folder: Path, source: str, contents: Contents, pattern: str) -> dict[str, Any]:
    """Read a tree of question files whose pictures are not looked at: a file's number is its second.

    Args:
        folder: holds one folder for each video.
        source: name of the question set, for the source column.
        contents: takes remarks; a file that cannot be read is set aside.
        pattern: what a video's folder is called.

    Returns:
        Video id (its folder's name) -> arrow table with the columns of `QA`, by second and line.
    """
    tally, files = Tally(), TextFiles()
    folders = text_folders(folder, f"({pattern})", contents)
    tables = {name: read_questions(path, name, source, contents, files, tally) for name, path in folders.items()}
    tally.report(contents, source, files)
    return tables


def text_folders(folder: Path, pattern: str, contents: Contents) -> dict[str, Path]:
    """Folders whose whole name fits a pattern, by its first group."""
    return {name: path for name, path in find_files(folder, pattern, contents).items() if path.is_dir()}


def first_folder(*folders: Path) -> Path | None:
    """The first of some folders that is there."""
    return next((folder for folder in folders if folder.is_dir()), None)


def picture_starts(path: Path) -> dict[int, float]:
    """Start of the second at which each picture of a folder is shown, by the last number in its name."""
    return {image_number(image): float(at) for at, image in enumerate(sorted_images(path))}


class QuestionTree(VideoDataset):
    """A data set of question files.

    Attributes:
        FILES: how the files are written.
    """

    FILES: ClassVar[TextFiles] = TextFiles()

    @abstractmethod
    def folders(self, contents: Contents) -> dict[str, tuple[Path | None, Path | None]]:
        """Video id -> its film or picture folder, and its folder of question files; None where there is none."""

    def read(self, contents: Contents) -> None:
        """Read films or pictures, and the questions about them."""
        tally = Tally()
        for video_id, (path, text) in sorted(self.folders(contents).items()):
            info = self.open_video(contents, video_id, path)
            if path is not None and info is None:
                continue
            end_s, qa = 0.0, None
            if text is not None:
                starts_s_of = picture_starts(path) if path is not None and path.is_dir() else None
                qa = read_questions(text, video_id, self.name, contents, self.FILES, tally, starts_s_of)
                end_s = max(qa["end_s"].to_pylist(), default=0.0)
            if qa is None and path is not None:
                contents.problems.append(f"{video_id}: images but no questions")
            if info is None and end_s <= 0:
                continue
            track = Track([], end_s, whole=False)
            self.add_video(contents, video_id, path, info, {"question": track}, self.FILES.rate_fps)
            if qa is not None:
                contents.qa.append(qa)
        tally.report(contents, self.name, self.FILES)
