"""The clip as training sees it, and the data sets of clips: alone, and with the sentences spoken over them.

Sample i is a pure function of (seed, i), so a run resumes at any step, whatever the number of workers and devices. An
epoch is a permutation of the rows, or of their balanced counts; each epoch draws new times.
Shapes: T frames, S = height = width in pixels.
"""

import math
from collections.abc import Sequence
from typing import Any, NotRequired, Protocol, TypedDict

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.utils.data import Dataset

from surgvl.core.arrays import Float64Array, Int64Array, UInt8Array
from surgvl.core.errors import ConfigError, DataError, Unreadable
from surgvl.data.clusters import Clusters
from surgvl.data.frame_store import ClipKey, FrameStore
from surgvl.data.manifest import Manifest, Segment
from surgvl.data.sampler import ClipConfig, balanced, clip_numbers, epoch_order, level_names


class Clip(TypedDict):
    """A segment of a video as training sees it; a batch holds lists, and videos stacked to [B, 3, T, H, W].

    Attributes:
        video: uint8 [3, T, H, W].
        video_id: its video.
        start_s: seconds of the source file.
        end_s: one frame after the last one shown.
        aspect: width / height of the picture that its frames show as squares.
        text: sentences spoken over it.
        labels: task -> labels.
        question: about it.
        answer: to the question.
    """

    video: Tensor
    video_id: str
    start_s: float
    end_s: float
    aspect: NotRequired[float]
    text: NotRequired[list[str]]
    labels: NotRequired[dict[str, list[str]]]
    question: NotRequired[str]
    answer: NotRequired[str]


class EndlessDataset(Dataset[Any]):
    """An endless sequence of rows, epoch after epoch, with a random generator for each sample.

    Row and generator follow from (seed, index) alone, and the index from the step and the rank: a run resumes anywhere
    without sampler state.

    Args:
        num_rows: number of rows, and of draws in an epoch.
        seed: for the order and the generators.
        expected: expected draws of each row per epoch, float64 [num_rows], see `surgvl.data.sampler`; one each if None.
    """

    def __init__(self, num_rows: int, seed: int, expected: Float64Array | None = None):
        if num_rows < 1:
            raise DataError("nothing to train on: the split has no rows of this kind; check the manifest")
        self.num_rows, self.seed = num_rows, seed
        self.expected = np.ones(num_rows) if expected is None else expected
        self._order: tuple[int, Int64Array] = (-1, np.empty(0, np.int64))

    def draw(self, index: int) -> tuple[int, np.random.Generator]:
        """Row and generator of sample `index`."""
        epoch, at = divmod(index, self.num_rows)
        if self._order[0] != epoch:
            self._order = (epoch, epoch_order(self.expected, self.seed, epoch))
        return int(self._order[1][at]), np.random.default_rng([self.seed, index, 1])


def to_tensor(frames: UInt8Array) -> Tensor:
    """Frames uint8 [T, S, S, 3] -> uint8 [3, T, S, S], contiguous."""
    return torch.from_numpy(np.ascontiguousarray(frames.transpose(3, 0, 1, 2)))


