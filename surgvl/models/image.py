"""Third-party image encoders as towers: timm's, transformers', and EndoSSL's vision transformer.

A tower maps normalised pixels to one summary and a grid of patch features, and states its input size, mean and
deviation. The summary is the class token or the model's own pooling; patch features are the tokens after the last norm;
register tokens are dropped. EndoSSL (Hirsch et al., MICCAI 2023; PyTorch weights by the authors of SurgVISTA, arXiv
2506.02692) differs: its patch features are taken before the last norm.
Shapes: B images, S side in pixels, p patch side, h = w = S/p, D width.
"""

import inspect
import math
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from surgvl.core.errors import CheckpointError, ConfigError, first_line
from surgvl.core.files import read_json
from surgvl.models.checkpoints.convert import exact_ratio, usual_heads
from surgvl.models.checkpoints.io import read_weights
from surgvl.models.checkpoints.key_maps import convert_keys, find_state_dict
from surgvl.models.foreign import foreign
from surgvl.models.store import stored_hub
from surgvl.models.vit import Transformer
from surgvl.models.vit_config import IMAGENET_MEAN, IMAGENET_STD

RGB = tuple[float, float, float]
HALF: RGB = (0.5, 0.5, 0.5)
# Unnormalised pixels in 0..255.
RAW: tuple[RGB, RGB] = ((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255))


class ImageTower(nn.Module):
    """Normalised pixels [B, 3, S, S] -> summary [B, D] and patch features [B, h, w, D].

    Args:
        size_px: input side S.
        patch_px: side p of a patch.
        dim: width D.
        mean: channel means of the input in [0, 1].
        std: channel standard deviations of the input in [0, 1].

    Raises:
        ConfigError: `size_px` is not a multiple of `patch_px`.
    """

    def __init__(self, size_px: int, patch_px: int, dim: int, mean: RGB, std: RGB):
        super().__init__()
        if size_px % patch_px:
            raise ConfigError(f"size_px must be a multiple of the teacher's patch side {patch_px}, got {size_px}")
        self.size_px, self.patch_px, self.dim, self.mean, self.std = size_px, patch_px, dim, mean, std
        self.grid = (size_px // patch_px, size_px // patch_px)


class TimmTower(ImageTower):
    """A vision transformer of timm, such as DINOv2, DINOv3 or SigLIP.

    Args:
        name: timm's model name.
        file: weights; None: timm's own, which `surgvl models fetch` has fetched.
        size_px: side S; None: the model's own.

    Raises:
        ConfigError: timm is not installed or has no such model, or the model has no patches.
        CheckpointError: the weights cannot be loaded or do not fit.
    """

    def __init__(self, name: str, file: str | None = None, size_px: int | None = None):
        try:
            import timm
            from timm.data.config import resolve_model_data_config
        except ImportError as error:
            raise ConfigError(f"the teacher timm:{name} needs timm: pip install timm") from error
        if not timm.is_model(name):
            raise ConfigError(f"timm has no model {name!r}: choose one of timm.list_models('vit*')")
        if file is not None and not Path(file).is_file():
            raise CheckpointError(f"{file} does not exist: give the weights of {name}, or none for timm's own")
        own_cfg = timm.get_pretrained_cfg(name)
        if file is None and own_cfg is not None and own_cfg.hf_hub_id:
            file = str(stored_hub(f"hf:{own_cfg.hf_hub_id}/model.safetensors"))
        overlay = None if file is None else {"file": file}
        try:
            inner: Any = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, img_size=size_px)
        except (OSError, RuntimeError, ValueError, TypeError) as error:
            raise CheckpointError(
                f"timm cannot load {name} from {file or 'its own weights'} ({first_line(error)}): give the weights of "
                "this model"
            ) from error
        if not hasattr(inner, "num_prefix_tokens"):
            raise ConfigError(f"timm's {name} has no patch tokens: choose a vision transformer")
        data = resolve_model_data_config(inner)  # type: ignore[no-untyped-call]
        patch_px, own = inner.patch_embed.patch_size[0], inner.patch_embed.img_size
        super().__init__(
            size_px or (own or data["input_size"][1:])[0], patch_px, inner.num_features, data["mean"], data["std"]
        )
        inner.reset_classifier(0)
        self.inner = inner

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """See `ImageTower`."""
        tokens = self.inner.forward_features(pixels)
        summary = self.inner.forward_head(tokens, pre_logits=True)
        return summary, tokens[:, self.inner.num_prefix_tokens :].unflatten(1, self.grid)


