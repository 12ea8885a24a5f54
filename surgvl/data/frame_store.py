"""Frames of many videos at one rate and size, decoded once and memory-mapped, for all clips of all epochs.

A cache is a folder with one raw file per video (uint8 [N, S, S, 3], no header: N follows from the file size), named
after the video, its file's size and time, and the rate, size and crop, so that a changed video is decoded again.
Decoding streams, so memory and the time to open a clip do not grow with the length of a video. Disk: N * S * S * 3
bytes, 59 MB per hour at 4 frames/s and 64 px, 2.2 GB at 4 frames/s and 224 px. Without a cache, every clip is decoded
from its video.
"""

import math
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from tqdm import tqdm

from surgvl import video
from surgvl.core.arrays import Float64Array, UInt8Array
from surgvl.core.errors import DataError, Unreadable
from surgvl.core.files import atomic, clear_temporary, text_hash
from surgvl.video.clip import clip_start
from surgvl.video.marks import Marks, counted

# Recordings have a keyframe every few seconds: beyond this gap, seeking is cheaper than decoding on.
MAX_GAP_S = 5.0
# A header may declare up to a second more than the file holds (see `surgvl.video.decoder`).
GRACE_S = 1.5


class FrameStore:
    """Clips of videos, from a cache of decoded frames or from the files themselves.

    Args:
        paths: video id -> file.
        fps: frames per second of video time.
        size_px: side S of the square frames.
        crop: `none`, or `content` to crop to the content area before resizing.
        cache: folder of decoded frames; None to decode at each use.

    Attributes:
        problems: video id -> why it cannot be read, after `prepare`.
        durations_s: video id -> duration in seconds, after `prepare`.
        marks: counts of the frames that this process decoded and that are marked as damaged.
    """

    def __init__(
        self, paths: Mapping[str, Path], fps: float, size_px: int, crop: str = "none", cache: Path | None = None
    ):
        self.paths, self.fps, self.size_px, self.crop, self.cache = dict(paths), fps, size_px, crop, cache
        self.problems: dict[str, str] = {}
        self.marks = Marks()
        self.durations_s: dict[str, float] = {}
        self._boxes: dict[str, video.Box | None] = {}

    def prepare(self) -> list[str]:
        """Probe every video and fill the cache; videos that cannot be read go to `problems`.

        Returns:
            Ids of the readable videos, in order.
        """
        if self.cache is not None:
            clear_temporary(self.cache)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            jobs = {video_id: pool.submit(self._prepare_one, video_id) for video_id in self.paths}
            show = tqdm(jobs.items(), desc="decoding", unit="video", disable=None if self.cache else True, leave=False)
            for video_id, job in show:
                try:
                    self.durations_s[video_id] = job.result()
                except DataError as error:
                    self.problems[video_id] = str(error)
        return list(self.durations_s)

    def _prepare_one(self, video_id: str) -> float:
        duration_s = video.probe(self.paths[video_id]).duration_s
        if self.cache is None:
            return duration_s
        path = self._file(video_id)
        if not path.is_file():
            box = self._box(video_id)
            with counted(self.marks), atomic(path) as temporary, open(temporary, "wb") as file:
                for _, frame in video.stream(self.paths[video_id], self.fps, self.size_px, box):
                    file.write(frame.tobytes())
        return min(duration_s, path.stat().st_size / (3 * self.size_px**2 * self.fps))

    def _box(self, video_id: str) -> video.Box | None:
        if self.crop == "none":
            return None
        if video_id not in self._boxes:
            self._boxes[video_id] = video.content_box(self.paths[video_id])
        return self._boxes[video_id]

    def name(self, video_id: str) -> str:
        """Name of cached files for a video at this rate, size and crop; it changes with the video's file.

        Long ids are truncated, because most systems allow 255 bytes per path component; the hash keeps names distinct.
        """
        return self._named(video_id)

    @lru_cache(maxsize=4096)  # noqa: B019 (a store lives as long as its command)
    def _named(self, video_id: str) -> str:
        path = self.paths[video_id]
        state = path.stat()
        key = f"{path.resolve()} {state.st_size} {state.st_mtime_ns} {self.fps} {self.size_px} {self.crop}"
        parts = [part.encode(errors="surrogateescape")[:170].decode(errors="ignore") for part in video_id.split("/")]
        return f"{'/'.join(parts)}-{text_hash(key)}"

    def _file(self, video_id: str) -> Path:
        assert self.cache is not None
        return self.cache / f"{self.name(video_id)}.rgb"

    @lru_cache(maxsize=512)  # noqa: B019
    def _map(self, video_id: str) -> UInt8Array:
        return np.memmap(self._file(video_id), np.uint8, "r").reshape(-1, self.size_px, self.size_px, 3)

    def clip_around(self, video_id: str, middle_s: float, num_frames: int) -> tuple[str, int]:
        """Video and start, in milliseconds, of the clip of T frames around a moment, shifted into the video."""
        clip_s = num_frames / self.fps
        return video_id, round(1000 * clip_start(middle_s, clip_s, self.durations_s[video_id]))

    def clip(self, video_id: str, start_s: float, num_frames: int) -> UInt8Array:
        """Frames from `start_s` on, uint8 [T, S, S, 3]; past the end the last frame is repeated.

        Raises:
            Unreadable: the video cannot be read there.
        """
        if self.cache is None:
            end_s = start_s + num_frames / self.fps
            try:
                with counted(self.marks):
                    return video.read(self.paths[video_id], start_s, end_s, self.fps, self.size_px, self._box(video_id))
            except DataError as error:
                raise Unreadable(video_id, str(error)) from error
        frames = self._map(video_id)
        first = round(start_s * self.fps)
        index = np.minimum(np.arange(first, first + num_frames), len(frames) - 1)
        found: UInt8Array = frames[index]
        return found

    def frames_at(self, video_id: str, times_s: ArrayLike) -> UInt8Array:
        """Frames shown at given times, in any order and spacing, uint8 [T, S, S, 3]; past the end the last is repeated.

        A cache has one frame for each 1 / fps: the latest one not after a time is taken. A file is read to the frame.
        Times that are whole steps of 1 / fps and at most `MAX_GAP_S` apart are decoded in one pass;
        otherwise the decoder seeks.

        Args:
            video_id: the video.
            times_s: seconds, 0 or more, [T].

        Raises:
            DataError: a time is negative or not finite.
            Unreadable: the video cannot be read there.
        """
        times = np.asarray(times_s, np.float64)
        if times.ndim != 1 or not len(times) or not (np.isfinite(times) & (times >= 0)).all():
            raise DataError(f"{video_id}: times must be finite seconds >= 0, got {times.tolist()}")
        if self.cache is not None:
            frames = self._map(video_id)
            kept: UInt8Array = frames[np.minimum((times * self.fps + 1e-6).astype(np.int64), len(frames) - 1)]
            return kept
        wanted, place = np.unique(np.minimum(times, self.durations_s.get(video_id, np.inf)), return_inverse=True)
        try:
            with counted(self.marks), video.VideoReader(self.paths[video_id]) as reader:
                found = [self._run(reader, video_id, run) for run in decode_runs(wanted, self.fps)]
        except DataError as error:
            raise Unreadable(video_id, str(error)) from error
        return np.concatenate(found)[place]

    def _run(self, reader: video.VideoReader, video_id: str, times: Float64Array) -> UInt8Array:
        """Decode one of the `decode_runs` on the coarsest grid that contains all its times."""
        numbers = np.rint((times - times[0]) * self.fps).astype(np.int64)
        stride = int(np.gcd.reduce(numbers)) or 1
        fps, numbers = self.fps / stride, numbers // stride
        if times[0] > self.durations_s.get(video_id, np.inf) - GRACE_S:
            numbers += min(math.ceil(GRACE_S * fps), int(times[0] * fps + 1e-9))
        start_s = max(0.0, float(times[-1] - numbers[-1] / fps))
        end_s = start_s + float(numbers[-1] + 1) / fps
        clip: UInt8Array = reader.read(start_s, end_s, fps, self.size_px, self._box(video_id))[numbers]
        return clip


def decode_runs(times: Float64Array, fps: float) -> list[Float64Array]:
    """Split ascending times [T] where the gap exceeds `MAX_GAP_S` or is not a whole number of 1 / fps."""
    gap_s = np.diff(times)
    whole = np.rint(gap_s * fps)
    apart = (gap_s > MAX_GAP_S) | (whole == 0) | (np.abs(gap_s * fps - whole) > 1e-6)
    return np.split(times, np.flatnonzero(apart) + 1)
