"""Arguments that make a recipe what its released code does, where the defaults differ."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from surgvl.core.errors import ConfigError
from surgvl.models.vit import VideoViT
from surgvl.models.vit_config import ViTConfig
from surgvl.pretrain.surgvista import SurgVISTA
from surgvl.pretrain.videomae import VideoMAE
from surgvl.pretrain.vjepa import VJEPA
from surgvl.train.config import Optim, Run
from surgvl.train.optimizer import optimizer_of

PREDICTOR = {"predictor_dim": 96, "predictor_depth": 3, "predictor_heads": 2}


def encoder(dim: int = 32, depth: int = 2) -> VideoViT:
    torch.manual_seed(0)
    return VideoViT(ViTConfig(size_px=32, num_frames=8, patch_px=4, tubelet=2, dim=dim, depth=depth, heads=2))


def video() -> torch.Tensor:
    return torch.randint(0, 256, (3, 3, 8, 32, 32), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def test_the_decoder_of_videomae_v2_gets_all_chosen_tokens_and_is_judged_on_the_masked_ones() -> None:
    recipe = VideoMAE(encoder(), 0.75, 32, 1, 2, decoder_ratio=0.5, cell_order="raster")
    torch.manual_seed(2)
    keep, hide = recipe.masks(3, torch.device("cpu"))
    assert hide.shape == (3, 128)
    both = [set(visible) & set(chosen) for visible, chosen in zip(keep.tolist(), hide.tolist(), strict=True)]
    assert all(both)
    with torch.no_grad():
        prediction, target = recipe.predict(video(), keep, hide), recipe.target(video(), hide)
    errors = [
        float((prediction[clip, at] - target[clip, at]).square().mean())
        for clip in range(3)
        for at, token in enumerate(hide[clip].tolist())
        if token not in both[clip]
    ]
    torch.manual_seed(2)
    loss = recipe({"video": video()})["loss"]
    assert float(loss.detach()) == pytest.approx(sum(errors) / len(errors), rel=1e-5)
    with pytest.raises(ConfigError, match="cell_order must be one of circle, raster, got 'random'"):
        VideoMAE(encoder(), cell_order="random")


def test_mask_tokens_decay_where_the_released_code_lets_them() -> None:
    # VideoMAE's code spares a parameter named mask_token; those of V-JEPA and SurgVISTA are named otherwise.
    mae, jepa = VideoMAE(encoder(), 0.75, 32, 1, 2), VJEPA(encoder(), **PREDICTOR)  # type: ignore[arg-type]
    vista = SurgVISTA(encoder(48), distil_weight=0, pixel_depth=1, decoder_dim=32, decoder_heads=2)
    tokens = (mae.decoder.mask_token, jepa.predictor.mask_tokens, vista.pixels.mask_token)
    decayed = []
    for recipe, token in zip((mae, jepa, vista), tokens, strict=True):
        groups = optimizer_of(recipe, Optim(weight_decay=0.1), Run()).param_groups
        decayed += [group["decays"] for group in groups for parameter in group["params"] if parameter is token]
    assert decayed == [False, True, True]


@pytest.mark.slow
def test_vjepa_2_has_one_mask_token_for_both_kinds_of_mask() -> None:
    recipe = VJEPA(encoder(), shared_mask_token=True, **PREDICTOR)  # type: ignore[arg-type]
    tokens = recipe.predictor.mask_tokens
    assert tokens.shape == (1, 96)
    with torch.no_grad():
        tokens.add_(1)
    keep, hide = recipe.masks(3, torch.device("cpu"))[1]
    assert torch.equal(*(recipe.predict(video(), keep, hide, kind) for kind in (0, 1)))
    assert bool(torch.isfinite(recipe({"video": video()})["loss"]))
    assert VJEPA(encoder(), **PREDICTOR).predictor.mask_tokens.shape == (2, 96)  # type: ignore[arg-type]


def test_initial_weights_of_vjepa_are_normal_and_fall_with_depth_in_what_ends_a_branch() -> None:
    recipe = VJEPA(encoder(96, 4), init="vjepa", **PREDICTOR)  # type: ignore[arg-type]
    recipe.requires_grad_(False)
    for module in (recipe.encoder, recipe.predictor):
        block: Any
        for number, block in enumerate(module.blocks, 1):
            wanted: dict[nn.Linear, float] = {block.attn.qkv: 0.02, block.mlp[0]: 0.02}
            wanted |= dict.fromkeys((block.attn.proj, block.mlp[2]), 0.02 / math.sqrt(2 * number))
            for layer, deviation in wanted.items():
                # Of 9216 normal values or more, the deviation is known to 0.8 % and a tenth lies beyond 1.645 of them.
                assert float(layer.weight.std()) == pytest.approx(deviation, rel=0.04)
                assert float((layer.weight.abs() > 1.645 * deviation).float().mean()) == pytest.approx(0.1, abs=0.02)
                assert not layer.bias.any()
    for layer in (recipe.encoder.embed, recipe.predictor.down, recipe.predictor.up):
        assert float(layer.weight.std()) == pytest.approx(0.02, rel=0.04)
    online, average = (part.state_dict() for part in (recipe.encoder, recipe.target_encoder.module))
    assert all(torch.equal(average[name], value) for name, value in online.items())

    given = encoder(96, 4)
    before = given.embed.weight.clone()
    assert torch.equal(VJEPA(given, **PREDICTOR).encoder.embed.weight, before)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="init must be one of xavier, vjepa, got 'zeros'"):
        VJEPA(encoder(), init="zeros")
