"""The client of `surgvl serve` before a stand-in: what it sends, what it makes of answers, and of what goes wrong."""

import math
import re
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("starlette", reason="starlette is not installed: pip install 'surgvl[serve]'")
pytest.importorskip("openai", reason="openai is not installed: pip install 'surgvl[client]'")

from starlette.responses import HTMLResponse, JSONResponse, Response  # noqa: E402

from surgvl.chat.answerer import Question  # noqa: E402
from surgvl.core.checks import check_question  # noqa: E402
from surgvl.core.errors import ConfigError, DataError, ServerError, SurgVLError  # noqa: E402
from surgvl.serve.client import Server  # noqa: E402
from surgvl.serve.remote import ServerAnswerer  # noqa: E402
from tests.helpers.fake_engine import served  # noqa: E402
from tests.helpers.fake_gateway import Dropped, FakeGateway, Frames, refusal  # noqa: E402

PREPROCESS = {"num_frames": 2, "fps": 1.0, "size_px": 8, "crop": "none"}


def made_frames(number: int = 0, count: int = 2, height: int = 6, width: int = 8) -> Frames:
    """Noise, in which every changed byte is seen."""
    rng = np.random.default_rng(number)
    return rng.integers(0, 256, (count, height, width, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[FakeGateway, str]]:
    gate = FakeGateway()
    with served(gate.app) as url:
        yield gate, url


@pytest.fixture
def gate(running: tuple[FakeGateway, str], monkeypatch: pytest.MonkeyPatch) -> FakeGateway:
    """The gate as it was at first."""
    monkeypatch.delenv("SURGVL_API_KEY", raising=False)
    fresh = FakeGateway()
    for name in ("about", "key", "first", "answer", "vector", "bodies", "most"):
        setattr(running[0], name, getattr(fresh, name))
    return running[0]


@pytest.fixture
def url(running: tuple[FakeGateway, str]) -> str:
    return running[1]


def failure(error: pytest.ExceptionInfo[SurgVLError], *parts: str) -> str:
    """The line of an error, which must be one and hold some words."""
    line = str(error.value)
    assert "\n" not in line
    for part in parts:
        assert part in line
    return line


# ---- what is sent


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 7), (2, 16, 16)])
def test_frames_arrive_as_they_are(gate: FakeGateway, url: str, shape: tuple[int, int, int]) -> None:
    got = []
    gate.answer = lambda frames, question, choices: (got.append(frames), "yes")[1]  # type: ignore[func-returns-value]
    gate.vector = lambda frames: (got.append(frames), [1.0])[1]  # type: ignore[func-returns-value]
    frames = made_frames(1, *shape)
    server = Server(url)
    server.ask(frames[:, ::-1], "Is it?")
    server.encode_clip(frames)
    np.testing.assert_array_equal(got[0], frames[:, ::-1])
    np.testing.assert_array_equal(got[1], frames)


def test_a_request_is_greedy_and_names_its_model(gate: FakeGateway, url: str) -> None:
    gate.answer = lambda frames, question, choices: "grasper"
    Server(f"{url}/v1/").ask(made_frames(), "Which?")
    Server(url).ask(made_frames(), "Which?", ["grasper", "L_hook"])
    free, closed = gate.bodies
    assert (free["model"], free["temperature"], free["max_tokens"]) == ("surgvl-chat", 0, 32)
    assert "structured_outputs" not in free
    assert [part["type"] for part in free["messages"][0]["content"]] == ["video_url", "text"]
    assert set(closed["structured_outputs"]["choice"]) == {"grasper", " grasper", "L hook", " L hook"}
    # A token a byte, and room for the end.
    assert closed["max_tokens"] > len(" grasper")


# ---- what is made of answers


@pytest.mark.parametrize("blank", ["", " "])
@pytest.mark.parametrize("answer", ["L_hook", "left top", "1"])
def test_a_choice_is_given_as_it_was_spelt(gate: FakeGateway, url: str, blank: str, answer: str) -> None:
    gate.answer = lambda frames, question, choices: blank + answer.replace("_", " ")
    assert Server(url).ask(made_frames(), "Which?", ["1", "L_hook", "left top"]) == answer


def test_what_is_no_choice_is_refused(gate: FakeGateway, url: str) -> None:
    gate.answer = lambda frames, question, choices: "I am not sure"
    with pytest.raises(ServerError) as error:
        Server(url).ask(made_frames(), "Which?", ["a", "b"])
    failure(error, "'I am not sure'", "2 allowed answers", "surgvl serve")
    assert Server(url).ask(made_frames(), "Which?") == "I am not sure"


@pytest.mark.parametrize("answers", [[], ["a", "a"], ["a", "_"]])
def test_impossible_choices_are_not_sent(gate: FakeGateway, url: str, answers: list[str]) -> None:
    with pytest.raises(DataError, match="none twice"):
        Server(url).ask(made_frames(), "Which?", answers)
    with pytest.raises(DataError, match="give uint8"):
        Server(url).ask(made_frames()[0], "Which?")
    assert not gate.bodies


