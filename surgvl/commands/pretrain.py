"""The `pretrain` command: from a manifest to a run folder with a video encoder."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import surgvl.pretrain
from surgvl.commands.common import device_name, split_store
from surgvl.core.errors import CheckpointError, ConfigError
from surgvl.core.files import command
from surgvl.core.invocation import Named, recorded
from surgvl.core.run_folder import RunFolder
from surgvl.data.augment_config import AugmentConfig
from surgvl.data.manifest import Manifest
from surgvl.data.sampler import ClipConfig
from surgvl.models.model_info import pretraining_video_ids
from surgvl.models.vit_config import ViTConfig
from surgvl.train.config import Optim, Run
from surgvl.video.clip import Anchor, Crop, Preprocess

# Modules that import torch are imported where they are used, so that help and usage errors need none. The command line
# resolves the type of `objective` by this block, once everything else that was typed fits.
if TYPE_CHECKING:
    from surgvl.models.vit import VideoViT
    from surgvl.pretrain.known import Recipe

Export = Literal["auto", "ema", "online"]


@recorded
def pretrain(
    encoder: ViTConfig = ViTConfig(),  # noqa: B008 (frozen)
    manifest: Path | None = None,
    out: Path | None = None,
    objective: "Callable[[VideoViT], Recipe]" = Named("surgvl.pretrain.surgrec_mae.SurgRecMAE"),  # type: ignore  # noqa: B008
    init: str = "",
    fps: float = 4.0,
    step_s: float = 1.0,
    anchor: Anchor = "centre",
    crop: Crop = "none",
    split: str = "train",
    frame_cache: Path | None = None,
    clip: ClipConfig = ClipConfig(),  # noqa: B008 (frozen)
    augmentation: AugmentConfig = AugmentConfig(flip=True),  # noqa: B008 (frozen)
    optim: Optim = Optim(lr=1.5e-3),  # noqa: B008 (frozen)
    run: Run = Run(),  # noqa: B008 (frozen)
    export: Export = "auto",
    dry_run: bool = False,
    dry_clips: int = 1_000_000,
    resume: bool = False,
) -> Path | None:
    """Train a video encoder without labels.

    Args:
        encoder: the encoder to train; its weights are drawn from run.seed (see init).
        manifest: manifest folder (surgvl data convert); required except for a dry run.
        out: run folder to write; required except for a dry run.
        objective: pretraining objective: a class of surgvl.pretrain, or a dotted path to your own.
        init: initial weights: a run folder, a file, or hf:ID of a public checkpoint that fits the encoder.
        fps: frames per second of a clip.
        step_s: seconds between the moments that clips stand for, which may be shorter than 1 / fps.
        anchor: frame of a clip that shows its moment: last (the clip shows the past only), centre or first.
        crop: none, or content to crop black borders and the surroundings of a round field of view.
        split: split to train on; empty for all videos.
        frame_cache: folder to cache decoded frames in, so that each video is decoded once; by default, no cache.
        clip: which clips are drawn, and which of their frames are shown.
        augmentation: how clips vary from draw to draw: crops, flips, shifts and colours.
        optim: optimizer.
        run: length and devices of the run.
        export: encoder to write: ema, the moving average of its weights (V-JEPA and its relatives); online, the one
            that gradients train; auto: ema if the recipe has one.
        dry_run: print tokens, memory, FLOPs and hours, without training.
        dry_clips: number of clips for which a dry run estimates the hours.
        resume: continue in an --out folder that is not empty.
    """
    import torch

    from surgvl.core.registry import choose
    from surgvl.data.augment import Augment
    from surgvl.data.clips import PretrainClips, collate
    from surgvl.models.checkpoint import save_model
    from surgvl.models.vit import VideoViT
    from surgvl.pretrain.base import Recipe
    from surgvl.pretrain.estimate import estimate
    from surgvl.train.distributed import main_process
    from surgvl.train.loop import fit

    torch.manual_seed(run.seed)
    model = VideoViT(encoder)
    torch.manual_seed(run.seed)
    recipe = (choose(surgvl.pretrain, Recipe, objective) if isinstance(objective, Named) else objective)(model)
    if dry_run:
        print(estimate(recipe, run, dry_clips, optim, read_px=augmentation.read_px).to_text())
        return None
    if manifest is None or out is None:
        raise ConfigError("--manifest and --out must be given, or --dry_run")
    exported = choose_export(recipe, export)
    if init:
        start(recipe, init)
    with RunFolder(out, resume, seed=run.seed, device=device_name(), writes=main_process()) as folder:
        table = Manifest.load(manifest)
        preprocess = Preprocess(
            num_frames=encoder.num_frames,
            size_px=encoder.size_px,
            fps=fps,
            step_s=step_s,
            anchor=anchor,
            crop=crop,
        )
        read = replace(preprocess, size_px=augmentation.read_px or encoder.size_px)
        store, good = split_store(folder, table, split, read, frame_cache, augmentation.per_video)
        seen = [*(pretraining_video_ids(Path(init)) if init else ()), *table.qualified(good)]
        folder.record(table.hash, seen, exported=exported)
        data = PretrainClips(store, good, run.seed, table, clip)
        augment = Augment(augmentation, encoder.size_px)
        store.problems.update(fit(recipe, data, collate, out, optim, run, augment, name="pretrain"))
        if main_process():
            save_model(recipe.exports()[exported], folder.model, preprocess)
            folder.next(f"encoder in {folder.model}", command("align", manifest=manifest, encoder=out, out="dual"))
    return out


def choose_export(recipe: "Recipe", export: Export) -> str:
    """The name in `recipe.exports()` of the encoder to write.

    Raises:
        ConfigError: the recipe has no such encoder.
    """
    known = recipe.exports()
    if export == "auto":
        return next(iter(known))
    if export not in known:
        raise ConfigError(f"--export {export}: {recipe.name} has no EMA of its encoder; use {', '.join(known)}")
    return export


def start(recipe: "Recipe", init: str) -> None:
    """Load weights into a recipe's encoder, and into its EMA if it has one.

    Raises:
        CheckpointError: the encoders differ in shape; the message names the first difference.
    """
    from surgvl.models.checkpoints.convert import load_encoder
    from surgvl.train.ema import EMA

    encoder = recipe.encoder
    config = encoder.config
    given = load_encoder(init, size_px=config.size_px, num_frames=config.num_frames, heads=config.heads)
    for what in ("patch_px", "tubelet", "dim", "depth", "heads", "mlp_ratio", "position", "qkv_bias"):
        have, want = vars(given.config)[what], vars(config)[what]
        if have != want and not (isinstance(have, float) and abs(have - float(str(want))) < 1e-3):
            raise CheckpointError(
                f"--encoder.{what} must be {have}, as in {init}, got {want}: change it, or give other weights"
            )
    encoder.load_state_dict(given.state_dict())
    for part in recipe.children():
        if isinstance(part, EMA):
            part.update(encoder, 0.0)
