"""The `compare` command: runs of `eval` side by side, with paired differences and tests over their common videos."""

import dataclasses
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from surgvl.bench.published import UNSTATED, Published, Setting, against, read_published
from surgvl.bench.published import published as published_numbers
from surgvl.bench.suite import load_suite, suite_names
from surgvl.commands.data import datasets
from surgvl.core.checks import did_you_mean
from surgvl.core.errors import ConfigError, DataError
from surgvl.core.files import command, read_json, write_json, write_text
from surgvl.core.invocation import recorded
from surgvl.core.result_page import span
from surgvl.core.results import Result, centred_interval, read_results
from surgvl.core.run_folder import RunFolder
from surgvl.core.tables import markdown_table
from surgvl.core.video_scores import Score, VideoScores, read_video_scores
from surgvl.metrics.paired import holm, wilcoxon

_DATA = re.compile(r" split of (\w+),")
# Lower is better; answers end with their mode.
_ERROR = re.compile(r"(ece|ece_mass|brier|mae|error|_rate|rank|_ids|_idm|_mil|_rfp|_rfn|_spread)(_head|_open)?$")


@dataclass(frozen=True)
class Run:
    """A run of `eval`: its name in the tables, its results, its scores by video, and the seed of their draws."""

    name: str
    results: dict[Score, Result]
    by_video: dict[Score, VideoScores]
    seed: int


@dataclass(frozen=True)
class Difference:
    """A run minus the first one, in one score.

    Attributes:
        run: name of the run.
        value: difference of the scores.
        low: lower end of its 95 % interval, by a bootstrap over videos that both runs share; NaN if a score has no
            interval, or the runs do not share their draws of videos.
        high: upper end.
        better: number of videos on which the run is better.
        p: of the one-sided signed-rank test that the run is better; NaN if the videos differ.
        p_holm: corrected for the number of runs that are compared.
        why_not: why there is no test; empty if there is.
    """

    run: str
    value: float
    low: float = math.nan
    high: float = math.nan
    better: int = 0
    p: float = math.nan
    p_holm: float = math.nan
    why_not: str = ""


@recorded
def compare(
    runs: list[Path], out: Path, resume: bool = False, published: str = "", published_file: Path | None = None
) -> None:
    """Compare runs of `surgvl eval`: the first one is what the others are tested against.

    Args:
        runs: folders that `surgvl eval` or `surgvl probe` wrote, for the same labels.
        out: folder for compare.md and compare.json.
        resume: write to an --out folder that is not empty.
        published: also compare the scores with published numbers of this data set, NAME:SPLIT_PROTOCOL, such as
            cholec80:standard; `surgvl data splits` has the names of splits.
        published_file: CSV of further published numbers, of the form of those that ship (surgvl/bench/published.csv).
    """
    if len(runs) < 2:
        raise ConfigError(f"compare needs two runs or more, got {len(runs)}: give their folders")
    if published_file is not None and not published:
        raise ConfigError(f"--published_file {published_file} needs --published NAME:SPLIT: what the runs are about")
    added = read_published(published_file) if published_file is not None else ()
    with RunFolder(out, resume) as folder:
        read = [_read(name, path) for name, path in zip(_names(runs), runs, strict=True)]
        if not (common := [key for key in read[0].results if any(key in other.results for other in read[1:])]):
            raise DataError(f"{runs[0]} has no score in common with the other runs: compare runs of the same tasks")
        found = {key: differences(key, read) for key in common}
        page = to_markdown(read, found) + (_against(published, read, added) if published else "")
        folder.record()
        write_text(out / "compare.md", page)
        write_json(out / "compare.json", to_json(read, found))
        print(page)
        folder.next(f"comparison in {out}", _next(runs, out, list(read[0].results.values()), bool(published)))


def _read(name: str, path: Path) -> Run:
    results = {_key(each): each for each in read_results(path / "result.json")}
    facts = read_json(path / "run.json") if (path / "run.json").is_file() else {}
    return Run(name, results, read_video_scores(path), int(facts.get("seed", 0)))


