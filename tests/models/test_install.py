"""From an archive at an address, or a file that one has, to a model that commands take by its name."""

import json
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import surgvl
from surgvl.api import DualModel
from surgvl.cli import main as cli
from surgvl.core.errors import CheckpointError
from surgvl.models import published
from surgvl.models.model_info import find_model, load_preprocess, model_hash
from surgvl.models.published import registry
from surgvl.video.clip import Preprocess
from tests.helpers.file_server import Page, Site, serving_files
from tests.helpers.made_published import TINY, tiny_clip

ENTRY: dict[str, Any] = {
    "title": "Mine",
    "kind": "video-text",
    "purpose": "a test",
    "family": "open_clip",
    "arguments": {"arch": TINY},
    "licence": "MIT",
    "commercial": "yes",
    "trained_on": [{"data_set": "Theatre", "videos": ["op01"], "source": "a paper"}],
    "source": "https://example.org/mine",
    "sees": "frames",
    "preprocess": {"num_frames": 2, "fps": 0.5, "size_px": 32, "geometry": "crop", "resize_px": [36, 64]},
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def site(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("SURGVL_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(published, "REGISTRY", tmp_path / "registry")
    with zipfile.ZipFile(tmp_path / "Mine.zip", "w") as opened:
        opened.write(weights, "mine/Mine.pth")
        opened.writestr("README.txt", "as archives are")
    with serving_files({"/f/1/": Page((tmp_path / "Mine.zip").read_bytes())}) as found:
        (tmp_path / "registry").mkdir()
        files = [{"name": "Mine.zip", "url": f"{found.url}/f/1/?dl=1"}]
        (tmp_path / "registry" / "mine.yaml").write_text(yaml.safe_dump({**ENTRY, "files": files}), encoding="utf-8")
        published._read.cache_clear()
        yield found


@pytest.mark.slow
def test_a_fetched_archive_is_a_model_by_name(
    site: Site, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["models", "fetch", "mine"]) == 0
    folder = find_model("mine")
    assert folder == tmp_path / "models" / "mine"
    assert {"config.json", "model.safetensors", "preprocessor_config.json", "model_card.json"} <= {
        path.name for path in folder.iterdir()
    }
    # Neither the archive nor the pickle is left.
    left = [path for path in (tmp_path / "models").rglob("*") if path.suffix in (".zip", ".pth", ".bin", ".part")]
    assert left == []
    assert load_preprocess(folder) == Preprocess(**ENTRY["preprocess"])
    mine, theirs = surgvl.load("mine"), surgvl.load(f"open_clip:{TINY}@{weights}")
    assert isinstance(mine, DualModel)
    assert isinstance(theirs, DualModel)
    assert mine.card is not None
    assert (mine.card.licence, mine.card.source) == ("MIT", "https://example.org/mine")
    assert list(mine.card.sha256) == ["Mine.zip"]
    assert np.array_equal(mine.encode_text(["a hook"]), theirs.encode_text(["a hook"]))
    assert cli.main(["models", "check", "mine"]) == 0
    assert "no vectors are recorded" in capsys.readouterr().out


@pytest.mark.slow
def test_a_file_that_one_has_makes_the_same_model(site: Site, weights: Path, tmp_path: Path) -> None:
    renamed = tmp_path / "from a stick.pth"
    renamed.write_bytes(weights.read_bytes())
    assert cli.main(["models", "add", "mine", str(renamed)]) == 0
    one = model_hash("mine")
    assert cli.main(["models", "add", "mine", str(tmp_path / "Mine.zip")]) == 0
    assert model_hash("mine") == one
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    (unpacked / "Mine.pth").write_bytes(weights.read_bytes())
    assert cli.main(["models", "add", "mine", str(unpacked)]) == 0
    assert model_hash("mine") == one
    assert renamed.exists()
    assert site.requests == []
    card = json.loads((tmp_path / "models" / "mine" / "model_card.json").read_text())
    assert list(card["sha256"]) == ["Mine.pth"]


class Evil:
    def __reduce__(self) -> Any:
        return (print, ("code ran",))


@pytest.mark.slow
def test_files_of_another_kind_leave_the_model_as_it_was(
    site: Site, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["models", "add", "mine", str(weights)]) == 0
    before = model_hash("mine")
    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"visual": Evil()}))
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as opened:
        opened.write(weights, "a.pth")
        opened.write(weights, "b.pth")
    with zipfile.ZipFile(tmp_path / "none.zip", "w") as opened:
        opened.writestr("README.txt", "moved")
    capsys.readouterr()
    for name, said in (
        ("evil.pth", "does not hold the weights"),
        ("two.zip", "2 weights files"),
        ("none.zip", "0 weights files"),
        ("gone.pth", "does not exist"),
    ):
        assert cli.main(["models", "add", "mine", str(tmp_path / name)]) == 1
        out, err = capsys.readouterr()
        assert said in err
        assert err.count("\n") == 1
        assert "code ran" not in out
    assert model_hash("mine") == before
    # Of a failed one no hash is kept.
    records = json.loads((tmp_path / "models" / ".hashes" / "mine.json").read_text())
    assert set(records) == {"Mine.bin"}


def test_preprocessing_of_all_entries_is_valid() -> None:
    for entry in registry().values():
        if entry.preprocess is not None:
            assert Preprocess(**entry.preprocess).geometry in ("squash", "crop", "fit")


@pytest.mark.slow
def test_load_fetches_when_it_is_told_to(site: Site, weights: Path) -> None:
    with pytest.raises(CheckpointError, match="mine is not on this machine: `surgvl models fetch mine` fetches it"):
        surgvl.load("mine")
    # No network unless it is asked for.
    assert site.requests == []
    fetched = surgvl.load("mine", fetch=True)
    theirs = surgvl.load(f"open_clip:{TINY}@{weights}")
    assert isinstance(fetched, DualModel)
    assert isinstance(theirs, DualModel)
    assert np.array_equal(fetched.encode_text(["a hook"]), theirs.encode_text(["a hook"]))
    count = len(site.requests)
    assert count > 0
    # What is here is not asked for again.
    surgvl.load("mine", fetch=True)
    assert len(site.requests) == count
