"""The timeline as HTML: phase ribbons, triplet rows as heat, one time axis. Pure functions.

Everything on a track is placed in per cent of the video's length, so a click's place is a time.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from surgvl.demo import formatting
from surgvl.demo.render import render
from surgvl.demo.schemas import HeatRow, Timeline

# More cells than pixels are of no use.
MAX_CELLS = 240
NUM_COLOURS = 7
TICKS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)


def timeline(found: Timeline) -> str:
    """The card with ribbons, rows, axis and legend."""
    ribbons = [_ribbon(found, found.predicted, "Predicted")]
    if found.truth is not None:
        ribbons.append(_ribbon(found, found.truth, "Truth"))
    highest = max((float(row.shares.max(initial=0.0)) for row in found.rows), default=0.0)
    return render(
        "timeline",
        video_id=found.video_id,
        title=found.title,
        duration_s=found.duration_s,
        agreement=found.agreement,
        smooth_s=found.smooth_s,
        ribbons=ribbons,
        rows=[_heat(found, row, highest) for row in found.rows],
        ticks=_ticks(found.duration_s),
        legend=_legend(found),
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


def _ribbon(found: Timeline, classes: NDArray[np.int64], title: str) -> dict[str, Any]:
    # Short ones come last and so lie above: each is at least three pixels wide (style.css), and none is covered.
    runs = sorted(stretches(classes, found.edges_s), key=lambda run: run[1] - run[2])
    segments = [
        {
            "name": formatting.phase(found.phases[number]),
            "colour": number % NUM_COLOURS,
            "start_s": start_s,
            "end_s": end_s,
            "style": _place(start_s, end_s, found.duration_s),
        }
        for number, start_s, end_s in runs
    ]
    return {"title": title, "kind": title.lower(), "segments": segments}


def _heat(found: Timeline, row: HeatRow, highest: float) -> dict[str, Any]:
    """One triplet's row; its colours are relative to the highest share of all rows."""
    edges, values = cells(found.edges_s, row.shares)
    return {
        "name": formatting.triplet(row.name),
        "truth": [_place(start_s, end_s, found.duration_s) for start_s, end_s in row.truth],
        "cells": [
            {
                "left": 100 * start_s / found.duration_s,
                "width": 100 * (end_s - start_s) / found.duration_s,
                "opacity": value / highest,
            }
            for start_s, end_s, value in zip(edges[:-1].tolist(), edges[1:].tolist(), values.tolist(), strict=True)
            if highest and value / highest >= 0.02
        ],
    }


def cells(edges_s: NDArray[np.float64], values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """At most MAX_CELLS cells, each with the largest value in it: edges [M + 1] and values [M]."""
    if len(values) <= MAX_CELLS:
        return edges_s, values
    cuts = np.linspace(0, len(values), MAX_CELLS + 1).round().astype(int)
    return edges_s[cuts], np.maximum.reduceat(values, cuts[:-1])


def _place(start_s: float, end_s: float, duration_s: float) -> str:
    # Three pixels, the least width of a segment, must fit before the end.
    return f"left:min({100 * start_s / duration_s:.3f}%,100% - 3px);width:{100 * (end_s - start_s) / duration_s:.3f}%"


def _ticks(duration_s: float) -> list[dict[str, float]]:
    step = next((step for step in TICKS_S if duration_s / step <= 8), TICKS_S[-1])
    return [{"time_s": time_s, "share": time_s / duration_s} for time_s in range(0, int(duration_s) + 1, step)]


def _legend(found: Timeline) -> list[dict[str, Any]]:
    """Phases that are predicted or true somewhere, with their predicted length."""
    lengths = np.diff(found.edges_s)
    return [
        {
            "name": formatting.phase(name),
            "colour": number % NUM_COLOURS,
            "length_s": float(lengths[found.predicted == number].sum()),
        }
        for number, name in enumerate(found.phases)
        if (found.predicted == number).any() or (found.truth is not None and (found.truth == number).any())
    ]
