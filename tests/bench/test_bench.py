"""The benchmark of all recipes: its plan is made of commands, and its jobs run, fail and go on as they should."""

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from surgvl.bench.jobs import Job, run_jobs
from surgvl.bench.plan import ALL_FRAMES, RANDOM, ROWS, Plan, select_rows
from surgvl.cli import main as cli
from surgvl.core.errors import ConfigError

# Stands for `surgvl`: writes its words and when it began and ended, waits, fails on demand.
PROGRAM = (
    sys.executable,
    "-c",
    """
import sys, time
name, wait, status = sys.argv[1:4]
assert sys.argv[4] == "--resume=true"
with open(name, "a") as file:
    print("begin", time.monotonic(), file=file, flush=True)
    time.sleep(float(wait))
    print("end", time.monotonic(), file=file, flush=True)
print(f"{name} says\\nits last word\\n")
sys.exit(int(status))
""",
)


# ---- the plan


def whole_plan(out: Path, seeds: tuple[int, ...] = (0, 1, 2)) -> Plan:
    return Plan(out, select_rows(None), seeds, 8000, (24, 4, 8), 1)


@pytest.mark.slow
def test_every_job_is_a_command_that_parses(tmp_path: Path) -> None:
    jobs = [[*job.argv, *(["--resume=true"] if job.resumes else [])] for job in whole_plan(tmp_path, (0,)).jobs()]
    # Where commands differ in the names of folders alone, one of them is parsed.
    for argv in {re.sub(rf"{tmp_path}/[^,\]\s]+", "FOLDER", " ".join(argv)): argv for argv in jobs}.values():
        cli.parse(argv)


def test_the_plan_holds_what_the_table_needs(tmp_path: Path) -> None:
    jobs = {job.name: job for job in whole_plan(tmp_path).jobs()}
    assert len(jobs) == len(whole_plan(tmp_path).jobs())
    assert all(need in jobs for job in jobs.values() for need in job.needs)
    outs = [job.argv[job.argv.index("--out") + 1] for job in jobs.values() if "--out" in job.argv]
    assert len(set(outs)) == len(outs)
    assert sum(name.startswith("probe/") for name in jobs) == 3 * len(ROWS)
    # Two readouts of one encoder: trained once, for as many tokens as the others' and for all frames.
    both = [jobs[f"probe/{name}-s0"] for name in ("image_mae", "image_mae-all_frames_read_out")]
    assert {job.needs for job in both} == {("pretrain/image_mae-s0", "main/manifest")}
    assert [job.argv[job.argv.index("--clip.num_frames") + 1] for job in both] == ["8", "8"]
    assert ["--frame_step" in job.argv for job in both] == [True, False]
    for student, teachers in (("surgvista", ["vjepa"]), ("zen", ["vjepa", "surgrec_mae"])):
        names = [f"pretrain/{teacher}-s1" for teacher in teachers]
        assert jobs[f"pretrain/{student}-s1"].needs == ("main/manifest", *names)
        named = ",".join(f"surgvl:{tmp_path}/{name}" for name in names)
        assert (named if student == "surgvista" else f"[{named}]") in jobs[f"pretrain/{student}-s1"].argv
    balanced = jobs["pretrain/surgrec_mae-clusters_alike-s2"]
    assert {"skewed/manifest", "skewed/clusters"} == set(balanced.needs)
    # Clusters come from the tokens of a bare encoder, without a stage in between.
    vectors = jobs["skewed/vectors"]
    unbalanced = next(need for need in vectors.needs if need.startswith("pretrain/"))
    assert vectors.argv[vectors.argv.index("--model") + 1] == f"{tmp_path}/{unbalanced}"
    assert not any(job.argv[0] == "align" for job in jobs.values())
    for job in jobs.values():
        if job.argv[0] == "pretrain":
            words = dict(zip(job.argv[1::2], job.argv[2::2], strict=True))
            assert (words["--run.steps"], words["--run.batch"]) == ("500", "16")
    # Every seed is the training seed, and no probe is scored on anything but the test split.
    assert jobs["probe/vjepa-s2"].argv[jobs["probe/vjepa-s2"].argv.index("--seed") + 1] == "2"
    assert not any("--split" in job.argv for job in jobs.values() if job.argv[0] == "probe")


def test_what_only_some_rows_need(tmp_path: Path) -> None:
    assert [row.name for row in select_rows(["zen"])] == [RANDOM, "vjepa", "surgrec_mae", "zen"]
    assert {row.name for row in select_rows(["image_mae"])} == {RANDOM, "image_mae", "videomae"}
    assert "image_mae" in {row.name for row in select_rows([ALL_FRAMES])}
    assert len(select_rows(["surgrec_mae, clusters alike"])) == 3
    names = [job.name for job in Plan(tmp_path, select_rows(["vjepa"]), (4,), 64, (2, 1, 1), 1).jobs()]
    assert names == ["main/phantom", "main/manifest", "probe/random-s4", "pretrain/vjepa-s4", "probe/vjepa-s4"]
    with pytest.raises(ConfigError, match="--only 'mae' is not a row; rows are random; image_mae"):
        select_rows(["mae"])


