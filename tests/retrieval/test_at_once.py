"""Processes that write one index folder, and read it, at the same time."""

from functools import partial
from pathlib import Path

import faiss
import pytest

from surgvl.commands.index import index
from surgvl.core.errors import ConfigError
from surgvl.core.locks import locked
from surgvl.retrieval import folder
from surgvl.retrieval.clip_index import ClipIndex
from tests.helpers.in_fork import begin, ended
from tests.helpers.made_vectors import clips


def write(out: Path, vectors: Path, video: str, turns: int) -> None:
    """Add a video and take it out again, time after time, and end with it in the index."""
    faiss.omp_set_num_threads(1)
    for turn in range(turns):
        index(out, vectors, vectors / "manifest", resume=True)
        if turn < turns - 1:
            index(out, delete=video)


def read(out: Path, stop: Path, length: int, opened: Path) -> None:
    """Open again and again until told to end; each version must have all clips of the videos that it has."""
    faiss.omp_set_num_threads(1)
    count = 0
    while not stop.exists() or not count:
        with ClipIndex.open(out) as library:
            counts = library.counts("video_id")
            assert set(counts.values()) <= {length}, counts
            assert len(library) == sum(counts.values()), counts
            count += 1
    opened.write_text(str(count))


@pytest.mark.slow
def test_writers_lose_nothing_and_readers_see_whole_versions(tmp_path: Path) -> None:
    for at, name in enumerate("abc"):
        clips(tmp_path / name, {name: 42}, seed=at)[1].save(tmp_path / name / "manifest")
    # The first adds into a new folder race, too.
    writers = [begin(partial(write, tmp_path / "index", tmp_path / name, name, 4)) for name in "ab"]
    index(tmp_path / "index", tmp_path / "c", tmp_path / "c" / "manifest", resume=True)
    reader = begin(partial(read, tmp_path / "index", tmp_path / "stop", 40, tmp_path / "opened"))
    assert [ended(writer) for writer in writers] == [0, 0]
    (tmp_path / "stop").touch()
    assert ended(reader) == 0
    assert int((tmp_path / "opened").read_text()) > 0
    with ClipIndex.open(tmp_path / "index") as library:
        assert library.counts("video_id") == {"a": 40, "b": 40, "c": 40}
        assert len(library) == 120
    assert len(list((tmp_path / "index").glob("*.faiss"))) == len(list((tmp_path / "index").glob("*.parquet"))) == 1


def test_a_writer_that_does_not_end_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, manifest = clips(tmp_path / "vectors", {"a": 20})
    manifest.save(tmp_path / "manifest")
    index(tmp_path / "index", tmp_path / "vectors", tmp_path / "manifest")
    monkeypatch.setattr(folder, "WAIT_S", 0.1)
    with locked(tmp_path / "index"), pytest.raises(ConfigError, match=r"is being written by .* \(process \d+ on "):
        index(tmp_path / "index", delete="a")
    with ClipIndex.open(tmp_path / "index") as library:
        assert library.counts("video_id") == {"a": 18}
