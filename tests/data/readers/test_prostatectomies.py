"""Robotic prostatectomies: PSI-AVA, GraSP, ProstaTD and SAR-RARP50."""

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from surgvl.data.readers.base import VideoDataset
from surgvl.data.readers.grasp import GraSP, frame_time
from surgvl.data.readers.prostatd import TRIPLETS, ProstaTD
from surgvl.data.readers.psi_ava import PSIAVA
from surgvl.data.readers.sar_rarp50 import GESTURES, SARRARP50
from tests.helpers.label_files import REAL, needs_real, put
from tests.helpers.made_trees import picture_bytes

PSI = Path(REAL) / "labels_more" / "psi_ava" / "psi-ava"


def labels(dataset: VideoDataset, task: str) -> list[tuple[str, float, float, str]]:
    rows = dataset.to_manifest().segments
    return [(s.video_id, s.start_s, s.end_s, s.label) for s in rows if s.task == task]


def boxes(dataset: VideoDataset) -> list[tuple[str, float, str, list[float]]]:
    """Video, start, instrument and left, top, width and height of each box."""
    rows = [row for row in dataset.to_manifest().segments if row.task == "instrument_box"]
    return [(s.video_id, s.start_s, s.label, [float(value) for value in s.xywh.split(",")]) for s in rows]


def test_psi_ava_boxes_become_labels_of_frames(tmp_path: Path) -> None:
    rows = [
        # case, frame, key, box, actions, instrument, step, phase
        "CASE001,1,1,0.1,0.2,0.4,0.9,5,6,-1,2,20,10",
        "CASE001,1,2,0,0,1,1,13,-1,-1,7,20,10",
        "CASE001,2,3,0,0,0,0,0,-1,-1,0,20,10",
        "CASE001,36,4,0.5,0,0.5,1,13,-1,-1,7,0,0",
    ]
    put(tmp_path / "fold1" / "annotations" / "train.csv", "\n".join(rows))
    dataset = PSIAVA(tmp_path)
    assert labels(dataset, "phase") == [("CASE001", 0, 2, "Bladder_Neck_Rec"), ("CASE001", 35, 36, "Idle")]
    assert labels(dataset, "step") == [("CASE001", 0, 2, "Clip_Pedicles"), ("CASE001", 35, 36, "Idle")]
    # The frame of empty boxes in between shows no instrument.
    assert labels(dataset, "instrument") == [
        ("CASE001", 0, 1, "Prograsp Forceps"),
        ("CASE001", 0, 1, "Laparoscopic Grasper"),
        ("CASE001", 35, 36, "Laparoscopic Grasper"),
    ]
    assert {label for _, _, _, label in labels(dataset, "action")} == {"Grasp", "Hold", "Still"}
    assert boxes(dataset) == [
        ("CASE001", 0, "Prograsp Forceps", [0.1, 0.2, 0.3, 0.7]),
        ("CASE001", 0, "Laparoscopic Grasper", [0, 0, 1, 1]),
    ]
    # A box without an area is left out, and its frame was looked at.
    assert [row[1] for row in labels(dataset, "instrument_box_rated")] == [0, 35]
    assert labels(dataset, "triplet_box_rated") == []
    assert "CASE001: 1 instrument without a box within the picture, left out of instrument_box" in dataset.problems()
    assert dataset.videos[0].split == "train"
    assert PSIAVA(tmp_path, "fold2").videos[0].split == "test"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("CASE001,1,1,0,0,1,1,5,-1,-1,8,0,0", "instrument is 8; allowed are 1 to 7"),
        ("CASE001,1,1,0,0,1,1,5,-1,-1,1,0,11", "phase is 11; allowed are 0 to 10"),
        ("CASE001,0,1,0,0,1,1,5,-1,-1,1,0,0", "frame is '0'"),
        ("CASE001,1,1,0,0,1,1,5,-1,-1,1,0", "has 12 values; expected 13"),
        (
            "CASE001,1,1,0,0,640,480,5,-1,-1,1,0,0",
            "box is '0,0,640,480'; it must be left,top,right,bottom, each 0 to 1",
        ),
    ],
)
def test_psi_ava_rows_that_are_refused(row: str, message: str, tmp_path: Path) -> None:
    put(tmp_path / "annotations" / "val.csv", row)
    (line,) = PSIAVA(tmp_path).contents.unreadable
    assert message in line


