"""Layouts and units of files as deposited, and the reason why a folder holds nothing."""

import json
from pathlib import Path

import pytest

from surgvl.core.errors import DataError
from surgvl.data.readers.llava import Llava
from surgvl.data.readers.narration import Narration, read_narration
from surgvl.data.readers.pitvis import PitVis
from tests.helpers.label_files import film, put

HEAD = "int_video,int_time,int_step,int_instrument1,int_instrument2\n"


def test_pitvis_as_deposited(tmp_path: Path) -> None:
    rows = [(-1, -1, -2), (1, 0, -2), (1, 16, -2), (2, 8, 16), (14, 18, 1), (-1, -1, -2)]
    body = "".join(f"1,{at},{step},{one},{two}\n" for at, (step, one, two) in enumerate(rows))
    put(tmp_path / "annotations_01.csv", HEAD + body)
    film(tmp_path / "video_01.mp4", 6)
    dataset = PitVis(tmp_path)
    found = [(s.task, s.start_s, s.end_s, s.label) for s in dataset.to_manifest().segments]
    assert [row for row in found if row[0] == "step"] == [
        ("step", 1, 3, "nasal_corridor_creation"),
        ("step", 3, 4, "anterior_sphenoidotomy"),
        ("step", 4, 5, "debris_clearance"),
    ]
    assert {row[1:] for row in found if row[0] == "instrument"} == {
        (2, 4, "suction"),
        (3, 4, "kerrisons"),
        (4, 5, "tissue_glue"),
        (4, 5, "bipolar_forceps"),
    }
    assert dataset.videos[0].path == "video_01.mp4"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("1,0,15,0,-2", "int_step must be -1 or 1 to 14, got 15"),
        ("1,0,1,19,-2", "instrument must be -2 to 18, got 19"),
        ("1,-1,1,0,-2", "int_time is '-1'"),
        ("1,0,1,null,-2", "instrument is 'null'"),
        (f"1,{'9' * 5000},1,0,-2", "int_time is '9+"),
    ],
)
def test_deposited_tables_that_are_set_aside(row: str, message: str, tmp_path: Path) -> None:
    put(tmp_path / "annotations_01.csv", f"{HEAD}{row}\n")
    (line,) = PitVis(tmp_path).contents.unreadable
    with pytest.raises(DataError, match=message):
        raise DataError(line)
    assert "annotations_01.csv, line 2" in line
    assert len(line) < 400


WHISPER = [(0, 4000, "we open"), (4000, 8000, "we clip"), (8000, 11500, "we cut")]


@pytest.mark.parametrize("mark", [",", "\t"], ids=["csv", "tsv"])
def test_milliseconds_of_whisper(mark: str, tmp_path: Path) -> None:
    text = mark.join(("start", "end", "text")) + "\n" + "".join(mark.join(map(str, row)) + "\n" for row in WHISPER)
    put(tmp_path / "talk.csv", text)
    want = [(start / 1000, end / 1000, sentence) for start, end, sentence in WHISPER]
    assert read_narration(tmp_path / "talk.csv")["narration"].spans == want
    film(tmp_path / "talk.mp4", 12)
    dataset = Narration(tmp_path)
    assert [(s.start_s, s.end_s, s.label) for s in dataset.to_manifest().segments] == want
    assert any("times in talk.csv are in milliseconds" in line for line in dataset.problems())


def test_whole_seconds_stay_seconds(tmp_path: Path) -> None:
    film(tmp_path / "talk.mp4", 4)
    put(tmp_path / "talk.csv", "start,end,text\n0,3,hello\n3,20,beyond\n")
    assert Narration(tmp_path).to_manifest().segments[0].end_s == 3.0


def test_a_sentence_that_ends_before_it_starts_is_set_aside(tmp_path: Path) -> None:
    film(tmp_path / "talk.mp4", 4)
    put(tmp_path / "talk.csv", "start,end,text\n0,1,one\n3,2,back\n3,4,two\n")
    dataset = Narration(tmp_path)
    assert [s.label for s in dataset.to_manifest().segments] == ["one", "two"]
    (line,) = dataset.contents.unreadable
    assert "talk.csv, line 3 ends at 2 s, before it starts at 3 s" in line


def conversation(image: object) -> str:
    turns = [{"from": "human", "value": "What?"}, {"from": "gpt", "value": "x"}]
    return json.dumps([{"image": image, "conversations": turns}])


def test_paths_of_windows(tmp_path: Path) -> None:
    put(tmp_path / "train.json", conversation("sub\\0.mp4"))
    film(tmp_path / "videos/sub/0.mp4", 1)
    assert Llava(tmp_path).to_manifest().videos[0].path == "videos/sub/0.mp4"


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ("pictures/0.jpg", "1 missing file: pictures/0.jpg"),
        ("a" * 5000, "1 missing file"),
        (None, "1 conversation without an image or video"),
    ],
)
def test_the_reason_is_told_where_nothing_is_left(image: object, reason: str, tmp_path: Path) -> None:
    put(tmp_path / "train.json", conversation(image))
    with pytest.raises(DataError, match=reason):
        Llava(tmp_path).to_manifest()


@pytest.mark.parametrize("image", ["C:\\set\\0.jpg", "\\\\host\\set\\0.jpg", "a\0b.jpg", "..\\0.jpg"])
def test_paths_outside_the_folder_are_set_aside(image: str, tmp_path: Path) -> None:
    put(tmp_path / "train.json", conversation(image))
    assert "not a path inside the folder" in Llava(tmp_path).contents.unreadable[0]


def test_what_lies_there_and_what_is_wanted(tmp_path: Path) -> None:
    put(tmp_path / "PitVis_01.csv", "x")
    with pytest.raises(DataError, match=r"it holds PitVis_01\.csv; Layout: .*steps_csv/steps_01\.csv"):
        PitVis(tmp_path).to_manifest()
