"""A video encoder with a readout as one model: classes and numbers of a clip, or of the clips of a video in order.

Its folder is that of every model here: `config.json`, `model.safetensors` and `preprocessor_config.json`.
Shapes: B clips, T frames, S pixels, N clips of a video, F features of a clip, C outputs of a head.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict
from safetensors.torch import save_file
from torch import Tensor, nn

import surgvl.probe
from surgvl.core.arrays import Float32Array, UInt8Array
from surgvl.core.errors import CheckpointError
from surgvl.core.files import atomic, write_json
from surgvl.core.registry import choose
from surgvl.embed.encode_file import CLIPS
from surgvl.embed.windows import encode_windows, read_windows
from surgvl.models.checkpoint import header, load_weights
from surgvl.models.device import place
from surgvl.models.model_info import check_clips, find_model, load_preprocess
from surgvl.models.schema import read_checked
from surgvl.models.vit import VideoViT
from surgvl.models.vit_config import ViTConfig
from surgvl.probe.base import Readout
from surgvl.probe.fit import predict
from surgvl.probe.labels import Head
from surgvl.probe.tokens import fast, group_tokens
from surgvl.video.clip import Preprocess

MODEL_TYPE = "surgvl_recogniser"
# Of a readout alone (`surgvl.probe.vector_recogniser`).
VECTOR_TYPE = "surgvl_vector_recogniser"


class HeadFields(BaseModel):
    """A head in `config.json`; see `surgvl.probe.labels.Head`."""

    model_config = ConfigDict(extra="forbid")

    name: str
    kind: Literal["one", "many", "number"]
    classes: tuple[str, ...]
    mean: float
    std: float


class Fields(BaseModel):
    """`config.json` of a recogniser."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    model_type: Literal["surgvl_recogniser"]
    architectures: list[str]
    encoder: ViTConfig
    readout: str
    heads: list[HeadFields]
    frame_step: int