@pytest.mark.slow
@needs_real
def test_psi_ava_agrees_with_its_coco_file() -> None:
    dataset = PSIAVA(PSI)
    coco = json.loads((PSI / "fold1/coco_anns/val_coco_anns_v3_35s.json").read_text())
    assert (len(coco["images"]), len(coco["annotations"])) == (1029, 2623)
    names = {
        key: {row["id"]: row["name"] for row in coco[table]}
        for key, table in (("phase", "phase_categories"), ("step", "step_categories"), ("category_id", "categories"))
    }
    names["actions"] = {row["id"]: row["name"] for row in coco["action_categories"]}
    wanted: dict[tuple[str, str, float], set[str]] = defaultdict(set)
    tasks = {"phase": "phase", "step": "step", "category_id": "instrument", "actions": "action"}
    for row in coco["annotations"]:
        case, number = row["image_name"].removesuffix(".jpg").split("/")
        for key, task in tasks.items():
            for value in row[key] if isinstance(row[key], list) else [row[key]]:
                wanted[task, case, float(int(number) - 1)].add(names[key][value])
    manifest = dataset.to_manifest()
    assert len(manifest.videos) == 8
    for task in tasks.values():
        at = sorted((case, second) for kind, case, second in wanted if kind == task)
        found = manifest.second_labels(task, [case for case, _ in at], [second for _, second in at])
        assert [set(each) for each in found] == [wanted[task, case, second] for case, second in at]
    assert sum(1 for kind, _, _ in wanted if kind == "phase") == 1018
    # The boxes of the file are in pixels, those of the list in parts of the picture.
    sizes = {row["id"]: (row["width"], row["height"]) for row in coco["images"]}
    pixels: dict[tuple[str, float, str], list[list[float]]] = defaultdict(list)
    for row in coco["annotations"]:
        case, number = row["image_name"].removesuffix(".jpg").split("/")
        part = [value / side for value, side in zip(row["bbox"], 2 * sizes[row["image_id"]], strict=True)]
        pixels[case, float(int(number) - 1), names["category_id"][row["category_id"]]].append(part)
    read: dict[tuple[str, float, str], list[list[float]]] = defaultdict(list)
    for case, second, name, part in boxes(dataset):
        if case in PSIAVA.SPLITS["fold1"]["test"]:
            read[case, second, name].append(part)
    assert read.keys() == pixels.keys()
    assert {place: len(own) for place, own in read.items()} == {place: len(own) for place, own in pixels.items()}
    ours, theirs = ([part for place in pixels for part in sorted(found[place])] for found in (read, pixels))
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


@needs_real
@pytest.mark.parametrize(("name", "count"), [("train.csv", 3181), ("val.csv", 2623)])
def test_psi_ava_lists_have_the_stated_rows(name: str, count: int) -> None:
    rows = (PSI / "fold1" / "annotations" / name).read_text().splitlines()
    assert len(rows) == count
    cases = {row.split(",")[0] for row in rows}
    assert cases == set(PSIAVA.SPLITS["fold1"]["train" if name == "train.csv" else "test"])


def coco(names: dict[int, str], rows: list[dict[str, Any]], **more: Any) -> str:
    images = [{"id": at, "file_name": name, "width": 1280, "height": 800} for at, name in names.items()]
    return json.dumps({"images": images, "annotations": rows, **more})


