"""Answerers that are general vision-language models, tuned on no question of ours: behind an address or here.

Both get the same prompt: the clip, the question and, for a closed question, its lettered options.
Shapes: B questions, A options, T frames [T, H, W, 3].
"""

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from surgvl.chat.answerer import Answer, Answerer, Question, Window, most_probable
from surgvl.chat.confidence import Token, option_confidence, reply_confidence
from surgvl.chat.controls import NO_VIDEO
from surgvl.chat.question_rows import window_frames
from surgvl.chat.replies import Replies, Reply, reply_key
from surgvl.chat.vision_language_config import ClipInput, ReplyConfig
from surgvl.core.arrays import UInt8Array
from surgvl.core.errors import Unreadable
from surgvl.core.files import known_hash, text_hash
from surgvl.data.frame_store import FrameStore
from surgvl.metrics.answer import to_text
from surgvl.metrics.answer_types.base import AnswerType, answer_types, read_answer
from surgvl.metrics.answer_types.options import Options, ordered
from surgvl.models.schema import AnswersFile


@dataclass(frozen=True, eq=False)
class Request:
    """A question as it is sent.

    Attributes:
        question: with its clip.
        kind: type of the answer.
        shown: its options, in the order in which they are shown.
        text: question, options and how to answer.
        pixels: identifies the frames.
        key: identifies the request, see `surgvl.chat.replies.reply_key`.
    """

    question: Question
    kind: AnswerType
    shown: Options
    text: str
    pixels: str
    key: str

    @property
    def options(self) -> Options | None:
        """The options, if one of them is the answer and nothing else."""
        return self.shown if self.kind.name == "choice" else None


Keep = Callable[[Request, Reply, Mapping[str, Any]], None]
"""Called with a request, its reply and what was sent, by any thread, as soon as the reply is there."""


class VisionLanguageAnswerer(Answerer):
    """A general vision-language model.

    Args:
        model: its name, as it is recorded.
        device: torch device, or the address of a server.
        clip: what it is shown.
        reply: how it replies.
        seed: of sampling, and of the order of options.
    """

    takes_options: ClassVar[bool] = True
    num_at_once: ClassVar[int] = 1024
    controls: ClassVar[tuple[str, ...]] = ("no_video", "black", "other", "order 2")

    def __init__(self, model: str, device: str, clip: ClipInput, reply: ReplyConfig, seed: int = 0) -> None:
        self.model_name, self.device = model, device
        self.clip_input, self.reply_config, self.seed = clip, reply, seed
        self.preprocess = clip.preprocess
        self.known, self.training = AnswersFile(answers=[]), {}
        self.replies = Replies()
        self._store: FrameStore | None = None

    def store_replies(self, path: Path) -> None:
        """Keep replies in a file, and use those that it has."""
        self.replies = Replies(path)

    def prepare(self, store: FrameStore, windows: Sequence[Window], folder: Path) -> Sequence[Window]:
        """Cut clips from a store when they are sent; one that cannot be read is a missing answer."""
        self._store = store
        return windows

    @property
    def facts(self) -> dict[str, Any]:
        """What is sent with every question, for run.json."""
        return {
            "model": self.model_name,
            "sent_as": self.sent_as,
            "closed_by": self.closed_by,
            "clip": vars(self.clip_input),
            "sampling": self.reply_config.sampling(self.seed),
            "shuffled_options": self.reply_config.shuffle_options,
        }

    @property
    @abstractmethod
    def sent_as(self) -> str:
        """How clips are sent: `video` or `frames`."""

    @property
    @abstractmethod
    def closed_by(self) -> str:
        """How options are chosen, one of `vision_language_config.CLOSED` but `auto`."""

    @abstractmethod
    def complete(self, requests: Sequence[Request], keep: Keep) -> None:
        """Let the model reply to requests, in any order; `keep` is called once for each."""

    # ---- the contract

    def answer(self, questions: Sequence[Question], done: Callable[[int], None] = lambda count: None) -> list[Answer]:
        """Answer B questions; those that have a stored reply are not asked again."""
        requests = [self.request(question) for question in questions]
        waiting = {request.key: request for request in requests if request.key not in self.replies}
        many = {key: 0 for key in waiting}
        for request in requests:
            if request.key in many:
                many[request.key] += 1
        done(len(requests) - sum(many.values()))

        def keep(request: Request, reply: Reply, sent: Mapping[str, Any]) -> None:
            self.replies.add(request.key, reply, {**self._described(request), **sent})
            done(many[request.key])

        self.complete(list(waiting.values()), keep)
        return [read_reply(request, self.replies[request.key]) for request in requests]

    def choose(self, questions: Sequence[Question]) -> list[Answer]:
        """Answers to closed questions."""
        return self.answer(questions)

    def write(self, questions: Sequence[Question]) -> list[Answer]:
        """Free answers."""
        return self.answer(questions)

    # ---- what is sent

    def request(self, question: Question) -> Request:
        """A question as it is sent; without allowed answers it is answered in free text."""
        pixels = self.pixels(question)
        kind = answer_types()[question.kind or ("choice" if question.answers else "open")]
        shuffle = self.reply_config.shuffle_options
        about = f"{question.text} {pixels}"
        shown = ordered(question.answers or (), shuffle, self.seed, about, question.order)
        text = kind.prompt(question.text, shown, question.wording)
        constraint = {"closed_by": self.closed_by} if kind.name == "choice" else {}
        sampling = {**self.reply_config.sampling(self.seed), "sent_as": self.sent_as, **constraint}
        return Request(question, kind, shown, text, pixels, reply_key(self.model_name, text, pixels, sampling))

    def pixels(self, question: Question) -> str:
        """Identifies the frames of a question's clip, 16 hex digits, without decoding a video.

        It is a hash of the video's file, of the numbers of the frames and of how they are resized; or of the frames
        themselves where the question has them.
        """
        if not isinstance(question.clip, Window):
            shape, content = str(question.clip.shape), np.ascontiguousarray(question.clip)
            return hashlib.sha256(shape.encode() + content.tobytes()).hexdigest()[:16]
        if question.clip == NO_VIDEO:
            return NO_VIDEO.video_id
        assert self._store is not None
        video_id = question.clip.video_id
        path = self._store.paths.get(video_id)
        numbers = self.preprocess.numbers(self._store.key_of(*question.clip)[1]).tolist()
        return text_hash(f"{_content(path) if path else video_id} {numbers} {self.preprocess}")

    def cut(self, question: Question) -> UInt8Array:
        """The frames of a question's clip; none of a question without a video.

        Raises:
            Unreadable: the video cannot be read there.
        """
        if not isinstance(question.clip, Window):
            return question.clip
        if question.clip == NO_VIDEO:
            return np.zeros((0, 1, 1, 3), np.uint8)
        assert self._store is not None
        return window_frames(self._store, question.clip)

    def unread(self, request: Request, error: Unreadable) -> Reply:
        """The missing reply to a question about a clip that cannot be read; the video is reported at the end."""
        if self._store is not None:
            self._store.problems.setdefault(error.video_id, str(error))
        return Reply(problem="missing", reason=str(error))

    def _described(self, request: Request) -> dict[str, Any]:
        where = request.question.clip
        window = {"video_id": where.video_id, "start_s": where.start_s} if isinstance(where, Window) else {}
        return {
            "model": self.model_name,
            **window,
            "prompt": request.text,
            "prompt_hash": text_hash(request.text),
            "pixels_hash": request.pixels,
            "fps": self.preprocess.fps,
            "sent_as": self.sent_as,
            "closed_by": self.closed_by if request.options else "",
            "sampling": self.reply_config.sampling(self.seed),
        }


