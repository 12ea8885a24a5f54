"""Which of a recipe's encoders a run writes: the EMA that V-JEPA evaluates, or the one that gradients train."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from surgvl.cli import main as cli
from surgvl.core.errors import ConfigError
from tests.train.test_loop import TINY, manifest  # noqa: F401 (fixture)

SMALL = ["predictor_dim=32", "predictor_depth=1", "predictor_heads=2", "momentum=0.9", "final_momentum=0.9"]
DECODER = ["decoder_dim=32", "decoder_depth=1", "decoder_heads=2"]


def pretrain(manifest: Path, out: Path, recipe: str, *words: str) -> dict[str, dict[str, torch.Tensor]]:  # noqa: F811
    """Run three steps: the weights in the model folder, and those of both encoders in the run's checkpoint."""
    own = [f"--objective.init_args.{each}" for each in (DECODER if "mae" in recipe else SMALL)]
    cli.run(["pretrain", "--manifest", str(manifest), "--out", str(out), "--run.steps=3", *TINY,
             f"--objective.class_path=surgvl.pretrain.{recipe}", *own, *words])  # fmt: skip
    objective = torch.load(out / "checkpoints/last.ckpt", weights_only=True)["objective"]
    prefixes = {"online": "encoder.", "ema": "target_encoder.module."}
    return {
        "model": load_file(out / "model/model.safetensors"),
        **{
            name: {key.removeprefix(prefix): value for key, value in objective.items() if key.startswith(prefix)}
            for name, prefix in prefixes.items()
        },
    }


def alike(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def recorded(out: Path) -> str:
    found: str = json.loads((out / "run.json").read_text())["exported"]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["vjepa.VJEPA", "unisurg.UniSurg"])
def test_the_ema_is_exported(recipe: str, manifest: Path, tmp_path: Path) -> None:  # noqa: F811
    found = pretrain(manifest, tmp_path / "run", recipe)
    assert alike(found["model"], found["ema"])
    assert not alike(found["model"], found["online"])
    assert recorded(tmp_path / "run") == "ema"


@pytest.mark.slow
def test_the_online_encoder_is_exported_on_demand(manifest: Path, tmp_path: Path) -> None:  # noqa: F811
    found = pretrain(manifest, tmp_path / "run", "vjepa.VJEPA", "--export=online")
    assert alike(found["model"], found["online"])
    assert not alike(found["model"], found["ema"])
    assert recorded(tmp_path / "run") == "online"


@pytest.mark.slow
def test_a_recipe_without_an_ema_exports_its_encoder(manifest: Path, tmp_path: Path) -> None:  # noqa: F811
    found = pretrain(manifest, tmp_path / "run", "videomae.VideoMAE")
    assert alike(found["model"], found["online"])
    assert recorded(tmp_path / "run") == "online"
    with pytest.raises(ConfigError, match="--export ema: videomae has no EMA of its encoder; use online"):
        pretrain(manifest, tmp_path / "none", "videomae.VideoMAE", "--export=ema")
    assert not (tmp_path / "none").exists()