def test_grasp_long_and_short_term(tmp_path: Path) -> None:
    long = [{"image_id": at, "category_id": 0, "phases": at, "steps": [20]} for at in (0, 1)]
    put(
        tmp_path / "annotations" / "grasp_long-term_test.json",
        coco({0: "CASE041/000000000.jpg", 1: "CASE041/000000030.jpg"}, long),
    )
    short = [{"image_id": 5, "category_id": 6, "phases": 9, "steps": 1, "actions": [3, 14], "bbox": [128, 80, 64, 400]}]
    short += [{"image_id": 5, "category_id": 1, "bbox": [0, 0, 0, 0]}]
    put(
        tmp_path / "annotations" / "grasp_short-term_test.json",
        coco(
            {5: "CASE041/000000045.jpg"},
            short,
            categories=[{"id": 1, "name": "Bipolar Forceps"}, {"id": 2, "name": "X"}],
        ),
    )
    dataset = GraSP(tmp_path)
    # Phases are those of the long-term file, also where the key frame disagrees.
    assert labels(dataset, "phase") == [("CASE041", 0, 1, "Idle"), ("CASE041", 1, 2, "LPIL")]
    assert labels(dataset, "step") == [("CASE041", 0, 2, "Clip_Pedicles")]
    assert labels(dataset, "instrument") == [
        ("CASE041", 1, 2, "Bipolar Forceps"),
        ("CASE041", 1, 2, "Clip Applier"),
    ]
    assert boxes(dataset) == [("CASE041", 1, "Clip Applier", [0.1, 0.1, 0.05, 0.5])]
    assert any("CASE041: 1 instrument without a box within the picture" in line for line in dataset.problems())
    assert [row[3] for row in labels(dataset, "action")] == ["Cut", "Other"]
    assert dataset.videos[0].split == "test"
    assert any("instrument 2 is 'X' there and 'Prograsp Forceps' here" in line for line in dataset.problems())
    assert [len(ids) for ids in GraSP.SPLITS["standard"].values()] == [8, 5]


def test_grasp_frame_names() -> None:
    assert frame_time("CASE001/00012.jpg") == ("CASE001", 12.0)
    # The masks of the README: key frames are 35 s apart, in the middle of a second.
    for case, numbers, at in (("CASE001", (68, 1642, 3218), 1.5), ("CASE053", (15, 1065, 2115), 0.5)):
        found = [frame_time(f"frames/{case}/{number:09d}.jpg")[1] for number in numbers]
        assert found == pytest.approx([at, at + 35, at + 70], abs=0.02)
    with pytest.raises(ValueError, match="is not CASE001/number"):
        frame_time("video/1.jpg")


def test_grasp_folds_do_not_double_the_boxes_of_the_training_file(tmp_path: Path) -> None:
    for name, left in (("train", 0), ("fold1", 4)):
        row = {"image_id": 1, "category_id": 1, "actions": [1], "bbox": [left, 0, 640, 800]}
        put(tmp_path / f"grasp_short-term_{name}.json", coco({1: "CASE001/000000068.jpg"}, [row]))
    assert boxes(GraSP(tmp_path)) == [("CASE001", 1, "Bipolar Forceps", [0, 0, 0.5, 1])]


def test_grasp_boxes_lie_at_the_picture_that_they_were_drawn_in(tmp_path: Path) -> None:
    row = {"image_id": 1, "category_id": 1, "phases": 0, "actions": [1], "bbox": [0, 0, 640, 800]}
    put(tmp_path / "grasp_short-term_train.json", coco({1: "CASE021/000000045.jpg"}, [row]))
    for number in range(60):
        put(tmp_path / "frames" / "CASE021" / f"{number:09d}.jpg", picture_bytes("JPEG"))
    dataset = GraSP(tmp_path)
    # Thirty pictures a second, each shown for one second.
    assert [(start, end) for _, start, end, _ in labels(dataset, "instrument")] == [(30, 60)]
    assert [(start, end) for _, start, end, _ in labels(dataset, "instrument_box_rated")] == [(45, 46)]


@pytest.mark.parametrize(
    ("box", "message"),
    [([0, 0, 5], "bbox is \\[0, 0, 5\\]"), (["a", 0, 1, 1], "must be \\[left, top, width, height\\], four numbers")],
)
def test_grasp_box_of_another_form(box: list[Any], message: str, tmp_path: Path) -> None:
    row = {"image_id": 1, "category_id": 1, "bbox": box}
    put(tmp_path / "grasp_short-term_train.json", coco({1: "CASE001/00001.jpg"}, [row]))
    (line,) = GraSP(tmp_path).contents.unreadable
    assert re.search(message, line)


def test_grasp_file_of_another_form(tmp_path: Path) -> None:
    put(tmp_path / "grasp_long-term_train.json", '{"images": [{"id": 1}]}')
    (line,) = GraSP(tmp_path).contents.unreadable
    assert "is not a COCO file of GraSP" in line


