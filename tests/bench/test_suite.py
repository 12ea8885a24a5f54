"""Suites: their files, their plans, and a run that is killed, goes on, and names what failed and what is absent."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml

import surgvl.data.readers
from surgvl.bench.begun import differences
from surgvl.bench.published import about
from surgvl.bench.suite import Suite, load_suite, suite_names
from surgvl.bench.suite_plan import SuitePlan
from surgvl.bench.suite_plots import draw
from surgvl.bench.suite_report import Measured, to_markdown
from surgvl.cli import main as cli
from surgvl.commands.suite import run_suite
from surgvl.commands.suite_config import SuiteConfig
from surgvl.core.errors import ConfigError, DataError
from surgvl.core.predictions import Predictions, write_predictions
from surgvl.core.registry import discover
from surgvl.core.results import Result
from surgvl.data.manifest import Manifest, Segment, VideoRow
from surgvl.data.readers.base import VideoDataset
from tests.helpers import fake_suite
from tests.helpers.patience import patience

SMALL = """
name: small
title: Two data sets
source: a paper
protocol: Words.
readouts:
  linear: probe --readout linear
rows:
  - {data: cholec80, kind: phase, split: standard, metrics: [accuracy, jaccard], published: the paper}
  - {data: autolaparo, kind: phase, published: the paper}
  - {data: somewhere, kind: mask, published: the paper, lacks: "masks, which are another issue"}
expected:
  - {text: good beats random, kinds: [phase], pairs: [[linear of runs/good, linear of random]]}
  - {text: poor beats good, kinds: [phase], pairs: [[linear of runs/poor, linear of runs/good]]}
  - {text: absent beats good, kinds: [phase], pairs: [[linear of runs/absent, linear of runs/good]]}
