"""Decoding surgical video: surgvl next to plain PyAV, OpenCV and decord (if installed), in one run.

    python benchmarks/decode.py [--video FILE] [--repeats 5]

Prints Markdown tables: the median of the repeats, and the time of each peer relative to surgvl, in wall-clock and in
processor time (summed over threads; surgvl uses one thread, the others their default). The order of the contestants is
shuffled in every repeat.
"""

import argparse
import functools
import importlib.metadata
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import cv2
import numpy as np

from surgvl import video
from surgvl.core.tables import markdown_table
from surgvl.video.content_area import Image

SIZE_PX = 224
CLIP_S = 2.0
CLIP_FPS = 4.0


def image_at(index: int, height: int, width: int, base: Image) -> Image:
    """A drifting textured scene, crossed by an instrument."""
    image = np.ascontiguousarray(base[index % 64 : index % 64 + height, index % 96 : index % 96 + width])
    x = (index * 3) % width
    cv2.line(image, (x, 0), (width // 2, height * 2 // 3), (200, 200, 210), max(2, height // 20))
    return image


def make(path: Path, height: int, width: int, num_frames: int, fps: float) -> None:
    coarse = np.random.default_rng(0).integers(40, 220, (height // 6, width // 6, 3), dtype=np.uint8)
    base = np.asarray(cv2.resize(coarse, (width + 96, height + 64), interpolation=cv2.INTER_CUBIC), np.uint8)
    video.write(path, (image_at(index, height, width, base) for index in range(num_frames)), fps, gop=250)


def small(image: Image) -> Image:
    return np.asarray(cv2.resize(image, (SIZE_PX, SIZE_PX), interpolation=cv2.INTER_AREA), np.uint8)


def pyav_all(path: Path) -> Iterator[tuple[float, Image]]:
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield frame.time, np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


def opencv_all(path: Path, every: int) -> Iterator[Image]:
    capture = cv2.VideoCapture(str(path))
    index = 0
    while capture.grab():
        if index % every == 0:
            yield small(np.asarray(cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2RGB), np.uint8))
        index += 1
    capture.release()


def in_order(path: Path, info: video.VideoInfo, fps: float) -> dict[str, Callable[[], int]]:
    """All frames at a sampling rate, as 224 px RGB; each contestant returns their number."""
    every = round(info.fps / fps)

    def pyav() -> int:
        return sum(small(image).shape[0] > 0 for index, (_, image) in enumerate(pyav_all(path)) if index % every == 0)

    contestants = {
        "surgvl.video.stream": lambda: sum(1 for _ in video.stream(path, info.fps / every, SIZE_PX)),
        "PyAV, to_ndarray of every frame": pyav,
        "OpenCV, grab and retrieve": lambda: sum(1 for _ in opencv_all(path, every)),
    }
    try:
        import decord
    except ImportError:
        return contestants

    def by_decord() -> int:
        reader = decord.VideoReader(str(path), width=SIZE_PX, height=SIZE_PX)
        return sum(reader[index].asnumpy().shape[2] // 3 for index in range(0, len(reader), every))

    return contestants | {"decord": by_decord}


def at_random(path: Path, info: video.VideoInfo, starts: list[float]) -> dict[str, Callable[[], int]]:
    """Clips of 2 s at 4 frames per second, from random positions."""

    def reader() -> int:
        with video.VideoReader(path) as opened:
            return sum(len(opened.read(start_s, start_s + CLIP_S, CLIP_FPS, SIZE_PX)) for start_s in starts)

    def naive() -> int:
        count = 0
        for start_s in starts:
            with av.open(str(path)) as container:
                container.seek(int(start_s * av.time_base))
                images: list[Image] = []
                for frame in container.decode(video=0):
                    image = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
                    if frame.time >= start_s + len(images) / CLIP_FPS:
                        images.append(small(image))
                    if len(images) == CLIP_S * CLIP_FPS:
                        break
            count += len(images)
        return count

    def opencv() -> int:
        count = 0
        for start_s in starts:
            capture = cv2.VideoCapture(str(path))
            capture.set(cv2.CAP_PROP_POS_FRAMES, round(start_s * info.fps))
            every = round(info.fps / CLIP_FPS)
            for index in range(int(CLIP_S * CLIP_FPS)):
                small(np.asarray(cv2.cvtColor(capture.read()[1], cv2.COLOR_BGR2RGB), np.uint8))
                count += 1
                for _ in range(every - 1 if index + 1 < CLIP_S * CLIP_FPS else 0):
                    capture.grab()
            capture.release()
        return count

    contestants: dict[str, Callable[[], int]] = {
        "surgvl.video.read": lambda: sum(
            len(video.read(path, start_s, start_s + CLIP_S, CLIP_FPS, SIZE_PX)) for start_s in starts
        ),
        "surgvl.video.VideoReader, opened once": reader,
        "PyAV: open, seek, to_ndarray of every frame": naive,
        "OpenCV: open, set position, grab": opencv,
    }
    try:
        import decord
    except ImportError:
        return contestants

    def by_decord() -> int:
        count = 0
        for start_s in starts:
            opened = decord.VideoReader(str(path), width=SIZE_PX, height=SIZE_PX)
            times = start_s + np.arange(int(CLIP_S * CLIP_FPS)) / CLIP_FPS
            count += len(opened.get_batch(np.minimum(np.floor(times * info.fps), len(opened) - 1)).asnumpy())
        return count

    return contestants | {"decord: open, get_batch": by_decord}


def race(title: str, unit: str, contestants: dict[str, Callable[[], int]], repeats: int) -> None:
    walls: dict[str, list[float]] = {name: [] for name in contestants}
    processors: dict[str, list[float]] = {name: [] for name in contestants}
    counts: dict[str, int] = {}
    names = list(contestants)
    for repeat in range(repeats):
        random.Random(repeat).shuffle(names)
        for name in names:
            wall, processor = time.perf_counter(), time.process_time()
            counts[name] = contestants[name]()
            walls[name].append(time.perf_counter() - wall)
            processors[name].append(time.process_time() - processor)
    first = next(iter(contestants))
    wall, processor = statistics.median(walls[first]), statistics.median(processors[first])
    head = ["", unit, "wall s", f"{unit} / wall s", "time over ours, wall", "time over ours, processor"]
    rows = []
    for name in contestants:
        median = statistics.median(walls[name])
        ratios = [f"{median / wall:.2f}", f"{statistics.median(processors[name]) / processor:.2f}"]
        rows.append([name, f"{counts[name]}", f"{median:.3f}", f"{counts[name] / median:.0f}", *ratios])
    print("\n".join([f"\n{title}\n", *markdown_table(head, rows, right=head[1:])]))


def measure(path: Path, repeats: int) -> None:
    info = video.probe(path)
    print(f"\n## {info.width_px}x{info.height_px}, {info.codec}, {info.fps:g} fps, {info.duration_s:.0f} s")
    for fps in (info.fps, 4.0, 1.0):
        title = f"In order, {info.fps / round(info.fps / fps):.3g} samples per second of video:"
        race(title, "samples", in_order(path, info, fps), repeats)
    dice = random.Random(0)
    starts = [dice.uniform(0, max(0.0, info.duration_s - CLIP_S - 0.5)) for _ in range(20)]
    race("20 clips of 2 s from random positions:", "frames", at_random(path, info, starts), repeats)


def late_and_early(folder: Path, repeats: int) -> None:
    """Two and a half hours at 10 frames per second: the cost of a clip at the end relative to one at the start."""
    path = folder / "long.mp4"
    base = np.random.default_rng(0).integers(0, 255, (64 + 64, 96 + 64, 3), dtype=np.uint8)
    frames = (image_at(index, 64, 64, base) for index in range(90_000))
    video.write(path, frames, 10, gop=100, preset="ultrafast")

    def clip(start_s: float) -> int:
        return len(video.read(path, start_s, start_s + 2, 4, 64))

    contestants: dict[str, Callable[[], int]] = {
        f"read at {start_s:g} s": functools.partial(clip, start_s) for start_s in (5.0, 4505.0, 8995.0)
    }
    race("Two and a half hours (64 px, 10 fps), one clip of 2 s:", "frames", contestants, max(repeats, 15))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, help="a video file; by default, two are generated")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    versions = {name: importlib.metadata.version(name) for name in ("av", "opencv-python-headless")}
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"{machine}; " + ", ".join(f"{name} {version}" for name, version in versions.items()))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.video:
            measure(arguments.video, arguments.repeats)
        else:
            make(folder / "theatre.mp4", 480, 854, 750, 25.0)
            measure(folder / "theatre.mp4", arguments.repeats)
            make(folder / "small.mp4", 128, 128, 2000, 25.0)
            measure(folder / "small.mp4", arguments.repeats)
            late_and_early(folder, arguments.repeats)


if __name__ == "__main__":
    main()
