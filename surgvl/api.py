"""The Python face: `surgvl.load(folder)` gives an encoder, a video-text model or a chat model by what the folder says.

A video is a path, an array or a tensor: uint8 [T, H, W, 3] frames that are taken as one clip.
Shapes: T frames, E width of the vectors, C classes, N seconds.
"""

import os
import warnings
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from surgvl import prompts, video
from surgvl.chat.answer import candidate_scores, generate
from surgvl.chat.head import Head, has_head, load_head, states
from surgvl.chat.known import find_known
from surgvl.core.errors import ConfigError, DataError, SurgVLWarning
from surgvl.core.labels import Label
from surgvl.core.texts import short, words
from surgvl.embed.vectors import unit
from surgvl.embed.windows import encode_windows, read_windows
from surgvl.models.chat import Chat
from surgvl.models.checkpoint import Model, find_model, load_model, model_hash, resolve_model
from surgvl.models.dual_encoder import DualEncoder
from surgvl.models.model_info import load_answers
from surgvl.models.vit import VideoViT
from surgvl.video.clip import Preprocess, clip_start, extract_clip

VideoLike = str | Path | NDArray[np.uint8] | torch.Tensor


class Loaded:
    """A model with its preprocessing.

    Args:
        model: in evaluation mode.
        preprocess: how clips are cut.
        folder: where it came from.
        device: torch device.
    """

    def __init__(self, model: Model, preprocess: Preprocess, folder: Path, device: str):
        self.model, self.preprocess, self.folder, self.device = model, preprocess, folder, device

    @property
    def hash(self) -> str:
        """Hash of the folder's configuration and weights."""
        return model_hash(self.folder)

    def frames(self, source: VideoLike, at_s: float | None = None) -> NDArray[np.uint8]:
        """One clip as the model takes it, uint8 [T, S, S, 3]; see `clip`."""
        return extract_clip(
            source.detach().cpu().numpy() if isinstance(source, torch.Tensor) else source, self.preprocess, at_s
        )

    def clip(self, source: VideoLike, at_s: float | None = None) -> torch.Tensor:
        """One clip as the model takes it, uint8 [1, 3, T, S, S].

        Args:
            source: a path; or frames uint8 [T, H, W, 3], resampled in time and size.
            at_s: centre of the clip in a file, seconds; its middle where it is left out.

        Raises:
            DataError: the array is not frames, or the file cannot be read there.
        """
        frames = np.ascontiguousarray(self.frames(source, at_s))
        return torch.from_numpy(frames).permute(3, 0, 1, 2)[None].to(self.device)


class Encoder(Loaded):
    """A bare video encoder."""

    model: VideoViT

    def encode_video(self, source: VideoLike, at_s: float | None = None) -> NDArray[np.float32]:
        """Tokens of one clip, float32 [N tokens, D]."""
        with torch.inference_mode():
            tokens: NDArray[np.float32] = self.model(self.clip(source, at_s))[0].float().cpu().numpy()
        return tokens


