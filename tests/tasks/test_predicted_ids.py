"""Predictions as SurgVISTA's and SurgRec's code writes them: small files of their forms, scored by hand."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from surgvl.core.errors import DataError
from surgvl.core.ontology import CHOLEC80_PHASES, TRIPLET_NAMES
from surgvl.core.predictions import Predictions, read_predictions
from surgvl.data.manifest import Manifest, Segment, VideoRow
from surgvl.metrics.average_precision import average_precision
from surgvl.tasks.base import LabelledScores
from surgvl.tasks.phase import Phase
from surgvl.tasks.predicted import Predicted
from surgvl.tasks.video_class import Clip

KINDS = ("clip", "skill_class", "phase", "triplet", "tool")
PUBLISHED: Mapping[tuple[str, str], Sequence[str]] = {
    ("phase", "made"): CHOLEC80_PHASES,
    ("triplet", "made"): TRIPLET_NAMES,
}
PHASES = {"video41": (0, 0, 2, 2), "video42": (0, 1, 1)}


def made(labels: Mapping[str, Sequence[Sequence[str]]], kind: str, source: str = "made") -> Manifest:
    """Test videos with the labels of each second."""
    videos = [
        VideoRow(video_id=name, path="", source=source, fps=25, duration_s=len(each), split="test")
        for name, each in labels.items()
    ]
    segments = [
        Segment(video_id=name, start_s=second, end_s=second + 1, task=kind, label=label)
        for name, each in labels.items()
        for second, here in enumerate(each)
        for label in here
    ]
    return Manifest(videos, segments)


@pytest.fixture
def phases() -> Manifest:
    return made({name: [[CHOLEC80_PHASES[at]] for at in each] for name, each in PHASES.items()}, "phase")


def predicted(path: Path, manifest: Manifest, fps: float | None = None) -> Predicted:
    files: list[tuple[Path, Predictions]] = [(path, read_predictions(path, fps))]
    return Predicted(files, manifest, "test", KINDS, lambda kind, dataset: PUBLISHED.get((kind, dataset), ()))


def only(path: Path, manifest: Manifest, kind: str, fps: float | None = None) -> LabelledScores:
    [group] = predicted(path, manifest, fps).clips(kind)
    return group


def truth_of(group: LabelledScores) -> list[int]:
    return [list(group.scores.class_names).index(each[0]) for each in group.labels]


def logits(label: int, num_classes: int = 7) -> list[float]:
    return [4.0 if at == label else -0.5 for at in range(num_classes)]


def surgvista(folder: Path, wrong: Mapping[tuple[str, int], int], spelt: str = "{}") -> Path:
    """The files of two processes, which share the seconds in turn; the second repeats one, so that both have four."""
    lines = [
        f"{number} {spelt.format(video)} {second} {logits(wrong.get((video, second), label))} {label}"
        for number, (video, second, label) in enumerate(
            (video, second, label) for video, each in PHASES.items() for second, label in enumerate(each)
        )
    ]
    for rank, own in enumerate((lines[::2], [*lines[1::2], lines[0]])):
        (folder / f"{rank}.txt").write_text("\n".join(["87.5, 100.0", *own]) + "\n")
    (folder / "log.txt").write_text("{}\n")
    return folder


def test_surgvista_phases_of_two_processes(phases: Manifest, tmp_path: Path) -> None:
    folder = surgvista(tmp_path, {("video41", 2): 5})
    group = only(folder, phases, "phase")
    assert len(group.labels) == 7
    results = {each.metric: each for each in Phase(truth_of(group)).score(group.scores)}
    # Three of four seconds, and three of three.
    assert results["accuracy"].value == pytest.approx((3 / 4 + 1) / 2)
    assert results["accuracy_pooled"].value == pytest.approx(6 / 7)
    row = group.scores.scores[0]
    assert row.sum() == pytest.approx(1)
    assert row[0] / row[1] == pytest.approx(np.exp(4.5), rel=1e-4)


def test_frames_count_at_the_given_rate_and_a_number_names_a_video(phases: Manifest, tmp_path: Path) -> None:
    (tmp_path / "0.txt").write_text(f"0 41 0 {logits(0)} 0\n1 41 4 {logits(2)} 2\n")
    group = only(tmp_path / "0.txt", phases, "phase", fps=2)
    assert group.scores.times_s.tolist() == [0, 2]
    assert set(group.scores.video_ids) == {"video41"}


def test_another_truth_than_the_manifest_stops_the_evaluation(phases: Manifest, tmp_path: Path) -> None:
    folder = surgvista(tmp_path, {})
    late = made(
        {name: [[CHOLEC80_PHASES[at]] for at in (each[0], *each[:-1])] for name, each in PHASES.items()}, "phase"
    )
    first = "the first: video41 at 2 s is ClippingCutting in the file, Preparation in the manifest"
    with pytest.raises(DataError, match=f"the truth of 2 of 7 rows is not that of the manifest, {first}"):
        predicted(folder, late)


def test_surgvista_triplets_have_a_list_as_their_truth(tmp_path: Path) -> None:
    there = [(0, 17), (17,), (), (99,)]
    manifest = made({"VID92": [[TRIPLET_NAMES[at] for at in each] for each in there]}, "triplet")
    generator = np.random.default_rng(0)
    scores = generator.normal(size=(4, 100)).round(3)
    lines = [
        f"{second} VID92 {second} {scores[second].tolist()} {[int(at in each) for at in range(100)]}"
        for second, each in enumerate(there)
    ]
    (tmp_path / "0.txt").write_text("\n".join(lines) + "\n")
    group = only(tmp_path, manifest, "triplet")
    np.testing.assert_allclose(group.scores.scores, scores, atol=1e-6)
    truth = np.array([[name in each for name in TRIPLET_NAMES] for each in group.labels])
    flags = np.zeros((4, 100), bool)
    for second, each in enumerate(there):
        flags[second, list(each)] = True
    np.testing.assert_array_equal(average_precision(truth, group.scores.scores), average_precision(flags, scores))


@pytest.mark.parametrize("kind", ["clip", "skill_class"])
def test_surgrec_clips_average_their_crops_and_take_names_from_the_label_map(kind: str, tmp_path: Path) -> None:
    names = ("Cleaning", "Packaging", "Preparation")
    clips = {"x/case_1_a.mp4": 2, "x/case_1_b.mp4": 1, "x/case_2.5_c.mp4": 0}
    manifest = made({name: [[names[at]]] for name, at in clips.items()}, kind)
    (tmp_path / "0.txt").write_text(
        "50.0, 100.0\n"
        # Softmax of the crops: .12 and .95 for the first of two classes that differ, so it wins.
        "case_1_a [0.0, -9.0, 2.0] 2 0 0\n"
        "case_1_a [3.0, -9.0, 0.0] 2 0 1\n"
        "case_1_b [0.0, 1.0, 0.0] 1 0 0\n"
        "case_1_b [9.0, 1.0, 0.0] 1 0 0\n"  # a repeated crop counts once
        "case_2 [1.0, 0.5, 0.0] 0 0 0\n"
    )
    with pytest.raises(DataError, match=r"its 3 classes fit no kind of label of made .* put the label_map.json"):
        predicted(tmp_path, manifest)
    (tmp_path / "label_map.json").write_text(json.dumps({name: at for at, name in enumerate(names)}))
    group = only(tmp_path, manifest, kind)
    said = dict(zip(group.scores.video_ids, group.scores.scores.argmax(axis=1).tolist(), strict=True))
    assert said == {"x/case_1_a.mp4": 0, "x/case_1_b.mp4": 1, "x/case_2.5_c.mp4": 0}
    results = {each.metric: each for each in Clip(truth_of(group)).score(group.scores)}
    assert results["accuracy"].value == pytest.approx(2 / 3)
    assert "edit" not in results
    assert "share of videos" in results["accuracy"].protocol


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"0.txt": "", "2.txt": ""}, "lacks 1.txt: it needs the file of each process"),
        ({"log.txt": ""}, "lacks 0.txt"),
        ({"0.txt": "", "20260101.txt": ""}, "lacks 1.txt"),
        ({"0.txt": "1, 2\n"}, "has no predictions"),
        ({"0.txt": "0 video41 0 [1.0, 0.0] 0\n0 video41"}, "0.txt, line 2 is not a prediction"),
        ({"0.txt": "0 video41 0 [1.0, x] 0\n"}, "0.txt, line 1 is not a prediction"),
        ({"0.txt": "0 video41 0 [1.0, nan] 0\n"}, "line 1: scores must be finite"),
        ({"0.txt": "0 video41 0 [1.0, 0.0] 2\n"}, "line 1: 2 scores for true class 2"),
        ({"0.txt": "0 a 0 [1.0, 0.0] 0\n1 a 1 [1.0] 0\n"}, "must have one form and 2 classes, got '1 a 1'"),
        ({"0.txt": "a [1.0, 0.0] 0 0 0\na [1.0, 0.0] 1 0 1\n"}, "'a' has two true classes"),
        ({"0.txt": "a [1.0, 0.0] 0 0 0\n1 a 1 [1.0, 0.0] 1\n"}, "all be moments of videos, or all be clips"),
    ],
)
def test_files_that_do_not_fit_are_refused(files: Mapping[str, str], message: str, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        read_predictions(tmp_path)


def test_a_table_as_text_stays_a_table(tmp_path: Path) -> None:
    path = tmp_path / "p.txt"
    path.write_text("video\ttime\tlabel\na\t0\topen [left]\n")
    found = read_predictions(path)
    assert (list(found.class_names), found.hard, found.by_id) == (["open [left]"], True, False)
