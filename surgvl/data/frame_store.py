"""Frames of many videos on a model's grid, decoded once and memory-mapped, for all clips of all epochs.

A cache is a folder with one raw file per video (uint8 [N, S, S, 3], no header: N follows from the file size), named
after the video, its file's size and time, and the rate, geometry and crop, so that a changed video is decoded again.
Decoding streams, so memory and the time to open a clip do not grow with the length of a video. Disk: N * S * S * 3
bytes, 59 MB per hour at 4 frames/s and 64 px, 2.2 GB at 4 frames/s and 224 px. Without a cache, every clip is decoded
from its video.
"""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import numpy as np
from tqdm import tqdm

from surgvl import video
from surgvl.core.arrays import Int64Array, UInt8Array
from surgvl.core.errors import DataError, Unreadable
from surgvl.core.files import atomic, clear_temporary, text_hash
from surgvl.video.clip import EPS, GRACE_S, Preprocess
from surgvl.video.marks import Marks, counted

# Recordings have a keyframe every few seconds: beyond this gap, seeking is cheaper than decoding on.
MAX_GAP_S = 5.0


# A clip by its video and its place on the grid; see `surgvl.video.clip.Preprocess`.
ClipKey = tuple[str, int]


class FrameStore:
    """Clips of videos, from a cache of decoded frames or from the files themselves: the same frames.

    Args:
        paths: video id -> file.
        preprocess: of the model that takes the clips.
        cache: folder of decoded frames; None to decode at each use.

    Attributes:
        fps: rate of the grid, frames per second of video time.
        problems: video id -> why it cannot be read, after `prepare`.
        durations_s: video id -> duration in seconds, after `prepare`.
        aspects: video id -> width / height of the picture that its square frames show, after `measure_aspects`.
        marks: counts of the frames that this process decoded and that are marked as damaged.
    """

    def __init__(self, paths: Mapping[str, Path], preprocess: Preprocess, cache: Path | None = None):
        self.paths, self.preprocess, self.cache = dict(paths), preprocess, cache
        self.fps, self.picture = preprocess.grid_fps, preprocess.picture
        self.problems: dict[str, str] = {}
        self.marks = Marks()
        self.durations_s: dict[str, float] = {}
        self.aspects: dict[str, float] = {}
        self._boxes: dict[str, video.Box | None] = {}
        self._shapes: dict[str, tuple[int, int]] = {}

    def prepare(self) -> list[str]:
        """Probe every video and fill the cache; videos that cannot be read go to `problems`.

        Returns:
            Ids of the readable videos, in order.
        """
        if self.cache is not None:
            clear_temporary(self.cache)
        self.durations_s.update(self._each(self._prepare_one, list(self.paths), "decoding", self.cache is None))
        return list(self.durations_s)

    def measure_aspects(self, video_ids: Sequence[str]) -> list[str]:
        """Measure `aspects`; videos that cannot be read go to `problems`.

        Returns:
            Ids of the readable videos, in order.
        """
        quick = self.preprocess.crop == "none"
        self.aspects.update(self._each(self._aspect, video_ids, "measuring pictures", quick))
        return list(self.aspects)

    def _each(
        self, measure: Callable[[str], float], video_ids: Sequence[str], name: str, quick: bool
    ) -> dict[str, float]:
        """Measure videos in parallel, with a progress bar unless `quick`; what cannot be read goes to `problems`."""
        found: dict[str, float] = {}
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            jobs = {video_id: pool.submit(measure, video_id) for video_id in video_ids}
            for video_id, job in tqdm(jobs.items(), desc=name, unit="video", disable=quick or None, leave=False):
                try:
                    found[video_id] = job.result()
                except DataError as error:
                    self.problems[video_id] = str(error)
        return found

    def _aspect(self, video_id: str) -> float:
        return self.picture.aspect(*self._shown(video_id))

    def _shown(self, video_id: str) -> tuple[int, int]:
        """Height and width of the part of a video's picture that is shown."""
        if box := self._box(video_id):
            return box.bottom - box.top, box.right - box.left
        info = video.probe(self.paths[video_id])
        return info.height_px, info.width_px

    def shape(self, video_id: str) -> tuple[int, int]:
        """Height and width of a video's frames."""
        if self.picture.kind != "fit":
            return self.picture.size_px, self.picture.size_px
        if video_id not in self._shapes:
            self._shapes[video_id] = self.picture.shape(*self._shown(video_id))
        return self._shapes[video_id]

    def _prepare_one(self, video_id: str) -> float:
        duration_s = video.probe(self.paths[video_id]).duration_s
        if self.cache is None:
            return duration_s
        path = self._file(video_id)
        if not path.is_file():
            box = self._box(video_id)
            with counted(self.marks), atomic(path) as temporary, open(temporary, "wb") as file:
                for _, frame in video.stream(self.paths[video_id], self.fps, self.picture, box):
                    file.write(frame.tobytes())
        height, width = self.shape(video_id)
        return min(duration_s, path.stat().st_size / (3 * height * width * self.fps))

    def _box(self, video_id: str) -> video.Box | None:
        if self.preprocess.crop == "none":
            return None
        if video_id not in self._boxes:
            self._boxes[video_id] = video.content_box(self.paths[video_id])
        return self._boxes[video_id]

    def name(self, video_id: str) -> str:
        """Name of cached files for a video at this rate, geometry and crop; it changes with the video's file.

        Long ids are truncated, because most systems allow 255 bytes per path component; the hash keeps names distinct.
        """
        return self._named(video_id)

    @lru_cache(maxsize=4096)  # noqa: B019 (a store lives as long as its command)
    def _named(self, video_id: str) -> str:
        path = self.paths[video_id]
        state = path.stat()
        facts = [path.resolve(), state.st_size, state.st_mtime_ns, self.fps, self.picture.size_px, self.preprocess.crop]
        key = " ".join(map(str, facts if self.picture.is_plain else [*facts, self.picture]))
        parts = [part.encode(errors="surrogateescape")[:170].decode(errors="ignore") for part in video_id.split("/")]
        return f"{'/'.join(parts)}-{text_hash(key)}"

    def _file(self, video_id: str) -> Path:
        assert self.cache is not None
        return self.cache / f"{self.name(video_id)}.rgb"

    @lru_cache(maxsize=512)  # noqa: B019
    def _map(self, video_id: str) -> UInt8Array:
        return np.memmap(self._file(video_id), np.uint8, "r").reshape(-1, *self.shape(video_id), 3)

    def key(self, video_id: str, moment_s: float) -> ClipKey:
        """The clip for a moment of a video."""
        return video_id, self.preprocess.place(moment_s, self.durations_s[video_id])

    def key_of(self, video_id: str, start_s: float, end_s: float) -> ClipKey:
        """The clip for a segment of a video."""
        return self.key(video_id, self.preprocess.moment(start_s, end_s))

    def clip(self, key: ClipKey, num_frames: int | None = None) -> UInt8Array:
        """Frames of a clip, uint8 [T, S, S, 3]; past the end of the video the last frame is repeated.

        Args:
            key: from `key`.
            num_frames: T; the model's by default.

        Raises:
            Unreadable: the video cannot be read there.
        """
        return self.frames(key[0], self.preprocess.numbers(key[1], num_frames))

    def frames(self, video_id: str, numbers: Int64Array) -> UInt8Array:
        """Frames by their numbers on the grid, in any order, uint8 [T, S, S, 3]; past the end the last is repeated.

        Those at most `MAX_GAP_S` apart are decoded in one pass; otherwise the decoder seeks.

        Args:
            video_id: the video.
            numbers: int64 [T], 0 or more.

        Raises:
            DataError: a number is negative.
            Unreadable: the video cannot be read there.
        """
        if not len(numbers) or numbers.min() < 0:
            raise DataError(f"{video_id}: numbers of frames must be >= 0, got {numbers.tolist()}")
        if self.cache is not None:
            cached = self._map(video_id)
            kept: UInt8Array = cached[np.minimum(numbers, len(cached) - 1)]
            return kept
        last = math.ceil(self.durations_s[video_id] * self.fps - EPS) - 1
        wanted, where = np.unique(np.minimum(numbers, max(0, last)), return_inverse=True)
        try:
            with counted(self.marks), video.VideoReader(self.paths[video_id]) as reader:
                found = [self._run(reader, video_id, run) for run in decode_runs(wanted, self.fps)]
        except DataError as error:
            raise Unreadable(video_id, str(error)) from error
        return np.concatenate(found)[where]

    def _run(self, reader: video.VideoReader, video_id: str, run: Int64Array) -> UInt8Array:
        """Decode one of the `decode_runs` on the coarsest grid that contains all its frames."""
        stride = int(np.gcd.reduce(run - run[0])) or 1
        fps, numbers = self.fps / stride, (run - run[0]) // stride
        start_s = float(run[0]) / self.fps
        if start_s > self.durations_s[video_id] - GRACE_S:
            before = min(math.ceil(GRACE_S * fps), int(run[0]) // stride)
            start_s, numbers = float(run[0] - before * stride) / self.fps, numbers + before
        end_s = start_s + float(numbers[-1] + 1) / fps
        clip: UInt8Array = reader.read(start_s, end_s, fps, self.picture, self._box(video_id))[numbers]
        return clip


def decode_runs(numbers: Int64Array, fps: float) -> list[Int64Array]:
    """Split ascending numbers of frames [T] where the gap exceeds `MAX_GAP_S`."""
    return np.split(numbers, np.flatnonzero(np.diff(numbers) > MAX_GAP_S * fps) + 1)
