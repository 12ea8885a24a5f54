"""Readouts against independent implementations: neighbours, linear probes, temporal convolutions, grids, few shots."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor, nn

from surgvl.core.errors import ConfigError, DataError
from surgvl.core.results import Result
from surgvl.probe import fit
from surgvl.probe.asformer import ASFormer
from surgvl.probe.attentive_blocks import AttentiveBlocks
from surgvl.probe.base import Readout, Sees
from surgvl.probe.causal_transformer import CausalTransformer
from surgvl.probe.choose import few_shot, held_out
from surgvl.probe.config import FewShot, ReadoutTraining
from surgvl.probe.dataset import ProbeData
from surgvl.probe.fit import by_video, device_of, predict, train
from surgvl.probe.knn import KNN
from surgvl.probe.labels import Head, Truth
from surgvl.probe.linear import Linear
from surgvl.probe.loss import head_loss
from surgvl.probe.ms_tcn import MSTCN, change
from surgvl.probe.study import Study, fit_readout, mean_of_draws
from surgvl.probe.tecno import TeCNO, median_frequency

PHASE = Head("phase", "one", ("a", "b", "c"))
TOOL = Head("tool", "many", ("hook", "clipper"))


def clouds(num_clips: int, seed: int, noise: float = 1.0, videos: int = 4) -> ProbeData:
    """Overlapping clouds of tokens, one for each phase, and a tool that shows in another direction."""
    rng = np.random.default_rng(seed)
    phase = rng.integers(0, 3, num_clips)
    tool = (rng.random((num_clips, 2)) < 0.4).astype(np.int64)
    middle = np.zeros((num_clips, 6))
    middle[:, :3], middle[:, 3:5] = 2 * np.eye(3)[phase], 2 * tool
    tokens = (middle + noise * rng.normal(size=middle.shape)).astype(np.float16)[:, None]
    ids = [f"v{number * videos // num_clips}" for number in range(num_clips)]
    return ProbeData(ids, np.arange(num_clips, dtype=np.float64), tokens, {"phase": phase, "tool": tool})


def test_neighbours_vote_as_those_of_scikit_learn() -> None:
    learn, held = clouds(200, 0), clouds(60, 1)
    unknown = learn.truth["phase"].copy()
    unknown[::5] = -1
    readout = KNN(6, [PHASE, TOOL])
    train(readout, learn.tokens, {**learn.truth, "phase": unknown}, Path("unused"), 0, 1, [], [], 0)
    found = predict(readout, held.tokens)

    def weights(distance: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.exp((1 - distance) / 0.07))

    x, y = learn.tokens[:, 0].astype(np.float64), held.tokens[:, 0].astype(np.float64)
    kept = unknown >= 0
    oracle = KNeighborsClassifier(20, metric="cosine", weights=weights, algorithm="brute")
    chances = oracle.fit(x[kept], unknown[kept]).predict_proba(y)
    np.testing.assert_allclose(np.exp(found["phase"]), np.maximum(chances, 1e-6), atol=1e-4)
    for number in range(2):
        chances = oracle.fit(x, learn.truth["tool"][:, number]).predict_proba(y)[:, 1]
        np.testing.assert_allclose(1 / (1 + np.exp(-found["tool"][:, number])), chances, atol=1e-4)
    assert readout.num_trainable() == 0


@pytest.mark.slow
def test_a_linear_probe_is_logistic_regression(tmp_path: Path) -> None:
    learn, held = clouds(300, 0, 2.0), clouds(100, 1, 2.0)
    readout = Linear(6, [PHASE])
    train(readout, learn.tokens, learn.truth, tmp_path, 200, 300, [0.05], [0.0], 0)
    x, y = learn.tokens[:, 0].astype(np.float64), held.tokens[:, 0].astype(np.float64)
    mean, std = x.mean(0), x.std(0)
    oracle = LogisticRegression(C=1e6, max_iter=1000).fit((x - mean) / std, learn.truth["phase"])
    chances = torch.from_numpy(predict(readout, held.tokens)["phase"]).softmax(1).numpy()
    np.testing.assert_allclose(chances, oracle.predict_proba((y - mean) / std), atol=5e-3)


# ---- temporal heads


def tcn_by_hand(readout: MSTCN, x: NDArray[np.float64], causal: bool) -> NDArray[np.float64]:
    """MS-TCN's last stage by loops over clips, from the weights alone. [T, D] -> [T, C]."""
    weights = {name: value.double().numpy() for name, value in readout.state_dict().items()}
    for stage in range(readout.stages):
        own = f"stack.{stage}."
        x = x @ weights[own + "enter.weight"][:, :, 0].T + weights[own + "enter.bias"]
        for layer in range(readout.layers):
            name, apart, out = f"{own}layers.{layer}.", 2**layer, np.zeros_like(x)
            for at in range(len(x)):
                for tap in range(3):
                    seen = at + (tap - 2 if causal else tap - 1) * apart
                    if 0 <= seen < len(x):
                        out[at] += weights[name + "dilated.weight"][:, :, tap] @ x[seen]
            out = np.maximum(out + weights[name + "dilated.bias"], 0)
            x = x + out @ weights[name + "mix.weight"][:, :, 0].T + weights[name + "mix.bias"]
        logits = x @ weights[own + "leave.phase.weight"][:, :, 0].T + weights[own + "leave.phase.bias"]
        x = np.exp(logits - logits.max(1, keepdims=True))
        x /= x.sum(1, keepdims=True)
    return np.asarray(logits)


