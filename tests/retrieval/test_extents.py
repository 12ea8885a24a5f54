"""Extents of moments at any number of them, digits of scores, and the line where a query separates nothing."""

from pathlib import Path

import numpy as np
import pytest

from surgvl.commands.index import index
from surgvl.commands.search import search
from surgvl.core.errors import ConfigError, DataError
from surgvl.retrieval.clip_index import ClipIndex
from surgvl.retrieval.moments import looks_like_a_file, merge_high, score_texts
from surgvl.retrieval.reference import Reference
from surgvl.retrieval.where import Where
from tests.helpers.made_vectors import DIM, clips, unit


def test_extents_are_the_same_at_any_number(tmp_path: Path) -> None:
    vectors, manifest = clips(tmp_path / "vectors", {"a": 120, "b": 90, "c": 61})
    # As in real video, neighbouring clips are alike.
    for name in "abc":
        rows = np.flatnonzero(np.array(vectors.video_ids) == name)
        vectors.vectors[rows] = np.cumsum(vectors.vectors[rows], axis=0) / np.arange(1, len(rows) + 1)[:, None] ** 0.5
    with ClipIndex.create(tmp_path / "index", "dual", "hash-a", DIM) as library:
        library.add_vectors(vectors, manifest)
        for query in unit(np.random.default_rng(1), 10, DIM):
            every = library.search(query, 1000)
            assert len(every) > 8
            assert len({moment.end_s - moment.start_s for moment in every}) > 1
            for k in (1, 2, 5, 6, 8):
                assert library.search(query, k) == every[:k]
            # One recording's moments do not depend on what else is searched.
            mine = [moment for moment in every if moment.video_id == "b"]
            assert library.search(query, len(mine), Where(recordings=("b",))) == mine


def test_a_moment_reaches_as_far_as_half_the_height_of_its_recording() -> None:
    # Seconds 0 to 19 of a recording with a peak of 0.9 at 10 on a ground of 0.1; halfway is 0.5.
    height = {8: 0.3, 9: 0.6, 10: 0.9, 11: 0.7, 12: 0.5, 13: 0.4}
    scores = np.array([height.get(second, 0.1) for second in range(20)])
    order = np.argsort(-scores, kind="stable")
    for wanted in (1, 4, 20):
        begins = np.arange(20) < wanted
        found = merge_high(["a"] * 20, order, order + 1.0, scores[order], begins)
        assert (found.start_s[0], found.end_s[0], order[found.best[0]]) == (9.0, 13.0, 10)
    assert merge_high([], [], [], [], []).best.tolist() == []


@pytest.mark.parametrize(
    ("scores", "least", "want"),
    [
        ([0.9, 0.8], 3, ["0.900", "0.800"]),
        ([0.99951, 0.99949], 3, ["1.000", "0.999"]),
        ([0.99998, 0.99996, 0.99996], 3, ["0.99998", "0.99996", "0.99996"]),
        ([1.0, 0.999999], 2, ["1.000000", "0.999999"]),
        ([0.7, 0.7], 2, ["0.70", "0.70"]),
        ([0.704, 0.701], 2, ["0.704", "0.701"]),
        ([], 3, []),
    ],
)
def test_scores_have_the_digits_that_tell_them_apart(scores: list[float], least: int, want: list[str]) -> None:
    assert score_texts(scores, least) == want


def made_reference(length: float = 1.0) -> tuple[Reference, np.ndarray]:
    """40 clips of each of 5 recordings, each recording around a direction of its own; one axis none of them has."""
    rng = np.random.default_rng(3)
    rows = np.repeat(np.eye(DIM)[:5] * 2, 40, axis=0) + 0.3 * rng.normal(size=(200, DIM))
    rows[:, -1] = length
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return Reference.of(rows.astype(np.float32), [f"video{at // 40}" for at in range(200)]), rows


def test_a_query_that_separates_nothing_is_told() -> None:
    reference, rows = made_reference()
    # By hand: the pairs' spread, without the diagonal.
    pairs = (rows @ rows.T)[np.triu_indices(200, 1)]
    assert reference.spread == pytest.approx(pairs.std(), abs=1e-4)
    assert reference.remark(rows[0].astype(np.float32)) == ""
    # All clips have the same share of the last axis: a query along it is as like one as like another.
    remark = reference.remark(np.eye(DIM, dtype=np.float32)[-1])
    assert "hardly separates" in remark
    assert f"{pairs.std():.4f}" in remark
    assert "\n" not in remark


