"""Text to moment: rank of the first right moment, recall at k, median rank and mean AP; several moments may be right.

Moments are ranked by falling score and, where scores tie, by rising id (their column), so negative scores are like any
other. Search results should be different moments, not five clips of one second apart; `suppress` therefore drops a
moment that lies close to a better one of the same video, before ranks are counted.

A bootstrap over videos needs no new ranking: the rank of a hit is one plus what each video puts before it, and these
counts are kept for each query.

Shape letters: Q queries, M moments, V videos, R resamples.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from surgvl.core.arrays import Float64Array
from surgvl.core.errors import DataError
from surgvl.metrics.precision import nan_mean, rows_of, weighted_average_precision


def ranking(scores: ArrayLike) -> NDArray[np.int64]:
    """Moments in order: [Q, M] scores -> int64 [Q, M] ids, best first, ties by id.

    Raises:
        DataError: not two-dimensional, or a score that is not finite.
    """
    values = np.asarray(scores)
    if values.ndim != 2 or not np.isfinite(values).all():
        raise DataError(f"scores of shape {values.shape}: give finite numbers, one row for each query")
    return np.argsort(-values, axis=1, kind="stable")


def suppress(scores: ArrayLike, times_s: ArrayLike, videos: ArrayLike, gap_s: float) -> NDArray[np.bool_]:
    """Moments that stay when, going down the ranking, each drops those closer than `gap_s` to it in its own video.

    Args:
        scores: [Q, M].
        times_s: [M], seconds.
        videos: int [M], 0 ... V-1.
        gap_s: moments at least this far apart both stay.

    Returns:
        bool [Q, M].
    """
    values, times = np.asarray(scores), np.asarray(times_s, np.float64)
    groups = [rows[np.argsort(times[rows], kind="stable")] for rows in rows_of(videos, len(times))]
    longest = max(map(len, groups))
    # All videos of all queries step down their own rankings together; short videos are padded with taken places.
    place = np.full((len(groups), longest), -1)
    low, high = np.zeros_like(place), np.zeros_like(place)
    for v, rows in enumerate(groups):
        place[v, : len(rows)] = rows
        low[v, : len(rows)] = np.searchsorted(times[rows], times[rows] - gap_s, side="right")
        high[v, : len(rows)] = np.searchsorted(times[rows], times[rows] + gap_s, side="left")
    there = place >= 0
    reach = int(max((high - 1 - np.arange(longest))[there].max(), (np.arange(longest) - low)[there].max(), 0))
    padded = np.full((len(values), *place.shape), -np.inf)
    padded[:, there] = values[:, place[there]]
    order = np.argsort(-padded, axis=2, kind="stable").reshape(-1, longest)
    video = np.tile(np.arange(len(groups)), len(values))
    taken = np.ones((len(order), longest + 2 * reach), bool)
    taken[:, reach : reach + longest] = ~np.tile(there, (len(values), 1))
    kept = np.zeros((len(order), longest), bool)
    for step in range(longest):
        free = np.flatnonzero(~taken[np.arange(len(order)), order[:, step] + reach])
        at = order[free, step]
        kept[free, at] = True
        for offset in range(-reach, reach + 1):
            near = (at + offset >= low[video[free], at]) & (at + offset < high[video[free], at])
            taken[free[near], at[near] + offset + reach] = True
    found = np.zeros(values.shape, bool)
    found[:, place[there]] = kept.reshape(len(values), *place.shape)[:, there]
    return found


@dataclass(frozen=True)
class FirstHits:
    """What is needed to rank the first right moment of each query, whichever videos are searched.

    Attributes:
        before: [Q, V, V]; before[q, u, v] counts moments of video v ahead of the first right moment of video u.
        place: [Q, V]; place of that moment in the full ranking, infinite where video u has none among those kept.
        right: bool [Q, V]; video v has a right moment for q, kept or not.
        size: [Q, V]; moments of video v that were kept.
    """

    before: Float64Array
    place: Float64Array
    right: NDArray[np.bool_]
    size: Float64Array

    def ranks(self, weights: ArrayLike | None = None) -> Float64Array:
        """Rank of the first right moment, from 1, when each video is searched as often as `weights` [R, V] says.

        Returns:
            float64 [R, Q] (R = 1 without weights); NaN for a query without a right moment in the searched videos; the
            rank after the last where all its right moments were suppressed.
        """
        counted = np.ones((1, self.place.shape[1])) if weights is None else np.asarray(weights, np.float64)
        found = np.empty((len(counted), len(self.place)))
        for q in range(len(self.place)):
            there = np.where(counted > 0, self.place[q], np.inf)
            first = there.argmin(axis=1)
            ahead = (counted * self.before[q, first]).sum(axis=1)
            hidden = np.isinf(there.min(axis=1))
            found[:, q] = 1 + np.where(hidden, counted @ self.size[q], ahead)
            found[~((counted > 0) & self.right[q]).any(axis=1), q] = np.nan
        return found


def first_hits(
    order: NDArray[np.int64], right: ArrayLike, videos: ArrayLike, kept: ArrayLike | None = None
) -> FirstHits:
    """Find the first right moment of each query in each video.

    Args:
        order: int [Q, M] of `ranking`.
        right: bool [Q, M]; moments that answer the query.
        videos: int [M], 0 ... V-1.
        kept: bool [Q, M] of `suppress`; all moments when None.

    Raises:
        DataError: shapes differ.
    """
    correct = np.asarray(right, bool)
    stay = np.ones(order.shape, bool) if kept is None else np.asarray(kept, bool)
    if correct.shape != order.shape or stay.shape != order.shape:
        raise DataError(f"order {order.shape}, right {correct.shape}, kept {stay.shape}: give three of one shape")
    codes, groups = np.asarray(videos), rows_of(videos, order.shape[1])
    shape = (len(order), len(groups))
    before, place, size = np.zeros((*shape, shape[1])), np.full(shape, np.inf), np.zeros(shape)
    for q, ids in enumerate(order):
        ids = ids[stay[q, ids]]
        video, hit = codes[ids], correct[q, ids]
        where = [np.flatnonzero(video == v) for v in range(shape[1])]
        for v, places in enumerate(where):
            size[q, v] = len(places)
            if hit[places].any():
                place[q, v] = places[hit[places].argmax()]
        for v, places in enumerate(where):
            before[q, :, v] = np.searchsorted(places, place[q])
    return FirstHits(before, place, np.stack([correct[:, rows].any(axis=1) for rows in groups], axis=1), size)


def recall_at(ranks: ArrayLike, k: int) -> Float64Array:
    """Share of queries with a right moment among the first k: ranks [..., Q] (NaN: no right moment) -> [...]."""
    values = np.asarray(ranks, np.float64)
    return nan_mean(np.where(np.isnan(values), np.nan, values <= k))


def median_rank(ranks: ArrayLike) -> Float64Array:
    """Median over queries of the rank of the first right moment: [..., Q] -> [...]; NaN where no query has one."""
    values = np.asarray(ranks, np.float64)
    empty = np.asarray(np.isnan(values).all(axis=-1))
    return np.where(empty, np.nan, np.nanmedian(np.where(empty[..., None], 0.0, values), axis=-1))


def mean_average_precision(
    order: NDArray[np.int64], right: ArrayLike, videos: ArrayLike, weights: ArrayLike | None = None
) -> Float64Array:
    """Mean over queries of the AP of the whole ranking, ties by id; queries without a right moment are left out.

    Args:
        order: int [Q, M] of `ranking`.
        right: bool [Q, M].
        videos: int [M], 0 ... V-1.
        weights: [R, V], how often each video is searched; once when None.

    Returns:
        float64 [R].
    """
    fall = np.empty(order.shape)
    np.put_along_axis(fall, order, -np.arange(order.shape[1], dtype=np.float64)[None].repeat(len(order), 0), axis=1)
    codes = np.asarray(videos)
    counted = np.ones((1, len(rows_of(codes, order.shape[1])))) if weights is None else weights
    return nan_mean(weighted_average_precision(np.asarray(right, bool).T, fall.T, codes, counted))
