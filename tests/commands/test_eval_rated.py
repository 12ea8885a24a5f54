"""`eval --predictions` on data sets of which only some moments were annotated: the rest is not scored as negative."""

from pathlib import Path

import pytest

from surgvl.commands.eval import evaluate
from surgvl.core.results import Result
from tests.helpers.label_files import put

HEAD = "vid,frame,C1,C2,C3,cvs_annotator_1,cvs_annotator_2,cvs_annotator_3\n"


def rating(video: int, second: int, *met: int) -> str:
    cell = f'"{[float(each) for each in met]}"'
    return f"{video},{second * 25},{','.join(str(float(each)) for each in met)},{cell},{cell},{cell}\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two test videos, rated at 10 s and 15 s and, after a pause, at 60 s; one of them never with a criterion met."""
    rows = [rating(170, 10, 1, 0, 0), rating(170, 15, 0, 1, 1), rating(170, 60, 0, 0, 0)]
    rows += [rating(171, second, 0, 0, 0) for second in (10, 15, 60)]
    put(tmp_path / "endoscapes" / "all_metadata.csv", HEAD + "".join(rows))
    return tmp_path / "endoscapes"


def score(root: Path, tmp_path: Path, rows: dict[tuple[int, int], tuple[float, float, float]]) -> dict[str, Result]:
    lines = [f"{video},{second},{','.join(map(str, scores))}" for (video, second), scores in rows.items()]
    path = put(tmp_path / "pred.csv", "video,time,C1,C2,C3\n" + "\n".join(lines) + "\n")
    found = evaluate(Path(f"endoscapes_cvs:{root}"), tmp_path / "out", predictions=[path], predictions_kind="cvs")
    return {result.metric: result for result in found}


def test_moments_that_nobody_rated_are_left_out(root: Path, tmp_path: Path) -> None:
    rows = {(170, 10): (0.9, 0.1, 0.1), (170, 15): (0.1, 0.9, 0.9)}
    rows |= {(video, second): (0.0, 0.0, 0.0) for video, second in ((170, 60), (171, 10), (171, 15), (171, 60))}
    # High scores between the ratings would ruin the precision if they counted as wrong.
    rows |= {(video, second): (1.0, 1.0, 1.0) for video in (170, 171) for second in range(20, 60)}
    found = score(root, tmp_path, rows)
    mean = next(result for name, result in found.items() if name == "mAP")
    assert mean.value == pytest.approx(1.0)
    assert (mean.num_videos, mean.num_clips) == (2, 6)
    assert "80 of 86 predictions are of moments without a cvs label, left out" in mean.warning


def test_a_rating_of_no_criterion_counts(root: Path, tmp_path: Path) -> None:
    rows = {(170, 10): (0.9, 0.1, 0.1), (170, 15): (0.1, 0.9, 0.9), (171, 10): (0.95, 0.0, 0.0)}
    found = score(root, tmp_path, rows)
    # C1 is ranked second of three, C2 and C3 first.
    assert found["mAP"].value == pytest.approx((0.5 + 1 + 1) / 3)
    assert found["mAP"].num_clips == 3
