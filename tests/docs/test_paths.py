"""The paths through the code that the architecture page describes are those that the commands take."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import pytest

from surgvl.cli import main as cli
from surgvl.core.files import read_json
from tests.helpers.markdown_blocks import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PART = PAGE.partition("## Three paths through the code\n")[2].partition("\n## ")[0]


class Step(NamedTuple):
    """A function of a path: its file, from the root, and its name."""

    file: str
    function: str


PATHS = {
    text.partition("\n")[0]: [Step(*row) for row in re.findall(r"^\| `(.+?)` \| `(.+?)` \|", text, re.M)]
    for text in PART.split("### ")[1:]
}


@contextmanager
def calls(of: set[Step]) -> Iterator[list[Step]]:
    """Each call of one of the functions in the block, in order; complete after it."""
    order: list[Step] = []
    files = {str(ROOT / step.file): step.file for step in of}
    # Some folders are reached by links.
    real = cache(os.path.realpath)

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and (file := files.get(real(frame.f_code.co_filename))) is not None:
            order.append(Step(file, frame.f_code.co_qualname))

    # Told of calls of Python functions only: a profiler would be told of all else, too.
    before = sys.gettrace()
    sys.settrace(note)
    try:
        yield order
    finally:
        sys.settrace(before)
    order[:] = [step for step in order if step in of]


@pytest.mark.parametrize("title", PATHS)
def test_each_path_says_how_many_files_it_has(title: str) -> None:
    count = re.search(r": (\d+) files", PART.partition(f"### {title}\n")[2])
    assert count is not None
    assert int(count[1]) == len({step.file for step in PATHS[title]})


def test_each_path_is_the_one_that_its_commands_take(tiny_run: Path, tmp_path: Path) -> None:
    data, vectors = ["--manifest", str(tiny_run / "manifest")], str(tmp_path / "vectors")
    video = max((tiny_run / "phantom" / "cholec80" / "videos").glob("*.mp4"))
    question, *_ = read_json(tiny_run / "tune" / "model" / "answers.json")["questions"]
    commands = {
        "From a video to an answer": [["ask", str(video), question, "--model", str(tiny_run / "tune")]],
        "From a sentence to a score": [
            ["embed", "--model", str(tiny_run / "align"), *data, "--split", "test", "--out", vectors]
            + ["--prompt_sets", "phantom_phase"],
            ["eval", "--vectors", vectors, *data, "--tasks", "phase", "--out", str(tmp_path / "eval")],
        ],
        "From a manifest to an optimizer step": [
            ["pretrain", "--recipe", "surgrec_mae_phantom", *data, "--out", str(tmp_path / "encoder")]
            + ["--run.steps", "1", "--run.batch", "2", "--run.workers", "0"]
        ],
    }
    assert list(commands) == list(PATHS)
    for title, lines in commands.items():
        with calls(set(PATHS[title])) as order:
            for line in lines:
                cli.run(line)
        # One after the other in the calls, among which are others.
        rest = iter(order)
        assert [step for step in PATHS[title] if step in rest] == PATHS[title], title
