"""The page itself, its scripts and styles, and what it hears of changes."""

from pathlib import Path
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response, StreamingResponse

from surgvl.core.errors import ConfigError
from surgvl.core.version import __version__
from surgvl.demo.access import NAME, cookie, may_be_called
from surgvl.demo.engine import Engine
from surgvl.demo.render import render
from surgvl.demo.schemas import Json, UserName
from surgvl.serve.payloads import is_loopback

HERE = Path(__file__).resolve().parent
# All that the page consists of, and how a browser is to take it.
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".woff2": "font/woff2"}
ALWAYS = {"Cache-Control": "no-cache"}
NEVER = {"Cache-Control": "no-store"}


def router(engine: Engine) -> APIRouter:
    """Routes at the top."""
    found = APIRouter()
    files = {path.name: path for path in (HERE / "static").iterdir() if path.suffix in TYPES}

    @found.get("/")
    @found.head("/")
    def page() -> Response:
        return HTMLResponse(render("page", version=__version__), headers=ALWAYS)

    @found.get("/static/{name}")
    def static(name: str, request: Request) -> Response:
        path = files.get(name)
        if path is None:
            return JSONResponse({"error": f"there is no {name[:60]}"}, 404)
        reply = FileResponse(path, media_type=TYPES[path.suffix], headers=ALWAYS)
        reply.set_stat_headers(path.stat())
        if request.headers.get("if-none-match") == reply.headers["etag"]:
            return Response(status_code=304, headers=ALWAYS)
        return reply

    @found.get("/favicon.ico")
    def favicon() -> Response:
        return FileResponse(HERE / "favicon.svg", media_type=TYPES[".svg"], headers=ALWAYS)

    @found.get("/alive")
    def alive() -> Response:
        return Response(status_code=204, headers=NEVER)

    @found.get("/api/archive")
    def archive(request: Request) -> Json:
        # Counted first: what changes meanwhile is missed rather than taken for known.
        num_events = engine.events.num_sent
        return {**engine.facts.describe(user_of(request), is_near(request)), "num_events": num_events}

    @found.get("/api/user")
    def user(request: Request) -> Json:
        return {"name": user_of(request)}

    @found.put("/api/user")
    def set_user(given: UserName) -> Response:
        name = " ".join(given.name.split())
        if not may_be_called(name):
            raise ConfigError("a name must be printable, and not 'data set': give another")
        reply = JSONResponse({"name": name})
        reply.raw_headers.append((b"set-cookie", cookie(NAME, quote(name))))
        return reply

    @found.get("/api/events")
    async def events(since: int | None = None) -> Response:
        headers = {**NEVER, "X-Accel-Buffering": "no"}
        return StreamingResponse(engine.events.stream(since), media_type="text/event-stream", headers=headers)

    return found


def user_of(request: Request) -> str:
    """The visitor's name; see `access`."""
    return str(request.state.user)


def is_near(request: Request) -> bool:
    """Whether a request comes from this machine, and not by way of a proxy on it."""
    passed_on = any(name in request.headers for name in ("forwarded", "x-forwarded-for", "via"))
    return request.client is not None and is_loopback(request.client.host) and not passed_on