def caption(number: int, count: int, fps: float) -> str:
    """The words before a frame that is sent as a picture: its number, and its time from the first frame."""
    return f"Frame {number + 1} of {count}, at {number / fps:.1f} s:"


def read_reply(request: Request, reply: Reply) -> Answer:
    """The answer in a reply, in the form of its type: one of the options, letter for letter, ...; or a problem."""
    question = replace(request.question, answers=request.shown.answers)
    found: dict[str, Any] = {"raw": reply.text, "reply": request.key, "seconds": reply.facts.get("seconds")}
    if reply.problem:
        return Answer(question, "", problem=reply.problem, **(found | {"raw": reply.text or reply.reason}))
    found["shown"] = request.shown.answers
    if request.options and reply.scores:
        return replace(most_probable(question, np.array(reply.scores)), **found)
    said, problem = read_answer(request.kind, reply.text, request.shown.answers)
    return Answer(question, said, problem=problem, confidence=None if problem else reply.confidence, **found)


def confidence_of(request: Request, text: str, tokens: Sequence[Token], held: bool = False) -> float | None:
    """How sure a model is of the answer in its reply; None without tokens, or where the reply declares no answer.

    Args:
        request: that was sent.
        text: of the reply.
        tokens: all that were generated.
        held: whether nothing but the label of an option could be written.
    """
    said, problem = read_answer(request.kind, text, request.shown.answers)
    if problem:
        return None
    if request.options is None:
        return reply_confidence([token.logprob for token in tokens], request.kind.name)
    pairs = zip(request.shown.answers, request.shown.labels, strict=True)
    names = {answer: (label,) if held else (label, to_text(answer)) for answer, label in pairs}
    return option_confidence(tokens, names, said, held)


def _content(path: Path) -> str:
    """Hash of a file; of a folder of pictures, their names, sizes and times."""
    if path.is_dir():
        files = sorted((each.name, each.stat().st_size, each.stat().st_mtime_ns) for each in path.iterdir())
        return text_hash(str(files))
    return known_hash(path)
