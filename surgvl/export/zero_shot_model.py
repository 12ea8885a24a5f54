"""What a video-text model does with prompt sets, in this process and behind a server: class vectors and timelines.

Shapes: N segments, C classes, E width of the space.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from surgvl import prompts
from surgvl.core.arrays import Float32Array
from surgvl.embed.vectors import class_vectors
from surgvl.export.interval_table import IntervalTable
from surgvl.export.zero_shot import SMOOTH_S, THRESHOLD, ClassSet, ClipVectors, TimelineConfig, interval_table
from surgvl.video.clip import Preprocess


class ZeroShotModel(ABC):
    """A video-text model and its uses without training.

    Attributes:
        preprocess: how its clips are cut.
        hash: of its configuration and weights.
    """

    preprocess: Preprocess

    @property
    @abstractmethod
    def scale(self) -> float:
        """Factor of the cosines before the softmax."""

    @property
    @abstractmethod
    def described(self) -> str:
        """Where it is, and its hash."""

    @abstractmethod
    def encode_text(self, sentences: str | Sequence[str]) -> Float32Array:
        """Unit vectors of sentences, float32 [number of sentences, E]."""

    @abstractmethod
    def encode_segments(
        self, path: Path, preprocess: Preprocess, tick: Callable[[float], object] = lambda _: None
    ) -> tuple[Float32Array, list[float], list[float]]:
        """Unit vectors of the segments of a video [N, E], starts and ends in seconds; streams the file.

        Args:
            path: the file.
            preprocess: how clips are cut, and their step.
            tick: called with the number of seconds that have been read since the last call.

        Raises:
            DataError: the file cannot be read.
        """

    def class_vectors(self, prompt_set: str) -> tuple[list[str], Float32Array]:
        """Class names [C] and zero-shot class vectors float32 [C, E] of a prompt set."""
        found = self.class_set(prompt_set)
        return found.names, found.vectors

    def class_set(self, prompt_set: str) -> ClassSet:
        """A prompt set with its class names and zero-shot class vectors."""
        loaded = prompts.load(prompt_set)
        rows = loaded.texts()
        vectors = class_vectors(self.encode_text([row[2] for row in rows]), [row[0] for row in rows])
        return ClassSet(loaded, list(dict.fromkeys(row[1] for row in rows)), vectors)

    def timeline(
        self,
        source: str | Path,
        prompt_sets: str | Sequence[str | ClassSet] = "cholec80_phase",
        *,
        causal: bool = False,
        smooth_s: float = SMOOTH_S,
        threshold: float = THRESHOLD,
        stride_s: float | None = None,
        tick: Callable[[float], object] = lambda _: None,
    ) -> IntervalTable:
        """Intervals of phases, triplets and tools in a video, zero-shot; `save` of the table writes them.

        Args:
            source: a video file, or a folder of numbered images.
            prompt_sets: a name or file of a prompt set, or several, or what `class_set` returns; those of task `phase`
                or `step` give one class at a time, others those above the threshold, and triplets give tools as well.
            causal: use only what an online system could know; see `surgvl.export.zero_shot.TimelineConfig`.
            smooth_s: window of a moving average over the cosines, seconds; 0 for none.
            threshold: least probability of a triplet or tool.
            stride_s: seconds between clips; the model's `step_s` by default.
            tick: called with the number of seconds that have been read since the last call.

        Raises:
            ConfigError: a number is out of range, or there is no such prompt set.
            DataError: the video cannot be read.
        """
        config = TimelineConfig(causal=causal, smooth_s=smooth_s, threshold=threshold)
        given = [prompt_sets] if isinstance(prompt_sets, str) else prompt_sets
        sets = [each if isinstance(each, ClassSet) else self.class_set(each) for each in given]
        preprocess = (replace(self.preprocess, anchor="last") if causal else self.preprocess).every(stride_s)
        found = self.encode_segments(Path(source), preprocess, tick)
        clips = ClipVectors.of_segments(*found, preprocess, causal)
        return interval_table(Path(source), clips, sets, self.scale, config, self.described)