class SmallTCN(MSTCN):
    """Few layers, so that loops are fast."""

    stages, layers, maps = 2, 3, 5


class SmallTeCNO(TeCNO):
    """The same, causal."""

    stages, layers, maps = 2, 3, 5


@pytest.mark.parametrize(("kind", "causal"), [(SmallTCN, False), (SmallTeCNO, True)])
def test_temporal_convolutions_by_hand(kind: type[MSTCN], causal: bool) -> None:
    torch.manual_seed(0)
    readout = kind(4, [PHASE]).eval()
    tokens = torch.randn(20, 1, 4)
    with torch.no_grad():
        found = readout(tokens)["phase"].double().numpy()
    np.testing.assert_allclose(found, tcn_by_hand(readout, tokens[:, 0].double().numpy(), causal), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [MSTCN, ASFormer, TeCNO, CausalTransformer])
def test_only_offline_heads_see_the_future(kind: type[Readout]) -> None:
    torch.manual_seed(0)
    readout = kind(4, [PHASE, TOOL]).eval()
    for parameter in readout.parameters():
        nn.init.normal_(parameter, std=0.1)
    tokens = torch.randn(40, 1, 4)
    changed = tokens.clone()
    changed[25:] = 0
    with torch.no_grad():
        before, after = readout(tokens), readout(changed)
    for name in ("phase", "tool"):
        moved = (before[name] - after[name]).abs().amax(1) > 1e-6
        assert moved[25:].any()
        assert bool(moved[:25].any()) == (readout.sees == "video"), name


@torch.no_grad()
def test_the_losses_of_temporal_heads_by_formula() -> None:
    torch.manual_seed(0)
    truth = torch.tensor([0, 0, 1, -1, 2, 2])
    logits = torch.randn(6, 3) * 4
    p = logits.softmax(1).log()
    steps = [min(16.0, float(p[at, c] - p[at - 1, c]) ** 2) for at in range(1, 6) for c in range(3)]
    assert float(change(logits)) == pytest.approx(np.mean(steps), rel=1e-5)

    tokens = torch.randn(6, 1, 4)
    plain = SmallTCN(4, [PHASE]).eval()
    known = [0, 1, 2, 4, 5]
    own = [stage["phase"] for stage in plain.all_stages(tokens)]
    expected = sum(-float(each.log_softmax(1)[known, truth[known]].mean()) + 0.15 * float(change(each)) for each in own)
    assert float(plain.loss(tokens, {"phase": truth})) == pytest.approx(expected, rel=1e-5)

    weighted = SmallTeCNO(4, [PHASE]).eval()
    weighted.prepare(tokens.numpy().astype(np.float16), {"phase": truth.numpy()})
    # Counts 2, 1 and 2; their median is 2.
    assert median_frequency(truth.numpy(), 3).tolist() == [1, 2, 1]
    each_weight = torch.tensor([1.0, 2.0, 1.0])
    losses = [
        torch.nn.functional.cross_entropy(stage["phase"][known], truth[known], each_weight)
        for stage in weighted.all_stages(tokens)
    ]
    assert float(weighted.loss(tokens, {"phase": truth})) == pytest.approx(float(sum(losses)) / 2, rel=1e-5)


