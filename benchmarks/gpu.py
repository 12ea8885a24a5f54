"""Speed of our models on a GPU, next to those of transformers, in at most eight minutes.

    python benchmarks/gpu.py [--minutes 8] [--sizes B L] [--batches 128 64 32 16 8] [--rehearse] [--out PAGE.md]

Clips per second and model FLOPs utilisation (MFU) of pretraining steps and of embedding, eager and compiled, at the
largest batch size that fits both sides, and a profile of a step. Needs only torch and transformers; in a checkout that
is not installed, put `PYTHONPATH=.` before the command. `--rehearse` runs the same code on a tiny model, on a CPU if
there is no GPU: its numbers mean nothing.

A separate process, `gpu_rows.py`, measures. Its output is written at once to the page and to JSON next to it; when time
is up it is killed, and the page lists what is missing. A row that fails is tried again without the peer. What time is
left goes to searches with FAISS (`gpu_search.py`), where it is installed with CUDA.
"""

import argparse
import contextlib
import json
import os
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from surgvl import __version__
from surgvl.core.files import write_json, write_text
from surgvl.core.tables import markdown_table
from surgvl.core.version import commit

HERE = Path(__file__).resolve().parent
NAMES = {
    ("train", "ours"): "surgvl SurgRecMAE",
    ("train", "peer"): "transformers VideoMAEForPreTraining",
    ("embed", "ours"): "surgvl VideoViT",
    ("embed", "peer"): "transformers VideoMAEModel",
}
HEAD = ["step", "batch", "of", "clips/s", "range", "over peer", "MFU", "GFLOP a clip", "first step, s", "GiB a step"]
ABOUT = """\
- Compared: the same geometry and batch, alternating turns, and clips of random bytes that are normalised on the
  device. A pretraining step is forward, backward, gradient clipping and fused AdamW, with products in bfloat16 and
  weights in float32; tube mask 0.9, decoder of the same width, depth and heads. Embedding is the encoder on all tokens
  and their mean, with weights in bfloat16.
- Not compared: reading and augmenting clips; several GPUs. Compiled, each of our parts is one graph, as
  with `--run.compile`; the peer is compiled as a whole, with graph breaks where torch needs them.
- Clips/s: of the median turn, and of the slowest and fastest. MFU: the matrix products that each side computes in a
  step, divided by the time of the median turn and by the peak. The peer also embeds hidden patches before it drops
  them, so its count per clip is higher. First step: including compilation, from an empty cache. GiB a step: memory
  beyond weights and optimizer state."""


def title(row: dict[str, Any]) -> str:
    what = "pretraining" if row["task"] == "train" else "embedding"
    return f"{what}, ViT-{row['size']}, {'compiled' if row['compiled'] else 'eager'}"


def plan_rows(sizes: list[str]) -> list[dict[str, Any]]:
    """All rows, fast ones first: compilation takes most of the time."""
    return [
        {"task": task, "size": size, "compiled": compiled, "sides": ["ours", "peer"]}
        for compiled in (False, True)
        for task in ("train", "embed")
        for size in sizes
    ]


def cells(row: dict[str, Any], side: str, peak: float) -> list[str]:
    found = row["found"][side]
    seconds = statistics.median(found["seconds"])
    rate, slowest, fastest = (row["batch"] / each for each in (seconds, max(found["seconds"]), min(found["seconds"])))
    peer = row["found"].get("peer", {}).get("seconds")
    over = f"{statistics.median(peer) / seconds:.2f}" if peer and side == "ours" else ""
    first = f"{found['first_s']:.1f}" if row["compiled"] else ""
    gib = f"{found['gib']:.2f}" if "gib" in found else ""
    spread = f"{slowest:,.1f} to {fastest:,.1f}"
    count = f"{found['flops'] / 1e9:,.4g}"
    name, mfu = NAMES[row["task"], side], f"{rate * found['flops'] / peak:.1%}"
    return [title(row), str(row["batch"]), name, f"{rate:,.1f}", spread, over, mfu, count, first, gib]


