"""The `probe` command: trains a small readout of a frozen encoder's tokens on one split and scores it on another.

Every encoder gets the same clips, readout, steps and seed, so differences are the encoder's. Nothing is tuned on the
videos that are scored: steps, learning rate and weight decay are set in the readouts' files, tuned on the validation
videos of a phantom of another seed.
"""

import dataclasses
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import surgvl.probe
from surgvl.commands.common import frame_store, split_ids, write_scores
from surgvl.core.errors import CheckpointError, ConfigError, DataError
from surgvl.core.files import atomic, command, write_json
from surgvl.core.invocation import command_line, recorded
from surgvl.core.plurals import part_of, plural
from surgvl.core.registry import choose
from surgvl.core.results import Result, add_provenance
from surgvl.core.run_folder import RunFolder
from surgvl.core.version import commit
from surgvl.data.manifest import Manifest
from surgvl.data.tables import rendered_note
from surgvl.models.model_info import pretraining_video_ids
from surgvl.probe.config import ProbeClips, ReadoutTraining
from surgvl.probe.labels import HEADS, PARTS, Truth
from surgvl.probe.score import ProbedClips, score
from surgvl.tasks.overlap import seen_before
from surgvl.video.clip import Preprocess

# Modules that import torch are imported where they are used, so that help and usage errors need none.
if TYPE_CHECKING:
    from surgvl.models.vit import VideoViT
    from surgvl.probe.dataset import ProbeData


@recorded
def probe(
    encoder: Path,
    manifest: Path,
    out: Path,
    readout: str = "attentive",
    split: str = "test",
    frame_cache: Path | None = None,
    clip: ProbeClips = ProbeClips(),  # noqa: B008 (frozen)
    fit: ReadoutTraining = ReadoutTraining(),  # noqa: B008 (frozen)
    random_encoder: bool = False,
    allow_overlap: bool = False,
    tokens_gb: float = 16.0,
    device: str = "cpu",
    seed: int = 0,
    resume: bool = False,
) -> list[Result]:
    """Measure what a frozen encoder represents: phase, instrument, verb and target, read out by a small trained head.

    Args:
        encoder: run folder or model folder of a video encoder.
        manifest: manifest folder with phases or triplets; the readout is trained on its split `train`.
        out: folder to write: result.json, result.md, videos.json (scores by video) and the readout.
        readout: attentive (a learned query per head), linear (of the mean token), or a dotted path.
        split: split to score.
        frame_cache: folder to cache decoded frames and the encoder's tokens in; by default, no cache.
        clip: which clips are encoded.
        fit: training of the readout.
        random_encoder: use the encoder's shape with random weights: the control that shows the gain of pretraining.
        allow_overlap: also score videos that were seen in training, and mark every result.
        tokens_gb: maximum size of a split's tokens on disk, GB.
        device: torch device, such as cpu or cuda.
        seed: random seed of the readout, the order of clips, random weights and the bootstrap.
        resume: write to an --out folder that is not empty.
    """
    import torch
    from safetensors.torch import save_file

    from surgvl.probe.base import Readout
    from surgvl.probe.dataset import ClipSpec, gather
    from surgvl.probe.fit import predict, train

    kind = choose(surgvl.probe, Readout, readout)
    fit = fit.of(kind)
    with RunFolder(out, resume, seed=seed, device=device) as folder:
        table = Manifest.load(manifest)
        before = [] if random_encoder else pretraining_video_ids(encoder)
        warning = _overlap(table, split, before, allow_overlap)
        model, preprocess = _encoder(encoder, random_encoder, clip, device, seed)
        phases = sorted({row.label for row in table.segments if row.task == "phase"})
        spec = ClipSpec(clip.frame_step, fit.batch, kind.averages, tokens_gb, phases)
        ids = [*split_ids(table, "train"), *split_ids(table, split)]
        with _Work(out / "work") as work:
            store, good = frame_store(
                table, list(dict.fromkeys(ids)), preprocess, frame_cache or work.folder / "frames"
            )
            folder.watch(store.problems, len(ids), store.marks.lines, printed=store.marks.lines())
            tokens = None if frame_cache is None else frame_cache / "features"
            work.tick("decode")
            train_set, eval_set = (
                gather(
                    store,
                    table.select(set(good) & set(table.video_ids(name))),
                    model,
                    spec,
                    work.folder / name,
                    tokens,
                )
                for name in ("train", split)
            )
            work.tick("encode")
            torch.manual_seed(seed)
            head = kind(model.dim, _classes(train_set.truth, phases)).to(device)
            place, given = work.folder / "readout", (fit.steps, fit.batch, fit.lr, fit.weight_decay)
            losses = train(head, train_set.tokens, train_set.truth, place, *given, seed)
            scores = predict(head, eval_set.tokens)
            work.tick("train")

        frames = f"{preprocess.num_frames} frames at {preprocess.fps:g} fps" + (
            f", 1 in {clip.frame_step}" if clip.frame_step > 1 else ""
        )
        how = f"{preprocess.protocol}, {readout} readout of {frames}, {fit.steps} steps of {fit.batch} clips"
        clips = _probed_clips(
            train_set,
            eval_set,
            table.split(split),
            phases,
            f"{how}, rate {fit.lr:g}, decay {fit.weight_decay:g}",
            1 / preprocess.step_s,
            seed,
        )
        found, by_video = score(clips, scores)
        num_trainable = sum(parameter.numel() for parameter in head.parameters())
        results = add_provenance(
            found,
            encoder="random, frozen" if random_encoder else "frozen",
            num_trainable=num_trainable,
            command=command_line(),
            commit=commit(),
            warning="; ".join(filter(None, (warning, *store.problems.values()))),
        )
        folder.record(
            table.hash,
            before,
            frozen=True,
            random_encoder=random_encoder,
            num_parameters=sum(parameter.numel() for parameter in model.parameters()),
            num_trainable=num_trainable,
            num_clips=[len(train_set.video_ids), len(eval_set.video_ids)],
            readout_loss=losses[-1],
            seconds=work.seconds,
        )
        with atomic(out / "readout.safetensors") as path:
            save_file({name: value.cpu() for name, value in head.state_dict().items()}, path)
        write_json(out / "videos.json", by_video)
        write_scores(folder, results, rendered_note(table.split(split).videos))
        after = command("align", manifest=manifest, encoder=encoder, out="dual")
        folder.next(f"{plural(len(results), 'score')} in {out}", after)
    return results


