"""Archives of runs: nothing is embedded again, and what the run knows is kept."""

import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from surgvl.archive.archive import Archive
from surgvl.core.errors import ConfigError
from surgvl.data.manifest import Manifest, Segment
from surgvl.embed.vectors import Vectors
from surgvl.retrieval.clip_index import ClipIndex
from surgvl.retrieval.index_config import IndexConfig
from tests.archive.test_adding import check_whole


def test_a_run_becomes_an_archive(tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("surgvl.embed.embedder.local_embedder", None)
    manifest, vectors = Manifest.load(tiny_run / "manifest"), Vectors.load(tiny_run / "vectors")
    with Archive.from_run(tiny_run, tmp_path / "archive") as archive:
        assert [each.id for each in archive.recordings()] == manifest.video_ids()
        embedded = {each.id for each in archive.recordings() if each.state == "embedded"}
        assert embedded == set(vectors.video_ids)
        assert {each.state for each in archive.recordings()} <= {"embedded", "waiting"}
        check_whole(archive)
        for id in embedded:
            rows = [at for at, name in enumerate(vectors.video_ids) if name == id]
            assert np.array_equal(archive.vectors_of(id)[0], vectors.vectors[rows])
        assert archive.model_hash == vectors.meta.model_hash
        assert Path(archive.model).is_dir()
        assert Path(archive.chat) == (tiny_run / "tune").resolve()
        mine = archive.manifest()
        assert sorted(map(repr, mine.segments)) == sorted(map(repr, manifest.segments))
        assert mine.qa == manifest.qa
        assert {label.who for label in archive.catalogue.labels()} == {"data set"}
        first = manifest.videos[0]
        assert archive.recording(first.video_id).details.procedure == first.procedure
        # The questions of a recording go with it.
        archive.remove([first.video_id])
        kept = [row for row in manifest.qa if row.video_id != first.video_id]
        assert archive.manifest().qa == Manifest.load(tmp_path / "archive/manifest").qa == kept
    assert len(Vectors.load(tiny_run / "vectors").vectors) == len(vectors.vectors)
    with pytest.raises(ConfigError, match="is an archive already"):
        Archive.from_run(tiny_run, tmp_path / "archive")


def test_recordings_that_were_embedded_by_hand(tiny_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "mine"
    shutil.copytree(tiny_run / "vectors", run / "vectors")
    manifest = Manifest.load(tiny_run / "manifest")
    first = manifest.videos[0].video_id
    # Two grasps at once, which differ in their boxes alone.
    grasp = partial(Segment, video_id=first, start_s=1, end_s=2, task="instrument_box", label="grasper")
    boxes = [grasp(xywh=each) for each in ("0.1,0.2,0.3,0.4", "0.5,0.2,0.25,0.125")]
    Manifest(manifest.videos, [*manifest.segments, *boxes], manifest.qa, manifest.root).save(run / "vectors/manifest")
    meta = Vectors.load(run / "vectors").meta
    # An index on a server, which an archive does not share.
    far = IndexConfig(backend="milvus", address="http://localhost:1")
    ClipIndex.create(run / "index", meta.model, meta.model_hash, meta.dim, config=far)
    with Archive.from_run(run, tmp_path / "archive", name="ward") as archive:
        assert archive.name == "ward"
        assert [each for each in archive.manifest().segments if each.xywh] == boxes
        assert archive.index().config.backend == "auto"
        assert len(archive.index()) > 0
        assert archive.chat == ""
        check_whole(archive)
