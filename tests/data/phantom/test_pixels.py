"""The phantom's pictures: verbs show only in motion, phases only in actions, and boxes lie on the tools."""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from surgvl import video
from surgvl.core.ontology import INSTRUMENTS, VERBS
from surgvl.data.phantom.render import Renderer, render
from surgvl.data.phantom.scene import VERB_HZ, deviation, pose, tip_box, tip_in_image
from surgvl.data.phantom.script import script as written
from surgvl.data.phantom.write import write_video

# Several tests look for one that has what they need.
script = cache(written)


def _accuracy(
    features: npt.NDArray[np.float64], labels: npt.NDArray[Any], groups: npt.NDArray[Any], folds: int = 4
) -> float:
    """Accuracy of a linear classifier on groups it was not fitted to."""
    right = 0
    for fold in range(folds):
        held = groups % folds == fold
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.02, max_iter=300))
        right += int((model.fit(features[~held], labels[~held]).predict(features[held]) == labels[held]).sum())
    return right / len(labels)


def test_verbs_differ_in_two_frequencies() -> None:
    rates = list(VERB_HZ.values())
    assert tuple(VERB_HZ) == VERBS
    assert max(map(max, rates)) <= 1.6
    for at, one in enumerate(rates):
        for other in rates[:at]:
            assert sum(abs(a - b) > 0.45 for a, b in zip(one, other, strict=True)) >= 2


@pytest.mark.slow
def test_one_frame_pose_follows_one_law() -> None:
    """Kolmogorov-Smirnov against the arcsine law, one time per action, for every verb and degree of freedom."""
    rng = np.random.default_rng(0)
    swings: dict[str, list[npt.NDArray[np.float64]]] = {verb: [] for verb in VERBS}
    for seed in range(8):
        for index in range(36):
            for action in script(seed, index).actions:
                time = rng.uniform(action.start_s, action.end_s)
                swings[action.verb].append(deviation(action, [time])[0])
    for verb, rows in swings.items():
        values = np.array(rows)
        assert len(values) > 100, verb
        for column in values.T:
            assert stats.kstest(column, lambda x: 0.5 + np.arcsin(x) / math.pi).pvalue > 1e-3, verb
        # Independent of one another too: the law of a frame is the product.
        correlation = np.asarray(np.corrcoef(values.T))[np.triu_indices(3, 1)]
        assert np.abs(correlation).max() < 4.5 / math.sqrt(len(values)), verb


def test_pose_is_the_deviation() -> None:
    action = next(a for a in script(0, 0).actions if a.verb == "dissect" and a.end_s - a.start_s > 3)
    times = np.arange(action.start_s + 0.5, action.end_s - 0.5, 0.1)
    tips = np.array([pose(action, float(time))[:2] for time in times])
    along = np.subtract((action.x, action.y), (action.port_x, action.port_y))
    along = along / np.linalg.norm(along)
    offsets = tips - (action.x, action.y)
    expected = deviation(action, times)
    np.testing.assert_allclose(offsets @ along, 0.075 * expected[:, 0], atol=1e-9)
    np.testing.assert_allclose(offsets @ [-along[1], along[0]], 0.07 * expected[:, 1], atol=1e-9)
    np.testing.assert_allclose([pose(action, float(time)).jaw for time in times], expected[:, 2], atol=1e-9)


@pytest.mark.slow
def test_verb_shows_in_motion_and_not_in_a_frame() -> None:
    """Matched scenes that differ in the verb alone, at random phases, read by a linear classifier from 40 px frames."""
    rng = np.random.default_rng(5)
    base = script(0, 0)
    pattern = next(a for a in base.actions if a.instrument == "hook" and a.target == "gallbladder")
    still = replace(base, actions=(), events=())
    renderer = Renderer(still, 40)
    frames, verbs = [], []
    for number in range(300):
        verb = ("dissect", "coagulate")[number % 2]
        phi = rng.uniform(0, 2 * math.pi, 3)
        action = replace(
            pattern, verb=verb, start_s=0.0, end_s=30.0, x=0.5, y=0.55, rotation_rad=0.3, phi_axial=float(phi[0]),
            phi_lateral=float(phi[1]), phi_jaw=float(phi[2]),
        )  # fmt: skip
        renderer.scene = replace(still, actions=(action,))
        start = float(rng.uniform(1, 25))
        frames.append([renderer.frame(start + k / 4)[::2, ::2].mean(axis=2) for k in range(8)])
        verbs.append(number % 2)
    clips = np.array(frames).reshape(300, 8, -1)
    labels, groups = np.array(verbs), np.arange(300) // 2
    one_frame = _accuracy(clips[:, 3], labels, groups)
    spectrum = np.abs(np.fft.rfft(clips - clips.mean(axis=1, keepdims=True), axis=1)).mean(axis=2)
    spectrum /= spectrum.sum(axis=1, keepdims=True)
    differences = np.stack([np.abs(clips[:, lag:] - clips[:, :-lag]).mean(axis=1) for lag in (1, 2, 3)], axis=1)
    moving = _accuracy(np.concatenate([spectrum, differences.reshape(300, -1)], axis=1), labels, groups)
    print(f"dissect or coagulate, chance 0.50: one frame {one_frame:.3f}, two seconds at 4 fps {moving:.3f}")
    assert abs(one_frame - 0.5) < 0.1
    assert moving > 0.8


