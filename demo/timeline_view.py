"""The timeline as HTML: phase ribbons, a heat map of triplets, one time axis. Pure functions.

Positions on a track are percentages of the video's duration, so the position of a click is a time.
Shapes: N steps, M cells.
"""

from typing import Any
from urllib.parse import quote, urlencode

import numpy as np
from numpy.typing import NDArray

from surgvl.demo import formatting
from surgvl.demo.render import render
from surgvl.demo.schemas import Timeline, TripletRow
from surgvl.export.base import formats

# About one cell per pixel; more would not be visible.
MAX_CELLS = 240
NUM_COLOURS = 7
TICKS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
MIN_OPACITY = 0.02


def timeline(found: Timeline) -> str:
    """The card with ribbons, heat map, axes and legend."""
    ribbons = [_ribbon(found, found.predicted, "Predicted", "predicted")]
    if found.ground_truth is not None:
        ribbons.append(_ribbon(found, found.ground_truth, "Ground truth", "truth"))
    highest = max((float(row.probabilities.max(initial=0.0)) for row in found.triplets), default=0.0)
    return render(
        "timeline",
        video_id=found.video_id,
        title=found.title,
        duration_s=found.duration_s,
        agreement=found.agreement,
        smooth_s=found.smooth_s,
        ribbons=ribbons,
        rows=[_heat_row(found, row, highest) for row in found.triplets],
        ticks=_ticks(found.duration_s),
        legend=_legend(found),
        exports=_exports(found) if found.phase_set else [],
    )


def _exports(found: Timeline) -> list[dict[str, str]]:
    """The formats that the timeline can be saved in, with their addresses."""
    choices = {"phases": found.phase_set, "triplets": found.triplet_set, "smooth": f"{found.smooth_s:g}"}
    address = f"export/{quote(found.video_id, safe='')}"
    return [
        {
            "title": kind.title,
            "purpose": kind.purpose,
            "suffix": kind.suffix,
            "address": f"{address}?{urlencode({'format': name, **choices})}",
        }
        for name, kind in formats().items()
    ]


def segments(classes: NDArray[np.int64], edges_s: NDArray[np.float64]) -> list[tuple[int, float, float]]:
    """Runs of equal class as (class, start_s, end_s), without runs of -1.

    Args:
        classes: int64 [N].
        edges_s: float64 [N + 1].
    """
    if not len(classes):
        return []
    cuts = [0, *(np.flatnonzero(np.diff(classes)) + 1).tolist(), len(classes)]
    runs = zip(cuts[:-1], cuts[1:], strict=True)
    return [(int(classes[a]), float(edges_s[a]), float(edges_s[b])) for a, b in runs if classes[a] >= 0]


def _ribbon(found: Timeline, classes: NDArray[np.int64], title: str, kind: str) -> dict[str, Any]:
    # The shortest come last and thus on top: each is at least three pixels wide (timeline.css), and none is covered.
    runs = sorted(segments(classes, found.edges_s), key=lambda run: run[1] - run[2])
    return {
        "title": title,
        "kind": kind,
        "segments": [
            {
                "name": formatting.phase(found.phases[number]),
                "colour": number % NUM_COLOURS,
                "start_s": start_s,
                "end_s": end_s,
                "style": _position(start_s, end_s, found.duration_s),
            }
            for number, start_s, end_s in runs
        ],
    }


def _heat_row(found: Timeline, row: TripletRow, highest: float) -> dict[str, Any]:
    """One triplet; opacities are relative to the highest probability of all rows."""
    edges, values = max_pool(found.edges_s, row.probabilities)
    return {
        "name": formatting.triplet(row.name),
        "ground_truth": [_position(start_s, end_s, found.duration_s) for start_s, end_s in row.ground_truth],
        "cells": [
            {
                "left": 100 * start_s / found.duration_s,
                "width": 100 * (end_s - start_s) / found.duration_s,
                "opacity": value / highest,
            }
            for start_s, end_s, value in zip(edges[:-1].tolist(), edges[1:].tolist(), values.tolist(), strict=True)
            if highest and value / highest >= MIN_OPACITY
        ],
    }


def max_pool(
    edges_s: NDArray[np.float64], values: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Edges [M + 1] and maxima [M] of at most MAX_CELLS cells, from edges [N + 1] and values [N]."""
    if len(values) <= MAX_CELLS:
        return edges_s, values
    cuts = np.linspace(0, len(values), MAX_CELLS + 1).round().astype(int)
    return edges_s[cuts], np.maximum.reduceat(values, cuts[:-1])


def _position(start_s: float, end_s: float, duration_s: float) -> str:
    """CSS of a segment, with room for its minimum width of three pixels before the end of the track."""
    return f"left:min({100 * start_s / duration_s:.3f}%,100% - 3px);width:{100 * (end_s - start_s) / duration_s:.3f}%"


def _ticks(duration_s: float) -> list[dict[str, float]]:
    step_s = next((step_s for step_s in TICKS_S if duration_s / step_s <= 8), TICKS_S[-1])
    return [{"time_s": time_s, "position": time_s / duration_s} for time_s in range(0, int(duration_s) + 1, step_s)]


def _legend(found: Timeline) -> list[dict[str, Any]]:
    """Phases that are predicted or labelled anywhere, with their predicted duration."""
    lengths_s = np.diff(found.edges_s)
    present = set(found.predicted.tolist())
    if found.ground_truth is not None:
        present.update(found.ground_truth.tolist())
    return [
        {
            "name": formatting.phase(name),
            "colour": number % NUM_COLOURS,
            "duration_s": float(lengths_s[found.predicted == number].sum()),
        }
        for number, name in enumerate(found.phases)
        if number in present
    ]