class PretrainClips(EndlessDataset):
    """Clips at random times; a video has one row per clip length, so each moment is drawn equally often.

    Args:
        store: provides the clips; prepared.
        video_ids: videos to draw from.
        seed: for the order and the times.
        manifest: source and specialty of each video; needed by `dataset_weight` and `specialty`.
        config: which clips are drawn. With `repeats`, a batch of B holds B / repeats clips, told apart by the
            augmentation on the device.

    Raises:
        ConfigError: an argument that the balance needs is missing.
        DataError: a video has no specialty or no clusters.
    """

    def __init__(
        self,
        store: FrameStore,
        video_ids: Sequence[str],
        seed: int,
        manifest: Manifest | None = None,
        config: ClipConfig = ClipConfig(),  # noqa: B008 (frozen)
    ):
        self.config, clip_s = config, store.preprocess.clip_s
        self.rows: list[tuple[str, float, float]] = []
        for video_id in video_ids:
            duration_s = store.durations_s[video_id]
            edges = np.linspace(0, duration_s, max(1, int(duration_s / clip_s)) + 1).tolist()
            self.rows += [(video_id, *pair) for pair in zip(edges[:-1], edges[1:], strict=True)]
        columns = _columns(self.rows, config, manifest)
        expected = None
        if self.rows:
            weights, most, temperature = config.weights, config.max_repeats, config.temperature
            expected = balanced(config.balance, columns, len(self.rows), weights, most, temperature)
        super().__init__(len(self.rows), seed, expected)
        self.store = store
        self._last: tuple[int, Clip] | None = None

    def numbers(self, index: int) -> tuple[str, Int64Array]:
        """Video of sample `index` and the grid numbers of its frames, int64 [T], without decoding."""
        row, rng = self.draw(index // self.config.repeats)
        video_id, begin_s, end_s = self.rows[row]
        moment_s = begin_s + (0.5 + rng.uniform(-0.5, 0.5)) * (end_s - begin_s)
        duration_s = self.store.durations_s[video_id]
        return video_id, clip_numbers(self.store.preprocess, moment_s, duration_s, self.config.stride, rng)

    def __getitem__(self, index: int) -> Clip:
        """Sample `index`: `video` uint8 [3, T, S, S] and its times. Repeats of a clip share its memory."""
        repeats = self.config.repeats
        if self._last is not None and repeats > 1 and self._last[0] == index // repeats:
            return self._last[1].copy()
        video_id, numbers = self.numbers(index)
        clip: Clip = {
            "video": to_tensor(self.store.frames(video_id, numbers)),
            "video_id": video_id,
            "start_s": float(numbers[0]) / self.store.fps,
            "end_s": float(numbers[-1] + 1) / self.store.fps,
        }
        if video_id in self.store.aspects:
            clip["aspect"] = self.store.aspects[video_id]
        self._last = (index // repeats, clip)
        return clip.copy()


def _columns(
    rows: Sequence[tuple[str, float, float]], config: ClipConfig, manifest: Manifest | None
) -> dict[str, ArrayLike]:
    """The columns that a balance needs: source and specialty of each row, or its clusters."""
    balance = config.balance
    if balance == "cluster":
        if config.clusters is None:
            raise ConfigError("--clip.balance cluster needs --clip.clusters: write the file with surgvl data cluster")
        groups = Clusters.load(config.clusters).at([row[0] for row in rows], [(row[1] + row[2]) / 2 for row in rows])
        return {f"cluster_{level}": groups[:, level] for level in range(groups.shape[1])}
    names = level_names(balance)
    if not names:
        return {}
    if manifest is None:
        raise ConfigError(f"balance {balance} needs the {' and '.join(names)} of each video: pass the manifest")
    known = {row.video_id: {"source": row.source, "specialty": row.specialty} for row in manifest.videos}
    for video_id in dict.fromkeys(row[0] for row in rows):
        if lost := [name for name in names if not known[video_id][name]]:
            raise DataError(
                f"video {video_id!r} has no {lost[0]} in the manifest, which balance {balance} needs: add it"
            )
    return {name: [known[row[0]][name] for row in rows] for name in names}


class Tokens(Protocol):
    """Stored encoder output by clip; see `surgvl.embed.features`."""

    def __contains__(self, clip: ClipKey) -> bool:
        """Whether the tokens of a clip are stored."""

    def __getitem__(self, clip: ClipKey) -> Tensor:
        """Tokens [N, D]."""


class NarratedClips(EndlessDataset):
    """Clips with all sentences spoken over their moment; one row for each sentence of the manifest.

    Args:
        store: provides the clips; prepared.
        manifest: its segments of task `narration` are the sentences.
        video_ids: videos to draw from.
        seed: for the order and the times.
        seconds: draw clips of whole seconds, so that a frozen encoder needs to encode each clip only once; otherwise of
            any moment of the sentence.
        tokens: output of a frozen encoder for all readable `clips()`, used instead of the video.
    """

    def __init__(
        self,
        store: FrameStore,
        manifest: Manifest,
        video_ids: Sequence[str],
        seed: int,
        seconds: bool = False,
        tokens: "Tokens | None" = None,
    ):
        keep = set(video_ids)
        self.rows = [row for row in manifest.segments if row.task == "narration" and row.video_id in keep]
        super().__init__(len(self.rows), seed)
        self.store, self.seconds, self.tokens = store, seconds, tokens
        self.spoken: dict[str, list[Segment]] = {}
        for row in self.rows:
            self.spoken.setdefault(row.video_id, []).append(row)

    def moments(self, row: Segment) -> list[float]:
        """Moments of the seconds within a sentence, or its own if there is none; seconds."""
        moment = self.store.preprocess.moment
        found = [moment(second, second + 1) for second in range(math.floor(row.start_s), math.ceil(row.end_s))]
        return [each for each in found if row.start_s <= each < row.end_s] or [moment(row.start_s, row.end_s)]

    def clips(self) -> list[ClipKey]:
        """All clips that can be drawn if `seconds` is set, each once."""
        found = ((row.video_id, moment_s) for row in self.rows for moment_s in self.moments(row))
        return list(dict.fromkeys(self.store.key(*each) for each in found))

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Sample `index`: `video` uint8 [3, T, S, S] or `tokens` [N, D], sentences over its moment as `text`, times.

        Raises:
            Unreadable: the video cannot be read there.
        """
        number, rng = self.draw(index)
        row = self.rows[number]
        at = self.moments(row) if self.seconds else []
        moment_s = at[rng.integers(len(at))] if at else rng.uniform(row.start_s, row.end_s)
        others = [each.label for each in self.spoken[row.video_id] if each.start_s <= moment_s < each.end_s]
        clip = self.store.key(row.video_id, moment_s)
        start_s, end_s = self.store.preprocess.span_s(moment_s, self.store.durations_s[row.video_id])
        seen: dict[str, Any]
        if self.tokens is None:
            seen = {"video": to_tensor(self.store.clip(clip))}
            if row.video_id in self.store.aspects:
                seen["aspect"] = self.store.aspects[row.video_id]
        elif clip in self.tokens:
            seen = {"tokens": self.tokens[clip]}
        else:
            raise Unreadable(row.video_id, f"{self.store.paths[row.video_id]} cannot be read at {start_s:g} s")
        return {
            **seen,
            "video_id": row.video_id,
            "start_s": start_s,
            "end_s": end_s,
            "text": list(dict.fromkeys([row.label, *others])),
        }


def collate(clips: Sequence[Clip | dict[str, Any]]) -> dict[str, Any]:
    """Stack tensors with B in front; keep everything else as lists of length B."""
    batch: dict[str, Any] = {}
    for key in clips[0]:
        values = [dict(clip)[key] for clip in clips]
        tensors = [value for value in values if isinstance(value, Tensor)]
        batch[key] = torch.stack(tensors) if tensors else values
    return batch
