"""From video files to a batch: surgvl next to PyAV and decord (if installed), and the wait of a training step.

    python benchmarks/loader.py [--phantom FOLDER] [--repeats 5] [--batch 32] [--steps 30] [--out FILE]

All contestants read the same clips from the same files and stack them with the same code. Every number is the median of
the repeats, each in shuffled order. The training step is that of the recipe
`surgrec_mae_phantom`: augmentation, loss, backward pass and optimizer, fed as `surgvl pretrain` feeds it.
Shapes: B clips, T frames, S pixels.
"""

import argparse
import importlib.metadata
import os
import platform
import random
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from loader_peers import Peers
from torch.utils.data import DataLoader

from surgvl.cli import main as cli
from surgvl.core.files import write_text
from surgvl.core.tables import markdown_table
from surgvl.core.version import commit
from surgvl.data.augment import Augment
from surgvl.data.clips import PretrainClips, collate, to_tensor
from surgvl.data.frame_store import FrameStore
from surgvl.data.sampler import ClipConfig
from surgvl.train.config import precision
from surgvl.train.optimizer import build_optimizer
from surgvl.video.clip import Preprocess
from surgvl.video.content_area import Image

RECIPE = "surgrec_mae_phantom"
PRETRAIN = ["pretrain", "--recipe", RECIPE, "--manifest", "manifest", "--out", "out"]
WARM_UP = 3
Plan = list[tuple[str, float]]
Read = Callable[[str, float], Image]


def batch_of(read: Read, plan: Plan) -> torch.Tensor:
    """A batch uint8 [B, 3, T, S, S]."""
    clips = [{"video": to_tensor(read(video_id, start_s)), "video_id": video_id} for video_id, start_s in plan]
    batch = collate(clips)["video"]
    assert isinstance(batch, torch.Tensor)
    return batch


def race(contestants: dict[str, Callable[[], torch.Tensor]], repeats: int) -> dict[str, tuple[float, float]]:
    """Median wall-clock and processor seconds of each."""
    walls, processors = ({name: list[float]() for name in contestants} for _ in range(2))
    names = list(contestants)
    for name in names:
        contestants[name]()
    for repeat in range(repeats):
        random.Random(repeat).shuffle(names)
        for name in names:
            wall, processor = time.perf_counter(), time.process_time()
            contestants[name]()
            walls[name].append(time.perf_counter() - wall)
            processors[name].append(time.process_time() - processor)
    return {name: (statistics.median(walls[name]), statistics.median(processors[name])) for name in contestants}


def from_store(store: FrameStore) -> Read:
    """Our reader of the clip that starts at a time."""
    steps = np.arange(store.preprocess.num_frames) * store.preprocess.stride
    return lambda video_id, start_s: store.frames(video_id, round(start_s * store.fps) + steps)


def decoding(stored: FrameStore, direct: FrameStore, data: PretrainClips, batch: int, repeats: int) -> list[str]:
    """Table of clips per second from file to batch."""
    peers = Peers(direct.paths, direct.preprocess.num_frames, direct.preprocess.fps, direct.picture.size_px)
    # At times of the frame cache, so that all give the same frames.
    drawn = (data.numbers(index) for index in range(batch))
    plan = [(video_id, float(numbers[0]) / direct.fps) for video_id, numbers in drawn]
    readers = {
        "surgvl, cache of decoded frames": from_store(stored),
        "surgvl, from the file": from_store(direct),
    }
    readers["PyAV, decode from the start"] = peers.naive
    readers["PyAV, seek to the keyframe"] = peers.seeking
    try:
        readers[f"decord {importlib.metadata.version('decord')}, get_batch"] = peers.decord
    except importlib.metadata.PackageNotFoundError:
        print("decord is not installed: left out")
    contestants: dict[str, Callable[[], torch.Tensor]] = {
        name: partial(batch_of, read, plan) for name, read in readers.items()
    }
    truth = contestants["surgvl, from the file"]().float()
    grey = {name: float((call().float() - truth).abs().mean()) for name, call in contestants.items()}
    four = PretrainClips(direct, list(direct.durations_s), 0, config=ClipConfig(repeats=4))

    def repeated() -> torch.Tensor:
        found = collate([four[index] for index in range(batch)])["video"]
        assert isinstance(found, torch.Tensor)
        return found

    contestants["surgvl, from the file, each clip 4 times"] = repeated
    seconds = race(contestants, repeats)
    first, naive = (seconds[name][0] for name in ("surgvl, from the file", "PyAV, decode from the start"))
    head = ["", "clips/s", "ms/clip", "time over ours from the file", "speed over PyAV from the start"]
    head += ["processor ms/clip", "difference, of 255"]
    rows = []
    for name, (wall, processor) in seconds.items():
        off = f"{grey[name]:.2f}" if name in grey else "other clips"
        rates = [f"{batch / wall:.1f}", f"{1000 * wall / batch:.2f}", f"{wall / first:.2f}", f"{naive / wall:.1f}"]
        rows.append([name, *rates, f"{1000 * processor / batch:.2f}", off])
    return markdown_table(head, rows, right=head[1:])


