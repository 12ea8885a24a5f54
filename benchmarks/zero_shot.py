"""A recording to one vector a second: surgvl beside the usual loop, in one run.

    python benchmarks/zero_shot.py [--minutes 60] [--pieces 1] [--threads 2] [--out FILE.md] [--taken FILE.json]

The recording is H.264 of 854 x 480 pixels at 25 frames per second, rendered by the phantom (a minute of it, repeated).
`--pieces 12` cuts the hour into files of five minutes and gives each to all contestants before the next, so that a busy
moment of the machine meets all of them; `--taken` keeps what each piece took, and the next run goes on after it.
The towers have random weights: open_clip's ViT-B/16 and its ResNet-50. Contestants:

- `one by one`: ffmpeg writes a JPEG a second; PIL and the model's transform read them in a DataLoader with one worker;
  one picture a forward pass, as SurgVLP's example does;
- `batches`: the same with 32 pictures a forward pass;
- `surgvl`: `surgvl.embed.encode_file` with its defaults;
- `surgvl, bfloat16`: the same with `--precision bfloat16`, where the processor has it.

Two floors are printed beside them: the time to decode the recording (`surgvl.video.stream`, nothing else) and that of
the forward passes alone, on pictures that are there already (a minute of them, scaled to the whole); and what surgvl
spends on scaling them. Whoever overlaps
the two perfectly on N cores needs at least their processor time divided by N.
"""

import argparse
import copy
import json
import platform
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import open_clip
import torch
from PIL import Image as Pillow
from torch.utils.data import DataLoader, Dataset

from surgvl import video
from surgvl.core.files import write_json
from surgvl.core.tables import markdown_table
from surgvl.data.phantom.render import render
from surgvl.data.phantom.script import script
from surgvl.embed.encode_file import FRAMES, encode_file
from surgvl.models.adapters.open_clip import OpenClip, describe, preprocess_of
from surgvl.models.device import has_bfloat16
from surgvl.models.foreign import without_notes
from surgvl.video.content_area import Image

HEIGHT, WIDTH, FPS = 480, 854, 25.0
BATCH = 32
TOWERS = {"ViT-B/16": "ViT-B-16", "ResNet-50": "RN50"}
ABOUT = """# A recording to one vector a second

Written by `python benchmarks/zero_shot.py`: surgvl beside the usual loop (ffmpeg to a JPEG a second, PIL, a DataLoader
with one worker), random weights, H.264 of 854 x 480 pixels at 25 frames per second. Decoding, scaling and the forward
passes alone are the floors: no loop that computes in float32 can be faster than its forward passes, which
`--precision bfloat16` halves where the processor has it. Of a recording in pieces, seconds are sums, and the last
column is the median over the pieces.
"""


def recording(path: Path, minutes: int) -> None:
    """Write a minute of a phantom unless `minute.mp4` lies beside the file, and repeat its packets."""
    minute = path.with_name("minute.mp4")
    if not minute.is_file():
        scene = script(0, 0)
        frames = render(scene, HEIGHT, FPS, 0.0, min(60.0, scene.duration_s))
        video.write(minute, (np.asarray(cv2.resize(frame, (WIDTH, HEIGHT)), np.uint8) for frame in frames), FPS)
    with av.open(str(path), "w") as target:
        stream, shift = None, 0
        for _ in range(minutes):
            with av.open(str(minute)) as source:
                given = source.streams.video[0]
                stream = stream or target.add_stream_from_template(given)
                for packet in source.demux(given):
                    if packet.dts is None or packet.pts is None:
                        continue
                    packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
                    target.mux(packet)
                shift += given.duration or 0


class Pictures(Dataset[torch.Tensor]):
    """JPEG files, as a model takes them."""

    def __init__(self, files: list[Path], transform: Callable[[Pillow.Image], torch.Tensor]):
        self.files, self.transform = files, transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.transform(Pillow.open(self.files[index]).convert("RGB"))


def usual(path: Path, model: OpenClip, transform: Callable[[Pillow.Image], torch.Tensor], batch: int) -> int:
    """The usual loop; the number of its vectors."""
    folder = Path(tempfile.mkdtemp(dir=path.parent))
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-vf", "fps=1", "-q:v", "2", str(folder / "%06d.jpg")]
    subprocess.run(command, check=True)
    found = []
    with torch.no_grad():
        for pictures in DataLoader(Pictures(sorted(folder.iterdir()), transform), batch, num_workers=1):
            found.append(torch.nn.functional.normalize(model.inner.encode_image(pictures), dim=-1))
    shutil.rmtree(folder)
    return len(torch.cat(found))


def timed(work: Callable[[], int]) -> tuple[float, float, int]:
    """Seconds and processor seconds of a piece of work, child processes included, and the pictures that it made."""

    def used_s() -> float:
        uses = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(use.ru_utime + use.ru_stime for use in uses)

    begun, used = time.perf_counter(), used_s()
    made = work()
    return time.perf_counter() - begun, used_s() - used, made


