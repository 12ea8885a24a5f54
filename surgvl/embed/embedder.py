"""Models that `embed` can use, in this process or on a server: a dual encoder, or a video encoder."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from surgvl.core.arrays import Float32Array
from surgvl.embed.coarse import encode_coarse
from surgvl.embed.encode_file import encode_file
from surgvl.models.checkpoint import load_model
from surgvl.models.device import Precision, set_precision
from surgvl.models.model_info import ModelFacts, model_facts
from surgvl.models.video_text import VideoText
from surgvl.models.vit import VideoViT
from surgvl.video.marks import counted


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

    def encode_video(
        self, path: Path, tick: Callable[[float], object]
    ) -> tuple[Float32Array, list[float], list[float], str]:
        """What a shard holds of a video: vectors [N, E], starts and ends in seconds, a line about damaged frames.

        Args:
            path: the file.
            tick: called with the number of seconds read since the last call; what it raises ends the work.

        Raises:
            DataError: the file cannot be read.
        """
        with counted() as marks:
            found, starts, ends = self.seconds(path, tick)
        return found, starts, ends, marks.line(path)


def local_embedder(
    model: Path, stride_s: float | None, batch: int | None, device: str, precision: Precision = "float32"
) -> Embedder:
    """The model of a run folder, in this process; vectors of a video encoder are its mean token, normalised.

    Raises:
        CheckpointError: it is a chat model.
    """
    facts = model_facts(model, stride_s)
    network, _ = load_model(model, device)
    assert isinstance(network, VideoText | VideoViT)
    set_precision(network, precision, device)
    preprocess = facts.preprocess

    def seconds(path: Path, tick: Callable[[float], object]) -> tuple[Float32Array, list[float], list[float]]:
        return encode_file(network, path, preprocess, batch, device, tick)

    def few(path: Path) -> tuple[Float32Array, list[float], list[float]]:
        return encode_coarse(network, path, preprocess, device)

    texts = _text_encoder(network) if isinstance(network, VideoText) else None
    return Embedder(**vars(facts), seconds=seconds, texts=texts, precision=precision, few=few, network=network)


def _text_encoder(dual: VideoText) -> Callable[[list[str]], Float32Array]:
    def texts(sentences: list[str]) -> Float32Array:
        if line := dual.left_out(sentences):
            print(line)
        parts = [sentences[at : at + 128] for at in range(0, len(sentences), 128)]
        with torch.inference_mode():
            return torch.cat([dual.encode_text(part).cpu() for part in parts]).numpy()

    return texts
