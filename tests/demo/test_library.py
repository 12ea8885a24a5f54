"""Adding and removing recordings through the page: uploads, files of this machine, jobs and what pages hear of them."""

import asyncio
import io
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from surgvl.core.errors import ConfigError, DataError
from surgvl.core.locks import locked
from surgvl.demo import uploads
from surgvl.demo.engine import Engine
from surgvl.demo.events import NUM_WAITING, Events
from surgvl.demo.jobs import JobWorker
from surgvl.video.decoder import VIDEO_SUFFIXES
from tests.helpers.made_archive import empty_archive, film, opened, plain_embedder
from tests.helpers.opened_page import browsing
from tests.helpers.patience import patience


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """An engine of an empty archive, whose embedder has no network and whose models are not loaded."""
    found = Engine(empty_archive(tmp_path / "archive"))
    monkeypatch.setattr(found.models, "start", lambda: None)
    found.jobs.start()
    yield found
    found.close()


@pytest.fixture
def page(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """A browser on this machine."""
    with browsing(engine, tmp_path / "scratch") as found:
        yield found


def ended(page: TestClient, job: int) -> dict[str, Any]:
    """A job after it has ended."""
    until = time.monotonic() + patience(60)
    while (found := next(each for each in page.get("/api/jobs").json() if each["id"] == job))["state"] in (
        "waiting",
        "running",
    ):
        assert time.monotonic() < until
        time.sleep(0.02)
    return dict(found)


def send(page: TestClient, *files: tuple[str, bytes]) -> Any:
    return page.post("/api/recordings", files=[("files", (name, io.BytesIO(data))) for name, data in files])


# ---- uploads


@pytest.mark.slow
def test_uploads_are_added_and_can_be_searched(page: TestClient, engine: Engine, tmp_path: Path) -> None:
    data = [film(tmp_path / f"{number}.mp4", number, 2 + number).read_bytes() for number in (1, 2)]
    job = send(page, ("../../case <1>.mp4", data[0]), ("two.MP4", data[1])).json()["job"]
    again = send(page, ("two.MP4", data[0])).json()["job"]
    done = ended(page, job)
    assert (done["state"], done["problem"], done["title"]) == ("done", "", "Add 2 files")
    assert ended(page, again)["state"] == "done"
    rows = page.get("/api/recordings").json()
    assert {row["title"]: row["state"] for row in rows} == {"case _1_": "embedded", "two": "embedded"}
    assert sorted(row["duration_s"] for row in rows) == pytest.approx([3, 4])
    there = sorted((engine.archive.folder / "uploads").iterdir())
    # A file of a name that is taken gets one like it; its content is known already.
    assert [path.name[:6] for path in there] == ["case _", "two-" + there[1].name[4:6], "two.MP"]
    assert [path.read_bytes() for path in there] == [data[0], data[0], data[1]]
    assert sum(engine.archive.index().counts("video_id").values()) == 7


@pytest.mark.slow
def test_what_is_no_recording_is_refused_and_leaves_nothing(
    page: TestClient, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = film(tmp_path / "a.mp4").read_bytes()

    def refused(*files: tuple[str, bytes]) -> str:
        found = send(page, *files)
        assert found.status_code in (400, 404), found.text
        assert not list((engine.archive.folder / "uploads").glob("*"))
        error = str(found.json()["error"])
        assert len(error.splitlines()) == 1
        assert str(tmp_path) not in error
        return error

    assert "type that can be read" in refused(("a.html", whole))
    assert "cannot be opened as a video" in refused(("a.mp4", whole), ("notes.mp4", b"not a video at all\n" * 50))
    assert "empty" in refused(("a.mp4", b""))
    monkeypatch.setattr(uploads, "MAX_S", 1.0)
    assert "the limit is 0 minutes" in refused(("a.mp4", whole))
    monkeypatch.setattr(uploads, "MAX_BYTES", len(whole) - 1)
    assert "larger than" in refused(("b.mp4", whole))
    monkeypatch.setattr(uploads, "MAX_FILES", 1)
    for body, kind in ((b"{", "application/json"), (b"x", "text/plain"), (b"x", "multipart/form-data; boundary=b")):
        assert page.post("/api/recordings", content=body, headers={"content-type": kind}).status_code == 400
    assert page.get("/api/jobs").json() == []


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("../../etc/passwd.mp4", "passwd.mp4"), ("C:\\films\\a b.mp4", "a b.mp4"), ("<x>.mp4", "_x_.mp4"),
        ("é ü.mkv", "é ü.mkv"), ("..", "upload"), ("a" * 200 + ".mp4", "a" * 76 + ".mp4"), ("a\0b\n.mp4", "a_b_.mp4"),
    ],
)  # fmt: skip
def test_names_are_made_safe(name: str, wanted: str) -> None:
    assert uploads.safe_name(name) == wanted


