"""Pictures and files of recordings: the video itself, single frames, cuts, timelines, reports.

Content types are chosen here, whatever a file is called: none that a browser would execute or render as a page, but for
the report, which is saved and not shown.
"""

import secrets
import threading
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from starlette.background import BackgroundTask
from starlette.responses import FileResponse, Response

from surgvl.core.errors import ConfigError, DataError
from surgvl.core.times import clock
from surgvl.demo.archive_facts import MAX_CUT_S
from surgvl.demo.engine import Engine
from surgvl.demo.report import report
from surgvl.demo.routes_page import user_of
from surgvl.demo.schemas import Json
from surgvl.demo.thumbnails import frame_jpeg
from surgvl.demo.uploads import safe_name
from surgvl.video.cut import cut_video

TYPES = {".webm": "video/webm", ".ogv": "video/ogg", ".mkv": "video/x-matroska", ".mov": "video/quicktime"}
HEIGHTS_PX = (32, 1080)
# Pictures up to this height are kept: those of lists, not those that stand for the player.
KEPT_PX = 240
# An id names a file whose content may be replaced: the page asks again after a while.
_CACHED = {"Cache-Control": "private, max-age=3600"}
Smooth = Annotated[float, Query(ge=0, le=3600, allow_inf_nan=False)]
Time = Annotated[float, Query(ge=-1e7, le=1e7, allow_inf_nan=False)]


def router(engine: Engine, scratch: Path) -> APIRouter:
    """Routes below `/api`."""
    found = APIRouter(prefix="/api")
    # Decoding is the heaviest that a page asks for: two at a time leave room for searches.
    decoding, cutting = threading.Semaphore(2), threading.Semaphore(1)

    @found.get("/recordings/{id:path}/video")
    def video(id: str) -> Response:
        path = engine.recording(id).path
        if not path.is_file():
            raise DataError("this recording is a folder of images, or gone: its frames can be shown, but not played")
        return FileResponse(path, media_type=TYPES.get(path.suffix.lower(), "video/mp4"), headers=_CACHED)

    @found.get("/recordings/{id:path}/frame")
    def frame(id: str, t: Time = 0.0, h: int = 240) -> Response:
        row = engine.recording(id)
        time_s = round(min(max(t, 0.0), max(0.0, row.duration_s - 0.05)), 2)
        height_px = min(max(h, HEIGHTS_PX[0]), HEIGHTS_PX[1])

        def decode() -> bytes:
            with decoding:
                return frame_jpeg(row.path, time_s, height_px)

        is_kept = height_px <= KEPT_PX
        image = engine.archive.thumbnails.get(row.content, time_s, height_px, decode) if is_kept else decode()
        return Response(image, media_type="image/jpeg", headers=_CACHED)

    @found.get("/recordings/{id:path}/cut.mp4")
    def cut(id: str, start_s: Time, end_s: Time, title: str = "") -> Response:
        row = engine.recording(id)
        if end_s - start_s > MAX_CUT_S:
            raise ConfigError(f"a clip may last {MAX_CUT_S / 60:.0f} minutes, got {clock(end_s - start_s)}: shorten it")
        out = scratch / f"cut-{secrets.token_hex(8)}.mp4"
        with cutting:
            cut_video(row.path, max(0.0, start_s), end_s, out)
        name = title or f"{row.title} {_plain(start_s)}-{_plain(end_s)}"
        done = BackgroundTask(out.unlink, missing_ok=True)
        return FileResponse(out, media_type="video/mp4", headers=as_file(f"{name}.mp4"), background=done)

    @found.get("/clips/{clip_id}.mp4")
    def clip(clip_id: int) -> Response:
        kept = engine.archive.catalogue.clip(clip_id)
        return cut(kept.recording, kept.start_s, kept.end_s, kept.title)

    @found.get("/recordings/{id:path}/timeline")
    def timeline(id: str, request: Request, phase: str = "", triplet: str = "", smooth_s: Smooth = 5.0) -> Json:
        return engine.timeline(engine.recording(id), names(phase, triplet), smooth_s, user_of(request))

    @found.get("/recordings/{id:path}/timeline.{format}")
    def timeline_file(id: str, format: str, phase: str = "", triplet: str = "", smooth_s: Smooth = 5.0) -> Response:
        with decoding:
            made = engine.timeline_file(engine.recording(id), names(phase, triplet), smooth_s, format)
        return Response(made.content, media_type=made.content_type, headers=as_file(made.name))

    @found.get("/recordings/{id:path}/report.html")
    def report_file(id: str, phase: str = "", triplet: str = "", smooth_s: Smooth = 5.0) -> Response:
        row = engine.recording(id)
        with decoding:
            made = report(engine, row, names(phase, triplet), smooth_s)
        return Response(made, media_type="text/html", headers=as_file(f"{row.title}.html"))

    def names(phase: str, triplet: str) -> list[str]:
        given = [each for each in (phase, triplet) if each]
        return given or [sets[0] for task in ("phase", "triplet") if (sets := engine.facts.prompt_sets(task))]

    return found


def as_file(name: str) -> dict[str, str]:
    """Headers of a file that a browser saves under a name."""
    # A title may have a slash, and is no path.
    plain = quote(safe_name(name.translate({ord(sign): "_" for sign in "/\\"})))
    return {
        "Content-Disposition": f"attachment; filename*=UTF-8''{plain}",
        "Cache-Control": "no-store",
    }


def _plain(time_s: float) -> str:
    """A time for file names: no colons."""
    return clock(time_s).replace(":", ".")
