"""Replies of a general model, stored as they arrive, so that a run that was killed asks nothing twice.

One JSON line a reply, appended in one write: a killed process leaves at most one incomplete last line, which is dropped
when the file is opened again. A line also tells what was sent: frames, rate, pixels, prompt, sampling, tokens, seconds.
The key is a hash of model, prompt, pixels and sampling; whatever changes one of them asks again.
"""

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from surgvl.core.errors import DataError
from surgvl.core.files import append_jsonl, text_hash, trim_jsonl
from surgvl.metrics.outcomes import Problem


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a model said to one question.

    Attributes:
        text: as it was received.
        problem: `refused` where the server says so, `missing` or `late`; those two are not stored, but asked again.
        reason: why a reply is missing or late.
        confidence: how sure the model is of the answer (`surgvl.chat.confidence`), where its tokens tell.
        scores: log-likelihoods of the options in the order in which they were shown; empty if they were not asked for.
        facts: `input_tokens`, `output_tokens`, `seconds`, `tries`, and `server` where it names its build.
    """

    text: str = ""
    problem: Problem = ""
    reason: str = ""
    confidence: float | None = None
    scores: tuple[float, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


def reply_key(model: str, prompt: str, pixels: str, sampling: Mapping[str, Any]) -> str:
    """Identifies a request, 16 hex digits.

    Args:
        model: its name.
        prompt: the text that is sent, in full.
        pixels: identifies the frames that are sent, see `surgvl.chat.vision_language.VisionLanguageAnswerer.pixels`.
        sampling: all that decides how the reply is sampled and constrained.
    """
    return text_hash(json.dumps([model, prompt, pixels, sampling], sort_keys=True, ensure_ascii=False))


class Replies:
    """Replies by key. Threads may add at the same time.

    Args:
        path: the file, which is created by the first reply; None keeps them in memory.

    Raises:
        DataError: the file holds something else.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._found: dict[str, Reply] = {}
        self.num_stored = 0
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            for row in _rows(path):
                try:
                    self._found[row["key"]] = Reply(**{**row["reply"], "scores": tuple(row["reply"]["scores"])})
                except (KeyError, TypeError) as error:
                    raise DataError(f"{path} does not hold replies ({error}): give another file") from error
            self.num_stored = len(self._found)

    def __contains__(self, key: object) -> bool:
        return key in self._found

    def __getitem__(self, key: str) -> Reply:
        return self._found[key]

    def add(self, key: str, reply: Reply, sent: Mapping[str, Any]) -> None:
        """Keep a reply; a missing or late one is kept for this run only.

        Args:
            key: from `reply_key`.
            reply: what was said.
            sent: what was sent, for the record.
        """
        with self._lock:
            self._found[key] = reply
            if self.path is not None and reply.problem not in ("missing", "late"):
                written = time.strftime("%Y-%m-%dT%H:%M:%S%z")
                append_jsonl(self.path, {"key": key, "reply": asdict(reply), **sent, "written": written})


def _rows(path: Path) -> list[Any]:
    try:
        return trim_jsonl(path, lambda row: True)
    except ValueError as error:
        raise DataError(f"{path} does not hold replies ({error}): give another file") from error
