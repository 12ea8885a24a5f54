"""PSI-AVA-VQA: questions on 8 robotic prostatectomies, in a file for each type (Seenivasan et al., arXiv 2304.09974).

Layout, as in the published loader: `Train/C1_location.txt`, `Val/C3_phase.txt`, ... with lines
`CASE001/00012.jpg|question|answer`, and `keyframes/CASE001/00012.jpg`. The type is part of the file name. Steps and
phases have Spanish names; answers in `C2_action` are lists of verbs.
"""

import re
from collections import Counter
from pathlib import PurePosixPath

from surgvl.core.errors import DataError
from surgvl.core.plurals import plural, shorten
from surgvl.data.formats.qa_text import QuestionLine, question_table, read_question_lines
from surgvl.data.formats.qa_tree import Tally, TextFiles, first_folder, picture_starts
from surgvl.data.readers.base import Contents, VideoDataset
from surgvl.data.spans import Track

# The paper reports Val; there is no other test set, so it is the test split here.
_SPLITS = {"Train": "train", "Val": "test"}


def parse_line(line: str) -> QuestionLine:
    """Read `image|question|answer`; the image is kept in `box` until its video is known.

    Raises:
        ValueError: the line has a different form, or the image has no folder or no number.
    """
    fields = [field.strip() for field in line.split("|")]
    if len(fields) != 3 or not all(fields) or not re.fullmatch(r"(?:[^/]+/)*[^/.]+/[^/]*\d[^/]*", fields[0]):
        raise ValueError("is not CASE/number.jpg|question|answer")
    return QuestionLine(fields[1], fields[2], box=fields[0])


class PSIAVAVQA(VideoDataset):
    """PSI-AVA-VQA's files; a video is a case."""

    name = "psi_ava_vqa"
    LICENCE = "not stated; keyframes as for PSI-AVA"
    LICENCE_FROM = "github.com/lalithjets/SurgicalGPT, which states none"
    SOURCE = "arXiv 2304.09974; github.com/lalithjets/SurgicalGPT; layout of its loader, not verified"
    PROCEDURE = "robot-assisted radical prostatectomy"
    SPECIALTY = "urology"

    def read(self, contents: Contents) -> None:
        """Read the files of both splits; a case in both keeps the questions of the first."""
        cases: dict[str, list[tuple[int, QuestionLine]]] = {}
        twice: Counter[str] = Counter()
        for folder, split in _SPLITS.items():
            for path in sorted((self.root / folder).glob("*.txt")):
                kind = re.sub(r"^C\d+_", "", path.stem)
                try:
                    lines = read_question_lines(path, parse_line)
                except DataError as error:
                    contents.unreadable.append(str(error))
                    continue
                for _, row in lines:
                    image = PurePosixPath(row.box)
                    case = str(image.parent)
                    if self.split_of.setdefault(case, split) != split:
                        twice[case] += 1
                        continue
                    number = int(re.findall(r"\d+", image.stem)[-1])
                    cases.setdefault(case, []).append((number, row._replace(type=kind, box="")))
        if twice:
            fact = f"{plural(twice.total(), 'question')} of Val about cases of Train left out (one split a video)"
            contents.problems.append(f"{fact}: {shorten(sorted(twice))}")
        tally = Tally()
        for case, rows in sorted(cases.items()):
            self._add(contents, case, sorted(rows, key=lambda pair: pair[0]), tally)
        tally.report(contents, self.name, TextFiles())

    def _add(self, contents: Contents, case: str, rows: list[tuple[int, QuestionLine]], tally: Tally) -> None:
        """Add a case with its questions, at the seconds at which its keyframes are shown."""
        folder = first_folder(self.root / "keyframes" / case)
        info = self.open_video(contents, case, folder)
        if folder is not None and info is None:
            return
        shown_s = picture_starts(folder) if folder else {number: float(number) for number, _ in rows}
        tally.bare += [f"{case}/{number}" for number, _ in rows if number not in shown_s]
        kept = [(shown_s[number], row) for number, row in rows if number in shown_s]
        track = Track([], max((start_s + 1 for start_s, _ in kept), default=0.0), whole=False)
        self.add_video(contents, case, folder, info, {"question": track})
        contents.qa.append(question_table(case, [start_s for start_s, _ in kept], [row for _, row in kept], self.name))
