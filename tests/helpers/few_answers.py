"""A run whose chat model chooses among a few answers: a server is asked once for each of them."""

import shutil
from pathlib import Path

from surgvl.core.files import read_json, write_json


def with_few_answers(run: Path, out: Path) -> Path:
    """A copy of a run, whose chat model knows every eighth of its answers."""
    shutil.copytree(run, out, ignore=shutil.ignore_patterns("checkpoints"))
    path = out / "tune" / "model" / "answers.json"
    known = read_json(path)
    write_json(path, known | {"answers": known["answers"][::8]})
    return out
