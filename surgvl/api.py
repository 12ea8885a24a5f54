"""The Python API: `surgvl.load(folder)` returns an encoder, a video-text model or an answerer by what the folder says.

A video is a path, an array or a tensor: uint8 [T, H, W, 3] frames that are taken as one clip.
Shapes: B clips, T frames, S their side in pixels, E width of the vectors, C classes, N windows.
"""

import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from surgvl import video
from surgvl.chat.answerer import Answerer
from surgvl.chat.vision_language_config import ClipInput, ReplyConfig, is_vision_language
from surgvl.core.arrays import softmax
from surgvl.core.checks import text_list
from surgvl.core.errors import CheckpointError, ConfigError, DataError, SurgVLWarning
from surgvl.embed.encode_file import encode_file
from surgvl.embed.label import Label
from surgvl.export.zero_shot_model import ZeroShotModel
from surgvl.models.checkpoint import LoadedModel, load_model
from surgvl.models.model_info import find_model, resolve_model
from surgvl.models.schema import read_checked
from surgvl.models.store import CARD, Card, with_network
from surgvl.models.video_text import VideoText
from surgvl.models.vit import VideoViT
from surgvl.probe.recogniser import is_recogniser
from surgvl.probe.recognition import Recognition
from surgvl.video.clip import Preprocess, VideoLike

if TYPE_CHECKING:
    from surgvl.chat.answerers import LocalAnswerer
    from surgvl.serve.remote import RemoteRecognition


class Encoder(LoadedModel):
    """A bare video encoder."""

    model: VideoViT

    def encode_video(self, source: VideoLike, at_s: float | None = None) -> NDArray[np.float32]:
        """Tokens of one clip, float32 [N tokens, D]."""
        with torch.inference_mode():
            tokens: NDArray[np.float32] = self.model(self.clip(source, at_s))[0].float().cpu().numpy()
        return tokens