"""


def small(folder: Path) -> tuple[str, SuiteConfig]:
    """A suite file, and the folder with one of its two data sets."""
    (folder / "data" / "cholec80").mkdir(parents=True)
    (folder / "small.yaml").write_text(SMALL)
    return str(folder / "small.yaml"), SuiteConfig(
        root=folder / "data", encoders=("random", "runs/good", "runs/poor"), workers=1
    )


def program(log: Path) -> tuple[str, ...]:
    return sys.executable, str(Path(fake_suite.__file__)), str(log)


# ---- the files


def test_every_row_has_a_reader_with_its_split_or_says_what_it_lacks() -> None:
    readers = discover(surgvl.data.readers, VideoDataset)  # type: ignore[type-abstract]
    for name in suite_names():
        suite = load_suite(name)
        assert suite.name == name
        for row in suite.rows:
            assert row.lacks or row.data in readers, f"{name}: {row.data}"
            assert row.lacks or not row.split or row.split in readers[row.data].SPLITS, f"{name}: {row.name}"
            if not row.lacks and row.kind not in ("vqa",) and readers[row.data].CLASSES:
                assert row.kind in readers[row.data].CLASSES or row.kind.startswith("skill"), f"{name}: {row.name}"


def test_the_suites_have_the_rows_of_their_papers() -> None:
    # Endoscapes is measured as the paper does, and by the official criteria.
    assert len({row.about or row.data for row in load_suite("surgvista13").rows}) == 13
    assert len(load_suite("surgrec16").rows) == 16
    lists = load_suite("surgrec16_clips").rows
    assert [row.about for row in lists] == [row.data for row in load_suite("surgrec16").rows]
    for row in lists:
        data, split = row.measured
        # Table 2 has seven models for each of them.
        assert len([each for each in about(data, "clip") if each.split == split]) == 7, row.name


@pytest.mark.slow
def test_every_job_of_a_rendered_suite_is_a_command_that_parses(tmp_path: Path) -> None:
    suite = load_suite("phantom")
    plan = SuitePlan(suite, None, tmp_path, suite.encoders, (0.5, 1.0), every_s=2.0)
    seen: set[str] = set()
    for job in plan.jobs():
        if (words := " ".join([*job.argv[:1], *job.argv[7:]])) not in seen:
            seen.add(words)
            cli.parse([*job.argv, "--resume=true"])


def test_overlap_is_allowed_to_all_that_ask_for_it(tmp_path: Path) -> None:
    suite = load_suite("phantom")
    for allowed in (False, True):
        for job in SuitePlan(suite, None, tmp_path, suite.encoders, allow_overlap=allowed).jobs():
            may = allowed and job.argv[0] in ("probe", "finetune", "eval")
            assert ("--allow_overlap=true" in job.argv) == may, job


def test_every_job_with_a_model_is_told_the_device(tmp_path: Path) -> None:
    suite = load_suite("phantom")
    for job in SuitePlan(suite, None, tmp_path, suite.encoders, device="cuda:1").jobs():
        if job.argv[0] in ("pretrain", "finetune"):
            assert job.argv[list(job.argv).index("--run.accelerator") + 1] == "cuda", job
        elif job.argv[0] in ("probe", "embed", "ask"):
            assert job.argv[list(job.argv).index("--device") + 1] == "cuda:1", job


def test_a_wrong_suite_is_one_line(tmp_path: Path) -> None:
    wrong = SMALL.replace("probe --readout", "serve --readout")
    (tmp_path / "wrong.yaml").write_text(wrong)
    with pytest.raises(ConfigError, match="readout linear must start with probe") as caught:
        load_suite(str(tmp_path / "wrong.yaml"))
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="did you mean phantom"):
        load_suite("phantm")


# ---- the plan


def test_parts_of_the_training_videos_share_a_manifest_and_come_before_their_probes(tmp_path: Path) -> None:
    name, given = small(tmp_path)
    plan = SuitePlan(load_suite(name), given.root, tmp_path / "out", ("runs/good",), (0.5, 1.0))
    jobs = {job.name: job for job in plan.jobs()}
    assert list(jobs) == [
        "manifests/cholec80-standard",
        "manifests/cholec80-standard@0.5",
        "runs/cholec80-phase-standard/linear-runs_good@0.5",
        "scores/cholec80-phase-standard/linear-runs_good@0.5",
        "runs/cholec80-phase-standard/linear-runs_good",
        "scores/cholec80-phase-standard/linear-runs_good",
    ]
    half = jobs["runs/cholec80-phase-standard/linear-runs_good@0.5"]
    assert half.needs == ("manifests/cholec80-standard@0.5",)
    assert str(tmp_path / "out/manifests/cholec80-standard@0.5") in half.argv


def test_a_readout_begins_with_the_run_of_another_and_has_arguments_of_the_row(tmp_path: Path) -> None:
    name, given = small(tmp_path)
    text = SMALL.replace("rows:", "  tuned: finetune --encoder {linear} --optim.lr 1e-3\nrows:").replace(
        "split: standard,", "split: standard, arguments: {tuned: --optim.lr 1e-4},"
    )
    Path(name).write_text(text)
    plan = SuitePlan(load_suite(name), given.root, tmp_path / "out", ("random", "runs/good"), (0.5,))
    jobs = {job.name: job for job in plan.jobs()}
    for encoder in ("random", "runs_good"):
        start = f"runs/cholec80-phase-standard/linear-{encoder}@0.5"
        job = jobs[f"runs/cholec80-phase-standard/tuned-{encoder}@0.5"]
        assert job.needs == ("manifests/cholec80-standard@0.5", start)
        words = list(job.argv)
        # What is random is in the run that it begins with.
        assert words.count("--encoder") == 1
        assert "--random_encoder=true" not in words
        assert words[words.index("--encoder") + 1] == str(tmp_path / "out" / start)
        # The row's come last, so they count.
        assert words[words.index("--optim.lr") :][:4] == ["--optim.lr", "1e-3", "--optim.lr", "1e-4"]
        assert ("--random_encoder=true" in jobs[start].argv) == (encoder == "random")
    for good, wrong, fault in (
        ("{linear}", "{liner}", "readout tuned begins with liner, which the row must have, too"),
        ("{linear}", "{tuned}", "readout tuned must come after tuned, with which it begins"),
        ("arguments: {tuned", "arguments: {tune", "readout 'tune' is not among linear, tuned"),
    ):
        Path(name).write_text(text.replace(good, wrong))
        with pytest.raises(ConfigError, match=fault):
            load_suite(name)


def test_encoders_must_fit_the_suite(tmp_path: Path) -> None:
    suite = load_suite(small(tmp_path)[0])
    for encoders, words in (
        (("random",), "needs another encoder"),
        ((), "got none"),
        (("mae", "mae"), "all different"),
        (("surgrec_mae_phantom",), "is a recipe"),
    ):
        with pytest.raises(ConfigError, match=words):
            SuitePlan(suite, tmp_path, tmp_path / "out", encoders)
    with pytest.raises(ConfigError, match="needs --root"):
        SuitePlan(suite, None, tmp_path / "out", ("mae",))


# ---- runs


@pytest.mark.slow
def test_a_run_that_was_killed_keeps_what_it_finished(tmp_path: Path) -> None:
    name, given = small(tmp_path)
    log, out = tmp_path / "log", tmp_path / "out"
    hold = Path(f"{log}.hold")
    hold.touch()
    code = (
        "import sys; from pathlib import Path; from surgvl.commands.suite import run_suite\n"
        "from surgvl.commands.suite_config import SuiteConfig\n"
        f"run_suite({name!r}, SuiteConfig(root=Path({str(given.root)!r}), encoders={given.encoders!r}, workers=1), "
        f"Path({str(out)!r}), 0, {program(log)!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + patience(10)
    while not log.is_file() or "probe" not in log.read_text():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = log.read_text().splitlines()
    assert [line.split()[0] for line in before] == ["data", "probe"]
    hold.unlink()
    run_suite(name, given, out, 0, program(log))
    after = log.read_text().splitlines()[2:]
    # The conversion is not repeated; the probe that was cut off is, after others if its orphan still runs.
    assert sorted(line.split()[0] for line in after) == ["eval"] * 3 + ["probe"] * 3
    assert before[1] in after
    assert {row["encoder"] for row in json.loads((out / "result.json").read_text())["rows"]} == set(given.encoders)
    # A finished suite runs nothing, and a new encoder only itself.
    log.unlink()
    run_suite(name, given, out, 0, program(log))
    assert not log.exists()


@pytest.mark.slow
def test_a_data_set_that_was_mended_is_converted_again(tmp_path: Path) -> None:
    name, given = small(tmp_path)
    log, out = tmp_path / "log", tmp_path / "out"
    broken = dataclasses.replace(given, encoders=("broken",))
    with pytest.raises(DataError, match="2 of 3 jobs failed, 1 of them for want of another; the same") as caught:
        run_suite(name, broken, out, 0, program(log))
    assert "skipped" not in str(caught.value)
    both = dataclasses.replace(given, encoders=("broken", "runs/good"))
    for verbs in (["data", "probe", "probe", "eval"], ["probe"]):
        log.unlink()
        with pytest.raises(DataError, match="2 of 5 jobs failed"):
            run_suite(name, both, out, 0, program(log))
        # Once a run rests on the manifest, it stays.
        assert sorted(line.split()[0] for line in log.read_text().splitlines()) == sorted(verbs)


@pytest.mark.slow
def test_the_page_says_what_was_found_what_failed_and_what_is_absent(tmp_path: Path) -> None:
    name, given = small(tmp_path)
    given = SuiteConfig(root=given.root, encoders=(*given.encoders, "broken"), workers=1)
    log, out = tmp_path / "log", tmp_path / "out"
    with pytest.raises(DataError, match="2 of 9 jobs failed") as caught:
        run_suite(name, given, out, 0, program(log))
    assert "it is broken" in str(caught.value)
    page = (out / "result.md").read_text()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line[:1] == "|"]
    scores = {(row[2], row[3]): row[4] for row in cells if row[0] == "cholec80 standard"}
    assert scores["linear of runs/good", "accuracy"] == "0.900 [0.850, 0.950]"
    assert scores["linear of runs/poor", "jaccard"] == "0.300 [0.250, 0.350]"
    assert {row[8] for row in cells if row[2:3] == ["linear of random"]} == {"random, frozen"}
    assert "- readout linear: `surgvl probe --readout linear`" in page
    found = {row[0]: row[2] for row in cells if len(row) == 4}
    assert found["good beats random"].startswith("yes")
    assert found["poor beats good"].startswith("no:")
    assert found["absent beats good"].startswith("not measured")
    absent = {row[0]: row[1] for row in cells if len(row) == 2}
    assert "arXiv" in absent["autolaparo-phase"]
    assert "licence" in absent["autolaparo-phase"]
    assert absent["somewhere-mask"] == "lacks masks, which are another issue"
    published = [row for row in cells if row[0] == "cholec80 phase accuracy" and row[1] == "SurgMotion"]
    assert [row[2] for row in published] == ["0.9105"], "one row, with the runs side by side"
    head = next(row for row in cells if row[:3] == ["score", "published", "its value"])
    assert published[0][head.index("linear of runs/good")] == "0.9"
    assert published[0][head.index("same protocol")].startswith("no: selected on the test videos")
    assert "- not done: runs/cholec80-phase-standard/linear-broken" in page


@pytest.mark.slow
def test_a_folder_of_another_suite_or_seed_is_refused(tmp_path: Path) -> None:
    name, given = small(tmp_path)
    run_suite(name, given, tmp_path / "out", 0, program(tmp_path / "log"))
    with pytest.raises(ConfigError, match="begun with --seed 0, and now it is 1: pass the same, or give another"):
        run_suite(name, given, tmp_path / "out", 1, program(tmp_path / "log"))
    os.rmdir(tmp_path / "data" / "cholec80")
    with pytest.raises(DataError, match="nothing of suite small"):
        run_suite(name, given, tmp_path / "other", 0, program(tmp_path / "log"))


@pytest.mark.slow
def test_a_folder_of_an_earlier_version_is_gone_on_with(tmp_path: Path) -> None:
    name, given = small(tmp_path)
    log, out = tmp_path / "log", tmp_path / "out"
    run_suite(name, given, out, 0, program(log))
    log.unlink()
    state = json.loads((out / "suite.json").read_text())
    # As before some fields were added, and before a typing error was mended in the suite's words.
    for row in state["asked"]["suite"]["rows"]:
        del row["arguments"], row["folder"]
        row["published"] = "teh paper"
    del state["asked"]["every_s"]
    (out / "suite.json").write_text(json.dumps(state))
    run_suite(name, given, out, 0, program(log))
    assert not log.exists()
    more = dataclasses.replace(given, every_s=5.0)
    with pytest.raises(ConfigError, match=r"begun with --suites.every_s 0.0, and now it is 5.0: pass the same, or"):
        run_suite(name, more, out, 0, program(log))


@pytest.mark.slow
def test_what_is_different_in_a_suite_is_told_and_the_suite_as_it_was_is_kept(tmp_path: Path) -> None:
    name, given = small(tmp_path)
    log, out = tmp_path / "log", tmp_path / "out"
    run_suite(name, given, out, 0, program(log))
    log.unlink()
    Path(name).write_text(SMALL.replace("linear: probe --readout linear", "linear: probe --readout linear --seed 3"))
    expected = (
        "out was begun with another suite: readouts.linear was 'probe --readout linear' and is 'probe --readout linear "
        f"--seed 3': give --suite {out / 'suite.yaml'} to go on with the suite as it was, or another --out"
    )
    with pytest.raises(ConfigError) as caught:
        run_suite(name, given, out, 0, program(log))
    assert str(caught.value).endswith(expected)
    run_suite(str(out / "suite.yaml"), given, out, 0, program(log))
    assert not log.exists()
    Path(name).write_text(SMALL.replace("metrics: [accuracy, jaccard]", "metrics: [accuracy]"))
    with pytest.raises(ConfigError, match=r"rows.cholec80-phase-standard.metrics was \['accuracy', 'jaccard'\] and is"):
        run_suite(name, given, out, 0, program(log))
    state = json.loads((out / "suite.json").read_text())
    state["asked"]["suite"]["rows"][0]["anchor"] = "last"
    (out / "suite.json").write_text(json.dumps(state))
    with pytest.raises(ConfigError, match=r"anchor was 'last' and is absent: give another --out, as this version"):
        run_suite(name, given, out, 0, program(log))


@pytest.mark.parametrize("name", suite_names())
def test_a_kept_suite_is_the_same(name: str, tmp_path: Path) -> None:
    """Through the file that is left in a folder."""
    suite = load_suite(name)
    stored = suite.model_dump(mode="json")
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump(stored, sort_keys=False, allow_unicode=True))
    assert load_suite(str(tmp_path / "suite.yaml")) == suite
    assert differences(stored, suite) == ""


def test_scores_by_sentences_stand_beside_zero_shot_numbers(tmp_path: Path) -> None:
    """Whatever the encoder was trained on before; Cholec80's labels it has not seen."""
    (tmp_path / "cholec80").mkdir()
    plan = SuitePlan(load_suite("zero_shot"), tmp_path, tmp_path / "out", ("runs/dual",))
    run = next(each for each in plan.runs if each.row.split == "camma")
    counts: dict[str, Any] = {
        "baselines": {},
        "num_videos": 32,
        "num_clips": 76_756,
        "encoder": "fine-tuned",
        "num_trainable": 9,
    }
    result = Result(task="phase", metric="accuracy", value=0.4, low=0.3, high=0.5, protocol="made", **counts)
    page = to_markdown(plan, [Measured(run, [result])], {}, {}, {})
    rows = [line for line in page.splitlines() if line.startswith("| cholec80 phase accuracy") and "PeskaVLP" in line]
    # Another's run of its code is about the same videos.
    assert any("| yes" in line for line in rows), rows
    assert not any("ours fine-tuned" in line for line in rows)


