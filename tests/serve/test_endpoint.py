"""Any OpenAI-compatible address, before a stand-in: what it is sent, what is made of its replies, what goes wrong."""

import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("starlette", reason="starlette is not installed: pip install 'surgvl[serve]'")
pytest.importorskip("openai", reason="openai is not installed: pip install 'surgvl[client]'")

from starlette.responses import JSONResponse, Response  # noqa: E402

from surgvl.api import load_answerer  # noqa: E402
from surgvl.chat.answerer import Question  # noqa: E402
from surgvl.chat.replies import Replies  # noqa: E402
from surgvl.chat.vision_language import VisionLanguageAnswerer  # noqa: E402
from surgvl.chat.vision_language_config import ClipInput, ReplyConfig  # noqa: E402
from surgvl.cli import main as cli  # noqa: E402
from surgvl.core.errors import CheckpointError, ConfigError, ServerError  # noqa: E402
from surgvl.core.files import read_json, write_json  # noqa: E402
from surgvl.serve.general_model import describe_general, general_flags  # noqa: E402
from surgvl.serve.served_model import describe_models, find_served_model  # noqa: E402
from tests.helpers.fake_engine import served  # noqa: E402
from tests.helpers.fake_gateway import Frames, refusal  # noqa: E402
from tests.helpers.fake_openai import ALL, FakeOpenAI  # noqa: E402
from tests.helpers.killed_asking import run_killed_after  # noqa: E402
from tests.helpers.made_organs import COLOURS, ORGANS, QUESTION, made_manifest  # noqa: E402

CLIP = ClipInput(num_frames=3, size_px=64)
PLAIN = frozenset({"image"})
# Clips of several frames at the ends of so short a video would be the same.
WORDS = ["--clip.num_frames", "1", "--clip.size_px", "64"]


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[FakeOpenAI, str]]:
    fake = FakeOpenAI()
    with served(fake.app) as url:
        yield fake, url


@pytest.fixture
def fake(running: tuple[FakeOpenAI, str], monkeypatch: pytest.MonkeyPatch) -> FakeOpenAI:
    """The stand-in as it was at first."""
    monkeypatch.delenv("SURGVL_API_KEY", raising=False)
    monkeypatch.setattr("surgvl.serve.endpoint.FIRST_WAIT_S", 0.01)
    fresh = FakeOpenAI()
    for name in (
        "can",
        "models",
        "answer",
        "choose",
        "likelihood",
        "tokens",
        "most_listed",
        "first",
        "asked",
        "probes",
        "about",
        "most",
    ):
        setattr(running[0], name, vars(fresh)[name])
    return running[0]


@pytest.fixture
def url(running: tuple[FakeOpenAI, str]) -> str:
    return running[1]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_manifest(tmp_path_factory.mktemp("organs"))


def clip(colour: str = "red") -> Frames:
    return np.broadcast_to(np.array(COLOURS[colour], np.uint8), (3, 48, 64, 3)).copy()


def sees(frames: Frames | None, text: str, labels: list[str]) -> str:
    """A model that tells red from blue, by the letters of the options that it reads."""
    if frames is None:
        return labels[0]
    organ = ORGANS["red" if frames[..., 0].mean() > frames[..., 2].mean() else "blue"]
    return next((line[0] for line in text.splitlines() if line.endswith(organ)), "?")


def answerer(url: str, **reply: Any) -> VisionLanguageAnswerer:
    found = load_answerer(server=url, clip=CLIP, reply=ReplyConfig(**reply), by_likelihood=False)
    assert isinstance(found, VisionLanguageAnswerer)
    return found


def rows_of(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "answers.jsonl").read_text().splitlines()]


# ---- which model


def test_models_are_chosen_by_name(fake: FakeOpenAI, url: str) -> None:
    assert answerer(url).model_name == "eye"
    fake.models = ("eye", "hand")
    with pytest.raises(ConfigError, match="has several models, eye, hand: choose one with --model"):
        load_answerer(server=url)
    assert load_answerer("hand", server=f"{url}/v1").device == url
    with pytest.raises(ConfigError, match="has no model 'hnd'; it has eye, hand: did you mean hand"):
        load_answerer("hnd", server=url)
    fake.models = ()
    with pytest.raises(ServerError, match="lists no model"):
        load_answerer(server=url)


