"""The timeline as HTML: phase ribbons, triplet rows as heat, one time axis. Pure functions.

Everything on a track is placed in per cent of the video's length, so a click's place is a time.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from surgvl.demo import formatting
from surgvl.demo.schemas import HeatRow, Timeline

# More cells than pixels are of no use.
MAX_CELLS = 240
NUM_COLOURS = 7
TICKS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)


def timeline(found: Timeline) -> str:
    """The card with ribbons, rows, axis and legend."""
    runs = stretches(found.predicted, found.edges_s)
    rows = [_ribbon(found, runs, "Predicted", "predicted")]
    if found.truth is not None:
        rows.append(_ribbon(found, stretches(found.truth, found.edges_s), "Truth", "truth"))
    heat = "".join(_heat(found, row) for row in found.rows)
    smoothing = f"mean over {found.smooth_s:g} s" if found.smooth_s else "no smoothing"
    agreement = "" if found.agreement is None else f"{found.agreement:.0%} of seconds agree with the truth · "
    return (
        f'<article class="card timeline" data-of="{formatting.safe(found.video_id)}"><p class="eyebrow">'
        f"<span>{formatting.safe(found.title)}</span>"
        f"<span>{agreement}{smoothing}</span></p>"
        f'<div class="tracks"><h3>Phase</h3>{"".join(rows)}{_axis(found.duration_s)}'
        f"</div>{_legend(found)}"
        f'<div class="tracks"><h3>Action: instrument, verb, target</h3>{heat}{_axis(found.duration_s)}</div>'
        '<p class="note">Zero-shot: each second is compared with sentences; no label of any video is used. Fuller '
        "colour: a larger share among all triplets; the line below a row is its truth, where it is known. Click on a "
        "track, or use the arrow keys on the first, to move the player.</p></article>"
    )


def stretches(classes: NDArray[np.int64], edges_s: NDArray[np.float64]) -> list[tuple[int, float, float]]:
    """Runs of equal class as (class, start_s, end_s); runs of -1 are left out.

    Args:
        classes: int64 [N].
        edges_s: float64 [N + 1].
    """
    if not len(classes):
        return []
    cuts = [0, *(np.flatnonzero(np.diff(classes)) + 1).tolist(), len(classes)]
    runs = zip(cuts[:-1], cuts[1:], strict=True)
    return [(int(classes[a]), float(edges_s[a]), float(edges_s[b])) for a, b in runs if classes[a] >= 0]


def _ribbon(found: Timeline, runs: Sequence[tuple[int, float, float]], title: str, kind: str) -> str:
    parts = []
    # Short ones come last and so lie above: each is at least three pixels wide (style.css), and none is covered.
    for number, start_s, end_s in sorted(runs, key=lambda run: run[1] - run[2]):
        name = formatting.phase(found.phases[number])
        span = f"{formatting.clock(start_s)} to {formatting.clock(end_s)}"
        parts.append(
            f'<span class="seg p{number % NUM_COLOURS}" style="{_place(start_s, end_s, found.duration_s)}" '
            f'title="{name}, {span}"><em>{name}</em></span>'
        )
    body = f'<div class="segs">{"".join(parts)}</div>'
    return _track(found.duration_s, title, f"ribbon {kind}", body, f"{title} phases")


def _heat(found: Timeline, row: HeatRow) -> str:
    edges, values = cells(found.edges_s, row.shares)
    highest = max((float(each.shares.max(initial=0.0)) for each in found.rows), default=0.0)
    rects = "".join(
        f'<rect x="{100 * a / found.duration_s:.2f}" width="{100 * (b - a) / found.duration_s:.2f}" '
        f'height="1" opacity="{value / highest:.2f}"/>'
        for a, b, value in zip(edges[:-1].tolist(), edges[1:].tolist(), values.tolist(), strict=True)
        if highest and value / highest >= 0.02
    )
    truth = "".join(f'<i class="true" style="{_place(a, b, found.duration_s)}"></i>' for a, b in row.truth)
    body = f'<svg viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true">{rects}</svg>{truth}'
    return _track(
        found.duration_s, formatting.triplet(row.name), "heat", body, f"Share of {formatting.triplet(row.name)}"
    )


def cells(edges_s: NDArray[np.float64], values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """At most MAX_CELLS cells, each with the largest value in it: edges [M + 1] and values [M]."""
    if len(values) <= MAX_CELLS:
        return edges_s, values
    cuts = np.linspace(0, len(values), MAX_CELLS + 1).round().astype(int)
    return edges_s[cuts], np.maximum.reduceat(values, cuts[:-1])


def _track(duration_s: float, title: str, kind: str, body: str, spoken: str) -> str:
    role = f'role="img" aria-label="{spoken}"'
    # One slider is enough for the keyboard; all tracks take clicks.
    if kind == "ribbon predicted":
        role = (
            f'role="slider" tabindex="0" aria-label="{spoken}; moves the player" aria-valuemin="0" '
            f'aria-valuemax="{duration_s:.0f}" aria-valuenow="0"'
        )
    return (
        f'<div class="lane"><span class="name" title="{title}">{title}</span>'
        f'<div class="track {kind}" data-track {role}>{body}<i class="head"></i></div></div>'
    )


def _place(start_s: float, end_s: float, duration_s: float) -> str:
    # Three pixels, the least width of a segment, must fit before the end.
    return f"left:min({100 * start_s / duration_s:.3f}%,100% - 3px);width:{100 * (end_s - start_s) / duration_s:.3f}%"


def _axis(duration_s: float) -> str:
    step = next((step for step in TICKS_S if duration_s / step <= 8), TICKS_S[-1])
    ticks = "".join(
        f'<time style="left:{100 * second / duration_s:.2f}%"{_edge(second / duration_s)}>'
        f"{formatting.clock(second)}</time>"
        for second in range(0, int(duration_s) + 1, step)
    )
    return f'<div class="lane axis" aria-hidden="true"><span class="name"></span><div class="ticks">{ticks}</div></div>'


def _edge(share: float) -> str:
    """Labels at the ends stay inside."""
    return ' class="first"' if share < 0.02 else ' class="last"' if share > 0.98 else ""


def _legend(found: Timeline) -> str:
    lengths = np.diff(found.edges_s)
    entries = "".join(
        f'<li><i class="p{number % NUM_COLOURS}"></i>{formatting.phase(name)}'
        f"<em>{formatting.clock(float(lengths[found.predicted == number].sum()))}</em></li>"
        for number, name in enumerate(found.phases)
        if (found.predicted == number).any() or (found.truth is not None and (found.truth == number).any())
    )
    return f'<ul class="legend" aria-label="Phases and their predicted length">{entries}</ul>'