def profile_lines(row: dict[str, Any]) -> list[str]:
    """Profile of one of our steps."""
    profile = row["profile"]
    seconds = statistics.median(row["found"]["ours"]["seconds"])

    def shares(found: list[list[Any]]) -> str:
        return ", ".join(f"`{name[:70]}` {took / profile['total_s']:.1%}" for name, took in found)

    lines = [f"- {title(row)}: {shares(profile['operators'])}"]
    if profile["kernels"]:
        lines[0] += f"; kernels run for {profile['total_s'] / seconds:.0%} of a step"
        lines.append(f"  - kernels: {shares(profile['kernels'])}")
    return lines


def page(found: dict[str, Any]) -> str:
    device, rows = found["device"], found["rows"]
    measured = [(row, side) for row in rows for side in row["found"] if row["found"][side].get("seconds")]
    lines = markdown_table(HEAD, [cells(row, side, device["peak"]) for row, side in measured], right=HEAD[3:])
    turns = max((len(row["found"][side]["seconds"]) for row, side in measured), default=0)
    profiles = [line for row in rows if "profile" in row for line in profile_lines(row)]
    left_out = [f"- {text}" for text in found["left_out"]]
    peak = f"{device['peak'] / 1e12:,.4g} TFLOP/s"
    source = "dense bfloat16 by data sheet" if device["by_sheet"] else "one large product, measured"
    rehearsal = ["**A rehearsal on a tiny model: the numbers mean nothing.**", ""] if found["rehearsal"] else []
    return "\n".join(
        [
            f"# Steps on {device['name']}",
            "",
            *rehearsal,
            f"16 x 224 x 224 in patches of 2 x 16 x 16, medians of up to {turns} alternating turns."
            if not found["rehearsal"]
            else f"Medians of up to {turns} alternating turns.",
            "",
            *lines,
            "",
            ABOUT,
            "",
            "Profile of one of our steps (torch.profiler, self time of operators, and of kernels on a GPU):",
            "",
            *(profiles or ["- nothing was profiled"]),
            "",
            *(["Missing:", "", *left_out, ""] if left_out else []),
            "Searches with FAISS on the GPU:",
            "",
            *found["searches"],
            "",
            f"- peak: {peak} ({source}); one large product reached {device['product'] / 1e12:,.4g} TFLOP/s",
            f"- driver {device['driver']}; clocks (SM, its highest, memory) and power limit: {device['clocks']}",
            f"- torch {device['torch']}, transformers {device['transformers']}",
            f"- surgvl {__version__}, {found['commit']}",
            f"- command: `{found['command']}`, {found['took_s']:.0f} s",
            "",
        ]
    )