class DualModel(LoadedModel, ZeroShotModel):
    """A video tower and a text tower in one space."""

    model: VideoText

    @property
    def scale(self) -> float:
        """Factor of the cosines before the softmax."""
        return float(self.model.logit_scale.detach().exp())

    @property
    def described(self) -> str:
        """Its folder and hash."""
        return f"{self.folder} ({self.hash})"

    @property
    def card(self) -> Card | None:
        """Whose a published model is: `licence`, `commercial`, `source`, `sha256` of its files; None without a card.

        Raises:
            CheckpointError: its `model_card.json` is damaged.
        """
        path = find_model(self.folder) / CARD
        return read_checked(path, Card) if path.is_file() else None

    def encode_video(self, source: VideoLike, at_s: float | None = None) -> NDArray[np.float32]:
        """Unit vectors float32 [N, E].

        A path without `at_s` gives one vector a second of the video; a moment or an array gives one vector.
        """
        if isinstance(source, str | Path) and at_s is None:
            return self.encode_seconds(source)[0]
        with torch.inference_mode():
            found: NDArray[np.float32] = self.model.encode_video(self.clip(source, at_s)).cpu().numpy()
        return found

    def encode_clips(self, clips: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Unit vectors float32 [B, E] of B clips uint8 [T, S, S, 3] as `frames` cuts them, in one batch."""
        with torch.inference_mode():
            found: NDArray[np.float32] = self.model.encode_video(self.batch(list(clips))).cpu().numpy()
        return found

    def encode_seconds(
        self, path: str | Path, stride_s: float | None = None
    ) -> tuple[NDArray[np.float32], list[float], list[float]]:
        """One unit vector for each segment of a video: [N, E], starts and ends in seconds. Streams the file.

        Args:
            path: the file.
            stride_s: length of a segment, seconds; the model's `step_s` by default.

        Raises:
            ConfigError: the stride is out of range.
            DataError: the file cannot be read.
        """
        return self.encode_segments(Path(path), self.preprocess.every(stride_s))

    def encode_segments(
        self, path: Path, preprocess: Preprocess, tick: Callable[[float], object] = lambda _: None
    ) -> tuple[NDArray[np.float32], list[float], list[float]]:
        """As `encode_seconds`, with clips cut in another way than the model's own."""
        return encode_file(self.model, path, preprocess, None, self.device, tick)

    def encode_text(self, sentences: str | Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors float32 [number of sentences, E]; a single sentence is one row, an empty list no rows.

        Warns with the number of tokens that exceed the text tower's context and were truncated.

        Raises:
            DataError: a sentence is not a string.
        """
        texts = text_list(sentences, "sentences")
        if not texts:
            return np.zeros((0, self.model.dim), np.float32)
        if line := self.left_out(texts):
            warnings.warn(line, SurgVLWarning, stacklevel=2)
        with torch.inference_mode():
            found: NDArray[np.float32] = self.model.encode_text(texts).cpu().numpy()
        return found

    def left_out(self, sentences: Sequence[str]) -> str:
        """A line that says how many tokens of the sentences exceed the text tower's context; empty if none do."""
        return self.model.left_out(list(sentences))

    def classify(self, source: VideoLike, prompt_set: str, at_s: float | None = None) -> list[Label]:
        """Zero-shot classification (CLIP, arXiv 2103.00020) of each second of a video, or of one clip.

        Args:
            source: a path (one label a second) or frames (one label).
            prompt_set: name or file of a prompt set, such as `cholec80_phase`.
            at_s: only this moment of a file.
        """
        names, classes = self.class_vectors(prompt_set)
        if isinstance(source, str | Path) and at_s is None:
            found, starts, ends = self.encode_seconds(source)
        else:
            found = self.encode_video(source, at_s)
            span_s = 0.0, self.preprocess.clip_s
            if isinstance(source, str | Path) and at_s is not None:
                span_s = self.preprocess.span_s(at_s, video.probe(source).duration_s)
            starts, ends = [span_s[0]], [span_s[1]]
        cosines = found @ classes.T
        probabilities = softmax(cosines, self.scale)
        best = cosines.argmax(1)
        return [
            Label(starts[row], ends[row], names[k], float(cosines[row, k]), float(probabilities[row, k]))
            for row, k in enumerate(best)
        ]

    def search(self, query: VideoLike, index: str | Path, k: int = 5, at_s: float | None = None) -> Any:
        """Moments of an index folder that are similar to a sentence or a clip.

        Args:
            query: a sentence; or a path, or frames.
            index: index folder (surgvl index).
            k: number of moments.
            at_s: moment of the query video.

        Returns:
            Moments, best first: video_id, path, start_s, end_s, score. Their `remark` is a line if the scores say
            little, else empty.

        Raises:
            DataError: a file that does not exist, an empty query, or not an index folder of this model.
            ConfigError: k below 1.
        """
        from surgvl.retrieval.clip_index import ClipIndex
        from surgvl.retrieval.moments import looks_like_a_file

        if isinstance(query, str) and not query.strip():
            raise DataError("the query is empty: give a sentence, a video file or frames")
        # Path.exists raises for a sentence that is too long for a file name.
        text = str(query) if isinstance(query, str | Path) and not os.path.exists(query) else ""
        if text and (isinstance(query, Path) or looks_like_a_file(text)):
            raise DataError(f"{text} does not exist: give an existing file, or a sentence")
        with ClipIndex.open(index, model_hash=self.hash) as clip_index:
            if text:
                return clip_index.search(self.encode_text([text])[0], k)
            return clip_index.search(self.encode_video(query, at_s).mean(0), k, is_foreign_clip=True)


def load(
    folder: str | Path,
    device: str = "cpu",
    fetch: bool = False,
    dim: int | None = None,
    encoder: str | Path | None = None,
) -> "Encoder | DualModel | Recognition | LocalAnswerer":
    """Load a model by what its folder says.

    Args:
        folder: a model folder, a run folder, or a name, as of `surgvl models list`, `hf:ID` or `open_clip:ARCH@TAG`.
        device: torch device.
        fetch: fetch a named model that is not on this machine; nothing else uses the network.
        dim: width of the vectors of a model that has several (Matryoshka); NAME:512 says the same.
        encoder: for a readout of stored vectors: where the model that made them is now, if it was moved.

    Returns:
        An encoder, a video-text model, a recogniser (`surgvl probe` and `finetune`), or the answerer of a chat model.

    Raises:
        CheckpointError: not a model of ours, weights that do not fit, or an encoder other than that of the vectors.
        ConfigError: an encoder for a model that holds its own.
    """
    with with_network(fetch):
        path = resolve_model(folder if dim is None else f"{folder}:{dim}")
        if is_recogniser(path):
            return Recognition.load(path, device, None if encoder is None else resolve_model(encoder))
        if encoder is not None:
            raise ConfigError(f"--encoder {encoder}: {folder} reads out no stored vectors: leave it out")
        model, preprocess = load_model(path, device)
    if isinstance(model, VideoText):
        return DualModel(model, preprocess, path, device)
    if isinstance(model, VideoViT):
        return Encoder(model, preprocess, path, device)
    # transformers, which chat models need, takes seconds to import.
    from surgvl.chat.answerers import local_answerer

    return local_answerer(model, preprocess, path, device)


def load_recogniser(
    model: str | Path | None = None, device: str = "cpu", server: str = "", api_key: str | None = None
) -> "Recognition | RemoteRecognition":
    """A trained readout in this process, or behind an address: `report` says what is in each clip of a video.

    Arguments and errors are those of `load_answerer`; the model is a run folder of `surgvl probe` or `finetune`.
    """
    if server:
        from surgvl.serve.remote import remote_recognition

        return remote_recognition(model, server, api_key)
    if model is None:
        raise ConfigError("give a model, a run folder of `surgvl probe`, or the address of a server")
    return Recognition.load(resolve_model(model), device)


def load_answerer(
    model: str | Path | None = None,
    device: str = "cpu",
    server: str = "",
    api_key: str | None = None,
    in_flight: int = 8,
    by_likelihood: bool = True,
    clip: ClipInput = ClipInput(),  # noqa: B008 (frozen)
    reply: ReplyConfig = ReplyConfig(),  # noqa: B008 (frozen)
    seed: int = 0,
) -> Answerer:
    """Whatever answers questions: a model in this process, or the one behind an address.

    Args:
        model: folder of a chat model or of an adapter (`surgvl tune`); `hf:` and the folder or hub id of any
            image-text-to-text model; a video-text model, which only chooses; with `surgvl serve`, the model that it
            must serve; else a name of the server's.
        device: torch device of a model in this process.
        server: address of `surgvl serve`, or any OpenAI-compatible address.
        api_key: the server's key, or @FILE that contains it; SURGVL_API_KEY by default.
        in_flight: most requests to the server at a time.
        by_likelihood: choose closed answers of a server by their likelihood, with one request for each, if it can.
        clip: what a general vision-language model is shown.
        reply: how it replies.
        seed: of its sampling.

    Raises:
        CheckpointError: the folder's model answers nothing, or the server serves another model.
        ConfigError: neither model nor server, or the server has no such model.
        ServerError: the server cannot be reached, or serves no chat model.
    """
    if server:
        from surgvl.serve.remote_answerer import remote_answerer

        return remote_answerer(model, server, api_key, in_flight, by_likelihood, clip, reply, seed)
    if model is not None and is_vision_language(str(model)):
        from surgvl.chat.hf_answerer import HfAnswerer

        return HfAnswerer(str(model), device, clip, reply, seed, by_likelihood)
    if model is None:
        raise ConfigError("give --model, a run folder of `surgvl tune`, or --server, the address of `surgvl serve`")
    found = load(model, device)
    if isinstance(found, DualModel):
        from surgvl.chat.zero_shot_answerer import ZeroShotAnswerer

        return ZeroShotAnswerer(found.model, found.preprocess, found.folder, device)
    if not isinstance(found, Answerer):
        raise CheckpointError(f"{model} is a {type(found.model).__name__}, no chat model: give one of `surgvl tune`")
    return found
