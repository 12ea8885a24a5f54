"""Which clips pretraining draws, and which frames they show: numbers on the grid of a model's clips, never of a file.

Strides and their padding follow the released code of SurgVISTA (arXiv 2506.02692).
Shapes: T frames.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from surgvl.core.arrays import Int64Array
from surgvl.core.checks import check_choice, check_range
from surgvl.data.sampler import PRESETS
from surgvl.video.clip import EPS, Preprocess, clip_start

STRIDES = ("fixed", "random", "exponential", "incremental")


def gaps(stride: str, num_frames: int, rng: np.random.Generator) -> Int64Array:
    """Steps of 1 / fps from each frame back to the one before, starting at the last, int64 [T - 1].

    Those of SurgVISTA's code: fixed 1, 1, ...; random, 1 to 5 each; exponential 1, 2, 4, 8, ..., a long memory that is
    dense in the recent past; incremental 0, 2, 4, ..., with 1 for 0, so that no frame repeats.
    """
    number = np.arange(num_frames - 1, dtype=np.int64)
    if stride == "random":
        return np.asarray(rng.integers(1, 6, num_frames - 1), np.int64)
    if stride == "exponential":
        return np.asarray(np.minimum(2.0**number, 1 << 31), np.int64)
    return np.maximum(1, 2 * number) if stride == "incremental" else np.ones_like(number)


def clip_numbers(
    preprocess: Preprocess, moment_s: float, duration_s: float, stride: str, rng: np.random.Generator
) -> Int64Array:
    """Grid numbers of the frames of the clip for a moment, int64 [T], ascending.

    With other strides than `fixed` a clip lasts from its first frame to one step after its last; one that ends with its
    anchor goes back from there, any other is shifted to lie within the video, or ends with a video that is shorter. A
    step back that would leave the video is skipped, so the earliest frame repeats.

    Args:
        preprocess: grid, frames and anchor.
        moment_s: the moment.
        duration_s: duration of the video.
        stride: `fixed`, `random`, `exponential` or `incremental`.
        rng: for random strides.
    """
    if stride == "fixed":
        return preprocess.numbers(preprocess.place(moment_s, duration_s))
    back = gaps(stride, preprocess.num_frames, rng) * preprocess.stride
    last = preprocess.place(moment_s, duration_s)
    if preprocess.anchor != "last":
        length, total = int(back.sum()) + preprocess.stride, max(1, round(duration_s * preprocess.grid_fps))
        before = 0.5 if preprocess.anchor == "centre" else 0.0
        start = math.floor(clip_start(moment_s * preprocess.grid_fps, length, total, before) + 0.5 + EPS)
        last = max(0, min(start + length, total) - preprocess.stride)
    numbers = [last]
    for gap in back.tolist():
        numbers.append(numbers[-1] - gap if numbers[-1] >= gap else numbers[-1])
    return np.array(numbers[::-1], np.int64)


@dataclass(frozen=True, kw_only=True)
class ClipConfig:
    """Which clips are drawn, and which of their frames are shown.

    Args:
        balance: how clips are sampled: frames (uniformly), dataset_weight, specialty or cluster.
        weights: fraction of the samples drawn from each source, for dataset_weight.
        clusters: file written by `surgvl data cluster`, for cluster.
        temperature: from 0 (fully balanced) to 1 (not balanced).
        max_repeats: maximum of the expected draws of a clip per epoch; by default, no maximum.
        stride: distances between the frames of a clip, in steps of 1 / fps: fixed, random, exponential or incremental.
        repeats: consecutive samples that share a decoded clip and differ by augmentation (repeated augmentation, arXiv
            2303.16727).
    """

    balance: str = "frames"
    weights: dict[str, float] | None = None
    clusters: Path | None = None
    temperature: float = 0.0
    max_repeats: float | None = None
    stride: str = "fixed"
    repeats: int = 1

    def __post_init__(self) -> None:
        """Check the values that do not depend on the data.

        Raises:
            ConfigError: an option is unknown or a number out of range.
        """
        check_choice("--clip.balance", self.balance, PRESETS)
        check_choice("--clip.stride", self.stride, STRIDES)
        check_range("--clip.temperature", self.temperature, 0, 1)
        check_range("--clip.repeats", self.repeats, 1)
