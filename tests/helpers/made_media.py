"""Pictures, videos and requests that show them, for tests."""

import base64
import io
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from surgvl.serve.http_errors import RequestError
from surgvl.serve.media_check import MediaRules, check_media


def picture(width: int = 8, height: int = 6, kind: str = "PNG", colour: tuple[int, int, int] = (200, 90, 80)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(out, kind)
    return out.getvalue()


def video(seconds: float = 2.0, kind: str = "mp4", rate: int = 5) -> bytes:
    """A video of noise, 64x48."""
    out = io.BytesIO()
    noise = np.random.default_rng(0)
    with av.open(out, "w", format=kind) as container:
        stream = container.add_stream("libx264" if kind == "mp4" else "mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(round(seconds * rate)):
            frame = av.VideoFrame.from_ndarray(noise.integers(0, 255, (48, 64, 3), np.uint8))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return out.getvalue()


def data(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def frames(*pictures: bytes) -> str:
    return "data:video/jpeg;base64," + ",".join(base64.b64encode(each).decode() for each in pictures)


def shows(url: object, kind: str = "video_url", words: str = "?") -> dict[str, Any]:
    """A request of the usual form."""
    parts: list[dict[str, Any]] = [{"type": kind, kind: {"url": url}}]
    parts += [{"type": "text", "text": words}] if words else []
    return {"messages": [{"role": "user", "content": parts}]}


def refused(request: dict[str, Any], **rules: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        check_media(request, MediaRules(**rules))
    return caught.value
