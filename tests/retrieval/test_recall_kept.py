"""Recall is measured wherever an index is built, by the sentences of the first build, and stays until the next."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from surgvl.commands.index import index as index_command
from surgvl.embed.vectors import Texts
from surgvl.retrieval import draft
from surgvl.retrieval.clip_index import ClipIndex
from surgvl.retrieval.faiss_ivf import FaissIvf
from surgvl.retrieval.folder import read_header
from surgvl.retrieval.index_config import IndexConfig
from tests.helpers.made_vectors import DIM, clips, unit

CONFIG = IndexConfig(backend="ivf", recall=0.3)


def measured(library: ClipIndex, texts: Any) -> float:
    """Recall@10 of the base for sentences, from outside: among the vectors that it stores."""
    base = library.version.index.layers[0]
    rows = base.vectors_of(base.ids)
    found = base.search(texts, 10)[1]
    want = [set(base.ids[np.argsort(-(rows @ text), kind="stable")[:10]].tolist()) for text in texts]
    return float(np.mean([len(set(mine) & best) / 10 for mine, best in zip(found.tolist(), want, strict=True)]))


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[ClipIndex, Any]:
    """An index of lists, with a base and deltas, and the sentences it was built with."""
    monkeypatch.setattr(draft, "SMALL", 100)
    monkeypatch.setattr(FaissIvf, "_scan_limit", lambda self, k: 10)
    vectors, manifest = clips(tmp_path / "one", {f"v{at}": 202 for at in range(12)})
    texts = unit(np.random.default_rng(7), 60, DIM)
    vectors = replace(vectors, texts=Texts(texts, ["set"] * 60, list(range(60)), ["name"] * 60, ["sentence"] * 60))
    library = ClipIndex.create(tmp_path / "index", "dual", "hash-a", DIM, config=CONFIG)
    library.add_vectors(vectors, manifest)
    return library, texts


def check(library: ClipIndex, texts: Any) -> None:
    head = read_header(library.folder)
    assert head.recall["text"] == pytest.approx(measured(ClipIndex.open(library.folder), texts), abs=0.02)
    assert head.why.count("; recall@10 ") == 1
    assert f"{head.recall['text']:.3f} for text queries" in library.why == head.why


@pytest.mark.slow
def test_a_fold_of_the_delta_keeps_it(made: tuple[ClipIndex, Any], tmp_path: Path) -> None:
    library, texts = made
    check(library, texts)
    first = read_header(library.folder)
    library.add_vectors(*clips(tmp_path / "two", {"w": 62}, seed=1))
    beside = read_header(library.folder)
    assert (beside.base, beside.recall) == (first.base, first.recall)
    library.add_vectors(*clips(tmp_path / "three", {"x": 202}, seed=2))
    after = read_header(library.folder)
    assert after.delta is None
    assert after.base is not None
    assert first.base is not None
    assert (after.base.count, after.base.trained) == (first.base.count + 260, first.base.count)
    assert (after.recall, after.why) == (first.recall, first.why)


@pytest.mark.slow
def test_after_a_removal_that_builds_anew(made: tuple[ClipIndex, Any], capsys: pytest.CaptureFixture[str]) -> None:
    library, texts = made
    library.delete_video("v0")
    assert read_header(library.folder).num_removed == 200
    index_command(library.folder, delete="v1")
    assert "400 removed vectors and their times stay on disk" in capsys.readouterr().out
    for name in ("v2", "v3"):
        index_command(library.folder, delete=name)
    text = capsys.readouterr().out
    assert "600 removed vectors" in text
    assert "800 removed" not in text
    head = read_header(library.folder)
    assert head.base is not None
    assert (head.num_removed, head.base.count) == (0, 1600)
    check(ClipIndex.open(library.folder), texts)


@pytest.mark.slow
def test_after_a_rebuild(made: tuple[ClipIndex, Any]) -> None:
    library, texts = made
    library.rebuild(IndexConfig(backend="flat"))
    assert read_header(library.folder).recall == {}
    library.rebuild(IndexConfig(backend="ivf", recall=0.7))
    assert read_header(library.folder).recall["text"] >= 0.7
    check(library, texts)
    # One file of sentences, however often it was written.
    assert len(list(library.folder.glob("texts-*.npy"))) == 1