@pytest.mark.slow
def test_vectors_stand_in_the_order_of_what_was_given(gate: FakeGateway, url: str) -> None:
    gate.vector = lambda given: [float(len(given)), float(given[-1]) if isinstance(given, str) else float(given.max())]
    sentences = [f"{'x' * (at % 7)} {at % 10}" for at in range(150)]
    found = Server(url, in_flight=3).encode_text(sentences)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [[at % 7 + 2, at % 10] for at in range(150)])
    assert len(gate.bodies) == 3
    clips = [np.full((2, 4, 4, 3), at, np.uint8) for at in range(20)]
    np.testing.assert_array_equal(Server(url).encode_clips(iter(clips)), [[2, at] for at in range(20)])
    with pytest.raises(DataError, match="no sentence"):
        Server(url).encode_text([])


def test_a_known_question_is_a_closed_one(gate: FakeGateway, url: str) -> None:
    known = {"preprocess": PREPROCESS, "hash": "h", "answers": ["b_c", "d"], "questions": {"Which?": "x"}, "end_id": 2}
    gate.about = {"version": "1", "chat": known}
    gate.answer = lambda frames, question, choices: "free"
    # Tokens of question, answer and end; the longer answer is the less likely one, and what follows does not count.
    gate.likelihood = lambda frames, question, said: [
        None,
        *({token: {"logprob": value}} for token, value in (("5", -1.0), ("7", -len(said)), ("2", -0.5), ("9", 50.0))),
    ]
    chat = ServerAnswerer(Server(url))
    assert (chat.known.answers, chat.known.questions) == (["b_c", "d"], {"Which?": "x"})
    assert chat.ask(made_frames(), "Which?") == "d"
    shares = dict(chat.probabilities(made_frames(), "Which?", ["b_c", "d"]))
    assert shares == pytest.approx({"d": 1 / (1 + math.exp(-2)), "b_c": 1 / (1 + math.exp(2))})
    assert chat.ask(made_frames(), "Which one?") == "free"
    assert chat.ask(made_frames(), "Which one?", answers=["yes"]) == "yes"
    assert chat.frames(made_frames(0, 5, 20, 30)).shape == (2, 8, 8, 3)
    # Two spellings of the same words are equally likely, and asked for once.
    asked = len(gate.bodies)
    same = dict(chat.probabilities(made_frames(), "Which?", ["b_c", "b c", "d"]))
    assert same["b_c"] == same["b c"] == pytest.approx(math.exp(-2) * same["d"])
    assert len(gate.bodies) == asked + 2
    # Where an answer's likelihood cannot be had, the server chooses.
    known.pop("end_id")
    gate.answer = lambda frames, question, choices: choices[-1] if choices else "free"
    chat = ServerAnswerer(Server(url))
    assert chat.probabilities(made_frames(), "Which?", ["b_c", "d"]) == []
    assert chat.ask(made_frames(), "Which?", answers=["b_c", "d"]) == "d"


@pytest.mark.parametrize("question", ["", " ", "a" * 301, "why " * 250_000])
def test_a_question_is_as_short_as_one_to_a_model_here(question: str, gate: FakeGateway, url: str) -> None:
    known = {"preprocess": PREPROCESS, "hash": "h", "answers": [], "questions": {}, "end_id": 2}
    gate.about = {"version": "1", "chat": known}
    chat = ServerAnswerer(Server(url))
    with pytest.raises(DataError) as here:
        check_question(question)
    for call in (
        lambda: chat.ask("absent.mp4", question),
        lambda: chat.ask(made_frames(), question, answers=["yes"]),
        lambda: chat.probabilities(made_frames(), question, ["yes", "no"]),
    ):
        with pytest.raises(DataError) as there:
            call()
        assert str(there.value) == str(here.value)
    assert not gate.bodies


# ---- many at a time


