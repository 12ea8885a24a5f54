"""The commands `index` and `search`."""

import csv
import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from surgvl.commands.index import index
from surgvl.commands.search import search
from surgvl.core.errors import ConfigError, DataError
from surgvl.retrieval import auto
from surgvl.retrieval.clip_index import ClipIndex
from surgvl.retrieval.where import Where
from tests.helpers.made_archive import empty_archive, film
from tests.helpers.made_vectors import clips


@pytest.mark.slow
def test_index_and_search_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vectors, manifest = clips(tmp_path / "vectors", {"a": 30, "b": 31})
    manifest.save(tmp_path / "manifest")
    out = tmp_path / "index"
    index(out, tmp_path / "vectors", tmp_path / "manifest")
    assert "57 vectors added (online or offline: not recorded), 57 of 2 videos" in capsys.readouterr().out
    assert json.loads((out / "run.json").read_text())["pretraining_video_ids"] == ["seen"]
    found = search(index=out, like=["a@12.5"], k=3)
    text = capsys.readouterr().out
    assert len(found) == 3
    assert [line.split()[2:4] for line in text.splitlines()[1:4]] == [[each.word, each.video_id] for each in found]
    assert text.splitlines()[0].split() == ["score", "video", "from", "to", "procedure", "source"]
    # The moment itself is not its own answer.
    assert all(m.video_id != "a" or m.end_s <= 10.5 or m.start_s >= 14.5 for m in found)
    assert {moment.video_id for moment in search(index=out, like=["a@12.5"], video="b")} == {"b"}
    with pytest.raises(ConfigError, match="not empty"):
        index(out, tmp_path / "vectors", tmp_path / "manifest")
    index(out, tmp_path / "vectors", tmp_path / "manifest", resume=True)
    index(out, delete="a")
    assert "28 vectors of a deleted, 29 left" in capsys.readouterr().out


@pytest.mark.slow
def test_search_by_sentence_and_by_foreign_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from surgvl import api

    vectors, manifest = clips(tmp_path / "vectors", {"a": 30, "b": 31})
    manifest.save(tmp_path / "manifest")
    index(tmp_path / "index", tmp_path / "vectors", tmp_path / "manifest")

    times = []

    class Told(api.DualModel):
        """Answers with stored vectors, so that the right moment is known."""

        def __init__(self, model_hash: str) -> None:
            self.folder, self.told = tmp_path, model_hash

        @property
        def hash(self) -> str:
            return self.told

        def encode_text(self, sentences: Any) -> Any:
            return vectors.vectors[[{"the eleventh second": 10}[name] for name in sentences]]

        def encode_video(self, source: Any, at_s: float | None = None) -> Any:
            times.append(at_s)
            return vectors.vectors[[int(at_s or 0)]]

    with pytest.raises(DataError, match="made with model dual, which does not exist: give its new folder as --model"):
        search("the eleventh second", index=tmp_path / "index")
    monkeypatch.setattr(api, "load", lambda folder, device: Told("hash-a"))
    found = search("the eleventh second", index=tmp_path / "index", k=1, model=tmp_path)[0]
    assert (found.video_id, round(found.score, 3)) == ("a", 1.0)
    assert found.start_s <= 10.5 <= found.end_s
    (tmp_path / "own@home.mp4").write_bytes(b"")
    best = search(index=tmp_path / "index", like=[f"{tmp_path}/own@home.mp4@20.5"], k=1, model=tmp_path)[0]
    assert best.start_s <= 20.5 <= best.end_s
    times.clear()
    search(index=tmp_path / "index", like=[f"{tmp_path}/own@home.mp4@10-12.4"], k=1, model=tmp_path)
    # No moment lies beyond the range, which may be the whole file.
    assert times == [10.5, 11.5]
    monkeypatch.setattr(api, "load", lambda folder, device: Told("hash-b"))
    with pytest.raises(DataError, match="cannot be compared"):
        search("the eleventh second", index=tmp_path / "index", model=tmp_path)


def test_an_index_of_a_servers_vectors_names_the_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, manifest = clips(tmp_path / "vectors", {"a": 30})
    manifest.save(tmp_path / "manifest")
    meta = tmp_path / "vectors" / "vectors.json"
    meta.write_text(meta.read_text().replace('"dual"', '"http://there:8000"'))
    index(tmp_path / "index", tmp_path / "vectors", tmp_path / "manifest")
    assert capsys.readouterr().out.strip().endswith(" --server http://there:8000")
    with pytest.raises(DataError, match="behind http://there:8000: give it as --server"):
        search("the eleventh second", index=tmp_path / "index")


