"""How pretraining draws its clips."""

from dataclasses import dataclass
from pathlib import Path

from surgvl.core.checks import check_above, check_choice, check_range
from surgvl.data.clip_times import ANCHORS, STRIDES
from surgvl.data.sampler import PRESETS


@dataclass(frozen=True, kw_only=True)
class ClipConfig:
    """Which clips are drawn, and which of their frames are shown.

    Args:
        balance: how sources share the draws: frames, dataset_weight, specialty or cluster.
        weights: share of the draws of each source, for dataset_weight.
        clusters: file written by surgvl data cluster, for cluster.
        temperature: from 0 (fully balanced) to 1 (not balanced).
        max_repeats: upper bound of the expected draws of a clip per epoch; none: no bound.
        stride: distances between the frames of a clip: fixed, random, exponential or incremental.
        step_s: seconds per step of the stride; left out: one frame at fps.
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
