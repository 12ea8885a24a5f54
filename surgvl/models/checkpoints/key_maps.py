"""The names that public checkpoints give to the parts of a video transformer, and their translation into ours.

Three families of names, told apart by that of the patch embedding:

- original code: V-JEPA 2 and V-JEPA (arXiv 2506.09985, 2404.08471), VideoMAE and VideoMAE V2 (2203.12602, 2303.16727),
  SurgVISTA and MVD (2506.02692, 2212.04500), SurgRec (2603.29966), SurgMotion (2602.05638), and image transformers
  (EndoSSL, timm);
- transformers' VJEPA2Model, and the classifier around it;
- transformers' VideoMAEModel with the names of its versions 4 and 5, and the models around it.

What a file does not say in words is read from shapes: which biases there are, and which table its positions are.
Shapes: D width, t tubelet length, p patch side, N tokens in the grid (T', H', W').
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from surgvl.core.errors import CheckpointError
from surgvl.models.position import Grid, sincos_3d, vjepa_table

Weights = dict[str, Tensor]

# Entries of a training checkpoint that hold an encoder, the better first: a moving average before what it follows.
BOXES = ("target_encoder", "encoder", "model", "module", "model_state", "state_dict")
WRAPPERS = re.compile(r"^(?:(?:module|_orig_mod|backbone)\.)+")
# What belongs to decoders, predictors, heads and optimisers: never part of an encoder, so it may be left over.
PARTS = (
    "predictor.", "predictor_", "mask_token", "decoder.", "decoder_", "encoder_to_decoder.", "down_img.", "down_vid.",
    "pos_embed_img", "pos_embed_vid", "head.", "fc_norm.", "classifier.", "pooler.", "optimizer", "opt.", "scaler",
)  # fmt: skip
# What an image model adds to its patches; our tables stand in for the one, and there is no token of the other kind.
IMAGE_PARTS = ("cls_token", "reg_token", "pos_embed")

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
# The original code's names are shared by models with several kinds; transformers' are not.
POSITIONS = {"transformers VideoMAE": "sinusoid", "transformers V-JEPA 2": "rope"}


@dataclass(frozen=True, kw_only=True)
class Found:
    """An encoder found in a checkpoint.

    Args:
        layout: whose names it had, for people.
        weights: under our names; the patch embedding still has its own shape.
        qkv_bias: as in `models.blocks`.
        final_norm: False where the tokens are not layer-normed: a classifier of their mean norms that instead.
        position: kind of the table or rotation, as in `models.position`.
        table: stored positions, float32 [N, D]; None where there are none.
        grid: (T', H', W') of `table`; None where it is none of ours.
        image_parts: class token and positions of an image model, which a video encoder has no place for.
        left: names that are neither an encoder's nor known to belong to something else.
    """

    layout: str
    weights: Weights
    qkv_bias: str
    final_norm: bool
    position: str
    table: Tensor | None
    grid: Grid | None
    image_parts: Weights
    left: list[str]

    @property
    def image(self) -> bool:
        """Whether the patch embedding is that of single pictures."""
        return self.weights["embed.weight"].ndim == 4

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return 1 + max((int(name.split(".")[1]) for name in self.weights if name.startswith("blocks.")), default=-1)

    def hidden(self, source: str) -> int:
        """Hidden width of the perceptrons.

        Raises:
            CheckpointError: the first block has none.
        """
        weight = self.weights.get("blocks.0.mlp.0.weight")
        if weight is None:
            raise CheckpointError(f"{source} has no blocks.0 with a perceptron: give a whole checkpoint")
        return len(weight)


def pick(raw: Mapping[str, Any], source: str) -> Weights:
    """The state dict of the encoder in a checkpoint with several entries; see `BOXES`.

    Raises:
        CheckpointError: there is none.
    """
    for name in BOXES:
        inner = raw.get(name)
        if isinstance(inner, Mapping) and inner:
            return pick(inner, source)
    weights = {str(name): value for name, value in raw.items() if isinstance(value, Tensor)}
    if not weights:
        raise CheckpointError(
            f"{source} holds no weights but {sorted(map(str, raw))[:5]}: give a checkpoint of a model"
        )
    return weights


def translate(raw: Weights, source: str) -> Found:
    """Give the parts of an encoder our names.

    Args:
        raw: a state dict in any of the layouts.
        source: where it came from, for messages.

    Raises:
        CheckpointError: no patch embedding is found, or it is not that of square patches of three channels.
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
    # A flat file with two encoders: the moving average is the one that features are taken from.
    found.sort(key=lambda each: ("target_encoder" not in each[0], len(each[0])))
    prefix, layout, _, renames = found[0]
    others = tuple(each[0] for each in found[1:] if each[0])
    weights: Weights = {}
    left: list[str] = []
    for name, value in raw.items():
        short = name.removeprefix(prefix)
        if short.startswith(PARTS) or (others and name.startswith(others)):
            continue
        if not name.startswith(prefix):
            left.append(name)
            continue
        for pattern, new in renames:
            short = re.sub(pattern, new, short)
        weights[short] = value
    _merge(weights)
    decodes = any(name.startswith("decoder.") for name in raw)
    pooled = any(name.endswith("fc_norm.weight") for name in raw) or (renames is VIDEOMAE and not decodes)
    return _judge(layout, weights, left, "norm.weight" in weights or not pooled, source)


def _merge(weights: Weights) -> None:
    """Join separate queries, keys and values into one matrix, and their biases where all three have one."""
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


def _judge(layout: str, weights: Weights, left: list[str], final_norm: bool, source: str) -> Found:
    """Read from names and shapes what the checkpoint does not say."""
    kernel = weights["embed.weight"]
    if kernel.ndim not in (4, 5) or kernel.shape[1] != 3 or kernel.shape[-1] != kernel.shape[-2]:
        raise CheckpointError(
            f"{source} has a patch embedding of {tuple(kernel.shape)}: give one of (D, 3, t, p, p) or (D, 3, p, p)"
        )
    full = any(name.endswith(".attn.qkv.bias") for name in weights)
    partial = any(name.endswith(".attn.q_bias") for name in weights)
    extra: Weights = {}
    if kernel.ndim == 4:
        extra = {name: weights.pop(name) for name in list(weights) if name.startswith(IMAGE_PARTS)}
    table, grid = weights.pop("pos_embed", None), None
    if kernel.ndim == 4:
        layout, position = "image transformer", "sincos_3d"
    elif layout in POSITIONS:
        position = POSITIONS[layout]
    elif table is None:
        layout, position = ("V-JEPA 2", "rope") if full else ("VideoMAE", "sinusoid")
    elif table.shape[-1] != kernel.shape[0]:
        raise CheckpointError(
            f"{source} has positions of {tuple(table.shape)} for tokens of width {kernel.shape[0]}: give a whole file"
        )
    else:
        layout, position = ("V-JEPA", "vjepa") if full else ("SurgVISTA", "sincos_3d")
        table = table.float().reshape(-1, kernel.shape[0])
        position, grid = recognise(table) or (position, None)
    return Found(
        layout=layout,
        weights=weights,
        qkv_bias="full" if full else "no_key" if partial else "none",
        final_norm=final_norm,
        position=position,
        table=table,
        grid=grid,
        image_parts=extra,
        left=left,
    )


def recognise(table: Tensor, tolerance: float = 1e-4) -> tuple[str, Grid] | None:
    """Which of our tables a stored one is, and for which grid of square frames; None where it is none.

    Both tables that are stored begin with time, so the rows before time first changes are those of one frame.

    Args:
        table: float32 [N, D].
        tolerance: largest difference that is taken for rounding.
    """
    num_tokens, dim = table.shape
    later = ((table[:, : dim // 4] - table[0, : dim // 4]).abs() > tolerance).any(1).nonzero()
    plane = int(later[0]) if len(later) else num_tokens
    side = math.isqrt(plane)
    grid = (num_tokens // plane, side, side)
    if side * side != plane or math.prod(grid) != num_tokens:
        return None
    for kind, make in (("sincos_3d", sincos_3d), ("vjepa", vjepa_table)):
        if (kind == "vjepa" or dim % 16 == 0) and (make(grid, dim) - table).abs().max() <= tolerance:
            return kind, grid
    return None
