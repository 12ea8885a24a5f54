"""`POST /surgvl/recognise`: what a trained readout says of a posted video, computed in the gateway's process.

    {"video_url": {"url": "data:video/mp4;base64,..."}, "stride_s": 1.0}

`stride_s`, the seconds between clips, may be left out; a file of `--media_folder` may be named as a `file:` address.
The response holds, for N clips, `times_s`, the moments that they stand for, `starts_s`, `ends_s`, and `heads`: by kind
of label its `classes` with `probabilities` [N][C] (where `exclusive`, they add up to 1), or `values` [N] of a number.

One video is read at a time, from its file, so memory does not grow with its length.
"""

import base64
import contextlib
import json
import math
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

import anyio
from starlette.responses import JSONResponse

from surgvl.core.errors import ConfigError, DataError, ServerError
from surgvl.serve.http_errors import RequestError, hide_paths
from surgvl.video.clip import Preprocess

PATH = "/surgvl/recognise"
FIELDS = ("model", "video_url", "stride_s")
NAME = "surgvl-readout"
FRAME_LIST = "data:video/jpeg"


class ClientLeft(ServerError):
    """Nobody waits for the rest of a video."""


class Recognises(Protocol):
    """What is served: `surgvl.probe.recognition.Recognition`, or another that reads a video and says what it shows."""

    @property
    def preprocess(self) -> Preprocess:
        """How clips are cut."""

    def facts(self) -> dict[str, Any]:
        """What clients should know of it, for /surgvl/about."""

    def report(self, path: Path, stride_s: float | None, tick: Callable[[float], object]) -> dict[str, Any]:
        """The response for a file; calls `tick` for each clip that was read."""


class Recognise:
    """Answers for a readout.

    Args:
        loaded: the readout with its encoder.
    """

    def __init__(self, loaded: Recognises) -> None:
        self.loaded = loaded
        self.num_frames = loaded.preprocess.num_frames
        self._one_at_a_time = anyio.CapacityLimiter(1)

    def about(self) -> dict[str, Any]:
        """Its part of /surgvl/about."""
        return {"model": NAME, **self.loaded.facts()}

    async def answer(self, content: bytes) -> JSONResponse:
        """The response to a request that was checked.

        Raises:
            RequestError: it has unknown fields, or no video that can be read.
        """
        left = threading.Event()
        try:
            found = await anyio.to_thread.run_sync(
                self._recognise, content, left, limiter=self._one_at_a_time, abandon_on_cancel=True
            )
        except (ConfigError, DataError) as error:
            raise RequestError(400, hide_paths(str(error), ())) from None
        finally:
            # The thread sees it at its next clip.
            left.set()
        return JSONResponse(found)

    def _recognise(self, content: bytes, left: threading.Event) -> dict[str, Any]:
        address, stride_s = parse(json.loads(content))

        def tick(_: float) -> None:
            if left.is_set():
                raise ClientLeft("the client has left")

        with contextlib.ExitStack() as stack:
            if address[:5].lower() == "data:":
                file = stack.enter_context(tempfile.NamedTemporaryFile(prefix="surgvl-", suffix=".video"))
                file.write(base64.b64decode(address.partition(",")[2]))
                file.flush()
                path = Path(file.name)
            else:
                path = Path(unquote(urlsplit(address).path))
            return {"model": NAME, **self.loaded.report(path, stride_s, tick)}


def parse(request: dict[str, Any]) -> tuple[str, float | None]:
    """The address of the video, and the seconds between clips.

    Raises:
        RequestError: a field is unknown, missing or out of range.
    """
    # The check of media adds this one for engines.
    request.pop("media_io_kwargs", None)
    if unknown := sorted(set(request) - set(FIELDS)):
        raise RequestError(400, f"{unknown[0][:40]} is not a field of {PATH}; they are {', '.join(FIELDS)}")
    if (model := request.get("model", NAME)) != NAME:
        raise RequestError(404, f"the model must be {NAME}, got {str(model)[:40]!r}: leave it out")
    given, stride_s = request.get("video_url"), request.get("stride_s")
    address = given.get("url") if isinstance(given, dict) else given
    if not isinstance(address, str) or address.lower().startswith(FRAME_LIST):
        raise RequestError(400, "video_url must be a video file: send it as data:video/mp4;base64,DATA")
    if stride_s is None:
        return address, None
    is_number = isinstance(stride_s, int | float) and not isinstance(stride_s, bool)
    if not (is_number and math.isfinite(stride_s) and stride_s >= 0.1):
        raise RequestError(400, f"stride_s must be a number of seconds >= 0.1, got {str(stride_s)[:20]}")
    return address, float(stride_s)