@pytest.mark.slow
def test_answers_keep_their_order_and_no_more_are_in_flight(
    gate: FakeGateway, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    taken: list[int] = []
    ahead: list[int] = []

    def late(frames: Frames, question: str, choices: list[str] | None) -> str:
        ahead.append(len(taken) - int(question))
        # The earlier of four takes the longer.
        time.sleep(0.02 * (3 - int(question) % 4))
        return question

    gate.answer = late

    def asked() -> Iterator[Question]:
        for at in range(40):
            taken.append(at)
            yield Question(made_frames(at), str(at))

    assert Server(url, in_flight=4).ask_many(asked(), total=40, bar=True) == [str(at) for at in range(40)]
    assert gate.most == 4
    # Clips are cut as they are needed, not all at first.
    assert max(ahead) <= 9
    said = capsys.readouterr().err
    assert "0/40" in said
    assert "question/s" in said
    assert Server(url).ask_many([Question(made_frames(), "1")], bar=False) == ["1"]
    assert capsys.readouterr().err == ""


def test_the_first_error_ends_it(gate: FakeGateway, url: str) -> None:
    gate.answer = lambda frames, question, choices: "no" if question == "0" else "yes"
    asked = [Question(made_frames(), str(at), ("yes",)) for at in range(200)]
    with pytest.raises(ServerError, match="'no'"):
        Server(url, in_flight=2).ask_many(asked)
    assert len(gate.bodies) < 10


# ---- what goes wrong


@pytest.mark.slow
@pytest.mark.parametrize("status", [429, 502, 503])
def test_what_may_pass_is_asked_again_when_the_server_says_so(gate: FakeGateway, url: str, status: int) -> None:
    # Openai's first wait without a word of the server is 0.375 s to 0.5 s.
    gate.first = [refusal(status, "later: send it again", 0.6)]
    begun = time.monotonic()
    assert Server(url, retries=1).ask(made_frames(), "Which?") == "Which?"
    assert time.monotonic() - begun > 0.6
    assert not gate.first


def test_a_dropped_connection_is_tried_again_after_a_while(gate: FakeGateway, url: str) -> None:
    gate.first = [Dropped()]
    begun = time.monotonic()
    assert Server(url, retries=1).ask(made_frames(), "Which?") == "Which?"
    assert time.monotonic() - begun > 0.3
    assert not gate.first


def test_what_does_not_pass_is_one_line(gate: FakeGateway, url: str) -> None:
    gate.first = [refusal(503, "the chat engine is restarting: send it again later", 0.05)] * 3
    with pytest.raises(ServerError) as error:
        Server(url, retries=2).ask(made_frames(), "Which?")
    failure(error, url, "says 503: the chat engine is restarting")
    assert not gate.first
    gate.first = [Dropped()]
    with pytest.raises(ServerError) as error:
        Server(url, retries=0).ask(made_frames(), "Which?")
    failure(error, "cannot be reached", "tried once", "surgvl serve")


@pytest.mark.parametrize("status", [400, 413])
def test_what_would_fail_again_is_not_asked_again(gate: FakeGateway, url: str, status: int) -> None:
    gate.first = [refusal(status, "a clip\n of 9 s is too long"), None]
    with pytest.raises(ServerError) as error:
        Server(url).ask(made_frames(), "Which?")
    failure(error, f"says {status}: a clip of 9 s is too long")
    assert len(gate.first) == 1


@pytest.mark.slow
def test_a_slow_server_is_given_up(gate: FakeGateway, url: str) -> None:
    hold = threading.Event()
    gate.answer = lambda frames, question, choices: str(hold.wait(600))
    begun = time.monotonic()
    try:
        with pytest.raises(ServerError) as error:
            Server(url, timeout_s=0.2, retries=1).ask(made_frames(), "Which?")
        failure(error, "did not answer within 0.2 s (asked 2 times)")
        assert time.monotonic() - begun < 300
        assert len(gate.bodies) == 2
    finally:
        hold.set()


def test_the_key_is_sent_and_a_wrong_one_is_said(gate: FakeGateway, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gate.key = "k1"
    for given in (None, "k2"):
        with pytest.raises(ServerError) as error:
            Server(url, api_key=given).about()
        failure(error, "says 401", "--api_key", "SURGVL_API_KEY")
    assert Server(url, api_key="k1").about() == {"version": "1"}
    monkeypatch.setenv("SURGVL_API_KEY", "k1")
    # Another service's key is never sent to this one.
    monkeypatch.setenv("OPENAI_API_KEY", "k3")
    assert Server(url).ask(made_frames(), "Which?") == "Which?"


def test_another_model_is_said(gate: FakeGateway, url: str) -> None:
    gate.first = [refusal(404, "The model `surgvl-chat` does not exist.")]
    with pytest.raises(ServerError) as error:
        Server(url).ask(made_frames(), "Which?")
    failure(error, "404", "`surgvl-chat` does not exist", "--server")
    gate.about = {"version": "1", "embed": {"preprocess": PREPROCESS, "hash": "h"}}
    with pytest.raises(ServerError) as error:
        ServerAnswerer(Server(url))
    failure(error, "serves embed but no chat model", "surgvl serve chat")


@pytest.mark.parametrize(
    "reply",
    [
        HTMLResponse("<h1>Welcome</h1>"),
        JSONResponse([1]),
        JSONResponse({"choices": []}),
        JSONResponse({"data": [{"index": 0, "embedding": "AAAA"}]}),
        Response("{", media_type="application/json"),
    ],
)
def test_another_kind_of_server_is_said(gate: FakeGateway, url: str, reply: Response) -> None:
    server = Server(url, retries=0)
    calls: list[Any] = [server.about, lambda: server.ask(made_frames(), "?"), lambda: server.encode_text(["?"])]
    for call in calls:
        gate.first = [reply]
        with pytest.raises(ServerError) as error:
            call()
        failure(error, url, "--server")


def test_no_server_is_said() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ServerError) as error:
        Server(url, retries=0).about()
    failure(error, url, "cannot be reached", "refused", "surgvl serve")


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({"url": "localhost:8000"}, "must be an address such as http://127.0.0.1:8000, got 'localhost:8000'"),
        ({"url": "file:///tmp"}, "must be an address"),
        ({"url": "http://a", "timeout_s": 0}, "timeout_s 0"),
        ({"url": "http://a", "in_flight": 0, "retries": -1}, "retries -1, in_flight 0"),
    ],
)
def test_impossible_settings_are_refused(given: dict[str, Any], part: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(part)):
        Server(**given)
