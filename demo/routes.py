"""Routes that the page fetches: videos and single frames, by the ids of the catalog only.

media/ID            the file, with byte ranges, so that a player can seek
frame/ID?t=12&h=240 one frame as JPEG
export/ID?format=eaf&phases=SET&triplets=SET&smooth=5
                    the timeline as a file
alive               whether the server still responds

An id may contain slashes, as those of merged manifests do.
"""

import functools
import math
from collections.abc import Callable
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from surgvl.core.errors import DataError, SurgVLError
from surgvl.demo.schemas import Download
from surgvl.demo.thumbnails import frame_jpeg
from surgvl.demo.video_catalog import VideoCatalog

# The only content types sent to a browser, whatever a file is called: none that it would execute or render as a page.
TYPES = {".webm": "video/webm", ".ogv": "video/ogg", ".mkv": "video/x-matroska", ".mov": "video/quicktime"}
HEIGHTS_PX = (32, 480)
_HEADERS = {"Cache-Control": "private, max-age=3600", "X-Content-Type-Options": "nosniff"}


def routes(catalog: VideoCatalog) -> list[BaseRoute]:
    """Routes for the videos of a catalog; an unknown id, time or file is a 404 with one line."""

    def media(request: Request) -> Response:
        path = catalog.get(request.path_params["video_id"]).path
        if not path.is_file():
            raise DataError("this recording is a folder of images: its frames can be shown, but not played")
        content_type = TYPES.get(path.suffix.lower(), "video/mp4")
        return FileResponse(path, media_type=content_type, headers=_HEADERS)

    def frame(request: Request) -> Response:
        video = catalog.get(request.path_params["video_id"])
        time_s, height_px = _number(request, "t", 0.0), _number(request, "h", 240.0)
        last_s = max(0.0, video.duration_s - 0.05)
        height_px = int(min(max(height_px, HEIGHTS_PX[0]), HEIGHTS_PX[1]))
        image = frame_jpeg(video.path, round(min(max(time_s, 0.0), last_s), 2), height_px)
        return Response(image, media_type="image/jpeg", headers=_HEADERS)

    def alive(request: Request) -> Response:
        return Response(status_code=204, headers={"Cache-Control": "no-store"})

    return [
        Route("/alive", alive),
        Route("/media/{video_id:path}", _errors_as_404(media)),
        Route("/frame/{video_id:path}", _errors_as_404(frame)),
    ]


def export_route(timeline_file: Callable[[str, str, str, float, str], Download]) -> BaseRoute:
    """The route of timelines as files: (video id, phase set, triplet set, smoothing in seconds, format) -> file."""

    def export(request: Request) -> Response:
        phases, triplets = (request.query_params.get(name, "") for name in ("phases", "triplets"))
        smooth_s, format = _number(request, "smooth", 0.0), request.query_params.get("format", "")
        found = timeline_file(request.path_params["video_id"], phases, triplets, smooth_s, format)
        as_file = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(found.name)}"}
        headers = {**as_file, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
        return Response(found.content, media_type=found.content_type, headers=headers)

    return Route("/export/{video_id:path}", _errors_as_404(export))


def _number(request: Request, name: str, default: float) -> float:
    try:
        value = float(request.query_params.get(name, default))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{name} must be a number")
    return value


def _errors_as_404(endpoint: Callable[[Request], Response]) -> Callable[[Request], Response]:
    @functools.wraps(endpoint)
    def wrapped(request: Request) -> Response:
        try:
            return endpoint(request)
        except SurgVLError as error:
            # The message may contain a path of this machine, which a browser must not see.
            line = str(error) if "/" not in str(error) else "this recording cannot be read at this time"
            return PlainTextResponse(line, status_code=404)

    return wrapped
