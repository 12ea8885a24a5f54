"""Timelines that surgvl writes for annotation tools are read back as labels, to the frame."""

from pathlib import Path

import pytest

from surgvl.data.readers.manual import Manual
from surgvl.export.interval_table import IntervalTable


@pytest.mark.parametrize("name", ["t.csv", "t.eaf", "t.xml", "t.label_studio.json", "t.fiftyone.json"])
def test_what_is_written_is_read_back(name: str, table: IntervalTable, variable: Path, tmp_path: Path) -> None:
    (tmp_path / variable.name).symlink_to(variable)
    table.save(tmp_path / "labels.tmp", name.removeprefix("t.").partition(".")[0].replace("xml", "cvat"))
    (tmp_path / "labels.tmp").rename(tmp_path / name)
    dataset = Manual(tmp_path)
    found = sorted((each.task, each.label, each.start_s, each.end_s) for each in dataset.to_manifest().segments)
    want = sorted((row.track, row.name, row.start_s, row.end_s) for row in table)
    assert [row[:2] for row in found] == [row[:2] for row in want]
    # ELAN and Label Studio round times to their clocks.
    for row, other in zip(found, want, strict=True):
        assert row[2:] == pytest.approx(other[2:], abs=2e-3)
    assert dataset.problems() == []
