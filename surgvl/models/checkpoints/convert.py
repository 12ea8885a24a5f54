"""Load public video encoders into `VideoViT`.

Strict: every weight of the encoder is loaded and every name in the file is accounted for, or loading stops; parts that
other models add (decoders, predictors, heads) are listed in `key_maps`. The geometry is inferred from shapes; the rest
(heads, epsilon, frame size) comes from a `config.json` next to the weights or from the authors' code. A
learned or unknown position table is refused.
Shapes: D width, t tubelet length, p patch side, grid (T', H', W').
"""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from surgvl.core.errors import CheckpointError
from surgvl.models.checkpoint import load_model, video_encoder
from surgvl.models.checkpoints.io import Hints, hints_of, read_weights
from surgvl.models.checkpoints.key_maps import EncoderCheckpoint, convert_keys, find_state_dict
from surgvl.models.foreign import check_finite
from surgvl.models.schema import read_checked
from surgvl.models.store import stored_hub
from surgvl.models.vit import VideoViT
from surgvl.models.vit_config import IMAGENET_MEAN, IMAGENET_STD, ViTConfig

# Frames of a tubelet that an image transformer's kernel is inflated to.
INFLATED_TUBELET = 2


def load_encoder(
    source: str,
    *,
    size_px: int | None = None,
    num_frames: int | None = None,
    heads: int | None = None,
    partial: bool = False,
) -> VideoViT:
    """An encoder with the weights of a checkpoint, in evaluation mode.

    Frame size and count may differ from those of the checkpoint: position tables are recomputed (VideoMAE) or
    interpolated as in the authors' code (V-JEPA, SurgVISTA); rotary embedding fits any. An image transformer is
    inflated: its kernel is spread over two frames, its class token is dropped, and `sincos_3d` replaces its positions.

    Args:
        source: a file (.safetensors, .pt, .pth, .bin), a transformers folder, one of our model or run folders, or
            `hf:OWNER/NAME[/FILE][@REVISION]`.
        size_px: side of the frames; None: as the checkpoint says, or 256 for V-JEPA 2 and 224 for others.
        num_frames: frames of a clip; None: as the checkpoint says, or 64 for V-JEPA 2 and 16 for others.
        heads: attention heads; None: as the checkpoint says, or as the published model of this width.
        partial: load what fits, and print what does not.

    Raises:
        CheckpointError: a missing or damaged file, an unknown layout, weights that do not fit exactly, an unknown
            position table, or a width from which the number of heads cannot be inferred.
        ConfigError: frames that patches or tubelets do not divide.
    """
    path = stored_hub(source) if source.startswith("hf:") else Path(source)
    if path.is_dir() and (own := _own(path)) is not None:
        if heads not in (None, own.config.heads):
            raise CheckpointError(f"heads must be {own.config.heads} for {source}, got {heads}: leave it out")
        return resize_encoder(own, size_px, num_frames).eval()
    hints = hints_of(path) if path.is_dir() else Hints()
    found = convert_keys(find_state_dict(read_weights(path), source), source)
    if heads is None:
        heads = hints.heads or usual_heads(found, source)
    encoder = _build(found, hints, source, size_px, num_frames, heads, partial)
    check_finite(found.weights, source)
    _fill(encoder, found, source, partial)
    return encoder.eval()


def usual_heads(found: EncoderCheckpoint, source: str) -> int:
    """Heads of the published model of this width: 64 channels each, except in large, huge and giant models.

    Giant models differ: V-JEPA 2's has 22 heads, VideoMAE V2's 16.

    Raises:
        CheckpointError: the width is not a multiple of 64.
    """
    dim = len(found.weights["embed.weight"])
    if dim == 1408:
        return 22 if found.position == "rope" else 16
    if dim in (1024, 1280):
        return 16
    if dim % 64:
        raise CheckpointError(f"{source}: the number of heads cannot be inferred from a width of {dim}: give heads")
    return dim // 64


def exact_ratio(hidden: int, dim: int) -> float:
    """The MLP ratio for which `int(dim * ratio)` is exactly `hidden`."""
    ratio = hidden / dim
    return ratio if int(dim * ratio) == hidden else math.nextafter(ratio, math.inf)


