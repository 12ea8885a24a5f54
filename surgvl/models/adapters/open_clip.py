"""Whole models of open_clip: CLIP, SigLIP 2, PE-Core, MobileCLIP 2 and others (Ilharco et al., 10.5281/zenodo.5143773).

open_clip's own code runs them. A model folder holds `open_clip_config.json`, which open_clip reads, the tokenizer's
files where the model has one of transformers, and `model.safetensors`.
Shapes: N frames, S side in pixels, M sentences, E width of the space.
"""

import json
import shutil
from pathlib import Path
from typing import Any, ClassVar, Self, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from surgvl.core.errors import CheckpointError, ConfigError
from surgvl.core.files import write_json
from surgvl.models.foreign import check_finite, foreign, without_notes
from surgvl.models.open_clip_tokenizer import open_clip_tokenizer
from surgvl.models.schema import bounded
from surgvl.models.shapes import undrawn
from surgvl.models.video_text import FrameText, normalised, truncation
from surgvl.video.clip import Preprocess
from surgvl.video.geometry import Interpolation, Kind

GEOMETRIES: dict[str, Kind] = {"squash": "squash", "shortest": "crop", "longest": "letterbox"}
CONFIG = "open_clip_config.json"
# What of a folder of the hub belongs to the tokenizer.
TOKENIZER = ("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab*", "merges.txt", "*.model", "*.spm")


class OpenClip(FrameText):
    """A model of open_clip.

    Args:
        model: with its weights or without.
        facts: `open_clip_config.json`: `model_cfg` and `preprocess_cfg`.
        folder: with the tokenizer's files.
    """

    name: ClassVar[str] = "open_clip"
    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, facts: dict[str, Any], folder: Path):
        super().__init__()
        # open_clip's classes have no common base.
        self.inner: Any = model
        self.facts, self.folder = facts, folder
        self.dim = int(facts["model_cfg"]["embed_dim"])
        cfg = facts["preprocess_cfg"]
        self.register_buffer("mean", torch.tensor(cfg["mean"]), persistent=False)
        self.register_buffer("std", torch.tensor(cfg["std"]), persistent=False)
        with foreign(f"{folder} has no tokenizer of open_clip", "add the files of its tokenizer"), without_notes():
            self.tokenize = open_clip_tokenizer(f"local-dir:{folder}", facts["model_cfg"]["text_cfg"])
        self.context_length = int(self.tokenize.context_length)

    @property
    def logit_scale(self) -> nn.Parameter:  # type: ignore[override]
        """Logarithm of the factor on cosines."""
        scale: nn.Parameter = self.inner.logit_scale
        return scale

    @property
    def config(self) -> dict[str, Any]:
        """Everything is in `open_clip_config.json`."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any], folder: Path | None = None) -> Self:
        """Build the model that `open_clip_config.json` of a folder describes, without weights.

        Raises:
            CheckpointError: it cannot be read or built.
        """
        import open_clip

        assert folder is not None
        with foreign(f"{folder / CONFIG} describes no model that open_clip can build"), without_notes():
            facts = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
            bounded(facts["model_cfg"])
            with undrawn():
                model = open_clip.create_model(f"local-dir:{folder}", load_weights=False, pretrained_text=False)
            return cls(model, facts, folder)

    @classmethod
    def convert(cls, weights: Path, files: Path, arguments: dict[str, Any], folder: Path) -> tuple[Self, Preprocess]:
        """Read weights as they are published.

        Args:
            weights: the file; anything that open_clip reads, pickles without code in them included.
            files: folder with the tokenizer's files, where the model has one of transformers.
            arguments: `arch`, and `tag` where it is known: the names in open_clip.
            folder: the new model folder, which gets all that `from_config` reads.

        Raises:
            ConfigError: open_clip does not know the architecture or tag.
            CheckpointError: the weights are not those of the architecture, or the tokenizer is missing.
        """
        import open_clip

        arch, tag = arguments["arch"], arguments.get("tag", "")
        facts = describe(arch, tag)
        check_tokenizer(facts, files, arch)
        write_json(folder / CONFIG, facts)
        copy_tokenizer(files, folder)
        made = cls.from_config({}, folder)
        with (
            foreign(f"{weights} does not hold the weights of {arch}", "give those of this architecture"),
            without_notes(),
        ):
            open_clip.load_checkpoint(made.inner, str(weights), strict=True, weights_only=True, device="cpu")
        check_finite(made.state_dict(), weights)
        return made, preprocess_of(facts)

    def save_tokenizer(self, folder: Path) -> None:
        """Write `open_clip_config.json` and the tokenizer's files."""
        if folder.resolve() != self.folder.resolve():
            write_json(folder / CONFIG, self.facts)
            copy_tokenizer(self.folder, folder)

    def encode_frames(self, frames: Tensor) -> Tensor:
        """Frames uint8 [N, 3, S, S] -> unit vectors, float32 [N, E]."""
        found: Tensor = self.inner.encode_image(normalised(frames, self.mean, self.std))
        return F.normalize(found.float(), dim=-1)

    def encode_text(self, sentences: list[str]) -> Tensor:
        """M sentences -> unit vectors, float32 [M, E]."""
        ids = self.tokenize(sentences).to(self.logit_scale.device)
        return F.normalize(self.inner.encode_text(ids).float(), dim=-1)

    def left_out(self, sentences: list[str]) -> str:
        """A line that says how many tokens are truncated; empty for none."""
        # Tokenizers of transformers put their special tokens in, CLIP's own does not.
        own = getattr(self.tokenize, "tokenizer", None)
        counts = [len(own(text)["input_ids"]) if own else len(self.tokenize.encode(text)) + 2 for text in sentences]
        return truncation(counts, self.context_length)


