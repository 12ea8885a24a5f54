"""Calibration of answers that state a confidence: by plain loops and scikit-learn, from files to the page."""

import csv
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from surgvl.commands.eval import evaluate
from surgvl.core.errors import DataError
from surgvl.core.results import Result
from surgvl.data.manifest import QA, Manifest, VideoRow
from surgvl.metrics.answer import LabelledQuestion
from surgvl.metrics.calibration import calibration_error
from surgvl.tasks.answer_calibration import reliability_of
from surgvl.tasks.answers import Answers
from surgvl.tasks.vqa import Vqa

NAMES = ["duct", "artery", "vein"]
BINS = 15


def slow_ece(confidence: Sequence[float], right: Sequence[bool]) -> float:
    """Row by row, in bins of equal width; a confidence on an edge is in the bin above."""
    bins: dict[int, list[int]] = {}
    for row, value in enumerate(confidence):
        bins.setdefault(min(BINS - 1, int(value * BINS + 1e-12)), []).append(row)
    gaps = [abs(sum(confidence[at] - right[at] for at in rows)) for rows in bins.values()]
    return float(sum(gaps) / len(confidence))


def made(num_rows: int = 240) -> Answers:
    """A model that is surer than right, does not say so everywhere, and is less sure of a black video."""
    rng = np.random.default_rng(3)
    truth = rng.choice(NAMES, num_rows, p=[0.5, 0.3, 0.2]).tolist()
    wrong = [NAMES[NAMES.index(each) - 1] for each in truth]
    sure = rng.random(num_rows) ** 0.3
    said = [a if hit else b for a, b, hit in zip(truth, wrong, rng.random(num_rows) < 0.8 * sure, strict=True)]
    sure[::7] = np.nan
    return Answers(
        video_ids=[f"v{at % 5}" for at in range(num_rows)],
        questions=["Which?"] * num_rows,
        answers=truth,
        types=["target"] * num_rows,
        predictions=said,
        matched=np.ones(num_rows, bool),
        mode="closed",
        controls={"black video": ["duct"] * num_rows, "other video": wrong},
        confidences=sure.tolist(),
        control_confidences={"black video": [0.4] * num_rows, "other video": [np.nan] * num_rows},
    )


def by_metric(results: Sequence[Result]) -> dict[str, Result]:
    return {result.metric: result for result in results}


def test_scores_equal_a_loop_and_scikit_learn() -> None:
    rows = made()
    training = [LabelledQuestion("Which?", name, "target") for name in ("duct", "duct", "vein", "artery", "duct")]
    found = by_metric(Vqa(training).score(rows))
    there = [at for at, each in enumerate(rows.confidences) if not np.isnan(each)]
    sure = [rows.confidences[at] for at in there]
    right = [rows.answers[at] == rows.predictions[at] for at in there]
    assert found["ece"].value == pytest.approx(slow_ece(sure, right), abs=1e-12)
    assert found["brier"].value == pytest.approx(brier_score_loss(right, sure), abs=1e-12)
    for metric in ("ece", "ece_mass", "brier"):
        result = found[metric]
        assert (result.num_clips, result.num_videos) == (len(there), 5)
        assert f"of the {len(there)} of 240 answers that have a confidence" in result.protocol
        assert result.low <= result.value <= result.high
        assert result.baselines["certain"] == pytest.approx(1 - np.mean(right))
        # The other video states none.
        assert list(result.baselines) == ["certain", "black video", "blind", "majority"]
    assert "15 bins" in found["ece"].protocol
    ducts = [each == "duct" for each in rows.answers]
    assert found["brier"].baselines["black video"] == pytest.approx(brier_score_loss(ducts, [0.4] * 240))
    # Three of five training answers are ducts.
    assert found["ece"].baselines["majority"] == pytest.approx(abs(0.6 - np.mean(ducts)))
    assert found["brier"].baselines["blind"] == pytest.approx(brier_score_loss(ducts, [0.6] * 240))
    # By video, as everywhere.
    own = [at for at in there if rows.video_ids[at] == "v2"]
    expected = slow_ece([rows.confidences[at] for at in own], [rows.answers[at] == rows.predictions[at] for at in own])
    assert found["ece"].by_video["v2"] == pytest.approx(expected)
    table = reliability_of(rows)
    assert table is not None
    assert calibration_error(table)[0] == pytest.approx(found["ece"].value)


