"""The page's addresses, in one place: what each file of routes adds, and how an error is said.

Recordings are named by their ids, never by paths. Class names, ids and words go over the wire as they are; the page
writes them for people.
"""

from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from surgvl.core.errors import ConfigError, DataError, ServerError, SurgVLError
from surgvl.demo import routes_answers, routes_labels, routes_library, routes_media, routes_page
from surgvl.demo.engine import Engine
from surgvl.demo.formatting import without_folders


def add_routes(app: FastAPI, engine: Engine, scratch: Path) -> None:
    """Add all routes to an application.

    Args:
        app: the application.
        engine: an archive.
        scratch: folder for files that end with the page.
    """
    app.add_exception_handler(SurgVLError, _said)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    # `include_router` would make each route a second time, which takes as long as the first.
    app.router.routes += routes_page.router(engine).routes
    for each in (routes_library, routes_media, routes_answers, routes_labels):
        app.router.routes += each.router(engine, scratch).routes


def _said(request: Request, error: Exception) -> Response:
    # A browser need not know where files are.
    kinds = ((ConfigError, 400), (DataError, 404), (ServerError, 502), (SurgVLError, 500))
    status = next(number for kind, number in kinds if isinstance(error, kind))
    return JSONResponse({"error": without_folders(str(error))}, status)


def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
    return JSONResponse({"error": f"{where or 'the request'}: {first['msg']}"}, 400)


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    line = "there is nothing at this address" if error.status_code == 404 else str(error.detail)
    return JSONResponse({"error": line}, error.status_code, headers=error.headers)
