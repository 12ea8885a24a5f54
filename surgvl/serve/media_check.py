"""Media of a request: every address is checked before the request is forwarded.

Accepted are `data:` addresses (RFC 2397, base64) of images, videos and lists of frames in vLLM's form
(`data:video/jpeg;base64,FRAME,FRAME,...`, frames in any image format), and `file://` addresses inside one folder.
Nothing is fetched: http, https and everything else is rejected. The content decides, not the name or declared type.
"""

import binascii
import io
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote, unquote, urlsplit

import av
from av.container import InputContainer
from av.stream import Disposition
from PIL import Image, UnidentifiedImageError

from surgvl.serve.http_errors import RequestError
from surgvl.video.decoder import CONTAINERS

IMAGES = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
MAX_SIDE_PX = 8192
MAX_PIXELS = 1 << 28
"""Pixels of all pictures that the engine decodes for a request: 32 of 4K, which take 800 MB as RGB."""
VLLM_FRAMES = 32
"""Frames that vLLM decodes of a video by default."""
MAX_DEPTH = 32
# Fields that describe tools or grammars, in which these keys do not mean media.
_NO_MEDIA = ("tools", "functions", "response_format", "structured_outputs")
_AUDIO = ("audio_url", "input_audio")
_MEDIA = ("image_url", "video_url")


@dataclass(frozen=True, kw_only=True)
class MediaRules:
    """Which media are accepted.

    Args:
        max_video_s: longest video, seconds.
        media_folder: folder whose files may be named; None: no file is read.
        trust_embeds: accept embeddings as input.
        num_frames: frames of a clip; the engine decodes as many of a video file, evenly spaced.
    """

    max_video_s: float = 600.0
    media_folder: Path | None = None
    trust_embeds: bool = False
    num_frames: int = 32


@dataclass
class _Media:
    """Media of a request: pixels of its images and frames, length of its longest list of frames, and its video files.

    A video is described by the pixels of a frame, the number of frames and its duration in seconds.
    """

    pixels: int = 0
    longest: int = 0
    videos: list[tuple[int, int, float]] = field(default_factory=list)


def check_media(request: dict[str, Any], rules: MediaRules) -> tuple[int, list[str]]:
    """Check all media of a request.

    Changes two things in it. Addresses of files are replaced by resolved ones. If it holds a video and does not set the
    number of frames to decode, that is set, because vLLM would drop the end of a long list of frames, and would decode
    more frames of a file than the model uses.

    Args:
        request: the body of a chat or embedding request.
        rules: what is accepted.

    Returns:
        Number of pixels that the engine will decode, and the `file:` addresses as the client sent them.

    Raises:
        RequestError: some of it is not accepted; 400, or 413 if it is too long or too large.
    """
    file_urls: list[str] = []
    found = _Media()
    for what, holder, key in _addresses({k: v for k, v in request.items() if k not in _NO_MEDIA}, rules, 0):
        address = holder[key]
        if address[:5].lower() == "data:":
            _check_data_url(address, what, rules, found)
        elif address[:5].lower() == "file:":
            file_urls.append(address)
            path = _resolve_file(address, rules)
            with path.open("rb") as file:
                _check_content(file, what, rules, found)
            holder[key] = f"file://{quote(str(path))}"
        else:
            scheme = address.partition(":")[0][:20] if ":" in address else address[:20]
            raise RequestError(
                400, f"{what} {scheme!r} is not accepted, nothing is fetched: send the media as a data: address"
            )
    options = _video_options(request)
    if found.longest or found.videos:
        options = options or {"num_frames": max(rules.num_frames, found.longest)}
        request["media_io_kwargs"] = {"video": options}
    pixels = found.pixels
    pixels += sum(area * _num_decoded(options, count, duration_s) for area, count, duration_s in found.videos)
    if pixels > MAX_PIXELS:
        raise RequestError(
            413, f"all images together must have at most {MAX_PIXELS} pixels: send fewer or smaller ones"
        )
    return pixels, file_urls


