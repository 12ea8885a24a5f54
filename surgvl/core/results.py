"""A score with the facts needed to interpret it: interval, baselines, counts, protocol, encoder, command, commit.

Intervals are 95 % percentile intervals of a bootstrap over videos (Efron and Tibshirani 1993, chapter 13), with their
median moved to the score, and wider for few videos (Hesterberg, The American Statistician 2015): frames of one
operation are not independent, so whole videos are drawn. A statistic takes how often each video was drawn, [R, V], and
gives [R] values; so frames are not scored again, and a thousand draws take milliseconds.

Shape letters: V videos, R draws.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

from surgvl.core.arrays import Float64Array
from surgvl.core.errors import DataError
from surgvl.core.files import read_json, write_json

Statistic = Callable[[Float64Array], Float64Array]

NUM_DRAWS = 1000
# Rows of weights at once, so that memory does not grow with the square of the videos.
_BLOCK = 256


UNRECORDED = "online or offline: not recorded"
"""Protocol of vectors and answers that do not say whether their clips look ahead."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """One score of one task.

    Attributes:
        task: name of the task.
        metric: name of the metric.
        value: the score; fractions are in 0 ... 1.
        low: lower end of the 95 % interval over videos; NaN with a single video, or if the score hangs on a single one.
        high: upper end.
        num_videos: videos behind the score.
        num_clips: frames, clips or questions behind the score.
        baselines: scores of predictors that see no video, by name.
        protocol: what was compared with what: labels, rate, averaging, absent classes.
        encoder: `frozen` or `fine-tuned`.
        num_trainable: parameters trained on labels.
        command: as it was typed.
        commit: of the checkout.
        per_class: score of each class or question type, where there is one.
        per_class_baselines: scores of the baselines for each of these, by name of the baseline; shown as a table.
        per_class_clips: frames, clips or questions behind each of these.
        warning: what makes the score doubtful, such as test videos seen in pretraining.
        data: sources of the videos, if several are scored separately.
        sd_videos: standard deviation over videos, if the score is a mean over them; NaN otherwise.
        sd_classes: standard deviation over classes, likewise.
        detail: whether the score is in the second table of the page, not among the main ones.
        by_video: score of each video alone, by id; NaN where it is undefined. Not in result.json, see `video_scores`.
        drawn: score of each draw of videos [R], likewise.
    """

    task: str
    metric: str
    value: float
    low: float
    high: float
    num_videos: int
    num_clips: int
    baselines: dict[str, float]
    protocol: str
    encoder: str = "not stated"
    num_trainable: int = 0
    command: str = ""
    commit: str = ""
    per_class: dict[str, float] | None = None
    per_class_baselines: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
    per_class_clips: dict[str, int] = dataclasses.field(default_factory=dict)
    warning: str = ""
    data: str = ""
    sd_videos: float = math.nan
    sd_classes: float = math.nan
    detail: bool = False
    by_video: dict[str, float] = dataclasses.field(default_factory=dict, repr=False, compare=False)
    drawn: tuple[float, ...] = dataclasses.field(default=(), repr=False, compare=False)


@lru_cache(maxsize=2)
def draws(num_videos: int, seed: int = 0, num_draws: int = NUM_DRAWS) -> Float64Array:
    """How often each video is drawn when V videos are drawn with replacement: float64 [R, V], shared and read-only.

    All scores of a page have the same draws, and drawing them takes longer than most statistics of them.
    """
    generator = np.random.default_rng(seed)
    found = generator.multinomial(num_videos, np.full(num_videos, 1 / num_videos), size=num_draws).astype(np.float64)
    found.flags.writeable = False
    return found


class Estimate(NamedTuple):
    """A score over all videos, the ends of its 95 % interval, and its values over draws of videos, float64 [R].

    Without an interval, the ends are NaN and there are no values.
    """

    value: float
    low: float
    high: float
    drawn: Float64Array


def bootstrap(
    statistic: Statistic, num_videos: int, seed: int = 0, bounds: tuple[float, float] = (0.0, 1.0)
) -> Estimate:
    """Value over all videos, and its 95 % interval over draws of videos.

    There is no interval with one video, nor for a score that is undefined without some single video, such as the AP of
    a class that one video alone shows: it would have no width, though one video says nothing about others.

    Args:
        statistic: [R, V] counts of videos -> [R] values.
        num_videos: V.
        seed: of the draws; results with equal seed and V share their draws.
        bounds: range of the metric, to which the interval is clipped.

    Raises:
        DataError: there is no video.
    """
    if num_videos < 1:
        raise DataError("no video to score: check the split and the labels")
    value = float(statistic(np.ones((1, num_videos)))[0])
    if num_videos == 1 or not math.isfinite(value) or _hangs_on_one(statistic, num_videos):
        return Estimate(value, math.nan, math.nan, np.zeros(0))
    drawn = statistic(draws(num_videos, seed))
    return Estimate(value, *centred_interval(value, drawn, num_videos, bounds), drawn)


def centred_interval(
    value: float, drawn: Float64Array, num_videos: int, bounds: tuple[float, float] = (0.0, 1.0)
) -> tuple[float, float]:
    """The 95 % interval of a score from its values over draws [R] of V > 1 videos; NaN where no draw defines it.

    A draw lacks the classes of the videos that it leaves out. If rare classes score low, that raises every mean over
    classes, and plain percentiles may not contain the score itself. So the draws are moved until their median is the
    score: it lies between the percentiles, hence the score between the ends. Their mean need not: the balanced accuracy
    of a constant class is 1/C, but 1/(C - 1) in the few draws that lack a class, and an interval centred on the mean
    ends below 1/C.
    """
    finite = drawn[np.isfinite(drawn)]
    if not len(finite):
        return math.nan, math.nan
    tail = tail_percent(num_videos)
    low, median, high = np.percentile(finite, [tail, 50, 100 - tail])
    low, high = np.clip([value + (low - median), value + (high - median)], *bounds)
    return float(low), float(high)


def tail_percent(num_videos: int) -> float:
    """How much is cut off at each end, in per cent: 2.5 for many videos, less for few.

    Draws of V videos spread less than scores of other V videos do, by the square root of (V - 1) / V, and V videos tell
    their spread no better than Student's t says. Without both, the interval of a mean holds it for five videos 84 times
    in a hundred. (Of less than five, all draws together are no 95 % either.)
    """
    z, nu = NormalDist().inv_cdf(0.975), num_videos - 1
    # The 97.5 % point of t (Abramowitz and Stegun 1964, 26.7.5), to 0.001 from four degrees of freedom on.
    t = (
        z
        + (z**3 + z) / (4 * nu)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * nu**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * nu**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * nu**4)
    )
    return 100 * NormalDist().cdf(-math.sqrt(num_videos / nu) * t)


def _hangs_on_one(statistic: Statistic, num_videos: int) -> bool:
    """Whether the score is undefined without some single video."""
    for start in range(0, num_videos, _BLOCK):
        left_out = np.arange(start, min(start + _BLOCK, num_videos))
        weights = np.ones((len(left_out), num_videos))
        weights[np.arange(len(left_out)), left_out] = 0
        with np.errstate(invalid="ignore", divide="ignore"):
            if not np.isfinite(statistic(weights)).all():
                return True
    return False


def video_mean(values: Sequence[float] | Float64Array) -> Statistic:
    """Statistic of a plain mean over videos: values [V]; videos with NaN are left out."""
    array = np.asarray(values, np.float64)
    defined = np.isfinite(array)

    def mean(weights: Float64Array) -> Float64Array:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((weights @ np.where(defined, array, 0)) / (weights @ defined))

    return mean


def add_provenance(
    results: Sequence[Result], *, encoder: str, num_trainable: int, command: str, commit: str, warning: str = ""
) -> list[Result]:
    """The same results with the facts that only the command knows."""
    facts: dict[str, Any] = {"encoder": encoder, "num_trainable": num_trainable, "command": command, "commit": commit}
    return [
        dataclasses.replace(result, **facts, warning="; ".join(filter(None, (result.warning, warning))))
        for result in results
    ]


# ---- files

# In a file of their own.
_ELSEWHERE = ("by_video", "drawn")


def write_results(path: Path | str, results: Sequence[Result]) -> None:
    """Write results as JSON, atomically; NaN becomes null."""
    rows = [dataclasses.asdict(dataclasses.replace(result, by_video={}, drawn=())) for result in results]
    write_json(path, [finite_or_null({name: row[name] for name in row if name not in _ELSEWHERE}) for row in rows])


def read_results(path: Path | str) -> list[Result]:
    """Read results that `write_results` wrote.

    Raises:
        DataError: the file is absent, not JSON, or does not hold results.
    """
    rows = read_json(path)
    if not isinstance(rows, list):
        raise DataError(f"{path} is not a list of results: run `surgvl eval` again")
    found = []
    for at, row in enumerate(rows):
        try:
            found.append(result_of(row))
        except DataError as error:
            raise DataError(f"{path}, result {at}: {error}: run `surgvl eval` again") from error
    return found


def result_of(row: Any) -> Result:
    """The result in a row of JSON that `write_results` wrote; null becomes NaN.

    Raises:
        DataError: it is not one.
    """
    try:
        fields: dict[str, Any] = dict(row)
        fields |= {name: _from_json(row[name]) for name in ("value", "low", "high")}
        fields |= {name: _from_json(row.get(name)) for name in ("sd_videos", "sd_classes")}
        fields["baselines"] = {name: _from_json(value) for name, value in row["baselines"].items()}
        if row["per_class"] is not None:
            fields["per_class"] = {name: _from_json(value) for name, value in row["per_class"].items()}
        fields["per_class_baselines"] = {
            name: {each: _from_json(value) for each, value in values.items()}
            for name, values in row.get("per_class_baselines", {}).items()
        }
        return Result(**fields)
    except (TypeError, ValueError, AttributeError) as error:
        raise DataError(str(error)) from error
    except KeyError as error:
        raise DataError(f"{error.args[0]} is missing") from error


def finite_or_null(value: Any) -> Any:
    """The same values with null for a number that is not finite, which JSON cannot hold."""
    if isinstance(value, dict):
        return {key: finite_or_null(part) for key, part in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _from_json(value: object) -> float:
    if value is None:
        return math.nan
    if not isinstance(value, int | float):
        raise TypeError(f"{value!r} is not a number")
    return value
