"""The benchmark of metrics: the rows beside ivtmetrics, on little data, in the environment of the tests."""

import importlib
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ivtmetrics  # noqa: F401 (the forks below need not import it)
import numpy as np
import pytest

from tests.helpers.in_fork import in_fork

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("metrics")


def run_script(command: Sequence[str], check: bool) -> None:
    """`subprocess.run` of a Python script, in a fork."""
    python, isolated, *argv = command
    assert (python, isolated, check) == (sys.executable, "-I", True)

    def work() -> None:
        sys.argv = argv
        runpy.run_path(argv[0], run_name="__main__")

    assert in_fork(work) == 0


@pytest.mark.slow
def test_association_is_that_of_ivtmetrics_without_its_faults(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "subprocess", SimpleNamespace(run=run_script))
    # scikit-learn takes milliseconds for each class of each video.
    made = script.triplets
    monkeypatch.setattr(script, "triplets", lambda num_videos, num_frames, rng: made(1, num_frames, rng))
    rows, versions = script.ivtmetrics_rows(sys.executable, 2, 120, 1, np.random.default_rng(0))
    assert set(versions) == {"ivtmetrics", "scikit-learn", "numpy"}
    # Also with a later scikit-learn, where no class is absent.
    assert rows[0].what == "triplet mAP, 8 figures, every class in every video"
    assert rows[0].difference < 1e-12
    found = {row.peer: row for row in rows if row.what.startswith("association")}
    mended, as_it_is = found["ivtmetrics, mended"], found["ivtmetrics as it is"]
    assert mended.difference == 0
    assert as_it_is.difference > 0
    counts = np.array(mended.ours[0])
    assert counts.shape == (2, 7)
    assert counts.min() > 0, "every outcome must occur, or the row shows little"
    assert mended.theirs[1] > 0
