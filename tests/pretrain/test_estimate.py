"""Estimates against a formula written by hand, torch's counter on real clips, and the bytes that a real step keeps."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from surgvl.models.vit import VideoViT
from surgvl.models.vit_config import ViTConfig
from surgvl.pretrain.base import Recipe
from surgvl.pretrain.estimate import DTYPES, dry_step, estimate, matmul_rate
from surgvl.pretrain.unisurg import UniSurg
from surgvl.pretrain.videomae import VideoMAE
from surgvl.pretrain.vjepa import VJEPA
from surgvl.train.config import Optim, Run
from tests.pretrain.test_contract import METHODS, RECIPES, build, teacher

__all__ = ["teacher"]  # a fixture


def encoder(**changes: Any) -> VideoViT:
    shape = {"size_px": 32, "num_frames": 8, "patch_px": 4, "tubelet": 2, "dim": 48, "depth": 1, "heads": 3}
    return VideoViT(ViTConfig(**{**shape, **changes}))


def mae(**changes: Any) -> VideoMAE:
    return VideoMAE(encoder(**changes), mask_ratio=0.75, decoder_dim=24, decoder_depth=1, decoder_heads=2)


def clips(recipe: Recipe, num: int) -> dict[str, Tensor]:
    shape = (num, 3, recipe.encoder.config.num_frames, recipe.encoder.config.size_px, recipe.encoder.config.size_px)
    return {"video": torch.randint(0, 255, shape).float()}


def counted(recipe: Recipe, num: int) -> float:
    """Torch's count of a real step; it knows no fused attention on a CPU, so the formula is taken."""
    counter = FlopCounterMode(display=False)
    with sdpa_kernel(SDPBackend.MATH), counter:
        recipe(clips(recipe, num))["loss"].backward()
    return float(counter.get_total_flops())


@pytest.mark.slow
def test_flops_of_mae_are_those_of_the_formula_and_of_torchs_counter() -> None:
    recipe = mae(depth=2)
    step = dry_step(recipe, 2)
    # Products of one clip, two FLOPs each: N = 4 * 8 * 8 tokens, K kept, P values of a tubelet.
    N, K, P, D, d = 256, 64, 96, 48, 24

    def block(tokens: int, dim: int) -> int:
        return tokens * 12 * dim * dim + 2 * tokens * tokens * dim

    embed = K * P * D
    rest = 2 * block(K, D) + K * D * d + block(N, d) + (N - K) * d * P
    # Backward costs twice the forward pass, but nobody asks for the gradient of the pixels.
    want = 2 * 2 * (3 * rest + 2 * embed)
    assert step.flops == pytest.approx(want, rel=0.01)
    assert step.visible == (K,)
    assert step.flops == pytest.approx(counted(recipe, 2), rel=0.01)


def kept_by_hand(recipe: Recipe, num: int) -> float:
    """Bytes of all storages that autograd holds between forward and backward of real clips, weights apart."""
    own = {p.untyped_storage().data_ptr() for p in recipe.parameters()}
    held: dict[int, Tensor] = {}

    def pack(x: Tensor) -> Tensor:
        if x.untyped_storage().data_ptr() not in own:
            held[x.untyped_storage().data_ptr()] = x
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        recipe(clips(recipe, num))
    return float(sum(x.untyped_storage().nbytes() for x in held.values()))


@pytest.mark.slow
def test_memory_is_what_a_real_step_keeps() -> None:
    recipe = mae()
    assert dry_step(recipe, 4).kept == pytest.approx(kept_by_hand(recipe, 4), rel=0.02)
    # On a CPU short sequences have no fused kernel in bfloat16, so both stacks have long ones here.
    long = VideoMAE(encoder(num_frames=32), mask_ratio=0.4, decoder_dim=24, decoder_depth=1, decoder_heads=2)
    with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
        real = kept_by_hand(long, 4)
    copies = 2 * sum(p.numel() for p in long.parameters())
    assert dry_step(long, 4, mixed=True).kept + copies == pytest.approx(real, rel=0.1)


@pytest.mark.slow
def test_checkpointing_costs_a_forward_pass_and_saves_its_memory() -> None:
    plain, again = (dry_step(mae(depth=3, checkpoint=on), 2) for on in (False, True))
    block = 2 * 2 * (64 * 12 * 48 * 48 + 2 * 64 * 64 * 48)
    assert again.flops - plain.flops == pytest.approx(3 * block, rel=0.01)
    # Of three blocks the inside of one is left, and the inputs of all, a small part of what is inside.
    assert again.kept < plain.kept
    inside = plain.kept - dry_step(mae(), 2).kept
    assert plain.kept - again.kept == pytest.approx(inside, rel=0.15)


