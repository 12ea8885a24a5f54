"""The library: recordings with their case details, what is added and removed, the jobs that do it, evaluation runs."""

from dataclasses import asdict
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from surgvl.core.errors import ConfigError
from surgvl.demo.engine import Engine
from surgvl.demo.evaluation_runs import evaluation_runs
from surgvl.demo.routes_page import is_near, user_of
from surgvl.demo.schemas import DetailsChange, Json, NewJob, Paths
from surgvl.demo.uploads import check_recordings, receive_recordings
from surgvl.models.published import Published, registry
from surgvl.models.store import stored

UPLOADS = "uploads"


def router(engine: Engine, scratch: Path) -> APIRouter:
    """Routes below `/api`."""
    found = APIRouter(prefix="/api")

    @found.get("/recordings")
    def recordings() -> list[Json]:
        return engine.recordings()

    @found.post("/recordings")
    async def add(request: Request) -> Json:
        if request.headers.get("content-type", "").startswith("application/json"):
            try:
                given = Paths.model_validate_json(await request.body())
            except ValidationError as error:
                raise RequestValidationError(error.errors()) from error
            if not is_near(request):
                raise ConfigError("files of the archive's machine can be added there only: send them instead")
            return {"job": await run_in_threadpool(_add, [_existing(each) for each in given.paths])}
        paths = await receive_recordings(request, engine.archive.folder / UPLOADS)
        await run_in_threadpool(check_recordings, paths)
        return {"job": await run_in_threadpool(_add, paths)}

    def _add(paths: list[Path]) -> int:
        return engine.jobs.add("add", {"paths": [str(each) for each in paths]})

    @found.patch("/recordings/{id:path}")
    def change(id: str, given: DetailsChange, request: Request) -> Json:
        engine.archive.catalogue.set_details(id, who=user_of(request), **given.model_dump())
        engine.events.publish("recordings")
        clips = engine.archive.catalogue.clips(id)
        return engine.listed(engine.recording(id), len(clips))

    @found.delete("/recordings/{id:path}")
    def remove(id: str) -> Json:
        return {"job": engine.jobs.add("remove", {"ids": [engine.recording(id).id]})}

    @found.get("/recordings/{id:path}/details/history")
    def history(id: str) -> list[Json]:
        return [asdict(each) for each in engine.archive.catalogue.history(id)]

    @found.get("/jobs")
    def jobs() -> list[Json]:
        return engine.jobs.list()

    @found.post("/jobs")
    def ask_for(given: NewJob, request: Request) -> Json:
        what = {"model": _chosen(given.model, is_near(request))} if given.kind == "reindex" else {}
        return {"job": engine.jobs.add(given.kind, what)}

    @found.get("/models")
    def models() -> list[Json]:
        return [{"name": each.name, "title": each.title, "purpose": each.purpose} for each in _models_here()]

    @found.post("/jobs/{id}/cancel")
    def cancel(id: int) -> list[Json]:
        engine.jobs.cancel(id)
        return engine.jobs.list()

    @found.post("/jobs/{id}/resume")
    def resume(id: int) -> list[Json]:
        engine.jobs.resume(id)
        return engine.jobs.list()

    @found.get("/runs")
    def runs() -> list[Json]:
        return evaluation_runs(engine.archive.folder.parent)

    return found


def _existing(path: str) -> Path:
    found = Path(path).expanduser()
    if not found.is_absolute() or not found.exists():
        raise ConfigError(
            f"{path} does not exist on the machine of the archive: give the whole path of a file or folder"
        )
    return found


def _models_here() -> list[Published]:
    """The models by name that an archive can be embedded with, as far as they are on this machine."""
    return [each for each in registry().values() if each.kind == "video-text" and stored(each) is not None]


def _chosen(model: str, is_near: bool) -> str:
    """A model that a visitor has chosen: a name, or from this machine a folder."""
    names = [each.name for each in _models_here()]
    if model in names or (is_near and Path(model).is_absolute() and Path(model).is_dir()):
        return model
    raise ConfigError(f"{model!r} is not a model on the machine of the archive: choose {', '.join(names) or 'none'}")
