"""Small random transformers models, and their weights under the names of the authors' own code."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from surgvl.models.vit import VideoViT

Floats = NDArray[np.float64]
Weights = dict[str, Tensor]


def randomise(model: Any) -> Any:
    """Every parameter random, norms and biases too, so that none can be forgotten or swapped unseen."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.15)
            if "norm" in name and name.endswith("weight"):
                parameter.add_(1)
    return model.eval()


def videomae(
    *, size: int = 20, frames: int = 6, patch: int = 4, tubelet: int = 2, dim: int = 64, depth: int = 3, heads: int = 2,
    pooled: bool = False, eps: float = 1e-6,
) -> Any:  # fmt: skip
    """transformers' VideoMAEModel."""
    from transformers import VideoMAEConfig, VideoMAEModel

    config = VideoMAEConfig(
        image_size=size, patch_size=patch, num_frames=frames, tubelet_size=tubelet, hidden_size=dim,
        num_hidden_layers=depth, num_attention_heads=heads, intermediate_size=3 * dim, layer_norm_eps=eps,
        use_mean_pooling=pooled, decoder_hidden_size=32, decoder_num_hidden_layers=1, decoder_num_attention_heads=2,
        decoder_intermediate_size=32,
    )  # fmt: skip
    return randomise(VideoMAEModel(config))


def vjepa2(
    *, size: int = 20, frames: int = 6, patch: int = 4, tubelet: int = 2, dim: int = 64, depth: int = 3, heads: int = 2
) -> Any:
    """transformers' VJEPA2Model with a small predictor."""
    from transformers import VJEPA2Config, VJEPA2Model

    config = VJEPA2Config(
        crop_size=size, patch_size=patch, frames_per_clip=frames, tubelet_size=tubelet, hidden_size=dim,
        num_hidden_layers=depth, num_attention_heads=heads, mlp_ratio=3.0, pred_hidden_size=24,
        pred_num_attention_heads=2, pred_num_hidden_layers=1,
    )  # fmt: skip
    return randomise(VJEPA2Model(config))


def original_videomae(model: Any) -> Weights:
    """A VideoMAEModel's weights as the authors name them."""
    state = model.state_dict()
    out = {f"patch_embed.proj.{kind}": state[f"embeddings.patch_embeddings.projection.{kind}"] for kind in BOTH}
    for n in range(model.config.num_hidden_layers):
        layer, to = f"encoder.layer.{n}.", f"blocks.{n}."
        attention = f"{layer}attention.attention."
        out[f"{to}attn.qkv.weight"] = torch.cat([state[f"{attention}{w}.weight"] for w in ("query", "key", "value")])
        out[f"{to}attn.q_bias"] = state[f"{attention}query.bias"]
        out[f"{to}attn.v_bias"] = state[f"{attention}value.bias"]
        for theirs, ours in (
            ("layernorm_before", "norm1"),
            ("attention.output.dense", "attn.proj"),
            ("layernorm_after", "norm2"),
            ("intermediate.dense", "mlp.fc1"),
            ("output.dense", "mlp.fc2"),
        ):
            out |= {f"{to}{ours}.{kind}": state[f"{layer}{theirs}.{kind}"] for kind in BOTH}
    if model.layernorm is not None:
        out |= {f"norm.{kind}": state[f"layernorm.{kind}"] for kind in BOTH}
    return {name: value.clone() for name, value in out.items()}


BOTH = ("weight", "bias")


def original_vjepa2(model: Any) -> Weights:
    """A VJEPA2Model's encoder as the authors name it, without its wrappers' prefix."""
    state = model.encoder.state_dict()
    out = {f"patch_embed.proj.{kind}": state[f"embeddings.patch_embeddings.proj.{kind}"] for kind in BOTH}
    for n in range(model.config.num_hidden_layers):
        layer, to = f"layer.{n}.", f"blocks.{n}."
        for kind in BOTH:
            parts = [state[f"{layer}attention.{word}.{kind}"] for word in ("query", "key", "value")]
            out[f"{to}attn.qkv.{kind}"] = torch.cat(parts)
            for theirs, ours in (("norm1", "norm1"), ("attention.proj", "attn.proj"), ("norm2", "norm2")):
                out[f"{to}{ours}.{kind}"] = state[f"{layer}{theirs}.{kind}"]
            for part in ("fc1", "fc2"):
                out[f"{to}mlp.{part}.{kind}"] = state[f"{layer}mlp.{part}.{kind}"]
    return {name: value.clone() for name, value in (out | {f"norm.{k}": state[f"layernorm.{k}"] for k in BOTH}).items()}


def clips(encoder: VideoViT, num: int = 2) -> Tensor:
    """Random clips uint8 [num, 3, T, H, W] that fit an encoder."""
    shape = (num, 3, encoder.config.num_frames, encoder.config.size_px, encoder.config.size_px)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def theirs_on(model: Any, encoder: VideoViT, video: Tensor) -> Tensor:
    """Tokens of a transformers model on clips that are normalised as our encoder does it."""
    pixels = encoder.normalise(video).transpose(1, 2)
    with torch.no_grad():
        if model.config.model_type == "vjepa2":
            tokens: Tensor = model.get_vision_features(pixels)
        else:
            tokens = model(pixels).last_hidden_state
    return tokens


def waves(position: float, dim: int) -> list[float]:
    """Sines, then cosines of one coordinate at falling rates."""
    angles = [position / 10000 ** (k / (dim / 2)) for k in range(dim // 2)]
    return [float(np.sin(a)) for a in angles] + [float(np.cos(a)) for a in angles]


def written_table(kind: str, grid: tuple[int, int, int], dim: int) -> Floats:
    """The tables of SurgVISTA and V-JEPA, cell by cell from their descriptions [N, D]."""
    rows = []
    for t in range(grid[0]):
        for y in range(grid[1]):
            for x in range(grid[2]):
                if kind == "sincos_3d":
                    rows.append(waves(t, dim // 4) + waves(x, dim * 3 // 8) + waves(y, dim * 3 // 8))
                else:
                    part = int(np.ceil(dim / 6) * 2)
                    rows.append((waves(t, part) + waves(y, part) + waves(x, part))[:dim])
    return np.array(rows)
