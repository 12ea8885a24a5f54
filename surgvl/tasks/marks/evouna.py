"""EVOUNA: answers of five systems to general questions, marked by people (Wang et al., arXiv 2305.12421, NeurIPS 2023).

Layout: `NQ.json` (questions of Natural Questions) and `TQ.json` (TriviaQA), each a list of objects: `question`,
`golden_answer` (alternatives split with "/"), and for each system `answer_NAME` and `judge_NAME`, which is true where a
person found the answer correct. `improper` marks questions that the authors found unsuitable. Read in the README of the
repository and in both files, at commit 90007d3 (9 April 2024).
"""

from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

from surgvl.core.errors import DataError
from surgvl.core.files import file_hash, read_json
from surgvl.tasks.judge import VERDICTS, Case
from surgvl.tasks.marks.base import Marked, MarkedList, PublishedMarks

_SYSTEMS = ("fid", "gpt35", "chatgpt", "gpt4", "newbing")


class Evouna(PublishedMarks):
    """Both files, or one of them."""

    name: ClassVar[str] = "evouna"
    title: ClassVar[str] = "EVOUNA"
    LICENCE: ClassVar[str] = "Apache-2.0"
    LICENCE_FROM: ClassVar[str] = "LICENSE and README of github.com/wangcunxiang/QA-Eval"
    SOURCE: ClassVar[str] = "arXiv 2305.12421; github.com/wangcunxiang/QA-Eval, folder EVOUNA"
    DOMAIN: ClassVar[str] = "general-domain questions, not surgery"
    NUM_MARKS: ClassVar[dict[str, int]] = {"NQ.json": 15095, "TQ.json": 9690}
    SHA256: ClassVar[dict[str, str]] = {
        "NQ.json": "617c7fd95fe4177f39e2304c943cc0abbdbf539bc8a4fb61aeaef255bed503a1",
        "TQ.json": "e01709ec6b979d3976f2f8f676dab2e2aea50e0a07f3c66d70dae358e5360d23",
    }

    def read(self, path: Path) -> MarkedList:
        """Read `NQ.json`, `TQ.json`, or the folder that holds them, itself in a folder or not."""
        files = [path] if path.is_file() else [each for name in self.SHA256 for each in _found(path, name)]
        if not files:
            names = " nor ".join(self.SHA256)
            raise DataError(f"{path} holds neither {names}: give the folder EVOUNA of github.com/wangcunxiang/QA-Eval")
        rows: list[Marked] = []
        left_out: Counter[str] = Counter()
        for file in files:
            _read(file, rows, left_out)
        changed = [file.name for file in files if not self.SHA256.get(file.name, "").startswith(file_hash(file))]
        version = f" (another version of {' and '.join(changed)} than that of 2023)" if changed else ""
        part = f", {files[0].stem} only" if len(files) == 1 else ""
        return MarkedList(self.title + part + version, rows, "people", self.DOMAIN, dict(left_out))


def _found(folder: Path, name: str) -> list[Path]:
    return [each for each in (folder / name, folder / "EVOUNA" / name) if each.is_file()][:1]


def _read(path: Path, rows: list[Marked], left_out: Counter[str]) -> None:
    """Add the marked answers of a file, and count what is left out."""
    entries = read_json(path)
    if not isinstance(entries, list) or not entries:
        raise DataError(f"{path} must hold a list of questions: fetch it again")
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, dict) or "question" not in entry or "golden_answer" not in entry:
            raise DataError(f"{path}, entry {number} lacks question or golden_answer: fetch the file again")
        question, truth = entry["question"], entry["golden_answer"]
        for system in _SYSTEMS:
            said, mark = entry.get(f"answer_{system}"), entry.get(f"judge_{system}")
            if reason := _reason(entry, said, mark):
                left_out[reason] += 1
                continue
            texts = [text for text in (question, truth, said) if isinstance(text, str)]
            if mark not in (True, False) or len(texts) < 3:
                raise DataError(
                    f"{path}, entry {number}: question, golden_answer and answer_{system} must be texts and "
                    f"judge_{system} true or false, got {mark!r}: fetch the file again"
                )
            rows.append(Marked(Case(*texts), (VERDICTS[0 if mark else 1],), path.stem))


def _reason(entry: dict[str, Any], said: object, mark: object) -> str:
    """Why an answer is left out; empty if it is not."""
    if entry.get("improper"):
        return "question set aside by the authors"
    if mark is None:
        return "no mark"
    return "" if said and entry["question"] and entry["golden_answer"] else "no answer or no reference"
