"""Scores of evaluation runs that lie beside an archive, as tables and plots for the page."""

import math
from pathlib import Path
from typing import Any

from surgvl.core.class_names import class_name
from surgvl.core.results import Result
from surgvl.demo import formatting
from surgvl.demo.run_info import read_scores

# The most telling metrics of a task; the others are folded away.
MAIN_METRICS = ("accuracy", "macro_f1", "recall@1", "recall@5", "mAP_IVT", "mAP_I", "mAP_V", "mAP_T")
TITLES = {"vqa": "Visual question answering"}
MOST = 50


def evaluation_runs(folder: Path) -> list[dict[str, Any]]:
    """Runs with scores in a folder and those below it; a control has no table of its own.

    Args:
        folder: such as a run of `surgvl quickstart`, or the folder that an archive lies in.
    """
    files = [folder / "result.json", *sorted(folder.glob("*/result.json"))]
    found = []
    for path in [each for each in files if each.is_file() and each.parent.name != "control"][:MOST]:
        results, control = read_scores(path)
        if results:
            found.append({"name": path.parent.resolve().name, "tasks": tasks(results, control)})
    return found


def tasks(results: list[Result], control: list[Result]) -> list[dict[str, Any]]:
    """Tables by task: scores with their interval, next to the control and the best blind baseline."""
    values = {_key(row): row.value for row in control}
    found = []
    for name in dict.fromkeys(row.task for row in results):
        rows = [row for row in results if row.task == name]
        main = [row for row in rows if row.metric in MAIN_METRICS] or rows[:2]
        more = [row for row in rows if row not in main]
        found.append(
            {
                "title": TITLES.get(name, class_name("task", name)),
                "num_videos": rows[0].num_videos,
                "num_clips": rows[0].num_clips,
                "encoder": rows[0].encoder,
                "protocol": rows[0].protocol,
                "main": [_row(row, values.get(_key(row), math.nan)) for row in main],
                "more": [_row(row, values.get(_key(row), math.nan)) for row in more],
            }
        )
    return found


def _key(row: Result) -> tuple[str, str, str]:
    """What two scores must have in common to be compared."""
    return row.task, row.metric, row.protocol


def _row(row: Result, control: float) -> dict[str, Any]:
    # The best rank is the lowest.
    best = min if row.metric.endswith("rank") else max
    blind = best((value for value in row.baselines.values() if math.isfinite(value)), default=math.nan)
    low, high = formatting.score(row.low, row.metric), formatting.score(row.high, row.metric)
    return {
        "name": " · ".join(filter(None, (row.metric.replace("_", " "), row.data))),
        "warning": row.warning,
        "value": formatting.score(row.value, row.metric),
        "interval": f"{low} to {high}" if math.isfinite(row.low) else "",
        "control": formatting.score(control, row.metric),
        "blind": formatting.score(blind, row.metric),
        "plot": _plot(row, control, blind),
    }


def _plot(row: Result, control: float, blind: float) -> list[dict[str, Any]]:
    """Marks on an axis from 0 to 1, in per cent; none for ranks, which have another scale."""
    if row.metric.endswith("rank") or not math.isfinite(row.value):
        return []
    width = 100 * max(0.0, row.high - row.low) if math.isfinite(row.high) else math.nan
    marks = (("whisker", row.low, width), ("blind", blind, None), ("control", control, None), ("dot", row.value, None))
    return [
        {"kind": kind, "left": 100 * min(max(at, 0.0), 1.0), "width": width}
        for kind, at, width in marks
        if math.isfinite(at) and (width is None or math.isfinite(width))
    ]
