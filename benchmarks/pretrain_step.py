"""A training step against its peers, in one run on this machine: time and peak memory.

    python benchmarks/pretrain_step.py [--repeats 7] [--batch 2] [--device cpu] [--size B]

- `surgrec_mae` against transformers' `VideoMAEForPreTraining`: the same geometry (ViT-B/16, 16 x 224 x 224, tube mask
  0.9, decoder 4 x 384), batch and fused AdamW, float32 on a CPU and bfloat16 on a GPU. In a second row our decoder
  rebuilds half of the tokens only, a running cell of them as in VideoMAE V2: less work than the peer's, not the same.
- `surgrec_jepa` against the same objective whose context encoder runs on the whole clip and gathers afterwards, as the
  VJEPA2Model of transformers does.

Each side runs in a process of its own (for its peak memory), sides take turns, and medians over all turns are compared.
A step is: forward, backward, gradient clipping, optimiser. The floor of a step is its matrix products at the rate of
one large product, measured in the same process; the first turn of each side also counts them and takes a profile.
Writes benchmarks/results/pretrain_step.md.
"""

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from videomae_sides import SHAPES, Side, adamw, encoder, flops, our_trainer, peer_trainer, terms, train_step, trained

from surgvl import __version__
from surgvl.io import write_text
from surgvl.models.video_vit import SIZES
from surgvl.pretrain.base import gather
from surgvl.pretrain.estimate import matmul_rate
from surgvl.pretrain.surgrec_jepa import SurgRecJEPA
from surgvl.stage import device_name

SIDES = {
    "mae": ("surgrec_mae", "transformers VideoMAEForPreTraining"),
    "cell": ("surgrec_mae, decoder_ratio 0.5 (VideoMAE V2)", "transformers VideoMAEForPreTraining"),
    "jepa": ("surgrec_jepa", "the same with the context encoder on the whole clip"),
}


class WholeClip(SurgRecJEPA):
    """The plain way: encode everything, then gather the context. Its context has seen what is hidden."""

    def predict(self, video: Tensor, keep: Tensor, hide: Tensor, kind: int = 0) -> Tensor:
        """Predicted features at hidden places, float32 [B, M, D]."""
        out: Tensor = self.predictor(gather(self.encoder(video), keep), keep, hide, kind)
        return out.float()


def build(which: str, ours: bool, size: str, device: str) -> Side:
    shape = SHAPES[size]
    if which == "jepa":
        return trained((SurgRecJEPA if ours else WholeClip)(encoder(shape)).to(device))
    if not ours:
        return peer_trainer(shape, device)
    return our_trainer(shape, device, decoder_ratio=0.5 if which == "cell" else 1.0)


def run_side(which: str, ours: bool, size: str, batch: int, steps: int, device: str, look: bool) -> dict[str, Any]:
    """Seconds of steps after two for warming up and peak memory in bytes.

    With `look` also the FLOPs of a step, the FLOP/s of one product, and the three operators that take most time.
    """
    torch.manual_seed(0)
    side = build(which, ours, size, device)
    side.model.train()
    optimiser = adamw(side)
    video = SHAPES[size].clips(batch, device)

    def step(seed: int) -> None:
        torch.manual_seed(seed)
        train_step(side, optimiser, video, mixed=device != "cpu")
        if device != "cpu":
            torch.cuda.synchronize()

    times = []
    for seed in range(steps + 2):
        begun = time.perf_counter()
        step(seed)
        times.append(time.perf_counter() - begun)
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    found: dict[str, Any] = {"seconds": times[2:], "memory": host}
    if device != "cpu":
        found["memory"] = torch.cuda.max_memory_allocated()
    if not look:
        return found
    with torch.profiler.profile() as profile:
        step(0)
    spent, _ = terms(profile, device)
    whole = sum(seconds for _, seconds in spent)
    found["most"] = [[name, seconds / whole] for name, seconds in spent[:3]]
    # After the memory was read, for attention is counted by its products, which need more.
    found["flops"] = flops(side, video, train=True) * batch
    rate = matmul_rate(torch.float32 if device == "cpu" else torch.bfloat16, seconds=2)
    return found | {"rate": rate}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="turns of each side")
    parser.add_argument("--steps", type=int, default=3, help="timed steps a turn")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--size", default="B", choices=SIZES)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--look", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "pretrain_step.md")
    args = parser.parse_args()
    if args.side:
        which, side = args.side.split(":")
        found = run_side(which, side == "ours", args.size, args.batch, args.steps, args.device, args.look)
        print(json.dumps(found))
        return
    rows, profiles = [], []
    for which, names in SIDES.items():
        times: dict[str, list[float]] = {"ours": [], "peer": []}
        looks: dict[str, dict[str, Any]] = {}
        peaks: dict[str, float] = {}
        for turn in range(args.repeats):
            for side in times:
                argv = [sys.executable, __file__, "--side", f"{which}:{side}", "--size", args.size]
                argv += ["--device", args.device, "--batch", str(args.batch), "--steps", str(args.steps)]
                done = subprocess.run(argv + ["--look"] * (turn == 0), check=True, stdout=subprocess.PIPE, text=True)
                one = json.loads(done.stdout.splitlines()[-1])
                times[side] += one["seconds"]
                peaks[side] = max(peaks.get(side, 0), one["memory"])
                if turn == 0:
                    looks[side] = one
        ours, peer = (statistics.median(times[side]) for side in times)
        spread = [f"{statistics.median(v):.2f} ({min(v):.2f} to {max(v):.2f})" for v in times.values()]
        memory = [f"{peaks[side] / 2**30:.2f}" for side in times]
        rate = max(each["rate"] for each in looks.values())
        floors = [f"{looks[side]['flops'] / rate:.2f}" for side in times]
        rows.append([names[0], names[1], *spread, f"{peer / ours:.2f}", *floors, *memory])
        most = ", ".join(f"{key} {share:.0%}" for key, share in looks["ours"]["most"])
        profiles.append(f"- {names[0]}: {most}")
        print(rows[-1], flush=True)
    head = ["ours", "peer", "ours, s a step", "peer, s a step", "peer / ours"]
    head += ["floor of ours, s", "floor of the peer, s", "ours, GiB", "peer, GiB"]
    lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]
    dtype = "float32" if args.device == "cpu" else "bfloat16"
    text = f"""# Training steps against peers

ViT-{args.size}/16, 16 x 224 x 224, batch {args.batch}, {dtype}, AdamW; medians (and range) over {args.repeats} turns of
{args.steps} steps, sides in turn.

{chr(10).join(lines)}

A floor is the matrix products of a step, those of attention included, at the rate of one large product, the fastest
that was measured. What takes most of our step (self time, one profiled step):

{chr(10).join(profiles)}

- {device_name()}, {platform.processor() or platform.machine()}, {torch.get_num_threads()} threads
- torch {torch.__version__}, surgvl {__version__}
- command: `{" ".join(["python", "benchmarks/pretrain_step.py", *sys.argv[1:]])}`
"""
    write_text(args.out, text)
    print(text)


if __name__ == "__main__":
    main()
