"""Training datasets: clips alone, and clips with the sentences spoken over them.

Sample i is a pure function of (seed, i), so a run resumes at any step, whatever the number of workers and devices. An
epoch is a permutation of the rows, or of their balanced counts; each epoch draws new times.
Shapes: T frames, S = height = width in pixels.
"""

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.utils.data import Dataset

from surgvl.core.arrays import Float64Array, Int64Array, UInt8Array
from surgvl.core.errors import ConfigError, DataError, Unreadable
from surgvl.data.clip import Clip
from surgvl.data.clip_times import ClipConfig, clip_times
from surgvl.data.clusters import Clusters
from surgvl.data.frame_store import FrameStore
from surgvl.data.manifest import Manifest, Segment
from surgvl.data.sampler import balanced, epoch_order, level_names


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
        num_frames: T.
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
        num_frames: int,
        seed: int,
        manifest: Manifest | None = None,
        config: ClipConfig = ClipConfig(),  # noqa: B008 (frozen)
    ):
        self.config = config
        self.step_s = 1 / store.fps if config.step_s is None else config.step_s
        self.clip_s = num_frames * self.step_s
        self.rows: list[tuple[str, float, float]] = []
        for video_id in video_ids:
            duration_s = store.durations_s[video_id]
            edges = np.linspace(0, duration_s, max(1, int(duration_s / self.clip_s)) + 1).tolist()
            self.rows += [(video_id, *pair) for pair in zip(edges[:-1], edges[1:], strict=True)]
        columns = _columns(self.rows, config, manifest)
        expected = None
        if self.rows:
            weights, most, temperature = config.weights, config.max_repeats, config.temperature
            expected = balanced(config.balance, columns, len(self.rows), weights, most, temperature)
        super().__init__(len(self.rows), seed, expected)
        self.store, self.num_frames = store, num_frames
        self._last: tuple[int, Clip] | None = None

    def times(self, index: int) -> tuple[str, Float64Array]:
        """Video of sample `index` and the times of its frames, seconds, float64 [T], without decoding."""
        row, rng = self.draw(index // self.config.repeats)
        video_id, begin_s, end_s = self.rows[row]
        at_s = begin_s + (0.5 + rng.uniform(-0.5, 0.5)) * (end_s - begin_s)
        duration_s = self.store.durations_s[video_id]
        how = self.config.stride, self.config.anchor
        return video_id, clip_times(at_s, duration_s, self.num_frames, self.step_s, *how, rng)

    def __getitem__(self, index: int) -> Clip:
        """Sample `index`: `video` uint8 [3, T, S, S] and its times. Repeats of a clip share its memory."""
        repeats, stride, anchor = self.config.repeats, self.config.stride, self.config.anchor
        if self._last is not None and repeats > 1 and self._last[0] == index // repeats:
            return self._last[1].copy()
        video_id, times_s = self.times(index)
        even = stride == "fixed" and abs(self.step_s * self.store.fps - 1) < 1e-9 and anchor != "causal"
        if even and self.clip_s <= self.store.durations_s[video_id]:
            frames = self.store.clip(video_id, float(times_s[0]), self.num_frames)
        else:
            frames = self.store.frames_at(video_id, times_s)
        clip: Clip = {
            "video": to_tensor(frames),
            "video_id": video_id,
            "start_s": float(times_s[0]),
            "end_s": float(times_s[-1]) + self.step_s,
        }
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
    """Stored encoder output by clip (video, start in milliseconds); see `surgvl.embed.features`."""

    def __contains__(self, clip: tuple[str, int]) -> bool:
        """Whether the tokens of a clip are stored."""

    def __getitem__(self, clip: tuple[str, int]) -> Tensor:
        """Tokens [N, D]."""


class NarratedClips(EndlessDataset):
    """Clips with all sentences spoken over their centre; one row for each sentence of the manifest.

    Args:
        store: provides the clips; prepared.
        manifest: its segments of task `narration` are the sentences.
        video_ids: videos to draw from.
        num_frames: T.
        seed: for the order and the times.
        seconds: centre clips on the middles of seconds, so that a frozen encoder needs to encode each clip only once;
            otherwise on any time of the sentence.
        tokens: output of a frozen encoder for all readable `clips()`, used instead of the video.
    """

    def __init__(
        self,
        store: FrameStore,
        manifest: Manifest,
        video_ids: Sequence[str],
        num_frames: int,
        seed: int,
        seconds: bool = False,
        tokens: "Tokens | None" = None,
    ):
        keep = set(video_ids)
        self.rows = [row for row in manifest.segments if row.task == "narration" and row.video_id in keep]
        super().__init__(len(self.rows), seed)
        self.store, self.num_frames, self.seconds, self.tokens = store, num_frames, seconds, tokens
        self.spoken: dict[str, list[Segment]] = {}
        for row in self.rows:
            self.spoken.setdefault(row.video_id, []).append(row)

    def centres(self, row: Segment) -> list[float]:
        """Middles of the seconds within a sentence, or its own middle if there is none; seconds."""
        middles = [second + 0.5 for second in range(math.floor(row.start_s), math.ceil(row.end_s))]
        return [each for each in middles if row.start_s <= each < row.end_s] or [(row.start_s + row.end_s) / 2]

    def clips(self) -> list[tuple[str, int]]:
        """All clips that can be drawn if `seconds` is set: video and start in milliseconds, each once."""
        found = ((row.video_id, centre_s) for row in self.rows for centre_s in self.centres(row))
        return list(dict.fromkeys(self.store.clip_around(*each, self.num_frames) for each in found))

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Sample `index`: `video` uint8 [3, T, S, S] or `tokens` [N, D], sentences over its centre as `text`, times.

        Raises:
            Unreadable: the video cannot be read there.
        """
        number, rng = self.draw(index)
        row = self.rows[number]
        at = self.centres(row) if self.seconds else []
        centre_s = at[rng.integers(len(at))] if at else rng.uniform(row.start_s, row.end_s)
        others = [each.label for each in self.spoken[row.video_id] if each.start_s <= centre_s < each.end_s]
        clip = self.store.clip_around(row.video_id, centre_s, self.num_frames)
        start_s = clip[1] / 1000
        seen: dict[str, Any]
        if self.tokens is None:
            seen = {"video": to_tensor(self.store.clip(row.video_id, start_s, self.num_frames))}
        elif clip in self.tokens:
            seen = {"tokens": self.tokens[clip]}
        else:
            raise Unreadable(row.video_id, f"{self.store.paths[row.video_id]} cannot be read at {start_s:g} s")
        return {
            **seen,
            "video_id": row.video_id,
            "start_s": start_s,
            "end_s": start_s + self.num_frames / self.store.fps,
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
