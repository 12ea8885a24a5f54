"""Lists of questions in the form of MedVidBench, and the tables and questions of SurgVU."""

import json
from pathlib import Path
from typing import Any

import pytest

from surgvl.data.readers.medvidbench import MedVidBench
from surgvl.data.readers.surgvu import SurgVU
from tests.helpers.label_files import film, put


def entry(answer: str | None = "the tissue is cut", **changes: Any) -> dict[str, Any]:
    turns = [{"from": "human", "value": "<video>\nWhat happens?"}]
    if answer is not None:
        turns.append({"from": "gpt", "value": answer})
    facts = {"fps": "2.0", "video_id": "abc", "input_video_start_frame": "4", "input_video_end_frame": "9"}
    return {"conversations": turns, "video": [], "metadata": facts, "qa_type": "tal", "data_source": "AVOS", **changes}


def test_medvidbench_times_count_frames_at_their_rate(tmp_path: Path) -> None:
    put(tmp_path / "train_data.json", json.dumps([entry(), entry(None)]))
    dataset = MedVidBench(tmp_path)
    manifest = dataset.to_manifest()
    (row,) = manifest.qa
    assert (row.video_id, row.start_s, row.end_s, row.type) == ("AVOS/abc", 2, 5, "open_tal")
    assert (row.question, row.answer) == ("What happens?", "the tissue is cut")
    assert manifest.video("AVOS/abc").split == "train"
    assert any("1 question without an answer left out" in line for line in dataset.problems())


def test_medvidbench_pictures_are_counted_in_their_folder(tmp_path: Path) -> None:
    film(tmp_path / "made.mp4", 0.5)
    names = [f"frames/abc/{number:04d}.jpg" for number in (4, 5, 6, 9)]
    for name in names:
        put(tmp_path / name, jpeg())
    rows = [entry(video=names[1:3]), entry(video=["frames/abc/0005.jpg", "frames/abc/0700.jpg"])]
    put(tmp_path / "list.json", json.dumps(rows))
    dataset = MedVidBench(tmp_path)
    assert [(row.start_s, row.end_s) for row in dataset.to_manifest().qa] == [(1, 3)]
    assert any("1 question about frames that are not there left out" in line for line in dataset.problems())


def jpeg() -> bytes:
    import cv2
    import numpy as np

    return bytes(cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8))[1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metadata": {}}, "lacks a part of the form"),
        ({"qa_type": ""}, "must have a question"),
        ({"data_source": "\ud800"}, "half of a surrogate pair"),
        ({"video": ["../secret.jpg"]}, "not a path inside the folder"),
        (
            {"metadata": {"fps": 0, "video_id": "a", "input_video_start_frame": 0, "input_video_end_frame": 1}},
            "above 0 fps",
        ),
    ],
)
def test_medvidbench_entries_that_are_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    put(tmp_path / "train.json", json.dumps([entry(**changes)]))
    (line,) = MedVidBench(tmp_path).contents.unreadable
    assert message in line
    assert "train.json, entry 0" in line


TASKS = "index,start_part,start_time,stop_part,stop_time,groundtruth_taskname\n"
TOOLS = (
    "index,install_case_part,install_case_time,uninstall_case_part,uninstall_case_time,arm,"
    "commercial_toolname,groundtruth_toolname\n"
)


def test_surgvu_tables_over_parts(tmp_path: Path) -> None:
    put(
        tmp_path / "case_003" / "tasks.csv",
        TASKS + "0,1,5.0,1,20.0,Suturing\n1,1,5.0,1,20.0,Suturing\n2,2,0.0,2,6,Other\n",
    )
    put(
        tmp_path / "case_003" / "tools.csv",
        TOOLS + "0,1.0,00:00:10.5,2.0,00:00:04,USM1,Large Needle Driver,needle driver\n1,1,0:00:00,1,0:00:03,USM2,,\n",
    )
    dataset = SurgVU(tmp_path)
    rows = [(s.video_id[-3:], s.task, s.start_s, s.end_s, s.label) for s in dataset.to_manifest().segments]
    assert rows == [
        ("001", "task", 5, 20, "Suturing"),
        ("001", "tool", 10.5, 20, "needle driver"),
        ("002", "task", 0, 6, "Other"),
        ("002", "tool", 0, 4, "needle driver"),
    ]
    text = "\n".join(dataset.problems())
    assert "1 repeated row of tasks.csv read once" in text
    assert "1 row of tools.csv without a label left out" in text


def test_surgvu_questions_with_several_answers(tmp_path: Path) -> None:
    put(tmp_path / "ground_truth" / "case001.json", '["Yes", "Yes, it was used."]')
    put(tmp_path / "ground_truth" / "case002.json", '["No"]')
    put(tmp_path / "questions" / "case001.json", '"Was a needle driver used?"')
    film(tmp_path / "videos" / "case001.mp4", 2)
    dataset = SurgVU(tmp_path)
    (row,) = dataset.to_manifest().qa
    assert (row.video_id, row.question, row.answer, round(row.end_s)) == (
        "case001",
        "Was a needle driver used?",
        "Yes",
        2,
    )
    assert any("case002: no question in questions/, left out" in line for line in dataset.problems())
