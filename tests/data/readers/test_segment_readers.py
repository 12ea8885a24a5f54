"""Data sets with spans of time: small trees in each layout, with its known quirks."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from surgvl.data.readers.autolaparo_motion import AutoLaparoMotion
from surgvl.data.readers.base import VideoDataset
from surgvl.data.readers.cataract1k import Cataract1K
from surgvl.data.readers.cataract101 import Cataract101
from surgvl.data.readers.multibypass140 import MultiBypass140
from surgvl.data.readers.ophnet import OphNet
from tests.conftest import MadeOnce
from tests.helpers.label_files import film, put


@pytest.fixture
def clip(made_once: MadeOnce) -> Path:
    """Four seconds at 10 frames/s."""
    return made_once("four_seconds", lambda folder: film(folder / "video.mp4")) / "video.mp4"


def spans(dataset: VideoDataset, task: str) -> list[tuple[str, str, float, float]]:
    rows = dataset.to_manifest().segments
    return [(each.video_id, each.label, each.start_s, each.end_s) for each in rows if each.task == task]


def sizes(splits: Mapping[str, Any]) -> list[int]:
    return [len(ids) for ids in splits.values()]


def link(path: Path, target: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


VIDEOS = "VideoID;Frames;FPS;Surgeon;Experience\n269;500;25;4;1\n271;100;25;1;2\n"


def test_cataract101_gives_starts_of_phases(tmp_path: Path, clip: Path) -> None:
    put(tmp_path / "videos.csv", VIDEOS)
    put(tmp_path / "annotations.csv", "VideoID;FrameNo;Phase\n269;25;1\n269;100;2\n269;200;2\n271;0;10\n")
    link(tmp_path / "videos" / "case_271.mp4", clip)
    dataset = Cataract101(tmp_path)
    assert spans(dataset, "phase") == [
        ("case_269", "Incision", 1, 4),
        ("case_269", "Viscous agent injection", 4, 8),
        ("case_269", "Viscous agent injection", 8, 20),
        ("case_271", "Tonifying and antibiotics", 0, 4),
    ]
    assert spans(dataset, "experience") == [("case_269", "1", 0, 20), ("case_271", "2", 0, 4)]
    assert {row.video_id: row.split for row in dataset.videos} == {"case_269": "train", "case_271": "val"}
    assert sizes(Cataract101.SPLITS["surgrec"]) == [71, 20, 10]
    for text, message in (
        ("269;25;11", "phase must be 1 to 10, got 11"),
        ("269;500;1", "must be after -1 and before 500"),
        ("999;5;1", "video 999 has no row in videos.csv"),
        ("269;25;1\n269;25;2", "must be after 25"),
    ):
        put(tmp_path / "annotations.csv", f"VideoID;FrameNo;Phase\n{text}\n")
        assert message in Cataract101(tmp_path).contents.unreadable[0]


HEAD = "caseId,comment,frame,endFrame,sec,endSec\n"


@pytest.mark.parametrize("folder", ["annotations", "annotations/case_4687"])
def test_cataract1k_counts_in_seconds(folder: str, tmp_path: Path, clip: Path) -> None:
    # The frames are those of a video of another rate, as in the published case 4863.
    rows = (
        "4687,Incision,0,240,0.5,1\n4687,Capsule Polishing,9,99,1.25,2\n"
        "4687,Viscoelastic_Suction,9,9,3,3\n4687,Lens positioning,9,99,1.75,3.5\n"
    )
    put(tmp_path / folder / "case_4687_annotations_phases.csv", HEAD + rows)
    put(tmp_path / folder / "case_4687_video.csv", "videoId,frames,width,height,fps\n4687,40,32,32,240\n")
    link(tmp_path / "videos" / "case_4687.mp4", clip)
    dataset = Cataract1K(tmp_path)
    assert spans(dataset, "phase") == [
        ("case_4687", "Incision", 0.5, 1),
        ("case_4687", "Capsule Pulishing", 1.25, 2),
        ("case_4687", "Lens positioning", 1.75, 3.5),
    ]
    assert [line for line in dataset.problems() if " of protocol " not in line] == [
        "case_4687: 1 row without duration left out",
        "case_4687: 1 pair of neighbouring segments overlap: there, a moment has both labels",
    ]
    assert sizes(Cataract1K.SPLITS["surgrec"]) == [39, 11, 6]
    put(tmp_path / folder / "case_4687_annotations_phases.csv", HEAD + "4687,Idle,0,9,0,1\n")
    assert "unknown phase 'Idle'" in Cataract1K(tmp_path).contents.unreadable[0]


def test_ophnet_overlaps_and_marks_are_named(tmp_path: Path, clip: Path) -> None:
    head = "\ufeffvideo_id,start,end,split,surgery_id,phase_id\r\n"
    body = "case_0002,0,2.5,train,5,3\r\ncase_0002,2,3.5,train,0,51\r\n"
    path = put(tmp_path / "annotation" / "OphNet2024_loca_challenge_phase.csv", head + body)
    put(tmp_path / "annotation" / "OphNet2024_surgery.csv", "video_id,surgery\r\n")
    link(tmp_path / "videos" / "case_0002.mp4", clip)
    dataset = OphNet(tmp_path)
    assert spans(dataset, "phase") == [
        ("case_0002", "Non-functional Segment", 0, 2.5),
        ("case_0002", "Others", 2, 3.5),
    ]
    assert [line for line in dataset.problems() if " of protocol " not in line] == [
        f"{path.name} begins with a byte order mark, which is not a part of the first value: skipped",
        "case_0002: 1 pair of neighbouring segments overlap: there, a moment has both labels",
    ]
    assert sizes(OphNet.SPLITS["challenge"]) == [445, 144, 154]
    for text, message in (
        (body.replace(",51", ",52"), "phase_id must be 0 to 51, got 52: take the table of the challenge"),
        (body.replace("train", "val"), "case_0002 is in val, but train is published"),
        (body.replace("3.5", "1"), "the end 1 s is not after the start 2 s"),
    ):
        put(path, head + text)
        assert message in OphNet(tmp_path).contents.unreadable[0]


def test_multibypass_flags_are_no_phases(tmp_path: Path) -> None:
    def segment(start: int, end: int, name: str, number: int) -> dict[str, Any]:
        return {"start": start, "end": end, "label_name": name, "label_id": number}

    phases = [segment(1500, 9000, "preparation", 0), segment(2000, 2500, "out_of_body", 12)]
    steps = [segment(1500, 9000, "s0_null_step", 0)]
    path = tmp_path / "labels" / "bern" / "labels_by70" / "BBP02.mp4.json"
    put(path, json.dumps({"phases": phases, "steps": steps}))
    dataset = MultiBypass140(tmp_path)
    assert spans(dataset, "phase") == [("BBP02", "preparation", 1.5, 9)]
    assert spans(dataset, "flag") == [("BBP02", "out_of_body", 2, 2.5)]
    assert spans(dataset, "step") == [("BBP02", "s0_null_step", 1.5, 9)]
    assert dataset.videos[0].split == "test"
    assert {name: sizes(parts) for name, parts in MultiBypass140.SPLITS.items()} == {
        **{f"bern_fold{fold}": [40, 10, 20] for fold in (1, 2, 3, 4)},
        "surgrec": [57, 11, 22],
    }
    for row, message in (
        (segment(0, 1, "preparation", 1), "label 1 is not called 'preparation'"),
        (segment(5, 1, "preparation", 0), "start and end must be milliseconds"),
        ({"start": 0}, "a segment must have end, label_id, label_name, start"),
    ):
        put(path, json.dumps({"phases": [row], "steps": []}))
        assert message in MultiBypass140(tmp_path).contents.unreadable[0]


@pytest.mark.parametrize("folder", ["", "t2"])
def test_motions_of_autolaparo(folder: str, tmp_path: Path, clip: Path) -> None:
    put(tmp_path / folder / "laparoscope_motion_label.txt", "Clip\tLabel\tPhase\n001\t0\t2\n228\t6\t7\n")
    link(tmp_path / folder / "clips" / "001.mp4", clip)
    dataset = AutoLaparoMotion(tmp_path)
    assert [row[:2] for row in spans(dataset, "clip")] == [("001", "Static"), ("228", "Zoom-out")]
    assert [row[:2] for row in spans(dataset, "phase")] == [
        ("001", "Dividing Ligament and Peritoneum"),
        ("228", "Washing"),
    ]
    assert [round(row.duration_s) for row in dataset.videos] == [4, 10]
    assert [row.split for row in dataset.videos] == ["train", "test"]
    assert sizes(AutoLaparoMotion.SPLITS["standard"]) == [170, 57, 73]
    put(tmp_path / folder / "laparoscope_motion_label.txt", "Clip\tLabel\tPhase\n001\t7\t2\n")
    assert "motions are 0 to 6 and phases 1 to 7, got 7 and 2" in AutoLaparoMotion(tmp_path).contents.unreadable[0]


def test_what_many_videos_share_is_told_once(tmp_path: Path) -> None:
    for number in range(1, 6):
        body = [{"start": 0, "end": 1000 * number, "label_name": "preparation", "label_id": 0}]
        body.append({**body[0], "start": 500})
        put(
            tmp_path / "labels" / "bern" / "labels_by70" / f"BBP{number:02d}.mp4.json",
            json.dumps({"phases": body, "steps": []}),
        )
    (line,) = (line for line in MultiBypass140(tmp_path).problems() if "overlap" in line)
    assert line.startswith("5 videos (BBP01, BBP02, BBP03, BBP04, BBP05): 1 pair of neighbouring segments overlap")
