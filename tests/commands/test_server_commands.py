"""`ask`, `search` and `demo` with --server: what they say is what they say in this process."""

import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

pytest.importorskip("starlette", reason="starlette is not installed: pip install 'surgvl[serve]'")
pytest.importorskip("openai", reason="openai is not installed: pip install 'surgvl[client]'")

from surgvl.api import load  # noqa: E402
from surgvl.archive.archive import Archive  # noqa: E402
from surgvl.cli import main as cli  # noqa: E402
from surgvl.core.errors import CheckpointError, ConfigError, DataError, ServerError  # noqa: E402
from surgvl.core.files import read_json  # noqa: E402
from surgvl.data.manifest import QA, Manifest  # noqa: E402
from surgvl.demo.schemas import AskRequest, SearchRequest, Span  # noqa: E402
from surgvl.embed.vectors import Vectors  # noqa: E402
from surgvl.models.checkpoint import save_model  # noqa: E402
from tests.helpers.fake_engine import served  # noqa: E402
from tests.helpers.fake_gateway import before, refusal  # noqa: E402
from tests.helpers.fake_openai import FakeOpenAI  # noqa: E402
from tests.helpers.few_answers import with_few_answers  # noqa: E402
from tests.helpers.made_duals import tiny_dual  # noqa: E402
from tests.helpers.made_organs import QUESTION, made_manifest  # noqa: E402
from tests.helpers.opened_page import engine_of  # noqa: E402
from tests.models.test_models import PREPROCESS  # noqa: E402

SECRET = "sesame-7381"
SENTENCE = "the hook dissects the gallbladder"


