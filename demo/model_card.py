"""The page about the model as HTML: what it was trained on, its scores beside the control, and what they do not say."""

import math
from collections.abc import Sequence
from typing import Any

from surgvl.core.results import Result
from surgvl.demo import formatting
from surgvl.demo.render import render
from surgvl.demo.schemas import About

# Of a task with many metrics, these say most; the others are folded away.
FIRST = ("accuracy", "macro_f1", "recall@1", "recall@5", "mAP_IVT", "mAP_I", "mAP_V", "mAP_T")
SPLITS = {"train": "training", "val": "validation", "test": "test (held out)", "": "no split"}


def about(found: About) -> str:
    """The whole page."""
    num_videos = sum(count for count, _ in found.splits.values())
    return render("about", about=found, num_videos=num_videos, splits=SPLITS, tasks=_tasks(found))


def _tasks(found: About) -> list[dict[str, Any]]:
    control = {_key(row): row.value for row in found.control}
    tasks = []
    for name in dict.fromkeys(row.task for row in found.results):
        rows = [row for row in found.results if row.task == name]
        first = [row for row in rows if row.metric in FIRST] or rows[:2]
        more = [row for row in rows if row not in first]
        tasks.append(
            {
                "name": name,
                "num_videos": rows[0].num_videos,
                "num_clips": rows[0].num_clips,
                "encoder": rows[0].encoder,
                "first": [_row(row, control.get(_key(row), math.nan)) for row in first],
                "more": [_row(row, control.get(_key(row), math.nan)) for row in more],
            }
        )
    return tasks


def _key(row: Result) -> tuple[str, str, str]:
    """What the score of the model and that of the control must have in common to stand beside one another."""
    return row.task, row.metric, row.protocol


def _row(row: Result, control: float) -> dict[str, Any]:
    # Of a rank, the smallest is the best.
    best = min if row.metric.endswith("rank") else max
    blind = best((value for value in row.baselines.values() if math.isfinite(value)), default=math.nan)
    value, low, high, control_text, blind_text = (
        formatting.number(each, row.metric) for each in (row.value, row.low, row.high, control, blind)
    )
    return {
        "name": " · ".join(filter(None, (row.metric.replace("_", " "), row.data))),
        "warning": row.warning,
        "value": value,
        "interval": f"{low} to {high}" if math.isfinite(row.low) else "",
        "control": control_text,
        "blind": blind_text,
        "plot": _plot(row, control, blind),
    }


def _plot(row: Result, control: float, blind: float) -> Sequence[dict[str, Any]]:
    """Dot and whisker between 0 and 1, in per cent; nothing for ranks, whose scale is another."""
    if row.metric.endswith("rank") or not math.isfinite(row.value):
        return []
    width = 100 * max(0.0, row.high - row.low) if math.isfinite(row.high) else math.nan
    marks = (("whisker", row.low, width), ("blind", blind, None), ("control", control, None), ("dot", row.value, None))
    return [
        {"kind": kind, "left": 100 * min(max(at, 0.0), 1.0), "width": width}
        for kind, at, width in marks
        if math.isfinite(at) and (width is None or math.isfinite(width))
    ]
