"""The page itself, its scripts and styles, and what it hears of changes."""

import hashlib
from pathlib import Path
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response, StreamingResponse

from surgvl.core.errors import ConfigError
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
# Not by proxies: an answer may give its visitor a name.
FOREVER = {"Cache-Control": "private, max-age=31536000, immutable"}


def router(engine: Engine) -> APIRouter:
    """Routes at the top."""
    found = APIRouter()
    files = {path.name: path for path in sorted((HERE / "static").iterdir()) if path.suffix in TYPES}

    @found.get("/")
    @found.head("/")
    def page() -> Response:
        return HTMLResponse(render("page", static=f"static/{_version(files)}"), headers=ALWAYS)

    @found.get("/static/{name}")
    @found.get("/static/{version}/{name}")
    def static(name: str, version: str = "") -> Response:
        path = files.get(name)
        if path is None:
            return JSONResponse({"error": f"there is no {name[:60]}"}, 404)
        headers = FOREVER if version == _version(files) else ALWAYS
        return Response(path.read_bytes(), media_type=TYPES[path.suffix], headers=headers)

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


def _version(files: dict[str, Path]) -> str:
    """A part of the addresses of the page's files, which is another one when any of them changes.

    So browsers keep them without asking for each again whenever the page is opened.
    """
    states = [(name, state.st_mtime_ns, state.st_size) for name, path in files.items() for state in (path.stat(),)]
    return hashlib.sha256(repr(states).encode()).hexdigest()[:16]


def user_of(request: Request) -> str:
    """The visitor's name; see `access`."""
    return str(request.state.user)


def is_near(request: Request) -> bool:
    """Whether a request comes from this machine, and not by way of a proxy on it."""
    passed_on = any(name in request.headers for name in ("forwarded", "x-forwarded-for", "via"))
    return request.client is not None and is_loopback(request.client.host) and not passed_on
