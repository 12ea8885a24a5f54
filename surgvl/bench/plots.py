"""Plots of a suite: confusion, ribbons of truth and prediction, bars by class, reliability, curves of data scale.

Shape letters: N rows, C classes, B bins.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from surgvl.bench.svg import CHAR_PX, EMPTY, INK, LINE, SOFT, Drawing, colour
from surgvl.core.arrays import Float64Array, Int64Array
from surgvl.metrics.calibration import Reliability

_SIDE = 300.0


def confusion(title: str, counts: Int64Array, names: Sequence[str]) -> Drawing:
    """Share of each true class (row) that is predicted as each class (column).

    Args:
        title: of the plot.
        counts: int [C, C], rows of truth and columns of prediction.
        names: [C].
    """
    cell, top = max(30.0, min(60.0, 600 / max(1, len(names)))), 40.0
    left = 24 + CHAR_PX * max(map(len, names))
    below = left * 0.75
    side = cell * len(names)
    plot = Drawing(left + side + 70, top + side + below, title)
    sums = counts.sum(1)
    for row, name in enumerate(names):
        y = top + row * cell
        plot.text(left - 6, y + cell / 2 + 4, name, "end", SOFT)
        plot.text(left + side + 6, y + cell / 2 + 4, f"{sums[row]:,}", fill=SOFT)
        for column, other in enumerate(names):
            share = counts[row, column] / sums[row] if sums[row] else 0.0
            tip = f"{name} predicted as {other}: {counts[row, column]:,} of {sums[row]:,}"
            plot.rect(left + column * cell, y, cell - 1, cell - 1, _shade(share) if sums[row] else EMPTY, tip)
            if sums[row] and share >= 0.005:
                x = left + column * cell + cell / 2
                plot.text(x, y + cell / 2 + 4, f"{100 * share:.0f}", "middle", "#ffffff" if share > 0.5 else INK)
        x = left + row * cell + cell / 2 + 4
        plot.text(x, top + side + 8, name, "end", SOFT, turn=-45)
    return plot


@dataclass(frozen=True)
class Strip:
    """Truth and prediction of a video: times float64 [N] in seconds, classes int64 [N] with -1 for no label."""

    video_id: str
    times_s: Float64Array
    truth: Int64Array
    predicted: Int64Array


def ribbons(title: str, strips: Sequence[Strip], names: Sequence[str], width: float = 900.0) -> Drawing:
    """The true and the predicted class of each second of videos, one pair of ribbons a video, on one scale of time."""
    left = 24 + CHAR_PX * max((len(strip.video_id) for strip in strips), default=4)
    ends = [strip.times_s[-1] + _stride(strip.times_s) for strip in strips]
    scale = (width - left - 70) / max(ends)
    plot = Drawing(width, 40 + 46 * len(strips) + 40 + 18 * _rows(names, width), title)
    y = 36.0
    for strip, end in zip(strips, ends, strict=True):
        plot.text(left - 6, y + 19, strip.video_id, "end", SOFT)
        for offset, classes in ((0, strip.truth), (15, strip.predicted)):
            plot.rect(left, y + offset, end * scale, 13, EMPTY)
            edges = np.flatnonzero(np.diff(classes, prepend=-2))
            stops = [*strip.times_s[edges[1:]].tolist(), end]
            for at, stop in zip(edges, stops, strict=True):
                if (number := int(classes[at])) >= 0:
                    start = float(strip.times_s[at])
                    tip = f"{'truth' if offset == 0 else 'prediction'}: {names[number]}, {start:.0f} to {stop:.0f} s"
                    plot.rect(left + start * scale, y + offset, (stop - start) * scale, 13, colour(number), tip)
        plot.text(left + end * scale + 6, y + 11, "truth", fill=SOFT)
        plot.text(left + end * scale + 6, y + 26, "predicted", fill=SOFT)
        y += 46
    plot.text(left, y + 2, "0 s", fill=SOFT)
    plot.text(left + max(ends) * scale, y + 2, f"{max(ends):.0f} s", "end", SOFT)
    plot.legend(left, y + 24, names, width - left)
    return plot


def bars(title: str, series: Mapping[str, Mapping[str, float]], blind: Mapping[str, float] | None = None) -> Drawing:
    """Score of each class, a bar for each series; a line marks a blind baseline.

    Bars end at 1, or at the largest value if it is larger (errors); a value below 0 is a bar without length.

    Args:
        title: of the plot.
        series: name -> class -> score; a class that is absent or NaN has no bar.
        blind: class -> score of the baseline.
    """
    classes = list(dict.fromkeys(name for values in series.values() for name in values))
    left, bar, width = 24 + CHAR_PX * max(map(len, classes), default=4), 12.0, 400.0
    group = bar * len(series) + 10
    rows, whole = _rows(list(series), left + width), _scale(v for values in series.values() for v in values.values())
    plot = Drawing(left + width + 60, 40 + group * len(classes) + 30 + 18 * rows, title)
    y = 34.0
    for name in classes:
        plot.text(left - 6, y + group / 2, name, "end", SOFT)
        for number, values in enumerate(series.values()):
            value = values.get(name, np.nan)
            plot.rect(left, y, width, bar - 1, EMPTY)
            if np.isfinite(value):
                plot.rect(left, y, width * max(value, 0.0) / whole, bar - 1, colour(number), f"{name}: {value:.3f}")
                plot.text(left + width + 6, y + bar - 2, f"{value:.2f}", fill=SOFT)
            y += bar
        if blind and np.isfinite(mark := blind.get(name, np.nan)):
            x = left + width * min(mark / whole, 1.0)
            plot.line([(x, y - bar * len(series) - 2), (x, y + 2)], INK, 1.5)
        y += 10
    plot.legend(left, y + 12, list(series), left + width)
    return plot


def reliability(title: str, tables: Mapping[str, Reliability]) -> Drawing:
    """Accuracy against confidence of each bin, with the share of rows that are in it as the size of its dot.

    Args:
        title: of the plot.
        tables: name -> table [1, B], pooled over the videos.
    """
    plot, (left, top) = _axes(title, "confidence", "accuracy", list(tables)), (60.0, 36.0)
    plot.line([(left, top + _SIDE), (left + _SIDE, top)], LINE, 1, dashed=True)
    for number, table in enumerate(tables.values()):
        rows, confidence, right = table.rows[0], table.confidence[0], table.right[0]
        there = rows > 0
        x = left + _SIDE * confidence[there] / rows[there]
        y = top + _SIDE * (1 - right[there] / rows[there])
        plot.line(list(zip(x.tolist(), y.tolist(), strict=True)), colour(number), 1.5)
        for at, share in enumerate((rows[there] / rows.sum()).tolist()):
            plot.dot(float(x[at]), float(y[at]), 2 + 8 * float(np.sqrt(share)), colour(number))
    return plot


@dataclass(frozen=True)
class Point:
    """A score, or an error, at a share of the training data, with its interval (NaN if there is none)."""

    share: float
    value: float
    low: float
    high: float


def curves(title: str, series: Mapping[str, Sequence[Point]], metric: str) -> Drawing:
    """Score against the share of the training data that was used."""
    whole = _scale(end for points in series.values() for each in points for end in (each.value, each.high))
    plot, (left, top) = _axes(title, "share of the training videos", metric, list(series), whole), (60.0, 36.0)

    def height(score: float) -> float:
        return top + _SIDE * (1 - max(score, 0.0) / whole)

    for number, points in enumerate(series.values()):
        at = [(left + _SIDE * point.share, height(point.value)) for point in points]
        plot.line(at, colour(number), 2)
        for point, (x, y) in zip(points, at, strict=True):
            plot.dot(x, y, 3, colour(number))
            if np.isfinite(point.low):
                ends = [(x, height(end)) for end in (point.low, point.high)]
                plot.line(ends, colour(number), 1)
    return plot


def _scale(values: Iterable[float]) -> float:
    """Where an axis ends: at 1, or at the largest value, rounded up to two digits, if that is larger."""
    most = max((value for value in values if np.isfinite(value)), default=1.0)
    step = 10.0 ** (np.floor(np.log10(most)) - 1) if most > 1 else 1.0
    return float(np.ceil(most / step) * step) if most > 1 else 1.0


def _axes(title: str, across: str, up: str, names: Sequence[str], whole: float = 1.0) -> Drawing:
    """Two axes, from 0 to 1 and from 0 to `whole`, with a legend below; the area is _SIDE px wide from (60, 36)."""
    left, top = 60.0, 36.0
    width = max(left + _SIDE + 40, 16 + 8 * len(title))
    plot = Drawing(width, top + _SIDE + 50 + 18 * _rows(names, _SIDE), title)
    for tick in range(0, 11, 2):
        x, y = left + _SIDE * tick / 10, top + _SIDE * (1 - tick / 10)
        plot.line([(left, y), (left + _SIDE, y)], LINE)
        plot.line([(x, top), (x, top + _SIDE)], LINE)
        plot.text(left - 6, y + 4, f"{whole * tick / 10:g}", "end", SOFT)
        plot.text(x, top + _SIDE + 16, f"{tick / 10:g}", "middle", SOFT)
    plot.text(left + _SIDE / 2, top + _SIDE + 34, across, "middle")
    plot.text(18, top + _SIDE / 2, up, "middle", turn=-90)
    plot.legend(left, top + _SIDE + 54, names, _SIDE)
    return plot


def _rows(names: Sequence[str], width: float) -> int:
    """An upper bound of the rows of a legend."""
    return 1 + int(2 * sum(26 + CHAR_PX * len(name) for name in names) / width)


def _shade(share: float) -> str:
    """From white to the first colour."""
    low, high = (255, 255, 255), (0x2E, 0x6F, 0xDB)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in zip(low, high, strict=True))


def _stride(times_s: Float64Array) -> float:
    return float(np.median(np.diff(times_s))) if len(times_s) > 1 else 1.0
