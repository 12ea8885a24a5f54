"""The commands `bench` and `bench recipes`.

Every number in the tables comes from files that the planned commands wrote; the verdicts follow from the intervals.
"""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from surgvl.bench.compare import ScoreTables
from surgvl.bench.jobs import run_jobs
from surgvl.bench.plan import PROBES, ROWS, Plan, Row, select_rows
from surgvl.bench.report import RowFacts, to_json, to_markdown
from surgvl.core import files
from surgvl.core.cores import num_cores
from surgvl.core.errors import ConfigError, DataError
from surgvl.core.invocation import recorded
from surgvl.core.results import read_results
from surgvl.core.run_folder import RunFolder

REPORT = Path("benchmarks/results/recipes.md")


def bench() -> None:
    """List the benchmark suites."""
    print("surgvl bench recipes   compare all pretraining recipes by frozen probes on synthetic videos")
    print(f"  rows: {'; '.join(row.name for row in ROWS)}")
    print("\nnext: surgvl bench recipes --out runs/bench")


@recorded
def bench_recipes(
    out: Path = Path("runs/bench"),
    clips: int = 8000,
    seeds: tuple[int, ...] = (0, 1, 2),
    videos: tuple[int, int, int] = (24, 2, 16),
    workers: int = 2,
    only: list[str] | None = None,
    report: Path | None = None,
    device: str = "cpu",
    readout: str = "linear",
) -> Path:
    """Compare all pretraining recipes at one size: same clips, same seeds, frozen probes on synthetic operations.

    Resumes an interrupted run if the arguments match; seeds and rows may be added.

    Args:
        out: folder for all runs, result.json and result.md.
        clips: number of clips that each encoder is pretrained on.
        seeds: training seeds; the videos are the same for all.
        videos: number of training, validation and test videos.
        workers: number of concurrent jobs; they share the cores equally.
        only: names of the rows to measure; by default, all.
        report: Markdown file for the table; by default, benchmarks/results/recipes.md if all rows are measured in the
            root of a checkout.
        device: torch device of the probes, such as cpu or cuda; pretraining uses the GPU if there is one.
        readout: readout of the probes, linear or attentive. Linear says more about the encoder: an attentive readout
            learns much even from random weights.
    """
    if clips < 1 or workers < 1 or not seeds or len(set(seeds)) != len(seeds):
        raise ConfigError(
            "--clips and --workers must be >= 1, and --seeds distinct, got "
            f"{clips}, {workers} and {' '.join(map(str, seeds))}"
        )
    threads = max(1, num_cores() // workers)
    plan = Plan(out, select_rows(only), seeds, clips, videos, threads, device, readout)
    record = out / "bench.json"
    asked = {"clips": clips, "videos": list(videos), "readout": readout}
    state: dict[str, Any] = files.read_json(record) if record.is_file() else {"asked": asked, "seconds": {}}
    if state["asked"] != asked:
        raise ConfigError(f"{out} was started with {state['asked']}: pass the same arguments, or another --out")
    with RunFolder(out, resume=True, seed=seeds[0], device=device) as folder:
        jobs = plan.jobs()

        def save() -> None:
            files.write_json(record, state)

        def tell(line: str) -> None:
            print(line, flush=True)

        failed = run_jobs(jobs, out, state["seconds"], save, tell, workers, threads)
        tables, facts = read_scores(plan, state["seconds"]), row_facts(plan, state["seconds"])
        minutes = sum(state["seconds"].get(job.name, 0.0) for job in jobs) / 60
        setting = f"{workers} jobs at a time on {threads} {'core' if threads == 1 else 'cores'} each"
        text = to_markdown(plan, tables, facts, f"{setting}, {minutes:.0f} minutes of jobs in total", failed)
        files.write_text(out / "result.md", text)
        files.write_json(out / "result.json", to_json(plan, tables, facts, failed))
        folder.record()
        if report is None and only is None and REPORT.parent.parent.is_dir() and Path("pyproject.toml").is_file():
            report = REPORT
        if report is not None:
            files.write_text(report, text)
        print(text)
        done = f"{len(jobs) - len(failed)} of {len(jobs)} jobs done, in {out}"
        folder.next(done, f"read {report or out / 'result.md'}")
    if failed:
        lines = "".join(f"{os.linesep}  {name}: {why}" for name, why in failed.items())
        raise DataError(f"{len(failed)} of {len(jobs)} jobs failed; the same command tries them again:{lines}")
    return out


def read_scores(plan: Plan, done: dict[str, float]) -> ScoreTables:
    """Scores by row, seed and probe of all probes that are done."""
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for row in plan.rows:
        for seed in plan.seeds:
            if plan.job_name("probe", row.name, seed) in done:
                tables = files.read_json(plan.folder("probe", row.name, seed) / "videos.json")
                own = {probe: np.array(tables[probe], np.float64) for probe in PROBES if probe in tables}
                found.setdefault(row.name, {})[seed] = own
    return found


def row_facts(plan: Plan, done: dict[str, float]) -> dict[str, RowFacts]:
    """Facts of each row, from its first seed that is done."""
    found = {}
    for row in plan.rows:
        seed = next((seed for seed in plan.seeds if plan.job_name("probe", row.name, seed) in done), None)
        if seed is not None:
            found[row.name] = _row_facts(plan, row, seed)
    return found


def _row_facts(plan: Plan, row: Row, seed: int) -> RowFacts:
    folder = plan.folder("probe", row.name, seed)
    facts = files.read_json(folder / "run.json")
    results = read_results(folder / "result.json")
    rate, device = 0.0, str(facts["device"])
    if row.trained:
        run = plan.folder("pretrain", row.trained, seed)
        lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        rates = [value for line in lines if (value := json.loads(line).get("clips_per_s", 0.0)) > 0]
        rate = float(np.median(rates)) if rates else 0.0
        device = str(files.read_json(run / "run.json")["device"])
    return RowFacts(
        parameters=int(facts["num_parameters"]),
        clips_per_s=rate,
        device=device,
        packages=facts["packages"],
        commit=str(facts["commit"]),
        num_videos=max(result.num_videos for result in results),
        num_clips=max(result.num_clips for result in results),
        protocol=results[0].protocol.partition("; ")[0],
        baselines={result.task: result.baselines for result in results if result.metric in ("accuracy", "mAP_video")},
    )
