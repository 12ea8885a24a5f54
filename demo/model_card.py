"""The page about the model as HTML: what it was trained on, its scores beside the control, and what they do not say."""

import math
from collections.abc import Sequence

from surgvl.core.results import Result
from surgvl.demo import formatting
from surgvl.demo.schemas import About, Stage

# Of a task with many metrics, these say most; the others are folded away.
FIRST = ("accuracy", "macro_f1", "recall@1", "recall@5", "mAP_IVT", "mAP_I", "mAP_V", "mAP_T")
SPLITS = {"train": "training", "val": "validation", "test": "test (held out)", "": "no split"}


def about(found: About) -> str:
    """The whole page."""
    sections = [_plain_words(found), _data(found), _training(found.stages), _scores(found.results, found.control)]
    return f'<article class="about">{"".join(sections)}</article>'


def _plain_words(found: About) -> str:
    total = sum(count for count, _ in found.splits.values())
    rendered, numbers = "", ""
    if found.num_rendered:
        which = "The videos" if found.num_rendered == total else f"{found.num_rendered:,} of the {total:,} videos"
        rendered = (
            f"<p>{which} behind this page are <b>rendered</b>: a program draws tissue, instruments and smoke, and "
            "knows every label exactly. They exist to check that the machinery works.</p>"
        )
    if found.num_rendered or found.trained_on.startswith("rendered"):
        numbers = "Numbers on rendered video <b>say nothing about patients</b>. "
    learnt = f"The models were trained on {found.trained_on}. " if found.trained_on else ""
    return (
        f'<section class="card plain"><h2>Read this first</h2>{rendered}'
        f"<p>{learnt}{numbers}Nothing here has been tested on people, "
        "nothing here is a medical device, and nothing here is for clinical use.</p></section>"
    )


def _data(found: About) -> str:
    tiles = "".join(
        f"<div><dt>{SPLITS[split]}</dt><dd>{formatting.plural(count, 'video')}"
        f"<small>{formatting.hours(length)}</small></dd></div>"
        for split, (count, length) in found.splits.items()
    )
    sources = "; ".join(
        f"{formatting.safe(name)} (licence: {formatting.safe(licence)})" if licence else formatting.safe(name)
        for name, licence in found.sources
    )
    aside = f"Set aside, because they cannot be read: {formatting.plural(found.num_set_aside, 'video')}. "
    aside = aside if found.num_set_aside else ""
    return (
        f'<section class="card"><h2>Videos</h2><dl class="tiles">{tiles}</dl>'
        f'<p class="note">{aside}Sources: {sources}. Run folder: {formatting.safe(found.run)}.</p></section>'
    )


def _training(stages: Sequence[Stage]) -> str:
    cards = "".join(
        f"<li><h3>{formatting.safe(stage.name)}</h3><p>{formatting.safe(stage.purpose)}</p><dl>"
        + "".join(
            f"<div><dt>{formatting.safe(key)}</dt><dd>{formatting.safe(value)}</dd></div>"
            for key, value in stage.facts.items()
        )
        + "</dl></li>"
        for stage in stages
    )
    return f'<section class="card"><h2>How it was trained</h2><ol class="stages">{cards}</ol></section>'


def _scores(results: Sequence[Result], control: Sequence[Result]) -> str:
    if not results:
        body = (
            '<p class="note">This run folder holds no result.json: the last step of `surgvl quickstart` writes it.</p>'
        )
        return f'<section class="card"><h2>Scores</h2>{body}</section>'
    beside = {(row.task, row.metric, row.protocol): row for row in control}
    parts = []
    for task in dict.fromkeys(row.task for row in results):
        rows = [row for row in results if row.task == task]
        main = [row for row in rows if row.metric in FIRST] or rows[:2]
        rest = [row for row in rows if row not in main]
        more = ""
        if rest:
            how_many = formatting.plural(len(rest), "more metric")
            more = f"<details><summary>{how_many}</summary>{_table(rest, beside)}</details>"
        counts = f"{formatting.plural(rows[0].num_videos, 'video')}, {formatting.plural(rows[0].num_clips, 'clip')}"
        counts += f", encoder {formatting.safe(rows[0].encoder)}"
        parts.append(f"<h3>{formatting.phase(task)} <small>{counts}</small></h3>{_table(main, beside)}{more}")
    key = (
        '<p class="key"><span class="k-model">this model, 95 % interval over videos</span>'
        '<span class="k-control">control: the same steps on a random, frozen encoder</span>'
        '<span class="k-blind">best answer without looking</span></p>'
    )
    return f'<section class="card scores"><h2>Scores on held-out videos</h2>{key}{"".join(parts)}</section>'


def _table(rows: Sequence[Result], beside: dict[tuple[str, str, str], Result]) -> str:
    lines = "".join(_line(row, beside.get((row.task, row.metric, row.protocol))) for row in rows)
    head = "<tr><th>metric</th><th><span>0 to 1</span></th><th>model</th><th>control</th><th>blind</th></tr>"
    # What scrolls sideways must be reached by keys, too.
    scrolls = 'class="wide" role="region" tabindex="0" aria-label="Table of scores"'
    return f"<div {scrolls}><table><thead>{head}</thead><tbody>{lines}</tbody></table></div>"


def _line(row: Result, other: Result | None) -> str:
    # Of a rank, the smallest is the best.
    best = min if row.metric.endswith("rank") else max
    blind = best((value for value in row.baselines.values() if math.isfinite(value)), default=math.nan)
    control = other.value if other else math.nan
    span = (
        f"<small>{formatting.number(row.low, row.metric)} to {formatting.number(row.high, row.metric)}</small>"
        if math.isfinite(row.low)
        else ""
    )
    warning = f' title="{formatting.safe(row.warning)}"' if row.warning else ""
    mark = " (!)" if row.warning else ""
    name = " · ".join(filter(None, (row.metric.replace("_", " "), row.data)))
    return (
        f"<tr{warning}><th>{formatting.safe(name)}{mark}</th><td>{_plot(row, control, blind)}</td>"
        f"<td><b>{formatting.number(row.value, row.metric)}</b>{span}</td>"
        f"<td>{formatting.number(control, row.metric)}</td>"
        f"<td>{formatting.number(blind, row.metric)}</td></tr>"
    )


def _plot(row: Result, control: float, blind: float) -> str:
    """Dot and whisker between 0 and 1; nothing for ranks, whose scale is another."""
    if row.metric.endswith("rank") or not math.isfinite(row.value):
        return ""

    def at(value: float) -> str:
        return f"left:{100 * min(max(value, 0.0), 1.0):.1f}%"

    marks = ""
    if math.isfinite(row.low) and math.isfinite(row.high):
        marks += f'<i class="whisker" style="{at(row.low)};width:{100 * max(0.0, row.high - row.low):.1f}%"></i>'
    if math.isfinite(blind):
        marks += f'<i class="blind" style="{at(blind)}"></i>'
    if math.isfinite(control):
        marks += f'<i class="control" style="{at(control)}"></i>'
    return f'<div class="plot" aria-hidden="true">{marks}<i class="dot" style="{at(row.value)}"></i></div>'
