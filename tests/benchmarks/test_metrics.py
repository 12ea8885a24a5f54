"""The benchmark of metrics: the rows beside ivtmetrics, on little data, in the environment of the tests."""

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("metrics")


@pytest.mark.slow
def test_association_is_that_of_ivtmetrics_without_its_faults(script: Any) -> None:
    rows, versions = script.ivtmetrics_rows(sys.executable, 2, 120, 1, np.random.default_rng(0))
    assert set(versions) == {"ivtmetrics", "scikit-learn", "numpy"}
    found = {row.peer: row for row in rows if row.what.startswith("association")}
    mended, as_it_is = found["ivtmetrics, mended"], found["ivtmetrics as it is"]
    assert mended.difference == 0
    assert as_it_is.difference > 0
    counts = np.array(mended.ours[0])
    assert counts.shape == (2, 7)
    assert counts.min() > 0, "every outcome must occur, or the row shows little"
    assert mended.theirs[1] > 0
