"""A readout of stored vectors as a model: its own weights, and the name of the model that makes such vectors.

The encoder stays where it is; it is loaded when a file is to be read, and must be the one whose vectors were read out.
Stored vectors need none.
Shapes: B clips, T frames, S pixels, N clips of a video, E width of the vectors.
"""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from surgvl.core.arrays import Float32Array
from surgvl.core.errors import CheckpointError
from surgvl.core.files import write_json
from surgvl.embed.encode_file import clip_encoder, encode_file
from surgvl.embed.meta import Meta
from surgvl.models.checkpoint import load_model, load_weights
from surgvl.models.device import place
from surgvl.models.model_info import find_model, load_preprocess, model_hash
from surgvl.models.schema import read_checked
from surgvl.models.video_text import VideoText
from surgvl.models.vit import VideoViT
from surgvl.probe.base import Readout
from surgvl.probe.recogniser import VECTOR_TYPE, HeadFields, Recogniser, built, described, save_weights
from surgvl.video.clip import Preprocess


class VectorFields(BaseModel):
    """`config.json`: the readout, the width of its vectors, and the folder and hash of the model that makes them."""

    model_config = ConfigDict(extra="forbid")

    model_type: Literal["surgvl_vector_recogniser"]
    architectures: list[str]
    readout: str
    heads: list[HeadFields]
    dim: int
    encoder: str
    encoder_hash: str


class VectorRecogniser(Recogniser):
    """A model that makes one vector of a clip, and a readout of these.

    Args:
        encoder: bare, or a video-text model.
        readout: of its vectors.
    """

    def __init__(self, encoder: VideoText | VideoViT, readout: Readout):
        nn.Module.__init__(self)
        self.source, self.readout, self.frame_step = encoder, readout, 1

    def tokens(self, video: Tensor) -> Tensor:
        """Clips [B, 3, T, S, S], uint8 or float in 0..255 -> their vectors, float32 [B, 1, E]."""
        return clip_encoder(self.source)(video)[:, None]

    def read(
        self, path: Path, preprocess: Preprocess, device: str, tick: Callable[[float], object] = lambda _: None
    ) -> tuple[Float32Array, list[float], list[float]]:
        """Vectors float32 [N, E] of the clips of a file, as `surgvl embed` makes and stores them."""
        vectors, starts, ends = encode_file(self.source, path, preprocess, None, device, tick)
        return vectors.astype(np.float16).astype(np.float32), starts, ends


def save_vector_readout(readout: Readout, folder: Path, meta: Meta) -> None:
    """Write a model folder, the weights last.

    Args:
        readout: trained.
        folder: created if missing.
        meta: of the vectors.
    """
    folder.mkdir(parents=True, exist_ok=True)
    own = {"model_type": VECTOR_TYPE, "architectures": ["VectorRecogniser"], **described(readout)}
    write_json(folder / "config.json", {**own, "dim": meta.dim, "encoder": meta.model, "encoder_hash": meta.model_hash})
    if meta.preprocess is not None:
        write_json(folder / "preprocessor_config.json", asdict(meta.preprocess))
    save_weights(readout, folder)


def reads_vectors(folder: Path) -> bool:
    """Whether a folder holds a readout of stored vectors.

    Raises:
        CheckpointError: it holds no model.
    """
    return bool(read_checked(find_model(folder) / "config.json", dict).get("model_type") == VECTOR_TYPE)


def load_vector_readout(folder: Path) -> tuple[Readout, VectorFields]:
    """The readout alone, which predicts from stored vectors, and what its folder says of these.

    Raises:
        CheckpointError: not such a folder, or weights that do not fit exactly.
    """
    folder = find_model(folder)
    fields, weights = read_checked(folder / "config.json", VectorFields), folder / "model.safetensors"
    readout = built(fields.readout, fields.heads, fields.dim, weights, "")
    load_weights(readout, weights)
    return readout.eval(), fields


def load_vector_recogniser(
    folder: Path, device: str = "cpu", encoder: Path | None = None
) -> tuple[VectorRecogniser, Preprocess]:
    """The readout with its encoder, in evaluation mode.

    Args:
        folder: a model folder, or a run folder that has one in `model/`.
        device: torch device.
        encoder: where the encoder is now; None for where it was when the vectors were made.

    Raises:
        CheckpointError: not such a folder, weights that do not fit exactly, the encoder is not at hand, or nothing says
            how its clips are cut.
        ConfigError: the device is not available.
    """
    readout, fields = load_vector_readout(folder)
    if not (find_model(folder) / "preprocessor_config.json").is_file():
        raise CheckpointError(
            f"{folder} reads out vectors of an earlier version, which do not say how clips are cut, so it cannot read "
            "a video: run `surgvl embed` and `surgvl probe` again, or give stored vectors to `surgvl eval --vectors`"
        )
    preprocess = load_preprocess(find_model(folder))
    needs = f"{folder} reads out vectors of {fields.encoder} ({fields.encoder_hash})"
    remedy = (
        "put that model there, name the folder that it is in (--encoder), or give stored vectors of it to `surgvl eval "
        "--vectors`"
    )
    at, there = encoder or Path(fields.encoder), "there" if encoder is None else f"in {encoder}"
    try:
        found = model_hash(at)
    except (CheckpointError, OSError) as error:
        raise CheckpointError(f"{needs}, which is not {there}: {remedy}") from error
    if found != fields.encoder_hash:
        raise CheckpointError(f"{needs}, but the model {there} is a different one ({found}): {remedy}")
    source, _ = load_model(at, device)
    assert isinstance(source, VideoText | VideoViT)
    model = VectorRecogniser(source, readout)
    place(model, device)
    return model, preprocess
