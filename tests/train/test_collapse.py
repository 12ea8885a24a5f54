"""Collapse monitors and the spike guard against NumPy, and the moving average against its formula."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from surgvl.core.errors import ConfigError, DataError
from surgvl.models.vit import VideoViT
from surgvl.models.vit_config import ViTConfig
from surgvl.train.collapse import effective_rank, feature_std, mean_cosine
from surgvl.train.config import Optim
from surgvl.train.ema import EMA
from surgvl.train.guard import NonFiniteCheck, SpikeGuard, check_weights
from surgvl.train.optimizer import build_optimizer

Array = np.ndarray[Any, np.dtype[np.float64]]


def rank_by_hand(x: Array) -> float:
    singular = np.linalg.svd(x, compute_uv=False)
    share = singular / singular.sum()
    share = share[share > 0]
    return float(np.exp(-(share * np.log(share)).sum()))


def std_by_hand(x: Array) -> float:
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    return float(unit.std(0).mean() * np.sqrt(x.shape[1]))


@pytest.mark.parametrize("shape", [(40, 7), (5, 30)])
def test_monitors_are_their_formulas(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, *shape)) * rng.uniform(0.1, 3, shape[1]) + 0.3
    one, two = torch.from_numpy(x), torch.from_numpy(y)
    assert float(effective_rank(one)) == pytest.approx(rank_by_hand(x), rel=1e-5)
    assert float(feature_std(one)) == pytest.approx(std_by_hand(x), rel=1e-5)
    cosine = (x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)
    assert float(mean_cosine(one, two)) == pytest.approx(cosine.mean(), rel=1e-5)


def test_a_collapse_and_an_even_spread_are_told_apart() -> None:
    same = torch.randn(1, 64).expand(500, 64)
    assert float(feature_std(same)) == pytest.approx(0.0, abs=1e-6)
    assert float(effective_rank(same)) == pytest.approx(1.0, abs=1e-3)
    even = torch.randn(8000, 64)
    assert float(feature_std(even)) == pytest.approx(1.0, abs=0.02)
    # 8000 rows are more than 2048, so every fourth is taken; the singular values of noise are not quite equal.
    assert float(effective_rank(even)) == pytest.approx(rank_by_hand(even[::4].double().numpy()), rel=1e-4)
    assert float(effective_rank(torch.eye(32))) == pytest.approx(32.0, rel=1e-5)
    plane = torch.randn(300, 2) @ torch.linalg.qr(torch.randn(64, 2)).Q.T
    assert 1.8 < float(effective_rank(plane)) <= 2.0001
    assert float(mean_cosine(even, even)) == pytest.approx(1.0, abs=1e-5)
    assert float(mean_cosine(even, -even)) == pytest.approx(-1.0, abs=1e-5)


def test_monitors_say_what_is_not_a_number() -> None:
    broken = torch.randn(8, 4)
    broken[2, 1] = torch.inf
    assert torch.isnan(effective_rank(broken))
    assert torch.isnan(feature_std(broken))
    assert float(effective_rank(torch.zeros(8, 4))) == 0


def test_the_guard_is_a_trailing_mean_and_deviation() -> None:
    rng = np.random.default_rng(1)
    losses = rng.normal(2, 0.3, 120)
    losses[[30, 70, 71, 72]] += [9, 3, 3, 3]
    losses[5] += 9  # before the window is full nothing stands out
    guard = SpikeGuard(4.0, window=20)
    held: list[float] = []
    for loss in losses:
        last = np.asarray(held[-20:], np.float32)
        want = len(held) >= 20 and loss > last.mean() + 4.0 * last.std()
        assert bool(guard.judge(torch.tensor(loss))) == want, len(held)
        if not want:
            held.append(float(loss))
    assert len(held) == 116
    assert guard.check(119) == 4


def test_the_guard_gives_up_after_ten_in_a_row_and_remembers_over_a_stop() -> None:
    guard = SpikeGuard(3.0, window=10)
    for at in range(10):
        guard.judge(torch.tensor(1.0 + 0.01 * at))
    for _ in range(9):
        assert guard.judge(torch.tensor(5.0)) == 1
    assert guard.check(18) == 9
    later = SpikeGuard(3.0, window=10)
    later.load_state_dict(guard.state_dict())
    assert later.judge(torch.tensor(5.0)) == 1
    assert later.judge(torch.tensor(1.0)) == 0
    with pytest.raises(DataError, match="10 steps in a row were skipped up to step 20"):
        later.check(20)


def test_what_is_not_finite_is_named_by_its_own_step() -> None:
    watch = NonFiniteCheck()
    for step in range(6):
        watch.note("loss", step, [f"v{step}", "w"], torch.tensor(float("inf") if step == 3 else 1.0))
    with pytest.raises(DataError, match="loss is inf at step 3, in a batch of v3, w: inspect these videos"):
        watch.check()
    watch.check()
    check_weights([torch.ones(3), torch.zeros(2, 2)], 4)
    with pytest.raises(DataError, match="weights are not finite after step 4"):
        check_weights([torch.ones(3), torch.tensor([0.0, torch.nan])], 4)


def test_the_average_follows_its_formula() -> None:
    module = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4))
    average = EMA(module)
    want = {name: value.clone() for name, value in module.state_dict().items()}
    for momentum in (0.9, 0.99925, 0.0, 1.0):
        for parameter in module.parameters():
            parameter.data += torch.randn_like(parameter)
        module(torch.randn(8, 5))
        average.update(module, momentum)
        for name, value in module.state_dict().items():
            moved = momentum * want[name] + (1 - momentum) * value
            want[name] = moved if name.startswith(("0.", "1.weight", "1.bias")) else value.clone()
        for name, value in average.module.state_dict().items():
            assert torch.allclose(value, want[name], atol=1e-6), name
    assert list(average.state_dict()) == [f"module.{name}" for name in module.state_dict()]
    with pytest.raises(ConfigError, match="EMA momentum must be between 0 and 1, got 1.5"):
        average.update(module, 1.5)


def test_the_average_is_deterministic_and_is_not_trained() -> None:
    encoder = VideoViT(ViTConfig(size_px=8, num_frames=4, patch_px=4, dim=16, depth=2, heads=2, drop_path=0.5))
    whole = nn.ModuleDict({"encoder": encoder, "average": EMA(encoder)}).train()
    video = torch.randint(0, 255, (6, 3, 4, 8, 8), dtype=torch.uint8)
    first, again = whole["average"](video), whole["average"](video)
    assert torch.equal(first, again)
    assert not first.requires_grad
    assert not torch.equal(encoder(video), encoder(video))
    assert torch.equal(first, encoder.eval()(video))
    optimizer = build_optimizer(whole.named_parameters(), {}, Optim())
    trained = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert trained == {id(parameter) for parameter in encoder.parameters()}
