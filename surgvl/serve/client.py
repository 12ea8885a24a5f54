"""A client of `surgvl serve`: frames and words in, answers and vectors out; OpenAI's python client under it.

    server = Server("http://127.0.0.1:8000")
    server.ask(frames, "Which instrument is seen?", ["grasper", "hook"])
    server.encode_text(["the hook dissects the gallbladder"])

Frames go as PNG, so a model sees the bytes that it would see in this process. What may pass (status 408, 429 and 5xx,
time-outs, dropped connections) is asked again, after the server's Retry-After or 0.5 s, 1 s, 2 s ... (openai's own).
Shapes: T frames, N sentences or clips, E width of the vectors.
"""

import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar
from urllib.parse import urlsplit

import numpy as np
import openai
from numpy.typing import NDArray
from tqdm import tqdm

from surgvl.core.arrays import UInt8Array
from surgvl.core.credentials import mask, read_key
from surgvl.core.errors import ConfigError, DataError, ServerError
from surgvl.serve.payloads import answer_logprob, answers_by_text, is_loopback, one_line, video_part

CHAT, EMBED = "surgvl-chat", "surgvl-embed"
MAX_TOKENS = 32
# Sentences in a request.
SENTENCES = 64
Given = TypeVar("Given")
Got = TypeVar("Got")


class Asked(NamedTuple):
    """A question about a clip: frames uint8 [T, H, W, 3], and the allowed answers; none: the answer is free."""

    frames: UInt8Array
    question: str
    answers: Sequence[str] | None = None


