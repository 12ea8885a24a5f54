"""Every pretraining recipe, found by its file: its loss falls, reaches the encoder, and repeats under a seed."""

import inspect
import re
import sys

import pytest
import torch

import surgvl.pretrain
from surgvl.models.video_vit import VideoViT
from surgvl.plugins import discover
from surgvl.pretrain.base import Recipe

RECIPES = discover(surgvl.pretrain, Recipe)


def build(kind: type[Recipe]) -> Recipe:
    """A recipe of few weights, always the same ones."""
    torch.manual_seed(0)
    small = {"decoder_dim": 32, "decoder_depth": 1, "decoder_heads": 2}
    known = inspect.signature(kind).parameters
    encoder = VideoViT(size_px=32, num_frames=4, patch_px=8, tubelet=2, dim=32, depth=2, heads=2)
    return kind(encoder, **{name: value for name, value in small.items() if name in known})


def clips(num: int = 8) -> torch.Tensor:
    """A bright bar that moves over a dark ramp, uint8 [B, 3, T, H, W]."""
    video = torch.zeros(num, 3, 4, 32, 32)
    video += torch.linspace(0, 90, 32)
    for number in range(num):
        for frame in range(4):
            video[number, :, frame, :, (3 * number + 2 * frame) % 28 : (3 * number + 2 * frame) % 28 + 4] = 200
    return video.to(torch.uint8)


def losses(kind: type[Recipe], steps: int) -> list[float]:
    recipe = build(kind)
    optimiser = torch.optim.AdamW(recipe.parameters(), lr=3e-3)
    out = []
    for step in range(steps):
        torch.manual_seed(step)
        optimiser.zero_grad()
        loss = recipe({"video": clips()})["loss"]
        loss.backward()
        optimiser.step()
        recipe.after_step((step + 1) / steps)
        out.append(float(loss.detach()))
    return out


def test_recipes_are_found() -> None:
    assert "surgrec_mae" in RECIPES


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_named_as_its_file_and_names_its_paper(name: str) -> None:
    module = RECIPES[name].__module__
    assert module == f"surgvl.pretrain.{name}"
    first = (sys.modules[module].__doc__ or "").splitlines()[0]
    assert re.search(r"arXiv \d{4}\.\d{4,5}", first)


@pytest.mark.parametrize("name", RECIPES)
def test_the_loss_is_a_finite_scalar_that_reaches_every_part_of_the_encoder(name: str) -> None:
    recipe = build(RECIPES[name])
    loss = recipe({"video": clips()})["loss"]
    assert loss.shape == ()
    assert bool(torch.isfinite(loss))
    loss.backward()
    without = [key for key, weight in recipe.encoder.named_parameters() if weight.requires_grad and weight.grad is None]
    assert not without


@pytest.mark.parametrize("name", RECIPES)
def test_the_loss_falls_by_a_fifth_and_repeats_to_the_bit(name: str) -> None:
    first, second = losses(RECIPES[name], 60), losses(RECIPES[name], 60)
    assert first == second
    assert sum(first[-5:]) < 0.8 * sum(first[:5])