@pytest.mark.slow
def test_verb_does_not_show_in_a_decoded_frame(tmp_path: Path) -> None:
    """Video coding must not undo it: the fastest verb against the idle one, single frames of the written film."""
    rng = np.random.default_rng(6)
    base = script(0, 0)
    pattern = next(a for a in base.actions if a.instrument == "hook" and a.target == "gallbladder")
    still = replace(base, actions=(), events=())
    renderer = Renderer(still, 48)
    verbs = rng.integers(0, 2, 280)

    def frames() -> Iterator[npt.NDArray[np.uint8]]:
        for number, verb in enumerate(verbs):
            phi = rng.uniform(0, 2 * math.pi, 3)
            action = replace(
                pattern,
                verb=("null_verb", "cut")[verb],
                start_s=number - 5.0,
                end_s=number + 10.0,
                x=0.5,
                y=0.55,
                phi_axial=float(phi[0]),
                phi_lateral=float(phi[1]),
                phi_jaw=float(phi[2]),
            )
            renderer.scene = replace(still, actions=(action,))
            for k in range(5):
                yield renderer.frame(number + k / 10)

    write_video(tmp_path / "film.mp4", frames(), 10)
    shown = [frame for _, frame in video.stream(tmp_path / "film.mp4", 10, 48)][4::5]
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32) for frame in shown]
    sharpness = [cv2.resize(np.abs(cv2.Laplacian(g, cv2.CV_32F)), (8, 8), interpolation=cv2.INTER_AREA) for g in grey]
    features = np.array([np.append(cv2.resize(g, (12, 12)), s) for g, s in zip(grey, sharpness, strict=True)])
    decoded = _accuracy(features.astype(np.float64), verbs, np.arange(280))
    print(f"idle or cut, chance 0.50: one decoded frame {decoded:.3f}")
    assert abs(decoded - 0.5) < 0.1


@pytest.mark.slow
def test_phase_does_not_show_in_global_cues() -> None:
    """Colour statistics of whole frames, leave-video-out: without the actions they must be at the majority's level."""
    phases, bare, full, groups = [], [], [], []
    for index in range(12):
        scene = script(1, index)
        # Background, light and events do not depend on the actions, and are most of the work of a renderer.
        renderer = Renderer(scene, 32)
        for second in range(0, 90, 3):
            renderer.scene = scene
            with_tools = renderer.frame(second + 0.5).reshape(-1, 3).astype(np.float64)
            renderer.scene = replace(scene, actions=())
            without = renderer.frame(second + 0.5).reshape(-1, 3).astype(np.float64)
            full.append(np.concatenate([with_tools.mean(0), with_tools.std(0)]))
            bare.append(np.concatenate([without.mean(0), without.std(0)]))
            phases.append(scene.phase_at(second + 0.5).name)
            groups.append(index)
    labels, videos = np.array(phases), np.array(groups)
    majority = max(Counter(phases).values()) / len(phases)
    without_tools = _accuracy(np.array(bare), labels, videos)
    with_tools_too = _accuracy(np.array(full), labels, videos)
    print(f"phase from colours: majority {majority:.3f}, tissue alone {without_tools:.3f}, all {with_tools_too:.3f}")
    assert without_tools < majority + 0.06
    assert with_tools_too < majority + 0.2


@pytest.mark.slow
def test_frames_are_a_function_of_time() -> None:
    scene = script(0, 3, duration_s=20.0)
    whole = list(render(scene, 32, fps=5, end_s=4.0))
    part = list(render(scene, 32, fps=5, start_s=2.0, end_s=4.0))
    assert len(whole) == 20
    assert whole[0].shape == (32, 32, 3)
    assert whole[0].dtype == np.uint8
    for a, b in zip(whole[10:], part, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
@pytest.mark.parametrize("instrument", INSTRUMENTS)
def test_tool_changes_the_picture_where_its_box_is(instrument: str) -> None:
    scene = next(s for s in (script(0, k) for k in range(36)) if any(a.instrument == instrument for a in s.actions))
    found = next(a for a in scene.actions if a.instrument == instrument)
    action = replace(found, x=0.5, y=0.5)
    time = (action.start_s + action.end_s) / 2
    alone = replace(scene, actions=(action,), events=())
    change = np.abs(
        Renderer(alone, 64).frame(time).astype(int) - Renderer(replace(alone, actions=()), 64).frame(time).astype(int)
    ).sum(axis=2)
    box = tip_box(scene.style, action, time)
    assert box is not None
    x, y, width, height = (round(value * 64) for value in box)
    assert change[y : y + height, x : x + width].mean() > 4 * max(1.0, np.median(change))
    tip_x, tip_y = tip_in_image(scene.style, action, time)
    assert box[0] <= tip_x <= box[0] + box[2]
    assert box[1] <= tip_y <= box[1] + box[3]


@pytest.mark.slow
def test_out_of_body_shows_no_tool_and_has_no_label() -> None:
    scene = next(s for s in (script(0, k) for k in range(36)) if any(e.kind == "out_of_body" for e in s.events))
    event = next(e for e in scene.events if e.kind == "out_of_body")
    middle = (event.start_s + event.end_s) / 2
    assert scene.active(middle) == ()
    bare = replace(scene, actions=())
    np.testing.assert_array_equal(Renderer(scene, 32).frame(middle), Renderer(bare, 32).frame(middle))
