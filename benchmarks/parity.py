"""Losses of SurgVISTA, V-JEPA 2 and VideoMAE V2 in their authors' training loops and in ours, step by step.

    python benchmarks/parity.py --surgvista DIR --vjepa2 DIR --videomaev2 DIR [--steps 40]

Each DIR is a clone of the public repository, whose code needs timm and einops. Their side is the repository's own
models, loop, optimizer and schedules (`parity_peers.py`), ours is `surgvl.train.loop.fit`; both start from the same
weights and get the same clips and masks. So that a small number means something, our side runs again with one setting
changed. Writes benchmarks/results/parity.md; exit status 1 if a loss differs by more than 1e-4 of its value.
"""

import argparse
import copy
import json
import platform
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from parity_clone import commit
from parity_peers import BATCH, DECAY, EPOCHS, FRAMES, SIZE_PX, Peer, surgvista, videomae
from parity_vjepa import vjepa
from torch import Tensor

from surgvl import __version__
from surgvl.core.files import write_text
from surgvl.core.tables import markdown_table
from surgvl.pretrain.videomae import VideoMAE
from surgvl.pretrain.vjepa import VJEPA
from surgvl.train.config import Optim, Run
from surgvl.train.loop import fit
from surgvl.train.optimizer import optimizer_of

TOLERANCE = 1e-4
# Flag -> repository, and a file that a clone of it has.
REPOSITORIES = {
    "surgvista": ("isyangshu/SurgVISTA", "pretrain_SurgVISTA/engine_for_pretraining_surgery.py"),
    "vjepa2": ("facebookresearch/vjepa2", "app/vjepa/train.py"),
    "videomaev2": ("OpenGVLab/VideoMAEv2", "engine_for_pretraining.py"),
}
# Name of a run, flag of its repository, and the function that runs it.
RUNS = (
    ("SurgVISTA", "surgvista", surgvista),
    ("V-JEPA 2", "vjepa2", partial(vjepa, moving=False)),
    ("V-JEPA 2, schedules of V-JEPA 1", "vjepa2", partial(vjepa, moving=True)),
    ("VideoMAE V2", "videomaev2", videomae),
)
OUT = Path(__file__).parent / "results" / "parity.md"

TEXT = """# Losses in the authors' training loops and in ours

The same initial weights, clips and masks; tiny models, {steps} optimizer steps, on a CPU in float32. `difference` is
the largest relative difference of a loss over all steps; {tolerance:.0e} is allowed. `decaying` is the number of
trained weights with weight decay.

{losses}

What a mistake would look like: the largest difference with one setting of ours changed. One of the size of rounding
is a mistake that the losses do not show.

{changes}

- **Theirs**: models, initial weights, masks, loss, training loop, optimizer with its parameter groups, schedules of
  rate, decay and average, clipping: the repository's own code, imported from a clone. For a CPU, waiting for a GPU
  and the distributed wrapper do nothing; a list stands in for the logger, and tensors for V-JEPA's reader of videos.
- **Ours**: weights by `load_encoder` and by names, `surgvl.train.loop.fit`, arguments as released
  (`docs/pretraining.md`). SurgVISTA's teacher is a random image transformer, saved by its code and read by
  `endossl:FILE`. Stochastic depth (SurgVISTA, 0.1) gets the same random numbers in the encoder and in each decoder,
  which the two codes run in a different order.
- **Settings**: {clips} clips of {frames} x {size} x {size}, {batch} a step, in the same order in each of {epochs}
  epochs. Betas, momenta, clipping (VideoMAE V2: 0.02, the others none) and shares of warm-ups as in the released
  scripts (V-JEPA 2: a warm-up of a fifth), weight decay {decay} times theirs, so that few steps show it. V-JEPA 2's
  schedules are constant after the warm-up, so a second run of its code has those of V-JEPA 1: rate along a cosine,
  decay times 10, momentum 0.998 to 1, all made for 1.25 times the steps.
- **Not covered**: how initial weights and masks are drawn (ours are given theirs; `tests/pretrain` has tests of
  both), half precision and its loss scaling, several devices, accumulation, reading and augmenting videos, V-JEPA 2's
  cooldown, models and runs of real size.

{commits}
- device: CPU, {processor}, threads of torch: {threads}
- versions: Python {python}, {versions}
- command: `python benchmarks/parity.py --surgvista DIR --vjepa2 DIR --videomaev2 DIR --steps {steps}`
"""