@pytest.mark.slow
def test_a_jepa_counts_its_teacher_and_both_its_masks() -> None:
    shapes = {"predictor_dim": 24, "predictor_depth": 1, "predictor_heads": 2}
    recipe = VJEPA(encoder(position="rope"), 4, 0.15, 1, 0.5, **shapes)  # type: ignore[arg-type]
    found = estimate(recipe, Run(batch=8, accumulate=2, precision="32-true"), rate=1e12)
    trained = sum(p.numel() for p in [*recipe.encoder.parameters(), *recipe.predictor.parameters()])
    assert found.num_trained == trained
    assert found.num_parameters == trained + sum(p.numel() for p in recipe.encoder.parameters())
    assert len(found.visible) == 2
    assert all(0 < num < 256 for num in found.visible)
    # Masks differ from draw to draw, and so does the work; the two halves of the batch are two such steps.
    assert found.flops == pytest.approx(2 * counted(recipe, 4), rel=0.25)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.slow
def test_every_recipe_reads_nothing_from_its_clips_and_costs_what_torch_counts(name: str, teacher: str) -> None:
    # Tensors without values refuse to be read, so a recipe that waits for its device in a step fails here.
    recipe = build(RECIPES[name], teacher)
    assert dry_step(recipe, 4).flops == pytest.approx(counted(recipe, 4), rel=0.25)


@pytest.mark.slow
def test_sums_of_the_whole_run() -> None:
    recipe = mae()
    before = {name: value.clone() for name, value in recipe.state_dict().items()}
    state = torch.get_rng_state()
    run = Run(batch=64, devices=4, nodes=2, accumulate=2, precision="32-true")
    found = estimate(recipe, run, num_clips=7200, rate=1e9, utilisation=0.5)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in recipe.state_dict().items())
    assert recipe.encoder.embed.weight.device.type == "cpu"
    num = sum(p.numel() for p in recipe.parameters())
    part = dry_step(recipe, 4)
    assert found.flops == pytest.approx(16 * part.flops)
    assert found.memory["weights"] == found.memory["gradients"] == 4 * num
    assert found.memory["optimizer"] == 8 * num
    assert found.memory["activations"] == part.kept
    assert found.memory["clips"] == 4 * 3 * 8 * 32 * 32 * 5
    # 7200 clips, 64 a step, eight devices at half of 1e9 FLOP/s.
    assert found.hours == pytest.approx(7200 / 64 * found.flops / (8 * 0.5e9) / 3600)
    text = found.to_text()
    assert "256, of which the encoder sees 64" in text
    assert f"{num:,}, of which {num:,} are trained" in text
    assert "64 clips on 8 devices" in text

    split = estimate(recipe, Run(batch=64, devices=4, nodes=2, strategy="fsdp"), rate=1e9)
    assert split.memory["optimizer"] == num
    matrices = sum(p.numel() for name, p in recipe.named_parameters() if p.ndim == 2 and ".blocks." in f".{name}")
    muon = estimate(recipe, Run(precision="32-true"), optim=Optim(muon_lr_ratio=1.0), rate=1e9)
    assert muon.memory["optimizer"] == 8 * num - 4 * matrices


@pytest.mark.slow
def test_a_long_clip_with_checkpointing_needs_no_memory_to_be_told() -> None:
    with torch.device("meta"):
        long = encoder(size_px=224, num_frames=64, patch_px=16, dim=384, heads=6, position="rope", checkpoint=True)
        recipe = UniSurg(long, predictor_dim=96, predictor_depth=1, predictor_heads=3)
    found = estimate(recipe, Run(batch=64, precision="bf16-mixed"), rate=1e12)
    assert found.tokens == 6272
    assert 0.04 * 6272 < found.visible[0] < 0.26 * 6272
    assert found.memory["activations"] > 2**30


def test_the_rate_of_this_machine_is_measured() -> None:
    rate = matmul_rate(DTYPES["32-true"], seconds=0.02)
    start = torch.randn(256, 256)
    assert 1e8 < rate < 1e16
    assert start.dtype == torch.float32
