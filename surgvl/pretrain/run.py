"""The `pretrain` command: a manifest in, a run folder with a video encoder out."""

from collections.abc import Callable
from pathlib import Path

import torch

import surgvl.pretrain
from surgvl.data.augment import Augment
from surgvl.data.clips import PretrainClips, collate
from surgvl.data.manifest import Manifest
from surgvl.io import prepare_out, write_run
from surgvl.models.folder import Preprocess, save_model
from surgvl.models.video_vit import VideoViT
from surgvl.plugins import discover
from surgvl.pretrain.base import Recipe
from surgvl.pretrain.surgrec_mae import SurgRecMAE
from surgvl.settings import Optim, Run
from surgvl.stage import clip_source, device_name, report, split_ids
from surgvl.train import fit

# Recipes go by their class names on the command line once their files are imported.
discover(surgvl.pretrain, Recipe)


def pretrain(
    manifest: Path,
    out: Path,
    encoder: VideoViT,
    objective: Callable[[VideoViT], Recipe] = SurgRecMAE,
    fps: float = 4.0,
    crop: str = "none",
    split: str = "train",
    store: Path | None = None,
    optim: Optim = Optim(lr=1.5e-3),  # noqa: B008 (frozen)
    run: Run = Run(),  # noqa: B008 (frozen)
    resume: bool = False,
) -> Path:
    """Train a video encoder from video alone.

    Args:
        manifest: manifest folder (surgvl data convert).
        out: run folder to write.
        encoder: the encoder to train.
        objective: the recipe: a class of surgvl.pretrain, or a dotted path to your own.
        fps: frames per second of a clip.
        crop: none, or content to cut black borders and bound a round content area.
        split: the split to train on; all videos where it is empty.
        store: folder for decoded frames, so that a video is decoded once; none: decode at each use.
        optim: optimiser.
        run: length and place of the run.
        resume: go on in a folder that is not empty.
    """
    prepare_out(out, resume)
    table = Manifest.load(manifest)
    ids = split_ids(table, split)
    preprocess = Preprocess(num_frames=encoder.num_frames, fps=fps, size_px=encoder.size_px, crop=crop)
    source, good = clip_source(table, ids, preprocess, store)
    write_run(out, {}, run.seed, device_name(), table.hash, good, problems=source.problems)
    data = PretrainClips(source, good, encoder.num_frames, run.seed)
    torch.manual_seed(run.seed)
    recipe = objective(encoder)
    fit(recipe, data, collate, out, optim, run, Augment(flip=True), name="pretrain")
    save_model(recipe.encoder, out / "model", preprocess)
    print(f"encoder in {out / 'model'}; next: surgvl align --manifest {manifest} --encoder {out} --out dual")
    report(list(source.problems.values()), len(ids))
    return out
