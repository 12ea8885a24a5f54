"""The table of moments."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from surgvl.core.errors import DataError
from surgvl.retrieval.moment_table import Facts, MomentTable, moment_id


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


def made_table() -> MomentTable:
    """Recordings b (three clips, given out of order, one twice) and `o'neil; --` (two)."""
    names = ["b", "o'neil; --", "b", "b", "o'neil; --", "b"]
    starts = [8.0, 0.0, 0.0, 4.0, 4.0, 8.0000001]
    facts = {"b": Facts("/b.mp4", "ä", "s"), "o'neil; --": Facts("p", "hip", "s")}
    table, kept = MomentTable.of(names, starts, np.array(starts) + 4, facts, "hash")
    assert kept.tolist() == [2, 3, 0, 1, 4]
    return table


def test_a_table_has_the_clips_of_a_recording_together() -> None:
    table = made_table()
    assert table.names == ("b", "o'neil; --")
    assert table.start_s.tolist() == [0, 4, 8, 0, 4]
    assert table.ids.tolist() == [
        moment_id(name, start, start + 4, "hash") for name, start in zip("bbb", (0, 4, 8), strict=True)
    ] + [moment_id("o'neil; --", start, start + 4, "hash") for start in (0, 4)]
    assert table.slice_of("b") == slice(0, 3)
    assert table.slice_of("o'neil; --") == slice(3, 5)
    assert table.slice_of("nobody") == slice(0, 0)
    assert table.recordings_of([0, 2, 3, 4]).tolist() == [0, 0, 1, 1]
    assert table.rows_of(table.ids[[4, 0, 2]]).tolist() == [4, 0, 2]
    assert table.counts("video_id") == {"b": 3, "o'neil; --": 2}
    assert table.counts("procedure") == {"hip": 2, "ä": 3}
    assert table.counts("source") == {"s": 5}
    with pytest.raises(DataError, match="must be video_id, procedure or source"):
        table.counts("path")


def test_tables_are_joined_and_cut(tmp_path: Path) -> None:
    table = made_table()
    one, two = table.without(["b"]), table.without(["o'neil; --", "nobody"])
    assert (one.names, len(one), two.names, len(two)) == (("o'neil; --",), 2, ("b",), 3)
    both = MomentTable.join([one, two])
    assert both.names == ("o'neil; --", "b")
    assert both.start_s.tolist() == [0, 4, 0, 4, 8]
    assert both.slice_of("b") == slice(2, 5)
    assert both.facts[1].path == "/b.mp4"
    assert len(MomentTable.join([])) == len(table.without(table.names)) == 0
    for whole in (both, MomentTable.empty()):
        whole.write(tmp_path / "t.parquet")
        again = MomentTable.read(tmp_path / "t.parquet")
        assert (again.names, again.facts, again.first.tolist()) == (whole.names, whole.facts, whole.first.tolist())
        for name in ("ids", "start_s", "end_s"):
            assert np.array_equal(getattr(again, name), getattr(whole, name))


def test_a_table_refuses_what_it_cannot_be(tmp_path: Path) -> None:
    made_table().write(tmp_path / "t.parquet")
    stored = pq.read_table(tmp_path / "t.parquet")
    pq.write_table(stored.take([0, 3, 1, 2, 4]), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="rows of a recording are not together"):
        MomentTable.read(tmp_path / "t.parquet")
    pq.write_table(stored.drop_columns("path"), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="must have the columns"):
        MomentTable.read(tmp_path / "t.parquet")
    (tmp_path / "t.parquet").write_text("this is text, and long enough to be taken for a table, is it not?")
    for path in (tmp_path / "t.parquet", tmp_path / "absent.parquet", tmp_path / "absent.sqlite"):
        with pytest.raises(DataError, match="not a moment table"):
            MomentTable.read(path)
