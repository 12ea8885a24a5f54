"""Time and peak memory of a training step next to peers, in one run on this machine.

    python benchmarks/pretrain_step.py [--steps 12] [--batch 2] [--device cpu] [--size B] [--only mae]

- `surgrec_mae` against transformers' `VideoMAEForPreTraining`: the same geometry (ViT-B/16, 16 x 224 x 224, tube mask
  0.9, decoder 4 x 384), batch and fused AdamW, float32 on a CPU and bfloat16 on a GPU. In a second row our decoder
  reconstructs only half of the tokens (running cell masking of VideoMAE V2), which is less work than the peer's.
- `surgrec_jepa` against the same objective whose context encoder runs on the whole clip and gathers afterwards, as the
  VJEPA2Model of transformers does.

The two sides alternate step by step in one process, and the medians over all steps are compared, so a machine that
slows down for some seconds slows both. A step is forward, backward, gradient clipping and optimizer. Peak memory comes
from separate processes for each side, which also count the matrix products of a step and profile it. The floor of a
step is the time of these products at the rate of one large product. Writes benchmarks/results/pretrain_step.md.
"""

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from videomae_sides import SHAPES, Side, adamw, encoder, flops, our_trainer, peer_trainer, terms, train_step, trained

from surgvl import __version__
from surgvl.commands.common import device_name
from surgvl.core.files import write_text
from surgvl.core.tables import markdown_table
from surgvl.models.vit_config import SIZES
from surgvl.pretrain.base import gather
from surgvl.pretrain.estimate import matmul_rate
from surgvl.pretrain.surgrec_jepa import SurgRecJEPA

SIDES = {
    "mae": ("surgrec_mae", "transformers VideoMAEForPreTraining"),
    "cell": ("surgrec_mae, decoder_ratio 0.5 (VideoMAE V2)", "transformers VideoMAEForPreTraining"),
    "jepa": ("surgrec_jepa", "the same with the context encoder on the whole clip"),
}


class WholeClip(SurgRecJEPA):
    """The simple implementation: encode all tokens, then gather the context, which has thus seen the hidden tokens."""

    def predict(self, video: Tensor, keep: Tensor, hide: Tensor, kind: int = 0) -> Tensor:
        """Predicted features of the hidden tokens, float32 [B, M, D]."""
        out: Tensor = self.predictor(gather(self.encoder(video), keep), keep, hide, kind)
        return out.float()


def build(which: str, ours: bool, size: str, device: str) -> Side:
    shape = SHAPES[size]
    if which == "jepa":
        return trained((SurgRecJEPA if ours else WholeClip)(encoder(shape)).to(device))
    if not ours:
        return peer_trainer(shape, device)
    return our_trainer(shape, device, decoder_ratio=0.5 if which == "cell" else 1.0)


def prepare(which: str, ours: bool, size: str, batch: int, device: str) -> tuple[Side, Callable[[int], float]]:
    """A side, and a function that takes one step with a seed and returns its seconds."""
    torch.manual_seed(0)
    side = build(which, ours, size, device)
    side.model.train()
    optimizer = adamw(side)
    video = SHAPES[size].clips(batch, device)

    def step(seed: int) -> float:
        torch.manual_seed(seed)
        begun = time.perf_counter()
        train_step(side, optimizer, video, mixed=device != "cpu")
        if device != "cpu":
            torch.cuda.synchronize()
        return time.perf_counter() - begun

    return side, step


def run_pair(which: str, size: str, batch: int, steps: int, device: str) -> dict[str, list[float]]:
    """Seconds of the steps of both sides, after two warm-up steps."""
    sides = {name: prepare(which, name == "ours", size, batch, device)[1] for name in ("ours", "peer")}
    times: dict[str, list[float]] = {name: [] for name in sides}
    for seed in range(steps + 2):
        # The sides alternate in going first.
        for name in sorted(sides, reverse=seed % 2 == 1):
            times[name].append(sides[name](seed))
    return {name: each[2:] for name, each in times.items()}


def run_side(which: str, ours: bool, size: str, batch: int, device: str) -> dict[str, Any]:
    """Peak memory in bytes, FLOPs of a step, FLOP/s of one product, and the three slowest operators."""
    side, step = prepare(which, ours, size, batch, device)
    for seed in range(3):
        step(seed)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if device != "cpu":
        memory = torch.cuda.max_memory_allocated()
    with torch.profiler.profile() as profile:
        step(0)
    spent, _ = terms(profile, device)
    whole = sum(seconds for _, seconds in spent)
    # After peak memory is read, because attention is counted as plain products, which need more memory.
    num = flops(side, SHAPES[size].clips(batch, device), train=True) * batch
    rate = matmul_rate(torch.float32 if device == "cpu" else torch.bfloat16, seconds=2)
    most = [[name, seconds / whole] for name, seconds in spent[:3]]
    return {"memory": memory, "flops": num, "rate": rate, "most": most}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=12, help="timed steps of each side")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--size", default="B", choices=SIZES)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--only", nargs="+", default=list(SIDES), choices=SIDES, help="rows to measure")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "pretrain_step.md")
    args = parser.parse_args()
    if args.side:
        which, side = args.side.split(":")
        if side == "both":
            print(json.dumps(run_pair(which, args.size, args.batch, args.steps, args.device)))
        else:
            print(json.dumps(run_side(which, side == "ours", args.size, args.batch, args.device)))
        return

    def measured(side: str) -> dict[str, Any]:
        """Measurements of a separate process."""
        argv = [sys.executable, __file__, "--side", side, "--size", args.size, "--device", args.device]
        argv += ["--batch", str(args.batch), "--steps", str(args.steps)]
        done = subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True)
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    rows, profiles = [], []
    for which in args.only:
        times = measured(f"{which}:both")
        looks = {side: measured(f"{which}:{side}") for side in times}
        ours, peer = (statistics.median(each) for each in times.values())
        spread = [f"{statistics.median(v):.2f} ({min(v):.2f} to {max(v):.2f})" for v in times.values()]
        memory = [f"{looks[side]['memory'] / 2**30:.2f}" for side in times]
        rate = max(each["rate"] for each in looks.values())
        floors = [f"{looks[side]['flops'] / rate:.2f}" for side in times]
        rows.append([*SIDES[which], *spread, f"{peer / ours:.2f}", *floors, *memory])
        most = ", ".join(f"{key} {share:.0%}" for key, share in looks["ours"]["most"])
        profiles.append(f"- {SIDES[which][0]}: {most}")
        print(rows[-1], flush=True)
    head = ["ours", "peer", "ours, s a step", "peer, s a step", "peer / ours"]
    head += ["floor of ours, s", "floor of the peer, s", "ours, GiB", "peer, GiB"]
    lines = markdown_table(head, rows, right=head[2:])
    dtype = "float32" if args.device == "cpu" else "bfloat16"
    processor = f"{platform.processor() or platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    text = f"""# Training steps against peers

ViT-{args.size}/16, 16 x 224 x 224, batch {args.batch}, {dtype}, AdamW; medians (and range) of {args.steps} steps
of each side, alternating in one process.

{chr(10).join(lines)}

A floor is the time of the matrix products of a step, including attention, at the rate of one large product.
Slowest operators of our step (self time, one profiled step):

{chr(10).join(profiles)}

- {device_name()}, {processor}, {torch.get_num_threads()} threads
- torch {torch.__version__}, surgvl {__version__}
- command: `{" ".join(["python", "benchmarks/pretrain_step.py", *sys.argv[1:]])}`
"""
    write_text(args.out, text)
    print(text)


if __name__ == "__main__":
    main()