def test_results_are_words_and_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, manifest = clips(tmp_path / "vectors", {"a": 40, "b": 40, "c": 40})
    manifest.save(tmp_path / "manifest")
    index(tmp_path / "index", tmp_path / "vectors", tmp_path / "manifest")
    asked: Any = {"index": tmp_path / "index", "like": ["a@10-14", "b@20"], "k": 8}
    found = search(**asked, out=tmp_path / "hits.csv")
    assert "the best score is as high as that of one in" in capsys.readouterr().out
    with (tmp_path / "hits.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["video_id"] for row in rows] == [each.video_id for each in found]
    assert [float(row["score"]) for row in rows] == pytest.approx([each.score for each in found], abs=1e-6)
    assert {row["word"] for row in rows} <= {"weak", "maybe", "strong"}
    assert [int(row["one_in"]) for row in rows] == sorted((each.odds for each in found), reverse=True)
    # What resembles them is not what was given.
    given = {"a": (10, 14), "b": (20, 20)}
    for row in rows:
        start_s, end_s = given.get(row["video_id"], (-9, -9))
        assert float(row["end_s"]) <= start_s + 2 or float(row["start_s"]) >= end_s - 2
    likely = search(**asked, least="maybe", out=tmp_path / "hits.json")
    assert [each.word for each in likely] == [each.word for each in found if each.word != "weak"]
    assert len(json.loads((tmp_path / "hits.json").read_text())) == len(likely)
    one = search(**asked, where=Where(recordings=("c",), span_s=(0, 20)))
    assert {each.video_id for each in one} == {"c"}
    # A clip lies in a span if its middle does, and moments take in their neighbours.
    assert all(each.start_s < 20 for each in one)


@pytest.mark.slow
def test_an_archive_is_searched_by_its_case_details(tmp_path: Path) -> None:
    with empty_archive(tmp_path / "archive") as archive:
        report = archive.add([film(tmp_path / f"{name}.mp4", at, 2 + at) for at, name in enumerate("abc", 1)])
        assert report.added == ("a", "b", "c"), report
        archive.catalogue.set_details("b", who="me", tags=("teaching",))
        archive.catalogue.add_label("c", "phase", "clipping", 2.0, 4.0, "me")
    asked: Any = {"archive": tmp_path / "archive", "like": ["a@0.5"]}
    assert {each.video_id for each in search(**asked)} == {"a", "b", "c"}
    assert {each.video_id for each in search(**asked, where=Where(tags=("teaching",)))} == {"b"}
    (found,) = search(**asked, where=Where(phase="clipping"))
    assert found.video_id == "c"


def test_commands_refuse(tmp_path: Path) -> None:
    vectors, manifest = clips(tmp_path / "vectors", {"a": 10})
    manifest.save(tmp_path / "manifest")
    out = tmp_path / "index"
    index(out, tmp_path / "vectors", tmp_path / "manifest")
    cases: list[tuple[Callable[[], Any], str]] = [
        (lambda: index(out), "give --vectors and --manifest, or --delete"),
        (lambda: index(out, tmp_path, delete="a"), "delete first"),
        (lambda: search(index=out), "give a sentence, --like VIDEO@TIME or --image FILE"),
        (lambda: search("a"), "give either --index, an index folder, or --archive"),
        (lambda: search("a", index=out, archive=out), "give either --index, an index folder, or --archive"),
        (lambda: search(index=out, like=["a@9-3"]), "ends before it starts"),
        (lambda: search(index=out, like=["a@1"], out=tmp_path / "hits.xlsx"), r"must end in \.csv or \.json"),
        (lambda: search(index=out, like=["a"]), "must be VIDEO@TIME or VIDEO@START-END, such as"),
        (lambda: search(index=out, like=["a@-3"]), "not a time in a video"),
    ]
    for call, message in cases:
        with pytest.raises(ConfigError, match=message):
            call()
    with pytest.raises(DataError, match="neither a video of .* nor a file"):
        search(index=out, like=["zz@1"])
    with pytest.raises(DataError, match="not an index folder"):
        search("a sentence", index=tmp_path / "nowhere")


def test_index_shows_how_far_it_is_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, manifest = clips(tmp_path / "vectors", {"a": 30, "b": 31})
    manifest.save(tmp_path / "manifest")

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    index(tmp_path / "index", tmp_path / "vectors", tmp_path / "manifest")
    # Done and all, elapsed and remaining time, rate.
    assert re.search(r"index: .*/61 \[\d\d:\d\d<\S+, +\S+vector/s\]", terminal.getvalue())


def test_progress_counts_each_vector_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, manifest = clips(tmp_path / "vectors", {"a": 30, "b": 31})
    monkeypatch.setattr(auto, "AT_ONCE", 10)
    added: list[int] = []
    with ClipIndex.create(tmp_path / "index", "dual", "hash-a", vectors.meta.dim) as made:
        assert made.add_vectors(vectors, manifest, added.append) == len(made) == 57
        assert made.counts("video_id") == {"a": 28, "b": 29}
        assert added == [10, 10, 10, 10, 10, 7]
        # What was there before does not count.
        added.clear()
        made.add_vectors(*clips(tmp_path / "more", {"c": 14}, seed=2), added.append)
        assert sum(added) == 12
