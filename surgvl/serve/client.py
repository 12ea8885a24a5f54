"""A client of `surgvl serve`: frames and text in, answers and vectors out; built on OpenAI's Python client.

    server = Server("http://127.0.0.1:8000")
    server.ask(frames, "Which instrument is seen?", ["grasper", "hook"])
    server.encode_text(["the hook dissects the gallbladder"])

Frames are sent as PNG, so a model gets the bytes that it would get in this process. Transient failures (status 408, 429
and 5xx, time-outs, dropped connections) are retried after the server's Retry-After, or OpenAI's own 0.5 s, 1 s, 2 s ...
Shapes: T frames, A answers, N sentences or clips, E width of the vectors.
"""

import weakref
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import openai
from numpy.typing import NDArray
from tqdm import tqdm

from surgvl.chat.answerer import Question, Window
from surgvl.chat.confidence import option_confidence, reply_confidence
from surgvl.chat.replies import Reply
from surgvl.core.arrays import UInt8Array
from surgvl.core.credentials import mask, read_key
from surgvl.core.errors import ConfigError, DataError, ServerError
from surgvl.metrics.answer import to_text
from surgvl.serve.failed_call import failed_call
from surgvl.serve.in_flight import in_order
from surgvl.serve.payloads import (
    answer_logprob,
    answers_by_text,
    file_part,
    host_of,
    is_loopback,
    one_line,
    question_body,
    tokens_of,
    video_part,
)

CHAT, EMBED = "surgvl-chat", "surgvl-embed"
MAX_TOKENS = 32
# Sentences in a request.
SENTENCES = 64