def forward(model: OpenClip, frames: list[Image]) -> int:
    """The forward passes of a minute alone."""
    pixels = torch.from_numpy(np.stack(frames[:BATCH])).permute(0, 3, 1, 2)
    with torch.inference_mode():
        for at in range(0, 60, FRAMES):
            model.encode_frames(pixels[: min(FRAMES, 60 - at)])
    return 60


Taken = dict[str, list[tuple[float, float]]]  # seconds and processor seconds of each piece, by contestant


def measure(path: Path, name: str, pieces: int, taken: Taken) -> Iterator[None]:
    """Give the recording to every contestant, once for each piece that `taken` lacks; yields after each."""
    facts = describe(TOWERS[name], "openai")
    with tempfile.TemporaryDirectory() as folder, without_notes():
        torch.manual_seed(0)
        model = OpenClip(open_clip.create_model(TOWERS[name]), facts, _written(facts, Path(folder))).eval()
        half = copy.deepcopy(model).to(torch.bfloat16) if has_bfloat16() else None
    preprocess = preprocess_of(facts)
    transform = open_clip.image_transform(facts["preprocess_cfg"]["size"], is_train=False)
    pictures = [frame for _, frame in video.stream(path, 1.0, preprocess.picture)]
    plain = video.Geometry(max(HEIGHT, WIDTH), "fit")
    contestants: dict[str, Callable[[], int]] = {
        "one by one": lambda: usual(path, model, transform, 1),
        "batches of 32": lambda: usual(path, model, transform, BATCH),
        "surgvl": lambda: len(encode_file(model, path, preprocess, None, "cpu")[0]),
        **({"surgvl, bfloat16": lambda: len(encode_file(half, path, preprocess, None, "cpu")[0])} if half else {}),
        "decoding only": lambda: sum(1 for _ in video.stream(path, 1.0, plain)),
        "decoding and scaling only": lambda: sum(1 for _ in video.stream(path, 1.0, preprocess.picture)),
        "forward passes only": lambda: forward(model, pictures),
    }
    for _ in range(pieces - len(taken.get("surgvl", []))):
        measured = {each: timed(work) for each, work in contestants.items()}
        for each, (wall_s, used_s, seconds) in measured.items():
            share = len(pictures) / seconds
            taken.setdefault(each, []).append((wall_s * share, used_s * share))
        yield


def table(taken: Taken, minutes: int) -> list[str]:
    """The Markdown table of one tower: sums over the pieces, and the median of the pieces' ratios to surgvl."""
    found = []
    for each, pieces in taken.items():
        wall_s, used_s = (sum(column) for column in zip(*pieces, strict=True))
        ratio = statistics.median(one[0] / own[0] for one, own in zip(pieces, taken["surgvl"], strict=True))
        found.append([each, f"{wall_s:.1f}", f"{used_s:.1f}", f"{60 * minutes / wall_s:.1f}", f"{ratio:.2f}"])
    head = ["way", "seconds", "processor seconds", "seconds of video per second", "times surgvl's"]
    return markdown_table(head, found, head[1:])


def _written(facts: dict[str, object], folder: Path) -> Path:
    write_json(folder / "open_clip_config.json", facts)
    return folder


def sections_of(page: Path) -> dict[str, str]:
    """The sections of an earlier page by tower, so that one tower can be measured again."""
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    found = (part.partition("\n\n") for part in text.split("\n## ")[1:])
    return {name: body for name, _, body in found if name in TOWERS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--pieces", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--towers", nargs="+", default=list(TOWERS), choices=list(TOWERS))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--taken", type=Path)
    given = parser.parse_args()
    if given.minutes % given.pieces:
        parser.error(f"--pieces must divide --minutes ({given.minutes}), got {given.pieces}")
    torch.set_num_threads(given.threads)
    facts = (
        f"{given.minutes} minutes of video, in {given.pieces} pieces; {platform.processor() or platform.machine()}, "
        f"{given.threads} threads, torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}"
    )
    sections = sections_of(given.out) if given.out else {}
    kept: dict[str, Taken] = json.loads(given.taken.read_text()) if given.taken and given.taken.is_file() else {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recording.mp4"
        recording(path, given.minutes // given.pieces)
        for name in given.towers:
            taken = kept.setdefault(name, {})
            for _ in measure(path, name, given.pieces, taken):
                if given.taken:
                    write_json(given.taken, kept)
            sections[name] = "\n".join([facts, "", *table(taken, given.minutes), ""])
            page = "\n".join([ABOUT, *(f"## {each}\n\n{text}" for each, text in sections.items())])
            if given.out:
                given.out.write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
