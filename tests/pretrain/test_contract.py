"""Every pretraining recipe, found by its file: its loss falls, reaches the encoder, and repeats under a seed."""

import inspect
import math
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import surgvl.pretrain
from surgvl.core.registry import discover
from surgvl.models.checkpoint import save_model
from surgvl.models.vit import VideoViT
from surgvl.models.vit_config import ViTConfig
from surgvl.pretrain.base import Recipe
from surgvl.train.config import Optim, Run
from surgvl.train.ema import EMA
from surgvl.train.loop import fit
from surgvl.video.clip import Preprocess

RECIPES = discover(surgvl.pretrain, Recipe)
# Names of published models that are another recipe with other data or another name.
ALIASES = {"surgrec_mae": "videomae", "surgrec_jepa": "vjepa", "surgmotion": "unisurg"}
METHODS = sorted(set(RECIPES) - set(ALIASES))
SMALL = {
    "decoder_dim": 32,
    "decoder_depth": 1,
    "decoder_heads": 2,
    "pixel_depth": 1,
    "token_depth": 1,
    "predictor_dim": 32,
    "predictor_depth": 1,
    "predictor_heads": 2,
    "momentum": 0.95,
    "final_momentum": 1.0,
}
SIZES: dict[str, Any] = {"size_px": 32, "patch_px": 8, "dim": 32, "depth": 2, "heads": 2}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image encoder of ours with random weights, by its name."""
    folder = tmp_path_factory.mktemp("teacher")
    torch.manual_seed(9)
    image = VideoViT(ViTConfig(**SIZES, num_frames=1, tubelet=1))
    save_model(image, folder, Preprocess(num_frames=1, fps=1.0, size_px=32))
    return f"surgvl:{folder}"


def build(kind: type[Recipe], teacher: str) -> Recipe:
    """A recipe of few weights, always the same ones."""
    torch.manual_seed(0)
    known = inspect.signature(kind).parameters
    encoder = VideoViT(ViTConfig(**SIZES, num_frames=4, tubelet=2))
    values: dict[str, Any] = {**SMALL, "teacher": teacher, "teachers": (teacher, teacher)}
    return kind(encoder, **{name: value for name, value in values.items() if name in known})


def clips(num: int = 8) -> torch.Tensor:
    """A bright bar that moves over a dark ramp, uint8 [B, 3, T, H, W]."""
    video = torch.zeros(num, 3, 4, 32, 32)
    video += torch.linspace(0, 90, 32)
    for number in range(num):
        for frame in range(4):
            video[number, :, frame, :, (3 * number + 2 * frame) % 28 : (3 * number + 2 * frame) % 28 + 4] = 200
    return video.to(torch.uint8)


def losses(kind: type[Recipe], teacher: str, steps: int) -> list[float]:
    """Losses of the first steps of a run of 60."""
    recipe = build(kind, teacher)
    optimizer = torch.optim.AdamW(recipe.parameters(), lr=3e-3)
    out = []
    for step in range(steps):
        torch.manual_seed(step)
        optimizer.zero_grad()
        loss = recipe({"video": clips()})["loss"]
        loss.backward()
        optimizer.step()
        recipe.update_ema(step / 60)
        out.append(float(loss.detach()))
    return out


def test_recipes_are_found() -> None:
    named = {"videomae", "vjepa", "surgvista", "surgrec_mae", "surgrec_jepa", "unisurg", "surgmotion", "zen"}
    assert named <= set(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_named_as_its_file_and_names_its_paper(name: str) -> None:
    module = RECIPES[name].__module__
    assert module == f"surgvl.pretrain.{name}"
    first = (sys.modules[module].__doc__ or "").splitlines()[0]
    assert re.search(r"arXiv \d{4}\.\d{4,5}", first)


@pytest.mark.parametrize(("name", "method"), ALIASES.items())
def test_an_alias_adds_nothing_but_its_name(name: str, method: str) -> None:
    alias = RECIPES[name]
    assert alias.__bases__ == (RECIPES[method],)
    assert {key for key in vars(alias) if not key.startswith("_")} == {"name"}
    assert "__init__" not in vars(alias)


@pytest.mark.parametrize("name", METHODS)
def test_the_loss_is_a_finite_scalar_that_reaches_every_part_of_the_encoder(name: str, teacher: str) -> None:
    recipe = build(RECIPES[name], teacher)
    loss = recipe({"video": clips()})["loss"]
    assert loss.shape == ()
    assert bool(torch.isfinite(loss))
    loss.backward()
    without = [key for key, weight in recipe.encoder.named_parameters() if weight.requires_grad and weight.grad is None]
    assert not without


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.slow
def test_the_loss_falls_by_a_fifth_and_repeats_to_the_bit(name: str, teacher: str) -> None:
    whole = losses(RECIPES[name], teacher, 20)
    assert sum(whole[-5:]) < 0.8 * sum(whole[:5])
    assert losses(RECIPES[name], teacher, 5) == whole[:5]


def test_unisurg_logs_the_entropy_of_its_motion_weights(teacher: str) -> None:
    recipe = build(RECIPES["unisurg"], teacher)
    torch.manual_seed(0)
    sharp = float(recipe.monitor({"video": clips()})["motion_entropy"])
    assert 0 < sharp < 0.95 * math.log(3)
    vars(recipe)["gamma"] = 0.0
    torch.manual_seed(0)
    assert float(recipe.monitor({"video": clips()})["motion_entropy"]) == pytest.approx(math.log(3))


@pytest.mark.slow
def test_momentum_of_the_ema_follows_the_schedules_of_the_run(
    teacher: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """V-JEPA: momentum of step i is first + i * (last - first) / (steps * scale), so it does not reach 1."""
    found: list[float] = []
    monkeypatch.setattr(EMA, "update", lambda self, module, momentum: found.append(momentum))
    data = [{"video": clip} for clip in clips(8)] * 5
    run = Run(steps=20, batch=2, precision="32-true", accelerator="cpu")
    collate = torch.utils.data.default_collate
    fit(build(RECIPES["vjepa"], teacher), data, collate, tmp_path, Optim(schedule_scale=1.25), run)  # type: ignore
    assert found == pytest.approx([0.95 + i * 0.05 / 25 for i in range(20)])
