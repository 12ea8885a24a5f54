"""What the commands share: videos of a split, and run folders that are the same from Python and from the command."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from surgvl.cli import main as cli
from surgvl.commands.common import split_ids
from surgvl.commands.pretrain import pretrain
from surgvl.core.errors import ConfigError
from surgvl.data.manifest import Manifest
from surgvl.models.vit_config import ViTConfig
from surgvl.train.config import Optim, Run
from tests.train.test_loop import manifest  # noqa: F401 (fixture)

SHAPE = {"size_px": 16, "num_frames": 4, "patch_px": 4, "dim": 32, "depth": 1, "heads": 2}
RUN = {"steps": 1, "batch": 2, "seed": 5, "precision": "32-true"}


def written(out: Path) -> dict[str, object]:
    found: dict[str, object] = yaml.safe_load((out / "config.yaml").read_text())
    return found


@pytest.mark.slow
def test_python_and_the_command_start_from_the_same_weights_and_say_the_same(
    manifest: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    words = ["pretrain", "--manifest", str(manifest), "--out", str(tmp_path / "typed")]
    words += [f"--encoder.{name}={value}" for name, value in SHAPE.items()]
    cli.run([*words, *(f"--run.{name}={value}" for name, value in RUN.items()), "--optim.lr=0.0015"])
    torch.manual_seed(99)
    encoder = ViTConfig(**SHAPE)  # type: ignore[arg-type]
    out = tmp_path / "called"
    pretrain(encoder, manifest, out, optim=Optim(lr=1.5e-3), run=Run(**RUN))  # type: ignore[arg-type]
    one, two = (load_file(folder / "model/model.safetensors") for folder in (tmp_path / "typed", out))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)

    typed, called = written(tmp_path / "typed"), written(out)
    assert typed.keys() == {name for name, value in called.items() if value is not None}
    assert called["run"] == typed["run"]
    assert {**typed["optim"], "final_weight_decay": None} == called["optim"]  # type: ignore[dict-item]
    assert called["manifest"] == str(manifest)
    assert called["encoder"].items() >= SHAPE.items()  # type: ignore[attr-defined]
    assert called["objective"]["class_path"] == "surgvl.pretrain.surgrec_mae.SurgRecMAE"  # type: ignore[index]
    command = json.loads((out / "run.json").read_text())["command"]
    assert "surgvl.commands.pretrain.pretrain(" in command
    assert str(out) in command

    # What was recorded is what --config takes.
    cli.parse(["pretrain", "--config", str(out / "config.yaml")])


@pytest.mark.slow
def test_a_manifest_without_splits_is_trained_on_whole(manifest: Path) -> None:  # noqa: F811
    table = Manifest.load(manifest)
    unsplit = Manifest([row.model_copy(update={"split": ""}) for row in table.videos], root=manifest.parent)
    assert split_ids(unsplit, "train") == ["v0", "v1", "v2"]
    assert split_ids(unsplit, "") == ["v0", "v1", "v2"]
    with pytest.raises(ConfigError, match="no video of the manifest has a split.*--split ''"):
        split_ids(unsplit, "test")
    part = Manifest([*table.videos[:1], table.videos[1].model_copy(update={"split": ""})], root=manifest.parent)
    assert split_ids(part, "train") == ["v0"]
    with pytest.raises(ConfigError, match="choose another --split"):
        split_ids(part, "test")