class Server:
    """A running `surgvl serve`; methods may be called from several threads.

    Args:
        url: its address, such as http://127.0.0.1:8000, with or without /v1 at the end.
        api_key: its key, or @FILE that holds it; SURGVL_API_KEY where it is left out.
        timeout_s: longest wait for one answer.
        retries: how often a request that failed is sent again.
        in_flight: most requests at a time.

    Attributes:
        url: its address for messages, without a password.

    Raises:
        ConfigError: not an address, a number that is not above 0, or no key.
    """

    def __init__(
        self, url: str, api_key: str | None = None, timeout_s: float = 60.0, retries: int = 3, in_flight: int = 8
    ) -> None:
        self._address = url.rstrip("/").removesuffix("/v1")
        self.url = mask(self._address)
        try:
            parts = urlsplit(self._address)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            usable = False
        if not usable:
            raise ConfigError(f"--server {mask(url)!r} is not an address: give one such as http://127.0.0.1:8000")
        if not timeout_s > 0 or retries < 0 or in_flight < 1:
            given = f"timeout_s {timeout_s}, retries {retries}, in_flight {in_flight}"
            raise ConfigError(f"{given}: give a time above 0, 0 or more retries, and 1 or more in flight")
        self.timeout_s, self.retries, self.in_flight = timeout_s, retries, in_flight
        self._client = openai.OpenAI(
            base_url=f"{self._address}/v1",
            # OpenAI's client insists on a key; a server without one does not look.
            api_key=read_key(api_key) or "none",
            timeout=timeout_s,
            max_retries=retries,
            # A proxy cannot reach this machine's own addresses.
            http_client=openai.DefaultHttpxClient(trust_env=not is_loopback(str(parts.hostname))),
        )
        self._close = weakref.finalize(self, self._client.close)

    def close(self) -> None:
        """Close the connections; they are closed, too, when nobody holds this any more."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def about(self) -> dict[str, Any]:
        """What is served: `version`; for `chat` and `embed` their `preprocess`, `hash` and what they were `trained` on.

        For `chat` its known `answers` and `questions`, too, and `end_id`, the token that ends an answer (or null).

        Raises:
            ServerError: it cannot be reached, refuses, or is not `surgvl serve`.
        """
        facts: Any = self._call(lambda: self._client.get(f"{self._address}/surgvl/about", cast_to=object))
        if not isinstance(facts, dict) or "version" not in facts:
            raise ServerError(f"{self.url} is not `surgvl serve`, or is still starting: check --server, or wait")
        return facts

    def ask(self, frames: UInt8Array, question: str, answers: Sequence[str] | None = None) -> str:
        """Answer a question about a clip.

        Args:
            frames: uint8 [T, H, W, 3], as many as the model takes (`remote.RemoteChat.frames` cuts them): a server may
                leave out what is more.
            question: in plain language.
            answers: allowed answers: the server chooses one, token by token; without them it writes freely.

        Returns:
            One of `answers` as it is spelt there, or free text.

        Raises:
            DataError: these are not frames, or an answer is given twice.
            ServerError: the server cannot be reached, refuses, or does not answer in time.
        """
        parts = [video_part(frames), {"type": "text", "text": question}]
        body: dict[str, Any] = {"messages": [{"role": "user", "content": parts}]}
        body |= {"model": CHAT, "temperature": 0, "max_tokens": MAX_TOKENS}
        spelt = {} if answers is None else answers_by_text(answers)
        if spelt:
            # Tokenizers differ in where they put the blank before a first word.
            choices = [blank + words for words in spelt for blank in ("", " ")]
            # A token holds a byte or more.
            body["max_tokens"] = max(len(choice.encode()) for choice in choices) + 2
            body["structured_outputs"] = {"choice": choices}
        said = str(self._post("/chat/completions", body, lambda got: got["choices"][0]["message"]["content"] or ""))
        said = said.strip()
        if spelt and said not in spelt:
            raise ServerError(
                f"{self.url} answered {said[:60]!r}, which is none of {len(spelt)} allowed answers: "
                "serve the model by `surgvl serve`"
            )
        return spelt[said] if spelt else said

    def likelihoods(self, frames: UInt8Array, question: str, answers: Sequence[str], end_id: int) -> list[float]:
        """How likely each answer is as a whole, as `surgvl.chat.answer.candidate_scores` has it but for a constant.

        A request for each answer, which the server reads as already given and does not go on from.

        Args:
            frames: as for `ask`.
            question: in plain language.
            answers: A answers, no two alike; those that are alike in words get the same.
            end_id: the token that ends an answer, from `about`.

        Returns:
            A sums of log-probabilities over question, answer and its end; they differ by the answers alone.

        Raises:
            DataError, ServerError: as `ask`.
        """
        from surgvl.chat.template import words

        asking = {"role": "user", "content": [video_part(frames), {"type": "text", "text": question}]}

        def one(said: str) -> float:
            body = {
                "messages": [asking, {"role": "assistant", "content": said}],
                **{"model": CHAT, "temperature": 0, "max_tokens": 1},
                **{"add_generation_prompt": False, "prompt_logprobs": 0},
            }
            return float(
                self._post("/chat/completions", body, lambda got: answer_logprob(got["prompt_logprobs"], end_id))
            )

        spelt = answers_by_text(answers)
        scores = dict(zip(spelt, self._many(one, spelt), strict=True))
        return [scores[words(answer)] for answer in answers]

    def ask_many(self, asked: Iterable[Asked], total: int | None = None, bar: bool | None = None) -> list[str]:
        """Answer many questions, up to `in_flight` at a time, in their order; at the first error the rest is left.

        Args:
            asked: questions; taken as they are needed, so clips may be cut on the way.
            total: their number, for the bar; it need not be given for a list.
            bar: show a progress bar; None: where there is a terminal.
        """
        total = len(asked) if total is None and isinstance(asked, Sequence) else total
        found = self._many(lambda each: self.ask(*each), asked)
        hidden = None if bar is None else not bar
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
        return np.concatenate(list(self._many(lambda part: self._embed({"input": part}, len(part)), parts)))

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
        return np.stack(list(self._many(self.encode_clip, clips)))

    def _embed(self, body: dict[str, Any], count: int) -> NDArray[np.float32]:
        def vectors(got: Any) -> NDArray[np.float32]:
            rows = sorted(got["data"], key=lambda row: int(row["index"]))
            found = np.array([row["embedding"] for row in rows], np.float32)
            if found.ndim != 2 or len(found) != count:
                raise ValueError(f"{found.shape} for {count}")
            return found

        found: NDArray[np.float32] = self._post(
            "/embeddings", {"model": EMBED, "encoding_format": "float", **body}, vectors
        )
        return found

    def _post(self, path: str, body: dict[str, Any], read: Callable[[Any], Any]) -> Any:
        """Send a request and take from its answer what is wanted."""
        got = self._call(lambda: self._client.post(path, body=body, cast_to=object))
        try:
            return read(got)
        except (LookupError, TypeError, ValueError) as error:
            raise ServerError(
                f"{self.url}/v1{path} gives something that is not OpenAI's form of an answer "
                f"({one_line(str(got))[:60]!r}): check --server"
            ) from error

    def _call(self, call: Callable[[], Any]) -> Any:
        """Do a request; what goes wrong is one line.

        Raises:
            ServerError: it failed, after all retries where these make sense.
        """
        times = f"{self.retries + 1} times" if self.retries else "once"
        try:
            return call()
        except openai.APITimeoutError as error:
            raise ServerError(
                f"{self.url} did not answer within {self.timeout_s:g} s (asked {times}): "
                "see whether it is overloaded, or ask for less at a time"
            ) from error
        except openai.APIConnectionError as error:
            why = mask(one_line(str(error.__cause__ or error))).rstrip(".")
            raise ServerError(
                f"{self.url} cannot be reached ({why}; tried {times}): start it by `surgvl serve`, or check --server"
            ) from error
        except openai.APIStatusError as error:
            said = error.body.get("message") if isinstance(error.body, dict) else error.body
            remedy = {
                401: "; set SURGVL_API_KEY, or give it as --api_key @FILE",
                404: "; check --server, and what `surgvl serve` was started with",
            }.get(error.status_code, "")
            raise ServerError(f"{self.url} says {error.status_code}: {one_line(str(said))[:300]}{remedy}") from error
        except (openai.OpenAIError, ValueError) as error:
            raise ServerError(
                f"{self.url} does not speak as `surgvl serve` does ({mask(one_line(str(error)))[:100]}): check --server"
            ) from error

    def _many(self, do: Callable[[Given], Got], items: Iterable[Given]) -> Iterator[Got]:
        """Results in the order of the items, which are taken as they are needed."""
        waiting: deque[Future[Got]] = deque()
        pool = ThreadPoolExecutor(self.in_flight, "surgvl-ask")
        try:
            for item in items:
                waiting.append(pool.submit(do, item))
                # As many again wait ready, so that a slow one holds none of the others up.
                if len(waiting) >= 2 * self.in_flight:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