def test_label_smoothing_and_numbers_in_the_loss() -> None:
    torch.manual_seed(0)
    scores, truth = torch.randn(4, 3), torch.tensor([0, 2, -1, 1])
    kept = [0, 1, 3]
    expected = torch.nn.functional.cross_entropy(scores[kept], truth[kept], label_smoothing=0.1)
    assert float(head_loss(scores, truth, smoothing=0.1)) == pytest.approx(float(expected))
    numbers = torch.tensor([1.0, torch.nan, 3.0])
    assert float(head_loss(torch.tensor([[2.0], [7.0], [1.0]]), numbers)) == pytest.approx((1 + 4) / 2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "steps", "lr"), [pytest.param(TeCNO, 35, 1e-2, marks=pytest.mark.slow), (CausalTransformer, 120, 5e-3)]
)
def test_a_temporal_head_learns_what_one_clip_cannot_tell(
    kind: type[Readout], steps: int, lr: float, tmp_path: Path
) -> None:
    """The class is the sign that was seen last; most clips show none."""

    def videos(num_videos: int, seed: int) -> ProbeData:
        rng = np.random.default_rng(seed)
        phase = np.repeat(rng.permuted(np.tile([0, 1, 2], (num_videos, 1)), axis=1), 10, axis=1)
        signs = np.eye(3)[phase] * (np.arange(30) % 10 == 0)[None, :, None]
        tokens = (4 * signs + 0.1 * rng.normal(size=signs.shape)).reshape(-1, 1, 3).astype(np.float16)
        ids = [f"v{number}" for number in range(num_videos) for _ in range(30)]
        return ProbeData(ids, np.tile(np.arange(30.0), num_videos), tokens, {"phase": phase.ravel()})

    learn, held = videos(12, 0), videos(4, 1)
    torch.manual_seed(0)
    readout = kind(3, [PHASE])
    train(readout, learn.tokens, learn.truth, tmp_path, steps, 1, [lr], [0.0], 0, learn.videos)
    said = predict(readout, held.tokens, held.videos)["phase"].argmax(1)
    assert (said == held.truth["phase"]).mean() > 0.9
    flat = Linear(3, [PHASE])
    train(flat, learn.tokens, learn.truth, tmp_path / "linear", 60, 64, [1e-2], [0.0], 0)
    assert (predict(flat, held.tokens)["phase"].argmax(1) == held.truth["phase"]).mean() < 0.6


@pytest.mark.slow
@pytest.mark.parametrize("sees", ["clip", "video"])
def test_clips_and_videos_without_a_label_are_not_trained_on(sees: Sees, tmp_path: Path) -> None:
    data, shown = clouds(40, 0), set[float]()
    # The second half of the first video has a phase, and so has all of the third one.
    phase = np.where([5 <= at < 10 or 20 <= at < 30 for at in range(40)], data.truth["phase"], -1)
    tokens = np.arange(40, dtype=np.float16)[:, None, None].repeat(6, 2)

    class Noting(Linear):
        def loss(self, tokens: Tensor, truth: Mapping[str, Tensor]) -> Tensor:
            shown.update(tokens[:, 0, 0].tolist())
            return super().loss(tokens, truth)

    Noting.sees = sees
    train(Noting(6, [PHASE]), tokens, {"phase": phase}, tmp_path, 20, 4, [0.01], [0.0], 0, data.videos)
    clips, videos = {*range(5, 10), *range(20, 30)}, {*range(10), *range(20, 30)}
    assert shown == (clips if sees == "clip" else videos)
    with pytest.raises(DataError, match="no training clip has a label of these kinds"):
        train(Linear(6, [PHASE]), tokens, {"phase": 0 * phase - 1}, tmp_path / "none", 1, 4, [0.01], [0.0], 0)


