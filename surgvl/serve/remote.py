"""Models behind a server, with the interface of those in this process.

    answerer = ServerAnswerer(Server("http://127.0.0.1:8000"))
    answerer.ask("operation.mp4", "Which phase is it?", at_s=61.0)

Clips are cut here as they are in process, so a model gets the same bytes.
Shapes: T frames, S side in pixels, B clips, N windows, E width of the vectors.
"""

from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from surgvl.chat.answerer import Answer, Answerer, Question, Window, most_probable
from surgvl.chat.question_rows import window_frames
from surgvl.chat.replies import Reply
from surgvl.core.arrays import UInt8Array
from surgvl.core.errors import CheckpointError, DataError, ServerError
from surgvl.data.frame_store import FrameStore
from surgvl.embed.windows import read_windows
from surgvl.export.zero_shot_model import ZeroShotModel
from surgvl.models.model_info import model_hash
from surgvl.models.schema import AnswersFile
from surgvl.serve.client import Server
from surgvl.serve.in_flight import in_order
from surgvl.video.clip import Preprocess, VideoLike, extract_clip

# Longest wait for what a readout says of a video.
RECOGNISE_S = 3600.0


class RemoteModel:
    """One model of a server.

    Args:
        server: where it runs.
        role: `chat`, `embed` or `readout`.

    Attributes:
        preprocess: how the model takes clips.
        hash: of its configuration and weights.
        training: record of its training; empty if there is none.

    Raises:
        ServerError: the server cannot be reached, or serves no such model.
    """

    def __init__(self, server: Server, role: str) -> None:
        self.server, self.device = server, server.url
        about = server.about()
        if role not in about:
            there = " and ".join(name for name in ("chat", "embed", "readout") if name in about) or "nothing yet"
            raise ServerError(
                f"{server.url} serves {there} but no {role} model: start it with `surgvl serve {role}` or all"
            )
        self.about: dict[str, Any] = about[role]
        self.preprocess = Preprocess(**self.about["preprocess"])
        self.hash = str(self.about["hash"])
        self.training: dict[str, Any] = self.about.get("trained") or {}

    def frames(self, source: VideoLike, at_s: float | None = None) -> UInt8Array:
        """One clip as the model takes it, uint8 [T, S, S, 3]; see `surgvl.models.checkpoint.LoadedModel.frames`."""
        return extract_clip(source, self.preprocess, at_s)

    def check(self, folder: Path | str) -> None:
        """Refuse a server whose model is not that of a folder.

        Raises:
            CheckpointError: it serves another model, or the folder is not a model folder.
        """
        if (wanted := model_hash(folder)) != self.hash:
            raise CheckpointError(
                f"{self.server.url} serves model {self.hash}, and {folder} holds {wanted}: start `surgvl serve` with "
                "that folder"
            )


class ServerAnswerer(RemoteModel, Answerer):
    """The chat model of a server.

    Args:
        server: where it runs.
        by_likelihood: choose closed answers by the likelihood of each answer as a whole, as models in this process do,
            with one request per answer. If false, the server chooses token by token (greedily) in one request, which
            may differ if the model is unsure. It also does so if the chat template formats answers differently than
            the training data did.

    Raises:
        ServerError: the server cannot be reached, or serves no chat model.
    """

    def __init__(self, server: Server, by_likelihood: bool = True) -> None:
        super().__init__(server, "chat")
        self.known = AnswersFile(answers=self.about["answers"], questions=self.about["questions"])
        end_id = self.about.get("end_id")
        self.end_id = int(end_id) if by_likelihood and end_id is not None else None
        self._store: FrameStore | None = None

    def prepare(self, store: FrameStore, windows: Sequence[Window], folder: Path) -> Sequence[Window]:
        """Cut clips from a store; a clip is read when a question about it is answered, and nothing is stored."""
        self._store = store
        return windows

    def choose(self, questions: Sequence[Question]) -> list[Answer]:
        """The most probable allowed answer, or the server's choice."""
        if self.end_id is None:
            return self.write(questions)
        found = []
        for question in questions:
            frames, answers = self._frames_of(question), question.answers or ()
            scores = self.server.likelihoods(frames, question.text, answers, self.end_id)
            found.append(most_probable(question, np.array(scores)))
        return found

    def write(self, questions: Sequence[Question]) -> list[Answer]:
        """The server's answer: free text, or one of the allowed answers."""

        def ask(frames: UInt8Array) -> Reply:
            # All have one text and the same allowed answers, as `Answerer` hands them over.
            return self.server.reply(frames, questions[0].text, questions[0].answers or None, questions[0].kind)

        frames = map(self._frames_of, questions)
        replies = in_order(ask, frames, self.server.in_flight)
        return [
            Answer(question, reply.text, confidence=reply.confidence)
            for question, reply in zip(questions, replies, strict=True)
        ]

    def _frames_of(self, question: Question) -> UInt8Array:
        if not isinstance(question.clip, Window):
            return question.clip
        assert self._store is not None
        return window_frames(self._store, question.clip)


