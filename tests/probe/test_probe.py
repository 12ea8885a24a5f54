"""Frozen probes: the readout is V-JEPA's, made-up tokens score as they must, and the command measures what it says."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score
from torch import nn

import surgvl.probe
from surgvl.core.errors import CheckpointError, ConfigError, DataError
from surgvl.core.ontology import PARTS, RATED, rated_kind
from surgvl.core.registry import discover
from surgvl.core.results import Result
from surgvl.data.manifest import Manifest, Segment, VideoRow
from surgvl.models.pool import AttentivePool
from surgvl.models.vit import VideoViT
from surgvl.models.vit_config import ViTConfig
from surgvl.probe.attentive import Attentive, FoldedPool
from surgvl.probe.base import Readout
from surgvl.probe.dataset import moments
from surgvl.probe.fit import Rows, predict, train
from surgvl.probe.labels import Head, Truth, heads_of, truth_of, undecided_notes
from surgvl.probe.linear import Linear
from surgvl.probe.loss import loss_of
from surgvl.probe.score import ProbedClips, score, training_of
from surgvl.probe.tokens import encode, num_groups
from surgvl.tasks.calibrated import PROTOCOLS as CALIBRATION
from surgvl.video.clip import Preprocess

HEADS = [Head("phase", "one", tuple("abcdefg")), *(Head(part, "many", names) for part, names in PARTS.items())]
CLASSES = {head.name: head.size for head in HEADS}


def small(num_frames: int, tubelet: int) -> VideoViT:
    """An untrained encoder, frozen."""
    torch.manual_seed(0)
    model = VideoViT(
        ViTConfig(size_px=16, num_frames=num_frames, patch_px=8, tubelet=tubelet, dim=32, depth=1, heads=2)
    )
    return model.eval().requires_grad_(False)


def seconds(num_clips: int) -> NDArray[np.float64]:
    return np.arange(0.5, num_clips, dtype=np.float64)


# ---- readouts


def test_a_new_file_is_a_new_readout() -> None:
    found = discover(surgvl.probe, Readout)
    assert set(found) >= {"attentive", "linear"}
    assert all(kind.__module__ == f"surgvl.probe.{name}" for name, kind in found.items())


def test_the_folded_pool_is_the_pool() -> None:
    torch.manual_seed(0)
    whole, folded = AttentivePool(24, 3), FoldedPool(24, 3)
    for module in whole.modules():
        if isinstance(module, nn.Linear | nn.LayerNorm):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    folded.load_state_dict(whole.state_dict())
    tokens = torch.randn(5, 7, 24) * 3 + 1
    torch.testing.assert_close(folded(tokens), whole(tokens), rtol=1e-4, atol=1e-4)
    for pool in (whole, folded):
        pool(tokens).square().sum().backward()
    for (name, mine), theirs in zip(folded.named_parameters(), whole.parameters(), strict=True):
        assert mine.grad is not None
        assert theirs.grad is not None
        scale = float(theirs.grad.abs().max())
        torch.testing.assert_close(mine.grad / scale, theirs.grad / scale, rtol=0, atol=1e-4, msg=name)


def material(num_clips: int, seed: int) -> tuple[Truth, NDArray[np.int64]]:
    """Random labels of eight videos: a phase, and none to three of each part."""
    rng = np.random.default_rng(seed)
    truth: Truth = {"phase": rng.integers(0, 7, num_clips)}
    for part, names in PARTS.items():
        truth[part] = (rng.random((num_clips, len(names))) < 0.15).astype(np.int64)
    return truth, np.arange(num_clips) * 8 // num_clips


def tokens_of(truth: Truth, dim: int = 48) -> NDArray[np.float16]:
    """Three tokens a clip whose sum holds every label in a direction of its own."""
    directions = np.linalg.qr(np.random.default_rng(0).normal(size=(dim, dim)))[0]
    hot = np.concatenate([np.eye(7)[truth["phase"]], *(truth[part] for part in PARTS)], axis=1)
    signal = 4 * hot @ directions[: hot.shape[1]]
    return np.stack([signal, np.zeros_like(signal), 0 * signal], axis=1).astype(np.float16)


def scored(
    kind: type[Readout], learn: NDArray[np.float16], held_out: NDArray[np.float16], steps: int, out: Path
) -> dict[tuple[str, str], Result]:
    """Train on one set of labels and score another."""
    torch.manual_seed(0)
    readout = kind(learn.shape[2], HEADS)
    train(readout, learn, material(len(learn), 1)[0], out, steps, 64, [1e-2], [0.0], 0)
    truth, videos = material(len(held_out), 2)
    clips = ProbedClips(
        [f"v{video}" for video in videos],
        seconds(len(held_out)),
        truth,
        HEADS,
        {"phase": np.eye(7)[0]},
        "made up",
        1,
        0,
    )
    results = score(clips, predict(readout, held_out))[0]
    return {(result.task, result.metric): result for result in results if result.metric not in CALIBRATION}


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "steps"), [(Linear, 75), pytest.param(Attentive, 120, marks=pytest.mark.slow)])
def test_label_made_tokens_score_one_and_random_ones_chance(kind: type[Readout], steps: int, tmp_path: Path) -> None:
    learn, held_out = tokens_of(material(640, 1)[0]), tokens_of(material(320, 2)[0])
    for result in scored(kind, learn, held_out, steps, tmp_path / "made").values():
        assert result.value > 0.999, result
        assert result.num_videos == 8
        assert result.num_clips == 320
    noise = np.random.default_rng(0).normal(size=(960, 3, 48)).astype(np.float16)
    for result in scored(kind, noise[:640], noise[640:], 20, tmp_path / "noise").values():
        assert abs(result.value - result.baselines["random"]) < 0.08, result


@pytest.mark.slow
def test_training_is_a_function_of_the_seed(tmp_path: Path) -> None:
    truth, tokens = material(96, 1)[0], tokens_of(material(96, 1)[0])

    def losses(name: str, seed: int) -> list[float]:
        torch.manual_seed(0)
        readout = Attentive(48, HEADS)
        return train(readout, tokens, truth, tmp_path / name, 4, 16, [1e-2], [0.05], seed)[1]

    first = losses("a", 0)
    assert len(first) == 4
    assert first == losses("b", 0)
    assert first != losses("c", 1)
    with pytest.raises(ConfigError, match="--fit.lr > 0 .* got 4, 16, 0 and 0.05"):
        train(Linear(48, HEADS), tokens, truth, tmp_path, 4, 16, [0.0], [0.05], 0)
    with pytest.raises(DataError, match="loss is nan"):
        train(Linear(48, HEADS), np.full_like(tokens, np.nan), truth, tmp_path / "nan", 4, 16, [1e-3], [0.05], 0)


def test_every_clip_comes_once_before_any_comes_again() -> None:
    rows = Rows(10, 0)
    drawn = [rows[index]["row"] for index in range(30)]
    assert [sorted(drawn[at : at + 10]) for at in (0, 10, 20)] == [list(range(10))] * 3
    assert drawn[:10] != drawn[10:20]
    assert [Rows(10, 0)[index]["row"] for index in (25, 3)] == [drawn[25], drawn[3]]


def test_the_loss_leaves_out_what_is_not_known() -> None:
    rng = np.random.default_rng(0)
    phase, verb = rng.normal(size=(4, 3)), rng.normal(size=(4, 2))
    answer, many = np.array([2, -1, 0, -1]), np.array([[1, 0], [0, 1], [-1, -1], [1, 1]])
    # By hand: -log softmax of the right class; log(1 + exp(-z)) where asked, log(1 + exp(z)) where not.
    own = [np.log(np.exp(phase[row]).sum()) - phase[row, answer[row]] for row in (0, 2)]
    each = [np.log1p(np.exp(np.where(many[row] == 1, -1, 1) * verb[row])) for row in (0, 1, 3)]
    found = loss_of(
        {"phase": torch.from_numpy(phase), "verb": torch.from_numpy(verb)},
        {"phase": torch.from_numpy(answer), "verb": torch.from_numpy(many)},
    )
    assert float(found) == pytest.approx(np.mean(own) + np.mean(each), rel=1e-9)
    nothing = loss_of({"phase": torch.randn(2, 3)}, {"phase": torch.tensor([-1, -1])})
    assert float(nothing) == 0


# ---- labels and scores


def table_of(rows: list[tuple[str, str, float, str]]) -> Manifest:
    """Videos with labels of one second each, from (video, task, start, label)."""
    videos = [
        VideoRow(video_id=name, path="", source="made up", fps=1.0, duration_s=9.0)
        for name in sorted({row[0] for row in rows})
    ]
    return Manifest(
        videos,
        [Segment(video_id=name, task=task, start_s=at, end_s=at + 1, label=label) for name, task, at, label in rows],
    )


def test_labels_become_numbers() -> None:
    table = table_of(
        [
            ("v", "phase", 0, "b"),
            ("v", "phase", 2, "a"),
            ("v", "triplet", 0, "hook,dissect,gallbladder"),
            ("v", "triplet", 0, "grasper,retract,gallbladder"),
            ("w", "phase", 1, "a"),
            ("v", "skill", 0, "20"),
            ("w", "skill", 0, "30"),
            ("w", "tool", 0, "Hook"),
        ]
    )
    ids, times = ["v", "v", "v", "w"], [0.5, 1.5, 2.5, 0.5]
    heads = heads_of(table)
    assert [head.name for head in heads] == ["phase", "instrument", "verb", "target"]
    truth = truth_of(table, heads, ids, times)
    assert truth["phase"].tolist() == [1, -1, 0, -1]
    named = {part: [names[at] for at in np.flatnonzero(truth[part][0])] for part, names in PARTS.items()}
    assert named == {"instrument": ["grasper", "hook"], "verb": ["retract", "dissect"], "target": ["gallbladder"]}
    assert not truth["verb"][1].any()
    assert (truth["verb"][3] == -1).all()

    more = heads_of(table, ["triplet", "skill", "tool"], {"v"})
    assert [(head.kind, head.size) for head in more] == [("many", 100), ("number", 1), ("many", 1)]
    truth = truth_of(table, more, ids, times)
    assert [int(row.sum()) for row in truth["triplet"]] == [2, 0, 0, -100]
    assert truth["tool"].tolist() == [[-1], [-1], [-1], [1]]
    # Of the training videos alone: 20, whose deviation of 0 is taken as 1.
    assert truth["skill"][[0, 3]].tolist() == [0, 10]
    assert np.isnan(truth["skill"][1])
    # Where a video states which moments were looked at, the others are unknown.
    looked = table_of([("v", "tool", 0, "Hook"), ("v", rated_kind("tool"), 2, RATED), ("w", "tool", 0, "Hook")])
    truth = truth_of(looked, heads_of(looked, ["tool"]), ["v", "v", "v", "w"], [0.5, 1.5, 2.5, 1.5])
    assert truth["tool"].tolist() == [[1], [-1], [0], [0]]
    with pytest.raises(ConfigError, match="--heads step: the manifest has labels of instrument, phase"):
        heads_of(table, ["step"])
    both = table_of([("v", name, 0, label) for name in ("phase", "task") for label in "ab"])
    # Published phases overlap in places: such moments are left out, and counted.
    phase = heads_of(both, ["phase"])
    assert truth_of(both, phase, ["v"], [0.5])["phase"].tolist() == [-1]
    assert undecided_notes(both, phase) == ["1 of 9 moments has two phase labels at once, left out"]
    with pytest.raises(DataError, match="two classes of task"):
        truth_of(both, heads_of(both, ["task"]), ["v"], [0.5])
    both = table_of([("v", "triplet", 3, "saw,cut,bone")])
    with pytest.raises(DataError, match="'saw,cut,bone' is not"):
        truth_of(both, heads_of(both, ["verb"]), ["v"], [3.5])


def test_a_number_is_scored_by_video() -> None:
    head = Head("skill", "number", ("skill",), 20.0, 4.0)
    truth = {"skill": np.array([0, 0, 1, 1, 2, np.nan], np.float32)}
    said = np.array([[0.5], [-0.5], [0], [1], [3], [9]], np.float32)
    known = training_of({"skill": np.array([0, 0, 0, 3, 1, np.nan], np.float32)}, [head], list("dddeff"))
    assert known["skill"].tolist() == [20, 32, 24]
    clips = ProbedClips(list("aabbcc"), seconds(6), truth, [head], known, "made up", 1.0, 0)
    results, tables = score(clips, {"skill": said})
    found = {result.metric: result for result in results}
    # Videos are rated 20, 24 and 28, and said to be 20, 22 and 32.
    assert found["mae"].value == pytest.approx((0 + 2 + 4) / 3)
    # Those of training are 20, 24 and 32.
    assert found["mae"].baselines["median"] == pytest.approx((4 + 0 + 4) / 3)
    assert found["mae"].baselines["mean"] == pytest.approx(np.abs(np.array([20, 24, 28]) - 76 / 3).mean())
    assert found["mae"].by_video == {"a": 0, "b": 2, "c": 4}
    assert found["mae"].num_clips == 5
    assert found["spearman"].value == pytest.approx(1)
    assert tables["skill"] == [[0.0], [2.0], [4.0]]


def test_classes_of_whole_videos_count_once_a_video() -> None:
    """One training video of `cut` has more clips than two of `suture`; three clips of a test video are one decision."""
    head = Head("clip", "one", ("cut", "suture"))
    training = np.array([0] * 9 + [1, 1, 1, 1])
    known = training_of({"clip": training}, [head], [*"a" * 9, *"bbcc"])
    assert known["clip"].tolist() == [1, 2]
    logits = np.array([[0, 5], [1, 0], [1, 0], [2, 0], [0, 2]], np.float32)
    truth = {"clip": np.array([1, 1, 1, 1, 1])}
    clips = ProbedClips(list("xxxyz"), seconds(5), truth, [head], known, "made up", 1.0, 0)
    results, tables = score(clips, {"clip": logits})
    found = {result.metric: result for result in results}
    # Of x the probabilities are averaged: 0.99, 0.27 and 0.27 for `suture`, which is not the class of most clips.
    assert found["accuracy"].by_video == {"x": 1, "y": 0, "z": 1}
    assert tables["clip"] == [[1.0], [0.0], [1.0]]
    assert (found["accuracy"].num_clips, found["accuracy"].baselines["majority"]) == (3, 1)
    assert "majority: suture (the most frequent of the training videos)" in found["accuracy"].protocol


@pytest.mark.slow
def test_probabilities_of_a_probe_are_scored_for_calibration() -> None:
    truth, videos = material(120, 3)
    scores = {name: np.zeros((120, size), np.float32) for name, size in CLASSES.items()}
    clips = ProbedClips([f"v{video}" for video in videos], seconds(120), truth, HEADS, {}, "made up", 1.0, 0)
    found = {(result.task, result.metric): result for result in score(clips, scores)[0]}
    # Equal logits are 1/7 each of the phases, and 1/2 of each verb.
    assert found["phase", "brier"].value == pytest.approx(6 / 7, abs=1e-6)
    assert found["verb", "brier"].value == pytest.approx(1 / 4, abs=1e-6)
    assert found["phase", "ece"].value == pytest.approx(abs((truth["phase"] == 0).mean() - 1 / 7), abs=1e-6)


@pytest.mark.slow
def test_scores_are_video_wise() -> None:
    rng = np.random.default_rng(0)
    truth, videos = material(120, 3)
    truth["phase"][::9] = -1
    truth["verb"][videos == 2] = -1
    scores = {head: rng.normal(size=(120, size)).astype(np.float32) for head, size in CLASSES.items()}
    ids, times = [f"v{video}" for video in videos], seconds(120)
    results, tables = score(ProbedClips(ids, times, truth, HEADS, {"phase": np.eye(7)[3]}, "made up", 1.0, 0), scores)
    found = {(result.task, result.metric): result for result in results}

    known = truth["phase"] >= 0
    hit = scores["phase"].argmax(1) == truth["phase"]
    by_video = [hit[known & (videos == video)].mean() for video in range(8)]
    assert found["phase", "accuracy"].value == pytest.approx(np.mean(by_video))
    assert [row[0] for row in tables["phase"]] == pytest.approx(by_video)
    constant = np.mean([(truth["phase"] == 3)[known & (videos == video)].mean() for video in range(8)])
    assert found["phase", "accuracy"].baselines["majority"] == pytest.approx(constant)

    by_class: dict[int, list[float]] = {}
    prevalence: dict[int, list[float]] = {}
    for video in (0, 1, 3, 4, 5, 6, 7):
        for name in range(CLASSES["verb"]):
            labels = truth["verb"][videos == video, name]
            if labels.any():
                own = float(average_precision_score(labels, scores["verb"][videos == video, name]))
                by_class.setdefault(name, []).append(own)
                prevalence.setdefault(name, []).append(float(labels.mean()))
                assert tables["verb"][video][name] == pytest.approx(own)
            else:
                assert tables["verb"][video][name] is None
    result = found["verb", "mAP_video"]
    assert result.value == pytest.approx(np.mean([np.mean(values) for values in by_class.values()]))
    assert result.baselines["constant"] == pytest.approx(np.mean([np.mean(v) for v in prevalence.values()]))
    assert (result.num_videos, result.num_clips) == (7, 105)
    assert result.low < result.value < result.high
    rows = (truth["verb"] >= 0).all(1)
    pooled = [
        average_precision_score(truth["verb"][rows, name], scores["verb"][rows, name])
        for name in range(CLASSES["verb"])
        if truth["verb"][rows, name].any()
    ]
    assert found["verb", "mAP"].value == pytest.approx(np.mean(pooled))
    assert tables["verb"][2] == [None] * CLASSES["verb"]
    with pytest.raises(DataError, match="no clip has a label"):
        score(
            ProbedClips(ids, times, {head: np.full_like(truth[head], -1) for head in CLASSES}, HEADS, {}, "", 1, 0),
            scores,
        )


def test_clips_lie_around_the_middle_of_each_second() -> None:
    shape = Preprocess(num_frames=4, fps=2.0, size_px=16)
    assert moments(shape, 4.0) == [0.5, 1.5, 2.5, 3.5]
    assert moments(shape.every(2.0), 4.9) == [1.0, 3.0]
    assert moments(shape, 0.6) == [0.3]


# ---- tokens


def test_an_image_encoder_sees_every_frame(tmp_path: Path) -> None:
    image = small(1, 1)
    clips = np.random.default_rng(0).integers(0, 255, (3, 4, 16, 16, 3), np.uint8)
    tokens = encode(image, iter([clips[:2], clips[2:]]), 3, 4, tmp_path / "t.f16")
    assert tokens.shape == (3, 16, 32)
    assert tokens.dtype == np.float16
    with torch.no_grad():
        for clip in range(3):
            for frame in range(4):
                video = torch.from_numpy(clips[clip, frame]).permute(2, 0, 1)[None, :, None]
                own = tokens[clip, 4 * frame : 4 * frame + 4].astype(np.float32)
                # They are told their frame: sine in even columns, cosine in odd ones, of ever longer waves.
                turn = frame / 10000 ** (np.arange(16) / 16)
                when = np.stack([np.sin(turn), np.cos(turn)], 1).ravel()
                np.testing.assert_allclose(own, image(video)[0].numpy() + when, atol=0.06)
    mean = encode(image, iter([clips]), 3, 4, tmp_path / "m.f16", average=True)
    np.testing.assert_allclose(mean[:, 0].astype(float), tokens.mean(1, dtype=float), atol=2e-3)


def test_tokens_take_their_space_before_the_first_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mapped file without it would end the process by a signal where the disk is full."""
    asked: list[int] = []

    def full(handle: int, begin: int, num_bytes: int) -> None:
        asked.append(num_bytes)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    model, clips = small(4, 2), iter([np.zeros((2, 4, 16, 16, 3), np.uint8)])
    with pytest.raises(DataError, match=r"has no room for [\d,]+ bytes \(No space left"):
        encode(model, clips, 2, 4, tmp_path / "t.f16")
    assert asked == [2 * 2 * model.num_tokens * model.dim]
    assert len(list(clips)) == 1


def test_a_video_encoder_sees_whole_clips(tmp_path: Path) -> None:
    model = small(4, 2)
    clips = np.random.default_rng(0).integers(0, 255, (2, 4, 16, 16, 3), np.uint8)
    tokens = encode(model, iter([clips]), 2, 4, tmp_path / "t.f16")
    with torch.no_grad():
        expected = model(torch.from_numpy(clips).permute(0, 4, 1, 2, 3)).numpy()
    np.testing.assert_allclose(tokens.astype(np.float32), expected, atol=0.06)
    with pytest.raises(ConfigError, match="--clip.num_frames must be a multiple of the encoder's 4 frames, got 6"):
        num_groups(model, 6)
    model.load_state_dict({**model.state_dict(), "norm.bias": torch.full((32,), 1e6)})
    with pytest.raises(CheckpointError, match="not finite"):
        encode(model, iter([clips]), 2, 4, tmp_path / "n.f16")