def test_a_general_model_behind_our_gateway_is_asked_like_any_other(fake: FakeOpenAI, url: str) -> None:
    fake.about, fake.models = {"version": "1", "chat": describe_general("eye")}, ("base", "eye")
    assert answerer(url).model_name == "eye"
    assert load_answerer("base", server=url).facts["model"] == "base"


# ---- how it is asked


@pytest.mark.parametrize("name", ["choice", "guided_choice", "json_schema", "grammar"])
def test_options_are_constrained_by_the_field_that_the_server_obeys(fake: FakeOpenAI, url: str, name: str) -> None:
    fake.can, fake.choose = PLAIN | {name}, sees
    fake.answer = lambda frames, text: "Blue, like the sky."
    asked = answerer(url)
    assert [asked.ask(clip(colour), QUESTION, answers=["gut", "liver"]) for colour in COLOURS] == ["gut", "liver"]
    assert (asked.closed_by, asked.sent_as) == (name, "frames")
    assert len(fake.asked) == 2


def test_a_server_that_constrains_nothing_is_parsed(fake: FakeOpenAI, url: str) -> None:
    fake.can = PLAIN
    fake.answer = lambda frames, text: f"The answer is ({sees(frames, text, [])})." if frames is not None else "red"
    asked = answerer(url)
    assert [asked.ask(clip(colour), QUESTION, answers=["gut", "liver"]) for colour in COLOURS] == ["gut", "liver"]
    assert asked.closed_by == "letters"


@pytest.mark.slow
def test_likelihoods_choose_a_single_answer(fake: FakeOpenAI, url: str) -> None:
    fake.likelihood = lambda frames, text, said: {"A": -2.0, "B": -1.0, "C": -3.0}[said]
    found = load_answerer(server=url, clip=CLIP).probabilities(clip(), QUESTION, ["gut", "liver", "spleen"])
    powers = np.exp([-1.0, -2.0, -3.0])
    assert [name for name, _ in found] == ["liver", "gut", "spleen"]
    assert [share for _, share in found] == pytest.approx(list(powers / powers.sum()))
    fake.can = PLAIN
    assert load_answerer(server=url, clip=CLIP).probabilities(clip(), QUESTION, ["gut", "liver"]) == []
    with pytest.raises(ConfigError, match="offers no prompt_logprobs"):
        answerer(url, closed="likelihood").ask(clip(), QUESTION, answers=["gut", "liver"])


@pytest.mark.parametrize(
    ("can", "fps", "sent_as", "fields"),
    [
        (ALL, 2.0, "video", True),
        (ALL - {"media_io_kwargs"}, 1.0, "video", False),
        # Its server would take the frames for one second apart.
        (ALL - {"media_io_kwargs"}, 2.0, "frames", False),
        (ALL - {"video"}, 1.0, "frames", False),
    ],
)
def test_a_clip_is_sent_as_the_server_takes_it(
    fake: FakeOpenAI, url: str, can: frozenset[str], fps: float, sent_as: str, fields: bool
) -> None:
    got: list[Frames | None] = []
    fake.can = can
    fake.answer = lambda frames, text: (got.append(frames), "liver")[1]  # type: ignore[func-returns-value]
    asked = load_answerer(server=url, clip=ClipInput(num_frames=3, size_px=64, fps=fps))
    frames = np.random.default_rng(0).integers(0, 256, (3, 48, 64, 3), np.uint8)
    assert asked.ask(frames, "What is it?") == "liver"
    body = fake.asked[-1]
    assert got[-1] is not None
    assert len(got[-1]) == 3
    assert ("media_io_kwargs" in body) == fields
    assert not fields or body["media_io_kwargs"]["video"]["fps"] == fps
    texts = [part["text"] for part in body["messages"][0]["content"] if part["type"] == "text"]
    at = [f"Frame {number + 1} of 3, at {number / fps:.1f} s:" for number in range(3)]
    assert texts == [*(at if sent_as == "frames" else []), "What is it?"]


def test_a_model_without_eyes_is_refused(fake: FakeOpenAI, url: str) -> None:
    fake.can = frozenset()
    with pytest.raises(ConfigError, match="'eye' at http.* takes no pictures .*image_url is not supported"):
        answerer(url).ask(clip(), "Which?")
    with pytest.raises(ConfigError, match="takes no videos"):
        load_answerer(server=url, clip=ClipInput(send="video")).ask(clip(), "Which?")


