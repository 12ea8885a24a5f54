"""Video-text models that `embed` works with: in this process, or behind a server."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from surgvl.core.arrays import Float32Array, UInt8Array
from surgvl.core.errors import CheckpointError
from surgvl.embed.windows import encode_windows, read_windows
from surgvl.models.checkpoint import find_model, load_model, model_hash
from surgvl.models.dual import Dual
from surgvl.models.model_info import trained
from surgvl.video.clip import Preprocess


@dataclass(frozen=True)
class Encoder:
    """A video-text model, in this process or behind a server.

    Attributes:
        name: folder or address.
        hash: of the model.
        dim: E.
        preprocess: how its clips are cut.
        trained: what it was trained on, see `models.files.trained`; empty where that is not known.
        seconds: a video file, and what is told how many seconds each time were read, to unit vectors float32 [N, E],
            starts and ends in seconds.
        texts: sentences to unit vectors float32 [M, E].
    """

    name: str
    hash: str
    dim: int
    preprocess: Preprocess
    trained: dict[str, Any]
    seconds: Callable[[Path, Callable[[float], object]], tuple[Float32Array, list[float], list[float]]]
    texts: Callable[[list[str]], Float32Array]


def local(model: Path, stride_s: float, batch: int, device: str) -> Encoder:
    """A model of a run folder, in this process.

    Raises:
        CheckpointError: it is not a video-text model.
    """
    dual, preprocess = load_model(model, device)
    if not isinstance(dual, Dual):
        raise CheckpointError(
            f"{model} holds a {type(dual).__name__}, not a video-text model: give an align run folder"
        )

    def seconds(path: Path, tick: Callable[[float], object]) -> tuple[Float32Array, list[float], list[float]]:
        def told() -> Iterator[tuple[float, float, UInt8Array]]:
            for window in read_windows(path, preprocess, stride_s):
                yield window
                tick(stride_s)

        return encode_windows(dual, told(), batch, device)

    def texts(sentences: list[str]) -> Float32Array:
        if line := dual.text.left_out(sentences):
            print(line)
        parts = [sentences[at : at + 128] for at in range(0, len(sentences), 128)]
        with torch.inference_mode():
            return torch.cat([dual.encode_text(part).cpu() for part in parts]).numpy()

    folder = find_model(model)
    return Encoder(str(folder.resolve()), model_hash(model), dual.dim, preprocess, trained(model), seconds, texts)
