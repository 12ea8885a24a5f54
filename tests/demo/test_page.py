"""The engine on a tiny run, and the command as far as it goes without a browser."""

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from surgvl import video
from surgvl.cli import demo
from surgvl.core.errors import CheckpointError, ConfigError, DataError, SurgVLError, SurgVLWarning
from surgvl.data.manifest import Manifest
from surgvl.demo import engine, formatting, model_card, timeline_view, views
from surgvl.embed.vectors import Vectors
from tests.helpers.parsed_html import Parsed

# ---- engine


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture(scope="module")
def ready(tiny_run: Path) -> Iterator[engine.Engine]:
    """An engine over the tiny run."""
    found = engine.Engine(tiny_run)
    found.start()
    found.wait()
    yield found
    found.close()


def test_a_known_question_is_answered_from_the_known_answers(ready: engine.Engine, tiny_run: Path) -> None:
    known = json.loads((tiny_run / "tune" / "model" / "answers.json").read_text())
    name = ready.catalog.videos[0].video_id
    found = ready.ask(name, 7.3, "  what is the SURGICAL phase shown in the image ")
    assert found.question == "What is the surgical phase shown in the image?"
    assert found.closed
    assert found.num_known == len(known["answers"])
    assert found.text == found.probabilities[0][0]
    assert {text for text, _ in found.probabilities} <= set(known["answers"])
    shares = [share for _, share in found.probabilities]
    assert shares == sorted(shares, reverse=True)
    assert 0 < sum(shares) <= 1
    assert found.ground_truth in known["answers"] or found.ground_truth
    rows = ready.manifest.second_labels("phase", [name], [7.3])[0]
    assert formatting.phase(found.ground_truth) == formatting.phase(rows[0])


def test_the_evidence_is_the_clip_around_the_moment(ready: engine.Engine) -> None:
    place = ready.catalog.videos[0]
    found = ready.ask(place.video_id, 7.3, "What is happening in this clip?")
    assert not found.closed
    assert found.probabilities == []
    assert found.frames.dtype == np.uint8
    step = found.times_s[1] - found.times_s[0]
    # Clips begin with one of the frames that the model reads, 0.25 s apart.
    assert abs(found.times_s[0] + step * len(found.times_s) / 2 - 7.3) <= 0.125
    expected = video.read(place.path, found.times_s[0], found.times_s[0] + step * len(found.times_s), 1 / step, 64)
    np.testing.assert_array_equal(found.frames, expected)
    late = ready.ask(place.video_id, 1e9, "What is happening in this clip?")
    assert late.at_s == place.duration_s
    assert late.times_s[-1] < place.duration_s


def test_the_api_says_the_same(ready: engine.Engine, tiny_run: Path) -> None:
    from surgvl.api import load_answerer

    place = ready.catalog.videos[0]
    chat = load_answerer(tiny_run / "tune")
    for question in ready.examples():
        assert ready.ask(place.video_id, 5.0, question).text == chat.ask(place.path, question, at_s=5.0)


@pytest.mark.parametrize("question", ["", " \n ", "why " * 100])
def test_questions_that_are_none(ready: engine.Engine, question: str) -> None:
    with pytest.raises(ConfigError, match=r"the question is empty|shorten it"):
        ready.ask(ready.catalog.videos[0].video_id, 0.0, question)
    with pytest.raises(ConfigError, match=r"the sentence is empty|shorten it"):
        ready.search(question, 3)


@pytest.mark.parametrize("name", ["nobody", "../phantom", "/etc/passwd", "http://127.0.0.1/a.mp4", ""])
def test_a_name_from_a_browser_never_opens_a_file(ready: engine.Engine, name: str) -> None:
    with pytest.raises(DataError, match="pick one from the list"):
        ready.ask(name, 0.0, "What?")
    with pytest.raises(DataError, match="pick one from the list"):
        ready.alike(name, 0.0, 3)
    with pytest.raises(DataError, match="pick one from the list"):
        ready.timeline(name, "phantom_phase", "phantom_triplet")


def test_search_finds_and_filters(ready: engine.Engine) -> None:
    values = ready.filters()
    assert sorted(values["video_id"]) == sorted(each.video_id for each in ready.catalog.videos)
    assert values["source"] == ["phantom"]
    one = values["video_id"][1]
    assert {each.video_id for each in ready.search("the hook dissects", 4, video_id=one)} == {one}
    scores = [each.score for each in ready.search("the hook dissects", 4)]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == 4
    with pytest.raises(ConfigError, match="nothing in"):
        ready.search("the hook dissects", 4, procedure="appendectomy")


def test_the_page_says_what_is_cut_off_a_long_sentence(ready: engine.Engine) -> None:
    with pytest.warns(SurgVLWarning, match="tokens were left out"):
        found = ready.search("the hook dissects the gallbladder " * 8, 3)
    assert "1 of 1 sentence" not in found.remark
    assert "tokens were left out at the end" in found.remark
    shown = Parsed(views.moments(found, "a long one", 0.1, found.remark)).text
    assert found.remark.split(":")[0] in shown
    assert "left out" not in ready.search("the hook dissects", 3).remark


