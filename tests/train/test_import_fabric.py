"""Fabric alone is imported, and whoever asks for the rest of Lightning gets it."""

import sys
from pathlib import Path

import pytest

from surgvl.train.import_fabric import LazyPackage, forget_package, lazy_package
from tests.helpers.in_fork import imports_none_of

UNUSED = {"lightning", "torchmetrics", "transformers", "sklearn", "torchvision"}


@pytest.mark.slow
def test_training_imports_neither_trainer_nor_metrics() -> None:
    def work() -> None:
        import surgvl.train.fabric

        assert vars(surgvl.train.fabric)["Fabric"].__module__ == "lightning.fabric.fabric"
        assert vars(sys.modules["lightning.fabric.utilities.imports"])["_TORCHMETRICS_GREATER_EQUAL_1_0_0"]
        assert type(sys.modules["lightning"]).__name__ == "LazyPackage"
        assert "lightning.pytorch" not in sys.modules
        for name in [each for each in sys.modules if each.partition(".")[0] == "lightning"]:
            del sys.modules[name]

    assert imports_none_of(UNUSED, work)


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


def test_a_package_that_nobody_asked_is_imported_as_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "lightning_rod"
    package.mkdir()
    # Its module needs what the package does first.
    (package / "__init__.py").write_text("first = 1\nfrom lightning_rod.part import value\n")
    (package / "part.py").write_text("import sys\nvalue = vars(sys.modules['lightning_rod'])['first'] + 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("lightning_rod", "lightning_rod.part"):
        monkeypatch.setitem(sys.modules, name, sys)
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr("surgvl.train.import_fabric.version", {"lightning_rod": "1"}.__getitem__)
    lazy_package("lightning_rod")
    assert isinstance(sys.modules["lightning_rod"], LazyPackage)
    forget_package("lightning_rod")
    assert "lightning_rod" not in sys.modules
    import lightning_rod.part  # type: ignore[import-not-found]

    assert lightning_rod.part.value == 2
    forget_package("lightning_rod")
    assert "lightning_rod" in sys.modules
