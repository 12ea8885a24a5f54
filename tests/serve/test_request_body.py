"""Bodies of requests at the gateway: what is no request, what is too much, and what waits for budget."""

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

pytest.importorskip("starlette", reason="starlette is not installed: pip install 'surgvl[serve]'")
httpx = pytest.importorskip("httpx", reason="httpx is not installed: pip install 'surgvl[serve]'")

from surgvl.serve.budget import Budget  # noqa: E402
from tests.helpers.gateway_stand import CHAT, LIMIT_MB, Stand, refusal  # noqa: E402


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with Stand(tmp_path_factory.mktemp("gateway")).running() as running:
        yield running


@pytest.fixture
def stand(running: Stand) -> Stand:
    return running.fresh()


@pytest.mark.parametrize(
    ("body", "part"),
    [
        (b"", "not JSON"),
        (b'{"messages": [', "not JSON"),
        (b"\xff\xfe{}", "not JSON"),
        (b"[1, 2]", "not a JSON object"),
        (b'{"a": NaN}', "NaN is not a JSON number"),
        (b'{"a": -Infinity}', "not a JSON number"),
        (b'{"a": 1e999}', "infinite number"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not JSON"),
        (b'{"a": "\\ud800"}', "lone surrogate"),
        (b'{"a": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", "too deep"),
        (b'{"a": ' + b"[" * 60 + b"]" * 60 + b"}", "more than 32 deep"),
        (b'{"a": [' + b"[]," * 250_000 + b"0]}", "more than 200000 values"),
    ],
)
def test_what_is_no_request_is_refused(stand: Stand, body: bytes, part: str) -> None:
    answer = stand.client.post(CHAT, content=body, headers={"Content-Type": "application/json"})
    assert part in refusal(answer, 400)
    assert not stand.chat.asked


def test_a_form_of_another_site_is_refused(stand: Stand) -> None:
    answer = stand.client.post(CHAT, content=b"{}", headers={"Content-Type": "text/plain"})
    assert "Content-Type: application/json" in refusal(answer, 415)


@pytest.mark.slow
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_above_the_limit_is_refused_while_it_is_read(stand: Stand, chunked: bool) -> None:
    piece, count = b" " * 100_000, 200
    content: Any = (piece for _ in range(count)) if chunked else piece * count
    assert "3 MB" in refusal(
        stand.client.post(CHAT, content=content, headers={"Content-Type": "application/json"}), 413
    )
    assert stand.gateway.memory.free == stand.gateway.memory.size
    just = json.dumps({"messages": [], "pad": "x" * int(LIMIT_MB * 1e6 - 100)})
    assert stand.client.post(CHAT, content=just, headers={"Content-Type": "application/json"}).status_code == 200


@pytest.mark.slow
def test_many_uploads_at_a_time_wait_for_room(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    least: list[int] = []
    budget = Budget(2_000_000)
    take = budget._take

    async def seen(amount: int) -> None:
        await take(amount)
        least.append(budget.free)

    monkeypatch.setattr(budget, "_take", seen)
    monkeypatch.setattr(stand.gateway, "memory", budget)
    asked = {"messages": [{"role": "user", "content": "many"}], "pad": "x" * 500_000}
    limits = httpx.Limits(max_connections=40)
    with (
        httpx.Client(base_url=stand.client.base_url, headers=stand.client.headers, timeout=60, limits=limits) as client,
        ThreadPoolExecutor(40) as pool,
    ):
        answers = list(pool.map(lambda _: client.post(CHAT, json=asked).status_code, range(40)))
    assert answers == [200] * 40
    assert len(least) == 40
    # It was full at times, and never given out twice.
    assert 0 <= min(least) < 500_000
    assert budget.free == budget.size


def test_room_is_given_in_order_and_comes_back() -> None:
    async def story() -> list[str]:
        budget, order = Budget(10), []

        async def take(name: str, amount: int) -> None:
            async with budget.acquire(amount):
                order.append(name)
                await asyncio.sleep(0)

        async with budget.acquire(6) as lease:
            # The small one would fit, but came later; the impatient one leaves nothing behind.
            tasks = [asyncio.create_task(take(*each)) for each in (("big", 8), ("impatient", 9), ("small", 2))]
            await asyncio.sleep(0.01)
            assert not order
            tasks[1].cancel()
            lease.release()
            await asyncio.gather(*tasks, return_exceptions=True)
        assert budget.free == 10
        return order

    assert asyncio.run(story()) == ["big", "small"]


def test_who_needs_no_room_does_not_wait() -> None:
    async def story() -> None:
        budget = Budget(10)
        async with budget.acquire(10):
            waiting = asyncio.create_task(budget.acquire(1).__aenter__())
            await asyncio.sleep(0.01)
            async with asyncio.timeout(1), budget.acquire(0):
                waiting.cancel()

    asyncio.run(story())