def _against(where: str, runs: Sequence[Run], added: Sequence[Published]) -> str:
    """A table of the runs' scores beside published numbers about a data set, those that ship and others.

    Raises:
        ConfigError: there are none, or the data set has no such split.
    """
    data, _, split = where.partition(":")
    numbers = (*published_numbers(), *added)
    known = sorted({each.data for each in numbers})
    if data not in known:
        hint = did_you_mean(data, known, f"numbers are known about {', '.join(known)}")
        raise ConfigError(f"--published {data!r} is not a data set with published numbers: {hint}")
    splits = {each.split for each in numbers if each.data == data} - {UNSTATED}
    splits |= set(datasets()[data].SPLITS) if data in datasets() else set()
    if split and split not in splits:
        hint = did_you_mean(split, splits, "choose one, or leave it out")
        raise ConfigError(f"--published {where}: {data} has the splits {', '.join(sorted(splits))}: {hint}")
    pairs = [
        (Setting(data, result.task, split, _encoder(result)), run.name, result)
        for run in runs
        for result in run.results.values()
        if result.data in ("", data)
    ]
    table = against(pairs, added)
    scored = {(ours.data, ours.kind, result.metric) for ours, _, result in pairs}
    unused = [each for each in added if (each.data, each.kind, each.metric) not in scored]
    notes = [
        f"- not shown, as no run has the score: {' '.join((each.data, each.kind, each.metric))} of {each.system}"
        for each in unused
    ]
    return "\n".join(
        ["\n### Against published numbers\n", table or "None about these labels and metrics.\n", *notes, ""]
    )


def _encoder(result: Result) -> str:
    """As papers name it: scores by sentences are zero-shot, however the encoder was trained."""
    return "zero-shot" if _by_text(result) else result.encoder


def _by_text(result: Result) -> bool:
    return ", zero-shot with " in result.protocol


def _next(runs: Sequence[Path], out: Path, results: Sequence[Result], published: bool) -> str:
    """The same runs beside published numbers about their data set, or else a suite that measures it in their way."""
    known = {each.data for each in published_numbers()}
    scored = [(match[1], each) for each in results if (match := _DATA.search(each.protocol))]
    for data, _ in scored:
        if data in known and not published:
            return command("compare", *runs, out=f"{out}-published", published=data)
    suites = [load_suite(name) for name in suite_names()]
    for data, result in scored:
        for suite in sorted(suites, key=lambda each: each.by_text != _by_text(result)):
            if any((row.data, row.kind) == (data, result.task) and not row.lacks for row in suite.rows):
                needs = {} if suite.render else {"root": "DATA", "encoders": "MODEL"}
                return command("eval", suite=suite.name, **needs, out=suite.name)
    return f"read {out / 'compare.md'}"


def differences(key: Score, runs: Sequence[Run]) -> list[Difference]:
    """Differences of each other run that has a score to the first one."""
    first, others = runs[0], [run for run in runs[1:] if key in run.results]
    found = [_difference(key, first, run) for run in others]
    corrected = holm([each.p for each in found]).tolist()
    return [dataclasses.replace(each, p_holm=p) for each, p in zip(found, corrected, strict=True)]


def _difference(key: Score, first: Run, run: Run) -> Difference:
    mine, theirs = run.results[key], first.results[key]
    bare = Difference(run.name, mine.value - theirs.value)
    if key not in run.by_video or key not in first.by_video:
        return dataclasses.replace(bare, why_not="no scores by video")
    a, b = run.by_video[key], first.by_video[key]
    if list(a.values) != list(b.values):
        return dataclasses.replace(bare, why_not="other videos")
    if mine.num_clips != theirs.num_clips:
        return dataclasses.replace(bare, why_not=f"{mine.num_clips:,} clips, not {theirs.num_clips:,}")
    sign = -1.0 if lower_is_better(key[1]) else 1.0
    ours, other = (sign * np.array(list(each.values.values())) for each in (a, b))
    low, high = math.nan, math.nan
    if first.seed == run.seed and len(a.drawn) and len(a.drawn) == len(b.drawn):
        low, high = centred_interval(bare.value, a.drawn - b.drawn, len(a.values), (-math.inf, math.inf))
    better = int((ours > other + 1e-12).sum())
    return dataclasses.replace(bare, low=low, high=high, better=better, p=wilcoxon(ours, other))


