"""`surgvl demo`: what it refuses before it starts, what it opens, and the real process with Gradio's queue."""

import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from surgvl.archive.archive import Archive
from surgvl.cli import demo
from surgvl.core.errors import CheckpointError, ConfigError, SurgVLError
from surgvl.core.files import read_json, write_json
from surgvl.demo.engine import Engine
from surgvl.demo.schemas import AskRequest, SearchRequest
from tests.helpers.forks import start
from tests.helpers.made_archive import film
from tests.helpers.opened_page import archived, engine_of
from tests.helpers.patience import patience
from tests.helpers.ports import free_port

# ---- what goes wrong at the start


def test_a_missing_run_or_archive_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"does not exist: make it with `surgvl quickstart --out .*absent`"):
        demo.demo(run=tmp_path / "absent", port=free_port())
    with pytest.raises(ConfigError, match=r"lacks vectors, index, so it is not a run folder: open recordings with"):
        demo.demo(run=tmp_path, port=free_port())
    with pytest.raises(SurgVLError, match="is not an archive"):
        demo.demo(archive=tmp_path, port=free_port())
    with pytest.raises(ConfigError, match=r"absent\.mp4 does not exist"):
        demo.demo([tmp_path / "absent.mp4"], port=free_port())
    with pytest.raises(ConfigError, match="not several of them"):
        demo.demo([tmp_path], run=tmp_path, port=free_port())


def test_a_missing_extra_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"gradio, which is not installed: run pip install 'surgvl\[demo\]'"):
        demo.demo(run=tmp_path)


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"cannot listen on 127.0.0.1:{port} .*give another --port"):
            demo.demo(run=tmp_path, port=port)
    with pytest.raises(ConfigError, match="--port must be 1 to 65535, got 99999"):
        demo.demo(run=tmp_path, port=99999)


def test_an_archive_of_other_vectors_than_those_of_its_run_is_refused(tiny_run: Path, tmp_path: Path) -> None:
    for part in tiny_run.iterdir():
        if part.name not in ("vectors", "archive"):
            (tmp_path / part.name).symlink_to(part)
    (tmp_path / "vectors").mkdir()
    for path in (tiny_run / "vectors").iterdir():
        (tmp_path / "vectors" / path.name).symlink_to(path)
    folder = demo.archive_of(tmp_path)
    assert demo.archive_of(tmp_path) == folder
    meta = tmp_path / "vectors" / "vectors.json"
    changed = {**read_json(meta), "model_hash": "fedcba9876543210"}
    meta.unlink()
    write_json(meta, changed)
    with pytest.raises(ConfigError, match=r"made from vectors that .*move it away"):
        demo.archive_of(tmp_path)


# ---- models that cannot be loaded


