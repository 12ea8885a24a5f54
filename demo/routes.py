"""What the browser fetches beside the page: videos and single frames, by the ids of the shelf and in no other way.

media/ID            the file, with byte ranges, so that a player can jump
frame/ID?t=12&h=240 one frame as JPEG
alive               that the server still answers

An ID may hold slashes, as those of merged manifests do.
"""

import functools
import math
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from surgvl.core.errors import DataError
from surgvl.demo.thumbnails import still
from surgvl.demo.video_catalog import Shelf

# What a browser is told, whatever a file is called: never a type that it would run or render as a page.
TYPES = {".webm": "video/webm", ".ogv": "video/ogg", ".mkv": "video/x-matroska", ".mov": "video/quicktime"}
HEIGHTS_PX = (32, 480)
_HEADERS = {"Cache-Control": "private, max-age=3600", "X-Content-Type-Options": "nosniff"}


def routes(shelf: Shelf) -> list[BaseRoute]:
    """Routes for the videos of a shelf; unknown ids, times and files are 404 with one line."""

    def media(request: Request) -> Response:
        path = shelf.get(request.path_params["video_id"]).path
        if not path.is_file():
            raise DataError("this recording is a folder of pictures: its frames can be shown, not played")
        kind = TYPES.get(path.suffix.lower(), "video/mp4")
        return FileResponse(path, media_type=kind, headers=_HEADERS)

    def frame(request: Request) -> Response:
        place = shelf.get(request.path_params["video_id"])
        time_s, height_px = _number(request, "t", 0.0), _number(request, "h", 240.0)
        last_s = max(0.0, place.duration_s - 0.05)
        height = int(min(max(height_px, HEIGHTS_PX[0]), HEIGHTS_PX[1]))
        picture = still(place.path, round(min(max(time_s, 0.0), last_s), 2), height)
        return Response(picture, media_type="image/jpeg", headers=_HEADERS)

    def alive(request: Request) -> Response:
        return Response(status_code=204, headers={"Cache-Control": "no-store"})

    return [
        Route("/alive", alive),
        Route("/media/{video_id:path}", _friendly(media)),
        Route("/frame/{video_id:path}", _friendly(frame)),
    ]


def _number(request: Request, name: str, default: float) -> float:
    try:
        value = float(request.query_params.get(name, default))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{name} must be a number")
    return value


def _friendly(endpoint: Callable[[Request], Response]) -> Callable[[Request], Response]:
    @functools.wraps(endpoint)
    def wrapped(request: Request) -> Response:
        try:
            return endpoint(request)
        except DataError as error:
            # The line may name a path of this machine; a browser is not told.
            word = str(error) if "/" not in str(error) else "this recording cannot be read there"
            return PlainTextResponse(word, status_code=404)

    return wrapped
