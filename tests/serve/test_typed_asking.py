"""Typed questions, other wordings, and stored replies read again, before a stand-in for any server."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette", reason="starlette is not installed: pip install 'surgvl[serve]'")
pytest.importorskip("openai", reason="openai is not installed: pip install 'surgvl[client]'")

from surgvl.cli import main as cli  # noqa: E402
from surgvl.core.errors import ConfigError, DataError  # noqa: E402
from surgvl.core.files import read_json  # noqa: E402
from surgvl.core.results import Result  # noqa: E402
from surgvl.data.manifest import QA, Manifest  # noqa: E402
from tests.helpers.fake_engine import served  # noqa: E402
from tests.helpers.fake_gateway import Frames  # noqa: E402
from tests.helpers.fake_openai import FakeOpenAI  # noqa: E402
from tests.helpers.made_organs import ORGANS, QUESTION, made_manifest  # noqa: E402

WORDS = ["--clip.num_frames", "1", "--clip.size_px", "64"]
TRUTH = {
    "number_tools": ("How many tools?", {"red": "2", "blue": "3"}),
    "percentage_sky": ("How much is covered?", {"red": "40", "blue": "60"}),
    "time_of_clip": ("When is the clip set?", {"red": "1:15", "blue": "90"}),
    "box": ("Where is it?", {"red": "0,0,500,500", "blue": "100,100,200,200"}),
    "class_set": ("Which tools?", {"red": "grasper, hook", "blue": "hook"}),
}
SAID = {
    "How many tools?": {"red": "Two.", "blue": "I see 2 of 3"},
    "How much is covered?": {"red": "about 44 %", "blue": "54%"},
    "When is the clip set?": {"red": "at 1 min 12 s", "blue": "The answer is 1:36."},
    "Where is it?": {"red": "[0, 0, 500, 250]", "blue": "[100, 100, 200, 149]"},
    "Which tools?": {"red": "A, B", "blue": "a grasper"},
}


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[FakeOpenAI, str]]:
    fake = FakeOpenAI(can=frozenset({"image"}))
    with served(fake.app) as url:
        yield fake, url


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One question of each type about each of two test videos."""
    folder = tmp_path_factory.mktemp("typed")
    plain = Manifest.load(made_manifest(folder))
    rows = []
    for kind, (question, answers) in TRUTH.items():
        for colour, answer in answers.items():
            span: dict[str, Any] = {"video_id": f"test_{colour}", "start_s": 0, "end_s": 1}
            rows.append(QA(**span, question=question, answer=answer, type=kind))
    Manifest(plain.videos, (), rows).save(folder / "typed")
    return folder / "typed"


@pytest.fixture(scope="module")
def organs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_manifest(tmp_path_factory.mktemp("organs"))


def colour_of(frames: Frames) -> str:
    return "red" if frames[..., 0].mean() > frames[..., 2].mean() else "blue"


def says(frames: Frames | None, text: str) -> str:
    asked = next((question for question in SAID if question in text), "")
    return SAID[asked][colour_of(frames)] if frames is not None and asked else "yes"


def ask(url: str, manifest: Path, out: Path, *more: str) -> list[dict[str, Any]]:
    cli.run(["ask", "--manifest", str(manifest), "--server", url, "--out", str(out), *WORDS, *more])
    return [json.loads(line) for line in (out / "answers.jsonl").read_text().splitlines()]


def evaluate(manifest: Path, out: Path, *more: str) -> dict[str, Result]:
    return {row.metric: row for row in cli.run(["eval", "--manifest", str(manifest), "--out", str(out), *more])}