def test_like_this_moment_leaves_the_moment_out(ready: engine.Engine) -> None:
    name = ready.catalog.videos[0].video_id
    found = ready.alike(name, 7.3, 5)
    assert found
    assert not [each for each in found if each.video_id == name and each.start_s < 10 and each.end_s > 5]
    assert ready.alike(name, 1e9, 2)


def test_the_timeline_is_the_nearest_sentence_of_each_second(ready: engine.Engine, tiny_run: Path) -> None:
    name = ready.catalog.videos[0].video_id
    found = ready.timeline(name, "phantom_phase", "phantom_triplet", 0.0)
    stored = Vectors.load(tiny_run / "vectors")
    assert stored.texts is not None
    names, classes = stored.texts.classes("phantom_phase")
    rows = [row for row, each in enumerate(stored.video_ids) if each == name]
    assert found.phases == names
    np.testing.assert_array_equal(found.predicted, (stored.vectors[rows] @ classes.T).argmax(1))
    assert len(found.edges_s) == len(found.predicted) + 1
    assert (found.edges_s[0], found.edges_s[-1]) == (0.0, found.duration_s)
    assert (np.diff(found.edges_s) > 0).all()
    assert found.ground_truth is not None
    for second, number in enumerate(found.ground_truth.tolist()):
        assert ready.manifest.second_labels("phase", [name], [second + 0.5])[0] == [names[number]]
    assert len(found.triplets) == 8
    means = [row.probabilities.mean() for row in found.triplets]
    assert means == sorted(means, reverse=True)
    assert Parsed(timeline_view.timeline(found))


@pytest.mark.parametrize("sets", [("phantom_phase", "phantom_triplet"), ("cholec80_phase", "cholect50_triplet")])
def test_every_prompt_set_reads_the_truth(ready: engine.Engine, sets: tuple[str, str]) -> None:
    assert sets[0] in ready.prompt_sets("phase")
    assert sets[1] in ready.prompt_sets("triplet")
    found = ready.timeline(ready.catalog.videos[0].video_id, *sets, smooth_s=5.0)
    assert found.agreement is not None


def test_a_saved_timeline_is_the_one_that_is_shown(ready: engine.Engine) -> None:
    video = ready.catalog.videos[0]
    shown = ready.timeline(video.video_id, "phantom_phase", "phantom_triplet", 5.0)
    saved = ready.timeline_file(video.video_id, "phantom_phase", "phantom_triplet", 5.0, "json")
    assert (saved.name, saved.content_type) == (f"{video.path.stem}.json", "application/json")
    assert str(ready.run) not in saved.content.decode()
    whole = json.loads(saved.content)
    assert whole["video"]["media"] == video.path.name
    found = [(row["name"], row["start_s"], row["end_s"]) for row in whole["intervals"] if row["track"] == "phase"]
    assert found == [
        (shown.phases[number], pytest.approx(start_s), pytest.approx(end_s))
        for number, start_s, end_s in timeline_view.segments(shown.predicted, shown.edges_s)
    ]
    for names in (("../secret.yaml", "phantom_triplet"), ("phantom_phase", "/etc/passwd.yaml")):
        with pytest.raises(ConfigError, match=r"the \w+ prompts must be one of"):
            ready.timeline_file(video.video_id, *names, 5.0, "csv")


def test_an_upload_is_embedded_with_progress_and_read(ready: engine.Engine, tmp_path: Path) -> None:
    known = ready.catalog.videos[0]
    copy = tmp_path / "mine.mp4"
    copy.write_bytes(known.path.read_bytes())
    mine = ready.catalog.add_upload(copy, "mine.mp4", tmp_path)
    shares = list(ready.prepare(mine.video_id))
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert list(ready.prepare(mine.video_id)) == []
    found = ready.timeline(mine.video_id, "phantom_phase", "phantom_triplet", 5.0)
    same = ready.timeline(known.video_id, "phantom_phase", "phantom_triplet", 5.0)
    assert (found.predicted == same.predicted).mean() >= 0.9
    assert found.ground_truth is None
    assert found.triplets[0].ground_truth == []
    assert ready.alike(mine.video_id, 7.3, 3)[0].score > 0.99
    assert ready.timeline_file(mine.video_id, "phantom_phase", "phantom_triplet", 5.0, "vtt").name == "mine.vtt"


def test_examples_are_questions_the_model_knows_and_sentences_of_the_data(ready: engine.Engine) -> None:
    examples = ready.examples()
    assert examples[-1] == "What is happening in this clip?"
    assert len(set(examples)) == len(examples) <= engine.NUM_EXAMPLES
    assert len(ready.sentences()) == engine.NUM_EXAMPLES


