"""Write into the README what a quickstart run scored, and what the README's own Python prints on the run of the page.

    python benchmarks/readme_table.py [runs/quickstart [runs/phantom]]

What stands between the marks `<!-- NAME:begin -->` and `<!-- NAME:end -->` is replaced; the rest is left alone.
"""

import contextlib
import io
import os
import re
import sys
from pathlib import Path

from surgvl.core.files import write_text

README = Path(__file__).resolve().parent.parent / "README.md"


def put(text: str, name: str, content: str) -> str:
    """The text with new content between the marks of a name."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, middle, rest = text.partition(begin)
    _, closing, after = rest.partition(end)
    if not (middle and closing):
        sys.exit(f"README.md lacks the marks {begin} and {end}: put them back")
    return f"{before}{begin}\n{content.strip()}\n{end}{after}"


def python_block(text: str) -> str:
    """The README's Python."""
    found = re.search(r"^```python\n(.*?)^```", text, re.M | re.S)
    if found is None:
        sys.exit("README.md has no Python block: put it back")
    return found[1]


def output(code: str, run: Path) -> str:
    """What code prints where `runs/phantom` is the run."""
    code = code.replace("runs/phantom", os.path.relpath(run))
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), {})
    return printed.getvalue()


def main() -> None:
    run = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/quickstart")
    page = Path(sys.argv[2] if len(sys.argv) > 2 else "runs/phantom")
    table = run / "result.md"
    if not table.is_file():
        sys.exit(f"{table} is not there: make it with `make quickstart`")
    text = README.read_text(encoding="utf-8")
    text = put(text, "output", f"```text\n{output(python_block(text), page)}```")
    write_text(README, put(text, "results", table.read_text(encoding="utf-8")))
    print(f"{README} holds the results of {run}")


if __name__ == "__main__":
    main()
