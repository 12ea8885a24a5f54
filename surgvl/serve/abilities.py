"""What an OpenAI-compatible address can do, found out once by small requests.

Servers ignore fields that they do not know, so a field that constrains a reply counts as obeyed only if a reply is one
of two made-up words that no model would write by itself.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from surgvl.chat.option_scores import tail_of
from surgvl.chat.vision_language import caption
from surgvl.chat.vision_language_config import ClipInput, Closed, ReplyConfig
from surgvl.core.arrays import UInt8Array
from surgvl.core.errors import ConfigError
from surgvl.serve.endpoint import Endpoint, text_message
from surgvl.serve.payloads import LISTED, picture_part, tokens_of, video_part

# In this order they are tried.
CONSTRAINTS: tuple[Closed, ...] = ("choice", "guided_choice", "json_schema", "grammar")
MADE_UP = ("qzxvil", "wjkomp")
# What vLLM decodes of a list of frames, and the rate that it assumes, unless the request may say otherwise.
VLLM_FRAMES, VLLM_FPS = 32, 1.0
PROBE_PX = 56
# How many of the most probable tokens are asked for; some hosts give 5.
NUM_LISTED = (LISTED, 5, 0)
# Of longer replies, which are thoughts, only the chosen tokens.
MAX_LISTED_TOKENS = 256


@dataclass(frozen=True)
class Abilities:
    """What an address can do.

    Attributes:
        sends: how it is sent clips.
        media_kwargs: whether a request may tell the rate of a list of frames.
        closed: how it chooses among options.
        tail: tokens that its chat template writes after an answer, the end token included; 0 if it gives no
            `prompt_logprobs`.
        num_listed: most probable tokens that it lists beside each token with its log-probability; None: it gives no
            `logprobs`.
        renames: fields of sampling that it knows by another name, or not at all (empty).
        version: its build.
    """

    sends: Literal["video", "frames"]
    media_kwargs: bool
    closed: Closed
    tail: int
    num_listed: int | None
    renames: Mapping[str, str]
    version: str

    def sampling(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Fields of sampling as this address takes them."""
        named = {self.renames.get(name, name): value for name, value in fields.items()}
        return {name: value for name, value in named.items() if name}

    def token_fields(self, is_choice: bool, max_tokens: int) -> dict[str, Any]:
        """Fields of a request for the log-probabilities of the reply's tokens; of a choice with the alternatives."""
        if self.num_listed is None:
            return {}
        listed = self.num_listed if is_choice and max_tokens <= MAX_LISTED_TOKENS else 0
        return _logprobs(listed)


def probe(endpoint: Endpoint, clip: ClipInput, reply: ReplyConfig, by_likelihood: bool) -> Abilities:
    """Find out what an address can do.

    Args:
        endpoint: the address.
        clip: what it will be shown.
        reply: how it shall reply.
        by_likelihood: whether likelihoods are wanted.

    Raises:
        ConfigError: it takes no pictures, or refuses what was asked for by name.
        ServerError: it fails.
    """
    renames = renamed_fields(endpoint, reply)
    sends, media_kwargs = _media(endpoint, clip, renames)
    wanted = by_likelihood or reply.closed == "likelihood"
    tail = _tail(endpoint) if wanted else 0
    if reply.closed == "likelihood" and not tail:
        raise ConfigError(f"--reply.closed likelihood: {endpoint.url} offers no prompt_logprobs: choose another way")
    closed = "likelihood" if tail else reply.closed
    if closed == "auto":
        closed = next((name for name in CONSTRAINTS if _obeys(endpoint, name, renames)), "letters")
    return Abilities(sends, media_kwargs, closed, tail, _listed(endpoint, renames), renames, endpoint.version())


def constraint(name: Closed, labels: Sequence[str]) -> dict[str, Any]:
    """Fields of a request that let a model write one of some labels only."""
    if name == "choice":
        return {"structured_outputs": {"choice": list(labels)}}
    if name == "guided_choice":
        return {"guided_choice": list(labels)}
    if name == "json_schema":
        schema = {
            "type": "object",
            "properties": {"answer": {"type": "string", "enum": list(labels)}},
            "required": ["answer"],
            "additionalProperties": False,
        }
        return {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "strict": True, "schema": schema},
            }
        }
    if name == "grammar":
        return {"grammar": f"root ::= {' | '.join(map(json.dumps, labels))}"}
    return {}


def clip_parts(frames: UInt8Array, fps: float, sends: str) -> list[dict[str, Any]]:
    """A clip uint8 [T, H, W, 3] as parts of a message: a video, or pictures with their times in words; or none."""
    if sends == "video" and len(frames):
        return [video_part(frames)]
    parts: list[dict[str, Any]] = []
    for number, frame in enumerate(frames):
        parts += [{"type": "text", "text": caption(number, len(frames), fps)}, picture_part(frame)]
    return parts