@pytest.mark.slow
def test_each_type_is_asked_read_and_scored(running: tuple[FakeOpenAI, str], typed: Path, tmp_path: Path) -> None:
    fake, url = running
    fake.answer = says
    fake.asked.clear()
    rows = ask(url, typed, tmp_path / "a")
    # Two replies declare no number, and one box and one set are wrong.
    by_type = {kind: [row["outcome"] for row in rows if row["type"] == kind] for kind in TRUTH}
    assert by_type == {
        "number_tools": ["correct", "unparsed"],
        "percentage_sky": ["correct", "wrong"],
        "time_of_clip": ["correct", "wrong"],
        "box": ["correct", "wrong"],
        "class_set": ["correct", "wrong"],
    }
    assert {row["mode"] for row in rows} == {"typed"}
    assert rows[0]["raw"] == "Two."
    asked = [body["messages"][0]["content"][-1]["text"] for body in fake.asked]
    assert any("Which tools?\nA. grasper\nB. hook\nAnswer with the letters" in text for text in asked)
    found = evaluate(typed, tmp_path / "eval", "--answers", str(tmp_path / "a"))
    assert {name: found[name].value for name in found if name.endswith("accuracy")} == dict.fromkeys(
        [f"{name}_accuracy" for name in ("number", "percentage", "time", "box", "class_set")], 0.5
    )
    assert found["number_error"].value == 0
    assert "of the 1 of 2 answers that were read" in found["number_error"].protocol
    assert found["percentage_error"].value == pytest.approx((4 + 6) / 2)
    assert found["time_error"].value == pytest.approx((3 + 6) / 2)
    assert found["box_iou"].value == pytest.approx((0.5 + 0.49) / 2)
    assert found["class_set_f1"].value == pytest.approx((1 + 0) / 2)
    assert found["number_accuracy"].baselines["blind (of test)"] == 0.5


@pytest.mark.slow
def test_a_true_answer_that_is_none_of_its_type(running: tuple[FakeOpenAI, str], organs: Path, tmp_path: Path) -> None:
    plain = Manifest.load(organs)
    span: dict[str, Any] = {"video_id": "test_red", "start_s": 0, "end_s": 1}
    Manifest(plain.videos, (), [QA(**span, question="How many?", answer="few", type="number")]).save(tmp_path / "m")
    with pytest.raises(DataError, match="'How many.' about test_red at 0.0 s: an answer of type number must be a num"):
        ask(running[1], tmp_path / "m", tmp_path / "a")


