"""The table of published numbers holds facts with their places, and no score is called comparable without them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from surgvl.bench.published import COLUMNS, Published, Setting, about, against, differences, published, read_published
from surgvl.cli import main as cli
from surgvl.core.errors import ConfigError, DataError
from surgvl.core.results import Result, write_results
from surgvl.core.video_scores import write_video_scores

KNOWN = Published("Model", "arXiv 1", "cholec80", "phase", "accuracy", 0.9, "frozen", "standard", "validation", "T", "")
OURS = Setting("cholec80", "phase", "standard", "frozen")


def score(metric: str, value: float) -> Result:
    protocol = "test split"
    return Result(
        task="phase", metric=metric, value=value, low=0.1, high=0.9, num_videos=2, num_clips=9, baselines={},
        protocol=protocol,
    )  # fmt: skip


def test_every_number_has_its_place_and_its_range() -> None:
    assert len(published()) > 300
    for number in published():
        assert number.where
        assert number.paper.startswith("arXiv ")
        assert number.encoder in ("frozen", "fine-tuned", "zero-shot", "not stated")
        assert number.selected_on in ("validation", "test", "none", "not stated")
        errors = number.metric in ("mae", "rmse", "abs_rel", "sq_rel")
        assert number.value > 0
        assert errors or number.value <= 1, number


def test_cells_that_equal_a_constant_class_say_so() -> None:
    # Of SurgRec's table: 8 of 51 test clips of Cataract-21 are of one class, and all seven models have that number.
    cells = [each for each in about("cataract21", "clip") if each.split == "surgrec_clips"]
    assert len(cells) == 7
    assert {each.value for each in cells} == {round(8 / 51, 4)}
    assert all("constant class" in each.note for each in cells)


def test_a_number_is_comparable_only_if_all_facts_are_the_same() -> None:
    assert differences(KNOWN, OURS) == []
    for field, value, reason in (
        ("split", "camma", "split camma, ours standard"),
        ("split", "not stated", "split theirs not stated"),
        ("encoder", "fine-tuned", "encoder fine-tuned, ours frozen"),
        ("selected_on", "test", "selected on the test videos"),
        ("selected_on", "not stated", "what it was selected on is not stated"),
        ("note", "12 of 14 steps are kept", "12 of 14 steps are kept"),
    ):
        changed: dict[str, Any] = {field: value}
        assert differences(replace(KNOWN, **changed), OURS) == [reason]
    assert differences(KNOWN, replace(OURS, split="")) == ["split ours not stated"]
    assert differences(KNOWN, replace(OURS, part="half")) == ["half"]


def test_scores_stand_beside_numbers_of_the_same_metric_only() -> None:
    text = against([(OURS, "linear of mae", score("accuracy", 0.5)), (OURS, "linear of mae", score("edit", 0.4))])
    rows = [line for line in text.splitlines() if "SurgMotion" in line]
    assert len(rows) == 1
    assert "0.9105" in rows[0]
    assert "no: selected on the test videos" in rows[0]
    assert "edit" not in text
    assert against([(replace(OURS, data="nowhere"), "linear", score("accuracy", 0.5))]) == ""


def test_runs_are_compared_with_papers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, value in (("a", 0.5), ("b", 0.6)):
        (tmp_path / name).mkdir()
        write_results(tmp_path / name / "result.json", [score("accuracy", value)])
        write_video_scores(tmp_path / name, [])
    words = ["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(tmp_path / "out")]
    cli.run([*words, "--published", "cholec80:standard"])
    page = (tmp_path / "out" / "compare.md").read_text()
    (row,) = (line for line in page.splitlines() if "SurgMotion" in line)
    assert [cell.strip() for cell in row.split("|")[2:6]] == ["SurgMotion", "0.9105", "0.5", "0.6"]
    assert row.count("encoder ours not stated; selected on the test videos") == 1
    with pytest.raises(ConfigError, match="cholec80 has the splits .*camma.*: did you mean standard"):
        cli.run([*words, "--resume=true", "--published", "cholec80:standart"])
    with pytest.raises(ConfigError, match="did you mean cholec80"):
        cli.run([*words, "--resume=true", "--published", "cholec8"])


def test_a_score_on_part_of_the_videos_is_not_called_comparable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("surgvl.bench.published.about", lambda data, kind: [KNOWN])
    warned = replace(score("accuracy", 0.5), warning="35 of 40 videos have no predictions: video46")
    for result, verdict in ((score("accuracy", 0.5), "yes"), (warned, "no: ours: 35 of 40 videos have no predictions")):
        text = against([(OURS, "linear", result)])
        assert f"| {verdict}" in text


def test_a_verdict_is_told_of_each_run_where_they_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("surgvl.bench.published.about", lambda data, kind: [KNOWN])
    tuned = replace(OURS, encoder="fine-tuned")
    text = against([(OURS, "a", score("accuracy", 0.5)), (tuned, "b", score("accuracy", 0.6))])
    (row,) = (line for line in text.splitlines() if "Model" in line)
    assert "a: yes · b: no: encoder frozen, ours fine-tuned" in row
    other = against([(OURS, "a", score("accuracy", 0.5)), (OURS, "b", score("edit", 0.6))])
    (row,) = (line for line in other.splitlines() if "Model" in line)
    assert [cell.strip() for cell in row.split("|")[4:7]] == ["0.5", "–", "yes"]


OWN = "Mine,a report,mine,phase,accuracy,0.75,frozen,ours,validation,Table 1,"


def written(path: Path, *lines: str) -> Path:
    path.write_text("\n".join([",".join(COLUMNS), *lines, ""]), encoding="utf-8")
    return path


def test_a_number_of_ones_own_stands_beside_the_runs(tmp_path: Path) -> None:
    for name, value in (("a", 0.5), ("b", 0.6)):
        (tmp_path / name).mkdir()
        write_results(tmp_path / name / "result.json", [replace(score("accuracy", value), encoder="frozen")])
        write_video_scores(tmp_path / name, [])
    mine = written(tmp_path / "mine.csv", OWN, OWN.replace("accuracy", "acuracy").replace("Mine", "Misspelt"))
    words = ["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(tmp_path / "out")]
    cli.run([*words, "--published", "mine:ours", "--published_file", str(mine)])
    page = (tmp_path / "out" / "compare.md").read_text(encoding="utf-8")
    (row,) = (line for line in page.splitlines() if "| Mine" in line)
    cells = [cell.strip() for cell in row.split("|")[1:-1]]
    assert cells == ["mine phase accuracy", "Mine", "0.75", "0.5", "0.6", "yes", "a report; Table 1"]
    assert "- not shown, as no run has the score: mine phase acuracy of Misspelt" in page
    with pytest.raises(ConfigError, match="mine.csv needs --published NAME:SPLIT"):
        cli.run([*words, "--resume=true", "--published_file", str(mine)])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "0.75",
            "75",
            "mine.csv:3: value of accuracy must be a fraction in 0 ... 1, such as 0.912 for 91.2 %, got '75'",
        ),
        ("0.75", "high", "mine.csv:3: value of accuracy must be a fraction .* got 'high'"),
        ("accuracy,0.75", "mae,-1", "mine.csv:3: value of mae must be a number >= 0, got '-1'"),
        ("frozen", "frosen", "mine.csv:3: encoder must be one of frozen, .* got 'frosen': did you mean frozen"),
        ("validation", "", "mine.csv:3: selected_on is empty: fill it in, with 'not stated' where"),
        ("Mine", "", "mine.csv:3: system is empty"),
        ("Table 1,", "Table 1, row 2,", "mine.csv:3: 12 cells for 11 columns: put texts with commas in quotes"),
    ],
)
def test_a_wrong_row_is_named_by_its_line(old: str, new: str, said: str, tmp_path: Path) -> None:
    path = written(tmp_path / "mine.csv", OWN, OWN.replace(old, new))
    with pytest.raises(DataError, match=said):
        read_published(path)


def test_a_file_of_another_form_is_refused(tmp_path: Path) -> None:
    assert [each.value for each in read_published(written(tmp_path / "good.csv", OWN, "", OWN))] == [0.75, 0.75]
    (tmp_path / "other.csv").write_text("system,value\nMine,0.5\n", encoding="utf-8")
    with pytest.raises(DataError, match="other.csv:1: no column 'paper'; the first line must be system,paper,data"):
        read_published(tmp_path / "other.csv")
    (tmp_path / "more.csv").write_text(f"{','.join(COLUMNS)},year\n", encoding="utf-8")
    with pytest.raises(DataError, match="more.csv:1: 12 columns; the first line must be"):
        read_published(tmp_path / "more.csv")
    with pytest.raises(DataError, match="absent.csv cannot be read as CSV"):
        read_published(tmp_path / "absent.csv")


def test_the_next_command_is_not_the_same_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        protocol = "test split of cholec80, predictions of ours; mean over videos"
        write_results(tmp_path / name / "result.json", [replace(score("accuracy", 0.5), protocol=protocol)])
        write_video_scores(tmp_path / name, [])
    a, b, out = (str(tmp_path / name) for name in ("a", "b", "out"))
    cli.run(["compare", a, b, "--out", out])
    following = capsys.readouterr().out.strip().rpartition("next: surgvl ")[2]
    assert following == f"compare {a} {b} --out {out}-published --published cholec80"
    cli.run(following.split())
    assert "SurgMotion" in (tmp_path / "out-published" / "compare.md").read_text()