def media_fields(num_frames: int, fps: float) -> dict[str, Any]:
    """Fields of a request that tell vLLM to use all frames of a list, and their rate."""
    return {"media_io_kwargs": {"video": {"num_frames": num_frames, "fps": fps}}}


def renamed_fields(endpoint: Endpoint, reply: ReplyConfig) -> dict[str, str]:
    """Fields of sampling that an address knows by another name, or not at all (empty).

    Hosted reasoning models know `max_tokens` by another name, and refuse a temperature.

    Raises:
        ConfigError: it refuses a plain question.
        ServerError: it fails.
    """
    hello = text_message([{"type": "text", "text": "Say yes."}])
    renames: dict[str, str] = {}
    for _ in range(4):
        fields = {renames.get(name, name): value for name, value in reply.sampling(0).items()}
        got, refusal = endpoint.accepts({"messages": hello, **{name: v for name, v in fields.items() if name}})
        if got is not None:
            return renames
        if "max_completion_tokens" in refusal and "max_tokens" not in renames:
            renames["max_tokens"] = "max_completion_tokens"
            continue
        odd = next((name for name in ("temperature", "seed") if name in refusal and name not in renames), "")
        if not odd:
            break
        renames[odd] = ""
    raise ConfigError(
        f"{endpoint.url} refuses a plain question to {endpoint.model!r} ({refusal}): choose another model"
    )


def _media(endpoint: Endpoint, clip: ClipInput, renames: Mapping[str, str]) -> tuple[Literal["video", "frames"], bool]:
    frames = np.random.default_rng(0).integers(0, 256, (2, PROBE_PX, PROBE_PX, 3), np.uint8)
    limit = {renames.get("max_tokens", "max_tokens"): 1}
    refusal = ""

    def takes(sends: str, **more: Any) -> bool:
        nonlocal refusal
        parts = [*clip_parts(frames, clip.fps, sends), {"type": "text", "text": "Say yes."}]
        got, refusal = endpoint.accepts({"messages": text_message(parts), **limit, **more})
        return got is not None

    if clip.may_be_video:
        if takes("video", **media_fields(len(frames), clip.fps)):
            return "video", True
        # Without these fields, vLLM takes the frames for one second apart.
        plain = clip.fps == VLLM_FPS and clip.num_frames <= VLLM_FRAMES
        if (plain or clip.send == "video") and takes("video"):
            return "video", False
        if clip.send == "video":
            raise ConfigError(f"--clip.send video: {endpoint.url} takes no videos ({refusal}): send frames")
    if not takes("frames"):
        raise ConfigError(f"{endpoint.model!r} at {endpoint.url} takes no pictures ({refusal}): choose another --model")
    return "frames", False


def _logprobs(num_listed: int) -> dict[str, Any]:
    return {"logprobs": True, **({"top_logprobs": num_listed} if num_listed else {})}


def _listed(endpoint: Endpoint, renames: Mapping[str, str]) -> int | None:
    """See `Abilities.num_listed`."""
    hello = text_message([{"type": "text", "text": "Say yes."}])
    for number in NUM_LISTED:
        limit = {renames.get("max_tokens", "max_tokens"): 16}
        got, _ = endpoint.accepts({"messages": hello, **limit, **_logprobs(number)})
        if got is not None:
            return number if tokens_of(got) else None
    return None


def _obeys(endpoint: Endpoint, name: Closed, renames: Mapping[str, str]) -> bool:
    body = {
        "messages": text_message([{"type": "text", "text": "Name a colour."}]),
        renames.get("max_tokens", "max_tokens"): 48,
        **({} if "temperature" in renames else {"temperature": 0}),
        **constraint(name, MADE_UP),
    }
    got, _ = endpoint.accepts(body)
    try:
        text = str(got["choices"][0]["message"]["content"]).strip()
        said = json.loads(text)["answer"] if name == "json_schema" else text
    except (LookupError, TypeError, ValueError):
        return False
    return said in MADE_UP


def likelihood_body(messages: list[dict[str, Any]], label: str) -> dict[str, Any]:
    """A request that scores an answer as part of the prompt."""
    return {
        "messages": [*messages, {"role": "assistant", "content": label}],
        "max_tokens": 1,
        "temperature": 0,
        "add_generation_prompt": False,
        "prompt_logprobs": 0,
    }


def prompt_tokens(got: Any) -> list[tuple[int, float]]:
    """Tokens of a scored prompt with their log-probabilities, without the first, which has none."""
    tables = [token for token in got["prompt_logprobs"] if token]
    return [(int(key), float(value["logprob"])) for key, value in (next(iter(each.items())) for each in tables)]


def _tail(endpoint: Endpoint) -> int:
    hello, scored = text_message([{"type": "text", "text": "Say A or B."}]), []
    for label in ("A", "B"):
        got, _ = endpoint.accepts(likelihood_body(hello, label))
        if not isinstance(got, dict) or not got.get("prompt_logprobs"):
            return 0
        scored.append([token for token, _ in prompt_tokens(got)])
    return tail_of(*scored)