class RemoteRecognition(RemoteModel):
    """The trained readout of a server.

    Args:
        server: where it runs; its `timeout_s` must be long enough for a whole video.

    Attributes:
        heads: by kind of label its `kind` (one class at a time, many, or a number) and `classes`.

    Raises:
        ServerError: the server cannot be reached, or serves no readout.
    """

    def __init__(self, server: Server) -> None:
        super().__init__(server, "readout")
        self.heads: dict[str, Any] = self.about["heads"]

    def report(self, path: Path | str, stride_s: float | None = None) -> dict[str, Any]:
        """What it says of the clips of a video; see `surgvl.probe.recognition.Recognition.report`."""
        return self.server.recognise(path, stride_s)


class RemoteDual(RemoteModel, ZeroShotModel):
    """A video-text model of a server.

    Args:
        server: where it runs.

    Raises:
        ServerError: the server cannot be reached, or serves no video-text model.
    """

    def __init__(self, server: Server) -> None:
        super().__init__(server, "embed")

    @property
    def scale(self) -> float:
        """Factor of the cosines before the softmax.

        Raises:
            ServerError: the server is of an earlier version, which does not say.
        """
        if "logit_scale" not in self.about:
            raise ServerError(f"{self.server.url} does not state the scale of its model's cosines: update surgvl there")
        return float(self.about["logit_scale"])

    @property
    def described(self) -> str:
        """The model's name at the server, and its hash."""
        return f"surgvl-embed ({self.hash})"

    def encode_text(self, sentences: str | Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors float32 [number of sentences, E]."""
        return self.server.encode_text([sentences] if isinstance(sentences, str) else sentences)

    def encode_clips(self, clips: Sequence[UInt8Array]) -> NDArray[np.float32]:
        """Unit vectors float32 [B, E] of clips uint8 [T, S, S, 3] as `frames` cuts them."""
        return self.server.encode_clips(clips)

    def encode_video(self, source: VideoLike, at_s: float | None = None) -> NDArray[np.float32]:
        """Unit vectors float32 [N, E]; see `surgvl.api.DualModel.encode_video`."""
        if isinstance(source, str | Path) and at_s is None:
            return self.encode_seconds(source)[0]
        return self.server.encode_clip(self.frames(source, at_s))[None]

    def encode_seconds(
        self, path: str | Path, stride_s: float | None = None
    ) -> tuple[NDArray[np.float32], list[float], list[float]]:
        """One unit vector for each segment of a video; see `surgvl.api.DualModel.encode_seconds`."""
        return self.encode_segments(Path(path), self.preprocess.every(stride_s))

    def encode_segments(
        self, path: Path, preprocess: Preprocess, tick: Callable[[float], object] = lambda _: None
    ) -> tuple[NDArray[np.float32], list[float], list[float]]:
        """As `encode_seconds`, with clips cut in another way than the model's own."""
        stream = read_windows(path, preprocess)
        first = next(stream, None)
        if first is None:
            raise DataError(f"{path} has no frames: check it with a player")
        starts, ends = [], []

        def clips() -> Any:
            for start_s, end_s, clip in chain([first], stream):
                starts.append(start_s)
                ends.append(end_s)
                yield clip
                tick(end_s - start_s)

        return self.server.encode_clips(clips()), starts, ends


def remote_recognition(model: str | Path | None, server: str, api_key: str | None) -> RemoteRecognition:
    """The readout of an address; for the arguments see `surgvl.api.load_recogniser`."""
    found = RemoteRecognition(Server(server, api_key, timeout_s=RECOGNISE_S))
    if model is not None:
        found.check(model)
    return found
