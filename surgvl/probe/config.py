"""Settings of a probe: its clips and the training of its readout; 0 means the encoder's or readout's default."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from surgvl.core.checks import check_range

# Imported for types only: help and usage errors must not wait for torch.
if TYPE_CHECKING:
    from surgvl.probe.base import Readout


@dataclass(frozen=True, kw_only=True)
class ProbeClips:
    """Which clips are encoded.

    Args:
        every_s: seconds between clips, for training and scoring; 0: the encoder's own step.
        num_frames: frames of a clip, a multiple of the encoder's; 0: as the encoder was trained.
        fps: frames per second of a clip; 0: as the encoder was trained.
        frame_step: encode only the middle one of this many consecutive frames, for image encoders.
    """

    every_s: float = 0.0
    num_frames: int = 0
    fps: float = 0.0
    frame_step: int = 1

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ConfigError: one is out of range.
        """
        check_range("--clip.every_s", self.every_s, 0)
        check_range("--clip.num_frames", self.num_frames, 0)
        check_range("--clip.fps", self.fps, 0)
        check_range("--clip.frame_step", self.frame_step, 1)


@dataclass(frozen=True, kw_only=True)
class ReadoutTraining:
    """Training of the readout.

    Args:
        steps: training steps; 0: the readout's default.
        batch: clips per training step, and clips encoded at once.
        lr: peak learning rate; 0: the readout's default.
        weight_decay: weight decay of the readout's matrices; below 0: the readout's default.
    """

    steps: int = 0
    batch: int = 64
    lr: float = 0.0
    weight_decay: float = -1.0

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ConfigError: one is out of range.
        """
        check_range("--fit.steps", self.steps, 0)
        check_range("--fit.batch", self.batch, 1)
        check_range("--fit.lr", self.lr, 0)
        check_range("--fit.weight_decay", self.weight_decay, -1)

    def of(self, readout: "type[Readout]") -> "ReadoutTraining":
        """These settings, with a readout's defaults where none were given."""
        own = readout.weight_decay if self.weight_decay < 0 else self.weight_decay
        return replace(self, steps=self.steps or readout.steps, lr=self.lr or readout.lr, weight_decay=own)
