"""How much work one request may ask for, so that one client cannot keep an engine from all others.

vLLM has a bound on the length of a sequence, and none on how many of them, or how large a grammar, a request may have.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from surgvl.serve.http_errors import Refused

LONGEST_LIST = 1000
"""Entries of the lists that an engine walks through at every token."""
_LISTS = ("stop", "stop_token_ids", "bad_words", "allowed_token_ids", "logprob_token_ids", "logit_bias")
_SCHEMAS = ("structured_outputs", "response_format", "tools", "functions")
_TEXTS = ("messages", "input", "prompt", "documents", "chat_template_kwargs")
_SHOWN = ("image_url", "video_url")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Upper bounds for one request, each a flag of `surgvl serve`.

    Args:
        max_answers: answers (`n`).
        max_tokens: tokens of an answer.
        max_forced_tokens: tokens of an answer that must not end by itself (`ignore_eos`, `min_tokens`).
        max_sentences: inputs of an embedding request.
        max_choices: strings of a guided choice.
        max_schema_kb: schema, grammar, choices and tools, 10^3 bytes of JSON.
        max_text_kb: text of messages and inputs, 10^3 characters.
    """

    max_answers: int = 8
    max_tokens: int = 2048
    max_forced_tokens: int = 256
    max_sentences: int = 256
    max_choices: int = 2048
    max_schema_kb: float = 64.0
    max_text_kb: float = 256.0

    def check(self, request: dict[str, Any]) -> None:
        """Refuse a request that asks for more.

        Raises:
            Refused: the message names the field, the bound and its flag; 400.
        """
        self._numbers(request)
        for name in _LISTS:
            if isinstance(value := request.get(name), list | dict) and len(value) > LONGEST_LIST:
                raise Refused(400, f"{name} has {len(value)} entries, allowed are {LONGEST_LIST}: send fewer")
        given = request.get("input")
        # A list of numbers is one text that was already cut into tokens.
        if isinstance(given, list) and not all(isinstance(each, int) for each in given):
            self._bound("input", len(given), "inputs", "max_sentences")
        messages = request.get("messages")
        if isinstance(messages, list) and messages and all(isinstance(each, list) for each in messages):
            self._bound("messages", len(messages), "conversations", "max_sentences")
        guided = request.get("structured_outputs")
        choice = guided.get("choice") if isinstance(guided, dict) else None
        if isinstance(choice, list):
            self._bound("structured_outputs.choice", len(choice), "strings", "max_choices")
        for name in _SCHEMAS:
            if request.get(name) is not None:
                self._bound(name, len(json.dumps(request[name])) / 1e3, "kB", "max_schema_kb")
        size = sum(_texts([request[name] for name in _TEXTS if name in request])) / 1e3
        self._bound("the text", size, "thousand characters", "max_text_kb")

    def _numbers(self, request: dict[str, Any]) -> None:
        """Numbers and switches; vLLM would read "9" as 9 and "on" as true."""
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
                raise Refused(
                    400, f"{name} is not a whole number from 0 to {vars(self)[flag]} (--{flag}): send such a number"
                )
            self._bound(name, value, "", flag)
        forced = request.get("ignore_eos")
        if forced is not None and not isinstance(forced, bool):
            raise Refused(400, "ignore_eos is not true or false: send one of them, or leave it out")
        if forced:
            asked = [request[name] for name in ("max_tokens", "max_completion_tokens") if request.get(name) is not None]
            if not asked:
                bound = f"{self.max_forced_tokens} (--max_forced_tokens)"
                raise Refused(400, f"ignore_eos came without max_tokens: send max_tokens up to {bound} with it")
            self._bound("max_tokens with ignore_eos", max(asked), "", "max_forced_tokens")

    def _bound(self, what: str, value: float, unit: str, flag: str) -> None:
        limit = vars(self)[flag]
        if value > limit:
            unit = f" {unit}" if unit else ""
            # A number may have thousands of digits.
            raise Refused(
                400, f"{what}: {str(value)[:20]}{unit} asked, {limit:g}{unit} are allowed (--{flag}): ask for less"
            )


def _texts(value: Any) -> Iterator[int]:
    """Characters of each text below a value, media left out; a number counts as one."""
    if isinstance(value, str):
        yield len(value)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, dict):
        for key, each in value.items():
            if key not in _SHOWN and not key.endswith("_embeds"):
                yield from _texts(each)
    else:
        yield 1
