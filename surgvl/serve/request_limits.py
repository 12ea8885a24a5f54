"""Limits on the work that one request may ask for, so that one client cannot block an engine for all others.

vLLM bounds the length of a sequence, but neither the number of sequences nor the size of a grammar in a request.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from surgvl.serve.http_errors import RequestError

MAX_LIST_LENGTH = 1000
"""Entries of lists that an engine iterates over at every token."""
_LISTS = ("stop", "stop_token_ids", "bad_words", "allowed_token_ids", "logprob_token_ids", "logit_bias")
_SCHEMAS = ("structured_outputs", "response_format", "tools", "functions")
_TEXTS = ("messages", "input", "prompt", "documents", "chat_template_kwargs")
_MEDIA = ("image_url", "video_url")


@dataclass(frozen=True, kw_only=True)
class RequestLimits:
    """Upper limits for one request, each a flag of `surgvl serve`.

    Args:
        max_answers: maximum number of answers to a request (`n`).
        max_tokens: maximum number of tokens of an answer.
        max_forced_tokens: maximum number of tokens that a request may force (`ignore_eos`, `min_tokens`).
        max_sentences: maximum number of inputs of an embedding request.
        max_choices: maximum number of strings of a guided choice.
        max_schema_kb: maximum size of schema, grammar, choices and tools, in 10^3 bytes of JSON.
        max_text_kb: maximum length of the text of messages and inputs, in 10^3 characters.
    """

    max_answers: int = 8
    max_tokens: int = 2048
    max_forced_tokens: int = 256
    max_sentences: int = 256
    max_choices: int = 2048
    max_schema_kb: float = 64.0
    max_text_kb: float = 256.0

    def check(self, request: dict[str, Any]) -> None:
        """Reject a request that asks for more.

        Raises:
            RequestError: the message names the field, the limit and its flag; 400.
        """
        self._check_numbers(request)
        for name in _LISTS:
            if isinstance(value := request.get(name), list | dict) and len(value) > MAX_LIST_LENGTH:
                raise RequestError(400, f"{name} must have at most {MAX_LIST_LENGTH} entries, got {len(value)}")
        given = request.get("input")
        # A list of numbers is one text, already tokenized.
        if isinstance(given, list) and not all(isinstance(each, int) for each in given):
            self._limit("input", len(given), "inputs", "max_sentences")
        messages = request.get("messages")
        if isinstance(messages, list) and messages and all(isinstance(each, list) for each in messages):
            self._limit("messages", len(messages), "conversations", "max_sentences")
        guided = request.get("structured_outputs")
        choice = guided.get("choice") if isinstance(guided, dict) else None
        if isinstance(choice, list):
            self._limit("structured_outputs.choice", len(choice), "strings", "max_choices")
        for name in _SCHEMAS:
            if request.get(name) is not None:
                self._limit(name, len(json.dumps(request[name])) / 1e3, "kB", "max_schema_kb")
        size = sum(_text_sizes([request[name] for name in _TEXTS if name in request])) / 1e3
        self._limit("the text", size, "thousand characters", "max_text_kb")

    def _check_numbers(self, request: dict[str, Any]) -> None:
        """Check numbers and booleans; vLLM itself would accept "9" as 9 and "on" as true."""
        for name, flag in (
            ("n", "max_answers"),
            ("max_tokens", "max_tokens"),
            ("max_completion_tokens", "max_tokens"),
            ("min_tokens", "max_forced_tokens"),
        ):
            value = request.get(name)
            if value is None:
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise RequestError(400, f"{name} must be a whole number from 0 to {vars(self)[flag]} (--{flag})")
            self._limit(name, value, "", flag)
        forced = request.get("ignore_eos")
        if forced is not None and not isinstance(forced, bool):
            raise RequestError(400, "ignore_eos must be true or false")
        if forced:
            asked = [request[name] for name in ("max_tokens", "max_completion_tokens") if request.get(name) is not None]
            if not asked:
                limit = f"{self.max_forced_tokens} (--max_forced_tokens)"
                raise RequestError(400, f"ignore_eos needs max_tokens: send max_tokens <= {limit} with it")
            self._limit("max_tokens with ignore_eos", max(asked), "", "max_forced_tokens")

    def _limit(self, what: str, value: float, unit: str, flag: str) -> None:
        limit = vars(self)[flag]
        if value > limit:
            unit = f" {unit}" if unit else ""
            # A number may have thousands of digits.
            raise RequestError(400, f"{what} must be at most {limit:g}{unit} (--{flag}), got {str(value)[:20]}")


def _text_sizes(value: Any) -> Iterator[int]:
    """Characters of each text in a nested value, without media; a number counts as one."""
    if isinstance(value, str):
        yield len(value)
    elif isinstance(value, list):
        for each in value:
            yield from _text_sizes(each)
    elif isinstance(value, dict):
        for key, each in value.items():
            if key not in _MEDIA and not key.endswith("_embeds"):
                yield from _text_sizes(each)
    else:
        yield 1
