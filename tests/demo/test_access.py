"""The lock of the page, the names of its visitors, and what browsers are told to forbid."""

import asyncio
import re
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from surgvl.demo import access
from surgvl.demo.access import Access, Lock

HERE = "http://127.0.0.1:7860"


def client(lock: Lock) -> TestClient:
    def who(request: Request) -> Response:
        return PlainTextResponse(str(request.state.user))

    routes = [Route("/{path:path}", who, methods=["GET", "POST", "DELETE"])]
    return TestClient(Starlette(routes=routes, middleware=[Middleware(Access, lock=lock)]), base_url=HERE)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "WRONG_S", 0.0)


def test_without_a_lock_everybody_may_come_in_and_keeps_a_name() -> None:
    with client(Lock()) as one, client(Lock()) as other:
        name = one.get("/api/x").text
        assert re.fullmatch(r"guest-[0-9a-f]{6}", name)
        assert one.get("/api/y").text == name
        assert other.get("/api/x").text != name
        given = TestClient(one.app, base_url=HERE, cookies={access.NAME: "Dr%20%C3%84"})
        assert given.get("/").text == "Dr Ä"
        # A cookie can be written by hand: nobody is the data set, whose labels could then be undone.
        for name in ("data%20set", "Data%20Set", "x" * 41, "a%0Ab"):
            forged = TestClient(one.app, base_url=HERE, cookies={access.NAME: name})
            assert forged.get("/").text.startswith("guest-")


@pytest.mark.slow
def test_a_password_opens_everything_once(tmp_path: Path) -> None:
    with client(Lock("open sesame")) as page:
        for path in ("/api/archive", "/api/recordings/one/video", "/config", "/gradio_api/info", "/anything"):
            found = page.get(path)
            assert (found.status_code, list(found.json())) == (401, ["error"])
        form = page.get("/?r=one&t=3")
        assert form.status_code == 401
        assert 'value="r=one&amp;t=3"' in form.text
        assert page.get("/static/login.css").status_code == 200
        wrong = page.post("/login", data={"password": "open barley", "next": ""})
        assert wrong.status_code == 401
        assert "not the password" in wrong.text
        assert page.get("/api/archive").status_code == 401
        right = page.post("/login", data={"password": "open sesame", "next": "r=one&t=3"}, follow_redirects=False)
        assert (right.status_code, right.headers["location"]) == (303, "./?r=one&t=3")
        assert "HttpOnly; SameSite=Lax" in right.headers["set-cookie"]
        assert "sesame" not in right.headers["set-cookie"]
        assert page.get("/api/archive").status_code == 200
        stolen = page.cookies[access.KEY]
    # A new password makes old cookies worthless; the same one keeps them over a restart.
    for word, status in (("open sesame", 200), ("new", 401)):
        with TestClient(client(Lock(word)).app, base_url=HERE, cookies={access.KEY: stolen}) as later:
            assert later.get("/api/archive").status_code == status


@pytest.mark.slow
def test_the_address_with_a_token_opens_and_forgets_it() -> None:
    with client(Lock(token="a-b_c")) as page:
        assert page.get("/?token=other&r=one").status_code == 401
        found = page.get("/?token=a-b_c&r=one%20two", follow_redirects=False)
        assert (found.status_code, found.headers["location"]) == (303, "./?r=one+two")
        assert page.get("/").status_code == 200
    with client(Lock("word", "a-b_c")) as page:
        for word, status in (("word", 200), ("a-b_c", 200), ("", 401), ("wor", 401)):
            assert page.get("/api/x", headers={"Authorization": f"Bearer {word}"}).status_code == status


def test_who_guesses_waits_at_every_door(monkeypatch: pytest.MonkeyPatch) -> None:
    waits, sleep = list[float](), asyncio.sleep

    async def wait(seconds: float) -> None:
        if seconds == 7.0:
            waits.append(seconds)
        await sleep(0)

    monkeypatch.setattr(access, "WRONG_S", 7.0)
    monkeypatch.setattr(asyncio, "sleep", wait)
    with client(Lock("word")) as page:
        page.get("/?token=guess")
        page.post("/login", data={"password": "guess"})
        page.get("/api/x", headers={"Authorization": "Bearer guess"})
        assert waits == [7.0] * 3
        page.get("/api/x", headers={"Authorization": "Bearer word"})
        assert waits == [7.0] * 3


def test_a_login_never_leads_elsewhere() -> None:
    with client(Lock("word")) as page:
        for query in ("//evil.example", "https://evil.example/", "\r\nX-Evil: 1", "../../x"):
            found = page.post("/login", data={"password": "word", "next": query}, follow_redirects=False)
            assert found.headers["location"].startswith("./?")
            assert "x-evil" not in found.headers
        assert page.post("/login", content=b"x" * 20_000).status_code == 413


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:80", "null", "http://127.0.0.1:7860.evil"])
def test_pages_of_other_sites_get_nothing(origin: str) -> None:
    with client(Lock()) as page:
        for method in ("GET", "POST", "DELETE"):
            assert page.request(method, "/api/x", headers={"Origin": origin}).status_code == 403
            assert page.request(method, "/api/x", headers={"Origin": HERE}).status_code == 200


def test_only_what_gradios_clients_need_of_it_is_reached() -> None:
    with client(Lock()) as page:
        for path in ("/config", "/gradio_api/info", "/gradio_api/queue/join", "/gradio_api/call/search/abc"):
            assert page.get(path).status_code == 200
        for path in (
            "/gradio_api/upload", "/gradio_api/file=/etc/passwd", "/gradio_api/proxy=http://127.0.0.1/", "/monitoring",
            "/gradio_api/vibe-edit/", "/gradio_api/stream/x", "/assets/x.js", "/docs", "/openapi.json",
        ):  # fmt: skip
            assert page.get(path).status_code == 404


def test_browsers_are_told_what_to_forbid() -> None:
    with client(Lock("word")) as page:
        for found in (page.get("/"), page.get("/api/x"), page.post("/login", data={"password": "word"})):
            policy = found.headers["content-security-policy"]
            assert "script-src 'self'" in policy
            assert "unsafe" not in policy
            assert found.headers["x-content-type-options"] == "nosniff"
            assert found.headers["referrer-policy"] == "no-referrer"
