"""The part of `gpu.py` that uses the device: measures rows and prints them as lines of JSON.

    python benchmarks/gpu_rows.py PLAN

PLAN is JSON as `gpu.py` writes it. The first line describes the device, and each further line is a row as far as it
has been measured, so nothing is lost when the process is killed.
"""

import gc
import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from videomae_sides import (
    SHAPES,
    Side,
    adamw,
    flops,
    our_embedder,
    our_trainer,
    peer_embedder,
    peer_trainer,
    terms,
    train_step,
)

from surgvl.pretrain.estimate import matmul_rate
from surgvl.train.config import multiplies_bfloat16

BUILD: dict[tuple[str, str], Callable[..., Side]] = {
    ("train", "ours"): our_trainer,
    ("train", "peer"): peer_trainer,
    ("embed", "ours"): our_embedder,
    ("embed", "peer"): peer_embedder,
}
# Dense bfloat16 products with float32 accumulation, FLOP/s, from NVIDIA's data sheets, by the full name in the driver:
# partitions and laptop versions have longer names and other rates.
PEAKS = {
    "A10": 125e12,
    "A30": 165e12,
    "A100-SXM4-40GB": 312e12,
    "A100-SXM4-80GB": 312e12,
    "A100-PCIE-40GB": 312e12,
    "A100 80GB PCIe": 312e12,
    "B200": 2250e12,
    "GH200 480GB": 989.4e12,
    "H100 80GB HBM3": 989.4e12,
    "H100 NVL": 835.5e12,
    "H100 PCIe": 756e12,
    "H200": 989.4e12,
    "H200 NVL": 835.5e12,
    "L4": 121e12,
    "L40": 181e12,
    "L40S": 362e12,
    "RTX 3090": 71e12,
    "RTX 4090": 165.2e12,
    "RTX 6000 Ada Generation": 364.2e12,
    "RTX A6000": 154.8e12,
}


def sheet_peak(name: str) -> float | None:
    """FLOP/s of a device by data sheet; None if it is not listed."""
    return PEAKS.get(name.removeprefix("NVIDIA ").removeprefix("GeForce "))


def smi(what: str) -> str:
    """A value of the first device from nvidia-smi, or `not readable`."""
    if shutil.which("nvidia-smi") is None:
        return "not readable"
    argv = ["nvidia-smi", "--id=0", f"--query-gpu={what}", "--format=csv,noheader"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20)
    return done.stdout.strip() if done.returncode == 0 else "not readable"


def facts(device: str) -> dict[str, Any]:
    """The device, its rates, and versions."""
    import transformers

    cuda = device == "cuda"
    name = torch.cuda.get_device_name() if cuda else f"cpu, {torch.get_num_threads()} threads"
    rate = matmul_rate(torch.bfloat16 if cuda else torch.float32, seconds=1.0 if cuda else 0.1)
    # Right after the product, while the clocks are still high.
    clocks = smi("clocks.sm,clocks.max.sm,clocks.mem,power.limit") if cuda else "not readable"
    return {
        "name": name,
        "driver": smi("driver_version") if cuda else "none",
        "clocks": clocks,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "product": rate,
        "peak": (sheet_peak(name) if cuda else None) or rate,
        "by_sheet": cuda and sheet_peak(name) is not None,
    }


def largest(batches: Sequence[int], attempt: Callable[[int], None]) -> int:
    """The first batch size that fits into GPU memory; if even the last does not, its error is raised."""
    for batch in batches[:-1]:
        try:
            attempt(batch)
            return batch
        except torch.cuda.OutOfMemoryError:
            print(f"batch {batch} does not fit", file=sys.stderr)
        # Outside the handler the error, and the tensors its frames hold, are gone.
        release()
    attempt(batches[-1])
    return batches[-1]


def release() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


