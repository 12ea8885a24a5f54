"""A video-text model of a server, as the encoder of `surgvl embed`."""

from collections.abc import Callable
from pathlib import Path

from surgvl.core.arrays import Float32Array
from surgvl.embed.embedder import Embedder
from surgvl.models.model_info import find_model, training_record
from surgvl.serve.client import Server
from surgvl.serve.remote import RemoteDual


def remote_encoder(model: Path | None, stride_s: float | None, server: str, api_key: str, in_flight: int) -> Embedder:
    """A server's model; it must equal the one in the folder if a folder is given."""
    dual = RemoteDual(Server(server, api_key, in_flight=in_flight))
    if model is not None:
        dual.check(model)
    facts = dual.training if model is None else training_record(model)
    dim = dual.encode_text(["a"]).shape[1]

    def seconds(path: Path, tick: Callable[[float], object]) -> tuple[Float32Array, list[float], list[float]]:
        return dual.encode_segments(path, dual.preprocess.every(stride_s), tick)

    name = server if model is None else str(find_model(model).resolve())
    return Embedder(name, dual.hash, dim, dual.preprocess.every(stride_s), facts, seconds, dual.encode_text)