def test_hosted_models_name_their_fields_otherwise(fake: FakeOpenAI, url: str) -> None:
    def reply(body: dict[str, Any]) -> Response:
        if "max_tokens" in body:
            return refusal(400, "Unsupported parameter: use max_completion_tokens")
        if "temperature" in body:
            return refusal(400, "temperature is not supported by this model")
        return plain(body)

    fake.can, plain = PLAIN, fake._reply
    fake._reply = reply  # type: ignore[method-assign]
    try:
        assert answerer(url).ask(clip(), QUESTION, answers=["gut", "liver"]) == "liver"
    finally:
        fake._reply = plain  # type: ignore[method-assign]
    assert fake.asked[-1]["max_completion_tokens"] == 64
    assert "temperature" not in fake.asked[-1]


# ---- the questions of a manifest


def ask(url: str, manifest: Path, out: Path, *more: str) -> list[dict[str, Any]]:
    cli.run(["ask", "--manifest", str(manifest), "--server", url, "--out", str(out), *WORDS, *more])
    return rows_of(out)


@pytest.mark.slow
def test_all_questions_of_a_manifest(fake: FakeOpenAI, url: str, manifest: Path, tmp_path: Path) -> None:
    fake.choose = sees
    rows = ask(url, manifest, tmp_path / "a", "--controls", "--in_flight", "3")
    assert [row["outcome"] for row in rows if not row["ablated"]] == ["correct"] * 8
    assert [row["prediction"] for row in rows if row["ablated"] == "other"] == ["liver"] * 4 + ["gut"] * 4
    assert [row["outcome"] for row in rows if row["ablated"] == "order 2"] == ["correct"] * 8
    assert [row["prediction"] for row in rows if row["ablated"] == "no_video"] == ["gut"] * 8
    # One black clip, and all with the options the other way round; the other videos are those of the questions, and
    # need not be asked about again.
    assert len(fake.asked) == 8 + 1 + 8
    assert 1 <= fake.most <= 3
    record = read_json(tmp_path / "a" / "run.json")
    assert (record["model"], record["server"], record["sent_as"]) == ("eye", "fake 1", "frames")
    assert record["outcomes"]["correct"] == 8
    sent = [json.loads(line) for line in (tmp_path / "a" / "replies.jsonl").read_text().splitlines()]
    assert len({each["key"] for each in sent}) == 8 + 1 + 8 + 1
    first = next(each for each in sent if each["key"] == rows[0]["reply"])
    assert (first["frames"], first["fps"], first["reply"]["facts"]["input_tokens"]) == (1, 1.0, 7)
    assert first["prompt"].startswith(f"{QUESTION}\nA. gut\nB. liver\n")
    # Again, in the same folder, without a question.
    assert ask(url, manifest, tmp_path / "a", "--controls", "--resume") == rows
    assert len(fake.asked) == 8 + 1 + 8
    # Another sampling, prompt or clip is another question.
    for more in (["--reply.temperature", "1"], ["--clip.size_px", "32"], ["--reply.closed", "letters"]):
        before = len(fake.asked)
        ask(url, manifest, tmp_path / "a", "--resume", *more)
        assert len(fake.asked) == before + 8


@pytest.mark.slow
def test_its_answers_are_scored(fake: FakeOpenAI, url: str, manifest: Path, tmp_path: Path) -> None:
    fake.choose, fake.models = sees, ("eye", "hand")
    words = ["eval", "--manifest", str(manifest), "--server", url, "--out", str(tmp_path / "a")]
    with pytest.raises(ConfigError, match="has several models, eye, hand: choose one with --model"):
        cli.run(words)
    found = {row.metric: row.value for row in cli.run([*words, "--resume", "--model", "hand"])}
    assert found["accuracy"] == 1
    assert {body["model"] for body in fake.asked} == {"hand"}
    assert [row["outcome"] for row in rows_of(tmp_path / "a" / "answers")] == ["correct"] * 8


@pytest.mark.slow
def test_options_are_shuffled_by_the_seed(fake: FakeOpenAI, url: str, manifest: Path, tmp_path: Path) -> None:
    fake.choose = sees

    made = []
    for number, seed in enumerate("001"):
        out = tmp_path / str(number)
        rows = ask(url, manifest, out, "--reply.shuffle_options", "--seed", seed)
        assert {row["outcome"] for row in rows} == {"correct"}
        sent = [json.loads(line) for line in (out / "replies.jsonl").read_text().splitlines()]
        prompts = {each["key"]: each["prompt"] for each in sent}
        made.append([prompts[row["reply"]].partition("A. ")[2][:3] for row in rows])
    assert made[0] == made[1]
    # Of 256 orders of eight questions with two options each.
    assert len({tuple(each) for each in made}) > 1
    assert {"gut", "liv"} == {name for each in made for name in each}