class _Work:
    """A temporary folder for tokens and frames, and a stopwatch; the folder of a killed run is deleted first."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.seconds: dict[str, float] = {}
        self._then = 0.0

    def __enter__(self) -> "_Work":
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


def _encoder(folder: Path, random: bool, clip: ProbeClips, device: str, seed: int) -> "tuple[VideoViT, Preprocess]":
    """The frozen encoder on its device, and the preprocessing of its clips.

    Raises:
        CheckpointError: the folder contains no video encoder.
        ConfigError: the clips do not fit the encoder.
    """
    import torch

    from surgvl.models.checkpoint import load_model
    from surgvl.models.vit import VideoViT
    from surgvl.probe.tokens import num_groups

    model, preprocess = load_model(folder, device)
    if not isinstance(model, VideoViT):
        raise CheckpointError(
            f"{folder} holds a {type(model).__name__}, not a video encoder: give a pretrain run folder"
        )
    if random:
        torch.manual_seed(seed)
        model = VideoViT(model.config).to(device)
    num_frames, step = clip.num_frames or preprocess.num_frames, clip.frame_step
    preprocess = dataclasses.replace(
        preprocess,
        num_frames=num_frames,
        fps=clip.fps or preprocess.fps,
        step_s=clip.every_s or preprocess.step_s,
    )
    if num_frames % step:
        raise ConfigError(f"--clip.frame_step must divide the {num_frames} frames of a clip, got {step}")
    num_groups(model, num_frames // step)
    return model.eval().requires_grad_(False), preprocess


def _overlap(table: Manifest, split: str, pretraining_ids: list[str], allowed: bool) -> str:
    """A warning for the results if scored videos were seen in pretraining or train the readout.

    Raises:
        DataError: they were, and that is not allowed.
    """
    scored = split_ids(table, split)
    facts = [
        f"{part_of(len(found), len(scored), f'{split} video', 'was')} seen in {what}: {', '.join(found[:8])}"
        for ids, what in ((pretraining_ids, "pretraining"), (table.video_ids("train"), "training the readout"))
        if (found := seen_before(scored, ids))
    ]
    if facts and not allowed:
        raise DataError(f"{'; '.join(facts)}: use an encoder that has not seen them, or --allow_overlap")
    return "; ".join(facts)


def _classes(truth: Truth, phases: list[str]) -> dict[str, int]:
    """Number of classes of each head that has training labels.

    Raises:
        DataError: no head has any.
    """
    sizes = {"phase": len(phases), **{part: len(names) for part, names in PARTS.items()}}
    classes = {head: sizes[head] for head in HEADS if (truth[head] >= 0).any()}
    if not classes:
        raise DataError("no training video has phases or triplets: check the manifest")
    return classes


def _probed_clips(
    train_set: "ProbeData",
    eval_set: "ProbeData",
    table: Manifest,
    phases: list[str],
    how: str,
    rate_fps: float,
    seed: int,
) -> ProbedClips:
    """What is scored; the constant baseline predicts the most frequent phase of the training clips."""
    known = train_set.truth["phase"][train_set.truth["phase"] >= 0]
    split = table.videos[0].split
    sources = " and ".join(sorted({row.source for row in table.videos}))
    return ProbedClips(
        video_ids=eval_set.video_ids,
        times_s=eval_set.times_s,
        truth=eval_set.truth,
        phase_names=phases,
        majority=int(np.bincount(known).argmax()) if len(known) else 0,
        protocol=f"{split} split of {sources}, {how}",
        rate_fps=rate_fps,
        seed=seed,
    )
