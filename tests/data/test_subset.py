"""Parts of the training videos are nested, keep the proportions of sources, and leave the other splits whole."""

import math
from pathlib import Path

import pytest

from surgvl.cli import main as cli
from surgvl.core.errors import ConfigError, DataError
from surgvl.data.manifest import Manifest, Segment, VideoRow
from surgvl.data.subset import subset


def manifest(**counts: int) -> Manifest:
    """`source_split=n`."""
    rows = [
        VideoRow(
            video_id=f"{name}{at}",
            path="",
            source=name.split("_")[0],
            split=name.split("_")[1],  # type: ignore[arg-type]
            fps=25.0,
            duration_s=9.0,
        )
        for name, count in counts.items()
        for at in range(count)
    ]
    labels = [Segment(video_id=row.video_id, start_s=0, end_s=9, task="phase", label="a") for row in rows]
    return Manifest(rows, labels)


def test_parts_are_nested_and_others_stay() -> None:
    table = manifest(common_train=20, rare_train=3, common_test=4)
    before: set[str] = set()
    for fraction in (0.05, 0.1, 0.35, 0.7, 1.0):
        part = subset(table, fraction, seed=3)
        names = part.video_ids("train")
        assert before <= set(names)
        assert sum(name.startswith("rare") for name in names) == math.ceil(3 * fraction - 1e-9)
        assert sum(name.startswith("common") for name in names) == math.ceil(20 * fraction - 1e-9)
        assert part.video_ids("test") == table.video_ids("test")
        assert len(part.segments) == len(part)
        before = set(names)
    assert before == set(table.video_ids("train"))


def test_another_seed_is_another_part_and_none_are_refused() -> None:
    table = manifest(common_train=20)
    parts = {tuple(subset(table, 0.5, seed).video_ids()) for seed in range(5)}
    assert len(parts) == 5
    assert len(subset(table, 0.5, 0, split="").video_ids()) == 10
    for fraction in (0.0, 1.5, -1.0):
        with pytest.raises(ConfigError, match="--fraction"):
            subset(table, fraction)
    with pytest.raises(DataError, match="no video is in split 'val'"):
        subset(table, 0.5, split="val")


def test_the_command_writes_a_manifest(tmp_path: Path) -> None:
    manifest(common_train=4, common_test=1).save(tmp_path / "whole")
    cli.run(["data", "subset", str(tmp_path / "whole"), str(tmp_path / "half"), "--fraction", "0.5"])
    kept = Manifest.load(tmp_path / "half")
    assert len(kept.video_ids("train")) == 2
    assert kept.video_ids("test") == ["common_test0"]
