"""Search results as a file: CSV or JSON, by its suffix. Times are seconds of the source file."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

from surgvl.core.errors import ConfigError
from surgvl.core.files import atomic
from surgvl.retrieval.moments import Moment

SUFFIXES = (".csv", ".json")
COLUMNS = ("rank", "video_id", "start_s", "end_s", "score", "word", "one_in", "procedure", "source", "path")


def check_hits_file(path: Path) -> None:
    """Refuse a file of a different kind before the work.

    Raises:
        ConfigError: neither CSV nor JSON.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"--out must end in {' or '.join(SUFFIXES)}, got {path}")


def hit_rows(hits: Sequence[Moment]) -> list[dict[str, object]]:
    """A row per hit, best first; `one_in` are the odds among random pairs, empty where they are unknown."""
    return [
        dict(
            zip(
                COLUMNS,
                (
                    rank,
                    hit.video_id,
                    round(hit.start_s, 3),
                    round(hit.end_s, 3),
                    round(hit.score, 6),
                    hit.word,
                    hit.odds or "",
                    hit.procedure,
                    hit.source,
                    hit.path,
                ),
                strict=True,
            )
        )
        for rank, hit in enumerate(hits, 1)
    ]


def write_hits(path: Path, hits: Sequence[Moment]) -> None:
    """Write hits, atomically.

    Raises:
        ConfigError: the suffix is neither of CSV nor of JSON.
        DataError: the file cannot be written.
    """
    check_hits_file(path)
    rows = hit_rows(hits)
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        if path.suffix.lower() == ".json":
            json.dump(rows, file, indent=1, ensure_ascii=False)
            return
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        table.writerows(rows)
