"""The report of a suite: scores beside blind baselines and published numbers, expected orders, and what is absent."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from surgvl.bench.compare import Difference, ScoreTables, difference, verdict_of
from surgvl.bench.published import Setting, against
from surgvl.bench.suite import Row
from surgvl.bench.suite_plan import RANDOM, Run, SuitePlan
from surgvl.core.files import read_json
from surgvl.core.invocation import command_line
from surgvl.core.result_page import span
from surgvl.core.results import Result, finite_or_null, read_results
from surgvl.core.tables import markdown_table
from surgvl.core.version import commit
from surgvl.tasks.numbers import NUMBERED, part_of_kind


@dataclass(frozen=True)
class Measured:
    """The scores of a run; those of `surgvl eval` take precedence over those that the readout wrote."""

    run: Run
    results: Sequence[Result]

    def main(self) -> list[Result]:
        """Scores of the main table, in the order of the row's metrics; all if it names none, or none that is there."""
        by_metric = {result.metric: result for result in self.results}
        return [by_metric[name] for name in self.run.row.metrics if name in by_metric] or list(self.results)


def collect(plan: SuitePlan, done: Mapping[str, float]) -> list[Measured]:
    """Scores of all runs that are done, of their kind of label only."""
    found = []
    for run in plan.runs:
        if plan.is_done(run, dict(done)):
            folders = [plan.scores(run)] if plan.is_scored(run) else []
            files = [folder / "result.json" for folder in (*folders, plan.folder(run))]
            results = [each for file in files if file.is_file() for each in read_results(file)]
            # Of two scores of one metric, the first is kept.
            kept = {(each.task, each.metric): each for each in reversed(results) if each.task == run.row.kind}
            found.append(Measured(run, [*reversed(kept.values())]))
    return found


def video_scores(plan: SuitePlan, row: Row, measured: Sequence[Measured]) -> ScoreTables:
    """Scores by video of each run on a row, for paired comparisons: label -> seed -> kind -> [V, C].

    Of numbers they are errors, with a minus, so that more is better of all.
    """
    sign = -1.0 if part_of_kind(row.kind, NUMBERED) else 1.0
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for each in measured:
        file = plan.folder(each.run) / "videos.json"
        if each.run.row == row and file.is_file() and row.kind in (tables := read_json(file)):
            found[each.run.label] = {plan.seed: {row.kind: sign * np.array(tables[row.kind], np.float64)}}
    return found


def to_markdown(
    plan: SuitePlan,
    measured: Sequence[Measured],
    failed: Mapping[str, str],
    set_aside: Mapping[str, str],
    plots: Mapping[str, Sequence[Path]],
) -> str:
    """The whole page.

    Args:
        plan: what was to be measured.
        measured: scores of the runs that are done.
        failed: reason of each job that is not done.
        set_aside: what each job that is done without some videos said last.
        plots: files of plots by name of the row, relative to the page.
    """
    suite = plan.suite
    parts = [f"# {suite.title}\n", f"{suite.protocol}\n", f"Source: {suite.source}.\n"]
    if measured:
        parts += ["## Scores\n", _scores(measured)]
        parts += _differences(plan, measured)
        parts += _expected(plan, measured)
        parts += _against(plan, measured)
    parts += ["## How the paper measures, and what we measured\n", *_protocols(plan, measured), ""]
    for name, files in plots.items():
        parts += [f"## Plots of {name}\n", *(f"![{path.stem}]({path.as_posix()})" for path in files), ""]
    if plan.absent:
        parts += ["## Absent\n", *_table(["row", "why, and how to get it"], [[*each] for each in plan.absent.items()])]
    if set_aside:
        lines = [[name, f"{why} (`logs/{name}.log`)"] for name, why in set_aside.items()]
        parts += ["## Set aside\n", *_table(["run", "what could not be read"], lines)]
    parts += [f"- command: `{command_line()}`", f"- commit: {commit()}"]
    parts += [f"- not done: {name}: {why}" for name, why in failed.items()]
    return "\n".join(parts) + "\n"


def to_json(
    plan: SuitePlan, measured: Sequence[Measured], failed: Mapping[str, str], set_aside: Mapping[str, str]
) -> dict[str, Any]:
    """The content of the page as JSON values."""
    rows = [
        {
            **_facts(each.run),
            "folder": each.run.name,
            "results": [finite_or_null(dataclasses.asdict(result)) for result in each.results],
        }
        for each in measured
    ]
    expected = [
        {"expected": text, "kind": kind, "found": verdict, "differences": [_plain(each) for each in found]}
        for text, kind, verdict, found in _verdicts(plan, measured)
    ]
    return {
        "suite": plan.suite.name,
        "command": command_line(),
        "commit": commit(),
        "rows": rows,
        "expected": expected,
        "absent": plan.absent,
        "failed": dict(failed),
        "set_aside": dict(set_aside),
    }


def _facts(run: Run) -> dict[str, Any]:
    row = run.row
    data, split = row.measured
    facts = {"data": data, "kind": row.kind, "split": split}
    return {**facts, "readout": run.readout, "encoder": run.encoder, "share": run.share}