def _build(
    found: EncoderCheckpoint,
    hints: Hints,
    source: str,
    size_px: int | None,
    num_frames: int | None,
    heads: int,
    partial: bool,
) -> VideoViT:
    """An untrained encoder of the checkpoint's geometry."""
    kernel = found.weights["embed.weight"]
    tubelet = INFLATED_TUBELET if found.image else kernel.shape[2]
    patch_px, dim = kernel.shape[-1], kernel.shape[0]
    hidden = found.hidden(source)
    if found.table is not None and found.grid is None and not partial:
        raise CheckpointError(
            f"{source}: its position table {tuple(found.table.shape)} is neither V-JEPA's nor SurgVISTA's; it may "
            "be learned, and surgvl's are fixed: partial=True replaces it"
        )
    slots, side, _ = found.grid or (None, None, None)
    size_px = size_px or (side and side * patch_px) or hints.size_px or (256 if found.position == "rope" else 224)
    num_frames = (
        num_frames or (slots and slots * tubelet) or hints.num_frames or (64 if found.position == "rope" else 16)
    )
    grid = (num_frames // tubelet, size_px // patch_px, size_px // patch_px)
    config = ViTConfig(
        size_px=size_px,
        num_frames=num_frames,
        patch_px=patch_px,
        tubelet=tubelet,
        dim=dim,
        depth=found.depth,
        heads=heads,
        mlp_ratio=exact_ratio(hidden, dim),
        position=found.position,
        qkv_bias=found.qkv_bias,
        eps=hints.eps or 1e-6,
        mean=hints.mean or IMAGENET_MEAN,
        std=hints.std or IMAGENET_STD,
        final_norm=found.final_norm,
        table_grid=None if found.grid == grid else found.grid,
    )
    return VideoViT(config)


def _fill(encoder: VideoViT, found: EncoderCheckpoint, source: str, partial: bool) -> None:
    """Copy the weights, strictly unless `partial`."""
    weights, own = dict(found.weights), encoder.state_dict()
    kernel = weights["embed.weight"]
    if found.image:
        tubelet = encoder.config.tubelet
        kernel = inflate(kernel, tubelet)
        print(f"{source}: image model; kernel inflated to {tubelet} frames, class token and positions dropped")
    weights["embed.weight"] = kernel.flatten(1)
    missing = [name for name in own if name not in weights]
    extra = found.unexpected + [name for name in weights if name not in own]
    odd = [name for name, value in weights.items() if name in own and own[name].shape != value.shape]
    if missing or extra or odd:
        shapes = [f"{name} {tuple(weights[name].shape)} for {tuple(own[name].shape)}" for name in odd[:3]]
        problem = (
            f"{source} ({found.layout}) does not fit: {len(missing)} missing {missing[:3]}, {len(extra)} unexpected "
            f"{extra[:3]}, {len(odd)} of a different shape {shapes}"
        )
        if not partial:
            raise CheckpointError(f"{problem}: give the whole checkpoint; partial=True loads what fits")
        print(problem)
    encoder.load_state_dict({name: weights[name] for name in own if name in weights and name not in odd}, strict=False)


def _own(folder: Path) -> VideoViT | None:
    """The encoder of one of our model or run folders; None for any other folder."""
    for candidate in (folder, folder / "model"):
        if (candidate / "config.json").is_file():
            kind = read_checked(candidate / "config.json", dict[str, Any]).get("model_type", "")
            if str(kind).startswith("surgvl_"):
                model, _ = load_model(candidate)
                return video_encoder(model, folder)
    return None


def resize_encoder(encoder: VideoViT, size_px: int | None = None, num_frames: int | None = None) -> VideoViT:
    """An encoder with the same weights for another frame size or count; the same encoder if neither changes.

    Position tables are interpolated as in the authors' code; see `models.position.interpolate`.
    """
    old = encoder.config
    size_px, num_frames = size_px or old.size_px, num_frames or old.num_frames
    if (size_px, num_frames) == (old.size_px, old.num_frames):
        return encoder
    table_grid = (old.table_grid or old.grid) if old.position in ("vjepa", "sincos_3d") else old.table_grid
    resized = VideoViT(replace(old, size_px=size_px, num_frames=num_frames, table_grid=table_grid))
    resized.load_state_dict(encoder.state_dict())
    return resized.train(encoder.training)


def inflate(weight: Tensor, tubelet: int) -> Tensor:
    """Inflate an image patch kernel [D, 3, p, p] to tubelets [D, 3, t, p, p].

    Each frame gets the kernel divided by t (Carreira and Zisserman, arXiv 1705.07750), so that a clip of one repeated
    image has the image's tokens.
    """
    return weight[:, :, None].expand(-1, -1, tubelet, -1, -1) / tubelet