def kill(process: "subprocess.Popen[str]") -> None:
    """Kill a process and its children, such as the compiler's."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def drive(plan: dict[str, Any], left_s: float, take: Callable[[dict[str, Any]], None]) -> str:
    """Run `gpu_rows.py` for at most `left_s` seconds; returns why it failed, empty if it finished."""
    argv = [sys.executable, str(HERE / "gpu_rows.py"), json.dumps(plan)]
    with tempfile.TemporaryFile("w+") as errors, tempfile.TemporaryDirectory() as cache:
        # What was compiled before would shorten the first step, which a rehearsal does not measure.
        environment = {**os.environ, **({} if plan["rehearse"] else {"TORCHINDUCTOR_CACHE_DIR": cache})}
        process = subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment, start_new_session=True
        )
        assert process.stdout is not None
        timer = threading.Timer(left_s, kill, [process])
        timer.start()
        try:
            for line in process.stdout:
                # An incomplete line was cut off when the process was killed.
                if line.endswith("\n"):
                    take(json.loads(line))
            process.wait()
        finally:
            timer.cancel()
            kill(process)
            process.wait()
            process.stdout.close()
        errors.seek(0)
        said = errors.read().strip().splitlines() or [f"ended with status {process.returncode}"]
        return "" if process.returncode == 0 else said[-1]


class Board:
    """All measurements so far, always up to date on disk."""

    def __init__(self, out: Path, rows: list[dict[str, Any]], rehearsal: bool, begun: float):
        self.out, self.todo, self.begun = out, rows, begun
        self.device: dict[str, Any] = {}
        self.rows: dict[str, dict[str, Any]] = {}
        self.left_out: list[str] = []
        self.searches = ["- not reached"]
        words = shlex.join(["python", "benchmarks/gpu.py", *sys.argv[1:]])
        self.facts = {"rehearsal": rehearsal, "command": words, "commit": commit()}

    def take(self, told: dict[str, Any]) -> None:
        """Handle a line of `gpu_rows.py`."""
        if "refused" in told:
            print(told["refused"], file=sys.stderr)
            sys.exit(2)
        self.device = told.get("device", self.device)
        if "row" in told:
            row = told["row"]
            self.rows[title(row)] = row
            if row["done"]:
                self.todo = [each for each in self.todo if title(each) != title(row)]
                print(f"{time.monotonic() - self.begun:5.0f} s  {title(row)}", flush=True)
        self.write()

    def fail(self, reason: str) -> None:
        """The current row failed: try it again without the peer, or give it up."""
        row = self.todo[0]
        sides = " and ".join(row["sides"])
        self.left_out.append(f"{title(row)}, {sides}: {reason}")
        if len(row["sides"]) > 1:
            self.todo[0] = {**row, "sides": ["ours"]}
        else:
            self.todo.pop(0)

    def out_of_time(self) -> None:
        """List the rows that were not finished."""
        for row in self.todo:
            begun = any(each.get("seconds") for each in self.rows.get(title(row), {"found": {}})["found"].values())
            self.left_out.append(f"{title(row)}: {'cut off when ' if begun else ''}time was up")
        self.write()

    def search(self, left_s: float) -> None:
        """Run `gpu_search.py` for at most `left_s` seconds."""
        if left_s <= 0:
            self.searches = ["- time was up"]
            self.write()
            return
        argv = [sys.executable, str(HERE / "gpu_search.py"), *(["--rehearse"] if self.facts["rehearsal"] else [])]
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=left_s)
        except subprocess.TimeoutExpired:
            self.searches = ["- cut off when time was up"]
        else:
            said = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
            self.searches = said if done.returncode == 0 else [f"- failed: {said[-1] if said else done.returncode}"]
        self.write()

    def write(self) -> None:
        """The page, and all numbers as JSON next to it."""
        took = {"took_s": time.monotonic() - self.begun}
        found = {**self.facts, **took, "device": self.device, "rows": [*self.rows.values()], "left_out": self.left_out}
        found["searches"] = self.searches
        write_json(self.out.with_suffix(".json"), found)
        write_text(self.out, page(found))


def main() -> None:
    begun = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8.0, help="time limit")
    parser.add_argument("--sizes", nargs="+", default=["B", "L"], choices=["S", "B", "L", "H"])
    parser.add_argument("--batches", nargs="+", type=int, default=[128, 64, 32, 16, 8], help="tried in order")
    parser.add_argument("--rehearse", action="store_true", help="a tiny model, on a CPU if there is no GPU")
    parser.add_argument("--out", type=Path, help="the page; results/gpu.md, or runs/gpu_rehearsal.md")
    args = parser.parse_args()
    rows = plan_rows(["tiny"] if args.rehearse else args.sizes)
    plan = {"rehearse": args.rehearse, "batches": [4] if args.rehearse else args.batches}
    plan |= {"turns": 2, "seconds": 0.0} if args.rehearse else {"turns": 5, "seconds": 1.0}
    board = Board(
        args.out or (Path("runs/gpu_rehearsal.md") if args.rehearse else HERE / "results" / "gpu.md"),
        rows,
        args.rehearse,
        begun,
    )
    end_at = begun + args.minutes * 60
    while board.todo and (left_s := end_at - time.monotonic()) > 0:
        reason = drive({**plan, "rows": board.todo}, left_s, board.take)
        if reason and board.todo and time.monotonic() < end_at:
            if not board.device:
                sys.exit(f"nothing could be measured: {reason}")
            board.fail(reason)
    if not board.device:
        sys.exit(f"nothing was measured in {args.minutes:g} minutes: give more")
    board.out_of_time()
    board.search(end_at - time.monotonic())
    print(board.out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
