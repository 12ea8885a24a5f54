"""Frames of many videos at one rate and size, decoded once and memory-mapped: one decode feeds all clips of all epochs.

A store is a folder with one raw file a video (uint8 [N, S, S, 3], no header: N follows from its size), named after the
video, its file's size and time, and the rate, size and crop, so that a changed video is decoded again. Decoding streams
in order; memory is flat in the length of a video, and so is opening a clip. Disk: N * S * S * 3 bytes, 59 MB an hour at
4 frames/s and 64 px, 2.2 GB at 4 frames/s and 224 px; without a store, clips are decoded from the video at each use.
"""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import numpy as np
from tqdm import tqdm

from surgvl import video
from surgvl.errors import DataError
from surgvl.io import atomic, text_hash

Frames = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


class ClipSource:
    """Cuts clips out of videos, from a store of decoded frames where there is one, else from the files.

    Args:
        paths: video id -> file.
        fps: frames per second of video time.
        size_px: side S of the square frames.
        crop: `none` or `content` (black borders and round content area cut before resizing).
        store: folder of the store, or None to decode at each use.
    """

    def __init__(
        self, paths: Mapping[str, Path], fps: float, size_px: int, crop: str = "none", store: Path | None = None
    ):
        self.paths, self.fps, self.size_px, self.crop, self.store = dict(paths), fps, size_px, crop, store
        self.problems: dict[str, str] = {}
        self.durations_s: dict[str, float] = {}
        self._boxes: dict[str, video.Box | None] = {}

    def prepare(self) -> list[str]:
        """Probe every video and fill the store; a video that cannot be read is set aside in `problems`.

        Returns:
            Ids of the videos that can be used, in order.
        """
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            jobs = {video_id: pool.submit(self._prepare_one, video_id) for video_id in self.paths}
            show = tqdm(jobs.items(), desc="decoding", unit="video", disable=None if self.store else True, leave=False)
            for video_id, job in show:
                try:
                    self.durations_s[video_id] = job.result()
                except DataError as error:
                    self.problems[video_id] = str(error)
        return list(self.durations_s)

    def _prepare_one(self, video_id: str) -> float:
        duration_s = video.probe(self.paths[video_id]).duration_s
        if self.store is None:
            return duration_s
        path = self._file(video_id)
        if not path.is_file():
            box = self._box(video_id)
            with atomic(path) as temporary, open(temporary, "wb") as file:
                for _, frame in video.stream(self.paths[video_id], self.fps, self.size_px, box):
                    file.write(frame.tobytes())
        return min(duration_s, path.stat().st_size / (3 * self.size_px**2 * self.fps))

    def _box(self, video_id: str) -> "video.Box | None":
        if self.crop == "none":
            return None
        if video_id not in self._boxes:
            self._boxes[video_id] = video.content_box(self.paths[video_id])
        return self._boxes[video_id]

    @lru_cache(maxsize=4096)  # noqa: B019 (a source lives as long as its stage)
    def _file(self, video_id: str) -> Path:
        path = self.paths[video_id]
        state = path.stat()
        key = f"{path.resolve()} {state.st_size} {state.st_mtime_ns} {self.fps} {self.size_px} {self.crop}"
        assert self.store is not None
        return self.store / f"{video_id}-{text_hash(key)}.rgb"

    @lru_cache(maxsize=512)  # noqa: B019
    def _map(self, video_id: str) -> Frames:
        return np.memmap(self._file(video_id), np.uint8, "r").reshape(-1, self.size_px, self.size_px, 3)

    def clip(self, video_id: str, start_s: float, num_frames: int) -> Frames:
        """Frames from `start_s` on, uint8 [T, S, S, 3]; past the end the last frame is held.

        Raises:
            DataError: the video cannot be read there.
        """
        if self.store is None:
            end_s = start_s + num_frames / self.fps
            return video.read(self.paths[video_id], start_s, end_s, self.fps, self.size_px, self._box(video_id))
        frames = self._map(video_id)
        first = round(start_s * self.fps)
        index = np.minimum(np.arange(first, first + num_frames), len(frames) - 1)
        return frames[index]