# The first, the last and one in between of the published list, with its ids from 1.
PUBLISHED = {1: "scissors,retract,bladder", 52: "aspirator,suck,fluid", 63: "needle driver,grasp,thread"}
PUBLISHED |= {79: "grasper,grasp,thread", 85: "clip applier,clip,Endobag", 89: "Endobag,null,null"}


def test_prostatd_has_its_89_triplets() -> None:
    assert len(set(TRIPLETS)) == 89
    assert {number: TRIPLETS[number - 1] for number in PUBLISHED} == PUBLISHED


@pytest.mark.parametrize("first", [0, 1])
def test_prostatd_tuples(first: int, tmp_path: Path) -> None:
    box = [-1, -1, 0.5, 0.5, 0.1, 0.1]
    record = {
        "0": [[51 + first, 2, 7, 8, *box], [62 + first, 3, 4, 7, *box]],
        "1": [[-1, -1, -1, -1, *box]],
        "3": [[51 + first, 2, 7, 8, *box]],
    }
    put(tmp_path / "annos" / "train" / "psiv2.json", json.dumps(record))
    put(tmp_path / "annos" / "test" / "pwhv1.json", json.dumps({"0": []}))
    dataset = ProstaTD(tmp_path)
    assert [row for row in labels(dataset, "triplet") if row[0] == "psiv2"] == [
        ("psiv2", 0, 1, "aspirator,suck,fluid"),
        ("psiv2", 0, 1, "needle driver,grasp,thread"),
        ("psiv2", 3, 4, "aspirator,suck,fluid"),
    ]
    assert [row[3] for row in labels(dataset, "verb")] == ["grasp", "suck", "suck"]
    text = "\n".join(dataset.problems())
    assert "1 frame removed from psiv2.json" in text
    assert "1 video in a folder of a different split than in protocol split1: pwhv1" in text
    assert "triplet number" not in text
    assert [len(ids) for ids in ProstaTD.SPLITS["split5"].values()] == [14, 2, 5]


def test_prostatd_triplet_numbers_against_their_parts(tmp_path: Path) -> None:
    rows = [[number, 2, 7, 8, -1, -1, 0, 0, 0, 0] for number in (51, 51, 3)]
    put(tmp_path / "annos" / "psiv2.json", json.dumps({str(at): [row] for at, row in enumerate(rows)}))
    dataset = ProstaTD(tmp_path)
    assert any("1 of 3 triplet numbers in psiv2.json do not match" in line for line in dataset.problems())
    put(tmp_path / "annos" / "psiv2.json", json.dumps({"0": [[0, 0, 8, 0]]}))
    (line,) = ProstaTD(tmp_path).contents.unreadable
    assert "scissors,clip,bladder is not one of the 89 triplets" in line


def test_sar_rarp50_rate_of_the_frame_numbers(tmp_path: Path) -> None:
    body = "".join(f"{at * 6},{gesture}\n" for at, gesture in enumerate([0] * 10 + [1] * 10 + [7] * 5))
    put(tmp_path / "train" / "video_11_2" / "action_discrete.txt", body)
    put(tmp_path / "test" / "video_41" / "action_discrete.txt", "0,0\n6,8\n")
    dataset = SARRARP50(tmp_path)
    assert labels(dataset, "gesture") == [
        ("video_11_2", 0, 1, GESTURES[0]),
        ("video_11_2", 1, 2, GESTURES[1]),
        ("video_11_2", 2, 2.5, GESTURES[7]),
    ]
    (line,) = dataset.contents.unreadable
    assert "line 2: unknown gesture '8'" in line
    # 40 videos in 44 folders.
    assert [len(ids) for ids in SARRARP50.SPLITS["standard"].values()] == [44, 10]


@needs_real
def test_sar_rarp50_folders_are_those_of_the_published_lists() -> None:
    folder = Path(REAL) / "labels_more" / "surgrec_splits" / "splits" / "SAR-RARP50"
    for split, ids in SARRARP50.SPLITS["standard"].items():
        names = {
            line.rsplit("/", 1)[1].split("_label")[0] for line in (folder / f"{split}.csv").read_text().splitlines()
        }
        assert names == set(ids)
