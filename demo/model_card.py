"""The model card as HTML: what the models were trained on, their scores next to the control, and their limits."""

import math
from typing import Any

from surgvl.core.results import Result
from surgvl.demo import formatting
from surgvl.demo.render import render
from surgvl.demo.schemas import ModelCard

# The most telling metrics of a task; the others are folded away.
MAIN_METRICS = ("accuracy", "macro_f1", "recall@1", "recall@5", "mAP_IVT", "mAP_I", "mAP_V", "mAP_T")
TITLES = {"vqa": "Visual question answering"}
SPLITS = {"train": "training", "val": "validation", "test": "test (held out)", "": "no split"}


def model_card(card: ModelCard) -> str:
    """HTML of the tab about the model."""
    num_videos = sum(count for count, _ in card.splits.values())
    return render("model_card", card=card, num_videos=num_videos, splits=SPLITS, tasks=_tasks(card))


def _tasks(card: ModelCard) -> list[dict[str, Any]]:
    control = {_key(row): row.value for row in card.control}
    tasks = []
    for name in dict.fromkeys(row.task for row in card.results):
        rows = [row for row in card.results if row.task == name]
        main = [row for row in rows if row.metric in MAIN_METRICS] or rows[:2]
        more = [row for row in rows if row not in main]
        tasks.append(
            {
                "title": TITLES.get(name, formatting.phase(name)),
                "num_videos": rows[0].num_videos,
                "num_clips": rows[0].num_clips,
                "encoder": rows[0].encoder,
                "main": [_row(row, control.get(_key(row), math.nan)) for row in main],
                "more": [_row(row, control.get(_key(row), math.nan)) for row in more],
            }
        )
    return tasks


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