def test_plots_are_drawn_from_predictions_and_labels(tmp_path: Path) -> None:
    name, given = small(tmp_path)
    suite: Suite = load_suite(name)
    plan = SuitePlan(suite, given.root, tmp_path / "out", ("runs/good",))
    run = plan.runs[0]
    video = VideoRow(video_id="video41", path="", source="cholec80", split="test", fps=25.0, duration_s=10.0)
    labels = [
        Segment(video_id="video41", start_s=0, end_s=4, task="phase", label="Preparation"),
        Segment(video_id="video41", start_s=4, end_s=10, task="phase", label="CalotTriangleDissection"),
        # Two phases in the last second, which is left out.
        Segment(video_id="video41", start_s=9, end_s=10, task="phase", label="Preparation"),
    ]
    Manifest([video], labels).save(plan.manifest(run.row))
    scores = np.tile([[0.9, 0.1]], (10, 1)).astype(np.float32)
    plan.predictions(run).parent.mkdir(parents=True)
    names = ["Preparation", "CalotTriangleDissection"]
    write_predictions(
        plan.predictions(run), Predictions("phase", ["video41"] * 10, np.arange(10, dtype=np.float64), names, scores)
    )
    paths = draw(plan, [Measured(run, [])])[run.row.name]
    stems = {path.stem.removeprefix("cholec80-phase-standard-") for path in paths}
    assert stems == {"confusion-linear-runs_good", "ribbons-linear-runs_good", "reliability"}
    texts = {path.stem: (plan.out / path).read_text() for path in paths}
    confusion = texts["cholec80-phase-standard-confusion-linear-runs_good"]
    assert "CalotTriangleDissection predicted as Preparation: 5 of 5" in confusion
    # Of a model that answers questions, by how sure it says that it is.
    plan.predictions(run).unlink()
    row = {"video_id": "video41", "start_s": 0.0, "end_s": 1.0, "question": "Which?", "type": "phase", "ablated": ""}
    row |= {"answer": "a", "prediction": "a", "matched": True, "mode": "closed", "confidence": 0.75}
    rows = [row, row | {"question": "And?", "answer": "b"}, row | {"question": "Sure?", "confidence": None}]
    (plan.folder(run) / "answers.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    (path,) = draw(plan, [Measured(run, [])])[run.row.name]
    dots = [each for each in ElementTree.parse(plan.out / path).iter() if each.tag.endswith("circle")]
    # Three quarters of the axis, and half of the two are right.
    assert [float(dots[0].get(name, "")) for name in ("cx", "cy")] == pytest.approx([60 + 225, 36 + 150], abs=0.1)
    assert "![cholec80-phase-standard-reliability](plots/" in to_markdown(plan, [], {}, {}, {run.row.name: paths})
