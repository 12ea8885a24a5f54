"""Results as a Markdown page: tables of scores next to their baselines, then the facts needed to interpret them."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from surgvl.core.errors import DataError
from surgvl.core.files import write_text
from surgvl.core.results import Result, write_results
from surgvl.core.tables import markdown_table
from surgvl.core.video_scores import write_video_scores

_NO_INTERVAL = "without one of the videos the score is undefined, and one video says nothing about others"
# Scores of another predictor by task, metric and protocol.
_Control = Mapping[tuple[str, str, str], Result] | None


def write_scores(folder: Path, results: Sequence[Result], notes: str) -> str:
    """Write scores as result.md and result.json, and those by video as videos.parquet; return the page.

    Args:
        folder: a run folder.
        results: the scores.
        notes: text below the scores.
    """
    page = to_markdown(results) + notes
    write_text(folder / "result.md", page)
    write_results(folder / "result.json", results)
    if any(result.by_video for result in results):
        write_video_scores(folder, results)
    return page


def to_markdown(
    results: Sequence[Result], others: Sequence[Result] | None = None, control_name: str = "control"
) -> str:
    """Aligned Markdown tables, with protocols, command, commit and warnings below them.

    Args:
        results: to show.
        others: scores of a control, such as a randomly initialised, frozen encoder, which get a column; joined by task,
            metric and protocol, so that only comparable scores share a row.
        control_name: heading of that column.

    Raises:
        DataError: there are no results.
    """
    if not results:
        raise DataError("no results to show: run a task first")
    control = None if others is None else {(row.task, row.metric, row.protocol): row for row in others}
    lines = []
    if main := [result for result in results if not result.detail]:
        lines += [*_scores(main, control, control_name), ""]
    lines += [*_parts(results), *_details(results, control, control_name), *_notes(results)]
    return "\n".join(lines) + "\n"


def _scores(results: Sequence[Result], control: _Control, control_name: str) -> list[str]:
    """The table of main scores."""
    head = ["task", "metric", "value [95 % over videos]"]
    head += [control_name] if control is not None else []
    head += ["blind baselines", "videos", "clips", "encoder"]
    rows = []
    for result in results:
        encoder = "not stated"
        if result.encoder != "not stated":
            encoder = f"{result.encoder}, {result.num_trainable:,} trained"
        own = [_task(result), *_beside(result, control), f"{result.num_videos:,}", f"{result.num_clips:,}", encoder]
        rows.append(own)
    return markdown_table(head, rows, {"videos", "clips"})


def _details(results: Sequence[Result], control: _Control, control_name: str) -> list[str]:
    """A table for each task with details: these, and all of its scores that have a standard deviation."""
    lines = []
    for task in dict.fromkeys(_task(result) for result in results if result.detail):
        rows = [each for each in results if _task(each) == task and (each.detail or _deviations(each) != ["–", "–"])]
        deviations = [_deviations(each) for each in rows]
        shown = [at for at in (0, 1) if any(each[at] != "–" for each in deviations)]
        head = [f"{task} in detail", "value [95 % over videos]"]
        head += [control_name] if control is not None else []
        head += ["blind baselines", *(("SD over videos", "SD over classes")[at] for at in shown)]
        cells = [
            [*_beside(each, control), *(deviation[at] for at in shown)]
            for each, deviation in zip(rows, deviations, strict=True)
        ]
        lines += [*markdown_table(head, cells, head[-len(shown) :] if shown else ()), ""]
    return lines


def _task(result: Result) -> str:
    return " · ".join(filter(None, (result.task, result.data)))


def _beside(result: Result, control: _Control) -> list[str]:
    """Cells of a score: metric, value, the control's and the baselines'."""
    cells = [result.metric + (" (!)" if result.warning else ""), span(result)]
    if control is not None:
        other = control.get((result.task, result.metric, result.protocol))
        cells.append(span(other) if other else "–")
    baselines = " · ".join(f"{name} {_number(result, value)}" for name, value in result.baselines.items())
    return [*cells, baselines or "–"]


def _deviations(result: Result) -> list[str]:
    return [_number(result, value) for value in (result.sd_videos, result.sd_classes)]


def _parts(results: Sequence[Result]) -> list[str]:
    """A table of parts, such as question types, for each metric that has baselines for them.

    Scores of other predictors on the same rows by the same metric (`accuracy_head` next to `accuracy`) are in the same
    table.
    """
    groups: list[list[Result]] = []
    for result in results:
        if not (result.per_class and result.per_class_baselines):
            continue
        for group in groups:
            first = group[0]
            alike = result.metric.startswith(f"{first.metric}_") and result.per_class_clips == first.per_class_clips
            if result.task == first.task and alike:
                group.append(result)
                break
        else:
            groups.append([result])
    lines = []
    for group in groups:
        first, others = group[0], list(group[0].per_class_baselines)
        parts = [(name, first.per_class_clips.get(name, 0)) for name in first.per_class or {}]
        columns = [each.per_class or {} for each in group] + [first.per_class_baselines[name] for name in others]
        whole = [each.value for each in group] + [first.baselines.get(name, math.nan) for name in others]
        values = [[each.get(name, math.nan) for each in columns] for name, _ in parts] + [whole]
        rows = [
            [name, f"{clips:,}", *(_number(first, value) for value in row)]
            for (name, clips), row in zip([*parts, ("all", first.num_clips)], values, strict=True)
        ]
        head = [f"{first.task} by part", "clips", *(each.metric for each in group), *others]
        lines += [*markdown_table(head, rows, head[1:]), ""]
    return lines


def _notes(results: Sequence[Result]) -> list[str]:
    """Protocols (shared parts are printed once for a task), accuracy by part, commands, commits and warnings."""
    shared: dict[tuple[str, str], dict[str, list[str]]] = {}
    for result in results:
        base, _, own = result.protocol.partition("; ")
        shared.setdefault((result.task, base), {}).setdefault(own, []).append(result.metric)
    notes = []
    for (task, base), parts in shared.items():
        notes.append(f"- {task}: {base}")
        notes += [f"  - {', '.join(metrics)}: {own}" for own, metrics in parts.items() if own]
    for result in results:
        if result.metric == "accuracy" and result.per_class and not result.per_class_baselines:
            by_part = " · ".join(f"{name} {_number(result, value)}" for name, value in result.per_class.items())
            notes.append(f"- {result.task} accuracy by part: {by_part}")
    for word, texts in (
        ("no interval", [_NO_INTERVAL for result in results if "no interval" in span(result)]),
        ("command", [f"`{result.command}`" for result in results if result.command]),
        ("commit", [result.commit for result in results if result.commit]),
        ("(!)", [result.warning for result in results if result.warning]),
    ):
        notes += [f"- {word}: {text}" for text in dict.fromkeys(texts)]
    return notes


def span(result: Result) -> str:
    """Value and interval of a score, as in tables."""
    if not math.isfinite(result.value):
        return "undefined"
    value = _number(result, result.value)
    if not math.isfinite(result.low):
        return f"{value} [{'one video' if result.num_videos == 1 else 'no interval'}]"
    return f"{value} [{_number(result, result.low)}, {_number(result, result.high)}]"


def _number(result: Result, value: float) -> str:
    if not math.isfinite(value):
        return "–"
    return f"{value:.1f}" if result.metric.endswith("rank") else f"{value:.3f}"
