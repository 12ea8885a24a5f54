"""Weights of public video encoders into ours, and ours out under transformers' names.

Strict: every number of the encoder is loaded and every name in the file is accounted for, or loading stops; the parts
that other models add (decoders, predictors, heads) are listed in `models.weight_layouts`. Geometry is read from shapes;
what shapes do not tell (heads, epsilon, frame size) comes from a `config.json` beside the weights or from what the
authors' code uses. A learned or unknown position table is refused.
Shapes: D width, t tubelet length, p patch side, grid (T', H', W').
"""

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from surgvl.core.errors import CheckpointError, ConfigError
from surgvl.models.checkpoint import load_model
from surgvl.models.checkpoints.io import Hints, download, hints_of, read_weights
from surgvl.models.checkpoints.key_maps import Found, Weights, pick, translate
from surgvl.models.foreign import check_finite
from surgvl.models.schema import read_checked
from surgvl.models.vit import IMAGENET_MEAN, IMAGENET_STD, VideoViT

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

    Frame size and count may differ from those of the checkpoint: tables are computed anew (VideoMAE) or interpolated
    where the authors' code does so (V-JEPA, SurgVISTA); rotations fit any. An image transformer is inflated: its kernel
    is spread over two frames, its class token and its own positions are left out, `sincos_3d` stands in for them.

    Args:
        source: a file (.safetensors, .pt, .pth, .bin), a transformers folder, one of our model or run folders, or
            `hf:OWNER/NAME[/FILE][@REVISION]`.
        size_px: side of the frames; None: as the checkpoint says, or 256 for V-JEPA 2 and 224 for others.
        num_frames: frames of a clip; None: as the checkpoint says, or 64 for V-JEPA 2 and 16 for others.
        heads: attention heads; None: as the checkpoint says, or as the published model of this width.
        partial: load what fits and print what does not.

    Raises:
        CheckpointError: no such file, a damaged one, an unknown layout, weights that do not fit to the letter, an
            unknown position table, or a width that does not tell the number of heads.
        ConfigError: frames that the patches or tubelets do not divide.
    """
    path = download(source.removeprefix("hf:")) if source.startswith("hf:") else Path(source)
    if path.is_dir() and (own := _own(path)) is not None:
        if heads not in (None, own.heads):
            raise CheckpointError(f"{source} has {own.heads} heads and heads={heads} was asked for: leave heads out")
        return regrid(own, size_px, num_frames).eval()
    hints = hints_of(path) if path.is_dir() else Hints()
    found = translate(pick(read_weights(path), source), source)
    if heads is None:
        heads = hints.heads or usual_heads(found, source)
    encoder = _build(found, hints, source, size_px, num_frames, heads, partial)
    check_finite(found.weights, source)
    _fill(encoder, found, source, partial)
    return encoder.eval()


def usual_heads(found: Found, source: str) -> int:
    """Heads of the published model of this width: 64 channels each, but for large, huge and giant.

    The giants differ: V-JEPA 2's has 22 heads, VideoMAE V2's 16.

    Raises:
        CheckpointError: the width is none that heads of 64 channels fill.
    """
    dim = len(found.weights["embed.weight"])
    if dim == 1408:
        return 22 if found.position == "rope" else 16
    if dim in (1024, 1280):
        return 16
    if dim % 64:
        raise CheckpointError(f"{source} has the width {dim}, which does not tell the number of heads: give heads")
    return dim // 64


def exact_ratio(hidden: int, dim: int) -> float:
    """The perceptron ratio that gives `hidden` back when it is multiplied and cut, as blocks do."""
    ratio = hidden / dim
    return ratio if int(dim * ratio) == hidden else math.nextafter(ratio, math.inf)


def _build(
    found: Found, hints: Hints, source: str, size_px: int | None, num_frames: int | None, heads: int, partial: bool
) -> VideoViT:
    """An untrained encoder of the checkpoint's geometry."""
    kernel = found.weights["embed.weight"]
    tubelet = INFLATED_TUBELET if found.image else kernel.shape[2]
    patch_px, dim = kernel.shape[-1], kernel.shape[0]
    hidden = found.hidden(source)
    if found.table is not None and found.grid is None and not partial:
        raise CheckpointError(
            f"{source} has a position table of {tuple(found.table.shape)} that is neither V-JEPA's nor SurgVISTA's: "
            "it may be learned, and ours are fixed; partial=True takes ours in its place"
        )
    slots, side, _ = found.grid or (None, None, None)
    size_px = size_px or (side and side * patch_px) or hints.size_px or (256 if found.position == "rope" else 224)
    num_frames = (
        num_frames or (slots and slots * tubelet) or hints.num_frames or (64 if found.position == "rope" else 16)
    )
    grid = (num_frames // tubelet, size_px // patch_px, size_px // patch_px)
    return VideoViT(
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


def _fill(encoder: VideoViT, found: Found, source: str, partial: bool) -> None:
    """Copy the weights, strictly unless `partial`."""
    weights, own = dict(found.weights), encoder.state_dict()
    kernel = weights["embed.weight"]
    if found.image:
        kernel = inflate(kernel, encoder.tubelet)
        print(
            f"{source}: an image model; its kernel is spread over {encoder.tubelet} frames, and its class token and "
            "positions are left out"
        )
    weights["embed.weight"] = kernel.flatten(1)
    missing = [name for name in own if name not in weights]
    extra = found.left + [name for name in weights if name not in own]
    odd = [name for name, value in weights.items() if name in own and own[name].shape != value.shape]
    if missing or extra or odd:
        shapes = [f"{name} {tuple(weights[name].shape)} for {tuple(own[name].shape)}" for name in odd[:3]]
        problem = (
            f"{source} ({found.layout}) does not fit: {len(missing)} missing {missing[:3]}, {len(extra)} left over "
            f"{extra[:3]}, {len(odd)} of another shape {shapes}"
        )
        if not partial:
            raise CheckpointError(f"{problem}: give the whole checkpoint; partial=True takes what fits")
        print(problem)
    encoder.load_state_dict({name: weights[name] for name in own if name in weights and name not in odd}, strict=False)


def _own(folder: Path) -> VideoViT | None:
    """The encoder of one of our model or run folders; None where the folder is none of ours."""
    for candidate in (folder, folder / "model"):
        if (candidate / "config.json").is_file():
            kind = read_checked(candidate / "config.json", dict[str, Any]).get("model_type", "")
            if str(kind).startswith("surgvl_"):
                model, _ = load_model(candidate)
                return model if isinstance(model, VideoViT) else model.encoder
    return None


def regrid(encoder: VideoViT, size_px: int | None = None, num_frames: int | None = None) -> VideoViT:
    """An encoder with the same weights for frames of another size or number; itself where nothing changes.

    Tables are interpolated where the authors' code does so; see `models.position.stretch`.
    """
    config: dict[str, Any] = dict(encoder.config)
    config["size_px"] = size_px or encoder.size_px
    config["num_frames"] = num_frames or encoder.num_frames
    if config == encoder.config:
        return encoder
    if encoder.position_kind in ("vjepa", "sincos_3d"):
        config["table_grid"] = config["table_grid"] or list(encoder.grid)
    moved = VideoViT(**config)
    moved.load_state_dict(encoder.state_dict())
    return moved.train(encoder.training)


def inflate(weight: Tensor, tubelet: int) -> Tensor:
    """Kernel of an image's patches [D, 3, p, p] -> of a clip's tubelets [D, 3, t, p, p].

    Each frame gets the kernel divided by t (Carreira and Zisserman, arXiv 1705.07750), so that a clip that stands still
    has the tokens of its picture.
    """
    return weight[:, :, None].expand(-1, -1, tubelet, -1, -1) / tubelet


def to_videomae(encoder: VideoViT) -> Weights:
    """State dict for transformers' `VideoMAEModel` of the same geometry, its version 5's names.

    Its configuration needs `layer_norm_eps` of the encoder's eps, `qv_bias` where there are biases, and
    `use_mean_pooling` where there is no final norm. A bias of keys is left out: it adds the same number to all weights
    of a query, which the softmax takes away.

    Raises:
        ConfigError: the positions are not the sinusoid, the only ones that model has.
    """
    _same_positions(encoder, "sinusoid", "VideoMAEModel")
    names = {
        "embed": "embeddings.patch_embeddings.projection",
        "norm": "layernorm",
        "norm1": "layernorm_before",
        "norm2": "layernorm_after",
        "attn.proj": "attention.output.dense",
        "attn": "attention.attention",
        "mlp.0": "intermediate.dense",
        "mlp.2": "output.dense",
    }
    out = _export(encoder, names, "encoder.layer.")
    return {name: value for name, value in out.items() if not name.endswith(".key.bias")}


def to_vjepa2(encoder: VideoViT) -> Weights:
    """State dict for the encoder in transformers' `VJEPA2Model` of the same geometry; its predictor is not included.

    Where the encoder has no bias of keys it is zero there; where it has none at all, the configuration needs `qkv_bias`
    off.

    Raises:
        ConfigError: positions other than V-JEPA 2's rotation, or no final norm.
    """
    _same_positions(encoder, "rope", "VJEPA2Model")
    if not isinstance(encoder.norm, torch.nn.LayerNorm):
        raise ConfigError("the encoder has no final norm and VJEPA2Model has one: export another encoder")
    names = {
        "embed": "encoder.embeddings.patch_embeddings.proj",
        "norm": "encoder.layernorm",
        "norm1": "norm1",
        "norm2": "norm2",
        "attn.proj": "attention.proj",
        "attn": "attention",
        "mlp.0": "mlp.fc1",
        "mlp.2": "mlp.fc2",
    }
    return _export(encoder, names, "encoder.layer.")


def _same_positions(encoder: VideoViT, kind: str, model: str) -> None:
    """Refuse to export to a model that would put the tokens elsewhere."""
    if encoder.position_kind != kind:
        raise ConfigError(f"position={encoder.position_kind!r}, and {model} knows {kind} alone: export another encoder")


def _export(encoder: VideoViT, names: dict[str, str], blocks: str) -> Weights:
    """Our state dict under other names, with separate queries, keys and values; a missing bias of keys is zero."""
    t, p = encoder.tubelet, encoder.patch_px
    out: Weights = {}
    for name, value in encoder.state_dict().items():
        start, _, rest = name.partition(".")
        number, _, inner = rest.partition(".")
        if start != "blocks":
            out[f"{names[start]}.{rest}"] = value.unflatten(1, (3, t, p, p)) if name == "embed.weight" else value
            continue
        part, _, kind = inner.rpartition(".")
        to = f"{blocks}{number}."
        if part == "attn.qkv":
            for word, third in zip(("query", "key", "value"), value.chunk(3), strict=True):
                out[f"{to}{names['attn']}.{word}.{kind}"] = third
        elif kind in ("q_bias", "v_bias"):
            word = "query" if kind == "q_bias" else "value"
            out[f"{to}{names['attn']}.{word}.bias"] = value
            out[f"{to}{names['attn']}.key.bias"] = torch.zeros_like(value)
        else:
            out[f"{to}{names[part]}.{kind}"] = value
    return out