def _video_options(request: dict[str, Any]) -> dict[str, Any]:
    """The request's options for decoding videos: only `num_frames` and `fps` may be set."""
    if request.get("mm_processor_kwargs"):
        raise RequestError(
            400, "mm_processor_kwargs is not accepted: the model defines its preprocessing; leave it out"
        )
    options = request.pop("media_io_kwargs", None) or {}
    video = options.get("video", {}) if isinstance(options, dict) and options.keys() <= {"video"} else None
    if (
        not isinstance(video, dict)
        or not video.keys() <= {"num_frames", "fps"}
        or not all(isinstance(each, int | float) for each in video.values())
        or not isinstance(video.get("num_frames", 1), int)
    ):
        form = "{'video': {'num_frames': a whole number, 'fps': a number}}"
        raise RequestError(400, f"media_io_kwargs must have the form {form}: leave it out, or write it so")
    return video


def _num_decoded(options: dict[str, Any], count: int, duration_s: float) -> int:
    """Frames of a file that the engine decodes; below 1 means all, as -1 does in vLLM."""
    wanted, fps = options.get("num_frames"), options.get("fps", 0)
    if wanted is None and fps > 0:
        wanted = max(VLLM_FRAMES, math.ceil(duration_s * fps))
    return min(wanted, count) if wanted is not None and wanted > 0 else count


def _addresses(value: Any, rules: MediaRules, depth: int) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Each media address in a nested value: its key, and the dict and key that hold it."""
    if depth > MAX_DEPTH:
        raise RequestError(400, f"the request is nested more than {MAX_DEPTH} deep: flatten it")
    if isinstance(value, list):
        for each in value:
            if isinstance(each, dict | list):
                yield from _addresses(each, rules, depth + 1)
        return
    kind = value.get("type")
    for key in (*value, kind if isinstance(kind, str) else ""):
        if key.endswith("_embeds") and not rules.trust_embeds:
            raise RequestError(
                400, f"{key[:40]} is not accepted: send frames (the server was started without --trust_embeds)"
            )
        if key in _AUDIO:
            raise RequestError(400, f"{key} is not accepted: these models do not process audio")
        if key == "image_pil":
            raise RequestError(400, "image_pil is not accepted: send the image as a data: address")
    for key, each in value.items():
        if key in _MEDIA:
            holder, at = (each, "url") if isinstance(each, dict) else (value, key)
            if not isinstance(holder.get(at), str):
                raise RequestError(400, f"{key} has no address: give it as a string, or as {{'url': string}}")
            yield key, holder, at
        elif isinstance(each, dict | list):
            yield from _addresses(each, rules, depth + 1)


def _check_data_url(address: str, what: str, rules: MediaRules, found: _Media) -> None:
    """Check the content of a data: address."""
    header, comma, data = address[5:].partition(",")
    kind, _, coding = header.rpartition(";")
    if not comma or coding != "base64":
        raise RequestError(400, f"the data: address of {what} must have the form data:TYPE;base64,DATA")
    if kind.partition(";")[0].lower() != "video/jpeg" or what != "video_url":
        _check_content(io.BytesIO(_decode_base64(data, what)), what, rules, found)
        return
    frames = data.split(",")
    found.longest = max(found.longest, len(frames))
    sizes: set[tuple[int, int]] = set()
    for number, frame in enumerate(frames):
        width, height = _image_size(io.BytesIO(_decode_base64(frame, f"frame {number}")), f"frame {number}")
        sizes.add((width, height))
        if len(sizes) > 1:
            raise RequestError(
                400, f"frame {number} has a different size ({width}x{height}) than frame 0: send one size"
            )
        found.pixels += width * height
        if found.pixels > MAX_PIXELS:
            return


def _decode_base64(data: str, what: str) -> bytes:
    try:
        found = binascii.a2b_base64(data, strict_mode=True)
    except ValueError:
        raise RequestError(400, f"{what} is not valid base64 (RFC 4648, padded, no line breaks): check it") from None
    if not found:
        raise RequestError(400, f"{what} is empty: send its bytes")
    return found


def _check_content(file: BinaryIO, what: str, rules: MediaRules, found: _Media) -> None:
    if what == "image_url":
        width, height = _image_size(file, "the image")
        found.pixels += width * height
    else:
        width, height, count, duration_s = _probe_video(file, rules.max_video_s)
        found.videos.append((width * height, count, duration_s))


def _image_size(file: BinaryIO, what: str) -> tuple[int, int]:
    """Width and height in an image's header; only the engine decodes it."""
    try:
        with Image.open(file, formats=IMAGES) as image:
            width, height = image.size
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise RequestError(413, f"{what} is larger than {MAX_SIDE_PX} px on a side: send a smaller one") from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
        raise RequestError(400, f"{what} is not an image in a known format: send {', '.join(IMAGES)}") from None
    if max(width, height) > MAX_SIDE_PX:
        raise RequestError(
            413, f"{what} must be at most {MAX_SIDE_PX} px on a side, got {width}x{height}: send a smaller one"
        )
    return width, height