def lower_is_better(metric: str) -> bool:
    """Whether a run with less of a score is the better one."""
    return _ERROR.search(metric) is not None


def to_markdown(runs: Sequence[Run], found: dict[Score, list[Difference]]) -> str:
    """A table of values and one of differences, for the main scores."""
    main = [key for key in found if not runs[0].results[key].detail]
    values = [[_titled(key), *(_span(run.results[key]) if key in run.results else "–" for run in runs)] for key in main]
    lines = [*markdown_table(["score", *(run.name for run in runs)], values), ""]
    head = [f"minus {runs[0].name}", "run", "difference [95 %]", "better on", "p", "p (Holm)"]
    rows = []
    for key in main:
        for each in found[key]:
            num_videos = len(runs[0].by_video[key].values) if key in runs[0].by_video else 0
            tests = [f"{each.better} of {num_videos}", f"{each.p:.4f}", f"{each.p_holm:.4f}"]
            ends = f" [{each.low:+.3f}, {each.high:+.3f}]" if math.isfinite(each.low) else ""
            rows.append(
                [
                    _titled(key),
                    each.run,
                    f"{each.value:+.3f}{ends}",
                    *(tests if not each.why_not else [each.why_not, "–", "–"]),
                ]
            )
    lines += markdown_table(head, rows)
    lines += [
        "",
        "- Intervals: paired bootstrap over videos, both runs on the same draws",
        f"- p: one-sided Wilcoxon signed-rank test that a run is better than {runs[0].name} on the videos one by one; "
        "Holm's correction over the runs of a score",
    ]
    lines += [
        f"- {run.name}: no intervals, as its videos were drawn with seed {run.seed}, and not {runs[0].seed}: give both "
        "the same --seed"
        for run in runs[1:]
        if run.seed != runs[0].seed
    ]
    for run in runs:
        lines += [f"- {run.name}: {text}" for text in dict.fromkeys(_protocol(run, key) for key in main)]
        warned = dict.fromkeys(run.results[key].warning for key in main if key in run.results)
        lines += [f"- {run.name} (!): {text}" for text in warned if text]
    return "\n".join(lines) + "\n"


def to_json(runs: Sequence[Run], found: dict[Score, list[Difference]]) -> list[dict[str, Any]]:
    """All scores: values and differences; NaN becomes null."""
    return [
        {
            "task": key[0],
            "metric": key[1],
            "data": key[2],
            "values": {run.name: _finite(run.results[key].value) for run in runs if key in run.results},
            "differences": [
                {name: _finite(value) for name, value in dataclasses.asdict(each).items()} for each in differences_of
            ],
        }
        for key, differences_of in found.items()
    ]


def _key(result: Result) -> Score:
    return result.task, result.metric, result.data


def _names(runs: Sequence[Path]) -> list[str]:
    """The last part of each path, or the whole path where two share it."""
    last = [path.resolve().name for path in runs]
    names = last if len(set(last)) == len(last) else [str(path) for path in runs]
    if len(set(names)) < len(names):
        raise ConfigError(f"each run must be given once, got {', '.join(names)}")
    return names


def _titled(key: Score) -> str:
    return " · ".join(filter(None, (key[0], key[2], key[1])))


def _protocol(run: Run, key: Score) -> str:
    return run.results[key].protocol.partition("; ")[0] if key in run.results else f"no {_titled(key)}"


def _span(result: Result) -> str:
    return span(result) + (" (!)" if result.warning else "")


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
