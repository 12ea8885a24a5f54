"""PSI-AVA-VQA: questions on 8 robotic prostatectomies, sorted into files by kind (Seenivasan et al., arXiv 2304.09974).

Layout, that of the published loader: `Train/C1_location.txt`, `Val/C3_phase.txt` and so on, lines
`CASE001/00012.jpg|question|answer`, and `keyframes/CASE001/00012.jpg`. The kind in a file's name is the type. Steps and
phases have Spanish names; answers of `C2_action` are lists of verbs.
"""

import re
from collections import Counter
from pathlib import PurePosixPath
from typing import ClassVar

from surgvl.core.errors import DataError
from surgvl.data.readers.base import Found, VideoDataset, shorten
from surgvl.data.readers.qa_text import Asked, question_table, read_asked
from surgvl.data.readers.qa_tree import Tally, TextFiles, first_folder, places_of
from surgvl.data.spans import Track

# The paper reports on Val; there is no further test set, so it is the test split here.
_SPLITS = {"Train": "train", "Val": "test"}


def parse_line(line: str) -> Asked:
    """Read `image|question|answer`; the image stands in `box` until its video is known.

    Raises:
        ValueError: the line is not of that form, or the image has no folder or no number.
    """
    fields = [field.strip() for field in line.split("|")]
    if len(fields) != 3 or not all(fields) or not re.fullmatch(r"(?:[^/]+/)*[^/.]+/[^/]*\d[^/]*", fields[0]):
        raise ValueError("is not CASE/number.jpg|question|answer")
    return Asked(fields[1], fields[2], box=fields[0])


class PSIAVAVQA(VideoDataset):
    """PSI-AVA-VQA's files by kind; a video is a case."""

    name: ClassVar[str] = "psi_ava_vqa"
    LICENCE: ClassVar[str] = "not stated; keyframes as for PSI-AVA"
    SOURCE: ClassVar[str] = "arXiv 2304.09974; github.com/lalithjets/SurgicalGPT; layout of its loader, not verified"
    PROCEDURE: ClassVar[str] = "robot-assisted radical prostatectomy"
    SPECIALTY: ClassVar[str] = "urology"

    def read(self, found: Found) -> None:
        """Read the files of both splits; a case that is in both keeps the questions of the first."""
        cases: dict[str, list[tuple[int, Asked]]] = {}
        twice: Counter[str] = Counter()
        for folder, split in _SPLITS.items():
            for path in sorted((self.root / folder).glob("*.txt")):
                kind = re.sub(r"^C\d+_", "", path.stem)
                try:
                    lines = read_asked(path, parse_line)
                except DataError as error:
                    found.set_aside.append(str(error))
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
            fact = f"{twice.total()} questions of Val are about cases of Train, left out, for a video has one split"
            found.problems.append(f"{fact}: {shorten(sorted(twice))}")
        tally = Tally()
        for case, rows in sorted(cases.items()):
            self._add(found, case, sorted(rows, key=lambda pair: pair[0]), tally)
        tally.report(found, self.name, TextFiles())

    def _add(self, found: Found, case: str, rows: list[tuple[int, Asked]], tally: Tally) -> None:
        """Add a case with its questions, at the second at which a keyframe is shown."""
        folder = first_folder(self.root / "keyframes" / case)
        info = self.open_video(found, case, folder)
        if folder is not None and info is None:
            return
        places = places_of(folder) if folder else {number: float(number) for number, _ in rows}
        tally.bare += [f"{case}/{number}" for number, _ in rows if number not in places]
        kept = [(places[number], row) for number, row in rows if number in places]
        track = Track([], max((start_s + 1 for start_s, _ in kept), default=0.0), whole=False)
        self.add_video(found, case, folder, info, {"question": track})
        found.qa.append(question_table(case, [start_s for start_s, _ in kept], [row for _, row in kept], self.name))
