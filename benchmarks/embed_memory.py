"""Peak memory of `surgvl embed` by the length of the recording, each in a process of its own.

    python benchmarks/embed_memory.py [--minutes 2 8 32] [--tower ViT-S-32] [--out FILE.md]

The recordings are those of benchmarks/zero_shot.py: H.264 of 854 x 480 pixels at 25 frames per second. The tower is
open_clip's, with random weights; its size does not matter here, because only frames that wait to be decoded, scaled
and encoded could grow with the length, and so do the vectors: `dim` numbers for each second.
"""

import argparse
import os
import platform
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import open_clip
import torch
from zero_shot import FPS, HEIGHT, WIDTH, recording

from surgvl import __version__
from surgvl.core.files import write_text
from surgvl.core.tables import markdown_table
from surgvl.core.version import commit
from surgvl.embed.vectors import Vectors
from surgvl.models.foreign import without_notes

OUT = Path(__file__).resolve().parent / "results" / "embed_memory.md"


def peak_mib(argv: list[str], store: Path) -> float:
    """Peak resident memory of a surgvl command in MiB, as the kernel reports it of the process.

    Raises:
        subprocess.CalledProcessError: it fails.
    """
    command = [sys.executable, "-m", "surgvl", *argv]
    process = subprocess.Popen(command, env={**os.environ, "SURGVL_MODELS": str(store)})
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, nargs="+", default=[2, 8, 32])
    parser.add_argument("--tower", default="ViT-S-32")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    rows, peaks = [], list[float]()
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        with without_notes():
            torch.manual_seed(0)
            torch.save(open_clip.create_model(args.tower).state_dict(), place / "weights.pt")
        model = f"open_clip:{args.tower}@{place / 'weights.pt'}"
        for minutes in args.minutes:
            path, out = place / f"{minutes}.mp4", place / f"vectors-{minutes}"
            recording(path, minutes)
            argv = ["embed", "--model", model, "--videos", str(path), "--prompt_sets", "cholec80_phase"]
            peaks.append(peak_mib([*argv, "--out", str(out)], place / "store"))
            found = Vectors.load(out).vectors
            rows.append([f"{minutes}", f"{len(found):,}", f"{found.nbytes / 2**20:.1f}", f"{peaks[-1]:.0f}"])
    head = ["minutes of video", "vectors", "MiB of vectors", "peak memory of the process, MiB"]
    text = (
        "# Memory by the length of a recording\n\n"
        f"Written by `python benchmarks/embed_memory.py`: peak resident memory of `surgvl embed --model "
        f"open_clip:{args.tower}@FILE`, random weights, on H.264 of {WIDTH} x {HEIGHT} pixels at {FPS:g} frames per "
        "second. Recordings of different length are the same minute, repeated. From the shortest to the longest, "
        f"{max(args.minutes) / min(args.minutes):g} times as long, it changes by {peaks[-1] / peaks[0] - 1:+.1%}.\n\n"
        + "\n".join(markdown_table(head, rows, head))
        + f"\n\n- command: `{shlex.join(['python', 'benchmarks/embed_memory.py', *sys.argv[1:]])}`\n"
        + f"- {platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}\n"
        + f"- surgvl {__version__}, commit {commit()}\n"
    )
    write_text(args.out, text)
    print(text)


if __name__ == "__main__":
    main()
