"""Which clips pretraining draws, and the times of their frames: in seconds, never in frame numbers.

Strides, causal clips and their padding follow the released code of SurgVISTA (arXiv 2506.02692).
Shapes: T frames.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from surgvl.core.arrays import Float64Array
from surgvl.core.checks import check_above, check_choice, check_range
from surgvl.data.sampler import PRESETS
from surgvl.video.clip import clip_start

STRIDES = ("fixed", "random", "exponential", "incremental")
ANCHORS = ("causal", "centred", "random")


def gaps(stride: str, num_frames: int, rng: np.random.Generator) -> Float64Array:
    """Steps from each frame back to the one before, starting at the last, float64 [T - 1].

    Those of SurgVISTA's code: fixed 1, 1, ...; random, 1 to 5 each; exponential 1, 2, 4, 8, ..., a long memory that is
    dense in the recent past; incremental 0, 2, 4, ..., with 1 for 0, so that no frame repeats.
    """
    number = np.arange(num_frames - 1, dtype=np.float64)
    if stride == "random":
        return rng.integers(1, 6, num_frames - 1).astype(np.float64)
    return {"fixed": number**0, "exponential": 2.0**number, "incremental": np.maximum(1.0, 2 * number)}[stride]


def clip_times(
    at_s: float,
    duration_s: float,
    num_frames: int,
    step_s: float,
    stride: str,
    anchor: str,
    rng: np.random.Generator,
) -> Float64Array:
    """Times of a clip's frames, seconds, float64 [T], ascending.

    A clip lasts from its first frame to one step after its last. A `causal` clip ends with the frame at `at_s`; a
    `centred` clip has its middle there, a `random` one any of its parts, and both are shifted to lie within the video.
    Only the start is padded: a step back that would leave the video is skipped, so the earliest frame repeats. A clip
    longer than the video ends with the video.

    Args:
        at_s: time of the anchor.
        duration_s: duration of the video.
        num_frames: T.
        step_s: seconds per step of `gaps`.
        stride: `fixed`, `random`, `exponential` or `incremental`.
        anchor: `causal`, `centred` or `random`.
        rng: for random strides and anchors.
    """
    back_s = gaps(stride, num_frames, rng) * step_s
    last_s = at_s
    if anchor != "causal":
        length_s = float(back_s.sum()) + step_s
        share = 0.5 if anchor == "centred" else rng.uniform()
        start_s = clip_start(at_s, length_s, duration_s, share)
        last_s = max(0.0, min(start_s + length_s, duration_s) - step_s)
    times = [last_s]
    for gap_s in back_s.tolist():
        # The tolerance is for sums that should equal 0.
        times.append(max(0.0, times[-1] - gap_s) if times[-1] > gap_s - 1e-9 else times[-1])
    return np.array(times[::-1])


@dataclass(frozen=True, kw_only=True)
class ClipConfig:
    """Which clips are drawn, and which of their frames are shown.

    Args:
        balance: how clips are sampled: frames (uniformly), dataset_weight, specialty or cluster.
        weights: fraction of the samples drawn from each source, for dataset_weight.
        clusters: file written by `surgvl data cluster`, for cluster.
        temperature: from 0 (fully balanced) to 1 (not balanced).
        max_repeats: maximum of the expected draws of a clip per epoch; by default, no maximum.
        stride: distances between the frames of a clip: fixed, random, exponential or incremental.
        step_s: seconds per step of the stride; by default, one frame at fps.
        anchor: position of a clip relative to its time: causal (it ends there), centred or random.
        repeats: consecutive samples that share a decoded clip and differ by augmentation (repeated augmentation, arXiv
            2303.16727).
    """

    balance: str = "frames"
    weights: dict[str, float] | None = None
    clusters: Path | None = None
    temperature: float = 0.0
    max_repeats: float | None = None
    stride: str = "fixed"
    step_s: float | None = None
    anchor: str = "centred"
    repeats: int = 1

    def __post_init__(self) -> None:
        """Check the values that do not depend on the data.

        Raises:
            ConfigError: an option is unknown or a number out of range.
        """
        check_choice("--clip.balance", self.balance, PRESETS)
        check_choice("--clip.stride", self.stride, STRIDES)
        check_choice("--clip.anchor", self.anchor, ANCHORS)
        check_range("--clip.temperature", self.temperature, 0, 1)
        check_range("--clip.repeats", self.repeats, 1)
        if self.step_s is not None:
            check_above("--clip.step_s", self.step_s)
