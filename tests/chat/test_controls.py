"""Controls without the right video: what is shown, who is asked, and tables that tell a model that does not look."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from surgvl.chat.answer_rows import answer_rows
from surgvl.chat.answerer import Answer, Answerer, Question, Window
from surgvl.chat.controls import BLACK, WithBlack, replaced
from surgvl.cli import main as cli
from surgvl.core.errors import ConfigError, DataError
from surgvl.core.files import read_json
from surgvl.core.result_page import to_markdown
from surgvl.core.results import Result, read_results
from surgvl.data.frame_store import FrameStore
from surgvl.data.manifest import Manifest
from surgvl.metrics.answer import LabelledQuestion
from surgvl.models.schema import AnswersFile
from surgvl.tasks.answer_files import join, read_answers
from surgvl.tasks.answers import Answers
from surgvl.tasks.vqa import Vqa
from surgvl.video.clip import Preprocess
from tests.helpers.made_organs import made_manifest

WINDOWS = [Window(f"v{video}", float(second), second + 1.0) for video in range(4) for second in range(30)]


@pytest.mark.slow
def test_another_video_is_always_another_one() -> None:
    twice = [*WINDOWS, *WINDOWS[::-1]]
    shown = replaced(twice, "other", seed=3)
    assert all(a[0] != b[0] for a, b in zip(twice, shown, strict=True))
    assert set(shown) <= set(WINDOWS)
    # Equal windows get equal ones, in any order; another seed draws others.
    assert shown[: len(WINDOWS)] == shown[len(WINDOWS) :][::-1]
    assert replaced(WINDOWS, "other", 3) == shown[: len(WINDOWS)] != replaced(WINDOWS, "other", 4)
    # All moments of all other videos are drawn alike, whatever the moment that is asked about.
    many = [replaced(WINDOWS, "other", seed)[0] for seed in range(600)]
    for video in ("v1", "v2", "v3"):
        assert sum(each[0] == video for each in many) == pytest.approx(200, abs=50)
    assert np.mean([start_s for _, start_s, _ in many]) == pytest.approx(14.5, abs=1.5)
    assert replaced(WINDOWS, "", 3) == WINDOWS
    assert replaced(WINDOWS, "black") == [BLACK] * len(WINDOWS)


def test_what_cannot_be_replaced() -> None:
    with pytest.raises(ConfigError, match="about v0: the control with another video needs a second one"):
        replaced(WINDOWS[:3], "other")
    with pytest.raises(ConfigError, match="control must be one of no_video, black, other, got 'white'"):
        replaced(WINDOWS, "white")


class Clerk(Answerer):
    """Says which video it was shown, and notes what it was asked: (windows, question, whether freely)."""

    def __init__(self, answers: Sequence[str] = ("v0",), mode: str = "closed") -> None:
        self.known = AnswersFile(answers=list(answers))
        self.mode = mode  # type: ignore[misc]
        self.asked: list[tuple[list[Any], str, bool]] = []

    def choose(self, questions: Sequence[Question]) -> list[Answer]:
        self.asked.append(([each.clip for each in questions], questions[0].text, not questions[0].answers))
        return [Answer(each, each.clip.video_id) for each in questions if isinstance(each.clip, Window)]

    write = choose

    def frames(self, source: Any, at_s: float | None = None) -> Any:
        raise NotImplementedError

    prepare = frames  # type: ignore[assignment]


def rows_about(windows: Sequence[Window], question: str, kind: str = "phase") -> list[dict[str, Any]]:
    return [each._asdict() | {"question": question, "answer": "v0", "type": kind} for each in windows]


def test_each_question_is_asked_once_and_answered_everywhere() -> None:
    rows = [*rows_about(WINDOWS, "a?"), *rows_about(WINDOWS[:5], "b?"), *rows_about(WINDOWS[:5], "a?")]
    clerk = Clerk(["v0", "v1"])
    found = answer_rows(clerk, rows, ("", "black", "other"), batch=50)
    assert [row["ablated"] for row in found] == [*[""] * 130, *["black"] * 130, *["other"] * 130]
    for at, row in enumerate(rows):
        own, black, other = (found[at + 130 * kind] for kind in range(3))
        assert own["prediction"] == row["video_id"]
        assert black["prediction"] == BLACK[0]
        assert other["prediction"] in {"v0", "v1", "v2", "v3"} - {row["video_id"]}
        for each in (own, black, other):
            assert {key: each[key] for key in row} == row
            assert (each["mode"], each["matched"]) == ("closed", True)
    # 120 different moments of "a?" in batches of 50, 5 of "b?"; then one black video for each question.
    assert [len(windows) for windows, _, _ in clerk.asked[:6]] == [50, 50, 20, 5, 1, 1]
    assert not any(freely for _, _, freely in clerk.asked)


def test_questions_with_free_answers_are_answered_freely() -> None:
    rows = [*rows_about(WINDOWS[:2], "a?"), *rows_about(WINDOWS[:1], "what happens?", "open_step")]
    clerk = Clerk(mode="head")
    assert [row["mode"] for row in answer_rows(clerk, rows)] == ["head", "head", "open"]
    assert [freely for _, _, freely in clerk.asked] == [False, True]
    # A closed question that is answered freely may miss every known answer.
    found = answer_rows(clerk, [*rows, *rows_about([WINDOWS[40]], "a?")], open_ended=True)
    assert [row["mode"] for row in found] == ["open"] * 4
    assert [row["matched"] for row in found] == [True, True, True, False]
    with pytest.raises(ConfigError, match="tuned on no closed answers to choose from: add --open_ended"):
        answer_rows(Clerk([]), rows)


# ---- tables


def asked(looks: bool, num_videos: int = 6, each: int = 40) -> Answers:
    """Answers of a model that sees the phase of its picture, or that always says what is frequent."""
    rng = np.random.default_rng(0)
    truth = rng.choice(["a", "b", "c"], num_videos * each, p=[0.5, 0.3, 0.2]).tolist()
    types = ["phase" if at % 4 else "step" for at in range(len(truth))]
    said = {"": truth if looks else ["a"] * len(truth), "black video": ["a"] * len(truth)}
    said["other video"] = rng.permutation(said[""]).tolist()
    ids = [f"v{at // each}" for at in range(len(truth))]
    right = np.ones(len(truth), bool)
    controls = {name: each for name, each in said.items() if name}
    return Answers(ids, [f"{kind}?" for kind in types], truth, types, said[""], right, "closed", controls)


def by_metric(results: list[Result]) -> dict[str, Result]:
    return {result.metric: result for result in results}


@pytest.mark.slow
def test_a_model_that_does_not_look_is_seen_at_once() -> None:
    training = [LabelledQuestion(f"{kind}?", answer, kind) for kind in ("phase", "step") for answer in "aab"]
    ignores = by_metric(Vqa(training).score(asked(looks=False)))
    for control in ("blind", "black_video", "other_video"):
        gain = ignores[f"gain_over_{control}"]
        assert (gain.value, gain.low, gain.high) == (0, 0, 0)
        assert gain.warning == f"no better than {control.replace('_', ' ')}"
    looks = by_metric(Vqa(training).score(asked(looks=True)))
    for control in ("blind", "black_video", "other_video"):
        gain = looks[f"gain_over_{control}"]
        assert gain.value == pytest.approx(1 - looks["accuracy"].baselines[control.replace("_", " ")])
        assert 0 < gain.low < gain.value < gain.high
        assert not gain.warning
    assert "(!)" not in to_markdown(list(looks.values()))
    page = to_markdown(list(ignores.values()))
    assert "gain_over_black_video (!)" in page
    assert "- (!): no better than black video" in page
    # Without controls there is no such row.
    alone = asked(looks=True)
    plain = Answers(
        alone.video_ids, alone.questions, alone.answers, alone.types, alone.answers, alone.matched, "closed"
    )
    assert not [metric for metric in by_metric(Vqa(training).score(plain)) if metric.startswith("gain")]


def test_question_types_stand_beside_their_controls() -> None:
    rows = asked(looks=True)
    training = [LabelledQuestion("phase?", "a", "phase"), LabelledQuestion("step?", "b", "step")]
    found = by_metric(Vqa(training).score(rows))["accuracy"]
    of_step = [at for at, kind in enumerate(rows.types) if kind == "step"]
    black = np.mean([rows.answers[at] == "a" for at in of_step])
    blind = np.mean([rows.answers[at] == "b" for at in of_step])
    other = np.mean([rows.answers[at] == rows.controls["other video"][at] for at in of_step])
    lines = [line.split("|")[1:-1] for line in to_markdown([found]).splitlines() if line.startswith("|")]
    table = [[cell.strip() for cell in line] for line in lines[3:]]
    assert table[0][:6] == ["vqa by part", "clips", "accuracy", "blind", "black video", "other video"]
    assert table[3] == ["step", "60", "1.000", f"{blind:.3f}", f"{black:.3f}", f"{other:.3f}"]
    assert table[4][:3] == ["all", "240", "1.000"]
    assert table[4][4] == f"{found.baselines['black video']:.3f}"


def write_rows(folder: Path, rows: list[dict[str, Any]]) -> Path:
    folder.mkdir()
    (folder / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_files_that_do_not_stand_beside_one_another(tmp_path: Path) -> None:
    rows = answer_rows(Clerk(), rows_about(WINDOWS, "a?"), ("", "black"))
    own, black = (
        write_rows(tmp_path / f"of {kind}", [r for r in rows if r["ablated"] == kind]) for kind in ("", "black")
    )
    both = join([read_answers(own), read_answers(black)])[0]
    assert list(both.controls) == ["black video"]
    assert both.controls["black video"] == [BLACK[0]] * len(WINDOWS)
    with pytest.raises(DataError, match="both hold closed answers with the black video: pass one of them"):
        join([read_answers(own), read_answers(black), read_answers(black)])
    with pytest.raises(DataError, match="holds closed answers with the black video, but no file those with the right"):
        join([read_answers(black)])
    few = write_rows(tmp_path / "few", [row for row in rows if row["ablated"] == "black"][7:])
    with pytest.raises(DataError, match=r"lack 7 of 120 questions, the first 'a\?' about v0 at 0\.0 s"):
        join([read_answers(own), read_answers(few)])
    odd = write_rows(tmp_path / "odd", [{**rows[0], "mode": "closed, black"}])
    with pytest.raises(DataError, match="line 1: mode must be one of closed, head, open, typed, got 'closed, black'"):
        read_answers(odd)
    with pytest.raises(DataError, match="mode must be one of closed, head, open, typed, got 'shut'"):
        Answers(["v"], ["q"], ["a"], ["t"], ["p"], np.ones(1, bool), "shut")


# ---- the whole way


@pytest.mark.slow
def test_a_model_that_looks_falls_when_it_is_shown_something_else(
    taught_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = made_manifest(tmp_path)
    ask = ["ask", "--model", str(taught_run), "--manifest", str(manifest), "--out"]
    cli.run([*ask, str(tmp_path / "answers"), "--controls"])
    assert (
        "24 answers (100.0% right, 50.0% right with a black video, 0.0% right with another" in capsys.readouterr().out
    )
    assert not (tmp_path / "answers" / "features").exists()
    evaluate = ["eval", "--manifest", str(manifest), "--answers", str(tmp_path / "answers")]
    cli.run([*evaluate, "--out", str(tmp_path / "eval")])
    results = by_metric(read_results(tmp_path / "eval" / "result.json"))
    accuracy = results["accuracy"]
    assert (accuracy.value, accuracy.num_trainable, accuracy.encoder) == (1, 7, "frozen")
    wanted = {"blind": 0.5, "black video": 0.5, "other video": 0.0}
    assert {name: accuracy.baselines[name] for name in wanted} == wanted
    assert {name: each["organ"] for name, each in accuracy.per_class_baselines.items()} == wanted

    # The same in folders of their own.
    for kind in ("black", "other"):
        cli.run([*ask, str(tmp_path / kind), "--only_control", kind])
    assert f"eval --answers ANSWERS --controls {tmp_path / 'other'} " in capsys.readouterr().out
    own = [
        line for line in (tmp_path / "answers" / "answers.jsonl").read_text().splitlines() if '"ablated": ""' in line
    ]
    write_rows(tmp_path / "own", [json.loads(line) for line in own])
    evaluate[-1] = str(tmp_path / "own")
    cli.run(
        [*evaluate, "--out", str(tmp_path / "eval2"), "--controls", str(tmp_path / "black"), str(tmp_path / "other")]
    )
    again = by_metric(read_results(tmp_path / "eval2" / "result.json"))
    assert {name: row.baselines for name, row in again.items()} == {
        name: row.baselines for name, row in results.items()
    }
    assert read_json(tmp_path / "eval2" / "run.json")["pretraining_video_ids"] == ["train_red"]


def test_the_black_video_is_black_and_the_others_are_themselves(tmp_path: Path) -> None:
    manifest = Manifest.load(made_manifest(tmp_path))
    shape = Preprocess(num_frames=4, fps=2.0, size_px=16)
    plain = FrameStore({name: manifest.path_of(name) for name in manifest.video_ids("test")}, shape)
    plain.prepare()
    store = WithBlack(plain)
    black = store.clip(store.key_of(*BLACK))
    assert (black.shape, str(black.dtype), int(black.max())) == ((4, 16, 16, 3), "uint8", 0)
    np.testing.assert_array_equal(store.clip(("test_red", 2)), plain.clip(("test_red", 2)))
    assert int(store.clip(("test_red", 2))[..., 0].min()) > 150


@pytest.mark.slow
def test_flags_that_exclude_one_another(tmp_path: Path) -> None:
    common = ["ask", "--model", str(tmp_path), "--manifest", str(tmp_path), "--out", str(tmp_path / "out")]
    with pytest.raises(ConfigError, match="--questions.only_control must be none with --controls, got .black."):
        cli.run([*common, "--controls", "--only_control", "black"])
    with pytest.raises(ConfigError, match="--controls needs --answers"):
        cli.run(["eval", "--manifest", "m", "--out", "o", "--vectors", "v", "--controls", "a"])
