"""A judge of free answers: its votes, its agreement with marks of people, and what eval makes of them."""

import csv
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette", reason="starlette is not installed: pip install 'surgvl[serve]'")
pytest.importorskip("openai", reason="openai is not installed: pip install 'surgvl[client]'")

from surgvl.cli import main as cli  # noqa: E402
from surgvl.core.errors import ConfigError, DataError  # noqa: E402
from surgvl.core.files import read_json, write_json  # noqa: E402
from surgvl.data.manifest import QA, Manifest  # noqa: E402
from surgvl.tasks.judge import majority, verdict  # noqa: E402
from tests.helpers.fake_engine import served  # noqa: E402
from tests.helpers.fake_gateway import Frames  # noqa: E402
from tests.helpers.fake_openai import FakeOpenAI  # noqa: E402
from tests.helpers.made_organs import made_manifest  # noqa: E402

QUESTION = "What does the hook do?"
TRUTH = "It dissects the right duct."


@pytest.mark.parametrize(
    ("reply", "wanted"),
    [
        ("correct", "correct"),
        ("Incorrect.", "incorrect"),
        ("**Correct**", "correct"),
        ("The answer is incorrect.", "incorrect"),
        ("The answer is correct. On reflection, the answer is incorrect.", "incorrect"),
        ("The right hepatic duct is named, so it is right.", ""),
        ("One might think that this is correct, but the side differs.\nincorrect", "incorrect"),
        ("not correct", ""),
        ("<think>correct</think>incorrect", "incorrect"),
        ("correct or incorrect", ""),
        ("", ""),
    ],
)
def test_a_verdict_is_read(reply: str, wanted: str) -> None:
    assert verdict(reply) == wanted


def test_the_majority_is_of_all_votes() -> None:
    assert majority(["correct", "incorrect", "correct"]) == "correct"
    assert majority(["correct", "", "incorrect"]) == ""
    assert majority(["", "", "incorrect"]) == ""


def write_marks(path: Path, rows: list[str], head: str = "question,answer,prediction,mark") -> Path:
    path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return path