@pytest.mark.slow
def test_pictures_to_search_by_are_kept_for_a_while(page: TestClient) -> None:
    from tests.helpers.made_media import picture

    found = page.post("/api/images", files={"file": ("a.png", picture())})
    assert found.status_code == 200
    assert found.json()["id"]
    assert page.post("/api/images", files={"file": ("a.mp4", b"x")}).status_code == 400


# ---- files of this machine


@pytest.mark.slow
def test_paths_are_taken_from_this_machine_alone(
    page: TestClient, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film(tmp_path / "cases" / "one.mp4")
    given = {"paths": [str(tmp_path / "cases")]}
    # The test client calls itself `testclient`.
    assert "can be added there only" in page.post("/api/recordings", json=given).json()["error"]
    near = TestClient(page.app, base_url="http://127.0.0.1:7860", client=("127.0.0.1", 50000))
    passed_on = near.post("/api/recordings", json=given, headers={"X-Forwarded-For": "10.0.0.7"})
    assert "can be added there only" in passed_on.json()["error"]
    for bad in ("cases", str(tmp_path / "nowhere")):
        assert "does not exist" in near.post("/api/recordings", json={"paths": [bad]}).json()["error"]
    job = near.post("/api/recordings", json=given).json()["job"]
    assert ended(page, job)["state"] == "done"
    assert [row["id"] for row in page.get("/api/recordings").json()] == ["one"]
    assert near.get("/api/archive").json()["can"]["paths"]


@pytest.mark.slow
def test_a_damaged_file_is_set_aside_and_said(page: TestClient, engine: Engine, tmp_path: Path) -> None:
    whole = film(tmp_path / "cases" / "one.mp4")
    (tmp_path / "cases" / "two.mp4").write_bytes(film(tmp_path / "x.mp4", 2).read_bytes() + b"bad")
    done = ended(page, engine.jobs.add("add", {"paths": [str(whole.parent)]}))
    assert done["state"] == "done"
    assert done["problem"].startswith("1 file set aside: two.mp4 is damaged")
    states = {row["id"]: row["state"] for row in page.get("/api/recordings").json()}
    assert states == {"one": "embedded", "two": "failed"}


@pytest.mark.slow
def test_a_recording_is_removed_and_its_file_stays(page: TestClient, engine: Engine, tmp_path: Path) -> None:
    path = film(tmp_path / "cases" / "one.mp4")
    ended(page, engine.jobs.add("add", {"paths": [str(path)]}))
    job = page.delete("/api/recordings/one").json()["job"]
    assert ended(page, job)["state"] == "done"
    assert page.get("/api/recordings").json() == []
    assert path.exists()
    assert page.delete("/api/recordings/one").status_code == 404


# ---- jobs


class Slow:
    """An archive whose jobs wait until they are let go, and stop when they are told to."""

    def __init__(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.let_go, self.calls = threading.Event(), 0
        whole = engine.archive.add

        def add(paths: Any, *, tick: Any, should_stop: Callable[[], bool], **rest: Any) -> Any:
            self.calls += 1
            until = time.monotonic() + patience(60)
            while not self.let_go.is_set() and not should_stop():
                assert time.monotonic() < until
                time.sleep(0.01)
            return whole(paths, tick=tick, should_stop=should_stop, **rest)

        monkeypatch.setattr(engine.archive, "add", add)


@pytest.mark.slow
def test_recordings_are_told_before_any_is_embedded(
    engine: Engine, page: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loading a model takes a while, in which they can be played."""
    told: list[list[str]] = []
    publish = engine.events.publish

    def listen(kind: str, value: object = None) -> None:
        if kind == "recordings":
            told.append([row["state"] for row in engine.recordings()])
        publish(kind, value)

    monkeypatch.setattr(engine.events, "publish", listen)
    films = [str(film(tmp_path / f"{name}.mp4", number)) for number, name in enumerate("ab", 1)]
    assert ended(page, engine.jobs.add("add", {"paths": films}))["state"] == "done"
    assert told[0] == ["waiting", "waiting"]
    assert told[-1] == ["embedded", "embedded"]


@pytest.mark.slow
def test_a_job_is_cancelled_and_goes_on(
    page: TestClient, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow(engine, monkeypatch)
    jobs = [
        engine.jobs.add("add", {"paths": [str(film(tmp_path / f"{name}.mp4", number))]})
        for number, name in enumerate("ab", 1)
    ]
    until = time.monotonic() + patience(60)
    while not slow.calls:
        assert time.monotonic() < until
        time.sleep(0.01)
    assert page.post(f"/api/jobs/{jobs[0]}/resume").status_code == 400
    assert page.post(f"/api/jobs/{jobs[1]}/cancel").status_code == 200
    assert ended(page, jobs[1])["state"] == "cancelled"
    page.post(f"/api/jobs/{jobs[0]}/cancel")
    assert ended(page, jobs[0])["state"] == "cancelled"
    assert page.post(f"/api/jobs/{jobs[0]}/cancel").status_code == 400
    slow.let_go.set()
    for job in jobs:
        page.post(f"/api/jobs/{job}/resume")
        assert ended(page, job)["state"] == "done"
    assert {row["state"] for row in page.get("/api/recordings").json()} == {"embedded"}
    assert page.post("/api/jobs/99/cancel").status_code == 404


@pytest.mark.slow
def test_a_job_that_ends_with_the_page_goes_on_with_the_next(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow(engine, monkeypatch)
    job = engine.jobs.add("add", {"paths": [str(film(tmp_path / "a.mp4"))]})
    until = time.monotonic() + patience(60)
    while not slow.calls:
        assert time.monotonic() < until
        time.sleep(0.01)
    engine.jobs.close()
    assert engine.archive.catalogue.jobs.get(job).state == "waiting"
    # As after a kill, which leaves no word of its end.
    engine.archive.catalogue.jobs.begin(job)
    archive = opened(engine.archive.folder)
    later = JobWorker(archive, Events())
    later.start()
    while archive.catalogue.jobs.get(job).state != "done":
        assert time.monotonic() < until
        time.sleep(0.01)
    later.close()
    archive.close()


@pytest.mark.slow
def test_a_second_page_of_an_archive_leaves_the_job_of_the_first_alone(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow(engine, monkeypatch)
    first = engine.jobs.add("add", {"paths": [str(film(tmp_path / "a.mp4"))]})
    until = time.monotonic() + patience(60)
    while not slow.calls:
        assert time.monotonic() < until
        time.sleep(0.01)
    archive = opened(engine.archive.folder)
    added: list[object] = []
    monkeypatch.setattr(archive, "add", lambda paths, **rest: added.append(paths))
    second = JobWorker(archive, Events())
    second.start()
    state = archive.catalogue.jobs.get(first).state
    with pytest.raises(ConfigError, match=f"^job {first} is done by another page of this archive: cancel it there$"):
        second.cancel(first)
    slow.let_go.set()
    while archive.catalogue.jobs.get(first).state != "done":
        assert time.monotonic() < until
        time.sleep(0.01)
    second.close()
    archive.close()
    assert (state, slow.calls, added) == ("running", 1, [])


@pytest.mark.slow
def test_a_second_page_does_the_job_that_a_killed_one_left(engine: Engine, tmp_path: Path) -> None:
    archive = opened(engine.archive.folder)
    second = JobWorker(archive, Events())
    # The first page holds the queue and is killed; the kernel then releases its lock.
    with locked(engine.archive.folder / ".jobs"):
        job = archive.catalogue.jobs.add("add", {"paths": [str(film(tmp_path / "a.mp4"))]})
        archive.catalogue.jobs.begin(job)
        second.start()
        assert archive.catalogue.jobs.get(job).state == "running"
    until = time.monotonic() + patience(60)
    while archive.catalogue.jobs.get(job).state != "done":
        assert time.monotonic() < until
        time.sleep(0.01)
    second.close()
    archive.close()


def test_of_two_that_tell_at_once_the_last_tells_the_newest(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = JobWorker(engine.archive, Events())
    read, has_read, is_cancelled, told = worker.list, threading.Event(), threading.Event(), list[str]()

    def listen(kind: str, jobs: list[dict[str, Any]]) -> None:
        told.append(jobs[0]["state"])
        if told[-1] == "cancelled":
            is_cancelled.set()

    def slow() -> list[dict[str, Any]]:
        found = read()
        if found[0]["state"] == "waiting":
            has_read.set()
            is_cancelled.wait(0.2)
        return found

    monkeypatch.setattr(worker, "list", slow)
    monkeypatch.setattr(worker._events, "publish", listen)
    asking = threading.Thread(target=worker.add, args=("remove", {"ids": ["a"]}))
    asking.start()
    assert has_read.wait(patience(60))
    worker.cancel(read()[0]["id"])
    asking.join()
    assert told == ["waiting", "cancelled"]


@pytest.mark.slow
def test_a_job_that_fails_says_why(page: TestClient, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **rest: Any) -> None:
        raise DataError("/srv/films/one.mp4 is gone: check the path")

    monkeypatch.setattr(engine.archive, "add", fail)
    done = ended(page, engine.jobs.add("add", {"paths": ["/srv/films/one.mp4"]}))
    assert (done["state"], done["problem"]) == ("failed", "one.mp4 is gone: check the path")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("CUDA out of memory.\nTried to allocate 2 GiB"), "CUDA out of memory."),
        (sqlite3.OperationalError("disk I/O error"), "disk I/O error"),
        (KeyError(), "KeyError"),
    ],
)
def test_a_job_ends_whatever_fails_and_the_next_one_runs(
    page: TestClient,
    engine: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    said: str,
) -> None:
    def fail(*args: Any, **rest: Any) -> None:
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(engine.archive, "add", fail)
        done = ended(page, engine.jobs.add("add", {"paths": []}))
    assert (done["state"], done["problem"]) == ("failed", said)
    # What is no trouble of the machine is a fault of the program: the terminal has its place.
    assert ("Traceback" in capsys.readouterr().err) == (not isinstance(error, RuntimeError))
    assert ended(page, engine.jobs.add("add", {"paths": [str(film(tmp_path / "one.mp4"))]}))["state"] == "done"


@pytest.mark.slow
def test_a_job_that_waits_for_another_writer_is_cancelled_at_once(
    page: TestClient, engine: Engine, tmp_path: Path
) -> None:
    path = film(tmp_path / "one.mp4")
    with locked(engine.archive.folder):
        for kind, what in (("add", {"paths": [str(path)]}), ("update", {}), ("remove", {"ids": []})):
            job = engine.jobs.add(kind, what)
            until = time.monotonic() + patience(60)
            while engine.archive.catalogue.jobs.get(job).state != "running":
                assert time.monotonic() < until
                time.sleep(0.01)
            page.post(f"/api/jobs/{job}/cancel")
            assert ended(page, job)["state"] == "cancelled"


@pytest.mark.slow
def test_another_model_takes_over_when_all_is_embedded(
    page: TestClient, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended(page, engine.jobs.add("add", {"paths": [str(film(tmp_path / "one.mp4"))]}))
    other = replace(plain_embedder(), name="other", hash="f" * 16)
    monkeypatch.setattr("surgvl.embed.embedder.local_embedder", lambda *given: other)
    names = [each["name"] for each in page.get("/api/models").json()]
    assert "phantom" in names
    assert "phantom-chat" not in names
    for bad in ("nothing", str(tmp_path), ""):
        assert "choose" in page.post("/api/jobs", json={"kind": "reindex", "model": bad}).json()["error"]
    near = TestClient(page.app, base_url="http://127.0.0.1:7860", client=("127.0.0.1", 50000))
    for model, asked in (("phantom", page), (str(tmp_path), near)):
        job = asked.post("/api/jobs", json={"kind": "reindex", "model": model}).json()["job"]
        done = ended(page, job)
        assert (done["state"], done["problem"]) == ("done", "")
        assert done["title"] == f"Embed with {Path(model).name}"
        assert engine.archive.model_hash == engine.archive.embedder.hash == "f" * 16
        assert [row["state"] for row in page.get("/api/recordings").json()] == ["embedded"]


# ---- events


def test_every_page_hears_of_changes_and_a_deaf_one_loses_the_oldest() -> None:
    async def listen() -> list[str]:
        events = Events()
        streams = [events.stream(), events.stream()]
        heard = [await anext(stream) for stream in streams]
        events.publish("jobs", [{"id": 1}])
        # Callbacks of other threads run in the loop.
        await asyncio.sleep(0)
        heard += [await anext(stream) for stream in streams]
        for number in range(NUM_WAITING + 5):
            events.publish("recordings", number)
        await asyncio.sleep(0)
        heard.append(await anext(streams[0]))
        events.close()
        await asyncio.sleep(0)
        for stream in streams:
            heard += [text async for text in stream][-1:]
        events.publish("jobs")
        return heard

    heard = asyncio.run(listen())
    assert heard[:2] == ["retry: 2000\n\n"] * 2
    kind, data = heard[2].strip().split("\n")
    assert (kind, json.loads(data.removeprefix("data: "))) == ("event: jobs", [{"id": 1}])
    assert heard[3] == heard[2]
    # The end takes a place, too.
    assert heard[4] == "event: recordings\ndata: 5\n\n"
    assert heard[5:] == [f"event: recordings\ndata: {NUM_WAITING + 4}\n\n"] * 2


def test_a_page_is_told_what_it_missed_while_it_opened() -> None:
    async def listen() -> list[str]:
        events = Events()
        asked = events.num_sent
        none = events.stream(asked)
        heard = [await anext(none)]
        events.publish("models", {})
        heard += [await anext(none)]
        late = events.stream(asked)
        return [*heard, await anext(late), await anext(late)]

    retry = "retry: 2000\n\n"
    assert asyncio.run(listen()) == [retry, "event: models\ndata: {}\n\n", retry, "event: missed\ndata: null\n\n"]


def test_recordings_of_every_suffix_are_taken() -> None:
    assert {".mp4", ".ts", ".mkv"} <= set(VIDEO_SUFFIXES)
