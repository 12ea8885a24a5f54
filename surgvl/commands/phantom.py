"""The `phantom` command: renders synthetic cholecystectomies with exact labels, in the layouts of public data sets."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from surgvl.core.cores import num_cores
from surgvl.core.errors import ConfigError
from surgvl.core.files import atomic, command, read_json, write_json
from surgvl.core.invocation import recorded
from surgvl.core.plurals import plural
from surgvl.core.run_folder import RunFolder
from surgvl.data.phantom.render import Renderer
from surgvl.data.phantom.scene import Scene
from surgvl.data.phantom.script import VERSION, script
from surgvl.data.phantom.text import PHASE_WORDS, say
from surgvl.data.phantom.write import is_whole, link_video, write_labels, write_pixels, write_splits

# A process that renders fewer takes longer to start than it saves: 1,600 frames of 128 x 128.
PIXELS_PER_PROCESS = 1600 * 128**2


@recorded
def phantom(
    out: Path,
    train: int = 24,
    val: int = 4,
    test: int = 8,
    duration_s: float = 90.0,
    size_px: int = 128,
    fps: float = 10.0,
    seed: int = 0,
    first: int = 1,
    workers: int = 0,
    preview: bool = False,
    resume: bool = False,
) -> None:
    """Render synthetic laparoscopic cholecystectomies with exact labels, to try every command without patient data.

    Args:
        out: folder to write: cholec80, cholect50, pitvqa, lls48, narration, scene and phantom.json.
        train: number of training videos.
        val: number of validation videos.
        test: number of test videos.
        duration_s: length of each video in seconds, at least 10.
        size_px: side of the square frames, even, at least 32.
        fps: frames per second of the videos, an integer.
        seed: random seed; the same seed gives the same labels, byte for byte.
        first: number of the first video; an operation depends on the seed and its number.
        workers: rendering processes; 0: one per core where there is enough to render. The result does not depend on it.
        preview: also write preview.png, a sheet of 8 captioned frames of up to 6 videos.
        resume: continue in a folder that was started with the same arguments.
    """
    _check(train, val, test, size_px, fps, workers, first)
    counts = {"train": train, "val": val, "test": test}
    arguments = {**counts, "duration_s": duration_s, "size_px": size_px, "fps": fps, "seed": seed}
    if first != 1:
        arguments["first"] = first
    scenes = [script(seed, first - 1 + index, duration_s, fps) for index in range(train + val + test)]
    with RunFolder(out, resume, seed=seed) as folder:
        _write_head(out, arguments, scenes)
        for scene in scenes:
            write_labels(out, scene)
        if preview:
            write_preview(out / "preview.png", scenes[:6])
        waiting = [scene for scene in scenes if not is_whole(out, scene)]
        num_frames = round(duration_s * fps)
        with tqdm(
            total=len(scenes) * num_frames, unit="frame", initial=(len(scenes) - len(waiting)) * num_frames
        ) as bar:
            worthwhile = len(waiting) * num_frames * size_px**2 // PIXELS_PER_PROCESS
            processes = min(workers or min(num_cores(), worthwhile), len(waiting))
            if processes < 2:
                for scene in waiting:
                    _render(out, scene, size_px)
                    bar.update(num_frames)
            else:
                context = multiprocessing.get_context("spawn")
                with ProcessPoolExecutor(processes, mp_context=context) as pool:
                    for done in as_completed([pool.submit(_render, out, scene, size_px) for scene in waiting]):
                        done.result()
                        bar.update(num_frames)
        for scene in scenes:
            link_video(out, scene)
        folder.record()
        made = f"{plural(len(scenes), 'video')} of {duration_s:g} s ({train} train, {val} val, {test} test) in {out}"
        folder.next(made, command("data convert", "phantom", out, f"{out}-manifest"))


def _check(train: int, val: int, test: int, size_px: int, fps: float, workers: int, first: int) -> None:
    if first < 1:
        raise ConfigError(f"--first must be >= 1, got {first}: videos are numbered from 1")
    if min(train, val, test, workers) < 0 or train + val + test < 1:
        raise ConfigError(
            "--train, --val, --test and --workers must be >= 0, with at least one video, got "
            f"{train}, {val}, {test} and {workers}"
        )
    if size_px < 32 or size_px % 2:
        raise ConfigError(f"--size_px must be even and >= 32, got {size_px}")
    if fps < 1 or fps != int(fps):
        raise ConfigError(f"--fps must be an integer >= 1, because label files count frames, got {fps:g}")


def _write_head(out: Path, arguments: dict[str, Any], scenes: list[Scene]) -> None:
    """Write phantom.json; fails if the folder was started with other arguments."""
    ids = [scene.index + 1 for scene in scenes]
    train, val = arguments["train"], arguments["val"]
    head = {
        "version": VERSION,
        "seed": arguments["seed"],
        "num_videos": len(ids),
        "num_actions": sum(len(scene.actions) for scene in scenes),
        "num_triplets": len({action.triplet for scene in scenes for action in scene.actions}),
        "arguments": arguments,
        "splits": {"train": ids[:train], "val": ids[train : train + val], "test": ids[train + val :]},
        "note": "Made by a computer. Numbers from it say that the machinery works, nothing about patients.",
    }
    path = out / "phantom.json"
    if path.exists() and (old := read_json(path)) != head:
        raise ConfigError(
            f"{path} was started with {old.get('arguments')}, not {arguments}: pass the same ones, or another --out"
        )
    write_json(path, head)
    write_splits(out, head["splits"])


def _render(out: Path, scene: Scene, size_px: int) -> None:
    """Render one video on one thread, because several processes render in parallel."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    write_pixels(out, scene, size_px)
    cv2.setNumThreads(threads)


def write_preview(path: Path, scenes: list[Scene], moments: int = 8, size_px: int = 224) -> None:
    """Write a contact sheet: a row of frames per video, with phase and actions as captions.

    Args:
        path: PNG file.
        scenes: the videos.
        moments: number of frames per row.
        size_px: side of a frame.
    """
    rows = []
    for scene in scenes:
        renderer = Renderer(scene, size_px)
        tiles = []
        for moment in range(moments):
            # The middle of an action near the evenly spaced time, if there is one.
            wanted = (moment + 0.5) * scene.duration_s / moments
            middle = min((0.5 * (a.start_s + a.end_s) for a in scene.actions), key=lambda time: abs(time - wanted))
            time = middle if abs(middle - wanted) < 0.5 * scene.duration_s / moments else wanted
            lines = [PHASE_WORDS[scene.phase_at(time).name][1], *(say(action) for action in scene.active(time))]
            caption = np.full((46, size_px, 3), 20, np.uint8)
            for at, line in enumerate(lines[:3]):
                colour = (120, 220, 255) if at == 0 else (235, 235, 235)
                cv2.putText(
                    caption, line[:52], (3, 12 + 14 * at), cv2.FONT_HERSHEY_SIMPLEX, 0.3, colour, 1, cv2.LINE_AA
                )
            tiles.append(np.concatenate([renderer.frame(time)[..., ::-1], caption]))
        rows.append(np.concatenate([np.pad(tile, ((2, 2), (2, 2), (0, 0))) for tile in tiles], axis=1))
    with atomic(path) as temporary:
        cv2.imwrite(str(temporary), np.concatenate(rows))
