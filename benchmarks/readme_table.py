"""Write the scores of a quickstart run: all of them to a page, the most important ones to the README.

    make results    # make quickstart, and then:
    python benchmarks/readme_table.py [--run runs/quickstart] [--phantom runs/phantom]

The page is `benchmarks/results/quickstart.md`, the run's own `result.md`. In the README, what stands between the marks
`<!-- NAME:begin -->` and `<!-- NAME:end -->` is replaced, and the rest is left alone; the output of its Python comes
from `--phantom`, the run of `make demo`, which is made where it is missing.
"""

import argparse
import contextlib
import io
import os
import re
import sys
from pathlib import Path

from surgvl.cli.demo import prepare
from surgvl.core.files import write_text
from surgvl.core.tables import markdown_table

ROOT = Path(__file__).resolve().parent.parent
README, PAGE = ROOT / "README.md", ROOT / "benchmarks" / "results" / "quickstart.md"
HEAD = (
    "# Results of `make quickstart`\n\nWritten by `python benchmarks/readme_table.py` from the run's own `result.md`.\n"
)
# Rows of the README, and how many of the page's columns they show.
SHOWN = (
    ("phase", "accuracy"),
    ("phase", "macro_f1"),
    ("triplet", "mAP_IVT"),
    ("retrieval", "recall@5"),
    ("vqa", "accuracy"),
    ("vqa", "gain_over_blind"),
)
NUM_COLUMNS = 5


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
    """What code prints if `runs/phantom` is the run."""
    code = code.replace("runs/phantom", os.path.relpath(run))
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), {})
    return printed.getvalue()


def cells(line: str) -> list[str]:
    """Cells of a table row."""
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def short(page: str) -> str:
    """The most important rows of a page of results, with their counts and commit."""
    rows = [cells(line) for line in page.splitlines() if line.startswith("| ")]
    head = rows[0]
    by_name = {(row[0], row[1]): row for row in rows[1:]}
    if absent := [" ".join(name) for name in SHOWN if name not in by_name]:
        sys.exit(f"the results lack {', '.join(absent)}: run `make quickstart` again")
    chosen = [by_name[name] for name in SHOWN]
    videos, clips = ({row[0]: row[head.index(column)] for row in chosen} for column in ("videos", "clips"))
    commits = ", ".join(re.findall(r"^- commit: (\w+)$", page, re.M))
    counts = f"{videos['phase']} test videos, {clips['phase']} clips, {clips['vqa']} questions; commit {commits}."
    return "\n".join([*markdown_table(head[:NUM_COLUMNS], [row[:NUM_COLUMNS] for row in chosen]), "", counts])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/quickstart"), help="run folder of `make quickstart`")
    parser.add_argument("--phantom", type=Path, default=Path("runs/phantom"), help="run folder of `make demo`")
    args = parser.parse_args()
    result = args.run / "result.md"
    if not result.is_file():
        sys.exit(f"{result} does not exist: make it with `make quickstart`")
    results = result.read_text(encoding="utf-8")
    text = README.read_text(encoding="utf-8")
    text = put(text, "output", f"```text\n{output(python_block(text), prepare(args.phantom))}```")
    write_text(README, put(text, "results", short(results)))
    write_text(PAGE, f"{HEAD}\n{results}")
    print(f"{README} and {PAGE} hold the results of {args.run}")


if __name__ == "__main__":
    main()