# ---- the whole way


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[FakeOpenAI, str]]:
    fake = FakeOpenAI(can=frozenset(), models=("gavel",))
    with served(fake.app) as url:
        yield fake, url


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest with one open question about each of two videos, and answers with those of a black video."""
    folder = tmp_path_factory.mktemp("judged")
    plain = Manifest.load(made_manifest(folder))
    rows, answers = [], []
    for video_id, said in (("test_red", "The hook separates the duct."), ("test_blue", "It holds the liver.")):
        span: dict[str, Any] = {"video_id": video_id, "start_s": 0, "end_s": 1}
        rows.append(QA(**span, question=QUESTION, answer=TRUTH, type="open"))
        shared = span | {"question": QUESTION, "answer": TRUTH, "type": "open", "matched": True, "mode": "open"}
        answers += [shared | {"prediction": said, "ablated": ""}, shared | {"prediction": "A pig.", "ablated": "black"}]
    Manifest(plain.videos, (), rows).save(folder / "open")
    (folder / "answers").mkdir()
    (folder / "answers" / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in answers))
    write_json(folder / "answers" / "run.json", {"model": "eye", "frozen": True, "protocol": "offline"})
    return folder


def case_in(text: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(text[text.index("{") : text.rindex("}") + 1])
    return found


@pytest.mark.slow
def test_answers_are_marked_by_the_majority_and_scored(
    running: tuple[FakeOpenAI, str], folders: Path, tmp_path: Path
) -> None:
    votes: Counter[str] = Counter()

    def mark(frames: Frames | None, text: str) -> str:
        """Finds synonyms, but not at the first of three times."""
        if "{" not in text:
            return "yes"
        said = case_in(text)["answer"]
        votes[said] += 1
        return "correct" if "separates" in said and votes[said] != 1 else "incorrect"

    fake, url = running
    fake.answer = mark
    rows = [f"{QUESTION},{TRUTH},{said}" for said in ("It separates it.", "It holds it.", "Nothing.")]
    marks = write_marks(tmp_path / "m.csv", [f"{rows[0]},correct", f"{rows[1]},correct", f"{rows[2]},incorrect"])
    words = ["judge", "--answers", str(folders / "answers"), "--server", url, "--in_flight", "1"]
    cli.run([*words, "--marks", str(marks), "--out", str(tmp_path / "judged")])
    assert set(votes.values()) == {3}
    seeds = {body.get("seed") for body in fake.probes if "{" in body["messages"][0]["content"][-1]["text"]}
    assert seeds == {0, 1, 2}
    judged = [json.loads(line) for line in (tmp_path / "judged" / "answers.jsonl").read_text().splitlines()]
    assert [row["judged"] for row in judged] == ["correct", "incorrect", "incorrect", "incorrect"]
    record = read_json(tmp_path / "judged" / "run.json")
    assert (record["judge"]["model"], record["judge"]["votes"]) == ("gavel", 3)
    evaluate = ["eval", "--manifest", str(folders / "open"), "--answers", str(tmp_path / "judged")]
    found = {row.metric: row for row in cli.run([*evaluate, "--out", str(tmp_path / "eval")])}
    score = found["judged_accuracy"]
    assert (score.value, score.baselines, score.encoder) == (0.5, {"black video": 0.0}, "frozen")
    assert (
        "marked by gavel, majority of 3 votes; agrees with a person on 66.7% of 3 marked answers of m.csv ("
        in score.protocol
    )
    assert "rouge_l" in found
    assert "agrees with a person on 66.7% of 3 marked answers" in (tmp_path / "eval" / "result.md").read_text()
    # Again without a question; and without marks, which is said.
    before = len(fake.probes)
    cli.run([*words, "--marks", str(marks), "--out", str(tmp_path / "judged"), "--resume"])
    assert len([body for body in fake.probes[before:] if "{" in body["messages"][0]["content"][-1]["text"]]) == 0
    cli.run([*words, "--out", str(tmp_path / "alone")])
    alone = read_json(tmp_path / "alone" / "run.json")["judge"]
    assert "its agreement with a person was not measured" in alone["protocol"]


@pytest.mark.slow
def test_replies_of_another_toolkit_are_marked_with_their_control(
    running: tuple[FakeOpenAI, str], folders: Path, tmp_path: Path
) -> None:
    fake, url = running
    fake.answer = lambda frames, text: (
        "yes" if "{" not in text else "correct" if "separates" in case_in(text)["answer"] else "incorrect"
    )
    rows = [
        {"index": at, "video": f"test_{colour}", "question": QUESTION, "answer": TRUTH, "prediction": said}
        for at, (colour, said) in enumerate({"red": "The hook separates it.", "blue": "It separates fat."}.items())
    ]
    (tmp_path / "eye.json").write_text(json.dumps(rows))
    rows[1]["prediction"] = "A pig."
    (tmp_path / "blind.json").write_text(json.dumps(rows))
    words = ["judge", "--server", url, "--out", str(tmp_path / "judged"), "--answers", str(tmp_path / "eye.json")]
    with pytest.raises(ConfigError, match="has replies that VLMEvalKit logged: give --manifest"):
        cli.run(words)
    more = ["--manifest", str(folders / "open"), "--controls", f"no_video:{tmp_path / 'blind.json'}"]
    cli.run([*words, *more])
    evaluate = ["eval", "--manifest", str(folders / "open"), "--answers", str(tmp_path / "judged")]
    found = {row.metric: row for row in cli.run([*evaluate, "--out", str(tmp_path / "eval")])}
    score = found["judged_accuracy"]
    assert (score.value, score.baselines) == (1, {"no video": 0.5})
    assert "its agreement with a person was not measured (judge --marks FILE)" in score.protocol
    assert read_json(tmp_path / "judged" / "run.json")["data_hash"] == Manifest.load(folders / "open").hash
    # Read again, as from a folder of an earlier version, once the judge has been resumed, which asks nothing.
    path = tmp_path / "judged" / "answers.jsonl"
    old = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps({k: v for k, v in row.items() if k != "options"}) + "\n" for row in old))
    rescore = [*evaluate[:3], "--rescore", str(tmp_path / "judged"), "--out", str(tmp_path / "again")]
    with pytest.raises(DataError, match="or after `surgvl judge --resume` on that"):
        cli.run(rescore)
    before = len(fake.probes)
    cli.run([*words, *more, "--resume"])
    assert not [body for body in fake.probes[before:] if "{" in body["messages"][0]["content"][-1]["text"]]
    found = {row.metric: row for row in cli.run([*rescore, "--resume"])}
    assert (found["judged_accuracy"].value, found["judged_accuracy"].baselines) == (1, {"no video": 0.5})


@pytest.mark.slow
def test_marks_alone_measure_the_judge(
    running: tuple[FakeOpenAI, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ten marked answers: the person calls six correct, the judge five of these and one of the other four."""
    fake, url = running
    said = [f"said {at}" for at in range(10)]
    person = ["correct"] * 6 + ["incorrect"] * 4
    judged = ["correct"] * 5 + ["incorrect"] * 4 + ["correct"]
    verdicts = dict(zip(said, judged, strict=True))
    fake.answer = lambda frames, text: verdicts[case_in(text)["answer"]] if "{" in text else "yes"
    marks = write_marks(
        tmp_path / "m.csv", [f"{QUESTION},{TRUTH},{each},{mark}" for each, mark in zip(said, person, strict=True)]
    )
    cli.run(["judge", "--server", url, "--marks", str(marks), "--out", str(tmp_path / "judge")])
    # By hand: 8 of 10 agree; by chance 0.6 * 0.6 + 0.4 * 0.4 = 0.52 would.
    assert "agrees with a person on 80.0% of 10 marked answers of m.csv (Cohen's kappa 0.58," in capsys.readouterr().out
    found = read_json(tmp_path / "judge" / "agreement.json")["lists"][0]
    assert found["kappa"]["value"] == pytest.approx((0.8 - 0.52) / (1 - 0.52))
    with (tmp_path / "judge" / "marked.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["prediction"], row["mark"], row["judged"]) for row in rows] == [
        *zip(said, person, judged, strict=True)
    ]
    assert not (tmp_path / "judge" / "answers.jsonl").exists()
    with pytest.raises(ConfigError, match="nothing to mark: give --answers, or --marks alone"):
        cli.run(["judge", "--server", url, "--out", str(tmp_path / "none")])


