"""Addresses, clips, answers and likelihoods as they appear in requests and responses.

Shapes: T frames, A answers.
"""

import base64
import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np

from surgvl.chat.confidence import Token
from surgvl.core.arrays import UInt8Array
from surgvl.core.credentials import mask
from surgvl.core.errors import ConfigError, DataError
from surgvl.metrics.answer import to_text

# The fastest level; all are lossless.
PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1)
LISTED = 20
"""Most probable tokens that OpenAI's and vLLM's servers list beside a token, at most."""


def answers_by_text(answers: Sequence[str]) -> dict[str, str]:
    """Answers by the text that a chat model writes for them; the first wins where two have the same text.

    Raises:
        DataError: no answers, an empty one, or two that are equal.
    """
    if not answers or len(set(answers)) != len(answers) or not all(map(to_text, answers)):
        different = len(set(answers))
        raise DataError(f"{len(answers)} answers, {different} distinct: give at least one, none twice, none empty")
    found: dict[str, str] = {}
    for answer in answers:
        found.setdefault(to_text(answer), answer)
    return found


def answer_logprob(tokens: Sequence[dict[str, dict[str, float]] | None], end_id: int) -> float:
    """Sum of the log-probabilities of a prompt's tokens, up to the last end token.

    Raises:
        ValueError: there is no end token.
    """
    # The first token has none; each of the others is a table of one.
    known = [(int(key), value["logprob"]) for token in tokens if token for key, value in list(token.items())[:1]]
    if end_id not in (key for key, _ in known):
        raise ValueError(f"no token {end_id} among {len(known)}")
    last = max(at for at, (key, _) in enumerate(known) if key == end_id)
    return sum(value for _, value in known[: last + 1])


def question_body(frames: UInt8Array, question: str, texts: Sequence[str], max_tokens: int) -> dict[str, Any]:
    """Fields of a request to a chat model: greedy, with the log-probabilities of tokens.

    Args:
        frames: uint8 [T, H, W, 3].
        question: in plain language.
        texts: what it may write, one of them; none: free text.
        max_tokens: maximum number of tokens of free text.
    """
    parts = [video_part(frames), {"type": "text", "text": question}]
    body: dict[str, Any] = {"messages": [{"role": "user", "content": parts}], "temperature": 0, "logprobs": True}
    if not texts:
        return body | {"max_tokens": max_tokens}
    # Tokenizers differ in whether a first word begins with a space.
    choices = [space + text for text in texts for space in ("", " ")]
    # A token has at least one byte.
    longest = max(len(choice.encode()) for choice in choices) + 2
    return body | {"max_tokens": longest, "structured_outputs": {"choice": choices}, "top_logprobs": LISTED}


def tokens_of(got: Any) -> list[Token]:
    """The tokens of a response with their log-probabilities; none where the server gives no `logprobs`."""
    try:
        content = got["choices"][0]["logprobs"]["content"]
        return [
            Token(
                str(each["token"]),
                float(each["logprob"]),
                tuple((str(other["token"]), float(other["logprob"])) for other in each.get("top_logprobs") or ()),
            )
            for each in content
        ]
    except (AttributeError, LookupError, TypeError, ValueError):
        return []


def video_part(frames: UInt8Array) -> dict[str, Any]:
    """Frames as a part of a message, in vLLM's form of a list of frames, whose loader reads any image format."""
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8 or not frames.size:
        raise DataError(f"frames have shape {frames.shape} and type {frames.dtype}: give uint8 [T, H, W, 3]")
    return {"type": "video_url", "video_url": {"url": f"data:video/jpeg;base64,{','.join(map(_png, frames))}"}}


def picture_part(frame: UInt8Array) -> dict[str, Any]:
    """A frame uint8 [H, W, 3] as a part of a message."""
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{_png(frame)}"}}


def _png(frame: UInt8Array) -> str:
    return base64.b64encode(cv2.imencode(".png", frame[..., ::-1], PNG)[1].tobytes()).decode()


def file_part(path: Path) -> dict[str, Any]:
    """A video file as a field of a request.

    Raises:
        DataError: it cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): give a video file") from error
    return {"video_url": {"url": f"data:video/mp4;base64,{base64.b64encode(content).decode()}"}}


def host_of(address: str) -> str:
    """The host of an http address.

    Raises:
        ConfigError: it is none.
    """
    try:
        parts = urlsplit(address)
        host = (parts.scheme in ("http", "https") and (parts.port or 1) > 0 and parts.hostname) or ""
    except ValueError:
        host = ""
    if not host:
        raise ConfigError(f"--server must be an address such as http://127.0.0.1:8000, got {mask(address)!r}")
    return host


def is_loopback(host: str) -> bool:
    """Whether a host is this machine's loopback address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def one_line(text: str) -> str:
    """A text with all white space collapsed to single blanks."""
    return " ".join(text.split())