def describe(arch: str, tag: str = "") -> dict[str, Any]:
    """`open_clip_config.json` of an architecture, with the preprocessing of a tag.

    Args:
        arch: name in open_clip.
        tag: of its weights; without one, all tags of the architecture must agree on the preprocessing.

    Raises:
        ConfigError: open_clip does not know them, or the tags differ.
    """
    import open_clip
    from open_clip.transform import PreprocessCfg

    model_cfg = open_clip.get_model_config(arch)
    if model_cfg is None:
        raise ConfigError(f"open_clip has no model {arch!r}: choose one of open_clip.list_models()")
    tags = open_clip.list_pretrained_tags_by_model(arch)
    if tag and tag not in tags:
        raise ConfigError(f"open_clip has no weights {tag!r} of {arch}: choose one of {', '.join(tags) or '(none)'}")
    keys = ("mean", "std", "interpolation", "resize_mode")
    plain = PreprocessCfg()
    found = []
    for each in [tag] if tag else tags:
        known = open_clip.get_pretrained_cfg(arch, each)
        cfg = {key: known.get(key, getattr(plain, key)) for key in keys}
        if cfg not in found:
            found.append(cfg)
    if len(found) > 1:
        raise ConfigError(
            f"weights of {arch} differ in their preprocessing: say whose these are, as open_clip:{arch}@TAG with a tag "
            f"of {', '.join(tags)}, and add the file to it (surgvl models add)"
        )
    cfg = found[0] if found else {key: getattr(plain, key) for key in keys}
    size = model_cfg["vision_cfg"].get("image_size", 224)
    side = size if isinstance(size, int) else size[0]
    cfg |= {"mean": list(cfg["mean"]), "std": list(cfg["std"]), "size": side}
    return {"model_cfg": model_cfg, "preprocess_cfg": cfg}


def preprocess_of(facts: dict[str, Any], num_frames: int = 4, fps: float = 1.0) -> Preprocess:
    """Preprocessing of `open_clip_config.json`."""
    cfg = facts["preprocess_cfg"]
    interpolation = cfg["interpolation"]
    # Interpolation is random in training only.
    return Preprocess(
        num_frames=num_frames,
        fps=fps,
        size_px=cfg["size"],
        geometry=GEOMETRIES[cfg["resize_mode"]],
        interpolation=interpolation if interpolation in get_args(Interpolation) else "bicubic",
    )


def tokenizer_files(folder: Path) -> list[Path]:
    """Files of a transformers tokenizer in a folder."""
    return sorted({path for pattern in TOKENIZER for path in folder.glob(pattern) if path.is_file()})


def copy_tokenizer(source: Path, folder: Path) -> None:
    """Copy the files of a tokenizer."""
    for path in tokenizer_files(source):
        shutil.copyfile(path, folder / path.name)


def check_tokenizer(facts: dict[str, Any], files: Path, arch: str) -> None:
    """Refuse a folder that lacks the tokenizer of its model.

    Raises:
        CheckpointError: it does.
    """
    wanted = facts["model_cfg"]["text_cfg"].get("hf_tokenizer_name")
    if wanted and not tokenizer_files(files):
        raise CheckpointError(
            f"{files} lacks the tokenizer of {arch}, which is that of {wanted} on the hub: put its files ("
            "tokenizer.json and tokenizer_config.json) next to the weights"
        )