# ---- jobs


def job(tmp_path: Path, name: str, wait: float = 0.0, status: int = 0, needs: tuple[str, ...] = ()) -> Job:
    return Job(name, [str(tmp_path / name), str(wait), str(status)], needs)


def span(path: Path) -> tuple[float, float]:
    """When a job began and when it ended."""
    words = path.read_text().split()
    assert words[::2] == ["begin", "end"]
    return float(words[1]), float(words[3])


def nothing(*_: object) -> None:
    """Neither saves nor tells."""


@pytest.mark.slow
def test_jobs_run_side_by_side_and_after_what_they_need(tmp_path: Path) -> None:
    jobs = [job(tmp_path, "c", needs=("a", "b")), job(tmp_path, "a", 0.4), job(tmp_path, "b", 0.4)]
    done: dict[str, float] = {}
    assert run_jobs(jobs, tmp_path, done, nothing, nothing, workers=2, program=PROGRAM) == {}
    assert set(done) == {"a", "b", "c"}
    a, b, c = (span(tmp_path / name) for name in "abc")
    assert max(a[0], b[0]) < min(a[1], b[1])
    assert c[0] > max(a[1], b[1])
    one: dict[str, float] = {}
    (tmp_path / "one").mkdir()
    run_jobs([job(tmp_path / "one", name, 0.05) for name in "xy"], tmp_path, one, nothing, nothing, 1, 1, PROGRAM)
    assert span(tmp_path / "one" / "x")[1] < span(tmp_path / "one" / "y")[0]


@pytest.mark.slow
def test_a_failed_job_is_listed_and_the_rest_goes_on(tmp_path: Path) -> None:
    told: list[str] = []
    jobs = [job(tmp_path, "a", status=3), job(tmp_path, "b", needs=("a",)), job(tmp_path, "d", needs=("b",))]
    jobs += [job(tmp_path, "e")]
    done: dict[str, float] = {}
    failed = run_jobs(jobs, tmp_path, done, nothing, told.append, program=PROGRAM)
    assert failed == {
        "a": "status 3: its last word",
        "b": "skipped: it needs a",
        "d": "skipped: it needs b",
    }
    assert set(done) == {"e"}
    assert "a failed, status 3: its last word" in told
    # The next run tries what failed, and only that.
    jobs[0] = job(tmp_path, "a")
    assert run_jobs(jobs, tmp_path, done, nothing, nothing, program=PROGRAM) == {}
    assert set(done) == {"a", "b", "d", "e"}
    span(tmp_path / "e")


@pytest.mark.slow
def test_a_killed_benchmark_goes_on_and_waits_for_what_still_runs(tmp_path: Path) -> None:
    code = f"""
import json
from pathlib import Path
from surgvl.bench.jobs import Job, run_jobs
done = {{}}
def save(): Path({str(tmp_path / "state")!r}).write_text(json.dumps(done))
jobs = [Job(name, [{str(tmp_path)!r} + "/" + name, wait, "0"]) for name, wait in (("a", "0"), ("b", "1.5"), ("c", "0"))]
run_jobs(jobs, Path({str(tmp_path)!r}), done, save, print, 1, 1, {PROGRAM!r})
"""
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 60
    while not (tmp_path / "b").is_file() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    done = json.loads((tmp_path / "state").read_text())
    assert set(done) == {"a"}
    before = (tmp_path / "a").read_text()
    told: list[str] = []
    jobs = [job(tmp_path, name) for name in "abc"]
    assert run_jobs(jobs, tmp_path, done, nothing, told.append, program=PROGRAM) == {}
    assert set(done) == {"a", "b", "c"}
    assert (tmp_path / "a").read_text() == before
    # The orphan ended before its job was begun again.
    words = (tmp_path / "b").read_text().split()
    assert words[::2] == ["begin", "end", "begin", "end"]
    assert sum("b is still being run by a killed benchmark" in line for line in told) == 1


def test_an_interrupt_stops_the_jobs(tmp_path: Path) -> None:
    def tell(line: str) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    jobs = [job(tmp_path, "long", 600), job(tmp_path, "short")]
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_jobs(jobs, tmp_path, {}, nothing, tell, program=PROGRAM)
    assert time.monotonic() - begun < 300
    with open(tmp_path / "logs" / "long.log") as log:
        fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
