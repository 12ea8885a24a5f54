"""Narrated lectures: sentences with times."""

import csv
from pathlib import Path

import pytest

from surgvl.core.errors import DataError
from surgvl.data.readers.narration import Narration, read_narration
from tests.helpers.label_files import (
    LABELS,
    film,
    needs_real,
    put,
)


def test_narration_of_one_video(tmp_path: Path) -> None:
    text = 'start,end,step,text\r\n0,2.5,Opening,"First, we cut"\r\n3,3,,nothing\r\n4,9,,"we ""clip"""\r\n'
    tracks = read_narration(put(tmp_path / "v.csv", text))
    assert tracks["narration"].spans == [(0, 2.5, "First, we cut"), (4, 9, 'we "clip"')]
    assert tracks["narration"].notes == ["v.csv, line 3 ends at 3 s and starts at 3 s, left out"]
    assert tracks["step"].spans == [(0, 2.5, "Opening")]
    for row, message in (("nan,2,x", "start is 'nan'"), ("-1,2,x", "start is '-1'"), ("0,inf,x", "end is 'inf'")):
        with pytest.raises(DataError, match=f"line 2: {message}"):
            read_narration(put(tmp_path / "v.csv", f"start,end,text\n{row}\n"))
    with pytest.raises(DataError, match="expected start, end, text and optionally step"):
        read_narration(put(tmp_path / "v.csv", "start,stop,text\n0,1,x\n"))


def test_narration_folder_with_videos(tmp_path: Path) -> None:
    film(tmp_path / "videos" / "talk.mp4", 4)
    put(tmp_path / "talk.csv", "start,end,text\n0,3,hello\n3,20,beyond the end\n")
    put(tmp_path / "bad.csv", "start,end\n0,3\n")
    put(tmp_path / "mood_texts_talk.csv", "start,end,text\n0,3,hello\n")
    put(tmp_path / "splits" / "train.csv", "video_path\ntalk.mp4\n")
    put(tmp_path / "splits" / "test.csv", "video_path\ntalk.mp4\n")
    dataset = Narration(tmp_path)
    manifest = dataset.to_manifest()
    assert [(s.label, s.end_s) for s in manifest.segments] == [
        ("hello", 3),
        ("beyond the end", manifest.videos[0].duration_s),
    ]
    assert manifest.video("talk").split == "test"
    text = "\n".join(dataset.problems())
    for part in (
        "narration labels are longer",
        "narration, keystep, abstract, got 'mood'",
        "talk is also in",
        "bad.csv: columns are",
    ):
        assert part in text


@needs_real
def test_real_narration_files_all_parse() -> None:
    dataset = Narration(LABELS / "narration")
    assert dataset.contents.unreadable == []
    files = sorted((LABELS / "narration").glob("*_texts_*.csv"))
    assert len(files) == 14
    want = 0
    for file in files:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            want += sum(1 for _ in csv.DictReader(lines))
    spoken = [s for s in dataset.to_manifest().segments if s.task in ("narration", "keystep", "abstract")]
    assert len(spoken) == want
    assert dataset.to_manifest().video_ids("train") == ["vd01en1112e", "vd01en1354e", "vd01en1382e", "vd01en1612"]
