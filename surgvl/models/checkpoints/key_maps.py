"""Key maps: the parameter names of public checkpoints, translated into ours.

Three naming schemes, told apart by the name of the patch embedding:

- original code: V-JEPA 2 and V-JEPA (arXiv 2506.09985, 2404.08471), VideoMAE and VideoMAE V2 (2203.12602, 2303.16727),
  SurgVISTA and MVD (2506.02692, 2212.04500), SurgRec (2603.29966), SurgMotion (2602.05638), and image transformers
  (EndoSSL, timm);
- transformers' VJEPA2Model, and the classifier around it;
- transformers' VideoMAEModel with the names of its versions 4 and 5, and the models around it.

Biases and the kind of position table are inferred from names and shapes.
Shapes: D width, t tubelet length, p patch side, N tokens in the grid (T', H', W').
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from surgvl.core.errors import CheckpointError
from surgvl.models.position import sincos_3d, vjepa_table
from surgvl.models.vit_config import Grid, Position, QKVBias

Weights = dict[str, Tensor]

# Keys of a training checkpoint that hold an encoder, in order of preference: the EMA before the model it averages.
STATE_DICT_KEYS = ("target_encoder", "encoder", "model", "module", "model_state", "state_dict")
WRAPPERS = re.compile(r"^(?:(?:module|_orig_mod|backbone)\.)+")
# Prefixes of decoders, predictors, heads and optimizers: never part of an encoder, so they are skipped.
SKIPPED_PREFIXES = (
    "predictor.", "predictor_", "mask_token", "decoder.", "decoder_", "encoder_to_decoder.", "down_img.", "down_vid.",
    "pos_embed_img", "pos_embed_vid", "head.", "fc_norm.", "classifier.", "pooler.", "optimizer", "opt.", "scaler",
)  # fmt: skip
# Class tokens, register tokens and positions of image models, which a video encoder does not have.
IMAGE_PREFIXES = ("cls_token", "reg_token", "pos_embed")

Renames = tuple[tuple[str, str], ...]
ORIGINAL: Renames = (
    (r"^patch_embed\.proj\.", "embed."),
    (r"\.mlp\.fc1\.", ".mlp.0."),
    (r"\.mlp\.fc2\.", ".mlp.2."),
)
VJEPA2: Renames = (
    (r"^encoder\.embeddings\.patch_embeddings\.proj\.", "embed."),
    (r"^encoder\.layer\.", "blocks."),
    (r"^encoder\.layernorm\.", "norm."),
    (r"\.attention\.(q|k|v)(?:uery|ey|alue)\.", r".attn.\1."),
    (r"\.attention\.proj\.", ".attn.proj."),
    (r"\.mlp\.fc1\.", ".mlp.0."),
    (r"\.mlp\.fc2\.", ".mlp.2."),
)
VIDEOMAE: Renames = (
    (r"^embeddings\.patch_embeddings\.projection\.", "embed."),
    (r"^encoder\.layer\.", "blocks."),
    (r"^layernorm\.", "norm."),
    (r"\.attention\.attention\.(q|k|v)(?:uery|ey|alue)\.", r".attn.\1."),
    (r"\.attention\.attention\.(q|v)_bias$", r".attn.\1.bias"),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.intermediate\.dense\.", ".mlp.0."),
    (r"\.output\.dense\.", ".mlp.2."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
)
FAMILIES = (
    ("transformers VideoMAE", "embeddings.patch_embeddings.projection.weight", VIDEOMAE),
    ("transformers V-JEPA 2", "encoder.embeddings.patch_embeddings.proj.weight", VJEPA2),
    ("original", "patch_embed.proj.weight", ORIGINAL),
)
# transformers' names imply the position embedding; the original code's names do not.
POSITIONS: dict[str, Position] = {"transformers VideoMAE": "sinusoid", "transformers V-JEPA 2": "rope"}


@dataclass(frozen=True, kw_only=True)
class EncoderCheckpoint:
    """The encoder in a checkpoint, under our names.

    Args:
        layout: name of its original naming scheme, for messages.
        weights: under our names; the patch embedding keeps its original shape.
        qkv_bias: as in `ViTConfig`.
        final_norm: False where output tokens are not layer-normed: classifiers norm their mean instead.
        position: kind of position embedding, as in `models.position`.
        table: stored position table, float32 [N, D]; None where there is none.
        grid: (T', H', W') of `table`; None where it is not one of ours.
        image_parts: class token and positions of an image model.
        unexpected: names that belong neither to an encoder nor to a known other part.
    """

    layout: str
    weights: Weights
    qkv_bias: QKVBias
    final_norm: bool
    position: Position
    table: Tensor | None
    grid: Grid | None
    image_parts: Weights
    unexpected: list[str]

    @property
    def image(self) -> bool:
        """Whether it is an image model: its patch embedding has no time axis."""
        return self.weights["embed.weight"].ndim == 4

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return 1 + max((int(name.split(".")[1]) for name in self.weights if name.startswith("blocks.")), default=-1)

    def hidden(self, source: str) -> int:
        """Hidden width of the MLPs.

        Raises:
            CheckpointError: the first block has none.
        """
        weight = self.weights.get("blocks.0.mlp.0.weight")
        if weight is None:
            raise CheckpointError(f"{source} has no MLP in blocks.0: give a whole checkpoint")
        return len(weight)


def find_state_dict(raw: Mapping[str, Any], source: str) -> Weights:
    """The encoder's state dict in a training checkpoint; see `STATE_DICT_KEYS`.

    Raises:
        CheckpointError: there is none.
    """
    for name in STATE_DICT_KEYS:
        inner = raw.get(name)
        if isinstance(inner, Mapping) and inner:
            return find_state_dict(inner, source)
    weights = {str(name): value for name, value in raw.items() if isinstance(value, Tensor)}
    if not weights:
        raise CheckpointError(f"{source} holds no weights, only {sorted(map(str, raw))[:5]}: give a model checkpoint")
    return weights


def convert_keys(raw: Weights, source: str) -> EncoderCheckpoint:
    """Rename an encoder's parameters to ours and infer its configuration.

    Args:
        raw: a state dict in any of the layouts.
        source: where it came from, for messages.

    Raises:
        CheckpointError: no patch embedding, or not one of square patches with three channels.
    """
    raw = {WRAPPERS.sub("", name): value for name, value in raw.items()}
    found = [
        (name.removesuffix(anchor), *family)
        for family in FAMILIES
        for name in raw
        if name == (anchor := family[1]) or name.endswith(f".{anchor}")
    ]
    if not found:
        raise CheckpointError(
            f"{source} has no patch embedding among its {len(raw)} names, such as {sorted(raw)[:3]}: "
            f"known layouts are V-JEPA, V-JEPA 2, VideoMAE, SurgVISTA, SurgRec, SurgMotion and image transformers"
        )
    # Of two encoders in a flat file, features are taken from the EMA.
    found.sort(key=lambda each: ("target_encoder" not in each[0], len(each[0])))
    prefix, layout, _, renames = found[0]
    others = tuple(each[0] for each in found[1:] if each[0])
    weights: Weights = {}
    unexpected: list[str] = []
    for name, value in raw.items():
        short = name.removeprefix(prefix)
        if short.startswith(SKIPPED_PREFIXES) or (others and name.startswith(others)):
            continue
        if not name.startswith(prefix):
            unexpected.append(name)
            continue
        for pattern, new in renames:
            short = re.sub(pattern, new, short)
        weights[short] = value
    _merge_qkv(weights)
    decodes = any(name.startswith("decoder.") for name in raw)
    pooled = any(name.endswith("fc_norm.weight") for name in raw) or (renames is VIDEOMAE and not decodes)
    return infer_config(layout, weights, unexpected, "norm.weight" in weights or not pooled, source)


def _merge_qkv(weights: Weights) -> None:
    """Concatenate separate query, key and value matrices, and their biases where all three have one."""
    for first in [name for name in weights if name.endswith(".attn.q.weight")]:
        start = first.removesuffix("q.weight")
        for kind in ("weight", "bias"):
            names = [f"{start}{part}.{kind}" for part in "qkv"]
            parts = [weights.get(name) for name in names]
            shapes = {None if part is None else part.shape for part in parts}
            if None not in shapes and len(shapes) == 1:
                weights[f"{start}qkv.{kind}"] = torch.cat([weights.pop(name) for name in names])
            elif kind == "bias" and parts[1] is None:
                for part in "qv":
                    if (bias := weights.pop(f"{start}{part}.bias", None)) is not None:
                        weights[f"{start}{part}_bias"] = bias


def infer_config(
    layout: str, weights: Weights, unexpected: list[str], final_norm: bool, source: str
) -> EncoderCheckpoint:
    """Infer biases, position embedding and norm from names and shapes."""
    kernel = weights["embed.weight"]
    if kernel.ndim not in (4, 5) or kernel.shape[1] != 3 or kernel.shape[-1] != kernel.shape[-2]:
        raise CheckpointError(
            f"{source}: the patch embedding must be (D, 3, t, p, p) or (D, 3, p, p), got {tuple(kernel.shape)}"
        )
    full = any(name.endswith(".attn.qkv.bias") for name in weights)
    partial = any(name.endswith(".attn.q_bias") for name in weights)
    extra: Weights = {}
    if kernel.ndim == 4:
        extra = {name: weights.pop(name) for name in list(weights) if name.startswith(IMAGE_PREFIXES)}
    table, grid = weights.pop("pos_embed", None), None
    position: Position
    if kernel.ndim == 4:
        layout, position = "image transformer", "sincos_3d"
    elif layout in POSITIONS:
        position = POSITIONS[layout]
    elif table is None:
        layout, position = ("V-JEPA 2", "rope") if full else ("VideoMAE", "sinusoid")
    elif table.shape[-1] != kernel.shape[0]:
        raise CheckpointError(
            f"{source}: positions {tuple(table.shape)} do not fit tokens of width {kernel.shape[0]}: give a whole file"
        )
    else:
        layout, position = ("V-JEPA", "vjepa") if full else ("SurgVISTA", "sincos_3d")
        table = table.float().reshape(-1, kernel.shape[0])
        position, grid = recognise(table) or (position, None)
    return EncoderCheckpoint(
        layout=layout,
        weights=weights,
        qkv_bias="full" if full else "no_key" if partial else "none",
        final_norm=final_norm,
        position=position,
        table=table,
        grid=grid,
        image_parts=extra,
        unexpected=unexpected,
    )


def recognise(table: Tensor, tolerance: float = 1e-4) -> tuple[Position, Grid] | None:
    """Which of our tables a stored one equals, and its grid of square frames; None where it equals none.

    Both kinds start with the time channels, so the rows before time first changes are those of one frame.

    Args:
        table: float32 [N, D].
        tolerance: largest difference that counts as rounding.
    """
    num_tokens, dim = table.shape
    later = ((table[:, : dim // 4] - table[0, : dim // 4]).abs() > tolerance).any(1).nonzero()
    plane = int(later[0]) if len(later) else num_tokens
    side = math.isqrt(plane)
    grid = (num_tokens // plane, side, side)
    if side * side != plane or math.prod(grid) != num_tokens:
        return None
    tables: dict[Position, Callable[[Grid, int], Tensor]] = {"sincos_3d": sincos_3d, "vjepa": vjepa_table}
    for kind, make in tables.items():
        if (kind == "vjepa" or dim % 16 == 0) and (make(grid, dim) - table).abs().max() <= tolerance:
            return kind, grid
    return None
