"""The client before a real `surgvl serve all`: the answers and the vectors of the models themselves."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

openai = pytest.importorskip("openai", reason="openai is not installed: pip install 'surgvl[client]'")

from surgvl.chat.answerer import Question  # noqa: E402
from surgvl.cli import main as cli  # noqa: E402
from surgvl.core.errors import ServerError  # noqa: E402
from surgvl.core.files import read_json  # noqa: E402
from surgvl.serve.client import Server  # noqa: E402
from surgvl.serve.remote import RemoteDual, ServerAnswerer  # noqa: E402
from tests.helpers.live import Live  # noqa: E402
from tests.helpers.made_duals import SENTENCES  # noqa: E402
from tests.helpers.made_organs import COLOURS, ORGANS, QUESTION, made_manifest  # noqa: E402

pytestmark = pytest.mark.slow
Frames = NDArray[np.uint8]


def colour(name: str, count: int = 4, size: int = 16) -> Frames:
    """A clip of one colour."""
    return np.broadcast_to(np.array(COLOURS[name], np.uint8), (count, size, size, 3)).copy()


ORGANS_KNOWN = sorted(set(ORGANS.values()))


@pytest.fixture(scope="module")
def server(live: Live) -> Server:
    return Server(live.url, live.key, timeout_s=120)


def test_closed_and_free_answers_are_those_of_the_model(live: Live, server: Server) -> None:
    here, there = live.chat_model(), ServerAnswerer(server)
    assert there.hash == here.hash
    assert there.preprocess == here.preprocess
    assert there.known.questions == here.known.questions
    clips = [colour(name, count, size) for name in COLOURS for count, size in ((4, 16), (9, 40))]
    said = [there.ask(clip, QUESTION) for clip in clips]
    assert said == [here.ask(clip, QUESTION) for clip in clips]
    assert said == ["gut", "gut", "liver", "liver"]
    # Neither organ: what the model makes of it is its likelihoods, here and there.
    for clip in (colour("red") // 2, np.zeros((4, 16, 16, 3), np.uint8)):
        mine, theirs = (each.probabilities(clip, QUESTION, ORGANS_KNOWN) for each in (here, there))
        assert dict(theirs) == pytest.approx(dict(mine), abs=1e-4)
        assert there.ask(clip, QUESTION) == here.ask(clip, QUESTION) == mine[0][0]
        assert there.answer_one(clip, QUESTION).confidence == pytest.approx(mine[0][1], abs=1e-4)
    for question in (QUESTION, "What is happening in this clip?"):
        free = [there.ask(clip, question, answers=[]) for clip in clips]
        assert free == [here.ask(clip, question, answers=[]) for clip in clips]
        sure = [[each.answer_one(clip, question, answers=[]).confidence for clip in clips] for each in (here, there)]
        assert sure[0] == pytest.approx(sure[1], abs=1e-4)


def test_many_answers_at_a_time(server: Server) -> None:
    names = [*COLOURS] * 12
    asked = (Question(colour(name), QUESTION, tuple(ORGANS_KNOWN)) for name in names)
    assert server.ask_many(asked, total=len(names), bar=False) == [ORGANS[name] for name in names]


def test_vectors_are_those_of_the_model(live: Live, server: Server, tmp_path: Path) -> None:
    here, there = live.dual_model(), RemoteDual(server)
    assert there.hash == here.hash
    with pytest.warns(UserWarning, match="tokens were left out"):
        wanted = here.encode_text(SENTENCES)
    assert np.abs(there.encode_text(SENTENCES) - wanted).max() < 1e-4
    rng = np.random.default_rng(0)
    clips = [rng.integers(0, 256, (6, 20, 30, 3), dtype=np.uint8) for _ in range(10)]
    fitted = [there.frames(clip) for clip in clips]
    want = np.concatenate([here.encode_video(clip) for clip in clips])
    assert np.abs(there.encode_clips(fitted) - want).max() < 1e-4
    assert np.abs(want[:, None] - want[None]).max(2)[~np.eye(len(want), dtype=bool)].min() > 1e-3
    # A whole video, cut here.
    video = made_manifest(tmp_path).parent / "test_red"
    found, starts, ends = there.encode_seconds(video)
    expected, from_s, to_s = here.encode_seconds(video)
    assert (starts, ends) == (from_s, to_s)
    assert np.abs(found - expected).max() < 1e-4


def test_a_manifest_is_answered_as_in_process(
    live: Live, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SURGVL_API_KEY", live.key)
    manifest = made_manifest(tmp_path)
    common = ["ask", "--manifest", str(manifest), "--controls", "true"]
    cli.run([*common, "--model", str(live.chat_run), "--out", str(tmp_path / "here")])
    cli.run([*common, "--server", live.url, "--out", str(tmp_path / "there")])
    rows = [(tmp_path / name / "answers.jsonl").read_text() for name in ("here", "there")]
    assert [row["prediction"] for row in map(json.loads, rows[0].splitlines()) if not row["ablated"]] == (
        ["gut"] * 4 + ["liver"] * 4
    )
    # A black video is neither organ: there the model may hesitate, and the two ways of choosing may differ.
    told = [[row for row in map(json.loads, text.splitlines()) if row["ablated"] != "black"] for text in rows]
    sure = [[row.pop("confidence") for row in rows] for rows in told]
    assert told[0] == told[1]
    # Here among whole answers, there among the tokens that lead to one.
    assert sure[0] == pytest.approx(sure[1], abs=0.01)
    assert min(sure[0]) > 0.5
    # The server tells what its model was trained on.
    assert "does not record its training" not in capsys.readouterr().out
    assert read_json(tmp_path / "there" / "run.json")["pretraining_video_ids"] == ["train_red"]


def test_openais_client_as_it_is_documented(live: Live) -> None:
    with openai.OpenAI(base_url=f"{live.url}/v1", api_key=live.key) as client:
        assert [model.id for model in client.models.list().data] == ["surgvl-chat", "surgvl-embed"]
        pictures = []
        for frame in colour("blue"):
            Image.fromarray(frame).save(file := io.BytesIO(), "PNG")
            pictures.append(base64.b64encode(file.getvalue()).decode())
        url = f"data:video/jpeg;base64,{','.join(pictures)}"
        content: list[Any] = [{"type": "video_url", "video_url": {"url": url}}, {"type": "text", "text": QUESTION}]
        asked: Any = {"model": "surgvl-chat", "messages": [{"role": "user", "content": content}], "temperature": 0}
        reply = client.chat.completions.create(**asked, max_tokens=8)
        assert reply.choices[0].message.content.strip() == "liver"
        parts = [part.choices[0].delta.content or "" for part in
                 client.chat.completions.create(**asked, max_tokens=8, stream=True)]  # fmt: skip
        assert "".join(parts) == reply.choices[0].message.content
        vectors = client.embeddings.create(model="surgvl-embed", input=SENTENCES[:2]).data
        got = np.array([row.embedding for row in vectors], np.float32)
        assert np.abs(got - live.dual_model().encode_text(SENTENCES[:2])).max() < 1e-4


def test_what_the_server_refuses_is_one_line(live: Live, server: Server) -> None:
    with pytest.raises(ServerError, match="says 401.*--api_key"):
        Server(live.url, "wrong").about()
    with pytest.raises(ServerError, match="says 400") as error:
        server.encode_text(["cut the cystic duct " * 20_000])
    assert "\n" not in str(error.value)
    assert server.ask(colour("red"), QUESTION, ["gut", "liver"]) == "gut"


def test_an_archive_is_searched_through_the_server_of_its_models(live: Live) -> None:
    here = ["search", SENTENCES[0], "--archive", str(live.archive)]
    own, served = cli.run(here), cli.run([*here, "--server", live.url, "--api_key", live.key])
    assert len(own) == len(served) > 0
    for mine, theirs in zip(own, served, strict=True):
        assert (mine.video_id, mine.start_s) == (theirs.video_id, theirs.start_s)
        assert theirs.score == pytest.approx(mine.score, abs=1e-4)
