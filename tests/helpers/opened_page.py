"""The engine of a page over an archive that is made of a run folder, and a client that asks it as a browser does."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from fastapi import FastAPI
from starlette.testclient import TestClient

from surgvl.archive.archive import Archive
from surgvl.demo.access import Lock
from surgvl.demo.app import Address, dress
from surgvl.demo.engine import Engine


def archived(run: Path, folder: Path) -> Archive:
    """An archive of a run; made once, opened as often as asked."""
    return Archive.open(folder) if (folder / "archive.json").exists() else Archive.from_run(run, folder)


def engine_of(run: Path, folder: Path, server: str = "", model: str = "") -> Engine:
    """An engine over an archive of a run; its models load when they are asked for."""
    return Engine(archived(run, folder), server=server, model=model)


@contextlib.contextmanager
def browsing(engine: Engine, scratch: Path, lock: Lock = Lock()) -> Iterator[TestClient]:  # noqa: B008 (unchanged)
    """A client of the page's routes, without a socket and without Gradio's own."""
    scratch.mkdir(exist_ok=True)
    app = FastAPI()
    dress(app, engine, scratch, Address(lock=lock))
    with TestClient(app, base_url="http://127.0.0.1:7860", raise_server_exceptions=True) as client:
        yield client