def test_clips_that_are_all_the_same_are_told() -> None:
    reference, rows = made_reference(length=5000.0)
    assert "hardly separates" in reference.remark(rows[0].astype(np.float32))


def test_a_foreign_clip_is_told() -> None:
    reference, rows = made_reference()
    # Leave one recording out, by hand: a twentieth of the clips has no nearer one.
    nearest = [max(float(rows[at] @ rows[j]) for j in range(200) if j // 40 != at // 40) for at in range(200)]
    assert reference.near == pytest.approx(np.quantile(nearest, 0.05), abs=1e-5)
    apart = -np.eye(DIM, dtype=np.float32)[0]
    assert "unlike the recordings" in reference.remark(apart, is_foreign_clip=True)
    assert "unlike" not in reference.remark(apart)
    assert reference.remark(rows[50].astype(np.float32), is_foreign_clip=True) == ""


def test_few_clips_or_one_recording_say_nothing() -> None:
    rows = unit(np.random.default_rng(0), 60, DIM)
    assert Reference.of(rows[:5], ["a", "b", "a", "b", "c"]).remark(rows[0], is_foreign_clip=True) == ""
    assert "unlike" not in Reference.of(rows, ["a"] * 60).remark(unit(np.random.default_rng(1), 1, DIM)[0], True)
    assert Reference.of(rows[:0], []).remark(rows[0]) == ""


def test_the_command_prints_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vectors, manifest = clips(tmp_path / "vectors", {"a": 31, "b": 30})
    manifest.save(tmp_path / "manifest")
    out = tmp_path / "an index"
    index(out, tmp_path / "vectors", tmp_path / "manifest")
    assert f"--index '{out}'" in capsys.readouterr().out
    assert search(index=out, like=["a@0:12.5"], k=1).remark == ""
    text = capsys.readouterr().out
    assert "\n1 moment among 57 clips of 2 videos\n" in text
    assert "hardly separates" not in text
    for row in range(len(vectors.vectors)):
        vectors.vectors[row] = np.eye(DIM)[0] + 1e-4 * vectors.vectors[row]
    with ClipIndex.open(out) as library:
        library.add_vectors(vectors, manifest)
    found = search(index=out, like=["a@0:00:12.5"], k=3)
    text = capsys.readouterr().out
    assert found.remark in text.splitlines()
    assert "hardly separates" in found.remark


def test_times_of_like_as_they_are_printed(tmp_path: Path) -> None:
    _, manifest = clips(tmp_path / "vectors", {"a": 30, "b": 31})
    manifest.save(tmp_path / "manifest")
    index(tmp_path / "index", tmp_path / "vectors", tmp_path / "manifest")
    want = search(index=tmp_path / "index", like=["a@12.5"])
    for time in ("0:12.5", "00:12.5", "0:00:12.5"):
        assert search(index=tmp_path / "index", like=[f"a@{time}"]) == want
    for time in ("1:2", "-3", "", "x", "0:75"):
        with pytest.raises(ConfigError, match=r"--like 'a@.*not a time in a video: write seconds"):
            search(index=tmp_path / "index", like=[f"a@{time}"])


@pytest.mark.parametrize(
    ("query", "want"),
    [
        ("clip9.mp4", True), ("my films/case 1.MOV", True), ("/films/one", True), ("./one", True), ("../one", True),
        ("~/one", True), ("a.ts", True), ("a.webm", True),
        ("the hook dissects the gallbladder", False), ("clipping/cutting", False), ("bleeding.", False),
        ("phase no. 5", False), ("at 0.5 cm", False), ("is it so...", False), ("", False),
    ],
)  # fmt: skip
def test_file_names_are_no_sentences(query: str, want: bool) -> None:
    assert looks_like_a_file(query) == want


def test_a_file_name_for_a_sentence_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'clip9\.mp4' is a file, not a sentence.*--like clip9\.mp4@TIME"):
        search("clip9.mp4", index=tmp_path)
    with pytest.raises(ConfigError, match="give a sentence, --like VIDEO@TIME or --image FILE"):
        search("  ", index=tmp_path)
    _, manifest = clips(tmp_path / "vectors", {"a": 30})
    manifest.save(tmp_path / "manifest")
    index(tmp_path / "index", tmp_path / "vectors", tmp_path / "manifest")
    with pytest.raises(DataError, match="neither a video of .* nor a file"):
        search(index=tmp_path / "index", like=[f"{'long ' * 100}@3"])
