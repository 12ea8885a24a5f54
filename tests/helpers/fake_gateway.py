"""A stand-in for `surgvl serve`, for tests of its client: models in this process answer, or the test does.

It decodes pictures by Pillow, which the client does not use.
"""

import base64
import contextlib
import io
import threading
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send
from torch import Tensor

from surgvl.chat.template import conversation
from surgvl.models.model_info import training_record
from tests.helpers.fake_engine import served

Frames = NDArray[np.uint8]
PREFIX = "data:video/jpeg;base64,"


class Dropped(Response):
    """An answer that ends before its first byte of content."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})


class FakeGateway:
    """What it was asked, and what it answers.

    Attributes:
        about: answer of /surgvl/about.
        key: that clients must send; empty: none.
        first: answers to the first requests, before any other; None: as always.
        answer: what it says about frames, a question and the choices (None: free).
        likelihood: of frames, a question and an answer, the prompt's tokens with their log-probabilities.
        vector: the vector of a sentence or of frames.
        sentences: the vectors of sentences; if not told, `vector` of each.
        bodies: of the requests.
        most: most requests that it had at a time.
    """

    def __init__(self, about: dict[str, Any] | None = None, key: str = "") -> None:
        self.about: Any = about if about is not None else {"version": "1"}
        self.key = key
        self.first: list[Response | None] = []
        self.answer: Callable[[Frames, str, list[str] | None], str] = lambda frames, question, choices: question
        self.likelihood: Callable[[Frames, str, str], list[Any]] = lambda frames, question, said: []
        self.vector: Callable[[Any], list[float]] = lambda given: [0.0]
        self.sentences: Callable[[list[str]], list[list[float]]] = lambda given: list(map(self.vector, given))
        self.bodies: list[dict[str, Any]] = []
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()
        self.app = Starlette(
            routes=[
                Route("/surgvl/about", self._serve),
                Route("/v1/chat/completions", self._serve, methods=["POST"]),
                Route("/v1/embeddings", self._serve, methods=["POST"]),
            ]
        )

    async def _serve(self, request: Request) -> Response:
        if self.key and request.headers.get("authorization") != f"Bearer {self.key}":
            return refusal(401, "the key is missing or wrong: send it as Authorization: Bearer KEY")
        with self._lock:
            first = self.first.pop(0) if self.first else None
        if first is not None:
            return first
        if request.url.path == "/surgvl/about":
            return JSONResponse(self.about)
        body = await request.json()
        with self._lock:
            self.bodies.append(body)
            self._now += 1
            self.most = max(self.most, self._now)
        try:
            work = self._chat if request.url.path.endswith("completions") else self._embed
            return await run_in_threadpool(work, body)
        finally:
            with self._lock:
                self._now -= 1

    def _chat(self, body: dict[str, Any]) -> Response:
        video, text = body["messages"][0]["content"]
        if body["messages"][-1]["role"] == "assistant":
            assert (body["add_generation_prompt"], body["prompt_logprobs"]) == (False, 0)
            tokens = self.likelihood(frames_of(video), text["text"], body["messages"][-1]["content"])
            return JSONResponse({"choices": [], "prompt_logprobs": tokens})
        choices = body.get("structured_outputs", {}).get("choice")
        said = self.answer(frames_of(video), text["text"], choices)
        message = {"role": "assistant", "content": said}
        return JSONResponse({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})

    def _embed(self, body: dict[str, Any]) -> Response:
        found = self.sentences(body["input"]) if "input" in body else [self.vector(_shown(body))]
        rows = [{"index": at, "embedding": each} for at, each in enumerate(found)]
        # In no order: who reads them must look at the index.
        return JSONResponse({"object": "list", "data": rows[::-1]})


def _shown(body: dict[str, Any]) -> Frames:
    return frames_of(body["messages"][0]["content"][0])


def frames_of(part: dict[str, Any]) -> Frames:
    """Frames of a part of a message, uint8 [T, H, W, 3]."""
    assert part["type"] == "video_url"
    return decoded(part["video_url"]["url"])


@lru_cache(16)
def decoded(url: str) -> Frames:
    """Frames of an address, which comes once for each answer that is scored, uint8 [T, H, W, 3]."""
    assert url.startswith(PREFIX)
    pictures = [Image.open(io.BytesIO(base64.b64decode(each))) for each in url.removeprefix(PREFIX).split(",")]
    assert {each.format for each in pictures} == {"PNG"}
    return np.stack([np.asarray(each.convert("RGB")) for each in pictures])


def refusal(status: int, line: str, retry_s: float | None = None) -> Response:
    """An error as the gateway gives it."""
    headers = {} if retry_s is None else {"Retry-After": str(retry_s)}
    return JSONResponse({"error": {"message": line, "type": "x", "code": status}}, status, headers)


@contextlib.contextmanager
def before(chat: Any, dual: Any) -> Iterator[str]:
    """Address of a gateway before loaded models (`surgvl.api`) in this process; None: it serves no such model."""
    about: dict[str, Any] = {"version": "1"}
    for role, model in (("chat", chat), ("embed", dual)):
        if model is not None:
            about[role] = {
                "preprocess": vars(model.preprocess),
                "hash": model.hash,
                "trained": training_record(model.folder),
            }
    if dual is not None:
        about["embed"]["logit_scale"] = dual.scale
    gateway = FakeGateway(about)
    lock = threading.Lock()
    pooled: dict[bytes, Tensor] = {}

    def answer(frames: Frames, question: str, choices: list[str] | None) -> str:
        with lock:
            # As vLLM does where the tokenizer puts the blank first.
            allowed = None if choices is None else [each for each in choices if each.startswith(" ")]
            return str(chat.ask(frames, question, answers=allowed or []))

    def likelihood(frames: Frames, question: str, said: str) -> list[Any]:
        """By a pass over the whole text, where the model in process lays all answers side by side."""
        with lock, torch.inference_mode():
            ids, _ = conversation(chat.model.ready, [(question, said)])
            if (seen := frames.tobytes()) not in pooled:
                pooled[seen] = chat.model.encode_visual(chat.clip(frames))
            logp = chat.model(torch.tensor([ids]), pooled=pooled[seen]).logits[0].log_softmax(-1)
            rows = zip(ids[1:], logp[:-1], strict=True)
            # What a template puts behind the end token is not a part of the answer.
            return [None, *({str(at): {"logprob": float(row[at])}} for at, row in rows), {"7": {"logprob": -9.0}}]

    def vector(given: Frames) -> list[float]:
        with lock, torch.inference_mode():
            return [float(value) for value in dual.encode_video(given)[0]]

    def sentences(given: list[str]) -> list[list[float]]:
        # As vLLM does it: by the tower itself, which tells nobody of tokens beyond its context.
        with lock, torch.inference_mode():
            return cast(list[list[float]], dual.model.encode_text(given).tolist())

    if chat is not None:
        end_id = chat.model.tokenizer.eos_id
        about["chat"] |= {"answers": chat.known.answers, "questions": chat.known.questions, "end_id": end_id}
    gateway.answer, gateway.likelihood = answer, likelihood
    gateway.vector, gateway.sentences = vector, sentences
    with served(gateway.app) as url:
        yield url