class TransformersTower(ImageTower):
    """A vision transformer of transformers: DINOv2 with or without registers, DINOv3, SigLIP, CLIP.

    Mean, deviation and side come from the preprocessor's file; without one, 0.5 for SigLIP and ImageNet's otherwise.

    Args:
        name: folder or hub id.
        size_px: side S; None: the preprocessor's, or the configuration's.

    Raises:
        ConfigError: the model has no patches.
        CheckpointError: it cannot be read, or weights are missing.
    """

    def __init__(self, name: str, size_px: int | None = None):
        from transformers import AutoModel

        folder = stored_hub(name)
        with foreign(f"the teacher hf:{name} cannot be read", "give a folder or a hub id"):
            whole, report = AutoModel.from_pretrained(folder, output_loading_info=True, trust_remote_code=False)
        if lost := sorted(report["missing_keys"]):
            raise CheckpointError(f"hf:{name} lacks {len(lost)} weights {lost[:3]}: give a complete model")
        inner = dict(whole.named_children()).get("vision_model", whole)
        config = inner.config.to_dict()
        if "patch_size" not in config or "image_size" not in config:
            raise ConfigError(
                f"hf:{name} is a {config['model_type']}, which has no patches: choose an image transformer"
            )
        found = _preprocessor(folder)
        frame = found.get("crop_size") or found.get("size") or {}
        half = "siglip" in config["model_type"]
        super().__init__(
            size_px or frame.get("height") or config["image_size"],
            config["patch_size"],
            config["hidden_size"],
            tuple(found.get("image_mean") or (HALF if half else IMAGENET_MEAN)),
            tuple(found.get("image_std") or (HALF if half else IMAGENET_STD)),
        )
        self.inner = inner
        # Some models interpolate their positions by default, some on request, and some have none.
        can_resize = "interpolate_pos_encoding" in inspect.signature(inner.forward).parameters
        self.extra = {"interpolate_pos_encoding": True} if can_resize and self.size_px != config["image_size"] else {}

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """See `ImageTower`; the summary is the model's own pooling, or else the mean of the patch features."""
        out = self.inner(pixel_values=pixels, **self.extra)
        patches = out.last_hidden_state[:, -math.prod(self.grid) :]
        summary = patches.mean(1) if out.pooler_output is None else out.pooler_output
        return summary, patches.unflatten(1, self.grid)


def _preprocessor(folder: Path) -> dict[str, Any]:
    """The preprocessor's file of a folder; empty if there is none."""
    path = folder / "preprocessor_config.json"
    return dict(read_json(path)) if path.is_file() else {}


class EndoSSLTower(ImageTower):
    """EndoSSL's vision transformer as in SurgVISTA's code, where it is the teacher.

    Positions are added before the class token is prepended, which has none; the norms inside blocks have PyTorch's
    epsilon 1e-5; the last norm is never applied. SurgVISTA normalises its input with ImageNet's statistics; others
    report that the original model expects 0..255. Neither is verified against the original.

    Args:
        file: weights with separate queries, keys and values, or joint ones.
        size_px: side S; None: that of the stored positions. Other sides interpolate them (bicubic; not in that code).
        raw: leave pixels in 0..255 instead of normalising them.

    Raises:
        CheckpointError: the file cannot be read, or is not of this kind.
    """

    def __init__(self, file: str, size_px: int | None = None, raw: bool = False):
        found = convert_keys(find_state_dict(read_weights(Path(file)), file), file)
        table = found.image_parts.get("pos_embed")
        if not found.image or table is None or "cls_token" not in found.image_parts:
            raise CheckpointError(f"{file} is not an image transformer with class token and positions: give EndoSSL's")
        dim, _, patch_px, _ = found.weights["embed.weight"].shape
        side = math.isqrt(table.numel() // dim)
        if table.shape != (1, side * side, dim):
            raise CheckpointError(
                f"{file}: positions {tuple(table.shape)} must be those of a square grid without class token: give "
                "EndoSSL's"
            )
        ratio, heads = exact_ratio(found.hidden(file), dim), usual_heads(found, file)
        super().__init__(size_px or side * patch_px, patch_px, dim, *(RAW if raw else (IMAGENET_MEAN, IMAGENET_STD)))
        self.embed = nn.Conv2d(3, dim, patch_px, stride=patch_px)
        self.blocks = Transformer(dim, found.depth, heads, ratio, found.qkv_bias, eps=1e-5)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, math.prod(self.grid), dim))
        planes = table.float().reshape(1, side, side, dim).permute(0, 3, 1, 2)
        if self.grid != (side, side):
            planes = F.interpolate(planes, self.grid, mode="bicubic", align_corners=False)
        stored = {
            **found.weights,
            "cls_token": found.image_parts["cls_token"],
            "pos_embed": planes.flatten(2).transpose(1, 2),
        }
        wrong = [
            name for name, value in self.state_dict().items() if name not in stored or stored[name].shape != value.shape
        ]
        extra = [
            name for name in stored if name not in self.state_dict() and not name.startswith("norm.")
        ] + found.unexpected
        if wrong or extra:
            raise CheckpointError(
                f"{file} does not fit: {len(wrong)} missing or of a different shape {wrong[:3]}, "
                f"{len(extra)} unexpected {extra[:3]}: give the whole checkpoint"
            )
        self.load_state_dict({name: stored[name] for name in self.state_dict()})

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """See `ImageTower`."""
        x = self.embed(pixels).flatten(2).transpose(1, 2) + self.pos_embed
        x = self.blocks(torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1))
        return x[:, 0], x[:, 1:].unflatten(1, self.grid)
