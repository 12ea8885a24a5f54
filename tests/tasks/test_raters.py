"""Agreement of raters beside scores of the critical view of safety: loops over pairs, and moments that were rated."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from surgvl.commands.eval import evaluate
from surgvl.core.results import Result
from surgvl.data.manifest import Manifest, Segment, VideoRow
from surgvl.tasks.base import Scores
from surgvl.tasks.multi_label import CriticalView

CRITERIA = ("C1", "C2", "C3")


def by_metric(results: list[Result]) -> dict[str, Result]:
    return {result.metric: result for result in results}


@pytest.mark.slow
def test_agreement_and_kappa_equal_loops_over_pairs_of_raters() -> None:
    rng = np.random.default_rng(0)
    met = rng.random((60, 1, 3)) < [0.5, 0.3, 0.1]
    says = np.where(rng.random((60, 3, 3)) < 0.2, ~met, met)
    truth = (says.sum(axis=1) > 1).astype(int)
    raters: list[list[list[str] | None]] = [
        [[name for name, yes in zip(CRITERIA, row, strict=True) if yes] for row in says[:, rater]] for rater in range(3)
    ]
    for rater in raters:  # rows that nobody looked at
        rater[5] = rater[30] = None
    ids = [f"v{at // 20}" for at in range(60)]
    rows = Scores(ids, np.tile(np.arange(20.0), 3), rng.random((60, 3)), CRITERIA)
    order = rng.permutation(60)
    shuffled = Scores([ids[at] for at in order], rows.times_s[order], rows.scores[order], CRITERIA)
    mixed = [[rater[at] for at in order] for rater in raters]
    found = by_metric(CriticalView(truth, raters=raters).score(rows))
    again = by_metric(CriticalView(truth[order], raters=mixed).score(shuffled))
    kept = [at for at in range(60) if at not in (5, 30)]
    observed, chance = [], []
    for k in range(3):
        pairs = [a == b for at in kept for a, b in itertools.combinations(says[at, :, k], 2)]
        every = says[kept, :, k].ravel()
        observed.append(sum(pairs) / len(pairs))
        chance.append(sum(a == b for a in every for b in every) / len(every) ** 2)
    kappas = [(o - c) / (1 - c) for o, c in zip(observed, chance, strict=True)]
    assert found["rater_agreement"].value == pytest.approx(np.mean(observed), abs=1e-12)
    assert found["rater_agreement"].baselines == {"chance": pytest.approx(np.mean(chance), abs=1e-12)}
    assert found["rater_agreement"].per_class == pytest.approx(dict(zip(CRITERIA, observed, strict=True)), abs=1e-12)
    assert found["rater_kappa"].per_class == pytest.approx(dict(zip(CRITERIA, kappas, strict=True)), abs=1e-12)
    assert found["rater_kappa"].value == pytest.approx(np.mean(kappas), abs=1e-12)
    assert found["rater_kappa"].low < found["rater_kappa"].value < found["rater_kappa"].high
    aside = [each.metric for each in found.values() if each.detail]
    assert aside == ["ece", "ece_mass", "brier", "rater_agreement", "rater_kappa"]
    for metric, result in found.items():
        assert again[metric].value == pytest.approx(result.value, abs=1e-12), metric


@pytest.mark.slow
def test_raters_come_from_the_labels_of_rated_moments(tmp_path: Path) -> None:
    """In a at 0 and 5 s two of three raters see C1; b is of a video that only one person labelled."""
    videos = [
        VideoRow(video_id=name, path="", source="made", fps=1, duration_s=10, split="test") for name in ("a", "b")
    ]
    spans = [("a", 0, 10, "cvs_rated", "rated"), ("a", 0, 10, "cvs", "C1"), ("b", 0, 5, "cvs", "C2")]
    spans += [("a", 0, 10, f"cvs_rater_{at}", "C1") for at in (1, 2)]
    spans += [("a", 0, 5, "cvs_rater_3", "C2")]
    segments = [Segment(video_id=v, start_s=s, end_s=e, task=task, label=label) for v, s, e, task, label in spans]
    Manifest(videos, segments).save(tmp_path / "manifest")
    path = tmp_path / "p.csv"
    path.write_text("video,time,C1,C2\na,0,1,0\na,5,1,0\nb,0,0,1\n")
    for given in ({"predictions": [path], "predictions_kind": "cvs"}, {"baselines": True}):
        found = by_metric(evaluate(tmp_path / "manifest", tmp_path / f"out{len(given)}", **given))
        # C1: one of three pairs in both; C2: one of three pairs at 0 s and all at 5 s.
        expected = {"C1": 1 / 3, "C2": (1 / 3 + 1) / 2}
        assert found["rater_agreement"].per_class == pytest.approx(
            expected if "predictions" in given else {"C1": 1 / 3, "C2": 2 / 3}
        )
        assert found["rater_agreement"].by_video == {
            "a": found["rater_agreement"].value,
            "b": pytest.approx(np.nan, nan_ok=True),
        }
