"""Nothing in a data set's folder is dropped silently: odd names, other formats, labels after the end of a video."""

import json
from pathlib import Path

import pytest

from surgvl.core.errors import DataError
from surgvl.data.readers.cholec80 import Cholec80
from surgvl.data.readers.llava import Llava
from surgvl.data.readers.lls48 import LLS48
from surgvl.data.readers.narration import Narration
from tests.helpers.label_files import cholec80, film, put, tool_text


def test_names_that_differ_by_case_are_told_and_others_counted(tmp_path: Path) -> None:
    root = cholec80(tmp_path)
    (root / "videos/video01.mp4").rename(root / "videos/VIDEO01.mp4")
    put(root / "phase_annotations/Video02-Phase.txt", "Frame\tPhase\n")
    for name in ("b.txt", "a.txt", ".hidden"):
        put(root / "videos" / name, "x")
    text = "\n".join(Cholec80(root).problems())
    assert "VIDEO01.mp4 differs from the layout's names only in case" in text
    assert "Video02-Phase.txt differs from" in text
    assert "2 names in videos outside of the layout: a.txt, b.txt" in text
    assert text.count("VIDEO01.mp4") == 1
    assert ".hidden" not in text


def test_what_one_pattern_leaves_and_another_takes_is_not_told(tmp_path: Path) -> None:
    root = cholec80(tmp_path)
    (root / "videos/video01.mp4").rename(root / "videos/video01.MP4")
    put(root / "README.txt", "x")
    assert not any("layout" in line for line in Cholec80(root).problems())


def test_narration_tells_other_formats_subfolders_and_silent_videos(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4", "deeper/c.mp4"):
        film(tmp_path / name, 1)
    put(tmp_path / "a.csv", "start,end,text\n0,1,hello\n")
    for name in ("b.srt", "b.VTT", "b.txt", "README.txt", "deeper/c.csv"):
        put(tmp_path / name, "x")
    assert Narration(tmp_path).problems() == [
        "3 text files that are not CSV left out: b.VTT, b.srt, b.txt; convert them to columns start, end, text",
        "2 files in subfolders left out: deeper/c.csv, deeper/c.mp4; move them next to the others",
        "1 of 2 videos has no sentences: b",
    ]


def test_json_lines_are_counted(tmp_path: Path) -> None:
    film(tmp_path / "a.mp4", 1)
    turns = [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So."}]
    put(tmp_path / "train.json", json.dumps([{"video": "a.mp4", "conversations": turns}]))
    put(tmp_path / "more.jsonl", "{}\n")
    assert Llava(tmp_path).problems() == ["1 JSON Lines file left out: more.jsonl; convert each to one JSON list"]


def test_labels_after_the_end_are_counted(tmp_path: Path) -> None:
    film(tmp_path / "a.mp4", 4)
    put(tmp_path / "a.csv", "start,end,text\n0,3,in\n4.5,5,out\n5,5.5,out\n")
    dataset = Narration(tmp_path)
    assert dataset.problems() == ["a: 2 of 3 narration labels start after the end of the video, left out"]
    assert [s.label for s in dataset.to_manifest().segments] == ["in"]


def test_questions_after_the_end_are_counted(tmp_path: Path) -> None:
    film(tmp_path / "videos/video_01.mp4", 4)
    for second in (0, 3, 4, 9):
        put(tmp_path / f"QA/video_01/{second:05d}.txt", "Which step is it?|a\n")
    dataset = LLS48(tmp_path)
    assert any(line.startswith("2 of 4 questions are about a time after the end") for line in dataset.problems())
    assert [row.start_s for row in dataset.to_manifest().qa] == [0, 3]


def test_remarks_of_a_video_that_is_not_added_are_kept(tmp_path: Path) -> None:
    film(tmp_path / "a.mp4", 1)
    put(tmp_path / "a.csv", "start,end,text\n0,1,hello\n")
    put(tmp_path / "gone.csv", "start,end,text\n3,3,nothing\n9,4,backwards\n")
    text = "\n".join(Narration(tmp_path).problems())
    for part in (
        "gone: gone.csv, line 2 ends at 3 s and starts at 3 s, left out",
        "line 3 ends at 4 s, before it starts at 9 s",
        "gone: no video file and no usable labels, left out",
    ):
        assert part in text


@pytest.mark.parametrize("kind", ["phase", "tool"])
def test_negative_frames_set_the_file_aside(kind: str, tmp_path: Path) -> None:
    frames = "Frame\tPhase\n-5\tPreparation\n39\tPreparation\n" if kind == "phase" else None
    tools = tool_text(4).replace("\n0\t", "\n-10\t", 1) if kind == "tool" else None
    dataset = Cholec80(cholec80(tmp_path, frames=frames, tools=tools))
    other = {"phase": "tool", "tool": "phase"}[kind]
    assert {s.task for s in dataset.to_manifest().segments} == {other}
    (line,) = dataset.contents.unreadable
    assert f"video01-{kind}.txt, line 2: frame is" in line
    assert "it must be a whole number from 0" in line


def test_a_folder_with_only_unusable_rows_is_an_error_that_says_why(tmp_path: Path) -> None:
    put(tmp_path / "gone.csv", "start,end,text\n3,3,nothing\n")
    with pytest.raises(DataError, match=r"gone\.csv, line 2 ends at 3 s and starts at 3 s"):
        Narration(tmp_path).to_manifest()
