"""The plots of a suite, from the predictions that its runs wrote and the labels of the manifests.

Shape letters: N moments, C classes.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from surgvl.bench import plots
from surgvl.bench.suite import Row
from surgvl.bench.suite_plan import Run, SuitePlan
from surgvl.bench.suite_report import Measured
from surgvl.bench.svg import Drawing
from surgvl.core.arrays import Int64Array
from surgvl.core.predictions import Predictions, read_predictions
from surgvl.data.manifest import Manifest
from surgvl.metrics import calibration
from surgvl.metrics.calibration import Reliability
from surgvl.tasks.answer_calibration import reliability_of
from surgvl.tasks.answer_files import join, read_answers
from surgvl.tasks.truth import EXCLUSIVE, labels_at

_MOST_CLASSES, _MOST_VIDEOS, _MOST_SERIES = 24, 12, 8


def draw(plan: SuitePlan, measured: Sequence[Measured]) -> dict[str, list[Path]]:
    """Write all plots below `plots/`; returns their paths relative to the suite's folder, by name of the row."""
    found: dict[str, list[Path]] = {}
    for row in plan.rows:
        mine = [each for each in measured if each.run.row == row]
        drawings = {**_bars(row, mine), **_curves(row, mine)}
        reliability: dict[str, Reliability] = {}
        for each in mine:
            file = plan.predictions(each.run)
            answers = plan.folder(each.run) / "answers.jsonl"
            if row.kind in EXCLUSIVE and file.is_file():
                table = Manifest.load(plan.manifest(row))
                drawings |= _moments(each.run, table, read_predictions(file), reliability)
            elif answers.is_file():
                # A model answers its closed questions in one mode.
                tables = list(filter(None, map(reliability_of, join([read_answers(answers)]))))
                if tables:
                    reliability[each.run.label] = tables[0]
        if reliability:
            shown = dict(list(reliability.items())[:_MOST_SERIES])
            drawings["reliability"] = plots.reliability(f"Reliability, {row.name}", shown)
        for name, drawing in drawings.items():
            path = Path("plots") / f"{row.name}-{name}.svg"
            (plan.out / path).parent.mkdir(parents=True, exist_ok=True)
            drawing.save(plan.out / path)
            found.setdefault(row.name, []).append(path)
    return found


def _moments(run: Run, table: Manifest, said: Predictions, reliability: dict[str, Reliability]) -> dict[str, Drawing]:
    """Confusion and ribbons of a run; its reliability is added where its scores are probabilities.

    A moment with several labels has no one class, and is left out as in the scores.
    """
    if said.scores is None:
        return {}
    labels = labels_at(table, run.row.kind, said.video_ids, said.times_s)
    names = list(said.class_names)
    names += sorted({label for each in labels for label in each} - set(names))
    truth = np.array([names.index(each[0]) if len(each) == 1 else -1 for each in labels], np.int64)
    guess = said.scores.argmax(1).astype(np.int64)
    videos = np.asarray(said.video_ids, np.str_)
    known, where = truth >= 0, run.name.rsplit("/", 1)[-1]
    found = {}
    if known.any() and len(names) <= _MOST_CLASSES:
        counts: Int64Array = np.zeros((len(names), len(names)), np.int64)
        np.add.at(counts, (truth[known], guess[known]), 1)
        title = f"{run.row.name}, {run.label}: percent of true class (row) predicted as (column)"
        found[f"confusion-{where}"] = plots.confusion(title, counts, names)
    strips = []
    for video in np.unique(videos)[:_MOST_VIDEOS]:
        rows = np.flatnonzero(videos == video)
        rows = rows[np.argsort(said.times_s[rows], kind="stable")]
        strips.append(plots.Strip(str(video), said.times_s[rows], truth[rows], guess[rows]))
    found[f"ribbons-{where}"] = plots.ribbons(f"{run.row.name}, {run.label}", strips, names)
    if known.any() and not said.hard and calibration.are_distributions(said.scores):
        confidence, right = said.scores[known].max(1), guess[known] == truth[known]
        codes = np.zeros(len(right), np.int64)
        reliability[run.label] = calibration.reliability(confidence, right, codes).pooled()
    return found


def _bars(row: Row, measured: Sequence[Measured]) -> Mapping[str, Drawing]:
    """The first metric of the row that has scores by class."""
    for metric in row.metrics:
        series, blind = {}, None
        for each in measured:
            result = next((result for result in each.main() if result.metric == metric), None)
            if result is not None and result.per_class:
                series[each.run.label] = result.per_class
                blind = blind or next(iter(result.per_class_baselines.values()), None)
        if series:
            shown = dict(list(series.items())[:_MOST_SERIES])
            return {f"classes-{metric}": plots.bars(f"{row.name}: {metric} by class", shown, blind)}
    return {}


def _curves(row: Row, measured: Sequence[Measured]) -> Mapping[str, Drawing]:
    """Each metric against the share of training videos, if there are several."""
    found = {}
    for metric in row.metrics:
        series: dict[str, list[plots.Point]] = {}
        for each in measured:
            for result in each.main():
                if result.metric == metric:
                    point = plots.Point(each.run.share, result.value, result.low, result.high)
                    series.setdefault(f"{each.run.readout} of {each.run.encoder}", []).append(point)
        if any(len(points) > 1 for points in series.values()):
            title = f"{row.name}: {metric} by share of training videos"
            found[f"scale-{metric}"] = plots.curves(title, series, metric)
    return found