@pytest.mark.slow
def test_an_agreement_with_a_published_list_is_measured_once(
    running: tuple[FakeOpenAI, str], folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Four of forty questions in EVOUNA's layout; the judge calls all answers correct, as three of four people do."""
    fake, url = running
    fake.answer = lambda frames, text: "correct" if "{" in text else "yes"
    rows = [
        {"question": f"who {at}?", "golden_answer": "she", "answer_fid": f"they {at}", "judge_fid": at % 4 > 0}
        for at in range(40)
    ]
    (tmp_path / "NQ.json").write_text(json.dumps([row | {"improper": False} for row in rows]))
    words = ["judge", "--server", url, "--marks", f"evouna:{tmp_path}"]
    cli.run([*words, "--out", str(tmp_path / "whole")])
    out = capsys.readouterr().out
    assert "agrees with people on 75.0% [" in out
    assert "general-domain questions, not surgery)" in out
    assert ": 160 left out (no mark)" in out
    found = read_json(tmp_path / "whole" / "agreement.json")
    assert found["lists"][0]["by_mark"]["correct"]["value"] == 1
    assert found["lists"][0]["kappa"]["value"] == pytest.approx(0)
    cli.run([*words, "--num_marks", "4", "--out", str(tmp_path / "some")])
    some = capsys.readouterr().out
    assert " of 4 marked answers of EVOUNA, NQ only (another version of NQ.json" in some
    assert "drawn from 40" in some
    # Cited by a run that marks answers, without a further question about the list; but not for another judge.
    before = len(fake.probes)
    words = ["judge", "--server", url, "--answers", str(folders / "answers"), "--marks", str(tmp_path / "whole")]
    cli.run([*words, "--out", str(tmp_path / "judged")])
    assert not any("who 1?" in json.dumps(body) for body in fake.probes[before:])
    cited = read_json(tmp_path / "judged" / "run.json")["judge"]["protocol"]
    assert found["lists"][0]["in_words"] in cited
    with pytest.raises(DataError, match="whole was measured with votes 3, and this judge has 5"):
        cli.run([*words, "--votes", "5", "--out", str(tmp_path / "five")])
    with pytest.raises(DataError, match="answers has no agreement.json: give a file, evouna:FOLDER"):
        cli.run([*words[:-1], str(folders / "answers"), "--out", str(tmp_path / "wrong")])


@pytest.mark.slow
def test_people_mark_a_sheet_that_goes_back_in(
    running: tuple[FakeOpenAI, str], folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ann and Ben agree on one of two answers; the judge says what Ann says."""
    sheet = tmp_path / "sheet"
    cli.run(["judge", "--answers", str(folders / "answers"), "--to_mark", "50", "--out", str(sheet)])
    assert "2 answers of 1 question type to mark" in capsys.readouterr().out
    assert "2 rows" in (sheet / "instructions.md").read_text()
    text = (sheet / "to_mark.csv").read_text(encoding="utf-8-sig")
    lines = text.splitlines()
    assert len(lines) == 3
    assert "A pig." not in text
    names = {"separates": "correct", "holds": "incorrect"}
    own = [line + next(mark for word, mark in names.items() if word in line) for line in lines[1:]]
    for name, marks in {"ann": own, "ben": [line + "correct" for line in lines[1:]]}.items():
        (tmp_path / f"{name}.csv").write_text("\n".join([lines[0], *marks]) + "\n", encoding="utf-8")
    fake, url = running
    fake.answer = lambda frames, text: (
        "yes" if "{" not in text else "correct" if "separates" in case_in(text)["answer"] else "incorrect"
    )
    both = ["--marks", str(tmp_path / "ann.csv"), str(tmp_path / "ben.csv")]
    cli.run(["judge", "--answers", str(folders / "answers"), "--server", url, *both, "--out", str(tmp_path / "judged")])
    said = read_json(tmp_path / "judged" / "run.json")["judge"]["protocol"]
    assert "agrees with 2 people on 75.0% of 4 marks of ann.csv and ben.csv" in said
    assert "people with each other 50.0% of 2, kappa 0.00" in said
    found = read_json(tmp_path / "judged" / "agreement.json")["lists"][0]
    assert found["by_part"] == {"open": {"share": 0.75, "num_marks": 4}}
    assert (found["ceiling"]["share"]["value"], found["ceiling"]["num_pairs"]) == (0.5, 2)
    again = ["judge", "--answers", str(folders / "answers"), "--to_mark", "50", "--out", str(sheet)]
    with pytest.raises(ConfigError, match="has a sheet, which may hold marks: give another --out"):
        cli.run([*again, "--resume"])
    with pytest.raises(ConfigError, match="--to_mark draws from --answers alone"):
        cli.run([*again, *both])


def test_what_a_judge_cannot_do(running: tuple[FakeOpenAI, str], folders: Path, tmp_path: Path) -> None:
    given = ["judge", "--out", str(tmp_path / "out"), "--answers", str(folders / "answers")]
    for more in ([], ["--server", running[1], "--to_mark", "5"]):
        with pytest.raises(ConfigError, match="give either --server, whose model marks, or --to_mark, for people"):
            cli.run([*given, *more])
    words = ["judge", "--server", running[1], "--out", str(tmp_path / "out"), "--answers"]
    with pytest.raises(ConfigError, match="--votes must be odd, so that there is a majority, got 2"):
        cli.run([*words, str(folders / "answers"), "--votes", "2"])
    row = json.loads((folders / "answers" / "answers.jsonl").read_text().splitlines()[0])
    (tmp_path / "answers.jsonl").write_text(json.dumps(row | {"mode": "closed"}) + "\n")
    with pytest.raises(ConfigError, match="has no free answers to mark"):
        cli.run([*words, str(tmp_path / "answers.jsonl")])
