"""Text-to-moment retrieval: rank of the first correct moment, recall at k, median rank and mean AP.

Several moments may be correct. Moments are ranked by descending score, ties by ascending id (their column). Results
should be distinct moments, not neighbouring clips, so `temporal_nms` suppresses a moment close to a better one of the
same video before ranks are counted.

A bootstrap over videos needs no new ranking: the rank of a hit is one plus the number of moments of each video ahead of
it, and these counts are kept per query.

Shape letters: Q queries, M moments, V videos, R resamples.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from surgvl.core.arrays import Float64Array
from surgvl.core.errors import DataError
from surgvl.metrics.average_precision import nan_mean, rows_of, weighted_average_precision


def ranking(scores: ArrayLike) -> NDArray[np.int64]:
    """Rank moments: [Q, M] scores -> int64 [Q, M] ids, best first, ties by id.

    Raises:
        DataError: not two-dimensional, or a score that is not finite.
    """
    values = np.asarray(scores)
    if values.ndim != 2 or not np.isfinite(values).all():
        raise DataError(f"scores of shape {values.shape}: give finite numbers, one row per query")
    return np.argsort(-values, axis=1, kind="stable")


def temporal_nms(scores: ArrayLike, times_s: ArrayLike, videos: ArrayLike, gap_s: float) -> NDArray[np.bool_]:
    """Temporal non-maximum suppression: down the ranking, each moment suppresses those within `gap_s` in its video.

    Args:
        scores: [Q, M].
        times_s: [M], seconds.
        videos: int [M], 0 ... V-1.
        gap_s: moments at least this far apart are both kept.

    Returns:
        bool [Q, M], true for kept moments.
    """
    values, times = np.asarray(scores), np.asarray(times_s, np.float64)
    groups = [rows[np.argsort(times[rows], kind="stable")] for rows in rows_of(videos, len(times))]
    longest = max(map(len, groups))
    # All videos of all queries go down their rankings in step; shorter videos are padded with suppressed entries.
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
    # Neighbours are looked at by 64, which bounds memory where the gap is long.
    blocks = [np.arange(at, min(at + 64, reach + 1)) for at in range(-reach, reach + 1, 64)]
    for step in range(longest):
        free = np.flatnonzero(~taken[np.arange(len(order)), order[:, step] + reach])
        at = order[free, step]
        kept[free, at] = True
        first, last = low[video[free], at, None], high[video[free], at, None]
        for offsets in blocks:
            near = at[:, None] + offsets
            inside = (near >= first) & (near < last)
            taken[np.broadcast_to(free[:, None], near.shape)[inside], near[inside] + reach] = True
    found = np.zeros(values.shape, bool)
    found[:, place[there]] = kept.reshape(len(values), *place.shape)[:, there]
    return found


@dataclass(frozen=True)
class FirstHits:
    """Counts from which the rank of the first correct moment follows, whichever videos are searched.

    Attributes:
        before: [Q, V, V]; before[q, u, v] counts moments of video v ahead of the first correct moment of video u.
        place: [Q, V]; position of that moment in the full ranking, infinite if video u has none among the kept.
        right: bool [Q, V]; video v has a correct moment for q, kept or not.
        size: [Q, V]; kept moments of video v.
    """

    before: Float64Array
    place: Float64Array
    right: NDArray[np.bool_]
    size: Float64Array

    def ranks(self, weights: ArrayLike | None = None) -> Float64Array:
        """Rank of the first correct moment, from 1, with videos weighted by `weights` [R, V].

        Returns:
            float64 [R, Q] (R = 1 without weights); NaN for a query without a correct moment in the searched videos; one
            past the last rank if all its correct moments were suppressed.
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
    """Find the first correct moment of each query in each video.

    Args:
        order: int [Q, M] of `ranking`.
        right: bool [Q, M]; moments that are correct for the query.
        videos: int [M], 0 ... V-1.
        kept: bool [Q, M] of `temporal_nms`; all moments when None.

    Raises:
        DataError: shapes differ.
    """
    correct = np.asarray(right, bool)
    stay = np.ones(order.shape, bool) if kept is None else np.asarray(kept, bool)
    if correct.shape != order.shape or stay.shape != order.shape:
        raise DataError(
            f"order {order.shape}, right {correct.shape}, kept {stay.shape}: give three arrays of equal shape"
        )
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
    """Fraction of queries with a correct moment in the top k: ranks [..., Q] (NaN: no correct moment) -> [...]."""
    values = np.asarray(ranks, np.float64)
    return nan_mean(np.where(np.isnan(values), np.nan, values <= k))


def median_rank(ranks: ArrayLike) -> Float64Array:
    """Median over queries of the rank of the first correct moment: [..., Q] -> [...]; NaN if no query has one."""
    values = np.asarray(ranks, np.float64)
    empty = np.asarray(np.isnan(values).all(axis=-1))
    return np.where(empty, np.nan, np.nanmedian(np.where(empty[..., None], 0.0, values), axis=-1))


def mean_average_precision(
    order: NDArray[np.int64], right: ArrayLike, videos: ArrayLike, weights: ArrayLike | None = None
) -> Float64Array:
    """Mean over queries of the AP of the whole ranking, ties by id; queries without a correct moment are skipped.

    Args:
        order: int [Q, M] of `ranking`.
        right: bool [Q, M].
        videos: int [M], 0 ... V-1.
        weights: [R, V], weight of each video; None: one each.

    Returns:
        float64 [R].
    """
    fall = np.empty(order.shape)
    np.put_along_axis(fall, order, -np.arange(order.shape[1], dtype=np.float64)[None].repeat(len(order), 0), axis=1)
    codes = np.asarray(videos)
    counted = np.ones((1, len(rows_of(codes, order.shape[1])))) if weights is None else weights
    return nan_mean(weighted_average_precision(np.asarray(right, bool).T, fall.T, codes, counted))
