"""When the frames of a clip are shown: strides and anchors in seconds, never in frame numbers.

After SurgVISTA (arXiv 2506.02692; strides, causal clips and their padding as in its released code).
Shapes: T frames.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

STRIDES = ("fixed", "random", "exponential", "incremental")
ANCHORS = ("causal", "centred", "random")


def gaps(stride: str, num_frames: int, rng: np.random.Generator) -> Floats:
    """Steps from one frame back to the one before, beginning at the last, float64 [T - 1].

    SurgVISTA's (arXiv 2506.02692, from its code): fixed 1, 1, ...; random, 1 to 5 each; exponential 1, 2, 4, 8, ...,
    a long memory that is dense where it is recent; incremental 0, 2, 4, ..., whose 0 is 1, lest the frame repeat.
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
) -> Floats:
    """When the frames of a clip are shown, seconds, float64 [T], ascending.

    A clip lasts from its first frame to a step after its last. `causal` ends it with the frame at `at_s`, whatever
    comes before; `centred` puts its middle there, `random` any part of it, and both shift it into the video. Padding is
    at the start alone: a step back that would leave the video is not taken, so the frame reached before
    repeats. A clip longer than the video ends with it.

    Args:
        at_s: the anchor's time.
        duration_s: length of the video.
        num_frames: T.
        step_s: seconds in a step of `gaps`.
        stride: `fixed`, `random`, `exponential` or `incremental`.
        anchor: `causal`, `centred` or `random`.
        rng: for what is random.
    """
    back_s = gaps(stride, num_frames, rng) * step_s
    last_s = at_s
    if anchor != "causal":
        length_s = float(back_s.sum()) + step_s
        share = 0.5 if anchor == "centred" else rng.uniform()
        start_s = float(np.clip(at_s - share * length_s, 0, max(0.0, duration_s - length_s)))
        last_s = max(0.0, min(start_s + length_s, duration_s) - step_s)
    times = [last_s]
    for gap_s in back_s.tolist():
        # The tolerance is for sums that should meet 0.
        times.append(max(0.0, times[-1] - gap_s) if times[-1] > gap_s - 1e-9 else times[-1])
    return np.array(times[::-1])
