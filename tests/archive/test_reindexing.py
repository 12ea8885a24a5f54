"""An archive is embedded with another model, or its index is built again."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from surgvl.archive.archive import Archive
from surgvl.archive.space import Space
from surgvl.core.errors import ConfigError
from surgvl.embed import embedder as embedders
from surgvl.embed.embedder import Embedder
from surgvl.retrieval.clip_index import ClipIndex
from tests.archive.test_adding import check_whole
from tests.helpers.made_archive import DIM, archive_of_films, opened, plain_embedder, vectors_of


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with opened(archive_of_films(tmp_path, 3, 4) / "archive") as found:
        yield found


def other_embedder(*_: object) -> Embedder:
    """The plain model's vectors, backwards."""
    plain = plain_embedder()

    def seconds(path: Path, tick: object) -> object:
        found, starts, ends = plain.seconds(path, tick)  # type: ignore[arg-type]
        return found[:, ::-1], starts, ends

    return replace(plain, hash="fedcba9876543210", seconds=seconds)  # type: ignore[arg-type]


@pytest.mark.slow
def test_another_model_is_used_once_all_is_embedded(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(embedders, "local_embedder", other_embedder)
    old, asked = archive.space.folder, [0]

    def should_stop() -> bool:
        asked[0] += 1
        return asked[0] > 6

    assert archive.reindex("other", should_stop=should_stop).stopped
    assert archive.space.folder == old
    check_whole(archive)
    reader = opened(archive.folder)
    report = archive.reindex("other")
    assert report.updated == ("a", "b")
    assert (archive.model, archive.model_hash) == ("other", "fedcba9876543210")
    assert not old.exists()
    expected = vectors_of(tmp_path / "films/b.mp4", 4)[:, ::-1]
    for each in (archive, reader):
        assert np.abs(each.vectors_of("b")[0] - expected).max() < 1e-3
        assert each.index().model_hash == "fedcba9876543210"
        check_whole(each)
    # The same model again: its sentences are embedded anew, and its index is built again.
    archive.reindex(prompt_sets=["cholec80_phase"])
    assert archive.prompt_sets("phase") == ["cholec80_phase"]
    texts = archive.texts()
    assert texts is not None
    assert set(texts.prompt_sets) == {"cholec80_phase"}
    assert texts.vectors.shape[1] == DIM
    check_whole(archive)
    reader.close()


@pytest.mark.slow
def test_readers_keep_the_index_while_it_is_built_again(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedders, "local_embedder", lambda *_: plain_embedder())
    add, seen = ClipIndex.add_vectors, list[dict[str, int]]()

    def add_vectors(index: ClipIndex, *given: Any) -> int:
        seen.append(ClipIndex.open(index.folder).counts("video_id"))
        return add(index, *given)

    monkeypatch.setattr(ClipIndex, "add_vectors", add_vectors)
    archive.reindex()
    assert seen == [{"a": 3, "b": 4}]
    check_whole(archive)


@pytest.mark.slow
def test_vectors_of_a_file_that_cannot_be_read_any_more_outlast_another_model(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with (tmp_path / "films/a.mp4").open("ab") as file:
        file.write(b"bad")
    monkeypatch.setattr(embedders, "local_embedder", other_embedder)
    assert list(archive.reindex("other").aside) == [str((tmp_path / "films/a.mp4").resolve())]
    assert archive.index().counts("video_id") == {"b": 4}
    monkeypatch.setattr(embedders, "local_embedder", lambda *_: plain_embedder())
    assert archive.reindex("plain").aside == {}
    assert archive.index().counts("video_id") == {"a": 3, "b": 4}


@pytest.mark.slow
def test_another_model_of_the_same_step_is_wanted(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = plain_embedder()
    slower = replace(plain, preprocess=plain.preprocess.every(2.0))
    monkeypatch.setattr(embedders, "local_embedder", lambda *_: slower)
    with pytest.raises(ConfigError, match="the vectors of this model are 1 s apart, --stride_s is 2"):
        archive.reindex(stride_s=2.0)
    assert Space(archive.space.folder).index().counts("video_id") == {"a": 3, "b": 4}
