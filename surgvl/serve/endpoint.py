"""A client of any OpenAI-compatible address that is not `surgvl serve`: vLLM, SGLang, llama.cpp, a hosted model.

Retries are made here and not by OpenAI's client, which would repeat a request that ran out of time.
"""

import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import openai

from surgvl.chat.replies import Reply
from surgvl.core.checks import did_you_mean
from surgvl.core.errors import ConfigError, ServerError
from surgvl.serve.client import Server
from surgvl.serve.payloads import one_line

# Paths that name the build of a server: vLLM's, llama.cpp's, SGLang's; and the field that does.
VERSIONS = (("/version", "version"), ("/props", "build_info"), ("/server_info", "version"))
# Requests that fail in a row until the run is given up; those before are kept.
MAX_FAILED = 16
# What OpenAI's client waits between tries: 0.5 s, 1 s, 2 s ... up to 8 s.
FIRST_WAIT_S, MAX_WAIT_S = 0.5, 8.0
SHOWN = 12


class Endpoint(Server):
    """One model behind an address; see `surgvl.serve.client.Server` for the arguments.

    Attributes:
        model: its name.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        model: str = "",
        limit_s: float = 120.0,
        retries: int = 5,
        in_flight: int = 8,
    ) -> None:
        super().__init__(url, api_key, timeout_s=limit_s, retries=retries, in_flight=in_flight)
        self._plain = self._client.with_options(max_retries=0)
        self._failed = 0
        self._lock = threading.Lock()
        self.model = self._choose(model)

    def models(self) -> list[str]:
        """Names of the models, from /v1/models.

        Raises:
            ServerError: it cannot be reached, or does not list models.
        """
        found: Any = self._call(lambda: self._client.get("/models", cast_to=object))
        rows = found.get("data") if isinstance(found, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) and "id" in row for row in rows):
            raise ServerError(f"{self.url}/v1/models does not list models in OpenAI's format: check --server")
        return [str(row["id"]) for row in rows]

    def _choose(self, wanted: str) -> str:
        there = self.models()
        if wanted in there:
            return wanted
        if not wanted and len(there) == 1:
            return there[0]
        named = ", ".join(there[:SHOWN]) + (f" and {len(there) - SHOWN} more" if len(there) > SHOWN else "")
        if not there:
            raise ServerError(f"{self.url} lists no model: wait until it has loaded one, or check --server")
        if not wanted:
            raise ConfigError(f"{self.url} has several models, {named}: choose one with --model")
        hint = did_you_mean(wanted, there, "give one of them as --model")
        raise ConfigError(f"{self.url} has no model {wanted!r}; it has {named}: {hint}")

    def version(self) -> str:
        """The server's build, as far as it states it; else empty."""
        for path, field in VERSIONS:
            try:
                found: Any = self._plain.get(f"{self._address}{path}", cast_to=object)
            except (openai.OpenAIError, ValueError):
                continue
            if isinstance(found, dict) and found.get(field):
                return str(found[field])
        return ""

    def accepts(self, body: Mapping[str, Any]) -> tuple[Any, str]:
        """Try a request: the response, or None and what the server said against it.

        Raises:
            ServerError: it cannot be reached, refuses the key, or fails for a reason that may pass.
        """
        refused: list[str] = []

        def attempt() -> Any:
            try:
                # Few retries, because a server that cannot take pictures may say so by status 500.
                client = self._client.with_options(max_retries=min(2, self.retries))
                return client.post("/chat/completions", body={"model": self.model, **body}, cast_to=object)
            except openai.APIStatusError as error:
                if error.status_code in (400, 404, 413, 415, 422, 500, 501):
                    refused.append(said(error))
                    return None
                raise

        return self._call(attempt), "".join(refused)

    def complete(self, body: Mapping[str, Any], read: Callable[[Any], Reply]) -> Reply:
        """Send one question, again where it fails for a reason that may pass, until the time limit.

        Args:
            body: of the request, without the model.
            read: makes a reply of the response; LookupError, TypeError or ValueError if it cannot.

        Returns:
            The reply. It is `late` after the time limit, and `missing` where the server refuses this request.

        Raises:
            ServerError: the server cannot be reached or refuses the key, or many requests in a row have failed.
        """
        begun, last = time.monotonic(), ""
        for number in range(self.retries + 1):
            left_s = self.timeout_s - (time.monotonic() - begun)
            if left_s <= 0:
                break
            facts = {"tries": number + 1, "seconds": 0.0}
            try:
                got: Any = self._plain.post(
                    "/chat/completions",
                    body={"model": self.model, **body},
                    cast_to=object,
                    options={"timeout": left_s},
                )
                reply = read(got)
            except openai.APITimeoutError:
                break
            except (openai.APIConnectionError, openai.APIStatusError) as error:
                last = said(error)
                wait_s = retry_after(error, number)
                if wait_s is None:
                    return self._fail(Reply(problem="missing", reason=last, facts=facts), error)
                if number == self.retries or time.monotonic() - begun + wait_s > self.timeout_s:
                    return self._fail(Reply(problem="missing", reason=last, facts=facts), error)
                time.sleep(wait_s)
                continue
            except (LookupError, TypeError, ValueError, openai.OpenAIError) as error:
                line = f"the response is not in OpenAI's format ({one_line(str(error))[:100]})"
                return self._fail(Reply(problem="missing", reason=line, facts=facts), error)
            with self._lock:
                self._failed = 0
            seconds = round(time.monotonic() - begun, 3)
            return Reply(**{**vars(reply), "facts": {**reply.facts, **facts, "seconds": seconds}})
        why = f"no reply within {self.timeout_s:g} s" + (f" ({last})" if last else "")
        return Reply(problem="late", reason=why, facts={"seconds": round(time.monotonic() - begun, 3)})

    def _fail(self, reply: Reply, error: Exception) -> Reply:
        """Count a failed request; raise if all will fail."""
        with self._lock:
            self._failed += 1
        status = error.status_code if isinstance(error, openai.APIStatusError) else 0
        gone = isinstance(error, openai.APIConnectionError) or status in (401, 403, 404)
        if gone or self._failed >= MAX_FAILED:
            rows = "" if gone else f" ({self._failed} requests in a row failed)"
            raise ServerError(
                f"{self.url}: {reply.reason}{rows}: check the server, then run the same command with --resume"
            ) from error
        return reply


