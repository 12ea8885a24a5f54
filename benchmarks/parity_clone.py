"""A clone of another repository in this process: its modules, losses and weights, for `parity_peers.py`."""

import contextlib
import importlib
import itertools
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from surgvl.models.checkpoints.convert import load_encoder
from surgvl.models.vit import VideoViT
from surgvl.pretrain.videomae import Decoder

# Imported by the repositories' modules, and needed by nothing that runs here.
OPTIMIZERS = "adafactor adahessian adamp lookahead nadam novograd nvnovograd radam rmsprop_tf sgdp"
UNNEEDED = ("tensorboardX", "decord", *(f"timm.optim.{name}" for name in OPTIMIZERS.split()))


class Losses(list[float]):
    """Takes the place of a repository's logger and keeps the losses."""

    def update(self, head: str = "", **values: Any) -> None:
        """VideoMAE's logger."""
        self.extend(values[name] for name in values if name == "loss")

    def set_step(self) -> None:
        """VideoMAE's logger."""

    def log(self, epoch: int, step: int, loss: float, *times: float) -> None:
        """V-JEPA's logger."""
        self.append(loss)


@contextlib.contextmanager
def imported(clone: Path, packages: dict[str, str]) -> Iterator[None]:
    """Import from a clone, silently; afterwards its modules are forgotten, because names of the repositories collide.

    Args:
        clone: in front of the search path.
        packages: package name -> folder of the clone, for packages that are named otherwise than their folder, or that
            an installed one or the package's own `__init__` would hide.
    """
    clone = clone.resolve()
    added: dict[str, Any] = {}
    for name, folder in packages.items():
        added[name] = ModuleType(name)
        added[name].__path__ = [str(clone / folder)]
    added |= {name: mock.MagicMock() for name in UNNEEDED}
    importlib.import_module("timm.optim")  # whole, before parts of it are replaced
    before = dict(sys.modules)
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(sys, "path", [str(clone), *sys.path]))
        stack.enter_context(mock.patch.object(torch.cuda, "synchronize"))
        stack.enter_context(contextlib.redirect_stdout(stack.enter_context(Path(os.devnull).open("w"))))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        sys.modules.update(added)
        try:
            yield
        finally:
            for name, module in list(sys.modules.items()):
                theirs = str(getattr(module, "__file__", None)).startswith(f"{clone}{os.sep}")
                if theirs or name in added or name.partition(".")[0] in packages:
                    del sys.modules[name]
                    if name in before:
                        sys.modules[name] = before[name]


def commit(clone: Path) -> str:
    """The commit of a clone, or "unknown" where there is no history."""
    done = subprocess.run(["git", "-C", str(clone), "rev-parse", "HEAD"], check=False, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def reseed(parts: Sequence[nn.Module], steps: int) -> None:
    """Give stochastic depth in each part of a model random numbers of its own at each step, the same on both sides."""
    for number, part in enumerate(parts):
        part.register_forward_pre_hook(_seed(itertools.cycle(range(number * steps, (number + 1) * steps))))


def _seed(seeds: Iterator[int]) -> Callable[..., None]:
    def before(*_: Any) -> None:
        torch.manual_seed(next(seeds))

    return before


def our_encoder(state: dict[str, Any], size_px: int, num_frames: int, heads: int, drop_path: float = 0.0) -> VideoViT:
    """Their encoder as ours, through the reader of public checkpoints."""
    with tempfile.TemporaryDirectory() as folder:
        torch.save(state, file := Path(folder) / "encoder.pth")
        read = load_encoder(str(file), size_px=size_px, num_frames=num_frames, heads=heads)
    encoder = VideoViT(replace(read.config, drop_path=drop_path))
    encoder.load_state_dict(read.state_dict())
    return encoder


def renamed(weights: dict[str, Tensor], names: dict[str, str]) -> dict[str, Tensor]:
    """Parameters by prefixes of their names; those without a prefix here are left out.

    Biases of queries and values become one, with a bias of zero for keys, which changes no attention.
    """
    found: dict[str, Tensor] = {}
    for name, value in weights.items():
        for old, new in names.items():
            if name.startswith(old):
                short = new + name.removeprefix(old)
                found[short.replace(".mlp.fc1.", ".mlp.0.").replace(".mlp.fc2.", ".mlp.2.")] = value
    for name in [name for name in found if name.endswith(".q_bias")]:
        start = name.removesuffix("q_bias")
        q, v = found.pop(name), found.pop(f"{start}v_bias")
        found[f"{start}qkv.bias"] = torch.cat([q, torch.zeros_like(q), v])
    return found


def load_decoder(decoder: Decoder, state: dict[str, Tensor], down: str, token: str, rest: str, pixels: bool) -> None:
    """Load a decoder of VideoMAE's kind whose parts have these names; pixels have the colour last there, first here."""
    found = renamed(state, {down: "down.", token: "mask_token", rest: ""})
    if pixels:
        for name in ("head.weight", "head.bias"):
            found[name] = found[name].view(-1, 3, *found[name].shape[1:]).transpose(0, 1).flatten(0, 1)
    decoder.load_state_dict(found)
