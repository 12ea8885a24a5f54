"""The training loops of SurgVISTA and VideoMAE V2, run from clones of their repositories, for `parity.py`.

Each function builds a tiny model by the repository's code, trains it by the repository's own loop on a CPU in float32,
and returns the losses together with our recipe, which holds the same initial weights. Nothing of a repository is
copied: it is imported from the clone, and what a CPU cannot do or a tiny run does not need (synchronising a GPU,
loggers) is replaced while the loop runs.
Shapes: B clips, T frames, H = W pixels, N tokens, K visible, M hidden.
"""

import importlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from parity_clone import Losses, imported, load_decoder, our_encoder, reseed
from torch import Tensor, nn

from surgvl.models.vit_config import IMAGENET_MEAN, IMAGENET_STD
from surgvl.pretrain.base import Recipe
from surgvl.pretrain.surgvista import SurgVISTA
from surgvl.pretrain.videomae import VideoMAE
from surgvl.train.config import Optim

SIZE_PX, FRAMES, PATCH_PX, TUBELET, BATCH = 64, 8, 8, 2, 4
GRID = (FRAMES // TUBELET, SIZE_PX // PATCH_PX, SIZE_PX // PATCH_PX)
DIM, DEPTH, HEADS, NARROW, NARROW_HEADS = 64, 3, 4, 48, 3
# Schedules of the repositories count in epochs.
EPOCHS = 10
# Times the released weight decay, so that few steps show it.
DECAY = 20
NORM = partial(nn.LayerNorm, eps=1e-6)
# Arguments that the models of SurgVISTA and VideoMAE V2 have in common.
VIDEOMAE = {
    "img_size": SIZE_PX,
    "patch_size": PATCH_PX,
    "tubelet_size": TUBELET,
    "encoder_embed_dim": DIM,
    "encoder_depth": DEPTH,
    "encoder_num_heads": HEADS,
    "decoder_num_classes": 3 * TUBELET * PATCH_PX**2,
    "decoder_embed_dim": NARROW,
    "decoder_num_heads": NARROW_HEADS,
    "qkv_bias": True,
    "norm_layer": NORM,
}
ADAMW = SimpleNamespace(opt="adamw", lr=1e-3, weight_decay=0.05 * DECAY, opt_eps=1e-8, opt_betas=(0.9, 0.95))
OUR_SIZE = {"size_px": SIZE_PX, "num_frames": FRAMES, "heads": HEADS}
OUR_DECODER: dict[str, Any] = {"decoder_dim": NARROW, "decoder_heads": NARROW_HEADS}

Mask = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Peer:
    """What a repository's loop did.

    Args:
        losses: of each step.
        decayed: number of weights that decay.
        recipe: ours, with the initial weights of theirs.
        masks: what ours is to return for the mask of each step.
        optim: our settings that stand for theirs.
    """

    losses: list[float]
    decayed: int
    recipe: Recipe
    masks: Sequence[Any]
    optim: Optim


def normalised(video: Tensor) -> Tensor:
    """Clips uint8 [B, 3, T, H, W] as the repositories' transforms give them."""
    mean, std = (torch.tensor(each).view(3, 1, 1, 1) for each in (IMAGENET_MEAN, IMAGENET_STD))
    return (video / 255 - mean) / std


def split(hidden: Tensor) -> Mask:
    """Indices of visible and of hidden tokens of bool [B, N], the same number in each row: int64 [B, K] and [B, M]."""
    return tuple(each.nonzero()[:, 1].view(len(hidden), -1) for each in (~hidden, hidden))  # type: ignore[return-value]


def tubes(generator: Any, steps: int) -> list[Tensor]:
    """Masks of each step by a repository's generator, bool [B, N]."""
    np.random.seed(0)  # noqa: NPY002 - the generators draw from it
    return [torch.from_numpy(np.stack([generator().flatten() for _ in range(BATCH)])).bool() for _ in range(steps)]


def decayed(optimizer: torch.optim.Optimizer) -> int:
    """Number of weights that an optimizer has trained with weight decay."""
    groups = [group["params"] for group in optimizer.param_groups if group["weight_decay"] > 0]
    return sum(weight.numel() for weights in groups for weight in weights if weight in optimizer.state)


def in_loop(tools: Any, losses: Losses, steps: int, lr: float, lowest: float, warm: int) -> dict[str, Any]:
    """Arguments that the loops of SurgVISTA and VideoMAE V2 have in common; `tools` is the repository's `utils`."""
    epoch = steps // EPOCHS
    return {
        "patch_size": PATCH_PX,
        "log_writer": losses,
        "start_steps": 0,
        "lr_schedule_values": tools.cosine_scheduler(lr, lowest, EPOCHS, epoch, warmup_epochs=warm),
        "wd_schedule_values": tools.cosine_scheduler(0.05 * DECAY, 0.05 * DECAY, EPOCHS, epoch),
    }


def mae_optim(lr: float, lowest: float, warm: int, clip_norm: float) -> Optim:
    """Our settings for VideoMAE's optimizer and schedules; `warm` in epochs."""
    return Optim(
        lr=lr,
        min_lr_ratio=lowest / lr,
        warmup=warm / EPOCHS,
        weight_decay=0.05 * DECAY,
        counting="from_zero",
        clip_norm=clip_norm,
    )


def surgvista(clone: Path, video: Tensor, steps: int) -> Peer:
    """SurgVISTA: its student, a random teacher, and its loop (`engine_for_pretraining_surgery.py`)."""
    lr, lowest, warm, drop = 1.2e-3, 8e-4, 2, 0.1
    torch.manual_seed(0)
    with imported(clone, {"pretrain_SurgMAEKD": "pretrain_SurgVISTA", "datasets": "datasets"}):
        engine = importlib.import_module("pretrain_SurgVISTA.engine_for_pretraining_surgery")
        students = importlib.import_module("pretrain_SurgVISTA.modeling_surgery_student")
        teachers = importlib.import_module("pretrain_SurgVISTA.modeling_surgery_teacher")
        tools = importlib.import_module("utils")
        generators = importlib.import_module("datasets.transforms.masking_generator")
        optimizers = importlib.import_module("datasets.transforms.optim_factory")
        student = students.PretrainMaskedVideoStudent(
            **VIDEOMAE,
            num_frames=FRAMES,
            decoder_depth_video=3,
            decoder_depth_image=2,
            feat_decoder_embed_dim=NARROW,
            feat_decoder_num_heads=NARROW_HEADS,
            target_feature_dim=128,
            drop_path_rate=drop,
        )
        teacher = teachers.MaskedAutoencoderViT(SIZE_PX, PATCH_PX, embed_dim=128, depth=2, num_heads=2, norm_layer=NORM)
        nn.init.normal_(teacher.pos_embed, std=0.02)
        reseed((student.patch_embed, student.decoder_vid, student.decoder_img), steps)
        state = {name: value.clone() for name, value in student.state_dict().items()}
        hidden = tubes(generators.TubeMaskingGenerator(GRID, 0.85), steps)
        theirs = torch.split(normalised(video), BATCH)
        optimizer = optimizers.create_optimizer(ADAMW, student)
        losses, scaler = Losses(), tools.NativeScalerWithGradNormCount()
        scaler.state_dict = lambda: {"scale": 1.0}  # without a GPU it has none, which the loop does not expect
        engine.train_one_epoch(
            SimpleNamespace(
                distillation_target_dim=128,
                distill_loss_func="SmoothL1",
                image_teacher_loss_weight=0.05,
                video_reconstruction_loss_weight=1.0,
                tubelet_size=TUBELET,
            ),
            student,
            list(zip(theirs, theirs, hidden, strict=True)),
            optimizer,
            torch.device("cpu"),
            0,
            scaler,
            max_norm=None,
            **in_loop(tools, losses, steps, lr, lowest, warm),
            update_freq=1,
            image_teacher_model=teacher,
        )
        with tempfile.TemporaryDirectory() as folder:
            torch.save(teacher.state_dict(), file := Path(folder) / "teacher.pth")
            recipe = SurgVISTA(
                our_encoder(state, **OUR_SIZE, drop_path=drop),
                f"endossl:{file}",
                pixel_depth=3,
                token_depth=2,
                **OUR_DECODER,
                drop_path=drop,
            )
    reseed((recipe.encoder, recipe.pixels, recipe.tokens), steps)
    for kind, decoder in (("vid", recipe.pixels), ("img", recipe.tokens)):
        load_decoder(decoder, state, f"down_{kind}.", f"mask_token_{kind}", f"decoder_{kind}.", pixels=kind == "vid")
    optim = mae_optim(lr, lowest, warm, 0)
    return Peer(losses, decayed(optimizer), recipe, [split(each) for each in hidden], optim)


def videomae(clone: Path, video: Tensor, steps: int) -> Peer:
    """VideoMAE V2: its model and its loop (`engine_for_pretraining.py`), with running cells in the decoder."""
    lr, lowest, warm, clip = 1.2e-3, 1e-5, 1, 0.02
    torch.manual_seed(0)
    with imported(clone, {"models": "models", "dataset": "dataset"}):
        engine = importlib.import_module("engine_for_pretraining")
        models = importlib.import_module("models.modeling_pretrain")
        tools = importlib.import_module("utils")
        generators = importlib.import_module("dataset.masking_generator")
        optimizers = importlib.import_module("optim_factory")
        model = models.PretrainVisionTransformer(**VIDEOMAE, all_frames=FRAMES, decoder_depth=2)
        state = {name: value.clone() for name, value in model.state_dict().items()}
        hidden = tubes(generators.TubeMaskingGenerator(GRID, 0.9), steps)
        left_out = tubes(generators.RunningCellMaskingGenerator(GRID, 0.5), steps)
        losses, optimizer = Losses(), optimizers.create_optimizer(ADAMW, model)
        engine.train_one_epoch(
            model,
            list(zip(torch.split(normalised(video), BATCH), hidden, left_out, strict=True)),
            optimizer,
            torch.device("cpu"),
            0,
            None,
            max_norm=clip,
            **in_loop(tools, losses, steps, lr, lowest, warm),
        )
    encoder = our_encoder(state, **OUR_SIZE)
    recipe = VideoMAE(encoder, 0.9, **OUR_DECODER, decoder_depth=2, decoder_ratio=0.5, cell_order="raster")
    load_decoder(recipe.decoder, state, "encoder_to_decoder.", "mask_token", "decoder.", pixels=True)
    optim = mae_optim(lr, lowest, warm, clip)
    masks = [(split(each)[0], split(cells)[0]) for each, cells in zip(hidden, left_out, strict=True)]
    return Peer(losses, decayed(optimizer), recipe, masks, optim)