# ---- from files


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    videos = [
        VideoRow(video_id=f"v{at}", path="", source="made", fps=25, duration_s=60, split=split)  # type: ignore[arg-type]
        for at, split in enumerate(("train", "test", "test"))
    ]
    rows = []
    for video in range(3):
        for second in range(10):
            span: dict[str, Any] = {"video_id": f"v{video}", "start_s": second, "end_s": second + 1}
            rows.append(QA(**span, question="Which?", answer=NAMES[second % 3], type="target"))
            rows.append(QA(**span, question="How many?", answer=str(second % 2), type="number"))
    Manifest(videos, (), rows).save(tmp_path / "manifest")
    return tmp_path / "manifest"


def answers_file(manifest: Path, folder: Path, sure: bool = True, **more: Any) -> list[dict[str, Any]]:
    """Answers of a general model, as `surgvl ask` writes them: every other one is right."""
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    fields = ["video_id", "start_s", "end_s", "question", "answer", "type"]
    for row in Manifest.load(manifest).split("test").qa_table.select(fields).to_pylist():
        typed = row["type"] == "number"
        said = row["answer"] if len(rows) % 4 < 2 else ("7" if typed else "vein")
        how = {
            "matched": True,
            "mode": "typed" if typed else "closed",
            "ablated": "",
            "raw": said,
            "reply": "0",
            "options": NAMES,
        }
        own = {"prediction": said, "confidence": round(float(rng.random()), 6), "seconds": float(len(rows) % 3)}
        rows.append(row | how | own | more)
        if not sure:
            del rows[-1]["confidence"]
    write(folder, rows)
    return rows


def write(folder: Path, rows: Sequence[dict[str, Any]]) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def expected_of(rows: Sequence[dict[str, Any]], kind: str) -> tuple[list[float], list[bool]]:
    own = [row for row in rows if row["type"] == kind and row["prediction"] and row["confidence"] is not None]
    return [row["confidence"] for row in own], [row["answer"] == row["prediction"] for row in own]


@pytest.mark.slow
def test_answers_of_a_file_are_scored_by_type(manifest: Path, tmp_path: Path) -> None:
    rows = answers_file(manifest, tmp_path / "a")
    # Nothing is known of these two: one has no answer, of the other the model does not say.
    first, second, *_ = (row for row in rows if row["type"] == "target")
    first |= {"prediction": "", "matched": False, "outcome": "unparsed"}
    second["confidence"] = None
    write(tmp_path / "a", rows)
    found = by_metric(evaluate(manifest, tmp_path / "eval", answers=tmp_path / "a"))
    for prefix, kind, number in (("", "target", 18), ("number_", "number", 20)):
        sure, right = expected_of(rows, kind)
        assert found[f"{prefix}ece"].num_clips == len(sure) == number
        assert found[f"{prefix}ece"].value == pytest.approx(slow_ece(sure, right))
        assert found[f"{prefix}brier"].value == pytest.approx(brier_score_loss(right, sure))
    page = (tmp_path / "eval" / "result.md").read_text()
    assert "of the 18 of 20 answers that have a confidence" in page
    assert "not measured" not in page


@pytest.mark.slow
def test_answers_of_earlier_versions_are_read_and_their_calibration_is_not_measured(
    manifest: Path, tmp_path: Path
) -> None:
    answers_file(manifest, tmp_path / "a", sure=False)
    found = by_metric(evaluate(manifest, tmp_path / "eval", answers=tmp_path / "a"))
    assert found["accuracy"].value > 0
    assert not [metric for metric in found if "ece" in metric or "brier" in metric]
    page = (tmp_path / "eval" / "result.md").read_text()
    for mode in ("closed", "typed"):
        line = f"- calibration of {mode} answers: not measured (this answerer states no confidence)"
        assert page.count(line) == 1


