"""Frames of many videos at one rate and size, decoded once and memory-mapped: one decode feeds all clips of all epochs.

A store is a folder with one raw file a video (uint8 [N, S, S, 3], no header: N follows from its size), named after the
video, its file's size and time, and the rate, size and crop, so that a changed video is decoded again. Decoding streams
in order; memory is flat in the length of a video, and so is opening a clip. Disk: N * S * S * 3 bytes, 59 MB an hour at
4 frames/s and 64 px, 2.2 GB at 4 frames/s and 224 px; without a store, clips are decoded from the video at each use.
"""

import math
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from surgvl import video
from surgvl.core.errors import DataError, Unreadable
from surgvl.core.files import atomic, text_hash
from surgvl.core.temporary import clear_temporary
from surgvl.video.clip import clip_start
from surgvl.video.marks import Marks, counted

Frames = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
Times = NDArray[np.float64]

# Recordings have a keyframe every few seconds: to decode on over a longer gap costs more than to enter the file anew.
JUMP_S = 5.0
# A header may promise up to a second more than the file holds (`surgvl.video.decoder`).
GRACE_S = 1.5


class ClipSource:
    """Cuts clips out of videos, from a store of decoded frames where there is one, else from the files.

    Args:
        paths: video id -> file.
        fps: frames per second of video time.
        size_px: side S of the square frames.
        crop: `none` or `content` (black borders and round content area cut before resizing).
        store: folder of the store, or None to decode at each use.

    Attributes:
        marks: frames that were decoded by this process and are marked as damaged.
    """

    def __init__(
        self, paths: Mapping[str, Path], fps: float, size_px: int, crop: str = "none", store: Path | None = None
    ):
        self.paths, self.fps, self.size_px, self.crop, self.store = dict(paths), fps, size_px, crop, store
        self.problems: dict[str, str] = {}
        self.marks = Marks()
        self.durations_s: dict[str, float] = {}
        self._boxes: dict[str, video.Box | None] = {}

    def prepare(self) -> list[str]:
        """Probe every video and fill the store; a video that cannot be read is set aside in `problems`.

        Returns:
            Ids of the videos that can be used, in order.
        """
        if self.store is not None:
            clear_temporary(self.store)
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
            with counted(self.marks), atomic(path) as temporary, open(temporary, "wb") as file:
                for _, frame in video.stream(self.paths[video_id], self.fps, self.size_px, box):
                    file.write(frame.tobytes())
        return min(duration_s, path.stat().st_size / (3 * self.size_px**2 * self.fps))

    def _box(self, video_id: str) -> "video.Box | None":
        if self.crop == "none":
            return None
        if video_id not in self._boxes:
            self._boxes[video_id] = video.content_box(self.paths[video_id])
        return self._boxes[video_id]

    def name(self, video_id: str) -> str:
        """What stored files about a video as it is cut here are named after: another state of its file, another name.

        A part of it has 255 bytes at most on most systems, ending and temporary name included; the hash tells what is
        cut apart.
        """
        return self._named(video_id)

    @lru_cache(maxsize=4096)  # noqa: B019 (a source lives as long as its stage)
    def _named(self, video_id: str) -> str:
        path = self.paths[video_id]
        state = path.stat()
        key = f"{path.resolve()} {state.st_size} {state.st_mtime_ns} {self.fps} {self.size_px} {self.crop}"
        parts = [part.encode(errors="surrogateescape")[:170].decode(errors="ignore") for part in video_id.split("/")]
        return f"{'/'.join(parts)}-{text_hash(key)}"

    def _file(self, video_id: str) -> Path:
        assert self.store is not None
        return self.store / f"{self.name(video_id)}.rgb"

    @lru_cache(maxsize=512)  # noqa: B019
    def _map(self, video_id: str) -> Frames:
        return np.memmap(self._file(video_id), np.uint8, "r").reshape(-1, self.size_px, self.size_px, 3)

    def centred(self, video_id: str, middle_s: float, num_frames: int) -> tuple[str, int]:
        """Video and start, in milliseconds, of the clip of T frames around a moment, shifted into the video."""
        clip_s = num_frames / self.fps
        return video_id, round(1000 * clip_start(middle_s, clip_s, self.durations_s[video_id]))

    def clip(self, video_id: str, start_s: float, num_frames: int) -> Frames:
        """Frames from `start_s` on, uint8 [T, S, S, 3]; past the end the last frame is held.

        Raises:
            Unreadable: the video cannot be read there.
        """
        if self.store is None:
            end_s = start_s + num_frames / self.fps
            try:
                with counted(self.marks):
                    return video.read(self.paths[video_id], start_s, end_s, self.fps, self.size_px, self._box(video_id))
            except DataError as error:
                raise Unreadable(video_id, str(error)) from error
        frames = self._map(video_id)
        first = round(start_s * self.fps)
        index = np.minimum(np.arange(first, first + num_frames), len(frames) - 1)
        found: Frames = frames[index]
        return found

    def frames_at(self, video_id: str, times_s: ArrayLike) -> Frames:
        """Frames shown at given times, in any order and unevenly apart, uint8 [T, S, S, 3]; the last frame is held.

        A store has one frame for each 1 / fps: the latest of them that is not after a time is taken. A file is read to
        the frame. It is decoded once from a time to the next where these are whole steps of 1 / fps apart and at most
        `JUMP_S`; else it is entered anew.

        Args:
            video_id: the video.
            times_s: seconds, 0 or more, [T].

        Raises:
            DataError: a time is none.
            Unreadable: the video cannot be read there.
        """
        times = np.asarray(times_s, np.float64)
        if times.ndim != 1 or not len(times) or not (np.isfinite(times) & (times >= 0)).all():
            raise DataError(f"{video_id}: {times.tolist()} are not times in a video: give seconds, 0 or more")
        if self.store is not None:
            frames = self._map(video_id)
            kept: Frames = frames[np.minimum((times * self.fps + 1e-6).astype(np.int64), len(frames) - 1)]
            return kept
        wanted, place = np.unique(np.minimum(times, self.durations_s.get(video_id, np.inf)), return_inverse=True)
        try:
            with counted(self.marks), video.Reader(self.paths[video_id]) as reader:
                found = [self._run(reader, video_id, run) for run in runs(wanted, self.fps)]
        except DataError as error:
            raise Unreadable(video_id, str(error)) from error
        return np.concatenate(found)[place]

    def _run(self, reader: video.Reader, video_id: str, times: Times) -> Frames:
        """Decode one of the `runs` on the widest grid that holds all its times."""
        numbers = np.rint((times - times[0]) * self.fps).astype(np.int64)
        stride = int(np.gcd.reduce(numbers)) or 1
        fps, numbers = self.fps / stride, numbers // stride
        if times[0] > self.durations_s.get(video_id, np.inf) - GRACE_S:
            numbers += min(math.ceil(GRACE_S * fps), int(times[0] * fps + 1e-9))
        start_s = max(0.0, float(times[-1] - numbers[-1] / fps))
        end_s = start_s + float(numbers[-1] + 1) / fps
        clip: Frames = reader.read(start_s, end_s, fps, self.size_px, self._box(video_id))[numbers]
        return clip


def runs(times: Times, fps: float) -> list[Times]:
    """Split ascending times [T] where they are more than `JUMP_S` or no whole number of 1 / fps apart."""
    gap_s = np.diff(times)
    whole = np.rint(gap_s * fps)
    apart = (gap_s > JUMP_S) | (whole == 0) | (np.abs(gap_s * fps - whole) > 1e-6)
    return np.split(times, np.flatnonzero(apart) + 1)
