"""The clips of a manifest in order, each with the labels at its middle: to inspect the data and to evaluate on it."""

import numpy as np
from torch.utils.data import Dataset

from surgvl.core.arrays import Int64Array
from surgvl.data.clips import Clip, to_tensor
from surgvl.data.frame_store import FrameStore
from surgvl.data.manifest import Manifest
from surgvl.video.clip import Preprocess


class LabelledClips(Dataset[Clip]):
    """Consecutive clips of all videos that can be read.

    A video of D seconds has max(1, floor(D / clip_s)) clips. `labels` of a clip maps each task of the manifest to the
    labels that cover the middle of the clip; `text` holds its narration. A last frame is held beyond the end.

    Args:
        manifest: videos and labels.
        preprocess: frames, rate and size of a clip.

    Attributes:
        problems: video id -> why it cannot be read; such videos have no clips.
        starts: (video id, start in seconds) of each clip.
    """

    def __init__(self, manifest: Manifest, preprocess: Preprocess):
        self.preprocess = preprocess
        paths = {row.video_id: manifest.path_of(row.video_id) for row in manifest.videos if row.path}
        self.store = FrameStore(paths, preprocess)
        self.problems = self.store.problems
        clip_s, durations_s = preprocess.clip_s, self.store.durations_s
        self.starts = [
            (video_id, number * clip_s)
            for video_id in self.store.prepare()
            for number in range(max(1, int(durations_s[video_id] / clip_s + 1e-6)))
        ]
        ids = [video_id for video_id, _ in self.starts]
        middles_s = [start_s + min(clip_s, durations_s[video_id]) / 2 for video_id, start_s in self.starts]
        self._labels = {
            task: manifest.second_labels(task, ids, middles_s)
            for task in sorted(set(manifest.segment_table["task"].to_pylist()))
        }

    def _numbers(self, start_s: float) -> Int64Array:
        """Grid numbers of the frames of the clip that starts at a time."""
        first = round(start_s * self.preprocess.grid_fps)
        return first + self.preprocess.stride * np.arange(self.preprocess.num_frames)

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> Clip:
        """Clip `index`: `video` uint8 [3, T, S, S], its times and its labels.

        Raises:
            Unreadable: the video cannot be read there.
        """
        video_id, start_s = self.starts[index]
        labels = {task: rows[index] for task, rows in self._labels.items()}
        return {
            "video": to_tensor(self.store.frames(video_id, self._numbers(start_s))),
            "video_id": video_id,
            "start_s": start_s,
            "end_s": start_s + self.preprocess.clip_s,
            "text": labels.pop("narration", []),
            "labels": labels,
        }
