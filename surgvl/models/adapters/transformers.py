"""Dual encoders of transformers that see frames: CLIP (Radford et al., arXiv 2103.00020), SigLIP (Zhai et al.,
arXiv 2303.15343) with MedSigLIP, and SigLIP 2 of fixed resolution (Tschannen et al., arXiv 2502.14786).

transformers' own code runs them, on float32 weights. Pixels are scaled as Pillow does it; transformers' default since
version 5 scales with torchvision, which differs by one level of 255 in some pixels.
Shapes: N frames, S side in pixels, M sentences, E width of the space.
"""

from pathlib import Path
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
import transformers
from torch import Tensor, nn

from surgvl.core.errors import CheckpointError
from surgvl.models.foreign import foreign
from surgvl.models.model_info import TOWER
from surgvl.models.tower import link_tower, load_tower, quiet, save_tower, tower_type
from surgvl.models.video_text import FrameText, VideoText, normalised, truncation
from surgvl.video.clip import Preprocess
from surgvl.video.geometry import Interpolation, Kind

INTERPOLATIONS: dict[int, Interpolation] = {2: "bilinear", 3: "bicubic"}


class PairOfTowers(VideoText):
    """A model of transformers with `get_text_features` and its own tokenizer and image processor.

    Args:
        model: with its weights.
        tower: its folder.
    """

    in_tower: ClassVar[bool] = True
    # `model_type` of transformers -> its class.
    kinds: ClassVar[dict[str, type[transformers.PreTrainedModel]]] = {}
    mean: Tensor
    std: Tensor

    def __init__(self, model: Any, tower: Path):
        super().__init__()
        self.inner: Any = model
        self.tower, self.kind = tower, model.config.model_type
        processor = image_processor(tower)
        self.register_buffer("mean", torch.tensor(processor["image_mean"]), persistent=False)
        self.register_buffer("std", torch.tensor(processor["image_std"]), persistent=False)
        text = model.config.text_config
        self.context_length = int(text.max_position_embeddings)
        self.dim = int(text.projection_size if self.kind == "siglip" else model.config.projection_dim)
        with foreign(f"{tower} has no tokenizer of transformers", "add the files of its tokenizer"), quiet():
            self.tokenize: Any = transformers.AutoTokenizer.from_pretrained(
                tower, local_files_only=True, trust_remote_code=False
            )

    @property
    def logit_scale(self) -> nn.Parameter:  # type: ignore[override]
        """Logarithm of the factor on cosines; SigLIP's bias is the same for all sentences and left out."""
        scale: nn.Parameter = self.inner.logit_scale
        return scale

    @property
    def config(self) -> dict[str, Any]:
        """Everything is in `tower/`."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any], folder: Path | None = None) -> Self:
        """Load the model in `tower/` of a model folder.

        Raises:
            CheckpointError: it is not one of this family, or its weights do not fit.
        """
        assert folder is not None
        kind = tower_type(folder / TOWER)
        if kind not in cls.kinds:
            raise CheckpointError(
                f"{folder / TOWER} holds a model of type {kind!r}: give one of {', '.join(cls.kinds)}"
            )
        return cls(load_tower(cls.kinds[kind], folder / TOWER), folder / TOWER)

    @classmethod
    def convert(cls, weights: Path, files: Path, arguments: dict[str, Any], folder: Path) -> tuple[Self, Preprocess]:
        """Link the files of a repository.

        Args:
            weights: one of the files.
            files: folder with all of them.
            arguments: none.
            folder: the new model folder.

        Raises:
            CheckpointError: a file is missing, or the weights do not fit.
        """
        link_tower(files, folder)
        made = cls.from_config({}, folder)
        return made, made.preprocess()

    def preprocess(self) -> Preprocess:
        """How its authors' image processor makes frames."""
        return preprocess_of(image_processor(self.tower), self.tower)

    def save_tokenizer(self, folder: Path) -> None:
        """Nothing: it lies in `tower/`."""

    def save_tower(self, folder: Path) -> None:
        """Write `tower/` of a model folder."""
        save_tower(self.inner, self.tower, folder)

    def encode_text(self, sentences: list[str]) -> Tensor:
        """M sentences -> unit vectors, float32 [M, E]."""
        given = dict(self.words(sentences).to(self.inner.device))
        return F.normalize(self.inner.get_text_features(**given).pooler_output.float(), dim=-1)

    def words(self, sentences: list[str]) -> transformers.BatchEncoding:
        """Token ids as the model was trained on: SigLIP's padded to its 64 tokens, in lower case and without a mask."""
        if self.kind != "siglip":
            return self._ids(sentences, padding=True)
        found = self._ids([each.lower() for each in sentences], padding="max_length")
        found.pop("attention_mask", None)
        return found

    def _ids(self, sentences: list[str], padding: bool | str) -> transformers.BatchEncoding:
        ids: transformers.BatchEncoding = self.tokenize(
            sentences, padding=padding, truncation=True, max_length=self.context_length, return_tensors="pt"
        )
        return ids

    def left_out(self, sentences: list[str]) -> str:
        """A line that says how many tokens are truncated; empty for none."""
        with quiet():
            return truncation([len(self.tokenize(each)["input_ids"]) for each in sentences], self.context_length)


class Transformers(PairOfTowers, FrameText):
    """CLIP, SigLIP or SigLIP 2."""

    name: ClassVar[str] = "transformers"
    kinds: ClassVar[dict[str, type[transformers.PreTrainedModel]]] = {
        "clip": transformers.CLIPModel,
        "siglip": transformers.SiglipModel,
    }

    def encode_frames(self, frames: Tensor) -> Tensor:
        """Frames uint8 [N, 3, S, S] -> unit vectors, float32 [N, E]."""
        pixels = normalised(frames, self.mean, self.std)
        return F.normalize(self.inner.get_image_features(pixel_values=pixels).pooler_output.float(), dim=-1)


def image_processor(tower: Path) -> dict[str, Any]:
    """The fields of a model's image processor.

    Raises:
        CheckpointError: it has none that transformers can load.
    """
    with foreign(f"{tower} has no image processor of transformers", "add its preprocessor_config.json"), quiet():
        found = transformers.AutoImageProcessor.from_pretrained(tower, local_files_only=True, trust_remote_code=False)
        fields: dict[str, Any] = found.to_dict()
    return fields


def preprocess_of(fields: dict[str, Any], tower: Path, num_frames: int = 4, fps: float = 1.0) -> Preprocess:
    """Preprocessing of an image processor's fields.

    Raises:
        CheckpointError: it does something else than `surgvl.video.geometry` can.
    """
    size, cut = fields.get("size") or {}, fields.get("crop_size") or {}
    interpolation = INTERPOLATIONS.get(int(fields.get("resample") or 0))
    kind: Kind = "squash"
    side = size.get("height") if size.get("height") == size.get("width") else None
    if fields.get("do_center_crop"):
        kind, side = "crop", cut.get("height") if cut.get("height") == cut.get("width") else None
        if side not in (size.get("shortest_edge"), size.get("height")):
            side = None
    if side is None or interpolation is None or not fields.get("do_resize"):
        given = {key: fields.get(key) for key in ("size", "crop_size", "do_resize", "do_center_crop", "resample")}
        raise CheckpointError(
            f"{tower}/preprocessor_config.json makes no square frames in one of the ways that surgvl knows ({given}): "
            "give a model that squashes or crops, bilinear or bicubic"
        )
    return Preprocess(num_frames=num_frames, fps=fps, size_px=int(side), geometry=kind, interpolation=interpolation)