@pytest.mark.slow
def test_wordings_and_orders_have_a_spread(
    running: tuple[FakeOpenAI, str], organs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fickle(frames: Frames | None, text: str) -> str:
        """Right about red; about blue only where it is asked in the usual way, or with an example."""
        if frames is None:
            return "red"
        letters = {name: letter for letter, name in re.findall(r"^([A-B])\. (gut|liver)$", text, re.MULTILINE)}
        usual = text.startswith(QUESTION) or "An example" in text
        organ = ORGANS[colour_of(frames)] if usual else "gut"
        return str(letters.get(organ, "?"))

    fake, url = running
    fake.answer = fickle
    fake.asked.clear()
    rows = ask(url, organs, tmp_path / "a", "--wordings", "plain")
    ways = dict.fromkeys(row["ablated"] for row in rows)
    assert list(ways) == ["", *(f"wording {n}" for n in range(2, 6)), "order 2", "order 3", "example"]
    # Of two options there are two orders, so the third is not asked again.
    assert len(fake.asked) == 8 * (1 + 4 + 1 + 1)
    assert read_json(tmp_path / "a" / "run.json")["wordings"]["name"] == "plain"
    found = evaluate(organs, tmp_path / "eval", "--answers", str(tmp_path / "a"))
    assert found["wording_mean"].value == pytest.approx((1 + 4 * 0.5) / 5)
    assert found["wording_mean"].baselines == {"usual": 1}
    assert found["wording_spread"].value == pytest.approx(0.5)
    assert found["wording_worst"].value == pytest.approx(0.5)
    assert found["wording_flip_rate"].value == pytest.approx(0.5)
    assert found["wording_flip_rate"].per_class == {"gut": 0, "liver": 1}
    assert [found[f"order_{name}"].value for name in ("mean", "spread", "worst", "flip_rate")] == [1, 0, 1, 0]
    assert found["accuracy_with_example"].value == 1
    assert found["accuracy_with_example"].baselines == {"without": 1}
    assert "accuracy" in found
    assert not [name for name in found if name.startswith("gain")]
    for more, line in (
        (["--open_ended"], "leave --open_ended out"),
        (["--only_control", "black"], "leave --only_control out"),
    ):
        with pytest.raises(ConfigError, match=line):
            ask(url, organs, tmp_path / "b", "--wordings", "plain", *more)


@pytest.mark.slow
def test_only_questions_with_options_have_orders(running: tuple[FakeOpenAI, str], typed: Path, tmp_path: Path) -> None:
    fake, url = running
    fake.answer = says
    rows = ask(url, typed, tmp_path / "a", "--wordings", "plain")
    kinds = {way: {row["type"] for row in rows if row["ablated"] == way} for way in ("wording 2", "order 2", "order 3")}
    assert kinds == {"wording 2": set(TRUTH), "order 2": {"class_set"}, "order 3": {"class_set"}}
    found = evaluate(typed, tmp_path / "eval", "--answers", str(tmp_path / "a"))
    assert set(found["wording_mean_typed"].per_class or ()) == set(TRUTH)
    assert found["order_mean_typed"].per_class == {"class_set": 0.5}
    assert (found["order_mean_typed"].value, found["order_mean_typed"].num_clips) == (0.5, 2)
    # An earlier version asked them all, to no end.
    plain = [row for row in rows if not row["ablated"] and row["type"] != "class_set"]
    rows += [row | {"ablated": way} for way in ("order 2", "order 3") for row in plain]
    (tmp_path / "a" / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    again = evaluate(typed, tmp_path / "again", "--answers", str(tmp_path / "a"))
    assert again["order_mean_typed"].per_class == {"class_set": 0.5}
    assert again["order_flip_rate_typed"].num_clips == 2


@pytest.mark.slow
def test_stored_replies_are_read_again_without_a_model(
    running: tuple[FakeOpenAI, str], organs: Path, tmp_path: Path
) -> None:
    fake, url = running
    fake.answer = lambda frames, text: "The answer is a gut." if frames is not None else "red"
    rows = ask(url, organs, tmp_path / "a")
    assert [row["outcome"] for row in rows] == ["correct"] * 4 + ["wrong"] * 4
    assert rows[0]["options"] == ["gut", "liver"]
    # As an older reader might have had it, which took the article for option A ... or for none.
    before = [row | {"prediction": "liver", "outcome": "wrong"} for row in rows[:4]] + rows[4:]
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in before))
    asked = len(fake.asked)
    assert evaluate(organs, tmp_path / "e1", "--answers", str(tmp_path / "old"))["accuracy"].value == 0
    assert evaluate(organs, tmp_path / "e2", "--rescore", str(tmp_path / "old"))["accuracy"].value == 0.5
    assert len(fake.asked) == asked
    assert "- replies read again: 4 of 8 differ" in (tmp_path / "e2" / "result.md").read_text()
    with pytest.raises(ConfigError, match="give one of them"):
        evaluate(organs, tmp_path / "e3", "--rescore", str(tmp_path / "old"), "--answers", str(tmp_path / "a"))
    for row in before:
        del row["options"]
    (tmp_path / "old" / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in before))
    with pytest.raises(DataError, match="has no replies with their options"):
        evaluate(organs, tmp_path / "e3", "--resume", "--rescore", str(tmp_path / "old"))


@pytest.mark.slow
def test_late_replies_are_counted_on_request(running: tuple[FakeOpenAI, str], organs: Path, tmp_path: Path) -> None:
    fake, url = running
    fake.answer = lambda frames, text: "gut" if frames is not None else "red"
    rows = [row | {"seconds": float(number)} for number, row in enumerate(ask(url, organs, tmp_path / "a"))]
    (tmp_path / "a" / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    plain = evaluate(organs, tmp_path / "e1", "--answers", str(tmp_path / "a"))
    assert plain["accuracy"].value == 0.5
    assert "late_rate" not in plain
    late = evaluate(organs, tmp_path / "e2", "--answers", str(tmp_path / "a"), "--late_after_s", "2")
    assert late["accuracy"].value == pytest.approx(3 / 8)
    assert late["late_rate"].value == pytest.approx(5 / 8)
    line = next(line for line in (tmp_path / "e2" / "result.md").read_text().splitlines() if "3.50 s" in line)
    assert [cell.strip() for cell in line.split("|")[1:-1]] == ["closed", "8", "3.50 s", "6.65 s", "7.00 s", "5"]