def test_a_broken_model_is_said_and_the_rest_goes_on(tiny_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    archived(tiny_run, folder).close()
    head = read_json(folder / "archive.json")
    (tmp_path / "empty").mkdir()
    write_json(folder / "archive.json", {**head, "chat": str(tmp_path / "empty")})
    engine = Engine(Archive.open(folder))
    try:
        with pytest.raises(CheckpointError, match=r"holds no config\.json"):
            engine.models.wait()
        name = engine.recordings()[0]["id"]
        with pytest.raises(SurgVLError):
            engine.ask(AskRequest(recording=name, start_s=1.0, question="What?"))
        assert engine.models.state == "failed"
        assert "empty holds no config.json" in engine.facts.describe("", False)["notice"]
        assert str(tmp_path) not in engine.facts.describe("", False)["notice"]
        assert engine.search(SearchRequest(text="the hook dissects", k=2)).hits
    finally:
        engine.close()


def test_an_archive_whose_model_is_gone_opens_with_its_timelines(tiny_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    archived(tiny_run, folder).close()
    head = read_json(folder / "archive.json")
    write_json(folder / "archive.json", {**head, "model": "no-such-model", "chat": ""})
    engine = Engine(Archive.open(folder))
    try:
        with pytest.raises(CheckpointError):
            engine.models.wait()
        row = engine.archive.recordings()[0]
        assert engine.timeline(row, ["phantom_phase", "phantom_triplet"], 5.0, "")["phases"]
        found = engine.facts.describe("", False)
        can = {"timeline": True, "edit": True, "reindex": True}
        assert found["can"] == {"search": False, "ask": False, "paths": False, **can}
        assert found["examples"]["questions"] == []
        like = {"recording": row.id, "start_s": 3, "end_s": 4}
        assert engine.search(SearchRequest.model_validate({"like": like, "k": 2})).hits
    finally:
        engine.close()


def test_what_the_page_shows_at_first_needs_no_model(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Examples stand on the page from the beginning: chips that come later would push an answer down."""
    cold = engine_of(tiny_run, tmp_path / "archive")
    monkeypatch.setattr(cold.models, "start", lambda: pytest.fail("a model is loaded"))
    found = cold.facts.describe("", False)
    assert found["models_state"] == "loading"
    assert found["examples"]["questions"]
    assert found["examples"]["sentences"]
    assert [row["strip"] for row in cold.recordings()]
    cold.close()


# ---- the process

# Where models would begin to load, a browser asks for all that it needs to play a recording.
BEFORE_MODELS = """
import json, sys, urllib.request
from surgvl.cli import main as cli
from surgvl.demo.engine import Engine

port, film = sys.argv[1:]

def get(path):
    return urllib.request.urlopen(f"http://127.0.0.1:{port}{path}").read()

def start(engine):
    get("/")
    empty = json.loads(get("/api/archive"))["num_recordings"]

    def registered(progress):
        (row,) = json.loads(get("/api/recordings"))
        played = get(f"/api/recordings/{row['id']}/video") == open(film, "rb").read()
        picture = get(f"/api/recordings/{row['id']}/frame?t=1")[:3] == bytes([255, 216, 255])
        modules = sorted({name.partition(".")[0] for name in sys.modules})
        print(json.dumps([empty, row["state"], played, picture, modules]))
        raise KeyboardInterrupt

    engine.archive.add([film], tick=registered, coarse=True)

Engine.start = start
sys.exit(cli.main(["demo", film, "--model", "phantom", "--port", port]))
"""
HEAVY = {"torch", "torchvision", "transformers", "open_clip", "timm", "lightning", "scipy", "sklearn", "matplotlib"}


@pytest.mark.slow
def test_a_recording_is_listed_and_plays_before_anything_heavy_is_imported(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", BEFORE_MODELS, str(free_port()), str(film(tmp_path / "a.mp4", 1, 3))]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=patience(120))
    assert done.returncode == 0, done.stderr
    empty, state, played, picture, modules = json.loads(done.stdout.splitlines()[0])
    assert (empty, state, played, picture) == (0, "waiting", True, True)
    assert not HEAVY & set(modules)


def ask(url: str, path: str, value: Any = None, key: str = "") -> tuple[int, str]:
    request = urllib.request.Request(url + path, None if value is None else json.dumps(value).encode())
    request.add_header("Content-Type", "application/json")
    if key:
        request.add_header("Authorization", f"Bearer {key}")
    try:
        with urllib.request.urlopen(request, timeout=300) as found:
            return found.status, found.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_the_process_serves_a_locked_page_and_gradios_queue(tiny_run: Path, tmp_path: Path) -> None:
    archived(tiny_run, tmp_path / "archive").close()
    (tmp_path / "word").write_text("open-sesame\n")
    argv = ["demo", "--archive", str(tmp_path / "archive"), "--port", str(free_port())]
    argv += ["--password", f"@{tmp_path / 'word'}", "--token", "true"]
    (tmp_path / "temporary").mkdir()
    log = tmp_path / "log"
    log.touch()
    server = start(argv, log, TMPDIR=str(tmp_path / "temporary"))
    try:
        until = time.monotonic() + patience(120)
        while not (said := re.search(r"at (http://[\d.:]+)/\?token=([\w-]+) ", log.read_text())):
            assert server.is_alive(), log.read_text()
            assert time.monotonic() < until
            time.sleep(0.05)
        url, token = said[1], said[2]
        assert ask(url, "/api/archive")[0] == 401
        assert ask(url, "/gradio_api/info")[0] == 401
        assert ask(url, "/api/archive", key="other")[0] == 401
        assert json.loads(ask(url, "/api/archive", key=token)[1])["num_recordings"] == 4
        assert set(json.loads(ask(url, "/gradio_api/info", key="open-sesame")[1])["named_endpoints"]) == {
            "/search",
            "/ask",
        }
        wanted = json.loads(ask(url, "/api/search", {"text": "the hook dissects", "k": 3}, key=token)[1])["hits"]
        event = json.loads(ask(url, "/gradio_api/call/search", {"data": ["the hook dissects", 3]}, key=token)[1])
        _, stream = ask(url, f"/gradio_api/call/search/{event['event_id']}", key=token)
        assert "event: complete" in stream
        assert json.loads(stream.split("data: ")[-1])[0] == wanted
        for path in ("/gradio_api/upload", "/gradio_api/file=/etc/passwd", "/monitoring", "/docs", "/openapi.json"):
            assert ask(url, path, key=token)[0] == 404
        assert server.pid
        os.kill(server.pid, signal.SIGINT)
        server.join(300)
        assert server.exitcode == 0
        said_all = log.read_text()
        assert "Traceback" not in said_all
        assert said_all.endswith("stopping\n")
        assert not list((tmp_path / "temporary").glob("surgvl-demo-*"))
    finally:
        server.kill()
        server.join()
