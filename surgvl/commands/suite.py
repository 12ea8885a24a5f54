"""A suite of `surgvl eval`: runs what is there, keeps finished runs when it is killed, and writes one page.

Every number in the page comes from files that its commands wrote; the verdicts follow from the intervals.
"""

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from surgvl.bench.begun import as_now, differences
from surgvl.bench.jobs import PROGRAM, SKIPPED, Job, run_jobs
from surgvl.bench.suite import Suite, load_suite
from surgvl.bench.suite_plan import MANIFESTS, SuitePlan
from surgvl.bench.suite_plots import draw
from surgvl.bench.suite_report import collect, to_json, to_markdown
from surgvl.commands.suite_config import SuiteConfig
from surgvl.core import files
from surgvl.core.cores import num_cores
from surgvl.core.errors import ConfigError, DataError
from surgvl.core.plurals import part_of, plural
from surgvl.core.results import Result
from surgvl.core.run_folder import RunFolder

_FLAGS = {"root": "--root", "seed": "--seed", "device": "--suites.suite_device", "every_s": "--suites.every_s"}
_DEFAULTS = {"root": "", "seed": 0, "device": SuiteConfig.suite_device, "every_s": SuiteConfig.every_s}


def run_suite(
    name: str,
    given: SuiteConfig,
    out: Path,
    seed: int,
    program: Sequence[str] = PROGRAM,
    allow_overlap: bool = False,
) -> list[Result]:
    """Run a suite, or the rest of it.

    Args:
        name: of the suite, or its YAML file.
        given: data and models.
        out: folder for all runs, result.json, result.md and plots; one started with the same arguments is resumed.
        seed: of everything.
        program: command that precedes the arguments of a job.
        allow_overlap: also score videos that a model was trained on, and mark every result.

    Returns:
        The scores of all runs that are done.

    Raises:
        ConfigError: the arguments do not fit, or the folder was begun with others.
        DataError: nothing of the suite is there, videos were set aside, or jobs failed.
    """
    root, device, every_s = given.root, given.suite_device, given.every_s
    suite = load_suite(name)
    encoders = given.encoders or suite.encoders
    chosen = given.fractions, seed, device, every_s, given.tokens_gb, allow_overlap
    plan = SuitePlan(suite, root, out, encoders, *chosen)
    if not plan.rows:
        lines = "".join(f"{os.linesep}  {row}: {why}" for row, why in plan.absent.items())
        raise DataError(f"nothing of suite {suite.name} is below {root}: get one of its data sets:{lines}")
    record = out / "suite.json"
    asked = {"suite": suite.model_dump(mode="json"), "root": str(root or ""), "seed": seed, "device": device}
    asked |= {"every_s": every_s}
    state: dict[str, Any] = files.read_json(record) if record.is_file() else {"asked": asked, "seconds": {}}
    set_aside = state.setdefault("set_aside", {})
    _check_begun(out, state["asked"], asked, suite)
    with RunFolder(out, resume=True, seed=seed, device=device) as folder:
        for row, why in plan.absent.items():
            print(f"absent: {row}: {why}")
        jobs, done = plan.jobs(), state["seconds"]
        page = out / "result.json"
        failed_before = files.read_json(page).get("failed", {}) if page.is_file() else {}
        for name in _to_convert_again(jobs, done, failed_before):
            del done[name]
            set_aside.pop(name, None)
        print(f"{part_of(sum(job.name in done for job in jobs), len(jobs), 'job', 'is')} done already", flush=True)
        threads = max(1, num_cores() // given.workers)

        def save() -> None:
            files.write_json(record, state)

        def tell(line: str) -> None:
            print(line, flush=True)

        save()
        failed = run_jobs(jobs, out, done, save, tell, given.workers, threads, program, set_aside)
        measured = collect(plan, done)
        text = to_markdown(plan, measured, failed, set_aside, draw(plan, measured))
        files.write_text(out / "result.md", text)
        files.write_json(page, to_json(plan, measured, failed, set_aside))
        folder.record(suite=suite.name, seconds=sum(done.get(job.name, 0.0) for job in jobs))
        print(text)
        folder.next(f"{plural(len(measured), 'run')} in {out}", f"read {out / 'result.md'}")
    if failed:
        skipped = [job for job, why in failed.items() if why.startswith(SKIPPED)]
        lines = "".join(f"{os.linesep}  {job}: {why}" for job, why in failed.items() if job not in skipped)
        want = f", {len(skipped)} of them for want of another" if skipped else ""
        raise DataError(f"{len(failed)} of {len(jobs)} jobs failed{want}; the same command tries them again:{lines}")
    if set_aside:
        lines = "".join(f"{os.linesep}  {job}: {why}" for job, why in set_aside.items())
        jobs_did = f"{plural(len(set_aside), 'job')} set videos or files aside, and the scores are of the others"
        raise DataError(f"{jobs_did}: repair them, and give another --out to include them:{lines}")
    return [result for each in measured for result in each.results]


def _to_convert_again(jobs: Sequence[Job], done: Mapping[str, float], failed: Collection[str]) -> list[str]:
    """Manifests that failed jobs rest on, and no finished one: their data sets may have been mended since."""
    found: list[str] = []
    for job in reversed(jobs):
        resting = [each.name for each in jobs if job.name in each.needs]
        stays = any(each in done and each not in found for each in resting) or not set(resting) & set(failed)
        if job.name.startswith(MANIFESTS) and job.name in done and not stays:
            found.append(job.name)
    return found


def _check_begun(out: Path, then: Mapping[str, Any], now: Mapping[str, Any], suite: Suite) -> None:
    """Check that a folder was begun with the same arguments.

    Raises:
        ConfigError: it was not; of another suite, a file of it is left in the folder, so that it can be gone on with.
    """
    # What an earlier version did not ask for was as it is by default.
    then = {**_DEFAULTS, **then}
    for key, flag in _FLAGS.items():
        if then[key] != now[key]:
            before, after = (str(each[key]) or "none" for each in (then, now))
            what = f"was begun with {flag} {before}, and now it is {after}"
            raise ConfigError(f"{out} {what}: pass the same, or give another --out")
    if differing := differences(then["suite"], suite):
        remedy, begun = "give another --out, as this version cannot read that suite", as_now(then["suite"])
        if begun is not None:
            kept = out / "suite.yaml"
            files.write_text(kept, yaml.safe_dump(begun.model_dump(mode="json"), sort_keys=False, allow_unicode=True))
            remedy = f"give --suite {kept} to go on with the suite as it was, or another --out"
        raise ConfigError(f"{out} was begun with another suite: {differing}: {remedy}")
