"""Action triplets: component scores from the triplet scores, and mean average precision per video or overall.

Follows CholecT50 (Nwoye and Padoy, arXiv 2204.05235): a component's score is the maximum over the triplets that contain
it; AP per class and video where the class occurs, mean over videos, then over classes. Equals ivtmetrics except for its
errors; a class is absent by its labels, not by the value of its AP. The triplets are any list of names: CholecT50's
hundred by default, ProstaTD's or others by `TripletClasses.of`.

Shape letters: N frames, T triplets, K classes of a component, V videos.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from surgvl.core.arrays import Int64Array
from surgvl.core.errors import DataError
from surgvl.core.ontology import INSTRUMENTS, TARGETS, TRIPLET_NAMES, VERBS
from surgvl.metrics.average_precision import average_precision, nan_mean, video_average_precision, videos_then_classes

COMPONENTS = ("i", "v", "t", "iv", "it", "ivt")
_KNOWN: tuple[Sequence[str], ...] = (INSTRUMENTS, VERBS, TARGETS)


@dataclass(frozen=True)
class TripletClasses:
    """The triplets of a data set, and the components that they are made of.

    Attributes:
        triplets: (instrument, verb, target) of each triplet, in id order.
        instruments: in id order.
        verbs: in id order.
        targets: in id order.
    """

    triplets: tuple[tuple[str, str, str], ...]
    instruments: tuple[str, ...]
    verbs: tuple[str, ...]
    targets: tuple[str, ...]

    @classmethod
    @cache
    def of(cls, names: tuple[str, ...]) -> "TripletClasses":
        """Classes from their names `instrument,verb,target` in id order.

        Components keep the order of CholecT50's; those that it lacks follow in order of appearance.

        Raises:
            DataError: a name is not of this form, or occurs twice.
        """
        triplets = []
        for name in names:
            parts = tuple(part.strip() for part in name.split(","))
            if len(parts) != 3 or not all(parts):
                raise DataError(f"triplet {name!r} must be three names with commas, as in grasper,retract,liver")
            if parts in triplets:
                raise DataError(f"triplet {name!r} occurs twice among {len(names)} classes: give each once")
            triplets.append(parts)
        columns = [tuple(dict.fromkeys(column)) for column in zip(*triplets, strict=True)] or [(), (), ()]
        ordered = [
            (*(word for word in known if word in column), *(word for word in column if word not in known))
            for known, column in zip(_KNOWN, columns, strict=True)
        ]
        return cls(tuple((i, v, t) for i, v, t in triplets), *ordered)

    @property
    def null(self) -> NDArray[np.bool_]:
        """Which triplets are null, an instrument that does nothing: bool [T]."""
        return np.array(["null" in verb.split("_") for _, verb, _ in self.triplets], bool)

    def names(self, component: str) -> tuple[str, ...]:
        """Classes of a component in id order: of CholecT50 6 i, 10 v, 15 t, 26 iv, 59 it, 100 ivt.

        Raises:
            DataError: an unknown component.
        """
        return self._groups(component)[0]

    def ids(self, component: str) -> Int64Array:
        """The class of a component to which each triplet belongs: int64 [T]."""
        return self._groups(component)[1]

    @cache  # noqa: B019 (few instances, each kept by `of`)
    def _groups(self, component: str) -> tuple[tuple[str, ...], Int64Array, Int64Array, Int64Array]:
        """Class names, class of each triplet, triplets sorted by class, and where each class starts among them."""
        if component not in COMPONENTS:
            raise DataError(f"the component must be one of {', '.join(COMPONENTS)}, got {component!r}")
        order = (self.instruments, self.verbs, self.targets)
        parts = ["ivt".index(letter) for letter in component]
        keys = [tuple(order[part].index(triplet[part]) for part in parts) for triplet in self.triplets]
        classes = keys if component == "ivt" else sorted(set(keys))
        code = np.array([classes.index(key) for key in keys])
        by_class = np.argsort(code, kind="stable")
        names = tuple(",".join(order[part][at] for part, at in zip(parts, key, strict=True)) for key in classes)
        return names, code, by_class, np.searchsorted(code[by_class], np.arange(len(classes)))


CHOLECT50 = TripletClasses.of(TRIPLET_NAMES)


def decompose(values: ArrayLike, component: str, classes: TripletClasses = CHOLECT50) -> NDArray[np.generic]:
    """Scores or labels of a component: the maximum over the triplets that contain it.

    Args:
        values: [N, T] in the ids of `classes`.
        component: one of `COMPONENTS`.
        classes: the triplets.

    Returns:
        [N, K] of the same dtype.

    Raises:
        DataError: an unknown component, or not T columns.
    """
    array = np.asarray(values)
    num_triplets = len(classes.triplets)
    if array.ndim != 2 or array.shape[1] != num_triplets:
        raise DataError(f"the triplet array must be [N, {num_triplets}] in the ids of the classes, got {array.shape}")
    _, _, by_class, starts = classes._groups(component)
    if component == "ivt":
        return array
    found: NDArray[np.generic] = np.maximum.reduceat(array[:, by_class], starts, axis=1)
    return found


def video_map(
    truth: ArrayLike,
    scores: ArrayLike,
    videos: ArrayLike,
    component: str,
    *,
    ignore_null: bool,
    classes: TripletClasses = CHOLECT50,
) -> float:
    """Video-wise mAP: mean over the videos where a class occurs, then over the classes that occur.

    Args:
        truth: [N, T], 0 or 1.
        scores: [N, T].
        videos: int [N], 0 ... V-1.
        component: one of `COMPONENTS`.
        ignore_null: exclude the null triplets; for `ivt` only.
        classes: the triplets.

    Raises:
        DataError: invalid shapes or values, or `ignore_null` with another component.
    """
    table = video_table(truth, scores, videos, component, ignore_null=ignore_null, classes=classes)
    return float(videos_then_classes(table)[0])


def global_map(
    truth: ArrayLike, scores: ArrayLike, component: str, *, ignore_null: bool, classes: TripletClasses = CHOLECT50
) -> float:
    """Mean AP over all frames pooled; several points off the video-wise one, so never compare the two."""
    kept = kept_columns(component, ignore_null, classes)
    labels, values = decompose(truth, component, classes), decompose(scores, component, classes)
    return float(nan_mean(average_precision(labels[:, kept], values[:, kept])))


def video_table(
    truth: ArrayLike,
    scores: ArrayLike,
    videos: ArrayLike,
    component: str,
    *,
    ignore_null: bool,
    classes: TripletClasses = CHOLECT50,
) -> NDArray[np.float64]:
    """AP per class and video, float64 [V, K]; NaN where it does not occur. Arguments as in `video_map`."""
    kept = kept_columns(component, ignore_null, classes)
    labels, values = decompose(truth, component, classes), decompose(scores, component, classes)
    return video_average_precision(labels[:, kept], values[:, kept], videos)


def kept_columns(component: str, ignore_null: bool, classes: TripletClasses = CHOLECT50) -> NDArray[np.int64]:
    """Columns of a component that are scored.

    Raises:
        DataError: `ignore_null` with another component than `ivt`, or an unknown component.
    """
    if ignore_null and component != "ivt":
        raise DataError(f"ignore_null applies to the component ivt alone, got {component!r}")
    return np.flatnonzero(~classes.null) if ignore_null else np.arange(len(classes.names(component)))
