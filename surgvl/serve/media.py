"""What a request may show to a model: every media address in it is checked before anything is sent on.

Taken are `data:` addresses (RFC 2397, base64) of images, of videos, and of lists of frames in vLLM's form
(`data:video/jpeg;base64,FRAME,FRAME,...`, frames in any image format), and `file://` addresses inside one folder.
Nothing is fetched: http, https and all else is refused. Content decides, not the name or the declared type.
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

from surgvl.serve.http_errors import Refused
from surgvl.video.decoder import CONTAINERS

IMAGES = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
MAX_SIDE_PX = 8192
MAX_PIXELS = 1 << 28
"""Pixels of all pictures of a request that the engine decodes, such as 32 of 4K; as RGB they take 800 MB there."""
VLLM_FRAMES = 32
"""Pictures that vLLM decodes of a video unless it is told."""
MAX_DEPTH = 32
# Parts of a request that describe tools or grammars: there, these words are names and no media.
_OTHER = ("tools", "functions", "response_format", "structured_outputs")
_SOUND = ("audio_url", "input_audio")
_SHOWN = ("image_url", "video_url")


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What is taken.

    Args:
        max_video_s: longest video, seconds.
        media_folder: the folder whose files may be named; none: none.
        trust_embeds: take embeddings as input.
        num_frames: frames that the model takes of a clip; the engine decodes as many of a video file, evenly spread.
    """

    max_video_s: float = 600.0
    media_folder: Path | None = None
    trust_embeds: bool = False
    num_frames: int = 32


@dataclass
class _Found:
    """Media of a request: pixels of its images and frames, its longest list of frames, and its video files.

    A video is known by the pixels of a picture, the number of pictures and its length in seconds.
    """

    pixels: int = 0
    longest: int = 0
    videos: list[tuple[int, int, float]] = field(default_factory=list)


def check(request: dict[str, Any], rules: Rules) -> tuple[int, list[str]]:
    """Check all media of a request.

    Two things are changed in it: addresses of files are replaced by where they lead, links followed; and where it shows
    a video and does not say how many frames of it are to be decoded, it says so then, because vLLM would drop the end
    of a long list of frames, and would decode more frames of a file than the model takes.

    Args:
        request: the body of a chat or embedding request.
        rules: what is taken.

    Returns:
        Number of pixels that the engine will decode, and the `file:` addresses as the client sent them.

    Raises:
        Refused: something in it is not taken; 400, or 413 for what is too long or too large.
    """
    sent: list[str] = []
    found = _Found()
    for shown, place, key in _addresses({k: v for k, v in request.items() if k not in _OTHER}, rules, 0):
        address = place[key]
        if address[:5].lower() == "data:":
            _data(address, shown, rules, found)
        elif address[:5].lower() == "file:":
            sent.append(address)
            path = _inside(address, rules)
            with path.open("rb") as file:
                _content(file, shown, rules, found)
            place[key] = f"file://{quote(str(path))}"
        else:
            scheme = address.partition(":")[0][:20] if ":" in address else address[:20]
            raise Refused(
                400, f"{shown} {scheme!r} is not taken, nothing is fetched: send the media as a data: address"
            )
    wish = _wish(request)
    if found.longest or found.videos:
        wish = wish or {"num_frames": max(rules.num_frames, found.longest)}
        request["media_io_kwargs"] = {"video": wish}
    pixels = found.pixels + sum(area * _decoded(wish, count, length_s) for area, count, length_s in found.videos)
    if pixels > MAX_PIXELS:
        raise Refused(413, f"the pictures have over {MAX_PIXELS} pixels together: send fewer or smaller ones")
    return pixels, sent


def _wish(request: dict[str, Any]) -> dict[str, Any]:
    """What a request says about decoding videos: `num_frames` or `fps`; more than that is the server's own business."""
    if request.get("mm_processor_kwargs"):
        raise Refused(400, "mm_processor_kwargs is not taken: the model says how its clips are made")
    options = request.pop("media_io_kwargs", None) or {}
    video = options.get("video", {}) if isinstance(options, dict) and options.keys() <= {"video"} else None
    if (
        not isinstance(video, dict)
        or not video.keys() <= {"num_frames", "fps"}
        or not all(isinstance(each, int | float) for each in video.values())
        or not isinstance(video.get("num_frames", 1), int)
    ):
        form = "{'video': {'num_frames': a whole number, 'fps': a number}}"
        raise Refused(400, f"media_io_kwargs is not of the form {form}: leave it out, or write it so")
    return video


def _decoded(wish: dict[str, Any], count: int, length_s: float) -> int:
    """Pictures of a file that the engine decodes; below 1 stands for all, as -1 does in vLLM."""
    wanted, rate = wish.get("num_frames"), wish.get("fps", 0)
    if wanted is None and rate > 0:
        wanted = max(VLLM_FRAMES, math.ceil(length_s * rate))
    return min(wanted, count) if wanted is not None and wanted > 0 else count