class Recogniser(nn.Module):
    """An encoder and a readout.

    Args:
        encoder: of clips of as many frames as it takes, or of a multiple, which it sees in groups.
        readout: of its tokens.
        frame_step: only the middle one of this many consecutive frames is encoded.
    """

    def __init__(self, encoder: VideoViT, readout: Readout, frame_step: int = 1):
        super().__init__()
        self.encoder, self.readout, self.frame_step = encoder, readout, frame_step

    def tokens(self, video: Tensor) -> Tensor:
        """Clips [B, 3, T, S, S], uint8 or float in 0..255 -> float32 [B, K, D]; K = 1 if the readout needs the mean."""
        found = group_tokens(self.encoder, video[:, :, self.frame_step // 2 :: self.frame_step])
        return found.mean(1, keepdim=True) if self.readout.averages else found

    def forward(self, video: Tensor) -> dict[str, Tensor]:
        """Clips -> logits float32 [B, C] by head, of a readout that sees one clip."""
        found: dict[str, Tensor] = self.readout(self.tokens(video))
        return found

    def features(self, video: Tensor) -> Tensor:
        """What is kept of each clip until the video has been read, float32 [B, F]: its mean token, or its logits."""
        # Computed and rounded as the stored tokens that readouts are trained on.
        with fast(video.device):
            tokens = self.tokens(video).half().float()
        if self.readout.averages:
            return tokens[:, 0]
        return torch.cat([values for values in self.readout(tokens).values()], 1)

    def read(
        self, path: Path, preprocess: Preprocess, device: str, tick: Callable[[float], object] = lambda _: None
    ) -> tuple[Float32Array, list[float], list[float]]:
        """Features float32 [N, F] of the clips of a file, and the starts and ends of their segments, seconds.

        Args:
            path: the file, which is streamed.
            preprocess: how its clips are cut.
            device: torch device of the model.
            tick: called with the number of seconds that have been read since the last call.

        Raises:
            DataError: the file cannot be read, or has no frames.
        """

        def ticked() -> Iterator[tuple[float, float, UInt8Array]]:
            for start_s, end_s, clip in read_windows(path, preprocess):
                yield start_s, end_s, clip
                tick(end_s - start_s)

        return encode_windows(self.features, ticked(), CLIPS, device)

    def recognise(self, features: Tensor) -> dict[str, Tensor]:
        """Features of the clips of one video in order [N, F] -> logits float32 [N, C] by head."""
        if self.readout.averages:
            rows = [torch.arange(len(features)).numpy()]
            found = predict(self.readout, features[:, None].cpu().numpy(), rows)
            return {name: torch.from_numpy(values) for name, values in found.items()}
        sizes = [head.size for head in self.readout.asked]
        return dict(zip((head.name for head in self.readout.asked), torch.split(features, sizes, 1), strict=True))


def save_recogniser(model: Recogniser, folder: Path, preprocess: Preprocess) -> None:
    """Write a model folder, the weights last.

    Args:
        model: of a readout that comes with surgvl or is importable.
        folder: created if missing.
        preprocess: how its clips are cut.
    """
    folder.mkdir(parents=True, exist_ok=True)
    fields: dict[str, Any] = {
        "model_type": MODEL_TYPE,
        "architectures": ["Recogniser"],
        "encoder": model.encoder.config.to_dict(),
        **described(model.readout),
        "frame_step": model.frame_step,
    }
    write_json(folder / "config.json", fields)
    write_json(folder / "preprocessor_config.json", asdict(preprocess))
    save_weights(model, folder)


def described(readout: Readout) -> dict[str, Any]:
    """The fields `readout` and `heads` of a `config.json`."""
    kind = type(readout)
    name = kind.name if kind.__module__.startswith("surgvl.") else f"{kind.__module__}.{kind.__qualname__}"
    return {"readout": name, "heads": [asdict(head) for head in readout.asked]}


def save_weights(model: nn.Module, folder: Path) -> None:
    """Write `model.safetensors`."""
    weights = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    with atomic(folder / "model.safetensors") as path:
        save_file(weights, path, metadata={"format": "pt"})


def built(name: str, heads: Sequence[HeadFields], dim: int, weights: Path, prefix: str) -> Readout:
    """An untrained readout into which the weights of a file fit, where their names begin with a prefix.

    Raises:
        CheckpointError: the file cannot be read.
        ConfigError: there is no such readout.
    """
    readout = choose(surgvl.probe, Readout, name)(dim, [Head(**head.model_dump()) for head in heads])
    shapes = {key.removeprefix(prefix): shape for key, shape in header(weights).items() if key.startswith(prefix)}
    readout.resize(shapes)
    return readout


def is_recogniser(folder: Path) -> bool:
    """Whether a run folder or model folder holds a recogniser, or the readout of one.

    Raises:
        CheckpointError: it holds no model.
    """
    fields: Mapping[str, Any] = read_checked(find_model(folder) / "config.json", dict[str, Any])
    return fields.get("model_type") in (MODEL_TYPE, VECTOR_TYPE)


def load_recogniser(folder: Path, device: str = "cpu") -> tuple[Recogniser, Preprocess]:
    """Load the recogniser of a folder, in evaluation mode.

    Args:
        folder: a model folder, or a run folder that has one in `model/`.
        device: torch device.

    Raises:
        CheckpointError: not such a folder, or weights that do not fit exactly.
        ConfigError: the device is not available.
    """
    folder = find_model(folder)
    path, weights = folder / "config.json", folder / "model.safetensors"
    fields = read_checked(path, Fields)
    preprocess = load_preprocess(folder)
    if fields.frame_step < 1 or preprocess.num_frames % (fields.encoder.num_frames * fields.frame_step):
        raise CheckpointError(f"{path}: frame_step {fields.frame_step} does not fit its clips: train the readout again")
    own = asdict(preprocess) | {"num_frames": fields.encoder.num_frames}
    check_clips(fields.encoder, Preprocess(**own), folder)
    readout = built(fields.readout, fields.heads, fields.encoder.dim, weights, "readout.")
    model = Recogniser(VideoViT(fields.encoder), readout, fields.frame_step)
    load_weights(model, weights)
    return place(model, device), preprocess
