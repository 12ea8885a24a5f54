"""What the models answer: searches, their curves and lists, and questions."""

import csv
import io
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import Response

from surgvl.core.times import clock
from surgvl.demo.engine import Engine
from surgvl.demo.routes_media import as_file
from surgvl.demo.schemas import AskReply, AskRequest, Json, SearchReply, SearchRequest
from surgvl.demo.uploads import receive_picture


def router(engine: Engine, scratch: Path) -> APIRouter:
    """Routes below `/api`."""
    found = APIRouter(prefix="/api")

    @found.post("/search")
    def search(given: SearchRequest) -> SearchReply:
        return engine.search(given)

    @found.post("/search.csv")
    def search_csv(given: SearchRequest) -> Response:
        table = hits_csv(engine.search(given))
        return Response(table, media_type="text/csv", headers=as_file(f"{given.text[:60] or 'hits'}.csv"))

    @found.post("/images")
    async def image(request: Request) -> Json:
        return {"id": engine.finder.add_picture(await receive_picture(request, scratch))}

    @found.get("/recordings/{id:path}/curve")
    def curve(id: str, search: str = "", q: str = "") -> Json:
        return engine.curve(engine.recording(id), search, q)

    @found.post("/ask")
    def ask(given: AskRequest) -> AskReply:
        return engine.ask(given)

    return found


def hits_csv(reply: SearchReply) -> str:
    """Hits as comma-separated values (RFC 4180)."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["rank", "recording", "title", "start_s", "end_s", "start", "end", "score", "word", "one_in"])
    for rank, hit in enumerate(reply.hits, 1):
        times = (f"{hit.start_s:.3f}", f"{hit.end_s:.3f}", clock(hit.start_s), clock(hit.end_s))
        odds = "" if hit.odds is None else f"{hit.odds:.0f}"
        writer.writerow(map(_harmless, [rank, hit.recording, hit.title, *times, f"{hit.score:.6f}", hit.word, odds]))
    return text.getvalue()


def _harmless(value: object) -> object:
    """A cell that a spreadsheet shows and does not compute: a title may begin like a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