def test_rows_of_videos_in_temporal_order() -> None:
    found = by_video(["b", "a", "b", "a"], np.array([2.0, 5.0, 1.0, 0.0]))
    assert [rows.tolist() for rows in found] == [[3, 1], [2, 0]]


# ---- grids


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Linear, AttentiveBlocks])
def test_a_grid_trains_each_readout_as_if_alone(kind: type[Readout], tmp_path: Path) -> None:
    data = clouds(64, 0)
    lrs, decays = [1e-2, 1e-3], [0.0, 0.5]

    def fresh() -> Readout:
        torch.manual_seed(0)
        return kind(6, [PHASE, TOOL])

    grid, losses = train(fresh(), data.tokens, data.truth, tmp_path / "grid", 3, 16, lrs, decays, 0)
    assert len(losses) == 3
    for number, readout in enumerate(grid):
        given = [lrs[number // 2]], [decays[number % 2]]
        alone = train(fresh(), data.tokens, data.truth, tmp_path / f"{number}", 3, 16, *given, 0)[0][0]
        for name, value in alone.state_dict().items():
            torch.testing.assert_close(readout.state_dict()[name], value, rtol=1e-4, atol=1e-6, msg=name)
    assert not torch.equal(grid[0].state_dict()["heads.tool.weight"], grid[1].state_dict()["heads.tool.weight"])


@pytest.mark.slow
def test_readouts_of_large_clips_are_trained_one_at_a_time_with_the_same_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, seen = clouds(32, 0), list[int]()

    class Counted(AttentiveBlocks):
        def forward(self, tokens: torch.Tensor) -> dict[str, torch.Tensor]:
            seen.append(len(tokens))
            return super().forward(tokens)

    def trained(name: str) -> tuple[list[dict[str, torch.Tensor]], dict[str, NDArray[np.float32]], list[int]]:
        torch.manual_seed(0)
        grid = Counted(6, [PHASE])
        found, _ = train(grid, data.tokens, data.truth, tmp_path / name, 3, 8, [1e-2, 1e-3], [0.1], 0)
        at = len(seen)
        return [each.state_dict() for each in found], predict(found[0], data.tokens), seen[at:]

    plain, said, sizes = trained("plain")
    assert (len(seen), sizes) == (3 * 2 + 1, [32])
    seen.clear()
    monkeypatch.setattr(fit, "LARGE", 24)
    saving, again, sizes = trained("saving")
    # Once more for each gradient, and four clips of six values at a time.
    assert (len(seen), sizes) == (2 * 3 * 2 + 8, [4] * 8)
    for one, other in zip(plain, saving, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)
    np.testing.assert_allclose(again["phase"], said["phase"], atol=1e-6)


@pytest.mark.slow
def test_passes_over_the_training_clips_in_place_of_steps(tmp_path: Path) -> None:
    data = clouds(50, 0)
    given = ReadoutTraining(epochs=2, batch=8)
    # 50 clips in batches of 8, twice; four videos, twice.
    assert fit_readout(Linear, [PHASE], data, None, given.of(Linear), tmp_path / "a", "cpu", 0).how.startswith(
        "14 steps"
    )
    assert fit_readout(TeCNO, [PHASE], data, None, given.of(TeCNO), tmp_path / "b", "cpu", 0).how.startswith("8 steps")
    with pytest.raises(ConfigError, match="--fit.steps 5 and --fit.epochs 2: give one of them"):
        ReadoutTraining(steps=5, epochs=2)


@pytest.mark.slow
def test_a_grid_is_chosen_by_validation_videos_and_never_by_others(tmp_path: Path) -> None:
    learn, held = clouds(200, 0, 0.5), clouds(80, 1, 0.5)
    training = ReadoutTraining(steps=40, batch=50, lr=(1e-6, 1e-1), weight_decay=(0.0,)).of(Linear)

    def chosen(name: str, data: ProbeData, validation: ProbeData | None) -> str:
        return fit_readout(Linear, [PHASE], data, validation, training, tmp_path / name, "cpu", 0).how

    assert "rate 0.1, decay 0, best of 2 by validation videos" in chosen("a", learn, held)
    # Where the labels of the validation videos contradict those of training, the one that learned nothing is better.
    wrong = ProbeData(held.video_ids, held.times_s, held.tokens, {"phase": (held.truth["phase"] + 1) % 3})
    assert "rate 1e-06" in chosen("b", learn, wrong)
    assert "best of 2 by training videos held out (v3)" in chosen("c", learn, None)
    assert held_out([f"v{number}" for number in range(10)]) == ["v4", "v9"]
    with pytest.raises(ConfigError, match="needs a second training video"):
        held_out(["v", "v"])


# ---- few shots


def test_few_shots_are_few() -> None:
    data = clouds(120, 0)
    rows = few_shot(data, [PHASE], 2, 0, 0)
    assert len({data.video_ids[row] for row in rows}) == 2
    assert len(rows) == 60
    rows = few_shot(data, [PHASE], 0, 5, 0)
    assert np.bincount(data.truth["phase"][rows]).tolist() == [5, 5, 5]
    assert rows.tolist() != few_shot(data, [PHASE], 0, 5, 1).tolist()
    assert (data.truth["tool"][few_shot(data, [TOOL], 0, 3, 0)].sum(0) >= 3).all()
    with pytest.raises(ConfigError, match="at most the 4 training videos, got 5"):
        few_shot(data, [PHASE], 5, 0, 0)


@pytest.mark.slow
def test_draws_are_averaged_and_their_spread_is_said(tmp_path: Path) -> None:
    learn, held = clouds(120, 0), clouds(60, 1)
    training = ReadoutTraining(steps=20, batch=8).of(Linear)
    study = Study(Linear, [PHASE, TOOL], training, FewShot(clips=2, draws=3), "made up", 1.0, "cpu", 0)
    outcome = study.run(learn, None, held, tmp_path)
    assert len(outcome.tables) == 3
    own = [float(np.mean(table["phase"])) for table in outcome.tables]
    found = {(result.task, result.metric): result for result in outcome.results}["phase", "accuracy"]
    assert found.value == pytest.approx(np.mean(own))
    assert "2 clips a class, 20 steps of 8 clips" in found.protocol
    assert f"mean of 3 draws, sd {np.std(own, ddof=1):.3f}" in found.protocol
    assert len(set(own)) > 1


def test_a_score_that_a_draw_lacks_has_no_mean() -> None:
    def result(task: str, value: float) -> Result:
        return Result(
            task=task, metric="m", value=value, low=0, high=1, num_videos=2, num_clips=4, baselines={}, protocol="p"
        )

    draws = [[result("a", 0.2), result("b", 0.5)], [result("a", 0.4)]]
    (found,) = mean_of_draws(draws)
    assert found.task == "a"
    assert found.value == pytest.approx(0.3)


def test_runs_of_few_shots_are_compared_by_the_mean_of_their_draws() -> None:
    def result(*by_video: float) -> Result:
        scores = dict(zip("ab", by_video, strict=True))
        return Result(
            task="a", metric="m", value=float(np.mean(by_video)), low=0, high=1, num_videos=2, num_clips=4,
            baselines={}, protocol="p", by_video=scores, drawn=by_video,
        )  # fmt: skip

    (found,) = mean_of_draws([[result(0.2, 0.4)], [result(0.6, 0.4)]])
    assert found.by_video == pytest.approx({"a": 0.4, "b": 0.4})
    assert found.drawn == pytest.approx((0.4, 0.4))


@pytest.mark.slow
def test_every_readout_predicts_what_it_was_asked_for(tmp_path: Path) -> None:
    data = clouds(24, 0)
    truth: Truth = {**data.truth, "skill": np.linspace(-1, 1, 24, dtype=np.float32)}
    heads = [PHASE, TOOL, Head("skill", "number", ("skill",))]
    for kind in (KNN, Linear, AttentiveBlocks, MSTCN, TeCNO, CausalTransformer):
        readout = kind(6, heads)
        train(readout, data.tokens, truth, tmp_path / kind.name, 2, 8, [1e-3], [0.1], 0, data.videos)
        found = predict(readout, data.tokens, data.videos)
        assert {name: values.shape for name, values in found.items()} == {
            "phase": (24, 3),
            "tool": (24, 2),
            "skill": (24, 1),
        }
        assert all(np.isfinite(values).all() for values in found.values()), kind
        assert device_of(readout).type == "cpu"