class DualModel(Loaded):
    """A video tower and a text tower in one space."""

    model: DualEncoder

    def encode_video(self, source: VideoLike, at_s: float | None = None) -> NDArray[np.float32]:
        """Unit vectors float32 [N, E].

        A path without `at_s` gives one vector for each second of the video; a moment or an array gives one vector.
        """
        if isinstance(source, str | Path) and at_s is None:
            return self.encode_seconds(source)[0]
        with torch.inference_mode():
            found: NDArray[np.float32] = self.model.encode_video(self.clip(source, at_s)).cpu().numpy()
        return found

    def encode_clips(self, clips: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Unit vectors float32 [B, E] of B clips uint8 [T, S, S, 3] as `frames` cuts them, in one batch."""
        with torch.inference_mode():
            batch = torch.from_numpy(np.stack(clips)).permute(0, 4, 1, 2, 3).to(self.device)
            found: NDArray[np.float32] = self.model.encode_video(batch).cpu().numpy()
        return found

    def encode_seconds(
        self, path: str | Path, stride_s: float = 1.0
    ) -> tuple[NDArray[np.float32], list[float], list[float]]:
        """One unit vector for each stretch of a video: [N, E], starts and ends in seconds. Streams the file.

        Raises:
            DataError: the stride is not above 0, or the file cannot be read.
        """
        if not 0 < stride_s < float("inf"):
            raise DataError(f"stride_s {stride_s} is not above 0: give seconds above 0, such as 1.0")
        windows = read_windows(Path(path), self.preprocess, stride_s)
        return encode_windows(self.model.encode_video, windows, 32, self.device)

    def encode_text(self, sentences: str | Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors float32 [number of sentences, E]; a single sentence is one row, and none are no rows.

        A warning says how many tokens are beyond the text tower's context and were left out.

        Raises:
            DataError: something else than sentences.
        """
        texts = words(sentences, "sentences")
        if not texts:
            return np.zeros((0, self.model.dim), np.float32)
        if line := self.left_out(texts):
            warnings.warn(line, SurgVLWarning, stacklevel=2)
        with torch.inference_mode():
            found: NDArray[np.float32] = self.model.encode_text(texts).cpu().numpy()
        return found

    def left_out(self, sentences: Sequence[str]) -> str:
        """A line that says how many tokens of the sentences are beyond the tower's context; empty where none is."""
        return self.model.text.left_out(list(sentences))

    def class_vectors(self, prompt_set: str) -> tuple[list[str], NDArray[np.float32]]:
        """Class names [C] and vectors [C, E]: the mean of each class's prompt vectors, at unit length."""
        rows = prompts.load(prompt_set).texts()
        each = self.encode_text([row[2] for row in rows])
        names = list(dict.fromkeys(row[1] for row in rows))
        sums = np.zeros((len(names), each.shape[1]), np.float32)
        np.add.at(sums, [row[0] for row in rows], each)
        return names, unit(sums)

    def classify(self, source: VideoLike, prompt_set: str, at_s: float | None = None) -> list[Label]:
        """Zero-shot class of each second of a video, or of one clip.

        Args:
            source: a path (one label for each second) or frames (one label).
            prompt_set: name or file of a prompt set, such as `cholec80_phase`.
            at_s: only this moment of a file.
        """
        names, classes = self.class_vectors(prompt_set)
        if isinstance(source, str | Path) and at_s is None:
            found, starts, ends = self.encode_seconds(source)
        else:
            found = self.encode_video(source, at_s)
            clip_s = self.preprocess.clip_s
            starts, ends = [0.0], [clip_s]
            if isinstance(source, str | Path) and at_s is not None:
                # Where the clip lies: shifted into the video at its ends.
                duration_s = video.probe(source).duration_s
                starts = [clip_start(at_s, self.preprocess.clip_s, duration_s)]
                ends = [min(starts[0] + clip_s, duration_s)]
        cosines = found @ classes.T
        scaled = np.exp((cosines - cosines.max(1, keepdims=True)) * float(self.model.logit_scale.detach().exp()))
        shares = scaled / scaled.sum(1, keepdims=True)
        best = cosines.argmax(1)
        return [
            Label(starts[row], ends[row], names[k], float(cosines[row, k]), float(shares[row, k]))
            for row, k in enumerate(best)
        ]

    def search(self, query: VideoLike, index: str | Path, k: int = 5, at_s: float | None = None) -> Any:
        """Moments of an index folder like a sentence or a clip.

        Args:
            query: a sentence; or a path, or frames.
            index: index folder (surgvl index).
            k: number of moments.
            at_s: moment of the query video.

        Returns:
            Moments, best first: video_id, path, start_s, end_s, score; their `remark` is a line where the scores say
            little, and empty otherwise.

        Raises:
            DataError: a file that is not there, an empty query, or not an index folder of this model.
            ConfigError: k below 1.
        """
        from surgvl.retrieval.clip_index import ClipIndex
        from surgvl.retrieval.moments import looks_like_a_file

        if isinstance(query, str) and not query.strip():
            raise DataError("the query is empty: give a sentence, a video file or frames")
        # os.path, because a sentence can be too long for a file's name.
        is_absent = isinstance(query, str | Path) and not os.path.exists(query)
        if is_absent and (isinstance(query, Path) or looks_like_a_file(str(query))):
            raise DataError(f"{query} is not there: give a file that is, or a sentence")
        with ClipIndex.open(index, model_hash=self.hash) as clip_index:
            if is_absent:
                return clip_index.search(self.encode_text([str(query)])[0], k)
            return clip_index.search(self.encode_video(query, at_s).mean(0), k, is_foreign_clip=True)


class ChatModel(Loaded):
    """A model that answers questions about clips."""

    model: Chat

    def known_answers(self) -> list[str]:
        """The closed answer set the model was tuned on; empty where it has none."""
        return load_answers(self.folder).answers

    def known_questions(self) -> dict[str, str]:
        """Closed questions that the model was tuned on, with their types."""
        return load_answers(self.folder).questions

    @cached_property
    def head(self) -> Head | None:
        """The classification head of `surgvl tune --finetune head`; None where the model has none."""
        folder = find_model(self.folder)
        return load_head(self.model, folder, self.device) if has_head(folder) else None

    def ask(
        self, source: VideoLike, question: str, at_s: float | None = None, answers: str | Sequence[str] | None = None
    ) -> str:
        """Answer a question about one clip.

        Args:
            source: a path or frames.
            question: in plain language.
            at_s: the moment in a file; its middle where it is left out.
            answers: allowed answers. Without them, a question that the model was tuned on as a closed one is answered
                from its own answer set, whatever its case, blanks and final punctuation, and any other freely.

        Raises:
            ConfigError: the model has a classification head, which cannot write, and the question is none it knows.
            DataError: an answer that the classification head does not have.
        """
        question = short(question)
        answers = None if answers is None else words(answers, "answers")
        if answers is None and (known := find_known(question, self.known_questions())):
            question, answers = known, self.known_answers()
        if answers:
            return self.shares(source, question, answers, at_s)[0][0]
        if self.head is not None:
            raise ConfigError(
                f"{question!r} is to be answered freely, which a classification head cannot: ask one of "
                f"{', '.join(map(repr, self.known_questions()))}, or give answers to choose from"
            )
        with torch.inference_mode():
            return generate(self.model, self.model.see(self.clip(source, at_s)), question)[0]

    def shares(
        self, source: VideoLike, question: str, answers: str | Sequence[str], at_s: float | None = None
    ) -> list[tuple[str, float]]:
        """Allowed answers with their softmax shares, best first; the first is what `ask` says.

        Shares are of the likelihood of each answer as written, or with a classification head of its scores.

        Args:
            source: a path or frames.
            question: in plain language.
            answers: allowed answers.
            at_s: the moment in a file; its middle where it is left out.
        """
        question, answers = short(question), words(answers, "answers")
        with torch.inference_mode():
            pooled = self.model.see(self.clip(source, at_s))
            if self.head is None:
                scores = candidate_scores(self.model, pooled, question, list(answers))[0]
            else:
                scores = self.head(states(self.model, pooled, [question]))[0, self.head.numbers(answers)]
            shares = scores.softmax(0).tolist()
        return sorted(zip(answers, shares, strict=True), key=lambda pair: -pair[1])


def load(folder: str | Path, device: str = "cpu") -> Encoder | DualModel | ChatModel:
    """Load a model by what its folder says.

    Args:
        folder: a model folder, a run folder, or the id of a model on the Hugging Face hub.
        device: torch device.

    Raises:
        CheckpointError: not a model of ours, or weights that do not fit.
    """
    path = resolve_model(folder)
    model, preprocess = load_model(path, device)
    if isinstance(model, DualEncoder):
        return DualModel(model, preprocess, path, device)
    if isinstance(model, Chat):
        return ChatModel(model, preprocess, path, device)
    return Encoder(model, preprocess, path, device)
