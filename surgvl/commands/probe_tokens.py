"""The tokens that a probe reads: of an encoder's clips, or stored vectors; and the folder and stopwatch of its work."""

import dataclasses
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from surgvl.commands.common import frame_store, split_ids
from surgvl.core.errors import ConfigError
from surgvl.core.results import UNRECORDED
from surgvl.core.run_folder import RunFolder
from surgvl.data.manifest import Manifest
from surgvl.probe.config import ProbeClips
from surgvl.video.clip import Preprocess

# Modules that import torch are imported where they are used, so that help and usage errors need none.
if TYPE_CHECKING:
    from surgvl.models.vit import VideoViT
    from surgvl.probe.base import Readout
    from surgvl.probe.dataset import ProbeData
    from surgvl.probe.labels import Head


@dataclass(frozen=True)
class Tokens:
    """The tokens of some splits, and how they came about.

    Attributes:
        splits: clips by split.
        preprocess: how they were cut; None where vectors do not say.
        what: frames of a clip, or vectors, in words.
        step_s: seconds between clips.
        problems: video id -> why it was left out.
        num_parameters: of the encoder; 0 where only its vectors are there.
    """

    splits: "dict[str, ProbeData]"
    preprocess: Preprocess | None
    what: str
    step_s: float
    problems: Mapping[str, str]
    num_parameters: int

    def protocol(self, readout: "type[Readout]") -> str:
        """Whether a prediction takes clips or vectors of the future into account: `online`, or `offline`."""
        if self.preprocess is None:
            return UNRECORDED
        return "offline" if readout.sees == "video" else self.preprocess.protocol


def of_encoder(
    folder: RunFolder,
    table: Manifest,
    splits: Sequence[str],
    heads: "Sequence[Head]",
    encoder: "tuple[VideoViT, Preprocess]",
    clip: ProbeClips,
    readout: "type[Readout]",
    work: "Work",
    frame_cache: Path | None,
    tokens_gb: float,
    batch: int,
) -> Tokens:
    """Encode the clips of some splits.

    Args:
        folder: reports the videos that cannot be read.
        table: the videos.
        splits: the splits.
        heads: kinds of labels.
        encoder: frozen, and how its clips are cut.
        clip: which clips.
        readout: tells whether the mean token is enough.
        work: holds the tokens.
        frame_cache: see `probe`.
        tokens_gb: see `probe`.
        batch: clips encoded at once.

    Raises:
        ConfigError: a split is empty, or its tokens are too large.
        DataError: no video can be read.
    """
    from surgvl.probe.dataset import ClipSpec, gather

    model, preprocess = encoder
    ids = list(dict.fromkeys(video_id for name in splits for video_id in split_ids(table, name)))
    store, good = frame_store(table, ids, preprocess, frame_cache or work.folder / "frames")
    folder.watch(store.problems, len(ids), store.marks.lines, printed=store.marks.lines())
    stored = None if frame_cache is None else frame_cache / "features"
    work.tick("decode")
    spec = ClipSpec(clip.frame_step, batch, readout.averages, tokens_gb, heads)
    found = {
        name: gather(
            store, table.select(set(good) & set(table.video_ids(name))), model, spec, work.folder / name, stored
        )
        for name in splits
    }
    what = f"{preprocess.num_frames} frames at {preprocess.fps:g} fps"
    what += f", 1 in {clip.frame_step}" if clip.frame_step > 1 else ""
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    return Tokens(found, preprocess, what, preprocess.step_s, store.problems, num_parameters)


def of_stored_vectors(folder: Path, table: Manifest, splits: Sequence[str], heads: "Sequence[Head]") -> Tokens:
    """The vectors of some splits.

    Raises:
        ConfigError: a split is empty.
        DataError: the folder is not finished, or has no vectors of a split.
    """
    from surgvl.embed.vectors import Vectors
    from surgvl.probe.dataset import of_vectors

    vectors = Vectors.load(folder)
    found = {name: of_vectors(vectors, table.select(split_ids(table, name)), heads) for name in splits}
    there = {video_id for data in found.values() for video_id in data.video_ids}
    wanted = [video_id for name in splits for video_id in split_ids(table, name)]
    problems = {each: f"{folder} has no vectors of {each}: embed it" for each in wanted if each not in there}
    what = f"vectors of {vectors.meta.clip_s:g} s"
    return Tokens(found, vectors.meta.preprocess, what, vectors.meta.stride_s, problems, 0)


class Work:
    """A temporary folder for tokens and frames, and a stopwatch; the folder of a killed run is deleted first."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.seconds: dict[str, float] = {}
        self._then = 0.0

    def __enter__(self) -> "Work":
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self._then = time.monotonic()
        return self

    def __exit__(self, *problem: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def tick(self, name: str) -> None:
        """Note the seconds since the last tick."""
        now = time.monotonic()
        self.seconds[name], self._then = round(now - self._then, 2), now


def load_encoder(folder: Path, random: bool, clip: ProbeClips, device: str, seed: int) -> "tuple[VideoViT, Preprocess]":
    """The frozen encoder on its device, and the preprocessing of its clips.

    Raises:
        CheckpointError: the folder's model has no video encoder of ours.
        ConfigError: the clips do not fit the encoder.
    """
    import torch

    from surgvl.models.checkpoint import load_model, video_encoder
    from surgvl.models.vit import VideoViT

    whole, preprocess = load_model(folder, device)
    model = video_encoder(whole, folder)
    if random:
        torch.manual_seed(seed)
        model = VideoViT(model.config).to(device)
    return model.eval().requires_grad_(False), cut(model, preprocess, clip)


def cut(model: "VideoViT", preprocess: Preprocess, clip: ProbeClips) -> Preprocess:
    """The preprocessing of an encoder's clips, changed as asked.

    Raises:
        ConfigError: the clips do not fit the encoder.
    """
    from surgvl.probe.tokens import num_groups

    num_frames, step = clip.num_frames or preprocess.num_frames, clip.frame_step
    preprocess = dataclasses.replace(
        preprocess,
        num_frames=num_frames,
        fps=clip.fps or preprocess.fps,
        step_s=clip.every_s or preprocess.step_s,
        anchor=clip.anchor or preprocess.anchor,
    )
    if num_frames % step:
        raise ConfigError(f"--clip.frame_step must divide the {num_frames} frames of a clip, got {step}")
    num_groups(model, num_frames // step)
    return preprocess