def test_examples_need_no_model(tiny_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They stand on the page from the beginning: chips that come later would push an answer down."""
    cold = engine.Engine(tiny_run)
    monkeypatch.setattr(cold.models, "start", lambda: pytest.fail("a model is loaded"))
    examples = cold.examples()
    cold.close()
    known = json.loads((tiny_run / "tune" / "model" / "answers.json").read_text())["questions"]
    assert set(examples[:-1]) <= set(known)
    assert examples[0] in known


def test_an_archive_without_labels_has_examples(ready: engine.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = Manifest([row.model_copy(update={"split": ""}) for row in ready.manifest.videos])
    monkeypatch.setattr(ready, "manifest", bare)
    assert len(ready.sentences()) == engine.NUM_EXAMPLES


def test_the_page_about_the_model_reads_the_run(ready: engine.Engine) -> None:
    found = ready.model_card()
    assert {split: count for split, (count, _) in found.splits.items()} == {"train": 2, "val": 1, "test": 1}
    assert found.splits["train"][1] == pytest.approx(40 / 3600)
    assert [stage.name for stage in found.stages] == ["Video encoder", "Shared space", "Question answering"]
    for stage in found.stages:
        assert {"videos", "steps", "parameters", "device", "commit", "date"} <= set(stage.facts)
    assert found.stages[1].facts["steps"] == "2"
    # The size of each of three stages, and how much of it two of them trained.
    assert Parsed(model_card.model_card(found)).text.count("million") == 3 + 2


# ---- what goes wrong at the start


def test_a_missing_run_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"does not exist: make it with `surgvl quickstart --out .*absent`"):
        demo.demo(tmp_path / "absent")
    with pytest.raises(ConfigError, match="lacks vectors, index, manifest"):
        demo.demo(tmp_path)


def test_a_missing_extra_says_what_to_install(tiny_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"gradio, which is not installed: run pip install 'surgvl\[demo\]'"):
        demo.demo(tiny_run)
    with pytest.raises(ConfigError, match=r"faiss, which is not installed"):
        engine.Engine(tiny_run)


def test_a_port_that_is_taken_is_one_line(tiny_run: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"cannot listen on 127.0.0.1:{port} .*give another --port"):
            demo.demo(tiny_run, port=port)
    with pytest.raises(ConfigError, match="--port must be 1 to 65535, got 99999"):
        demo.demo(tiny_run, port=99999)


def test_a_page_stopped_while_it_starts_leaves_no_folder(tiny_run: Path, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "surgvl", "demo", "--run", str(tiny_run), "--port", str(free_port())]
    server = subprocess.Popen(argv, env={**os.environ, "TMPDIR": str(tmp_path)}, stdout=subprocess.DEVNULL)
    try:
        # The folder is there long before the page is: Gradio takes seconds to import.
        until = time.monotonic() + 600
        while not list(tmp_path.glob("surgvl-demo-*")):
            assert server.poll() is None
            assert time.monotonic() < until
            time.sleep(0.005)
        server.send_signal(signal.SIGTERM)
        assert server.wait(300) == 0
    finally:
        server.kill()
        server.wait()
    assert not list(tmp_path.glob("surgvl-demo-*"))


def test_vectors_of_a_published_model_need_no_training(tiny_run: Path, tmp_path: Path) -> None:
    """Manifest, vectors and index of a model that lies elsewhere: moments and timelines, and nothing to ask."""
    run, published = tmp_path / "run", tmp_path / "published"
    shutil.copytree(tiny_run / "align" / "model", published)
    (published / "model_card.json").write_text('{"name": "some-model", "licence": "MIT"}')
    for part in ("vectors", "index"):
        shutil.copytree(tiny_run / part, run / part)
    (run / "vectors" / "manifest").symlink_to(tiny_run / "manifest")
    head = json.loads((run / "index" / "index.json").read_text())
    (run / "index" / "index.json").write_text(json.dumps({**head, "model": str(published)}))
    found = engine.Engine(run)
    try:
        found.wait()
        assert not found.models.has_answerer
        assert found.search("the hook dissects", 2)
        assert found.timeline(found.catalog.videos[0].video_id, "phantom_phase", "phantom_triplet").triplets
        assert found.model_card().stages[-1].facts == {"name": "some-model", "licence": "MIT"}
    finally:
        found.close()


def test_a_broken_model_is_said_and_the_rest_goes_on(tiny_run: Path, tmp_path: Path) -> None:
    for part in tiny_run.iterdir():
        if part.name != "tune":
            (tmp_path / part.name).symlink_to(part)
    (tmp_path / "tune").mkdir()
    broken = engine.Engine(tmp_path)
    try:
        with pytest.raises(CheckpointError, match=r"holds no config\.json"):
            broken.wait()
        with pytest.raises(SurgVLError):
            broken.ask(broken.catalog.videos[0].video_id, 1.0, "What?")
        assert broken.timeline(broken.catalog.videos[0].video_id, "phantom_phase", "phantom_triplet").triplets
        assert broken.is_ready
        assert broken.search("the hook dissects", 2)
    finally:
        broken.close()
