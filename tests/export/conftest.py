"""A timeline of a file with a variable rate, made once; tests only read it."""

from pathlib import Path

import pytest

from surgvl.export.interval_table import Interval, IntervalTable, Origin
from surgvl.video.frame_times import frame_times
from tests.helpers.numbered_videos import FILES, HEIGHT, WIDTH, encode

# (track, class, first frame, last frame): neighbours, overlaps, the last frame of the video, names with signs.
ROWS = (
    ("phase", "Preparation", 0, 99),
    ("phase", "Clipping & cutting", 100, 171),
    ("phase", "Preparation", 172, 249),
    ("triplet", "grasper,retract,gallbladder", 3, 140),
    ("triplet", "hook <1>, --> cut", 120, 120),
    ("triplet", "grasper,retract,gallbladder", 200, 249),
)
CLASSES = {
    "phase": ("Preparation", "Clipping & cutting", "Never seen -- 手術"),
    "triplet": ("grasper,retract,gallbladder", "hook <1>, --> cut"),
    "tool": ("grasper",),
}


@pytest.fixture(scope="session")
def variable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video whose frames last between 10 and 600 ms."""
    path = tmp_path_factory.mktemp("variable") / "my case.mp4"
    encode(path, **FILES["variable.mp4"])
    return path


@pytest.fixture(scope="session")
def table(variable: Path) -> IntervalTable:
    """A timeline of it."""
    frames = frame_times(variable)
    rows = tuple(
        Interval(track, name, frames.begin_s(first), frames.begin_s(last + 1), first, last, 0.5 + at / 100)
        for at, (track, name, first, last) in enumerate(ROWS)
    )
    sets = {"phase": "cholec80_phase 1", "triplet": "mine 2", "tool": "mine 2"}
    origin = Origin("peskavlp (0123456789abcdef)", sets, ("phase",), "online", 1.0, 5.0, 0.25)
    return IntervalTable("my case", str(variable), WIDTH, HEIGHT, frames, CLASSES, origin, rows)
