"""A stand-in for an OpenAI-compatible server with any set of abilities; the test says what the model answers.

It decodes pictures by Pillow, which the client does not use.
"""

import base64
import io
import json
import re
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.helpers.fake_gateway import Frames, frames_of, refusal

ALL = frozenset(
    {
        *("video", "image", "media_io_kwargs", "choice", "guided_choice", "json_schema", "grammar"),
        # `prompt_logprobs` of the tokens of the prompt, `logprobs` of those of the reply.
        *("prompt_logprobs", "logprobs"),
    }
)
END, TAIL = 1, 2


class FakeOpenAI:
    """What it was asked, and what it answers.

    Attributes:
        models: their names.
        can: abilities, a part of `ALL`. Fields of others are ignored, and media of others refused.
        answer: what the model writes about frames (none: None) and a text, unless it is constrained; an Exception or a
            Response is the response.
        choose: which of some labels it writes where it is constrained.
        likelihood: log-probability of an answer.
        tokens: what it wrote about a text, token by token, in OpenAI's form; by default a token a letter.
        most_listed: most alternatives that may be asked for.
        first: responses to the first questions with pictures, before any other.
        asked: bodies of questions with pictures of more than a probe.
        probes: bodies of all others.
        about: answer of /surgvl/about; None: there is no such path.
        most: most requests that it had at a time.
    """

    def __init__(self, can: frozenset[str] = ALL, models: tuple[str, ...] = ("eye",)) -> None:
        self.can, self.models = can, models
        self.answer: Callable[[Frames | None, str], str | Response] = lambda frames, text: "B"
        self.choose: Callable[[Frames | None, str, list[str]], str] = lambda frames, text, labels: labels[-1]
        self.likelihood: Callable[[Frames, str, str], float] = lambda frames, text, said: -1.0
        self.tokens: Callable[[str, str], list[dict[str, Any]]] = lambda text, written: [
            {"token": letter, "logprob": -0.125, "top_logprobs": []} for letter in written
        ]
        self.most_listed = 20
        self.first: list[Response | None] = []
        self.asked: list[dict[str, Any]] = []
        self.probes: list[dict[str, Any]] = []
        self.about: dict[str, Any] | None = None
        self.most = self._now = 0
        self._lock = threading.Lock()
        self.app = Starlette(
            routes=[
                Route("/version", lambda request: JSONResponse({"version": "fake 1"})),
                Route("/surgvl/about", self._about),
                Route("/v1/models", self._models),
                Route("/v1/chat/completions", self._chat, methods=["POST"]),
            ]
        )

    def _about(self, request: Request) -> Response:
        return refusal(404, "Not Found") if self.about is None else JSONResponse(self.about)

    def _models(self, request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [{"id": name} for name in self.models]})

    async def _chat(self, request: Request) -> Response:
        body = await request.json()
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        try:
            return await run_in_threadpool(self._reply, body)
        finally:
            with self._lock:
                self._now -= 1

    def _reply(self, body: dict[str, Any]) -> Response:
        parts = body["messages"][0]["content"]
        kinds = {part["type"] for part in parts}
        for kind, ability in (("video_url", "video"), ("image_url", "image")):
            if kind in kinds and ability not in self.can:
                return refusal(400, f"{kind} is not supported")
        if "media_io_kwargs" in body and "media_io_kwargs" not in self.can:
            return refusal(400, "media_io_kwargs are disabled")
        frames, text = pictures_of(parts), parts[-1]["text"]
        is_probe = frames is None or text == "Say yes."
        with self._lock:
            (self.probes if is_probe else self.asked).append(body)
            first = self.first.pop(0) if self.first and not is_probe else None
        if first is not None:
            return first
        if body.get("top_logprobs", 0) > self.most_listed:
            return refusal(400, f"top_logprobs must be at most {self.most_listed}")
        if body.get("prompt_logprobs") is not None and "prompt_logprobs" in self.can:
            said = body["messages"][1]["content"]
            value = self.likelihood(frames, text, said) if frames is not None else -1.0
            tokens = [None, *((5, -3.0),) * 2, (ord(said), value), (END, -0.5), (TAIL, -0.25)]
            table = [token and {str(token[0]): {"logprob": token[1]}} for token in tokens]
            return JSONResponse({"choices": [{"message": {"content": ""}}], "prompt_logprobs": table})
        labels = self._labels(body)
        written = self.choose(frames, text, labels) if labels else self.answer(frames, text)
        if isinstance(written, Response):
            return written
        if labels and "response_format" in body:
            written = json.dumps({"answer": written})
        usage = {"prompt_tokens": 7, "completion_tokens": 2}
        choice = {"index": 0, "message": {"role": "assistant", "content": written}, "finish_reason": "stop"}
        if body.get("logprobs") and "logprobs" in self.can:
            choice["logprobs"] = {"content": self.tokens(text, written)}
        return JSONResponse({"choices": [choice], "usage": usage})

    def _labels(self, body: dict[str, Any]) -> list[str]:
        """The labels that a body allows by a field that this server obeys; none: it writes what it likes."""
        found: list[str] = []
        if "choice" in self.can and "structured_outputs" in body:
            found = body["structured_outputs"]["choice"]
        elif "guided_choice" in self.can and "guided_choice" in body:
            found = body["guided_choice"]
        elif "json_schema" in self.can and "response_format" in body:
            found = body["response_format"]["json_schema"]["schema"]["properties"]["answer"]["enum"]
        elif "grammar" in self.can and "grammar" in body:
            found = [json.loads(each) for each in re.findall(r'"(?:[^"\\]|\\.)*"', body["grammar"])]
        return found


def pictures_of(parts: list[dict[str, Any]]) -> Frames | None:
    """Frames uint8 [T, H, W, 3] of the parts of a message; None without any."""
    if parts[0]["type"] == "video_url":
        return frames_of(parts[0])
    urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    if not urls:
        return None
    coded = [url.removeprefix("data:image/png;base64,") for url in urls]
    return np.stack([np.asarray(Image.open(io.BytesIO(base64.b64decode(each))).convert("RGB")) for each in coded])