class Server:
    """A running `surgvl serve`; methods may be called from several threads.

    Args:
        url: its address, such as http://127.0.0.1:8000, with or without /v1 at the end.
        api_key: its key, or @FILE that contains it; SURGVL_API_KEY by default.
        timeout_s: maximum wait for a response.
        retries: maximum number of retries of a failed request.
        in_flight: maximum number of concurrent requests.

    Attributes:
        url: its address for messages, without a password.

    Raises:
        ConfigError: not an address, a number out of range, or a file without a key.
    """

    def __init__(
        self, url: str, api_key: str | None = None, timeout_s: float = 60.0, retries: int = 3, in_flight: int = 8
    ) -> None:
        self._address = url.rstrip("/").removesuffix("/v1")
        self.url = mask(self._address)
        host = host_of(self._address)
        if not timeout_s > 0 or retries < 0 or in_flight < 1:
            given = f"timeout_s {timeout_s}, retries {retries}, in_flight {in_flight}"
            raise ConfigError(f"timeout_s must be above 0, retries at least 0 and in_flight at least 1, got {given}")
        self.timeout_s, self.retries, self.in_flight = timeout_s, retries, in_flight
        self._client = openai.OpenAI(
            base_url=f"{self._address}/v1",
            # OpenAI's client requires a key; a server without one ignores it.
            api_key=read_key(api_key) or "none",
            timeout=timeout_s,
            max_retries=retries,
            # A proxy cannot reach this machine's loopback addresses.
            http_client=openai.DefaultHttpxClient(trust_env=not is_loopback(host)),
        )
        self._close = weakref.finalize(self, self._client.close)

    def close(self) -> None:
        """Close the connections, which happens on garbage collection too."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def about(self) -> dict[str, Any]:
        """What is served: `version`; for `chat`, `embed`, `readout` `preprocess`, `hash` and training record `trained`.

        `chat` also has its known `answers` and `questions`, and `end_id`, the token that ends an answer (or null);
        `readout` has its `heads`, with their classes.

        Raises:
            ServerError: it cannot be reached, refuses, or is not `surgvl serve`.
        """
        if (facts := self.surgvl_facts()) is None:
            raise ServerError(f"{self.url} is not `surgvl serve`, or is still starting: check --server, or wait")
        return facts

    def surgvl_facts(self) -> dict[str, Any] | None:
        """As `about`; None if the address answers, but is not `surgvl serve`.

        Raises:
            ServerError: it cannot be reached, or refuses the key.
        """

        def get() -> Any:
            try:
                return self._client.get(f"{self._address}/surgvl/about", cast_to=object)
            except (openai.NotFoundError, openai.BadRequestError, ValueError):
                return None

        facts: Any = self._call(get)
        return facts if isinstance(facts, dict) and "version" in facts else None

    def ask(self, frames: UInt8Array, question: str, answers: Sequence[str] | None = None) -> str:
        """Answer a question about a clip.

        Args:
            frames: uint8 [T, H, W, 3], as many as the model takes (`remote.ServerAnswerer.frames` cuts them): a server
                may drop any beyond that.
            question: in plain language.
            answers: allowed answers, one of which the server chooses token by token; by default, it generates free
                text.

        Returns:
            One of `answers`, letter for letter, or free text.

        Raises:
            DataError: these are not frames, or two answers are equal.
            ServerError: the server cannot be reached, refuses, or does not answer in time.
        """
        return self.reply(frames, question, answers).text

    def reply(self, frames: UInt8Array, question: str, answers: Sequence[str] | None = None, kind: str = "") -> Reply:
        """As `ask`, with how sure the model is, where the server gives log-probabilities.

        `kind` is the type of a free answer (`surgvl.metrics.answer_types`), by default free text.
        """
        by_reply = {} if answers is None else answers_by_text(answers)
        body = {"model": CHAT, **question_body(frames, question, list(by_reply), MAX_TOKENS)}
        text, tokens = self._post(
            "/v1/chat/completions",
            body,
            lambda got: (str(got["choices"][0]["message"]["content"] or "").strip(), tokens_of(got)),
        )
        if not by_reply:
            return Reply(text=text, confidence=reply_confidence([each.logprob for each in tokens], kind or "open"))
        if text not in by_reply:
            raise ServerError(
                f"{self.url} answered {text[:60]!r}, which is none of {len(by_reply)} allowed answers: "
                "serve the model with `surgvl serve`"
            )
        names = {answer: (name,) for name, answer in by_reply.items()}
        return Reply(text=by_reply[text], confidence=option_confidence(tokens, names, by_reply[text], held=True))

    def likelihoods(self, frames: UInt8Array, question: str, answers: Sequence[str], end_id: int) -> list[float]:
        """Log-likelihood of each answer as a whole: `surgvl.chat.answerers.candidate_scores` up to a constant.

        One request per answer, which the server scores as part of the prompt and does not continue.

        Args:
            frames: as for `ask`.
            question: in plain language.
            answers: A different answers; those that are written alike get the same value.
            end_id: the token that ends an answer, from `about`.

        Returns:
            A sums of log-probabilities over question, answer and end token; only the answers make them differ.

        Raises:
            DataError, ServerError: as `ask`.
        """
        asking = {"role": "user", "content": [video_part(frames), {"type": "text", "text": question}]}

        def score(text: str) -> float:
            body = {
                "messages": [asking, {"role": "assistant", "content": text}],
                **{"model": CHAT, "temperature": 0, "max_tokens": 1},
                **{"add_generation_prompt": False, "prompt_logprobs": 0},
            }
            return float(
                self._post("/v1/chat/completions", body, lambda got: answer_logprob(got["prompt_logprobs"], end_id))
            )

        texts = answers_by_text(answers)
        scores = dict(zip(texts, in_order(score, texts, self.in_flight), strict=True))
        return [scores[to_text(answer)] for answer in answers]

    def ask_many(self, questions: Iterable[Question], total: int | None = None, bar: bool | None = None) -> list[str]:
        """`ask` many questions, up to `in_flight` at a time, in order; the first error ends it.

        Args:
            questions: with frames as clips; consumed as needed, so that an iterator may cut them on the way.
            total: their number, for the bar; not needed for a sequence.
            bar: show a progress bar; None: if there is a terminal.
        """

        def ask(question: Question) -> str:
            assert not isinstance(question.clip, Window)
            return self.ask(question.clip, question.text, question.answers or None)

        total = len(questions) if total is None and isinstance(questions, Sequence) else total
        hidden = None if bar is None else not bar
        found = in_order(ask, questions, self.in_flight)
        return list(tqdm(found, desc="asking", unit="question", total=total, disable=hidden, leave=False))

    def encode_text(self, sentences: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors float32 [N, E] of sentences.

        Raises:
            DataError: there is no sentence.
            ServerError: as `ask`.
        """
        if not sentences:
            raise DataError("there is no sentence to encode: give at least one")
        parts = [list(sentences[at : at + SENTENCES]) for at in range(0, len(sentences), SENTENCES)]
        return np.concatenate(
            list(in_order(lambda part: self._embed({"input": part}, len(part)), parts, self.in_flight))
        )

    def encode_clip(self, frames: UInt8Array) -> NDArray[np.float32]:
        """Unit vector float32 [E] of a clip uint8 [T, H, W, 3].

        Raises:
            DataError: these are not frames.
            ServerError: as `ask`.
        """
        vector: NDArray[np.float32] = self._embed({"messages": [{"role": "user", "content": [video_part(frames)]}]}, 1)[
            0
        ]
        return vector

    def encode_clips(self, clips: Iterable[UInt8Array]) -> NDArray[np.float32]:
        """Unit vectors float32 [N, E] of N clips, up to `in_flight` at a time."""
        return np.stack(list(in_order(self.encode_clip, clips, self.in_flight)))

    def recognise(self, video: str | Path, stride_s: float | None = None) -> dict[str, Any]:
        """What the server's trained readout says of a video: `surgvl.probe.recognition.Recognition.report` of the file.

        The file is sent as it is, and read there, within `timeout_s`.

        Raises:
            DataError: the file cannot be read.
            ServerError: as `ask`.
        """
        body = file_part(Path(video)) | ({} if stride_s is None else {"stride_s": stride_s})
        names = ("times_s", "starts_s", "ends_s", "heads")
        found: dict[str, Any] = self._post("/surgvl/recognise", body, lambda got: {name: got[name] for name in names})
        return found

    def _embed(self, body: dict[str, Any], count: int) -> NDArray[np.float32]:
        def vectors(got: Any) -> NDArray[np.float32]:
            rows = sorted(got["data"], key=lambda row: int(row["index"]))
            found = np.array([row["embedding"] for row in rows], np.float32)
            if found.ndim != 2 or len(found) != count:
                raise ValueError(f"{found.shape} for {count}")
            return found

        found: NDArray[np.float32] = self._post(
            "/v1/embeddings", {"model": EMBED, "encoding_format": "float", **body}, vectors
        )
        return found

    def _post(self, path: str, body: dict[str, Any], read: Callable[[Any], Any]) -> Any:
        """Send a request and extract a value from the response."""
        got = self._call(lambda: self._client.post(f"{self._address}{path}", body=body, cast_to=object))
        try:
            return read(got)
        except (LookupError, TypeError, ValueError) as error:
            raise ServerError(
                f"{self.url}{path} does not respond as documented ({one_line(str(got))[:60]!r}): check --server"
            ) from error

    def _call(self, call: Callable[[], Any]) -> Any:
        """Make a request; a failure is one line.

        Raises:
            ServerError: it failed, after all retries if it may be transient.
        """
        try:
            return call()
        except (openai.OpenAIError, ValueError) as error:
            raise failed_call(error, self.url, self.timeout_s, self.retries) from error
