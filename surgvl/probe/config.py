"""Settings of a probe: its clips and the training of its readout; 0 means the encoder's or readout's default."""

from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING, Literal

from surgvl.core.checks import check_above, check_choice, check_range
from surgvl.core.errors import ConfigError
from surgvl.video.clip import ANCHORS

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
        anchor: frame of a clip that shows the labelled moment, last, centre or first; empty: as the encoder was
            trained.
        frame_step: encode only the middle one of this many consecutive frames, for image encoders.
    """

    every_s: float = 0.0
    num_frames: int = 0
    fps: float = 0.0
    anchor: Literal["", "last", "centre", "first"] = ""
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
        if self.anchor:
            check_choice("--clip.anchor", self.anchor, ANCHORS)


@dataclass(frozen=True, kw_only=True)
class ReadoutTraining:
    """Training of the readout.

    Args:
        steps: training steps; 0: the readout's default.
        epochs: passes over the training clips that have labels, in place of steps; 0: as many as the steps make.
        batch: clips per training step, and clips encoded at once; readouts that see a video take one a step.
        lr: peak learning rates; with several, or several decays, a readout is trained for each, all at once, and the
            one that scores best on validation videos is kept; none: the readout's default.
        weight_decay: weight decays of the readout's matrices; none: the readout's default.
    """

    steps: int = 0
    epochs: int = 0
    batch: int = 64
    lr: tuple[float, ...] = ()
    weight_decay: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ConfigError: one is out of range, or both steps and epochs are given.
        """
        check_range("--fit.steps", self.steps, 0)
        check_range("--fit.epochs", self.epochs, 0)
        if self.steps and self.epochs:
            raise ConfigError(f"--fit.steps {self.steps} and --fit.epochs {self.epochs}: give one of them")
        check_range("--fit.batch", self.batch, 1)
        for lr in self.lr:
            check_above("--fit.lr", lr)
        for weight_decay in self.weight_decay:
            check_range("--fit.weight_decay", weight_decay, 0)

    def of(self, readout: "type[Readout]") -> "ReadoutTraining":
        """These settings, with a readout's defaults where none were given."""
        return replace(
            self,
            steps=self.steps or (0 if self.epochs else readout.steps),
            lr=self.lr or (readout.lr,),
            weight_decay=self.weight_decay or (readout.weight_decay,),
        )

    def num_steps(self, num_clips: int, batch: int) -> int:
        """Training steps on so many clips with labels, so many of them a step."""
        return self.epochs * ceil(num_clips / batch) if self.epochs else self.steps


@dataclass(frozen=True, kw_only=True)
class FewShot:
    """Probes of few training clips.

    Args:
        videos: train on this many videos, drawn at random; 0: on all.
        clips: train on this many clips of each class, drawn from these; 0: on all.
        draws: number of draws, each of which is a probe of its own.
    """

    videos: int = 0
    clips: int = 0
    draws: int = 5

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ConfigError: one is out of range.
        """
        check_range("--few_shot.videos", self.videos, 0)
        check_range("--few_shot.clips", self.clips, 0)
        check_range("--few_shot.draws", self.draws, 1)

    @property
    def is_asked(self) -> bool:
        """Whether not all clips are trained on."""
        return self.videos > 0 or self.clips > 0

    def __str__(self) -> str:
        """In words."""
        parts = [f"{self.clips} clips a class"] if self.clips else []
        parts += [f"{self.videos} training videos"] if self.videos else []
        return " of ".join(parts)