class Row:
    """One row: a task at a model size, compiled or not, with its sides in turn.

    Args:
        row: `task`, `size`, `compiled` and `sides`.
        plan: `batches`, `turns`, and minimum `seconds` of a turn.
        device: cuda or cpu.
        emit: called with each result.
    """

    def __init__(self, row: dict[str, Any], plan: dict[str, Any], device: str, emit: Callable[[dict[str, Any]], None]):
        self.row, self.plan, self.device, self.emit = row, plan, device, emit
        self.train = row["task"] == "train"
        self.shape = SHAPES[row["size"]]
        self.sides = {name: BUILD[row["task"], name](self.shape, self.device) for name in row["sides"]}
        self.optimizers = {name: adamw(side) for name, side in self.sides.items() if self.train}
        self.found: dict[str, dict[str, Any]] = {name: {} for name in self.sides}

    def step(self, name: str, video: Tensor) -> None:
        """One step of a side."""
        side = self.sides[name]
        if self.train:
            train_step(side, self.optimizers[name], video, mixed=True)
        else:
            with torch.inference_mode():
                side.run(video)

    def wait(self) -> None:
        """Until the device has done what it was given."""
        if self.device == "cuda":
            torch.cuda.synchronize()

    def seconds(self, name: str, video: Tensor, steps: int) -> float:
        """Seconds a step, of steps that do not wait for one another."""
        self.wait()
        begun = time.perf_counter()
        for _ in range(steps):
            self.step(name, video)
        self.wait()
        return (time.perf_counter() - begun) / steps

    def attempt(self, batch: int) -> None:
        """One step of each side with a batch of this size."""
        video = self.shape.clips(batch, self.device)
        for name in self.sides:
            self.step(name, video)
        self.wait()

    def prepare(self, name: str, video: Tensor) -> None:
        """Compile and warm up, find out how many steps make a turn, and take the first."""
        found, side = self.found[name], self.sides[name]
        if self.row["compiled"]:
            # Where it is rehearsed on a CPU, there may be no compiler to give the graphs to.
            backend = "inductor" if self.device == "cuda" else "eager"
            for part in side.parts:
                part.compile(backend=backend)
        found["first_s"] = self.seconds(name, video, 1)
        once = self.seconds(name, video, 3)
        if self.device == "cuda":
            before = torch.cuda.memory_allocated()
            torch.cuda.reset_peak_memory_stats()
            self.seconds(name, video, 1)
            found["gib"] = (torch.cuda.max_memory_allocated() - before) / 2**30
        found["steps"] = min(100, max(2, math.ceil(self.plan["seconds"] / once)))
        found["seconds"] = [self.seconds(name, video, found["steps"])]

    def tell(self, done: bool = False) -> None:
        """Emit the row as far as it is measured."""
        self.emit({"row": {**self.row, "found": self.found, "done": done}})

    def measure(self, batches: Sequence[int]) -> int:
        """Measure the row at the largest batch size that fits all sides; returns that size."""
        for name, side in self.sides.items():
            self.found[name]["flops"] = flops(side, self.shape.clips(1, self.device), self.train)
        batch = self.row["batch"] = largest(batches, self.attempt)
        video = self.shape.clips(batch, self.device)
        for name in self.sides:
            self.prepare(name, video)
            self.tell()
        for _ in range(self.plan["turns"] - 1):
            for name, found in self.found.items():
                found["seconds"].append(self.seconds(name, video, found["steps"]))
            self.tell()
        with torch.profiler.profile() as profile:
            self.step("ours", video)
            self.wait()
        operators, kernels = terms(profile, self.device)
        of = sum(seconds for _, seconds in kernels or operators)
        self.row["profile"] = {"total_s": of, "operators": operators[:8], "kernels": kernels[:5]}
        self.tell(done=True)
        return batch


def main() -> None:
    plan = json.loads(sys.argv[1])
    # Other output to stdout, also from C libraries, must not get between the lines.
    lines = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def emit(found: dict[str, Any]) -> None:
        print(json.dumps(found), file=lines)

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and not plan["rehearse"]:
        emit({"refused": "there is no GPU: use --rehearse to run the same code on a tiny model on the CPU"})
        return
    if device == "cuda" and not multiplies_bfloat16(device):
        name = torch.cuda.get_device_name()
        emit({"refused": f"{name} does not support bfloat16, which this benchmark measures: use a newer GPU"})
        return
    torch.manual_seed(0)
    emit({"device": facts(device)})
    fitted: dict[tuple[str, str], int] = {}
    for row in plan["rows"]:
        release()
        torch.compiler.reset()
        of = (row["task"], row["size"])
        fitted[of] = Row(row, plan, device, emit).measure([fitted[of]] if of in fitted else plan["batches"])


if __name__ == "__main__":
    main()