@pytest.fixture(scope="module")
def tiny_run(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny run, of few answers."""
    return with_few_answers(tiny_run, tmp_path_factory.mktemp("few") / "run")


@pytest.fixture(scope="module")
def url(tiny_run: Path) -> Iterator[str]:
    """A gate before the models of the tiny run."""
    with before(load(tiny_run / "tune"), load(tiny_run / "align")) as found:
        yield found


@pytest.fixture(scope="module")
def video(tiny_run: Path) -> str:
    table = Manifest.load(tiny_run / "manifest")
    return str(table.path_of(table.videos[0].video_id))


@pytest.fixture(scope="module")
def manifest(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The tiny run's manifest with the questions of the videos' first second."""
    table = Manifest.load(tiny_run / "manifest")
    questions = [QA(**row) for row in table.qa_table.to_pylist() if row["start_s"] == 0]
    folder = tmp_path_factory.mktemp("few") / "manifest"
    Manifest(table.video_table, table.segment_table, questions, table.root).save(folder)
    return str(folder)


def answers_of(folder: Path) -> list[dict[str, Any]]:
    """Answers without how sure the model is, which a server tells only if it gives log-probabilities."""
    rows = [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]
    return [{name: row[name] for name in row if name != "confidence"} for row in rows]


# ---- embed and eval


def test_vectors_and_scores_of_a_split(tiny_run: Path, manifest: str, url: str, tmp_path: Path) -> None:
    data = ["--manifest", manifest, "--split", "test"]
    cli.run(["embed", *data, "--model", str(tiny_run / "align"), "--out", str(tmp_path / "vectors")])
    cli.run(["ask", *data, "--model", str(tiny_run / "tune"), "--out", str(tmp_path / "answers")])
    own = ["--vectors", str(tmp_path / "vectors"), "--answers", str(tmp_path / "answers")]
    here = cli.run(["eval", *data, *own, "--out", str(tmp_path / "here")])
    asked = ["--server", url, "--api_key", SECRET]
    there = cli.run(["eval", *data, *asked, "--out", str(tmp_path / "there")])
    for path in (tmp_path / "there").rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path
    assert "--api_key KEY" in (tmp_path / "there" / "result.md").read_text()
    mine, theirs = (Vectors.load(tmp_path / name / "vectors") for name in ("", "there"))
    assert (theirs.meta.model, theirs.meta.model_hash, theirs.meta.dim) == (url, mine.meta.model_hash, mine.meta.dim)
    assert mine.texts is not None
    assert theirs.texts is not None
    assert np.abs(mine.texts.vectors - theirs.texts.vectors).max() < 1e-5
    (shard,) = (tmp_path / "vectors").glob("shard-*.safetensors")
    one, two = (load_file(folder / shard.name) for folder in (shard.parent, tmp_path / "there" / "vectors"))
    # They are kept in half precision.
    assert all(np.abs(one[key].astype(np.float32) - two[key]).max() < 1e-3 for key in one)
    assert answers_of(tmp_path / "there" / "answers") == answers_of(tmp_path / "answers")
    assert {row.task for row in there} == {"phase", "triplet", "retrieval", "vqa"}
    # This server gives no log-probabilities.
    sure = {"ece", "ece_mass", "brier"}
    assert {row.metric for row in here} - {row.metric for row in there} == sure
    assert "calibration of closed answers: not measured" in (tmp_path / "there" / "result.md").read_text()
    here = [row for row in here if row.metric not in sure]
    assert [row.metric for row in there] == [row.metric for row in here]
    assert [row.value for row in there] == pytest.approx([row.value for row in here])
    # What there is already is not made again.
    cli.run(["eval", *data, *own, "--tasks", "[phase]", "--server", url, "--out", str(tmp_path / "again")])
    assert not (tmp_path / "again" / "vectors").exists()
    # Nor made at all where it is not to be scored, or was seen before.
    cli.run(["eval", *data, "--tasks", "[vqa]", f"--server={url}", "--out", str(tmp_path / "asked")])
    assert not (tmp_path / "asked" / "vectors").exists()
    with pytest.raises(DataError, match="were seen in pretraining"):
        cli.run(["eval", data[0], data[1], "--split", "train", "--server", url, "--out", str(tmp_path / "seen")])
    assert not list((tmp_path / "seen").iterdir())
    with pytest.raises(ConfigError, match="or --server"):
        cli.run(["eval", *data, "--out", str(tmp_path / "none")])
    with pytest.raises(ConfigError, match="--model.*or --server"):
        cli.run(["embed", *data, "--out", str(tmp_path / "none")])


def test_vectors_of_another_model_are_not_gone_on_with(tiny_run: Path, url: str, tmp_path: Path) -> None:
    data = ["--manifest", str(tiny_run / "manifest"), "--split", "test", "--out", str(tmp_path / "vectors")]
    data += ["--prompt_sets", "phantom_phase"]
    cli.run(["embed", *data, "--server", url])
    save_model(tiny_dual(), tmp_path / "other", PREPROCESS)
    begun = pytest.raises(DataError, match="was started with model_hash .* or give another --out")
    with before(None, load(tmp_path / "other")) as other, begun:
        cli.run(["embed", *data, "--server", other, "--resume", "true"])
    with pytest.raises(DataError, match="was started with stride_s 1.0, not 0.5"):
        cli.run(["embed", *data, "--server", url, "--resume", "true", "--stride_s", "0.5"])
    cli.run(["embed", *data, "--model", str(tiny_run / "align"), "--resume", "true"])
    assert Vectors.load(tmp_path / "vectors").meta.model == str((tiny_run / "align" / "model").resolve())


def test_recordings_of_an_archive_are_embedded_by_a_server(
    tiny_run: Path, video: str, url: str, tmp_path: Path
) -> None:
    found = []
    for name, words in (("here", []), ("there", ["--server", url])):
        archive = str(tmp_path / name)
        cli.run(["archive", "create", archive, "--model", str(tiny_run / "align"), "--prompt_sets", "phantom_phase"])
        cli.run(["archive", "add", archive, video, *words])
        with Archive.open(archive) as opened:
            found.append(opened.vectors_of(Path(video).stem)[0])
    # They are kept in half precision.
    assert np.abs(found[0] - found[1]).max() < 1e-3
    save_model(tiny_dual(), tmp_path / "other", PREPROCESS)
    refused = pytest.raises(DataError, match="was made with model .* or use `surgvl archive reindex`")
    with before(None, load(tmp_path / "other")) as other, refused:
        cli.run(["archive", "update", str(tmp_path / "there"), "--server", other])


def test_what_is_not_known_is_not_stated(
    tiny_run: Path, manifest: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--manifest", manifest, "--split", "test"]
    for stage, command, *words in (("align", "embed", "--prompt_sets", "phantom_phase"), ("tune", "ask")):
        shutil.copytree(tiny_run / stage / "model", tmp_path / stage)
        cli.run([command, *data, *words, "--model", str(tmp_path / stage), "--out", str(tmp_path / command)])
        assert "does not record its training videos" in capsys.readouterr().out
    made = ["--vectors", str(tmp_path / "embed"), "--answers", str(tmp_path / "ask")]
    assert {row.encoder for row in cli.run(["eval", *data, *made, "--out", str(tmp_path / "eval")])} == {"not stated"}
    assert "frozen" not in (tmp_path / "eval" / "result.md").read_text()


# ---- ask


@pytest.mark.parametrize(
    ("question", "at_s"), [("What is the surgical phase shown in the image?", "7.3"), ("What is happening?", "")]
)
def test_a_question_about_a_video(tiny_run: Path, url: str, video: str, question: str, at_s: str) -> None:
    words = ["ask", video, question, *(["--at_s", at_s] if at_s else [])]
    here = cli.run([*words, "--model", str(tiny_run / "tune")])
    assert cli.run([*words, "--server", url]) == here
    # Where both are given, the server must run that model, whatever it is asked.
    if not at_s:
        assert cli.run([*words, "--server", url, "--model", str(tiny_run / "tune")]) == here
    with pytest.raises(CheckpointError, match="start `surgvl serve` with that folder"):
        cli.run([*words, "--server", url, "--model", str(tiny_run / "align")])


def test_ask_needs_a_model_or_a_server(video: str) -> None:
    with pytest.raises(ConfigError, match="--model.*or --server"):
        cli.run(["ask", video, "Which?"])


@pytest.mark.slow
def test_all_questions_of_a_manifest(taught_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest, run = made_manifest(tmp_path), taught_run
    words = ["ask", "--manifest", str(manifest), "--controls", "true"]
    cli.run([*words, "--model", str(run), "--out", str(tmp_path / "here")])
    with before(load(run), None) as url:
        cli.run([*words, "--server", url, "--out", str(tmp_path / "there")])
        cli.run([*words, "--server", url, "--model", str(run), "--out", str(tmp_path / "both")])
        assert "does not record its training" not in capsys.readouterr().out
    rows, there, both = (answers_of(tmp_path / name) for name in ("here", "there", "both"))
    assert {row["ablated"] for row in rows} == {"", "black", "other"}
    assert [row["prediction"] for row in rows if not row["ablated"]] == ["gut"] * 4 + ["liver"] * 4
    assert there == both == rows
    # What the model has seen goes with its answers, so that `eval` can refuse what leaks.
    for name in ("there", "both"):
        assert read_json(tmp_path / name / "run.json")["pretraining_video_ids"] == ["train_red"]
    assert read_json(tmp_path / "there" / "run.json")["device"] == url
    assert not (tmp_path / "there" / "features").exists()
    done = cli.run(
        ["eval", "--answers", str(tmp_path / "both"), "--manifest", str(manifest), "--out", str(tmp_path / "eval")]
    )
    assert done
    assert {row["question"] for row in rows} == {QUESTION}


def test_without_openai_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, video: str) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    for name in ("client", "endpoint", "endpoint_answerer", "remote", "remote_answerer"):
        monkeypatch.delitem(sys.modules, f"surgvl.serve.{name}", raising=False)
    with pytest.raises(
        ConfigError, match=re.escape("needs openai, which is not installed: pip install 'surgvl[client]'")
    ):
        cli.run(["ask", video, "Which?", "--server", "http://127.0.0.1:9"])


# ---- search


def test_a_sentence_and_a_clip_are_searched_for(tiny_run: Path, url: str, video: str) -> None:
    for query in ([SENTENCE], ["--like", f"{video}@7.3"]):
        words = ["search", *query, "--index", str(tiny_run / "index"), "--k", "3"]
        here, there = cli.run(words), cli.run([*words, "--server", url])
        assert [(each.video_id, each.start_s) for each in there] == [(each.video_id, each.start_s) for each in here]
        assert [each.score for each in there] == pytest.approx([each.score for each in here], abs=1e-5)


def test_an_index_of_another_model_is_refused(tiny_run: Path, url: str, tmp_path: Path) -> None:
    save_model(tiny_dual(), tmp_path / "dual", PREPROCESS)
    words = ["search", SENTENCE, "--index", str(tiny_run / "index")]
    with (
        before(None, load(tmp_path / "dual")) as other,
        pytest.raises(DataError, match=f"the model of {other}"),
    ):
        cli.run([*words, "--server", other])
    with pytest.raises(ConfigError, match="--server and --model must not"):
        cli.run([*words, "--server", url, "--model", str(tiny_run / "align")])


# ---- the page


def test_the_page_says_the_same(tiny_run: Path, url: str, tmp_path: Path) -> None:
    here, there = (engine_of(tiny_run, tmp_path / "archive", server=each) for each in ("", url))
    try:
        there.models.wait()
        name = here.archive.recordings()[0].id
        questions = here.facts.questions()
        assert there.facts.questions() == questions
        for number, question in enumerate(questions):
            for time_s in (0.0, 7.3) if number == 0 else (7.3,):
                one, two = (
                    each.ask(AskRequest(recording=name, start_s=time_s, question=question)) for each in (here, there)
                )
                said = ("answer", "closed", "num_known", "truth", "frames", "without_video", "doubts", "moments")
                assert [vars(two)[each] for each in said] == [vars(one)[each] for each in said]
                assert dict(two.probabilities) == pytest.approx(dict(one.probabilities), abs=1e-5)
                assert [name for name, _ in two.probabilities] == [name for name, _ in one.probabilities]
        like = Span(recording=name, start_s=3.0, end_s=3.0)
        for request in (SearchRequest(text=SENTENCE, k=4), SearchRequest(like=like, k=3)):
            one_hits, two_hits = (
                [(hit.recording, hit.start_s) for hit in each.search(request).hits] for each in (here, there)
            )
            assert one_hits == two_hits
    finally:
        here.close()
        there.close()


def test_the_page_asks_any_other_address(tiny_run: Path, tmp_path: Path) -> None:
    """Whose model it knows by name alone; search and timeline are those of the archive."""
    fake = FakeOpenAI(models=("eye", "hand"))
    fake.answer = lambda frames, text: f"{len(frames)} frames" if frames is not None else ""
    with served(fake.app) as url:
        engine = engine_of(tiny_run, tmp_path / "archive", server=url, model="hand")
        try:
            engine.models.wait()
            request = AskRequest(recording=engine.archive.recordings()[0].id, start_s=7.3, question="What is seen?")
            found = engine.ask(request)
            assert (found.answer, found.closed, found.problem) == ("8 frames", False, "")
            assert len(found.frames) == 8
            # A model that counts frames says the same of black ones.
            assert found.without_video == "8 frames"
            assert any("says nothing about it" in line for line in found.doubts)
            assert fake.asked[-1]["model"] == "hand"
            assert engine.search(SearchRequest(text=SENTENCE, k=2)).hits
            fake.answer = lambda frames, text: refusal(400, "this picture is too large")
            found = engine.ask(request.model_copy(update={"question": "And now?"}))
            assert not found.answer
            assert "this picture is too large" in found.problem
            facts = engine.facts.describe("", False)
            assert facts["seen"] == "a clip of the moment"
            assert facts["model"]["stages"][-1]["facts"] == {"model": "hand"}
            assert facts["model"]["trained_on"] == ""
        finally:
            engine.close()


def test_the_page_refuses_a_server_of_other_models(tiny_run: Path, tmp_path: Path) -> None:
    save_model(tiny_dual(), tmp_path / "dual", PREPROCESS)
    with before(None, load(tmp_path / "dual")) as url:
        engine = engine_of(tiny_run, tmp_path / "archive", server=url)
        with pytest.raises(CheckpointError, match="holds"):
            engine.models.wait()
        with pytest.raises(ServerError, match="no chat model"):
            assert engine.models.answerer
        engine.close()