@pytest.mark.parametrize("value", [1.5, -0.1, "0.5", float("nan")])
def test_a_confidence_is_a_probability(value: Any, manifest: Path, tmp_path: Path) -> None:
    answers_file(manifest, tmp_path / "a", confidence=value)
    with pytest.raises(DataError, match="line 1: .*confidence"):
        evaluate(manifest, tmp_path / "eval", answers=tmp_path / "a")


@pytest.mark.slow
def test_replies_that_are_read_again_keep_the_confidence_of_the_same_answer(manifest: Path, tmp_path: Path) -> None:
    rows = answers_file(manifest, tmp_path / "a")
    plain = by_metric(evaluate(manifest, tmp_path / "plain", answers=tmp_path / "a"))
    again = by_metric(evaluate(manifest, tmp_path / "again", rescore=tmp_path / "a"))
    assert {name: again[name].value for name in ("ece", "brier", "number_ece")} == {
        name: plain[name].value for name in ("ece", "brier", "number_ece")
    }
    # An older reader took the first reply for another answer, which the confidence was of.
    right = next(row for row in rows if row["type"] == "target" and row["prediction"] == row["answer"] == "duct")
    right["prediction"] = "vein"
    write(tmp_path / "a", rows)
    again = by_metric(evaluate(manifest, tmp_path / "other", rescore=tmp_path / "a"))
    assert again["ece"].num_clips == plain["ece"].num_clips - 1
    # A reply that comes too late is no answer that anybody is sure of.
    late = by_metric(evaluate(manifest, tmp_path / "late", answers=tmp_path / "a", protocol=late_after(1)))
    sure = [row for row in rows if row["seconds"] <= 1 and row["type"] == "target"]
    assert late["ece"].num_clips == len(sure)


def late_after(limit_s: float) -> Any:
    from surgvl.commands.eval import EvalConfig

    return EvalConfig(late_after_s=limit_s)


@pytest.mark.slow
def test_replies_of_other_toolkits_may_have_a_column(manifest: Path, tmp_path: Path) -> None:
    rows = Manifest.load(manifest).split("test").qa_table.to_pylist()
    head = ["index", "video", "start", "question", "A", "B", "C", "answer", "prediction", "confidence"]
    sure = [round(0.3 + 0.6 * (at % 11) / 10, 3) for at in range(len(rows))]

    def logged(values: Sequence[object]) -> Path:
        path = tmp_path / "Model_Made.tsv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, delimiter="\t")
            writer.writerow(head)
            for at, (row, value) in enumerate(zip(rows, values, strict=True)):
                options = NAMES if row["type"] == "target" else [""] * 3
                said = "duct" if row["type"] == "target" else "0"
                writer.writerow(
                    [at, row["video_id"], row["start_s"], row["question"], *options, row["answer"], said, value]
                )
        return path

    found = by_metric(evaluate(manifest, tmp_path / "eval", answers=logged(sure)))
    own = [at for at, row in enumerate(rows) if row["type"] == "target"]
    right = [rows[at]["answer"] == "duct" for at in own]
    assert found["brier"].value == pytest.approx(brier_score_loss(right, [sure[at] for at in own]))
    with pytest.raises(DataError, match="row 1 has 7 as confidence, which must be from 0 to 1"):
        evaluate(manifest, tmp_path / "bad", answers=logged([7, *sure[1:]]))


@pytest.mark.slow
def test_a_predictor_without_a_video_is_as_sure_as_its_answer_is_frequent(manifest: Path, tmp_path: Path) -> None:
    found = by_metric(evaluate(manifest, tmp_path / "eval", baselines=True))
    rows = Manifest.load(manifest)
    training = Counter(row.answer for row in rows.split("train").qa if row.type == "target")
    (best, count), *_ = training.most_common()
    right = [row.answer == best for row in rows.split("test").qa if row.type == "target"]
    share = count / training.total()
    assert found["brier"].value == pytest.approx(brier_score_loss(right, [share] * len(right)))
    # The test split has its answers as often.
    assert found["ece"].value == pytest.approx(0, abs=1e-9)
    assert found["ece"].baselines["certain"] == pytest.approx(1 - share)
