"""Blocks of code in Markdown pages: their language, their title, and whether a test is to run them."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

from surgvl.cli import main as cli

ROOT = Path(__file__).resolve().parents[2]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
_FENCE = re.compile(
    r"^(?P<mark><!-- runnable -->\n)?```(?P<language>\w+)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<code>.*?)^```$",
    re.M | re.S,
)


class Block(NamedTuple):
    """A block of code."""

    language: str
    title: str
    runnable: bool
    code: str


def blocks(text: str) -> list[Block]:
    """All fenced blocks of a page, in order."""
    return [
        Block(found["language"], found["title"] or "", bool(found["mark"]), found["code"])
        for found in _FENCE.finditer(text)
    ]


def command_lines(text: str) -> list[str]:
    """Lines of a page's `bash` blocks, continued ones joined, without those that are empty or a comment."""
    lines = "".join(block.code for block in blocks(text) if block.language == "bash").replace("\\\n", " ").splitlines()
    return [line for line in lines if shlex.split(line, comments=True)]


def check_command(line: str) -> None:
    """A line is a target of the Makefile, or parses as a command of ours."""
    words = shlex.split(line, comments=True)
    if words[0] == "make":
        assert all(re.search(rf"^{target}:", MAKEFILE, re.M) for target in words[1:]), line
    else:
        assert words[0] == "surgvl", line
        cli.parse(words[1:])