def _addresses(value: Any, rules: Rules, depth: int) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Each media address below a value: what it claims to show, and where it stands."""
    if depth > MAX_DEPTH:
        raise Refused(400, f"the request is nested more than {MAX_DEPTH} deep: send it flatter")
    if isinstance(value, list):
        for each in value:
            if isinstance(each, dict | list):
                yield from _addresses(each, rules, depth + 1)
        return
    kind = value.get("type")
    for key in (*value, kind if isinstance(kind, str) else ""):
        if key.endswith("_embeds") and not rules.trust_embeds:
            raise Refused(
                400, f"{key[:40]} is not taken here: send frames (the server was started without --trust_embeds)"
            )
        if key in _SOUND:
            raise Refused(400, f"{key} is not taken: these models hear nothing")
        if key == "image_pil":
            raise Refused(400, "image_pil is not taken: send the image as a data: address")
    for key, each in value.items():
        if key in _SHOWN:
            place, at = (each, "url") if isinstance(each, dict) else (value, key)
            if not isinstance(place.get(at), str):
                raise Refused(400, f"{key} has no address: give it as text, or as {{'url': text}}")
            yield key, place, at
        elif isinstance(each, dict | list):
            yield from _addresses(each, rules, depth + 1)


def _data(address: str, shown: str, rules: Rules, found: _Found) -> None:
    """Check what a data: address holds."""
    words, comma, data = address[5:].partition(",")
    kind, _, coding = words.rpartition(";")
    if not comma or coding != "base64":
        raise Refused(400, f"the data: address of {shown} is not of the form data:TYPE;base64,DATA: write it so")
    if kind.partition(";")[0].lower() != "video/jpeg" or shown != "video_url":
        _content(io.BytesIO(_bytes(data, shown)), shown, rules, found)
        return
    frames = data.split(",")
    found.longest = max(found.longest, len(frames))
    sizes: set[tuple[int, int]] = set()
    for number, frame in enumerate(frames):
        width, height = _image(io.BytesIO(_bytes(frame, f"frame {number}")), f"frame {number}")
        sizes.add((width, height))
        if len(sizes) > 1:
            raise Refused(400, f"frame {number} has another size ({width}x{height}) than frame 0: send one size")
        found.pixels += width * height
        if found.pixels > MAX_PIXELS:
            return


def _bytes(data: str, what: str) -> bytes:
    try:
        found = binascii.a2b_base64(data, strict_mode=True)
    except ValueError:
        raise Refused(400, f"{what} is not base64 (RFC 4648, padded, no line breaks): encode it so") from None
    if not found:
        raise Refused(400, f"{what} is empty: send its bytes")
    return found


def _content(file: BinaryIO, shown: str, rules: Rules, found: _Found) -> None:
    if shown == "image_url":
        width, height = _image(file, "the image")
        found.pixels += width * height
    else:
        width, height, count, length_s = _video(file, rules.max_video_s)
        found.videos.append((width * height, count, length_s))


def _image(file: BinaryIO, what: str) -> tuple[int, int]:
    """Width and height that an image's header says; the engine decodes it."""
    try:
        with Image.open(file, formats=IMAGES) as image:
            width, height = image.size
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise Refused(413, f"{what} is larger than {MAX_SIDE_PX} px on a side: send it smaller") from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
        raise Refused(400, f"{what} is not an image that is known: send {', '.join(IMAGES)}") from None
    if max(width, height) > MAX_SIDE_PX:
        raise Refused(413, f"{what} has {width}x{height} pixels, allowed are {MAX_SIDE_PX} on a side: send it smaller")
    return width, height


def _video(file: BinaryIO, max_s: float) -> tuple[int, int, int, float]:
    """Width, height, number of pictures and seconds of a video, after a look at its length and its first picture.

    The length is that of its packets, because a header can say anything; reading stops where it is too long.
    """
    limits = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file"}
    try:
        with av.open(file, "r", container_options=limits, metadata_errors="replace") as container:
            return _look(container, max_s)
    except (av.FFmpegError, ValueError, OSError):
        raise Refused(400, "the video cannot be read: send a video file, such as MP4 with H.264") from None


def _look(container: InputContainer, max_s: float) -> tuple[int, int, int, float]:
    streams = [each for each in container.streams.video if not each.disposition & Disposition.attached_pic]
    if not streams:
        raise Refused(400, "the file holds no pictures: send a video")
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
            raise Refused(413, f"the video is longer than {max_s:g} s, which is what --max_video_s allows: cut it")
        if size is None and (pictures := packet.decode()):
            size = pictures[0].width, pictures[0].height
            if max(size) > MAX_SIDE_PX:
                raise Refused(413, f"the video has {size[0]}x{size[1]} pixels, allowed are {MAX_SIDE_PX} on a side")
    if size is None:
        raise Refused(400, "no picture of the video can be decoded: copy it again, or convert it to MP4")
    return *size, count, max(span, total) * tick_s


def _inside(address: str, rules: Rules) -> Path:
    """The file that an address names, links followed, if it lies in the media folder."""
    if rules.media_folder is None:
        raise Refused(
            400, "file: addresses are not taken: send the media as a data: address (or start with --media_folder)"
        )
    parts = urlsplit(address)
    no = Refused(400, "this file: address does not name a file inside the server's media folder: check it")
    if parts.netloc not in ("", "localhost") or parts.query or parts.fragment:
        raise no
    try:
        path = Path(os.path.realpath(unquote(parts.path, errors="strict"), strict=True))
    except (OSError, ValueError):
        raise no from None
    if not path.is_relative_to(os.path.realpath(rules.media_folder)) or not path.is_file():
        raise no
    return path
