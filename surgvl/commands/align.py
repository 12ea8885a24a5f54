"""The `align` command: from an encoder and narrated video to a run folder with a video-text model."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from surgvl.commands.common import device_name, split_store
from surgvl.core.errors import CheckpointError, ConfigError
from surgvl.core.files import command
from surgvl.core.invocation import recorded
from surgvl.core.run_folder import RunFolder
from surgvl.data.augment_config import AugmentConfig
from surgvl.data.frame_store import FrameStore
from surgvl.data.manifest import Manifest
from surgvl.models.model_info import find_model, pretraining_video_ids
from surgvl.train.config import Optim, Run

# Modules that import torch are imported where they are used, so that help and usage errors need none.
if TYPE_CHECKING:
    from surgvl.align.frozen_text import FrozenText
    from surgvl.data.clips import NarratedClips
    from surgvl.embed.features import Features
    from surgvl.models.text import TextTower
    from surgvl.models.vit import VideoViT


@recorded
def align(
    manifest: Path,
    encoder: Path,
    out: Path,
    text: str = "tiny",
    frozen_text: bool = False,
    dim: int = 128,
    adapt: Literal["frozen", "lora", "full"] = "frozen",
    frozen_encoder: bool = False,
    encoder_rate: float = 1.0,
    token_keep: float = 1.0,
    augment: bool = True,
    augmentation: AugmentConfig = AugmentConfig(),  # noqa: B008 (frozen)
    random_encoder: bool = False,
    split: str = "train",
    frame_cache: Path | None = None,
    optim: Optim = Optim(lr=1e-3),  # noqa: B008 (frozen)
    run: Run = Run(batch=48),  # noqa: B008 (frozen)
    resume: bool = False,
) -> Path:
    """Align video with sentences in one embedding space, by contrastive learning.

    Args:
        manifest: manifest folder with narration.
        encoder: run folder or model folder of a video encoder; or a published video-text model (surgvl models list),
            which is trained further with its own text tower.
        out: run folder to write.
        text: text tower: tiny; minilm, a pretrained one for --frozen_text (pip install 'surgvl[minilm]');
            open_clip:NAME[@PRETRAINED] or hf:FOLDER_OR_ID.
        frozen_text: train only the projection of a pretrained text tower, so that search understands words that no
            narrator used.
        dim: width of the shared space.
        adapt: what of a published model is trained: frozen, a pooling over the vectors of a clip's frames; lora,
            low-rank updates of both towers; full, all of it.
        frozen_encoder: train only the pooling, the projection and the text tower.
        encoder_rate: learning rate of the video encoder as a multiple of that of the rest.
        token_keep: fraction of a clip's tokens to encode in training, redrawn at each step (arXiv 2212.00794).
        augment: vary brightness, color, position and time of the clips; without it, clips are centred on whole seconds,
            and a frozen encoder encodes each only once.
        augmentation: what augment varies, besides time: crops, flips, shifts and colours.
        random_encoder: use the encoder's shape with random weights: the control that shows the gain of pretraining.
        split: split to train on.
        frame_cache: folder to cache decoded frames and the tokens of a frozen encoder in; by default, no cache.
        optim: optimizer.
        run: length and devices of the run.
        resume: continue in an --out folder that is not empty.
    """
    import torch

    from surgvl.align.adapt import Adaptation, FrameVectors
    from surgvl.align.adapt import adapt as adapted
    from surgvl.align.clip import ClipAlign
    from surgvl.data.augment import Augment
    from surgvl.data.clips import NarratedClips, collate
    from surgvl.models.adapters.temporal import Temporal
    from surgvl.models.checkpoint import load_model, save_model
    from surgvl.models.dual_encoder import DualEncoder
    from surgvl.models.text import build_text
    from surgvl.models.video_text import VideoText
    from surgvl.models.vit import VideoViT
    from surgvl.train.distributed import main_process
    from surgvl.train.loop import fit

    with RunFolder(out, resume, seed=run.seed, device=device_name(), writes=main_process()) as folder:
        table = Manifest.load(manifest)
        model, preprocess = load_model(encoder)
        torch.manual_seed(run.seed)
        objective: ClipAlign | Adaptation
        if isinstance(model, VideoText) and not isinstance(model, DualEncoder):
            given = {
                "--random_encoder": random_encoder,
                "--frozen_encoder": frozen_encoder,
                "--encoder_rate": encoder_rate != 1,
                "--token_keep": token_keep != 1,
                "--text": text != "tiny",
                "--frozen_text": frozen_text,
            }
            if wrong := [flag for flag, is_given in given.items() if is_given]:
                raise ConfigError(
                    f"{' and '.join(wrong)} cannot be given with {encoder}, which has towers of its own: leave it out, "
                    "and choose by --adapt what of them is trained"
                )
            dual, tuned = adapted(model, adapt, find_model(encoder), preprocess.num_frames)
            frozen_encoder, augment = adapt == "frozen", augment and adapt != "frozen"
            objective = Adaptation(dual)
        elif isinstance(model, VideoViT):
            if frozen_text:
                _check_pretrained(text)
            tower, tuned = VideoViT(model.config) if random_encoder else model, None
            dual = DualEncoder(tower, build_text(text, dim), dim)
            ready = _frozen_text(dual.text, table.split(split)) if frozen_text else None
            objective = ClipAlign(dual, frozen_encoder, encoder_rate, token_keep, ready)
        else:
            raise CheckpointError(
                f"{encoder} holds a {type(model).__name__}, not a video encoder: give a pretrain run folder, or the "
                "name of a published model"
            )
        read = preprocess
        if augment and augmentation.read_px:
            read = replace(preprocess, size_px=augmentation.read_px)
        own_aspect = preprocess.geometry == "fit"
        if own_aspect and augment and augmentation.crop != "none":
            raise ConfigError(
                f"--augmentation.crop must be none for {encoder}, which takes frames at their own aspect ratio, got "
                f"{augmentation.crop!r}"
            )
        store, good = split_store(folder, table, split, read, frame_cache, augment and augmentation.per_video)
        _check_shapes({store.shape(video_id) for video_id in good}, run, encoder)
        data = NarratedClips(store, table, good, run.seed, seconds=not augment)
        trainable = sum(p.numel() for p in objective.parameters() if p.requires_grad)
        before = [] if random_encoder else pretraining_video_ids(encoder)
        folder.record(
            table.hash,
            [*before, *table.qualified(good)],
            frozen=frozen_encoder,
            num_trainable=trainable,
            random_encoder=random_encoder,
            text=text,
            frozen_text=frozen_text,
        )
        if isinstance(dual, Temporal):
            data.tokens = vectors = FrameVectors(dual, store, data.clips())
            store.problems.update(vectors.problems)
        elif frozen_encoder and isinstance(dual, DualEncoder):
            data.tokens = _tokens(dual.encoder, store, data, (frame_cache or out) / "features", augment, token_keep)
        changed = Augment(augmentation, None if own_aspect else preprocess.size_px) if augment else None
        store.problems.update(fit(objective, data, collate, out, optim, run, changed, name="align"))
        if main_process():
            if frame_cache is None:
                shutil.rmtree(out / "features", ignore_errors=True)
            if tuned is not None:
                tuned.merge_and_unload()
            save_model(dual, folder.model, preprocess)
            folder.next(f"model in {folder.model}", command("embed", model=out, manifest=manifest, out="vectors"))
    return out


def _check_pretrained(name: str) -> None:
    """A text tower that stays as it is has weights.

    Raises:
        ConfigError: the tower of that name has random ones.
    """
    if name == "tiny" or (name.startswith("open_clip:") and "@" not in name):
        raise ConfigError(
            f"--frozen_text needs a pretrained text tower, and --text {name} has random weights: give minilm, "
            "hf:FOLDER_OR_ID or open_clip:NAME@PRETRAINED, or leave it out"
        )


def _frozen_text(tower: "TextTower", table: Manifest) -> "FrozenText":
    """The output of a pretrained text tower for the narration of a manifest."""
    from surgvl.align.frozen_text import FrozenText

    return FrozenText(tower, [row.label for row in table.segments if row.task == "narration"])


def _check_shapes(found: set[tuple[int, int]], run: Run, encoder: Path) -> None:
    """Clips of a micro-batch are of one shape; given are the heights and widths of the videos' frames.

    Raises:
        ConfigError: the model takes frames at their own aspect ratio, and the videos have several.
    """
    if len(found) > 1 and run.batch > run.accumulate * run.devices * run.nodes:
        (height, width), *_, (other_height, other_width) = sorted(found)
        raise ConfigError(
            f"{encoder} takes frames at their own aspect ratio, and the videos have several ({width}x{height} and "
            f"{other_width}x{other_height} px): give --run.accumulate {run.batch // (run.devices * run.nodes)}, one "
            "clip at a time, or videos of one aspect ratio"
        )


def _tokens(
    encoder: "VideoViT", store: FrameStore, data: "NarratedClips", folder: Path, augment: bool, token_keep: float
) -> "Features | None":
    """Tokens of all clips from a frozen encoder; None, with the reason printed, if each step must encode its clips."""
    from surgvl.embed.features import Features

    features = Features(encoder, store, folder)
    if augment or token_keep < 1:
        fact = "the clips are augmented (--augment false)" if augment else f"--token_keep is {token_keep:g}"
        print(f"the frozen encoder encodes each clip again at each step, because {fact}")
        return None
    if not features.fits(data.clips()):
        size_gb = features.num_bytes(data.clips()) / 1e9
        fact = f"its tokens would take {size_gb:.1f} GB, over half of the free disk space"
        print(f"the frozen encoder encodes each clip again at each step, because {fact}")
        return None
    features.add(data.clips())
    return features
