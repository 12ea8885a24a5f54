"""A run that goes on from what is no checkpoint of it: one line, nothing run, nothing lost."""

import argparse
import errno
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import Dataset, default_collate

from surgvl.cli import main as cli
from surgvl.core.errors import CheckpointError, DataError
from surgvl.train.config import Optim, Run
from surgvl.train.loop import fit
from surgvl.train.objective import Objective
from tests.models.test_folder_broken import Trap
from tests.train.test_loop import TINY_MAE, manifest

__all__ = ["manifest"]


class Line(Objective):
    """Least squares of a line through made points."""

    def __init__(self, width: int = 3, name: str = "line"):
        super().__init__()
        self.name = name
        self.add_module(name, torch.nn.Linear(width, 1))

    def forward(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"loss": self.get_submodule(self.name)(batch["x"]).square().mean()}


class Points(Dataset[dict[str, torch.Tensor]]):
    def __init__(self, width: int = 3):
        self.width = width

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"x": torch.full((self.width,), float(index % 7))}


def go(out: Path, steps: int = 4, width: int = 3, name: str = "line") -> None:
    run = Run(steps=steps, batch=2, save_every=2, log_every=2, precision="32-true")
    fit(Line(width, name), Points(width), default_collate, out, Optim(), run)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained")
    go(out)
    return out


def flipped(place: float) -> Callable[[Path], object]:
    """One bit of the file is another."""

    def flip(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[int(len(content) * place)] ^= 16
        path.write_bytes(content)

    return flip


def weight_flipped(path: Path) -> None:
    """A damaged disk: one bit of a stored tensor."""
    content = bytearray(path.read_bytes())
    value = torch.load(path, weights_only=True)["objective"]["line.weight"]
    at = content.index(value.numpy().tobytes())
    content[at + 2] ^= 64
    path.write_bytes(content)


def without(*names: str) -> Callable[[Path], object]:
    def strip(path: Path) -> None:
        kept = torch.load(path, weights_only=True)
        torch.save({name: value for name, value in kept.items() if name not in names}, path)

    return strip


def with_code(path: Path) -> None:
    torch.save({**torch.load(path, weights_only=True), "hyper_parameters": Trap(path.parent / "sprung")}, path)


def zip_of_texts(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "hello")


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


BROKEN: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("not a checkpoint\n" * 50),
    "binary": lambda path: path.write_bytes(os.urandom(5000)),
    "nul": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "bit of a weight": weight_flipped,
    "bit of the header": flipped(0.0001),
    "plain pickle": lambda path: path.write_bytes(pickle.dumps({"objective": {}, "step": 3})),
    "pickle with code": lambda path: path.write_bytes(pickle.dumps({"a": Trap(path.parent / "sprung")}, protocol=2)),
    "old torch": lambda path: torch.save({"objective": {}}, path, _use_new_zipfile_serialization=False),
    "archive with code": with_code,
    "arguments of others": lambda path: torch.save({"args": argparse.Namespace(lr=1)}, path),
    "zip": zip_of_texts,
    "a list": lambda path: torch.save([torch.ones(2)], path),
    "a tensor": lambda path: torch.save(torch.ones(2), path),
    "weights alone": lambda path: torch.save(torch.load(path, weights_only=True)["objective"], path),
    "no optimizer": without("optimizer"),
    "no step": without("step"),
    "folder": folder,
    "dangling": dangling,
}


def refusal(out: Path, call: Callable[[], object]) -> str:
    last = out / "checkpoints" / "last.ckpt"
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(CheckpointError) as caught:
        call()
    message = str(caught.value)
    assert str(last) in message
    assert "give another --out" in message
    assert "\n" not in message
    assert len(message) < 700
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert not (last.parent / "sprung").exists()
    return message


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_no_checkpoint_is_one_line(kind: str, trained: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(trained, tmp_path / "out"))
    BROKEN[kind](out / "checkpoints" / "last.ckpt")
    assert "damaged, or not a checkpoint" in refusal(out, lambda: go(out, 8))


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"width": 4}, r"line.weight must be (1, 4), got (1, 3)"),
        ({"name": "curve"}, "does not fit this model: curve.bias is only in the model"),
    ],
)
def test_a_checkpoint_of_another_model_is_told(other: dict[str, Any], said: str, trained: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(trained, tmp_path / "out"))
    assert said in refusal(out, lambda: go(out, 8, **other))


def test_a_checkpoint_of_an_earlier_version_is_told(trained: Path, tmp_path: Path) -> None:
    """One as lightning's Trainer wrote them."""
    out = Path(shutil.copytree(trained, tmp_path / "out"))
    earlier = {"state_dict": {}, "optimizer_states": [], "global_step": 4, "pytorch-lightning_version": "2.6.6"}
    torch.save(earlier, out / "checkpoints" / "last.ckpt")
    assert "of an earlier version of surgvl" in refusal(out, lambda: go(out, 8))


@pytest.mark.slow
def test_an_optimizer_of_another_kind_is_told(manifest: Path, tmp_path: Path) -> None:
    def words(muon: float) -> list[str]:
        own = [word for word in TINY_MAE if "optim.muon" not in word]
        given = ["--manifest", str(manifest), "--out", str(tmp_path / "out"), "--run.steps=2", "--resume=true"]
        return ["pretrain", *given, *own, f"--optim.muon_lr_ratio={muon}"]

    cli.run(words(2.0))
    with pytest.raises(CheckpointError, match="was written with other --optim settings") as caught:
        cli.run(words(0.0))
    assert "\n" not in str(caught.value)


def test_a_full_disk_keeps_the_last_checkpoint(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = Path(shutil.copytree(trained, tmp_path / "out"))
    last = out / "checkpoints" / "last.ckpt"
    before = last.read_bytes()

    def full(self: object, path: Path, *_: object, **__: object) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device", "elsewhere")

    monkeypatch.setattr("lightning.fabric.Fabric.save", full)
    with pytest.raises(DataError, match=r"last\.ckpt cannot be written \(No space left on device\): free some space"):
        go(out, 8)
    assert last.read_bytes() == before
    assert [path.name for path in last.parent.iterdir()] == ["last.ckpt"]


@pytest.mark.slow
def test_the_command_ends_in_one_line(manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    last = tmp_path / "out" / "checkpoints" / "last.ckpt"
    last.parent.mkdir(parents=True)
    last.write_bytes(pickle.dumps({"a": Trap(tmp_path / "sprung")}))
    words = ["pretrain", "--manifest", str(manifest), "--out", str(tmp_path / "out"), "--resume=true", *TINY_MAE]
    assert cli.main(words) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert str(last) in said[0]
    assert not (tmp_path / "sprung").exists()
