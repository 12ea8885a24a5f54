"""One Parquet file is read as pyarrow reads a data set of that file."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from surgvl.core import parquet
from surgvl.core.parquet import read_parquet


@pytest.mark.parametrize("many", [100_000, 3])
def test_rows_are_those_of_pyarrow(many: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "_MANY", many)
    names = pa.array(["a", None, "b", "a"]).dictionary_encode()
    pq.write_table(pa.table({"name": names, "at": [1.5, 2.5, 3.5, None]}), tmp_path / "x.parquet", row_group_size=2)
    for columns in (None, ["at"], ["at", "name"]):
        assert read_parquet(tmp_path / "x.parquet", columns) == pq.read_table(tmp_path / "x.parquet", columns=columns)


def test_what_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"x\.parquet"):
        read_parquet(tmp_path / "x.parquet")
    (tmp_path / "x.parquet").write_text("no table")
    with pytest.raises(pa.ArrowInvalid):
        read_parquet(tmp_path / "x.parquet")
