"""Fabric alone is imported, and whoever asks for the rest of Lightning gets it."""

import subprocess
import sys
from pathlib import Path

import pytest

from surgvl.train.import_fabric import LazyPackage, lazy_package

ALONE = """
import sys
import surgvl.train.fabric
from lightning.fabric.utilities.imports import _TORCHMETRICS_GREATER_EQUAL_1_0_0
unused = {"lightning.pytorch", "torchmetrics.functional", "transformers", "sklearn", "torchvision"}
print(sorted(unused & set(sys.modules)))
print(_TORCHMETRICS_GREATER_EQUAL_1_0_0)
"""


def test_training_imports_neither_trainer_nor_metrics() -> None:
    found = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines() == ["[]", "True"]


def test_the_rest_of_a_package_is_there_when_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "thunder"
    package.mkdir()
    text = "from thunder.part import value\nruns = globals().get('runs', 0) + 1\n"
    (package / "__init__.py").write_text(text)
    (package / "part.py").write_text("value = 7\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("thunder", "thunder.part"):
        # What is imported is forgotten at the end.
        monkeypatch.setitem(sys.modules, name, sys)
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr("surgvl.train.import_fabric.version", {"thunder": "1.2"}.__getitem__)
    lazy_package("thunder")
    import thunder.part  # type: ignore[import-not-found]

    assert isinstance(thunder, LazyPackage)
    assert thunder.__version__ == "1.2"
    assert "runs" not in vars(thunder)
    assert thunder.part.value == 7
    assert (thunder.value, thunder.runs) == (7, 1)
    assert thunder.runs == 1
    lazy_package("thunder")
    assert vars(thunder)["runs"] == 1
    with pytest.raises(AttributeError, match="nothing"):
        _ = thunder.nothing
    with pytest.raises(ImportError, match="no package lightening"):
        lazy_package("lightening")
