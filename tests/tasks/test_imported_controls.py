"""Controls and latency of replies that other toolkits logged, counted by hand."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from surgvl.commands.eval import EvalConfig, evaluate
from surgvl.core.errors import ConfigError, DataError
from surgvl.core.files import read_json
from surgvl.core.results import Result
from surgvl.tasks.imported_answers import answers_of
from tests.tasks.test_imported_answers import COUNT, HEAD, PHASE, ROWS, jsonl, manifest, sample, table, vlmevalkit

__all__ = ["manifest"]


def scored(folder: Path, out: str, **given: Any) -> dict[str, Result]:
    return {each.metric: each for each in evaluate(folder / "manifest", folder / out, **given)}


def blind(folder: Path) -> Path:
    """Samples of lmms-eval, of a run without a video: wrong, right, right; the number is wrong."""
    prompt = f"{PHASE}\nA. Packaging\nB. Clipping\nC. Retraction\nAnswer with the option's letter."
    rows = [sample(0, prompt, "B", "A"), sample(1, prompt, "A", "A"), sample(2, prompt, "B", "B")]
    return jsonl(folder / "blind.jsonl", [*rows, sample(3, COUNT, "2", "3")])


@pytest.mark.slow
def test_replies_without_a_video_are_the_control_of_those_with_it(manifest: Any, tmp_path: Path) -> None:
    manifest.save(tmp_path / "manifest")
    path, control = vlmevalkit(tmp_path, "tsv"), blind(tmp_path)
    found = scored(tmp_path, "eval", answers=path, controls=[Path(f"no_video:{control}")])
    # One of three phases is right, and two without the video; the number is right, and wrong without.
    assert found["accuracy"].value == pytest.approx(1 / 3)
    assert found["accuracy"].baselines["no video"] == pytest.approx(2 / 3)
    assert found["gain_over_no_video"].value == pytest.approx(-1 / 3)
    assert found["gain_over_no_video"].warning == "no better than no video"
    assert (found["number_accuracy"].value, found["number_accuracy"].baselines["no video"]) == (1, 0)
    record = read_json(tmp_path / "eval" / "run.json")
    assert record["outcomes"]["closed, no video"]["correct"] == 2
    assert record["pretraining_video_ids"] == ["unknown:*"]
    page = (tmp_path / "eval" / "result.md").read_text()
    assert "trained on videos that nobody lists" in page
    # Several controls of one model, and the same by another toolkit.
    black = table(tmp_path / "black.tsv", HEAD, [[*row[:-1], "C"] for row in ROWS[:3]])
    both = [Path(f"no_video:{control}"), Path(f"black:{black}")]
    found = scored(tmp_path, "both", answers=path, controls=both)
    assert found["accuracy"].baselines["no video"] == pytest.approx(2 / 3)
    assert found["accuracy"].baselines["black video"] == 0


def test_what_a_control_must_say(manifest: Any, tmp_path: Path) -> None:
    manifest.save(tmp_path / "manifest")
    path, control = vlmevalkit(tmp_path, "tsv"), blind(tmp_path)
    with pytest.raises(ConfigError, match="no row says what was shown .* give one of no_video:.*, black:.*, other:"):
        scored(tmp_path, "a", answers=path, controls=[control])
    with pytest.raises(DataError, match="holds closed answers with no video, but no file those with the right video"):
        scored(tmp_path, "b", answers=Path(f"no_video:{control}"))
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "answers.jsonl").write_text("")
    with pytest.raises(ConfigError, match="say themselves what was shown: leave no_video: out"):
        answers_of(Path(f"no_video:{tmp_path / 'own'}"), manifest, "test")
    with pytest.raises(ConfigError, match="has replies that VLMEvalKit logged: give --manifest"):
        answers_of(path, None, "test")


def timed(folder: Path, seconds: Sequence[object]) -> Path:
    rows = [[*row, each] for row, each in zip(ROWS, seconds, strict=True)]
    return table(folder / "timed.tsv", [*HEAD, "seconds"], rows)


@pytest.mark.slow
def test_late_replies_are_counted_where_the_file_has_times(manifest: Any, tmp_path: Path) -> None:
    manifest.save(tmp_path / "manifest")
    path = timed(tmp_path, [1.5, 9, "", 3])
    late = scored(tmp_path, "late", answers=path, protocol=EvalConfig(late_after_s=2))
    assert late["accuracy"].value == pytest.approx(1 / 3)
    assert late["late_rate"].value == late["missing_rate"].value == pytest.approx(1 / 3)
    assert late["number_accuracy"].value == 0
    page = (tmp_path / "late" / "result.md").read_text()
    assert "- latency of timed.tsv: told of 3 of its 3 replies" in page
    line = next(line for line in page.splitlines() if "5.25 s" in line)
    # The median of 1.5 and 9 s, 95 % of the way between them, and the longest.
    assert [cell.strip() for cell in line.split("|")[1:-1]] == ["closed", "2", "5.25 s", "8.62 s", "9.00 s", "1"]
    assert "late_rate" not in scored(tmp_path, "plain", answers=path)
    with pytest.raises(DataError, match="row 2 has -1 as seconds, which must be at least 0"):
        answers_of(timed(tmp_path, [1, -1, 1, 1]), manifest, "test")


@pytest.mark.slow
def test_a_file_without_times_says_so(manifest: Any, tmp_path: Path) -> None:
    manifest.save(tmp_path / "manifest")
    path = vlmevalkit(tmp_path, "tsv")
    scored(tmp_path, "eval", answers=path)
    page = (tmp_path / "eval" / "result.md").read_text()
    assert "- latency of Qwen_Made.tsv: not logged by VLMEvalKit, so no reply counts as late" in page
    with pytest.raises(DataError, match="does not say how long replies took: add a column `seconds`, or leave --late"):
        scored(tmp_path, "late", answers=path, protocol=EvalConfig(late_after_s=2))
