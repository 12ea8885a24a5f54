"""Data sets of question files: a folder for each video, a text file for each picture, named by the picture's number.

A picture stands for one second. If the pictures are at hand, a question is about the second at which its picture is
shown: folders are shown at one picture per second, in the order of the numbers and without gaps.
"""

import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from surgvl.core.errors import DataError
from surgvl.core.plurals import plural, shorten
from surgvl.data.formats.layout import find_files
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
    """The format of a data set's question files.

    Attributes:
        rate_fps: numbers in the file names per second of video.
        every: read only files whose number is a multiple of this, as the published loader does.
        header: number of lines at the top that are not questions.
        parse: parses a line.
        free: whether answers are free text.
        drop: answers whose questions are dropped, as the published loader does.
        answers: the published list of answers, so that others are reported; empty if there is none.
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
    """Counts over all files of a data set, reported once at the end."""

    dropped: int = 0
    bare: list[str] = field(default_factory=list)
    misnamed: list[str] = field(default_factory=list)
    unlisted: Counter[str] = field(default_factory=Counter)
    first_unlisted: str = ""

    def report(self, contents: Contents, source: str, files: TextFiles) -> None:
        """Add the counts to `contents.problems`."""
        if self.dropped:
            names = ", ".join(sorted(files.drop))
            contents.problems.append(
                f"{plural(self.dropped, 'question')} of {source} left out, as in its loader: {names}"
            )
        if self.bare:
            what = plural(len(self.bare), "question file")
            contents.problems.append(f"{what} without a picture left out: {shorten(self.bare)}")
        if self.misnamed:
            what = plural(len(self.misnamed), "file")
            contents.problems.append(f"{what} without a number left out: {shorten(self.misnamed)}")
        if self.unlisted:
            names = shorten(sorted(self.unlisted))
            fact = f"{plural(self.unlisted.total(), 'answer')} not among the {len(files.answers)} published ones kept"
            contents.problems.append(f"{fact}: {names}; the first in {self.first_unlisted}")


def read_questions(
    folder: Path,
    video_id: str,
    source: str,
    contents: Contents,
    files: TextFiles,
    tally: Tally,
    shown_s: Mapping[int, float] | None = None,
) -> Any:
    """Read the question files of one video.

    Args:
        folder: with files such as `00000.txt`, `frame000_QA.txt` or `14400_QA.txt`.
        video_id: for the rows.
        source: name of the question set, for the rows.
        contents: takes files that cannot be read.
        files: their format.
        tally: counts what is left out.
        shown_s: start of the second at which each picture is shown, by its number; None to derive it from the number.

    Returns:
        Arrow table with the columns of `QA`, ordered by number and line.
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
        if shown_s is not None and number not in shown_s:
            tally.bare.append(f"{video_id}/{path.name}")
            continue
        start_s = number / files.rate_fps if shown_s is None else shown_s[number]
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
    """Read a tree of question files without pictures: the number of a file is its second.

    Args:
        folder: with one folder for each video.
        source: name of the question set, for the rows.
        contents: takes problems and files that cannot be read.
        pattern: regular expression for the name of a video's folder.

    Returns:
        Video id (the folder's name) -> arrow table with the columns of `QA`, ordered by second and line.
    """
    tally, files = Tally(), TextFiles()
    folders = text_folders(folder, f"({pattern})", contents)
    tables = {name: read_questions(path, name, source, contents, files, tally) for name, path in folders.items()}
    tally.report(contents, source, files)
    return tables


def text_folders(folder: Path, pattern: str, contents: Contents) -> dict[str, Path]:
    """Folders whose full name matches a pattern, by its first group."""
    return {name: path for name, path in find_files(folder, pattern, contents).items() if path.is_dir()}


def first_folder(*folders: Path) -> Path | None:
    """The first of the folders that exists; None if none does."""
    return next((folder for folder in folders if folder.is_dir()), None)


def picture_starts(path: Path) -> dict[int, float]:
    """Start of the second at which each picture of a folder is shown, by the picture's number."""
    return {image_number(image): float(at) for at, image in enumerate(sorted_images(path))}


class QuestionTree(VideoDataset):
    """A data set of question files.

    Attributes:
        FILES: format of the files.
    """

    FILES: ClassVar[TextFiles] = TextFiles()

    @abstractmethod
    def folders(self, contents: Contents) -> dict[str, tuple[Path | None, Path | None]]:
        """Video id -> video file or picture folder, and folder of question files; None for what is missing."""

    def read(self, contents: Contents) -> None:
        """Read videos or pictures, and the questions about them."""
        tally = Tally()
        for video_id, (path, text) in sorted(self.folders(contents).items()):
            info = self.open_video(contents, video_id, path)
            if path is not None and info is None:
                continue
            end_s, qa = 0.0, None
            if text is not None:
                shown_s = picture_starts(path) if path is not None and path.is_dir() else None
                qa = read_questions(text, video_id, self.name, contents, self.FILES, tally, shown_s)
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
