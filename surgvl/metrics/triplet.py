"""Action triplets: component scores from the 100 triplet scores, and mean average precision per video or overall.

Follows CholecT50 (Nwoye and Padoy, arXiv 2204.05235): a component's score is the maximum over the triplets that contain
it; AP per class and video where the class occurs, mean over videos, then over classes. Equals ivtmetrics except for its
errors; a class is absent by its labels, not by the value of its AP.

Shape letters: N frames, K classes of a component, V videos.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from surgvl.core.errors import DataError
from surgvl.core.ontology import INSTRUMENTS, TARGETS, TRIPLETS, VERBS
from surgvl.metrics.average_precision import average_precision, nan_mean, video_average_precision, videos_then_classes

COMPONENTS = ("i", "v", "t", "iv", "it", "ivt")
NUM_NULL = len(INSTRUMENTS)
_ORDER: tuple[Sequence[str], ...] = (INSTRUMENTS, VERBS, TARGETS)


@cache
def component_names(component: str) -> tuple[str, ...]:
    """Classes of a component in id order: 6 instruments, 10 verbs, 15 targets, 26 iv, 59 it, 100 ivt.

    Raises:
        DataError: an unknown component.
    """
    return _groups(component)[0]


def decompose(values: ArrayLike, component: str) -> NDArray[np.generic]:
    """Scores or labels of a component: the maximum over the triplets that contain it.

    Args:
        values: [N, 100] in the ids of CholecT50.
        component: one of `COMPONENTS`.

    Returns:
        [N, K] of the same dtype.

    Raises:
        DataError: an unknown component, or not 100 columns.
    """
    array = np.asarray(values)
    if array.ndim != 2 or array.shape[1] != len(TRIPLETS):
        raise DataError(f"the triplet array must be [N, {len(TRIPLETS)}] in CholecT50's ids, got {array.shape}")
    if component == "ivt":
        return array
    _, order, starts = _groups(component)
    found: NDArray[np.generic] = np.maximum.reduceat(array[:, order], starts, axis=1)
    return found


def video_map(truth: ArrayLike, scores: ArrayLike, videos: ArrayLike, component: str, *, ignore_null: bool) -> float:
    """Video-wise mAP: mean over the videos where a class occurs, then over the classes that occur.

    Args:
        truth: [N, 100], 0 or 1.
        scores: [N, 100].
        videos: int [N], 0 ... V-1.
        component: one of `COMPONENTS`.
        ignore_null: exclude the six null triplets; for `ivt` only.

    Raises:
        DataError: invalid shapes or values, or `ignore_null` with another component.
    """
    return float(videos_then_classes(video_table(truth, scores, videos, component, ignore_null=ignore_null))[0])


def global_map(truth: ArrayLike, scores: ArrayLike, component: str, *, ignore_null: bool) -> float:
    """Mean AP over all frames pooled; several points off the video-wise one, so never compare the two."""
    columns = _columns(component, ignore_null)
    table = average_precision(decompose(truth, component)[:, :columns], decompose(scores, component)[:, :columns])
    return float(nan_mean(table))


def video_table(
    truth: ArrayLike, scores: ArrayLike, videos: ArrayLike, component: str, *, ignore_null: bool
) -> NDArray[np.float64]:
    """AP per class and video, float64 [V, K]; NaN where it does not occur. Arguments as in `video_map`."""
    columns = _columns(component, ignore_null)
    labels, values = decompose(truth, component)[:, :columns], decompose(scores, component)[:, :columns]
    return video_average_precision(labels, values, videos)


def _columns(component: str, ignore_null: bool) -> int:
    if ignore_null and component != "ivt":
        raise DataError(f"ignore_null applies to the component ivt alone, got {component!r}")
    return len(component_names(component)) - NUM_NULL * ignore_null


@cache
def _groups(component: str) -> tuple[tuple[str, ...], NDArray[np.int64], NDArray[np.int64]]:
    """Class names, triplets sorted by class, and where each class starts among them."""
    if component not in COMPONENTS:
        raise DataError(f"the component must be one of {', '.join(COMPONENTS)}, got {component!r}")
    parts = ["ivt".index(letter) for letter in component]
    keys = [tuple(_ORDER[part].index(triplet[part]) for part in parts) for triplet in TRIPLETS]
    if component == "ivt":
        classes = keys
    else:
        classes = sorted(set(keys))
    code = np.array([classes.index(key) for key in keys])
    order = np.argsort(code, kind="stable")
    names = tuple(",".join(_ORDER[part][at] for part, at in zip(parts, key, strict=True)) for key in classes)
    return names, order, np.searchsorted(code[order], np.arange(len(classes)))