def smooth_clips(num: int) -> Tensor:
    """Smooth random clips, uint8 [num, 3, T, H, W]; after an epoch the same again."""
    coarse = torch.rand(num // EPOCHS, 3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    fine = F.interpolate(coarse, (FRAMES, SIZE_PX, SIZE_PX), mode="trilinear")
    return (fine * 255).round().byte().repeat(EPOCHS, 1, 1, 1, 1)


class Replay:
    """Trains a peer's recipe by our loop, with the peer's masks; each call starts from the initial weights.

    Args:
        peer: its recipe is trained.
        video: all clips, in order.

    Attributes:
        decayed: number of weights that decay.
    """

    def __init__(self, peer: Peer, video: Tensor):
        self.peer, self.video, self.step = peer, video, 0
        self.initial = copy.deepcopy(peer.recipe.state_dict())
        groups = optimizer_of(peer.recipe, peer.optim, Run()).param_groups
        self.decayed = sum(weight.numel() for group in groups if group["decays"] for weight in group["params"])
        peer.recipe.register_forward_pre_hook(self._begin)
        peer.recipe.masks = lambda *_: peer.masks[self.step]  # type: ignore[assignment]

    def _begin(self, _: Any, args: tuple[dict[str, Any]]) -> None:
        self.step = args[0]["step"]

    def collate(self, samples: Sequence[int]) -> dict[str, Any]:
        """The clips of a step."""
        return {"video": self.video[list(samples)], "step": samples[0] // BATCH}

    def __call__(self, optim: Optim) -> list[float]:
        """Losses of all steps."""
        self.peer.recipe.load_state_dict(self.initial)
        steps = len(self.video) // BATCH
        run = Run(steps=steps, batch=BATCH, precision="32-true", accelerator="cpu", save_every=steps, log_every=1)
        with tempfile.TemporaryDirectory() as folder:
            data: Any = range(len(self.video))
            fit(self.peer.recipe, data, self.collate, Path(folder), optim, run)
            lines = (Path(folder) / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line)["loss"] for line in lines]


def largest(theirs: Sequence[float], ours: Sequence[float]) -> float:
    """The largest relative difference of two runs of the same length."""
    return max(abs(a - b) / abs(a) for a, b in zip(theirs, ours, strict=True))


def changed(replay: Replay) -> Iterator[tuple[str, list[float]]]:
    """Our losses with one setting changed, and which."""
    recipe, optim = replay.peer.recipe, replay.peer.optim
    if optim.schedule != "constant":
        yield "`counting` mixed", replay(replace(optim, counting="mixed"))
    yield "no weight decay", replay(replace(optim, weight_decay=0.0, final_weight_decay=None))
    yield (
        "`clip_norm` " + ("0" if optim.clip_norm else "0.02"),
        replay(replace(optim, clip_norm=0.02 - optim.clip_norm)),
    )
    if isinstance(recipe, VJEPA):
        if optim.schedule_scale != 1 and optim.schedule != "constant":
            yield "`schedule_scale` 1", replay(replace(optim, schedule_scale=1.0))
        recipe.momentum = recipe.final_momentum = 1.0
        yield "an average that stands still", replay(optim)
    if isinstance(recipe, VideoMAE):
        recipe.undecayed = lambda: ()  # type: ignore[method-assign]
        yield "decay of the mask token", replay(optim)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for flag, (name, _) in REPOSITORIES.items():
        parser.add_argument(f"--{flag}", type=Path, required=True, metavar="DIR", help=f"clone of {name}")
    parser.add_argument("--steps", type=int, default=40, help=f"optimizer steps, a multiple of {EPOCHS}")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    if args.steps < EPOCHS or args.steps % EPOCHS:
        parser.error(f"--steps must be a multiple of {EPOCHS}, got {args.steps}")
    clones: dict[str, Path] = {flag: vars(args)[flag] for flag in REPOSITORIES}
    for flag, (name, file) in REPOSITORIES.items():
        if not (clones[flag] / file).is_file():
            parser.error(f"--{flag} must be a clone of {name}, but {clones[flag]} has no {file}")

    video = smooth_clips(args.steps * BATCH)
    shown = sorted({1, *range(10, args.steps + 1, 10)})
    rows, changes, failed = [], [], []
    for name, flag, train in RUNS:
        peer = train(clones[flag], video, args.steps)
        replay = Replay(peer, video)
        ours = replay(peer.optim)
        found = largest(peer.losses, ours)
        if found > TOLERANCE or peer.decayed != replay.decayed:
            failed.append(name)
        sides = (("theirs", peer.losses, peer.decayed, ""), ("ours", ours, replay.decayed, f"{found:.1e}"))
        for side, losses, number, last in sides:
            rows.append([name, side, *(f"{losses[step - 1]:.6f}" for step in shown), f"{number:,}", last])
        changes += [[name, what, f"{largest(peer.losses, losses):.1e}"] for what, losses in changed(replay)]
        print(f"{name}: {found:.1e}", flush=True)
    head = ["run", "loop", *(f"step {step}" for step in shown), "decaying", "difference"]
    text = TEXT.format(
        steps=args.steps,
        tolerance=TOLERANCE,
        losses="\n".join(markdown_table(head, rows, right=head[2:])),
        changes="\n".join(markdown_table(["run", "changed", "difference"], changes, right=["difference"])),
        clips=len(video) // EPOCHS,
        frames=FRAMES,
        size=SIZE_PX,
        batch=BATCH,
        epochs=EPOCHS,
        decay=DECAY,
        commits="\n".join(f"- {name} at commit {commit(clones[flag])}" for flag, (name, _) in REPOSITORIES.items()),
        processor=f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        threads=torch.get_num_threads(),
        python=platform.python_version(),
        versions=", ".join(
            [f"{each} {metadata.version(each)}" for each in ("torch", "timm", "einops")] + [f"surgvl {__version__}"]
        ),
    )
    write_text(args.out, text)
    print(text)
    if failed:
        sys.exit(f"losses differ by more than {TOLERANCE:.0e}, or other weights decay: {', '.join(failed)}")


if __name__ == "__main__":
    main()
