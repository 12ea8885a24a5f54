"""What a training step eats: clips alone, clips with a sentence, clips with a question and its answer.

Sample i is a pure function of (seed, i): a run resumes at any step, and neither the number of workers nor of devices
changes what is seen. One epoch is one permutation of the rows; clip times are drawn anew each time.
Shapes: T frames, S = height = width in pixels.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from surgvl.data.base import Clip
from surgvl.data.frames import ClipSource
from surgvl.data.manifest import Manifest, Segment
from surgvl.errors import DataError


class Permuted(Dataset[Any]):
    """Endless rows in the order of one permutation after another, with a generator for each sample."""

    def __init__(self, num_rows: int, seed: int):
        if num_rows < 1:
            raise DataError("there is nothing to train on: the split has no rows of this kind; check the manifest")
        self.num_rows, self.seed = num_rows, seed
        self._order: tuple[int, np.ndarray[Any, np.dtype[np.int64]]] = (-1, np.empty(0, np.int64))

    def draw(self, index: int) -> tuple[int, np.random.Generator]:
        """Row number and generator of sample `index`."""
        epoch, at = divmod(index, self.num_rows)
        if self._order[0] != epoch:
            self._order = (epoch, np.random.default_rng([self.seed, epoch]).permutation(self.num_rows))
        return int(self._order[1][at]), np.random.default_rng([self.seed, index, 1])


def to_tensor(frames: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Tensor:
    """Frames uint8 [T, S, S, 3] -> uint8 [3, T, S, S], contiguous."""
    return torch.from_numpy(np.ascontiguousarray(frames.transpose(3, 0, 1, 2)))


class PretrainClips(Permuted):
    """Clips at random times; a video is drawn once for each clip length it holds, so time counts, not videos.

    Args:
        source: where clips come from; prepared.
        video_ids: videos to draw from.
        num_frames: T.
        seed: of the order and the times.
    """

    def __init__(self, source: ClipSource, video_ids: Sequence[str], num_frames: int, seed: int):
        clip_s = num_frames / source.fps
        self.rows = [
            (video_id, at * clip_s)
            for video_id in video_ids
            for at in range(max(1, int(source.durations_s[video_id] / clip_s)))
        ]
        super().__init__(len(self.rows), seed)
        self.source, self.num_frames, self.clip_s = source, num_frames, clip_s

    def __getitem__(self, index: int) -> Clip:
        """Sample `index`: `video` uint8 [3, T, S, S] and its times."""
        row, rng = self.draw(index)
        video_id, start_s = self.rows[row]
        last_s = max(0.0, self.source.durations_s[video_id] - self.clip_s)
        start_s = float(np.clip(start_s + rng.uniform(-0.5, 0.5) * self.clip_s, 0, last_s))
        frames = self.source.clip(video_id, start_s, self.num_frames)
        return {
            "video": to_tensor(frames),
            "video_id": video_id,
            "start_s": start_s,
            "end_s": start_s + self.clip_s,
        }


class NarratedClips(Permuted):
    """Clips with all sentences spoken over their centre; a clip is drawn for each sentence of the manifest.

    Args:
        source: where clips come from; prepared.
        manifest: its segments of task `narration` are the sentences.
        video_ids: videos to draw from.
        num_frames: T.
        seed: of the order and the times.
    """

    def __init__(self, source: ClipSource, manifest: Manifest, video_ids: Sequence[str], num_frames: int, seed: int):
        keep = set(video_ids)
        self.rows = [row for row in manifest.segments if row.task == "narration" and row.video_id in keep]
        super().__init__(len(self.rows), seed)
        self.source, self.num_frames, self.clip_s = source, num_frames, num_frames / source.fps
        self.spoken: dict[str, list[Segment]] = {}
        for row in self.rows:
            self.spoken.setdefault(row.video_id, []).append(row)

    def __getitem__(self, index: int) -> Clip:
        """Sample `index`: `video` uint8 [3, T, S, S], `text`, the sentences over its centre, and times."""
        number, rng = self.draw(index)
        row = self.rows[number]
        centre_s = rng.uniform(row.start_s, row.end_s)
        last_s = max(0.0, self.source.durations_s[row.video_id] - self.clip_s)
        start_s = float(np.clip(centre_s - self.clip_s / 2, 0, last_s))
        frames = self.source.clip(row.video_id, start_s, self.num_frames)
        others = [each.label for each in self.spoken[row.video_id] if each.start_s <= centre_s < each.end_s]
        return {
            "video": to_tensor(frames),
            "video_id": row.video_id,
            "start_s": start_s,
            "end_s": start_s + self.clip_s,
            "text": list(dict.fromkeys([row.label, *others])),
        }


def collate(clips: Sequence[Clip]) -> dict[str, Any]:
    """Stack tensors with B in front; keep everything else as lists of length B."""
    batch: dict[str, Any] = {}
    for key in clips[0]:
        values = [dict(clip)[key] for clip in clips]
        tensors = [value for value in values if isinstance(value, Tensor)]
        batch[key] = torch.stack(tensors) if tensors else values
    return batch