def said(error: openai.OpenAIError) -> str:
    """What a server said in one line, with the status."""
    if isinstance(error, openai.APIStatusError):
        body = error.body.get("message") if isinstance(error.body, dict) else error.body
        return f"status {error.status_code}: {one_line(str(body))[:300]}"
    return one_line(str(error.__cause__ or error))[:300]


def retry_after(error: openai.APIConnectionError | openai.APIStatusError, number: int) -> float | None:
    """Seconds until a failed request may be repeated; None if that is of no use.

    Args:
        error: of the request.
        number: of the try, from 0.
    """
    backed_off: float = min(MAX_WAIT_S, FIRST_WAIT_S * 2**number) * (1 - 0.25 * random.random())
    if isinstance(error, openai.APIStatusError):
        if error.status_code not in (408, 409, 429) and error.status_code < 500:
            return None
        given = str(error.response.headers.get("retry-after", ""))
        return float(given) if given.isdigit() and int(given) <= 60 else backed_off
    return backed_off


def reply_of(got: Any) -> Reply:
    """The reply in a response."""
    choice = got["choices"][0]
    message, usage = choice["message"], got.get("usage") or {}
    refused = bool(message.get("refusal")) or choice.get("finish_reason") == "content_filter"
    facts = {
        "finish": choice.get("finish_reason"),
        "input_tokens": usage.get("prompt_tokens"),
        "output_tokens": usage.get("completion_tokens"),
        "fingerprint": got.get("system_fingerprint"),
    }
    return Reply(
        text=str(message.get("content") or message.get("refusal") or ""),
        problem="refused" if refused else "",
        facts={name: value for name, value in facts.items() if value is not None},
    )


def text_message(parts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Messages of one turn of the user."""
    return [{"role": "user", "content": list(parts)}]