def waiting(data: PretrainClips, batch: int, steps: int, workers: int) -> tuple[float, float]:
    """Median seconds of a step without its wait, and the fraction of time spent waiting for the next batch."""
    _, parser, config = cli.parse(PRETRAIN)
    torch.manual_seed(0)
    given = parser.instantiate(config)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    recipe = given.objective(given.encoder).to(device)
    optimizer = build_optimizer(recipe.named_parameters(), recipe.lr_scales(), given.optim)
    for group in optimizer.param_groups:
        group["lr"] = group["lr_scale"] * given.optim.lr
    augment = Augment(given.augmentation, given.encoder.size_px)
    order = [list(range(step * batch, (step + 1) * batch)) for step in range(WARM_UP + steps)]
    loader: DataLoader[Any] = DataLoader(data, batch_sampler=order, collate_fn=collate, num_workers=workers)
    half = precision("auto") == "bf16-mixed"
    waits, works = [], []
    batches = iter(loader)
    for _ in order:
        begin = time.perf_counter()
        clips = next(batches)
        ready = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, torch.bfloat16, enabled=half):
            loss = recipe({**clips, "video": augment(clips["video"].to(device))})["loss"]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(recipe.parameters(), given.optim.clip_norm, foreach=True)
        optimizer.step()
        recipe.after_step(0.0)
        if device == "cuda":
            torch.cuda.synchronize()
        waits.append(ready - begin)
        works.append(time.perf_counter() - ready)
    waits, works = waits[WARM_UP:], works[WARM_UP:]
    return statistics.median(works), sum(waits) / (sum(waits) + sum(works))


def feeding(stored: FrameStore, direct: FrameStore, batch: int, steps: int, repeats: int) -> list[str]:
    """Table of the waiting time of a training step."""
    ids = list(direct.durations_s)
    feeds = {
        "frame cache, loaded in the training process": (PretrainClips(stored, ids, 0), 0),
        "from the file, loaded in the training process": (PretrainClips(direct, ids, 0), 0),
        "from the file, each clip 4 times": (
            PretrainClips(direct, ids, 0, config=ClipConfig(repeats=4)),
            0,
        ),
        "from the file, 1 worker": (PretrainClips(direct, ids, 0), 1),
    }
    names, found = list(feeds), {name: list[tuple[float, float]]() for name in feeds}
    for repeat in range(repeats):
        random.Random(repeat).shuffle(names)
        for name in names:
            data, workers = feeds[name]
            found[name].append(waiting(data, batch, steps, workers))
    head = ["clips come from", "step without wait, ms", "waiting, fraction of the time"]
    rows = []
    for name, runs in found.items():
        work, share = (statistics.median(run[part] for run in runs) for part in (0, 1))
        rows.append([name, f"{1000 * work:.0f}", f"{100 * share:.1f} %"])
    return markdown_table(head, rows, right=head[1:])


def machine() -> str:
    """Processor, cores and GPU, and versions."""
    cpu = platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        cpu = f"{names[0]}, {cpu}" if names else cpu
    device = f"{cpu}, {os.cpu_count()} cores, {torch.get_num_threads()} threads for torch"
    if torch.cuda.is_available():
        device += f", {torch.cuda.get_device_name()}"
    versions = {name: importlib.metadata.version(name) for name in ("torch", "av", "opencv-python-headless", "numpy")}
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    return f"- device: {device}\n- versions: Python {platform.python_version()}, {listed}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--phantom", type=Path, help="folder of `surgvl phantom`; by default, eight are rendered")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/loader.md"))
    arguments = parser.parse_args()
    _, _, config = cli.parse(PRETRAIN)
    shapes = config.encoder
    with tempfile.TemporaryDirectory() as name:
        folder = arguments.phantom or Path(name) / "phantom"
        if not arguments.phantom:
            cli.run(["phantom", "--out", str(folder), "--train", "8", "--val", "0", "--test", "0"])
        paths = {path.stem: path for path in sorted((folder / "cholec80" / "videos").glob("*.mp4"))}
        clip = Preprocess(num_frames=shapes.num_frames, fps=config.fps, size_px=shapes.size_px)
        stored = FrameStore(paths, clip, Path(name) / "store")
        direct = FrameStore(paths, clip)
        direct.prepare()
        begin = time.perf_counter()
        stored.prepare()
        fill_s, video_s = time.perf_counter() - begin, sum(direct.durations_s.values())
        data = PretrainClips(direct, list(paths), 0)
        table = decoding(stored, direct, data, arguments.batch, arguments.repeats)
        wait = feeding(stored, direct, arguments.batch, arguments.steps, arguments.repeats)
    head = [
        "# From file to batch",
        "",
        f"- command: `python {shlex.join(sys.argv)}`",
        f"- commit: {commit()}",
        machine(),
        f"- videos: {len(paths)} of the phantom, {video_s:.0f} s in all",
        f"- batch: {arguments.batch} clips of {shapes.num_frames} frames, {config.fps:g} a second, {shapes.size_px} px",
        f"- medians of {arguments.repeats} repeats in one run, in shuffled order, in one process; "
        "surgvl decodes with one thread, PyAV and decord with their default number",
        f"- filling the frame cache, once: {fill_s:.1f} s, or {video_s / fill_s:.0f} s of video per second, all cores",
    ]
    step = (
        f"A training step of `{RECIPE}` (augmentation, loss, backward pass, optimizer), {arguments.steps} steps a run, "
        f"not counting the first {WARM_UP}:"
    )
    note = "Phantom numbers: the files are short. In hour-long files, decoding from the start costs far more."
    text = "\n".join([*head, "", *table, "", step, "", *wait, "", note, ""])
    write_text(arguments.out, text)
    print(text)
    print(f"in {arguments.out}")


if __name__ == "__main__":
    main()
