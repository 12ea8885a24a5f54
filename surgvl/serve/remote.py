"""Models behind a server, with the methods of `surgvl.api.ChatModel` and `surgvl.api.DualModel`.

    chat = RemoteChat(Server("http://127.0.0.1:8000"))
    chat.ask("operation.mp4", "Which phase is it?", at_s=61.0)

Clips are cut here as they are in process, so a model sees the same bytes. One question is answered as in process: by
the likelihood of each answer as a whole, which is a request for each, where the model's chat template writes answers as
they were taught. The many questions of a manifest are answered by one request each, in which the server chooses among
the answers token by token (a greedy search): the same unless the model hesitates.
Shapes: T frames, S side in pixels, B clips, N seconds, E width of the vectors.
"""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from surgvl.chat.feature_cache import Stretch, clip_at
from surgvl.chat.known import find_known
from surgvl.core.arrays import UInt8Array
from surgvl.core.errors import CheckpointError, DataError, ServerError
from surgvl.core.texts import short, words
from surgvl.data.frame_store import FrameStore
from surgvl.embed.windows import read_windows
from surgvl.models.model_info import model_hash
from surgvl.serve.client import Asked, Server
from surgvl.video.clip import Preprocess, extract_clip

Source = str | Path | ArrayLike


class Remote:
    """One model of a server.

    Args:
        server: where it runs.
        role: `chat` or `embed`.

    Raises:
        ServerError: the server cannot be reached, or serves no such model.
    """

    def __init__(self, server: Server, role: str) -> None:
        self.server = server
        facts = server.about()
        if role not in facts:
            there = " and ".join(name for name in ("chat", "embed") if name in facts) or "nothing yet"
            raise ServerError(f"{server.url} serves {there}, no {role} model: start it by `surgvl serve {role}` or all")
        self.facts: dict[str, Any] = facts[role]
        self.preprocess = Preprocess(**self.facts["preprocess"])
        self.hash = str(self.facts["hash"])
        self.trained: dict[str, Any] = self.facts.get("trained") or {}

    def frames(self, source: Source, at_s: float | None = None) -> UInt8Array:
        """One clip as the model takes it, uint8 [T, S, S, 3]."""
        return extract_clip(source, self.preprocess, at_s)

    def check(self, folder: Path | str) -> None:
        """Refuse a server of another model than a folder's.

        Raises:
            CheckpointError: it is another, or the folder is not a model folder.
        """
        if (wanted := model_hash(folder)) != self.hash:
            raise CheckpointError(
                f"{self.server.url} serves model {self.hash}, and {folder} holds {wanted}: start `surgvl serve` with "
                "that folder"
            )


class RemoteChat(Remote):
    """A chat model of a server.

    Args:
        server: where it runs.

    Raises:
        ServerError: the server cannot be reached, or serves no chat model.
    """

    def __init__(self, server: Server) -> None:
        super().__init__(server, "chat")

    def known_answers(self) -> list[str]:
        """The closed answer set the model was tuned on; empty where it has none."""
        return list(self.facts["answers"])

    def known_questions(self) -> dict[str, str]:
        """Closed questions that the model was tuned on, with their types."""
        return dict(self.facts["questions"])

    def ask(
        self, source: Source, question: str, at_s: float | None = None, answers: str | Sequence[str] | None = None
    ) -> str:
        """Answer a question about one clip; see `surgvl.api.ChatModel.ask`."""
        question = short(question)
        answers = None if answers is None else words(answers, "answers")
        if answers is None and (known := find_known(question, self.known_questions())):
            question, answers = known, self.known_answers()
        frames = self.frames(source, at_s)
        ranked = self.shares(frames, question, answers) if answers else []
        return ranked[0][0] if ranked else self.server.ask(frames, question, answers or None)

    def engine(self, source: FrameStore) -> "ServerEngine":
        """Who answers the questions of a manifest, from a prepared source of its clips."""
        return ServerEngine(self.server, source, self.preprocess.num_frames)

    def shares(
        self, source: Source, question: str, answers: str | Sequence[str], at_s: float | None = None
    ) -> list[tuple[str, float]]:
        """Answers with their share of the probability, best first; see `surgvl.api.ChatModel.shares`.

        None where the model's chat template writes answers otherwise than they were taught.
        """
        question, answers = short(question), words(answers, "answers")
        end_id = self.facts.get("end_id")
        if end_id is None:
            return []
        scores = np.array(self.server.likelihoods(self.frames(source, at_s), question, answers, int(end_id)))
        found = np.exp(scores - scores.max())
        found /= found.sum()
        # Of equal ones the earlier answer wins, as in process.
        return [(answers[at], float(found[at])) for at in np.argsort(-found, kind="stable")]


class RemoteDual(Remote):
    """A video-text model of a server.

    Args:
        server: where it runs.

    Raises:
        ServerError: the server cannot be reached, or serves no video-text model.
    """

    def __init__(self, server: Server) -> None:
        super().__init__(server, "embed")

    def encode_text(self, sentences: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors float32 [number of sentences, E]."""
        return self.server.encode_text(sentences)

    def encode_clips(self, clips: Sequence[UInt8Array]) -> NDArray[np.float32]:
        """Unit vectors float32 [B, E] of clips uint8 [T, S, S, 3] as `frames` cuts them."""
        return self.server.encode_clips(clips)

    def encode_video(self, source: Source, at_s: float | None = None) -> NDArray[np.float32]:
        """Unit vectors float32 [N, E]; see `surgvl.api.DualModel.encode_video`."""
        if isinstance(source, str | Path) and at_s is None:
            return self.encode_seconds(source)[0]
        return self.server.encode_clip(self.frames(source, at_s))[None]

    def encode_seconds(
        self, path: str | Path, stride_s: float = 1.0
    ) -> tuple[NDArray[np.float32], list[float], list[float]]:
        """One unit vector for each stretch of a video: [N, E], starts and ends in seconds. Streams the file."""
        stream = read_windows(Path(path), self.preprocess, stride_s)
        first = next(stream, None)
        if first is None:
            raise DataError(f"{path} has no frames: check it with a player")
        starts, ends = [], []

        def clips() -> Any:
            for start_s, end_s, clip in chain([first], stream):
                starts.append(start_s)
                ends.append(end_s)
                yield clip

        return self.server.encode_clips(clips()), starts, ends


class ServerEngine:
    """A server that answers the questions of a manifest (`surgvl.chat.answerers.Engine`).

    Args:
        server: where the model runs.
        source: prepared source of clips.
        num_frames: frames of a clip.
    """

    def __init__(self, server: Server, source: FrameStore, num_frames: int) -> None:
        self.server, self.source, self.num_frames = server, source, num_frames

    def answer(self, stretches: Sequence[Stretch], question: str, candidates: Sequence[str] | None) -> list[str]:
        """An answer about each of B stretches: one of the candidates, or free text without them."""
        asked = (Asked(clip_at(self.source, each, self.num_frames), question, candidates) for each in stretches)
        return self.server.ask_many(asked, bar=False)
