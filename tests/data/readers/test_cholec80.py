"""Cholec80: labels at the video's rate, different lengths, unreadable files; the data commands."""

import json
from pathlib import Path

import pytest

from surgvl.commands import data
from surgvl.core.errors import ConfigError, DataError
from surgvl.data.manifest import Manifest
from surgvl.data.readers.cholec80 import Cholec80
from tests.helpers.label_files import cholec80, film, joined, put, tool_text


def test_cholec80_counts_at_the_rate_of_the_video(tmp_path: Path) -> None:
    dataset = Cholec80(cholec80(tmp_path))
    manifest = dataset.to_manifest()
    row = manifest.video("video01")
    assert (row.path, row.split, row.source, row.fps) == ("videos/video01.mp4", "train", "cholec80", 10.0)
    assert row.duration_s == pytest.approx(4, abs=0.01)
    seconds = [0.5, 1.5, 2.5, 3.5]
    want = [["Preparation"]] * 2 + [["CalotTriangleDissection"]] * 2
    assert manifest.second_labels("phase", ["video01"] * 4, seconds) == want
    assert manifest.second_labels("tool", ["video01"] * 4, seconds) == [["Grasper"]] * 4
    assert [line.split(" videos")[0] for line in dataset.problems()] == ["79 of 80"]


@pytest.mark.parametrize("rows", [3, 5])
def test_tool_file_a_row_shorter_or_longer_is_cut_to_the_phases(rows: int, tmp_path: Path) -> None:
    dataset = Cholec80(cholec80(tmp_path, tools=tool_text(rows)))
    spans = [s for s in dataset.to_manifest().segments if s.task == "tool"]
    assert [(s.start_s, s.end_s) for s in spans] == [(0, min(rows, 4))]
    assert len(dataset.problems()) == 1


@pytest.mark.parametrize(("num", "word", "last_s"), [(65, "longer", 4.0), (15, "shorter", 1.5)])
def test_labels_longer_or_shorter_than_the_video_are_listed(num: int, word: str, last_s: float, tmp_path: Path) -> None:
    dataset = Cholec80(cholec80(tmp_path, num))
    assert any(f"phase labels are {word} than the video ({num / 10:.1f} s" in line for line in dataset.problems())
    phases = [s for s in dataset.to_manifest().segments if s.task == "phase"]
    assert phases[-1].end_s == pytest.approx(last_s, abs=0.01)


def test_reencoded_video_keeps_its_labels_in_place(tmp_path: Path) -> None:
    root = cholec80(tmp_path, 100)
    film(root / "videos" / "video01.mp4", 4, 5)
    dataset = Cholec80(root)
    assert dataset.to_manifest().second_labels("phase", ["video01"], [1.9])[0] == ["Preparation"]
    assert dataset.to_manifest().second_labels("phase", ["video01"], [2.1])[0] == ["CalotTriangleDissection"]
    assert any("it was re-encoded" in line for line in dataset.problems())


def test_broken_files_are_set_aside_and_the_rest_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = cholec80(tmp_path / "data")
    put(root / "videos" / "video02.mp4", b"")
    put(root / "phase_annotations" / "video02-phase.txt", joined("\t", "\n"))
    film(root / "videos" / "video03.mp4")
    put(root / "phase_annotations" / "video03-phase.txt", "Frame\tPhase\n0\tLunch\n")
    put(root / "videos" / "video01.avi", b"")
    dataset = Cholec80(root)
    assert [row.video_id for row in dataset.videos] == ["video01", "video03"]
    assert len(dataset.contents.unreadable) == 2
    text = "\n".join(dataset.problems())
    for part in ("unreadable: video02:", "unknown phase 'Lunch'", "video01 occurs twice", "video03: no phase labels"):
        assert part in text
    with pytest.raises(DataError, match="2 unreadable, set aside and listed above, the first: video02"):
        data.data_convert("cholec80", root, tmp_path / "out")
    printed = capsys.readouterr().out
    assert "unknown phase 'Lunch'" in printed
    assert "CC BY-NC-SA 4.0" in printed
    assert Manifest.load(tmp_path / "out").video_ids() == ["video01", "video03"]
    assert json.loads((tmp_path / "out" / "run.json").read_text())["data_hash"] == dataset.to_manifest().hash
    with pytest.raises(ConfigError, match="not empty"):
        data.data_convert("cholec80", root, tmp_path / "out")


def test_all_videos_broken_is_an_error(tmp_path: Path) -> None:
    put(tmp_path / "videos" / "video01.mp4", b"")
    with pytest.raises(DataError, match="no video of cholec80 can be read"):
        Cholec80(tmp_path).to_manifest()


def test_check_prints_hours_labels_and_problems(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data.data_check("cholec80", cholec80(tmp_path), split_protocol="camma")
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split() == ["train", "1", "1", "0:00:04"] for line in lines)
    assert any(line.split() == ["phase", "Preparation", "1", "0:00:02", "1"] for line in lines)
    assert any("79 of 80 videos of protocol camma are missing: video02" in line for line in lines)
    data.data_list()
    assert "camma 40/8/32" in capsys.readouterr().out
