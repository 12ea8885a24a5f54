"""Extents of moments at any number of them, digits of scores, and the line where a query separates nothing."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from surgvl.commands.index import index
from surgvl.commands.search import search
from surgvl.core.errors import ConfigError, DataError
from surgvl.retrieval.clip_index import ClipIndex
from surgvl.retrieval.extents import Extents, find_extents
from surgvl.retrieval.moments import looks_like_a_file, score_texts
from surgvl.retrieval.reference import Reference
from surgvl.retrieval.where import Where
from tests.helpers.made_vectors import DIM, clips, unit


@pytest.mark.slow
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


def spans_of(found: Extents) -> list[tuple[float, float]]:
    return list(zip(found.start_s.tolist(), found.end_s.tolist(), strict=True))


def test_a_moment_is_as_long_as_its_peak_is_wide() -> None:
    # Seconds 0 to 29 of a recording on a ground of 0.1. A peak of 0.9 at 10 has its threshold at 0.7: second 9 is a dip
    # that second 8 makes up for, 13 is one that nothing does. A peak of 0.5 at 20 has it at 0.4.
    scores = np.full(30, 0.1)
    scores[7:15] = 0.6, 0.8, 0.65, 0.9, 0.75, 0.7, 0.5, 0.8
    scores[[16, 19, 20, 21]] = 0.2, 0.4, 0.5, 0.39
    order = np.random.default_rng(0).permutation(30)
    found = find_extents(["a"] * 30, order, order + 1.0, scores[order], gap_s=0.5)
    assert spans_of(found)[:4] == [(8, 13), (14, 15), (19, 21), (16, 17)]
    assert order[found.best].tolist()[:4] == [10, 14, 20, 16]
    for wanted in (1, 10):
        begins = np.isin(order, np.argsort(-scores)[:wanted])
        fewer = find_extents(["a"] * 30, order, order + 1.0, scores[order], begins, gap_s=0.5)
        assert fewer.best.tolist() == [at for at in found.best.tolist() if begins[at]]
    # Second 14 touches the first moment where clips a second apart do.
    assert spans_of(find_extents(["a"] * 30, order, order + 1.0, scores[order]))[:2] == [(8, 13), (19, 21)]
    assert find_extents([], [], [], []).best.tolist() == []
    with pytest.raises(DataError, match="one of each per clip"):
        find_extents(["a"], [0, 1], [1, 2], [0.5])


def test_no_moment_crosses_a_time_without_clips() -> None:
    starts = np.array([0, 1, 2, 10, 11, 12.5, 15, *range(20, 40)])
    scores = [0.9, 0.9, 0.9, 0.95, 0.9, 0.9, *[0.1] * 21]
    found = find_extents(["a"] * len(starts), starts, starts + 1, scores)
    assert spans_of(found) == [(10, 13.5), (0, 3), (15, 16), (20, 40)]


def plain(starts: list[float], ends: list[float], scores: list[float]) -> list[tuple[int, float, float]]:
    """The definition for one recording, over all spans around each peak; clips are in the order of time."""
    ground, free, found = float(np.median(scores)), set(range(len(scores))), []
    for peak in sorted(range(len(scores)), key=lambda at: (-scores[at], at)):
        if peak not in free:
            continue
        threshold = min(scores[peak], ground + 0.75 * (scores[peak] - ground))
        best = (-1.0, 0, peak, peak)
        for first in range(peak + 1):
            for last in range(peak, len(scores)):
                inside = range(first, last + 1)
                if free.issuperset(inside) and all(starts[at + 1] <= ends[at] + 1 for at in inside[:-1]):
                    gain = round(sum(scores[at] - threshold for at in inside), 9)
                    best = max(best, (gain, last - first, first, last))
        begin, done = starts[best[2]], max(ends[best[2] : best[3] + 1])
        free = {at for at in free if starts[at] > done + 1 or ends[at] < begin - 1}
        found.append((peak, begin, done))
    return found


@pytest.mark.parametrize("seed", range(20))
def test_moments_follow_the_definition_and_are_apart(seed: int) -> None:
    rng = np.random.default_rng(seed)
    num = int(rng.integers(1, 80))
    start = np.sort(rng.permutation(int(1.6 * num) + 1)[:num]).astype(float)
    end, videos = start + 0.75, rng.integers(0, 2, num)
    # A curve without ties.
    scores = np.cumsum(rng.normal(size=num)) / 10
    order = rng.permutation(num)
    found = find_extents(videos[order], start[order], end[order], scores[order])
    assert scores[order][found.best[0]] == scores.max()
    assert (np.diff(scores[order][found.best]) <= 0).all()
    for video in (0, 1):
        rows = np.flatnonzero(videos == video)
        want = plain(start[rows].tolist(), end[rows].tolist(), scores[rows].tolist()) if len(rows) else []
        mine = [at for at, best in enumerate(found.best.tolist()) if videos[order][best] == video]
        assert [spans_of(found)[at] for at in mine] == [span[1:] for span in want]
        spans = sorted(spans_of(found)[at] for at in mine)
        assert all(later[0] - earlier[1] > 1 for earlier, later in itertools.pairwise(spans))


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


@pytest.mark.slow
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


@pytest.mark.slow
def test_the_command_prints_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vectors, manifest = clips(tmp_path / "vectors", {"a": 31, "b": 30})
    manifest.save(tmp_path / "manifest")
    out = tmp_path / "an index"
    index(out, tmp_path / "vectors", tmp_path / "manifest")
    assert f"--index '{out}'" in capsys.readouterr().out
    assert search(index=out, like=["a@0:12.5"], k=1).remark == ""
    text = capsys.readouterr().out
    assert "\n1 moment among 57 clips of 2 videos\n" in text
    # Clips of b, and those of its first ten seconds: middles at 2.0, 2.5, ... as windows are pushed into the video.
    search(index=out, like=["a@0:12.5"], k=1, video="b")
    assert "\n1 moment among 28 clips of 1 video\n" in capsys.readouterr().out
    inside = sum(
        len({max(0.0, min(at + 0.5 - 2, num - 4)) + 2 for at in range(num)} & {2 + at / 2 for at in range(16)})
        for num in (31, 30)
    )
    search(index=out, like=["a@0:12.5"], k=1, where=Where(span_s=(0.0, 10.0)))
    assert f"\n1 moment among {inside} clips of 2 videos\n" in capsys.readouterr().out
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
