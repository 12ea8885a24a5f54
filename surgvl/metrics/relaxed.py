"""Relaxed boundaries: within 10 s of a transition, the class on its other side counts as right (M2CAI16 challenge).

The rule of the challenge's MATLAB script, which most copies apply to Cholec80, too: in the first 10 s of a true segment
of class c, a prediction of c - 1 is forgiven (a late transition), and in its last 10 s one of c + 1 (an early one).
The four last phases of a cholecystectomy may be skipped or swapped: gallbladder dissection and packaging also forgive
c + 2 at the end; cleaning and retraction also forgive c - 2 at the start and c + 2 at the end.

    symmetric      that rule
    m2cai_matlab   the script as it is: MATLAB applies its mask of the last 10 s to the first 10 s of the segment,
                   so that early transitions are not forgiven, but other errors may be (Funke et al., arXiv 2305.13961)

A frame that is forgiven is a hit of its true class and of the predicted one, so that there may be more hits than
predictions or true frames: precision, recall and F1 can exceed 1, and are meant to be cut to 1 before they are averaged
over the videos with the class. Relaxed scores can't be compared with strict ones.

Shape letters: N rows, T frames of one video, V videos, C classes.
"""

from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from surgvl.core.arrays import Float64Array
from surgvl.core.errors import DataError
from surgvl.metrics.average_precision import rows_of
from surgvl.metrics.temporal import segments

Mode = Literal["symmetric", "m2cai_matlab"]
MODES: tuple[str, ...] = get_args(Mode)
BOUNDARY_S = 10.0
# Number of classes -> the first of the four last phases, counted from 0. In M2CAI16 a trocar placement comes first.
_GALLBLADDER_DISSECTION = {7: 3, 8: 4}


class RelaxedScores(NamedTuple):
    """Scores per video, not cut to 1: accuracy float64 [V], the others [V, C], NaN for classes absent from the truth.

    A class without a hit has F1 0, and precision 0 where it is never predicted, if `symmetric`. The script leaves such
    values out of its means, and every F1 of a class that is never predicted: they are NaN if `m2cai_matlab`.
    """

    accuracy: Float64Array
    precision: Float64Array
    recall: Float64Array
    f1: Float64Array
    jaccard: Float64Array


def relaxed_scores(
    truth: ArrayLike, predicted: ArrayLike, videos: ArrayLike, num_classes: int, rate_fps: float, mode: Mode
) -> RelaxedScores:
    """Accuracy, precision, recall, F1 and Jaccard of each video with relaxed boundaries.

    Args:
        truth: int [N], class ids 0 ... C-1 in the order of the procedure; the rows of a video are in time order.
        predicted: int [N], class ids.
        videos: int [N], 0 ... V-1.
        num_classes: C; with 7 (Cholec80) or 8 (M2CAI16) the last four classes are more lenient.
        rate_fps: rows per second. The scripts in use differ: at 1 row per second, a script that assumes 25 forgives
            four minutes.
        mode: `symmetric` or `m2cai_matlab`.

    Raises:
        DataError: lengths differ, an id is outside 0 ... C-1, the rate is not positive, the mode is unknown, or it is
            `m2cai_matlab` with a number of classes for which there is no script.
    """
    true, guess = np.asarray(truth), np.asarray(predicted)
    if true.ndim != 1 or true.shape != guess.shape or not len(true):
        raise DataError(f"truth of shape {true.shape} and prediction of shape {guess.shape}: give two ids per row")
    low, high = min(true.min(), guess.min()), max(true.max(), guess.max())
    if low < 0 or high >= num_classes:
        raise DataError(
            f"class ids must be from 0 to {num_classes - 1}, got {low} to {high}: drop rows without a label"
        )
    if not rate_fps > 0:
        raise DataError(f"rate_fps must be > 0, got {rate_fps}")
    # Whole frames within the boundary; 10 s at 0.3 frames per second are 3, whatever the rounding of the product.
    num_frames = int(BOUNDARY_S * rate_fps + 1e-6)
    classes = np.arange(num_classes)
    rows = []
    for own in rows_of(videos, len(true)):
        right = forgive(true[own], guess[own], num_classes, num_frames, mode)
        is_true, is_guess = true[own][:, None] == classes, guess[own][:, None] == classes
        either = is_true | is_guess
        parts = (right[:, None] & either, is_true, is_guess, either)
        rows.append([right.mean(), *(part.sum(axis=0).astype(np.float64) for part in parts)])
    accuracy, hits, num_true, num_guess, num_either = (np.stack(column) for column in zip(*rows, strict=True))
    with np.errstate(invalid="ignore", divide="ignore"):
        # Infinite where a class without predictions has forgiven frames, as in MATLAB, and then cut to 1.
        precision, recall, jaccard = hits / num_guess, hits / num_true, hits / num_either
        f1 = 2 * precision * recall / (precision + recall)
        if mode == "symmetric":
            precision = np.where(hits > 0, precision, 0)
            f1 = np.where(hits > 0, 2 * hits / (num_true + num_guess), 0)
    absent = num_true == 0
    return RelaxedScores(accuracy, *(np.where(absent, np.nan, each) for each in (precision, recall, f1, jaccard)))


def forgive(
    truth: NDArray[np.integer], predicted: NDArray[np.integer], num_classes: int, num_frames: int, mode: Mode
) -> NDArray[np.bool_]:
    """Whether each frame of a video is right or forgiven: bool [T].

    Args:
        truth: int [T], class ids in time order.
        predicted: int [T].
        num_classes: C.
        num_frames: that are forgiven at each end of a segment.
        mode: `symmetric` or `m2cai_matlab`.

    Raises:
        DataError: as `relaxed_scores`.
    """
    if mode not in MODES:
        raise DataError(f"relaxed boundaries must be {' or '.join(MODES)}, got {mode!r}")
    first = _GALLBLADDER_DISSECTION.get(num_classes)
    if first is None and mode == "m2cai_matlab":
        raise DataError(
            "m2cai_matlab is defined for the 7 phases of Cholec80 and the 8 of M2CAI16, not for "
            f"{num_classes} classes: use symmetric"
        )
    away = np.asarray(predicted, np.int64) - np.asarray(truth, np.int64)
    for label, start, end in zip(*segments(truth), strict=True):
        # By how many phases a guess may lag behind, and run ahead.
        late, early = 1, 1
        if first is not None and label >= first:
            early = 2
            if label >= first + 2:
                late = 2
        own = away[start:end]
        size = min(num_frames, len(own))
        head, tail = own[:size], own[len(own) - size :]
        head[(head < 0) & (head >= -late)] = 0
        (head if mode == "m2cai_matlab" else tail)[(tail > 0) & (tail <= early)] = 0
    return np.asarray(away == 0)
