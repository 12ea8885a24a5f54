"""Models that `embed` can use, in this process or on a server: a dual encoder, or a video encoder."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from surgvl.core.arrays import Float32Array
from surgvl.core.errors import CheckpointError
from surgvl.embed.coarse import encode_coarse
from surgvl.embed.encode_file import encode_file
from surgvl.embed.model_facts import ModelFacts
from surgvl.models.checkpoint import find_model, load_model, model_hash
from surgvl.models.model_info import training_record
from surgvl.models.precision import Precision, set_precision
from surgvl.models.video_text import VideoText
from surgvl.models.vit import VideoViT


@dataclass(frozen=True)
class Embedder(ModelFacts):
    """A model that maps video, and sentences where it has a text tower, to vectors.

    Attributes:
        seconds: maps a video file, and a callback for the number of seconds read, to unit vectors float32 [N, E] and
            their starts and ends in seconds.
        texts: maps sentences to unit vectors float32 [M, E]; None for a video encoder without a text tower.
        precision: in which they are computed.
        few: maps a video file to a few such vectors, spread over it; None where it cannot, as on a server.
        network: the model itself; None where it runs elsewhere.
    """

    seconds: Callable[[Path, Callable[[float], object]], tuple[Float32Array, list[float], list[float]]]
    texts: Callable[[list[str]], Float32Array] | None
    precision: Precision = "float32"
    few: Callable[[Path], tuple[Float32Array, list[float], list[float]]] | None = None
    network: VideoText | VideoViT | None = None


def local_embedder(
    model: Path, stride_s: float | None, batch: int | None, device: str, precision: Precision = "float32"
) -> Embedder:
    """The model of a run folder, in this process; vectors of a video encoder are its mean token, normalised.

    Raises:
        CheckpointError: it is a chat model.
    """
    network, preprocess = load_model(model, device)
    set_precision(network, precision, device)
    preprocess = preprocess.every(stride_s)
    texts: Callable[[list[str]], Float32Array] | None = None
    if isinstance(network, VideoText):
        texts = _text_encoder(network)
    elif not isinstance(network, VideoViT):
        raise CheckpointError(f"{model} holds a chat model, which has no vectors: give an align or pretrain run folder")

    def seconds(path: Path, tick: Callable[[float], object]) -> tuple[Float32Array, list[float], list[float]]:
        return encode_file(network, path, preprocess, batch, device, tick)

    def few(path: Path) -> tuple[Float32Array, list[float], list[float]]:
        return encode_coarse(network, path, preprocess, device)

    name, trained = str(find_model(model).resolve()), training_record(model)
    return Embedder(name, model_hash(model), network.dim, preprocess, trained, seconds, texts, precision, few, network)


def _text_encoder(dual: VideoText) -> Callable[[list[str]], Float32Array]:
    def texts(sentences: list[str]) -> Float32Array:
        if line := dual.left_out(sentences):
            print(line)
        parts = [sentences[at : at + 128] for at in range(0, len(sentences), 128)]
        with torch.inference_mode():
            return torch.cat([dual.encode_text(part).cpu() for part in parts]).numpy()

    return texts
