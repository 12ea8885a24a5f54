"""Processes that write one index folder, and read it, at the same time."""

import subprocess
import sys
from pathlib import Path

import pytest

from surgvl.commands.index import index
from surgvl.core.errors import ConfigError
from surgvl.core.locks import locked
from surgvl.retrieval import folder
from surgvl.retrieval.clip_index import ClipIndex
from tests.helpers.made_vectors import clips

# Adds a video and takes it out again, time after time, and ends with it in the index.
WRITE = """
import sys
from pathlib import Path
from surgvl.commands.index import index
out, vectors, video, turns = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
for turn in range(turns):
    index(out, vectors, vectors / "manifest", resume=True)
    if turn < turns - 1:
        index(out, delete=video)
"""
# Opens again and again until told to end; each version must have all clips of the videos that it has.
READ = """
import sys
from pathlib import Path
from surgvl.retrieval.clip_index import ClipIndex
opened, stop, length = 0, Path(sys.argv[2]), int(sys.argv[3])
while not stop.exists() or not opened:
    with ClipIndex.open(sys.argv[1]) as library:
        counts = library.counts("video_id")
        assert set(counts.values()) <= {length}, counts
        assert len(library) == sum(counts.values()), counts
        opened += 1
print(opened)
"""


def start(script: str, *words: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", script, *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: "subprocess.Popen[str]") -> str:
    out, err = process.communicate()
    assert process.returncode == 0, err
    return out


@pytest.mark.slow
def test_writers_lose_nothing_and_readers_see_whole_versions(tmp_path: Path) -> None:
    for at, name in enumerate("abc"):
        clips(tmp_path / name, {name: 42}, seed=at)[1].save(tmp_path / name / "manifest")
    # The first adds into a new folder race, too.
    writers = [start(WRITE, tmp_path / "index", tmp_path / name, name, 5) for name in "ab"]
    index(tmp_path / "index", tmp_path / "c", tmp_path / "c" / "manifest", resume=True)
    reader = start(READ, tmp_path / "index", tmp_path / "stop", 40)
    for writer in writers:
        finish(writer)
    (tmp_path / "stop").touch()
    assert int(finish(reader)) > 0
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
