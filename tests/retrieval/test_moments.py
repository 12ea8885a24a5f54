"""Merging of neighbouring hits, and the table of moments."""

from pathlib import Path

import numpy as np
import pytest

from surgvl.core.errors import DataError
from surgvl.retrieval.moment_table import MomentRow, MomentTable, moment_id
from surgvl.retrieval.moments import merge
from surgvl.retrieval.where import Where


def test_neighbours_become_one_moment() -> None:
    videos = ["a", "a", "b", "a", "a"]
    merged = merge(videos, [10, 12, 10, 40, 8], [14, 16, 14, 44, 12])
    assert merged.best.tolist() == [0, 2, 3]
    assert list(zip(merged.start_s, merged.end_s, strict=True)) == [(8, 16), (10, 14), (40, 44)]


def test_a_hit_between_two_moments_joins_them_unless_they_grow_too_long() -> None:
    assert merge(["a"] * 3, [0, 8, 4], [4, 12, 8], max_s=12).end_s.tolist() == [12]
    assert merge(["a"] * 3, [0, 8, 4], [4, 12, 8], max_s=11).end_s.tolist() == [4, 12]


@pytest.mark.parametrize("seed", range(20))
def test_moments_are_apart_bounded_and_keep_the_best(seed: int) -> None:
    rng = np.random.default_rng(seed)
    num = int(rng.integers(1, 120))
    videos, start = rng.integers(0, 3, num), rng.integers(0, 100, num).astype(float)
    length = rng.integers(1, 6, num).astype(float)
    merged = merge(videos, start, start + length, gap_s=1.0, max_s=15.0)
    assert merged.best[0] == 0
    assert (np.diff(merged.best) > 0).all()
    assert (merged.end_s - merged.start_s <= 15).all()
    for one in range(len(merged)):
        at = merged.best[one]
        assert merged.start_s[one] <= start[at] < start[at] + length[at] <= merged.end_s[one]
        for two in range(one):
            if videos[merged.best[two]] == videos[at]:
                apart = max(merged.start_s[one] - merged.end_s[two], merged.start_s[two] - merged.end_s[one])
                assert apart > 1.0
        # Every end of a moment is the end of a hit of its video.
        mine = videos == videos[at]
        assert merged.start_s[one] in start[mine]
        assert merged.end_s[one] in (start + length)[mine]


def test_merging_nothing_and_unequal_lengths() -> None:
    assert len(merge([], [], [])) == 0
    with pytest.raises(DataError, match="one of each per hit"):
        merge(["a"], [0, 1], [1, 2])


def test_moment_ids_never_change_and_tell_everything_apart() -> None:
    assert moment_id("video01", 1.0, 5.0, "abc") == 5424321318087441226
    others = {
        moment_id(*case)
        for case in [
            ("video01", 1.0, 5.0, "abc"),
            ("video1", 1.0, 5.0, "abc"),
            ("video01", 1.001, 5.0, "abc"),
            ("video01", 1.0, 5.001, "abc"),
            ("video01", 1.0, 5.0, "abd"),
        ]
    }
    assert len(others) == 5
    assert all(0 <= name < 2**63 for name in others)
    assert moment_id("video01", 1.0000001, 5.0, "abc") in others


def test_table_refuses_a_foreign_file(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("this is text, and long enough to be taken for a database header, is it not?")
    with pytest.raises(DataError, match="not a moment table"):
        MomentTable(tmp_path / "t")
    with pytest.raises(DataError, match="must be video_id, procedure or source"):
        MomentTable(tmp_path / "new").counts("path; DROP TABLE moments")


def test_table_takes_many_ids_and_odd_names(tmp_path: Path) -> None:
    store = MomentTable(tmp_path / "t")
    rows = [MomentRow(at, "o'neil; --", "p", at, at + 1, "ä", "s") for at in range(1200)]
    store.put(rows)
    assert store.rows(range(2000)) == {row.id: row for row in rows}
    assert len(store.ids(Where(recordings=("o'neil; --",), procedure="ä"))) == 1200
    assert store.counts("procedure") == {"ä": 1200}
    store.close()