def _scores(measured: Sequence[Measured]) -> str:
    head = ["data", "labels", "readout and encoder", "metric", "value [95 % over videos]", "blind baselines"]
    head += ["videos", "clips", "weights", "trained"]
    rows = []
    for each in measured:
        row = each.run.row
        for result in each.main():
            blind = " · ".join(f"{name} {value:.3f}" for name, value in result.baselines.items())
            metric = result.metric + (" (!)" if result.warning else "")
            cells = [" ".join(filter(None, row.measured)), row.kind, each.run.label, metric, span(result)]
            # Files of predictions do not tell random weights from others.
            weights = (
                f"random, {result.encoder.removeprefix('random, ')}" if each.run.encoder == RANDOM else result.encoder
            )
            counts = [f"{result.num_videos:,}", f"{result.num_clips:,}", weights, f"{result.num_trainable:,}"]
            rows.append([*cells, blind or "–", *counts])
    return "\n".join(_table(head, rows, {"videos", "clips", "trained"}))


def _differences(plan: SuitePlan, measured: Sequence[Measured]) -> list[str]:
    """Each encoder against random weights, or against the first encoder, with the same readout."""
    base = RANDOM if RANDOM in plan.encoders else plan.encoders[0]
    lines = []
    for row in plan.rows:
        tables = video_scores(plan, row, measured)
        for run in (each.run for each in measured if each.run.row == row and each.run.encoder != base):
            other = dataclasses.replace(run, encoder=base)
            if run.label in tables and other.label in tables:
                found = difference(tables, run.label, other.label, row.kind)
                lines.append([row.name, f"{run.label} − {other.label}", _interval(found), found.verdict])
    if not lines:
        return []
    words = (
        "Paired by video, 95 % interval of a bootstrap over videos, not corrected for several comparisons; of phases "
        "the accuracy, of several labels the mean average precision, of skill minus the mean absolute error.\n"
    )
    return ["## Differences\n", words, *_table(["row", "difference", "value [95 %]", "above 0"], lines)]


def _verdicts(plan: SuitePlan, measured: Sequence[Measured]) -> list[tuple[str, str, str, list[Difference]]]:
    """Expected order, kind, verdict and the differences behind it."""
    found = []
    for expected in plan.suite.expected:
        for row in plan.rows:
            if row.kind in expected.kinds:
                verdict, differences = verdict_of(video_scores(plan, row, measured), expected.effect)
                found.append((expected.text, row.kind, verdict, differences))
    return found


def _expected(plan: SuitePlan, measured: Sequence[Measured]) -> list[str]:
    verdicts = _verdicts(plan, measured)
    if not verdicts:
        return []
    lines = []
    for text, kind, verdict, differences in verdicts:
        shown = "; ".join(f"{each.row} − {each.other}: {_interval(each)}" for each in differences)
        words = {
            "yes": "yes: every interval lies above 0",
            "no": "no: an interval has no part above 0",
            "not clear": "not shown: an interval holds 0",
            "not measured": "not measured: a run is missing",
        }
        lines.append([text, kind, words[verdict], shown])
    head = ["expected", "labels", "found", "differences [95 % over videos]"]
    return ["## Expected orders\n", "Written down before the runs.\n", *_table(head, lines)]


def _against(plan: SuitePlan, measured: Sequence[Measured]) -> list[str]:
    """Scores beside published numbers, a table for each row."""
    tables = []
    for row in plan.rows:
        data, split = row.measured
        pairs = []
        for each in measured:
            run = each.run
            part = [f"ours trained on {100 * run.share:g} % of the training videos"] if run.share < 1 else []
            part += [f"ours on a clip every {plan.every_s:g} s"] if plan.is_sparse(run) else []
            for result in each.main() if run.row == row else ():
                encoder = "zero-shot" if plan.verb(run.readout) == "embed" else result.encoder
                pairs.append((Setting(data, row.kind, split, encoder, "; ".join(part)), run.label, result))
        tables += [table] if (table := against(pairs)) else []
    words = "A number is comparable only where its paper states the same facts; see `surgvl/bench/published.csv`.\n"
    return ["## Against published numbers\n", words, *tables] if tables else []


def _protocols(plan: SuitePlan, measured: Sequence[Measured]) -> list[str]:
    lines = [f"- readout {name}: `surgvl {words}`" for name, words in plan.suite.readouts.items()]
    for row in plan.rows:
        lines.append(f"- {row.name}: paper: {row.published}")
        lines += [f"  - {name} here: `{words}`" for name, words in row.arguments.items()]
        own = [result.protocol for each in measured if each.run.row == row for result in each.main()]
        lines += [f"  - ours: {text}" for text in dict.fromkeys(own)]
    return lines


def _interval(found: Difference) -> str:
    if np.isnan(found.value):
        return "–"
    ends = "no interval" if np.isnan(found.low) else f"{found.low:+.3f}, {found.high:+.3f}"
    return f"{found.value:+.3f} [{ends}]"


def _plain(found: Difference) -> dict[str, Any]:
    values: dict[str, Any] = finite_or_null({"value": found.value, "low": found.low, "high": found.high})
    return {"row": found.row, "other": found.other, **values}


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], right: set[str] | None = None) -> list[str]:
    return [*markdown_table(head, rows, right or set()), ""]
