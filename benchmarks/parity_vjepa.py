"""The training program of V-JEPA 2, run from a clone of its repository, for `parity.py`; see `parity_peers.py`."""

import importlib
import tempfile
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from parity_clone import Losses, imported, our_encoder, renamed
from parity_peers import (
    BATCH,
    DECAY,
    DEPTH,
    DIM,
    EPOCHS,
    FRAMES,
    HEADS,
    NARROW,
    NARROW_HEADS,
    NORM,
    OUR_SIZE,
    PATCH_PX,
    SIZE_PX,
    TUBELET,
    Peer,
    decayed,
    normalised,
)
from torch import Tensor

from surgvl.pretrain.vjepa import VJEPA
from surgvl.train.config import Optim


def vjepa(clone: Path, video: Tensor, steps: int, moving: bool) -> Peer:
    """V-JEPA 2: its program (`app/vjepa/train.py`), with its masks and without its reader of videos.

    Args:
        clone: the repository.
        video: all clips.
        steps: optimizer steps.
        moving: schedules as V-JEPA 1 had them, of rate, decay and average; else as V-JEPA 2 has them, constant after
            the warm-up.
    """
    lr, lowest, warm, scale = 1e-3, 1e-6 if moving else 1e-3, 2, 1.25
    decay, final_decay = 0.04 * DECAY, (0.4 if moving else 0.04) * DECAY
    momenta = (0.998, 1.0) if moving else (0.99925, 0.99925)
    losses = Losses()
    masks, states, optimizers = list[Any](), list[dict[str, Tensor]](), list[torch.optim.Optimizer]()

    def data(collator: Any, **_: Any) -> tuple[Any, Any]:
        batches = []
        for clips in torch.split(normalised(video), BATCH):
            batches.append(collator([([clip], 0, [np.arange(FRAMES)]) for clip in clips]))
            _, keeps, hides = batches[-1][0]
            masks.append(list(zip(keeps, hides, strict=True)))
        return batches, mock.MagicMock()

    with imported(clone, {"app": "app", "src": "src"}), tempfile.TemporaryDirectory() as folder:
        program: Any = importlib.import_module("app.vjepa.train")
        transformers: Any = importlib.import_module("src.models.vision_transformer")
        transformers.tiny = partial(
            transformers.VisionTransformer, embed_dim=DIM, depth=DEPTH, num_heads=HEADS, norm_layer=NORM
        )
        build, prepare = program.init_video_model, program.init_opt

        def built(**options: Any) -> Any:
            models = build(**options)
            states.extend({name: value.clone() for name, value in each.state_dict().items()} for each in models)
            return models

        def prepared(**options: Any) -> Any:
            made = prepare(**options)
            optimizers.append(made[0])
            return made

        program.init_opt = prepared
        program.init_video_model, program.init_data, program.make_transforms = built, data, mock.MagicMock()
        program.DistributedDataParallel = lambda module, **_: module
        program.CSVLogger = lambda *_: losses
        block = {"aspect_ratio": (0.75, 1.5), "temporal_scale": (1.0, 1.0)}
        program.main(
            {
                "folder": folder,
                "meta": {"dtype": "float32", "seed": 0},
                "mask": [
                    {**block, "num_blocks": 8, "spatial_scale": (0.15, 0.15)},
                    {**block, "num_blocks": 2, "spatial_scale": (0.7, 0.7)},
                ],
                "model": {
                    "model_name": "tiny",
                    "pred_depth": 2,
                    "pred_num_heads": NARROW_HEADS,
                    "pred_embed_dim": NARROW,
                    "uniform_power": True,
                    "use_mask_tokens": True,
                    "use_rope": True,
                },
                "data": {
                    "dataset_fpcs": [FRAMES],
                    "batch_size": BATCH,
                    "crop_size": SIZE_PX,
                    "patch_size": PATCH_PX,
                    "tubelet_size": TUBELET,
                },
                "data_aug": {},
                "loss": {"loss_exp": 1.0},
                "optimization": {
                    "ema": momenta,
                    "epochs": EPOCHS,
                    "ipe": steps // EPOCHS,
                    "ipe_scale": scale,
                    "lr": lr,
                    "start_lr": 0.19 * lr,
                    "final_lr": lowest,
                    "warmup": warm,
                    "weight_decay": decay,
                    "final_weight_decay": final_decay,
                },
            }
        )
    recipe = VJEPA(
        our_encoder(states[0], **OUR_SIZE),
        shared_mask_token=True,
        predictor_dim=NARROW,
        predictor_depth=2,
        predictor_heads=NARROW_HEADS,
        momentum=momenta[0],
        final_momentum=momenta[1],
    )
    names = {"embed.": "down.", "blocks.": "blocks.", "norm.": "norm.", "proj.": "up."}
    found = renamed(states[1], {f"backbone.predictor_{old}": new for old, new in names.items()})
    recipe.predictor.load_state_dict({**found, "mask_tokens": states[1]["backbone.mask_tokens.0"].flatten(0, 1)})
    optim = Optim(
        lr=lr,
        schedule="cosine" if moving else "constant",
        min_lr_ratio=lowest / lr,
        warmup=warm / EPOCHS,
        warmup_start=0.19,
        weight_decay=decay,
        final_weight_decay=final_decay,
        schedule_scale=scale,
        beta2=0.999,
        counting="from_one",
        clip_norm=0,
    )
    return Peer(losses, decayed(optimizers[0]), recipe, masks, optim)