@pytest.mark.slow
def test_six_outcomes_and_a_table_of_them(
    fake: FakeOpenAI, url: str, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said: list[Callable[[], str | Response]] = [
        lambda: "A. gut",
        lambda: "It is the liver.",
        lambda: "gut or liver",
        lambda: "I'm sorry, but I can't help with medical pictures.",
        lambda: "",
        lambda: refusal(400, "this picture is too large"),
        lambda: (time.sleep(1.5), "A")[1],  # type: ignore[func-returns-value]
        lambda: JSONResponse({"choices": [{"message": {"refusal": "no"}, "finish_reason": "stop"}]}),
    ]
    queue = list(said)
    fake.can = PLAIN
    fake.answer = lambda frames, text: queue.pop(0)() if frames is not None and text != "Say yes." else "red"
    more = ["--in_flight", "1", "--reply.limit_s", "0.75"]
    rows = ask(url, manifest, tmp_path / "a", *more)
    wanted = ["correct", "wrong", "unparsed", "refused", "missing", "missing", "late", "refused"]
    assert [row["outcome"] for row in rows] == wanted
    assert [row["prediction"] for row in rows] == ["gut", "liver", *[""] * 6]
    words = "1 correct, 1 wrong, 1 unparsed, 2 refused, 2 missing, 1 late"
    assert words in capsys.readouterr().out
    page = ["eval", "--answers", str(tmp_path / "a"), "--manifest", str(manifest), "--out", str(tmp_path / "eval")]
    results = {row.metric: row for row in cli.run(page)}
    assert results["accuracy"].value == pytest.approx(1 / 8)
    assert results["late_rate"].value == pytest.approx(1 / 8)
    assert results["unmatched_rate"].value == pytest.approx(6 / 8)
    table = (tmp_path / "eval" / "result.md").read_text()
    line = next(line for line in table.splitlines() if line.startswith("| closed"))
    assert [cell.strip() for cell in line.split("|")[2:-1]] == ["1", "1", "1", "2", "2", "1"]
    # The two without any reply are asked again, the others not.
    fake.asked.clear()
    queue[:] = [lambda: "B"] * 2
    assert [row["outcome"] for row in ask(url, manifest, tmp_path / "a", "--resume", *more)] == [
        *wanted[:5],
        "correct",
        "correct",
        "refused",
    ]
    assert len(fake.asked) == 2


# ---- how sure it is


def listed(text: str, written: str) -> list[dict[str, Any]]:
    """A token a letter; of the first letter of an option, in two ways, and of everything else the alternatives."""
    shares = {"A": 0.1, "a": 0.05, "B": 0.6, " B": 0.1, "The": 0.1}
    tokens: list[dict[str, Any]] = [{"token": each, "logprob": -0.5, "top_logprobs": []} for each in written]
    top = [{"token": each, "logprob": math.log(share)} for each, share in shares.items()]
    at = max(written.find("A"), written.find("B"))
    if at >= 0:
        tokens[at] |= {"logprob": math.log(shares[written[at]]), "top_logprobs": top}
    return tokens


@pytest.mark.parametrize("name", ["choice", "json_schema", "letters"])
def test_an_option_is_as_sure_as_its_tokens_among_those_of_options(fake: FakeOpenAI, url: str, name: str) -> None:
    fake.can, fake.choose, fake.tokens = PLAIN | {name, "logprobs"}, sees, listed
    fake.answer = lambda frames, text: sees(frames, text, ["red"])
    asked = answerer(url)
    for colour, share in (("red", 0.1), ("blue", 0.7)):
        found = asked.answer_one(clip(colour), QUESTION, answers=["gut", "liver"])
        assert found.text == ORGANS[colour]
        # Of both cases where the reply is parsed.
        cases = 0.05 if name == "letters" else 0.0
        assert found.confidence == pytest.approx((share + cases * (colour == "red")) / (0.8 + cases))
    assert (fake.asked[-1]["logprobs"], fake.asked[-1]["top_logprobs"]) == (True, 20)
    # Of a sentence, the mean of its tokens; of another form, the whole reply.
    fake.answer = lambda frames, text: "Two."
    free = asked.answer_one(clip(), "What is seen?")
    assert free.confidence == pytest.approx(math.exp(-0.5))
    assert "top_logprobs" not in fake.asked[-1]
    number = asked.answer([Question(clip(), "How many?", (), "number")])[0]
    assert number.text == "2"
    assert number.confidence == pytest.approx(math.exp(-0.5 * 4))


@pytest.mark.slow
def test_hosts_that_list_few_tokens_or_none(fake: FakeOpenAI, url: str) -> None:
    fake.choose, fake.tokens, fake.most_listed = sees, listed, 5
    assert answerer(url).answer_one(clip(), QUESTION, answers=["gut", "liver"]).confidence == pytest.approx(0.1 / 0.8)
    assert fake.asked[-1]["top_logprobs"] == 5
    # Without alternatives, the token alone is known; what is no number is no probability.
    fake.tokens = lambda text, written: [{"token": each, "logprob": -0.25} for each in written]
    found = answerer(url).answer_one(clip(), QUESTION, answers=["gut", "liver"])
    assert found.text == "gut"
    assert found.confidence == pytest.approx(math.exp(-0.25))
    fake.tokens = lambda text, written: [{"token": each, "logprob": None} for each in written]
    found = answerer(url).answer_one(clip(), QUESTION, answers=["gut", "liver"])
    assert (found.text, found.confidence) == ("gut", None)
    fake.can = ALL - {"logprobs"}
    found = answerer(url).answer_one(clip(), QUESTION, answers=["gut", "liver"])
    assert (found.text, found.confidence) == ("gut", None)
    assert "logprobs" not in fake.asked[-1]


@pytest.mark.slow
def test_calibration_is_scored_where_the_server_says_how_sure_it_is(
    fake: FakeOpenAI, url: str, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.choose, fake.tokens = sees, listed
    rows = ask(url, manifest, tmp_path / "a", "--controls")
    assert [row["confidence"] for row in rows if not row["ablated"]] == pytest.approx(
        [0.1 / 0.8] * 4 + [0.7 / 0.8] * 4, abs=1e-6
    )
    assert "how sure it is" not in capsys.readouterr().out
    # Kept with the replies, and asked for again by nobody.
    assert ask(url, manifest, tmp_path / "a", "--controls", "--resume") == rows
    words = ["eval", "--manifest", str(manifest)]
    for source in ("--answers", "--rescore"):
        out = tmp_path / source
        found = {row.metric: row for row in cli.run([*words, source, str(tmp_path / "a"), "--out", str(out)])}
        # All are right.
        assert found["ece"].value == pytest.approx((1 - 0.1 / 0.8 + 1 - 0.7 / 0.8) / 2, abs=1e-6)
        assert found["brier"].value == pytest.approx(((1 - 0.1 / 0.8) ** 2 + (1 - 0.7 / 0.8) ** 2) / 2, abs=1e-6)
        # Without a video it says "gut", and is right half the time.
        assert found["ece"].baselines["no video"] == pytest.approx(abs(0.5 - 0.1 / 0.8), abs=1e-6)
        assert found["ece"].baselines["majority"] == 0
        assert "not measured" not in (out / "result.md").read_text()
    fake.can = ALL - {"logprobs"}
    rows = ask(url, manifest, tmp_path / "b")
    assert {row["confidence"] for row in rows} == {None}
    assert "does not say how sure it is" in capsys.readouterr().out
    found = {
        row.metric: row for row in cli.run([*words, "--answers", str(tmp_path / "b"), "--out", str(tmp_path / "c")])
    }
    assert "accuracy" in found
    assert "ece" not in found
    line = "- calibration of closed answers: not measured (this answerer states no confidence)"
    assert line in (tmp_path / "c" / "result.md").read_text()


@pytest.mark.slow
def test_a_single_answer_is_printed_with_how_sure_it_is(
    fake: FakeOpenAI, url: str, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video, more = str(manifest.parent / "test_red"), ["--server", url, *WORDS]
    fake.likelihood = lambda frames, text, said: {"A": -1.0, "B": -1.0 - math.log(3)}[said]
    cli.run(["ask", video, QUESTION, "--answers", "gut", "liver", *more])
    shown = capsys.readouterr()
    assert (shown.out, "confidence: 75%, of 2 answers to choose from" in shown.err) == ("gut\n", True)
    fake.answer = lambda frames, text: "a gut"
    cli.run(["ask", video, "What is seen?", *more])
    assert "confidence: 88%, mean probability of its tokens" in capsys.readouterr().err
    fake.can = ALL - {"logprobs"}
    cli.run(["ask", video, "What is seen?", *more])
    assert "confidence" not in capsys.readouterr().err


# ---- what goes wrong


def test_what_passes_is_tried_again(fake: FakeOpenAI, url: str) -> None:
    fake.first = [refusal(503, "loading"), refusal(429, "slow down", 0), Response("x", 502)]
    assert answerer(url).ask(clip(), QUESTION, answers=["gut", "liver"]) == "liver"
    assert len(fake.asked) == 4


@pytest.mark.slow
def test_what_all_will_fail_at_ends_the_run(
    fake: FakeOpenAI, url: str, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.first = [None] * 3 + [refusal(401, "the key has expired")]
    with pytest.raises(ServerError, match="status 401: the key has expired.*with --resume"):
        ask(url, manifest, tmp_path / "a", "--in_flight", "1")
    # Those that were already on their way are kept, too.
    assert 3 <= Replies(tmp_path / "a" / "replies.jsonl").num_stored < 7
    assert not (tmp_path / "a" / "answers.jsonl").exists()
    monkeypatch.setattr("surgvl.serve.endpoint.MAX_FAILED", 3)
    fake.first = [refusal(400, "no")] * 3
    with pytest.raises(ServerError, match=r"status 400: no \(3 requests in a row failed\)"):
        ask(url, manifest, tmp_path / "b", "--in_flight", "1")


@pytest.mark.slow
def test_a_killed_run_goes_on_and_asks_nothing_twice(
    fake: FakeOpenAI, url: str, manifest: Path, tmp_path: Path
) -> None:
    argv = ["ask", "--manifest", str(manifest), "--server", url, "--out", str(tmp_path / "a"), *WORDS]
    run_killed_after([*argv, "--in_flight", "1"], 3)
    assert len(fake.asked) == 3
    # As if it had been killed in the middle of a line.
    with open(tmp_path / "a" / "replies.jsonl", "a") as file:
        file.write('{"key": "0123", "reply": {"te')
    cli.run([*argv, "--resume"])
    assert len(fake.asked) == 8
    assert [row["prediction"] for row in rows_of(tmp_path / "a")] == ["liver"] * 8


# ---- serving such a model


def test_a_general_model_is_served_as_it_is_and_an_adapter_under_its_own_name(tmp_path: Path) -> None:
    base, run = tmp_path / "base", tmp_path / "run"
    write_json(base / "config.json", {"model_type": "qwen3_vl"})
    write_json(run / "model" / "adapter_config.json", {"base_model_name_or_path": str(base), "r": 12})
    named = Path(f"hf:{base}")
    for given in (named, run):
        assert find_served_model("chat", given) == given
        about = describe_models({"chat": given})["chat"]
        assert about == {"general": True, "model": "surgvl-chat", "trained": {"pretraining_video_ids": ["unknown:*"]}}
    assert general_flags(str(named), "surgvl-chat") == []
    flags = general_flags(str(run), "surgvl-chat")
    assert flags[flags.index("--max-lora-rank") + 1] == "16"
    assert flags[flags.index("--lora-modules") + 1] == f"surgvl-chat={(run / 'model').resolve()}"
    # vLLM takes the numbers of pictures for those of videos.
    write_json(base / "preprocessor_config.json", {"image_mean": [0.5] * 3, "image_std": [0.5] * 3})
    assert general_flags(str(named), "surgvl-chat") == []
    write_json(base / "video_preprocessor_config.json", {"image_mean": [0.4] * 3, "image_std": [0.5] * 3})
    assert general_flags(str(named), "surgvl-chat") == ["--no-mm-device-do-normalize"]
    assert general_flags(str(run), "surgvl-chat") == ["--no-mm-device-do-normalize", *flags]
    alike = {"image_mean": [0.4] * 3, "image_std": [0.5] * 3}
    write_json(base / "processor_config.json", {"image_processor": alike, "video_processor": {**alike, "fps": 2}})
    assert general_flags(str(named), "surgvl-chat") == []
    (base / "config.json").unlink()
    with pytest.raises(CheckpointError, match="holds no config.json"):
        find_served_model("chat", named)
    with pytest.raises(CheckpointError, match="is not on this machine"):
        find_served_model("chat", Path("hf:nobody/nothing"))
