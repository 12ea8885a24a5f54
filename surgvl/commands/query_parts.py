"""The query of `search` as it is typed: VIDEO@TIME, VIDEO@START-END, sentences, pictures; and what encodes it."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from surgvl.commands.common import is_server
from surgvl.core.arrays import Float32Array
from surgvl.core.errors import ConfigError, DataError
from surgvl.core.times import seconds
from surgvl.embed.vectors import unit
from surgvl.retrieval.clip_index import ClipIndex
from surgvl.retrieval.where import Segment

if TYPE_CHECKING:
    from surgvl.api import DualModel
    from surgvl.serve.remote import RemoteDual


def segments(flag: str, texts: Sequence[str] | None) -> tuple[Segment, ...]:
    """Moments as typed: VIDEO@TIME is (VIDEO, TIME, TIME).

    Raises:
        ConfigError: one is not such a moment.
    """
    return tuple(_segment(flag, text) for text in texts or ())


def _segment(flag: str, text: str) -> Segment:
    name, _, time = text.rpartition("@")
    if not name:
        raise ConfigError(
            f"{flag} must be VIDEO@TIME or VIDEO@START-END, such as video01@12.5 or video01@0:12-0:20, got {text!r}"
        )
    first, dash, last = time.partition("-")
    start_s = seconds(first, f"{flag} {text!r}:")
    end_s = seconds(last, f"{flag} {text!r}:") if dash else start_s
    if end_s < start_s:
        raise ConfigError(f"{flag} {text!r} ends before it starts: give START-END")
    return name, start_s, end_s


@dataclass
class QueryEncoder:
    """Encodes the parts of a query; the model is loaded by the first part that needs it.

    Attributes:
        index: whose vectors they are compared with.
        model: the model that made the vectors, if it was moved.
        device: torch device.
        server: address of a server that has the model; empty: this process.
        api_key: the server's key.
    """

    index: ClipIndex
    model: Path | None = None
    device: str = "cpu"
    server: str = ""
    api_key: str = ""

    def text(self, sentence: str) -> Float32Array:
        """Unit vector [E] of a sentence."""
        found: Float32Array = self.encoder.encode_text([sentence])[0]
        return found

    def image(self, path: Path) -> Float32Array:
        """Unit vector [E] of a picture, as a clip in which nothing moves.

        Raises:
            DataError: it is not a picture.
        """
        found: Float32Array = self.encoder.encode_video(path, at_s=0.0)[0]
        return found

    def moment(self, segment: Segment) -> Float32Array:
        """Unit vector [E] of a moment of the index, or of a file.

        Raises:
            DataError: neither a video of the index nor a file.
        """
        name, start_s, end_s = segment
        if name in self.index.counts("video_id"):
            return self.index.vector_of(segment)
        if not os.path.exists(name):
            raise DataError(f"{name!r} is neither a video of {self.index.folder} nor a file: check the id or the path")
        # One clip a second of a range, as an index has them.
        times = np.arange(start_s + 0.5, end_s, 1.0) if end_s - start_s > 1 else [(start_s + end_s) / 2]
        encode: Callable[..., Float32Array] = self.encoder.encode_video
        return unit(np.mean([encode(name, at_s=float(at_s))[0] for at_s in times], 0))

    @cached_property
    def encoder(self) -> "DualModel | RemoteDual":
        """The model.

        Raises:
            ConfigError: both a model and a server are given.
            DataError: it is not the one that made the vectors, or is gone.
        """
        if self.server:
            if self.model is not None:
                raise ConfigError("--server and --model must not be given together: choose where the model runs")
            from surgvl.serve.client import Server
            from surgvl.serve.remote import RemoteDual

            remote = RemoteDual(Server(self.server, self.api_key))
            self.index.check_model(remote.hash, f"the model of {self.server}")
            return remote
        made_with = self.index.model
        if self.model is None and is_server(made_with):
            raise DataError(
                f"{self.index.folder} was made with the model behind {made_with}: give it as --server, or its "
                "folder as --model"
            )
        if self.model is None and not Path(made_with).exists():
            raise DataError(
                f"{self.index.folder} was made with model {made_with}, which does not exist: give its new folder "
                "as --model"
            )
        # Torch and the model are wanted only here: a moment of the index needs neither.
        from surgvl.api import DualModel, load

        loaded = load(self.model or made_with, self.device)
        if not isinstance(loaded, DualModel):
            raise DataError(f"{loaded.folder} is not a video-text model: give the one that made the vectors as --model")
        self.index.check_model(loaded.hash, f"the model in {loaded.folder}")
        return loaded
