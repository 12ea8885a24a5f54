"""What people say and keep: labels on ranges, saved clips, and undoing either."""

from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import Response

from surgvl.demo.engine import Engine, clip_json, label_json
from surgvl.demo.routes_page import user_of
from surgvl.demo.schemas import ClipWords, Json, NewClip, NewLabel


def router(engine: Engine, scratch: Path) -> APIRouter:
    """Routes below `/api`."""
    found, catalogue = APIRouter(prefix="/api"), engine.archive.catalogue

    @found.get("/recordings/{id:path}/labels")
    def labels(id: str, request: Request) -> list[Json]:
        return engine.labels(engine.recording(id), user_of(request))

    @found.post("/recordings/{id:path}/labels")
    def add_label(id: str, given: NewLabel, request: Request) -> Json:
        user = user_of(request)
        label = catalogue.add_label(id, given.track, given.name, given.start_s, given.end_s, user)
        engine.events.publish("labels", {"recording": id})
        return next(label_json(each, user) for each in catalogue.labels(id) if each.id == label)

    @found.delete("/labels/{label}")
    def remove_label(label: int, request: Request) -> Response:
        known = {each.id: each.recording for each in catalogue.labels()}
        catalogue.remove_label(label, user_of(request))
        engine.events.publish("labels", {"recording": known[label]})
        return Response(status_code=204)

    @found.get("/clips")
    def clips() -> list[Json]:
        return engine.clips()

    @found.post("/clips")
    def add_clip(given: NewClip, request: Request) -> Json:
        clip = catalogue.add_clip(
            given.recording, given.start_s, given.end_s, given.title, given.note, user_of(request)
        )
        engine.events.publish("clips", {"recording": given.recording})
        return clip_json(catalogue.clip(clip))

    @found.patch("/clips/{clip}")
    def rewrite_clip(clip: int, given: ClipWords, request: Request) -> Json:
        found = catalogue.clip(catalogue.rewrite_clip(clip, given.title, given.note, user_of(request)))
        engine.events.publish("clips", {"recording": found.recording})
        return clip_json(found)

    @found.delete("/clips/{clip}")
    def remove_clip(clip: int, request: Request) -> Response:
        recording = catalogue.clip(clip).recording
        catalogue.remove_clip(clip, user_of(request))
        engine.events.publish("clips", {"recording": recording})
        return Response(status_code=204)

    @found.post("/undo")
    def undo(request: Request) -> Json:
        said = catalogue.undo(user_of(request))
        engine.events.publish("labels", None)
        engine.events.publish("clips", None)
        engine.events.publish("recordings", None)
        return {"said": said}

    return found