def _probe_video(file: BinaryIO, max_s: float) -> tuple[int, int, int, float]:
    """Width, height, number of frames and duration in seconds of a video, after decoding its first frame.

    The duration is that of its packets, because a header can claim anything; reading stops once it is too long.
    """
    limits = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file"}
    try:
        with av.open(file, "r", container_options=limits, metadata_errors="replace") as container:
            return _probe_container(container, max_s)
    except (av.FFmpegError, ValueError, OSError):
        raise RequestError(400, "the video cannot be read: send a video file, such as MP4 with H.264") from None


def _probe_container(container: InputContainer, max_s: float) -> tuple[int, int, int, float]:
    streams = [each for each in container.streams.video if not each.disposition & Disposition.attached_pic]
    if not streams:
        raise RequestError(400, "the file holds no video stream: send a video")
    stream = streams[0]
    tick_s = float(stream.time_base or 1)
    size: tuple[int, int] | None = None
    first: int | None = None
    span = total = count = 0
    for packet in container.demux(stream):
        count += packet.size > 0
        if packet.pts is not None:
            first = packet.pts if first is None else first
            span = max(span, abs(packet.pts - first) + (packet.duration or 0))
        total += packet.duration or 0
        if max(span, total) * tick_s > max_s:
            raise RequestError(413, f"the video is longer than {max_s:g} s (--max_video_s): trim it")
        if size is None and (pictures := packet.decode()):
            size = pictures[0].width, pictures[0].height
            if max(size) > MAX_SIDE_PX:
                raise RequestError(
                    413, f"the video must be at most {MAX_SIDE_PX} px on a side, got {size[0]}x{size[1]}"
                )
    if size is None:
        raise RequestError(400, "no frame of the video can be decoded: copy it again, or convert it to MP4")
    return *size, count, max(span, total) * tick_s


def _resolve_file(address: str, rules: MediaRules) -> Path:
    """The file at an address, links resolved, if it lies in the media folder."""
    if rules.media_folder is None:
        raise RequestError(
            400, "file: addresses are not accepted: send the media as a data: address (or start with --media_folder)"
        )
    parts = urlsplit(address)
    outside = RequestError(400, "this file: URL does not name a file inside the server's media folder: check the path")
    if parts.netloc not in ("", "localhost") or parts.query or parts.fragment:
        raise outside
    try:
        path = Path(os.path.realpath(unquote(parts.path, errors="strict"), strict=True))
    except (OSError, ValueError):
        raise outside from None
    if not path.is_relative_to(os.path.realpath(rules.media_folder)) or not path.is_file():
        raise outside
    return path
