"""How much one request may ask for: each bound has a flag, and what is above it is refused by its name."""

import dataclasses
from typing import Any

import pytest

pytest.importorskip("starlette", reason="starlette is not installed: pip install 'surgvl[serve]'")

from surgvl.serve.http_errors import RequestError  # noqa: E402
from surgvl.serve.request_limits import MAX_LIST_LENGTH, RequestLimits  # noqa: E402
from surgvl.serve.settings import ServerSettings  # noqa: E402

LIMITS = RequestLimits(
    max_answers=3, max_tokens=20, max_forced_tokens=10, max_sentences=4, max_choices=5, max_schema_kb=1, max_text_kb=2
)
SAYS = {"messages": [{"role": "user", "content": "hello"}]}


@pytest.mark.parametrize(
    "request_",
    [
        {},
        SAYS,
        {"n": None, "max_tokens": None, "ignore_eos": None, "stop": None, "structured_outputs": None, "tools": None},
        {"n": 3, "max_tokens": 20, "max_completion_tokens": 20, "min_tokens": 10, "stop": ["a"]},
        {"ignore_eos": True, "max_tokens": 10},
        {"ignore_eos": False, "max_tokens": 20},
        {"input": ["a"] * 4},
        {"input": "a" * 2000},
        {"input": list(range(2000))},
        {"input": [[1, 2]] * 4},
        {"messages": [SAYS["messages"]] * 4},
        {"structured_outputs": {"choice": ["a"] * 5}},
        {"response_format": {"type": "json_schema", "json_schema": {"a": "x" * 900}}},
        {"messages": [{"role": "user", "content": [{"type": "video_url", "video_url": {"url": "x" * 9000}}]}]},
    ],
)
def test_what_is_within_the_bounds_passes(request_: dict[str, Any]) -> None:
    LIMITS.check(request_)


@pytest.mark.parametrize(
    ("request_", "field", "flag"),
    [
        ({"n": 4}, "n", "--max_answers"),
        ({"n": 16384}, "n", "--max_answers"),
        ({"n": "4"}, "n", "--max_answers"),
        ({"n": 4.0}, "n", "--max_answers"),
        ({"n": True}, "n", "--max_answers"),
        ({"n": -1}, "n", "--max_answers"),
        ({"n": [1]}, "n", "--max_answers"),
        ({"n": 4, "use_beam_search": True}, "n", "--max_answers"),
        ({"max_tokens": 21}, "max_tokens", "--max_tokens"),
        ({"max_tokens": 1, "max_completion_tokens": 21}, "max_completion_tokens", "--max_tokens"),
        ({"max_tokens": "21"}, "max_tokens", "--max_tokens"),
        ({"max_tokens": 10**400}, "max_tokens", "--max_tokens"),
        ({"min_tokens": 11}, "min_tokens", "--max_forced_tokens"),
        ({"ignore_eos": True}, "ignore_eos", "--max_forced_tokens"),
        ({"ignore_eos": True, "max_tokens": 11}, "ignore_eos", "--max_forced_tokens"),
        ({"ignore_eos": True, "max_tokens": 1, "max_completion_tokens": 11}, "ignore_eos", "--max_forced_tokens"),
        ({"ignore_eos": "on", "max_tokens": 11}, "ignore_eos", "true or false"),
        ({"ignore_eos": 1, "max_tokens": 11}, "ignore_eos", "true or false"),
        ({"input": ["a"] * 5}, "input", "--max_sentences"),
        ({"input": [[1, 2]] * 5}, "input", "--max_sentences"),
        ({"input": [1, 2, "a"] * 2}, "input", "--max_sentences"),
        ({"messages": [SAYS["messages"]] * 5}, "messages", "--max_sentences"),
        ({"structured_outputs": {"choice": ["a"] * 6}}, "structured_outputs.choice", "--max_choices"),
        ({"structured_outputs": {"choice": ["a" * 1000]}}, "structured_outputs", "--max_schema_kb"),
        ({"structured_outputs": {"regex": "a" * 1000}}, "structured_outputs", "--max_schema_kb"),
        ({"structured_outputs": {"json": {"enum": list(range(500))}}}, "structured_outputs", "--max_schema_kb"),
        ({"structured_outputs": "x" * 1000}, "structured_outputs", "--max_schema_kb"),
        ({"response_format": {"type": "json_schema", "json_schema": "x" * 1000}}, "response_format", "--max_schema_kb"),
        ({"tools": [{"a": "x" * 1000}]}, "tools", "--max_schema_kb"),
        ({"input": "a" * 2001}, "text", "--max_text_kb"),
        ({"input": list(range(2001))}, "text", "--max_text_kb"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "a" * 2001}]}]}, "text", "--max_text_kb"),
        ({"documents": [{"text": "a" * 2001}]}, "text", "--max_text_kb"),
        ({"stop": ["a"] * (MAX_LIST_LENGTH + 1)}, "stop", "1000"),
        ({"logit_bias": {str(each): 1 for each in range(MAX_LIST_LENGTH + 1)}}, "logit_bias", "1000"),
    ],
)
def test_what_is_above_a_bound_is_refused_by_its_name(request_: dict[str, Any], field: str, flag: str) -> None:
    with pytest.raises(RequestError) as refused:
        LIMITS.check(request_)
    message = refused.value.message
    assert refused.value.status == 400
    assert field in message
    assert flag in message
    assert len(message) < 250
    assert "\n" not in message


def test_every_bound_is_a_flag_of_the_server() -> None:
    for field in dataclasses.fields(RequestLimits):
        bound: dict[str, Any] = {field.name: 1}
        assert vars(ServerSettings(**bound))[field.name] == 1
    with pytest.raises(RequestError, match="max_answers"):
        ServerSettings(max_answers=1).check({"n": 2})
