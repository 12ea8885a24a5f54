"""CholecT50: both layouts, on made files and on all real ones."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from surgvl.core.errors import DataError
from surgvl.core.ontology import TRIPLET_NAMES
from surgvl.data.formats.cholect50_boxes import read_instance_boxes
from surgvl.data.readers.cholect50 import CholecT50, read_binary_labels, read_json_labels
from tests.helpers.label_files import LABELS, needs_real, put, record, vector


def test_json_labels_become_runs(tmp_path: Path) -> None:
    tracks = read_json_labels(put(tmp_path / "VID01.json", json.dumps(record())))
    grasp, dissect = "grasper,grasp,specimen_bag", "hook,dissect,gallbladder"
    assert tracks["triplet"].spans == [(0, 2, grasp), (1, 2, dissect), (3, 4, dissect)]
    assert tracks["triplet"].notes == []
    assert tracks["phase"].spans == [(0, 2, "preparation"), (2, 4, "carlot-triangle-dissection")]


def test_json_triplets_are_taken_by_name(tmp_path: Path) -> None:
    categories = {"triplet": {str(99 - at): name for at, name in enumerate(TRIPLET_NAMES)}}
    path = put(tmp_path / "VID01.json", json.dumps(record(categories=categories)))
    track = read_json_labels(path)["triplet"]
    assert {label for _, _, label in track.spans} == {TRIPLET_NAMES[99 - 12], TRIPLET_NAMES[99 - 60]}
    # The stated components are now those of other triplets: each instance is counted.
    assert track.notes == ["5 instances in VID01.json with components that differ from those of the triplet"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"annotations": []}, "no 'annotations' by frame"),
        ({"annotations": {}}, "holds no frame"),
        ({"annotations": {"a": []}}, "frame numbers"),
        ({"annotations": {"0": [[1, 2]]}}, "list of 15 numbers"),
        ({"annotations": {"0": [vector(100)]}}, "triplet 100 is not one of 0 to 99"),
        ({"annotations": {"0": [vector(1, phase=7)]}}, "phase 7 is not one of 0 to 6"),
        ({"annotations": {"0": [["1"] * 15]}}, "must be whole numbers"),
        ({"annotations": {"0": [vector(float("nan"))]}}, "must be whole numbers"),  # type: ignore[arg-type]
        ({"num_frames": "4"}, "num_frames is '4'"),
        ({"categories": {"triplet": {"0": "spoon,eat,soup"}}}, "unknown triplet 'spoon,eat,soup'"),
    ],
)
def test_json_labels_that_are_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_json_labels(put(tmp_path / "VID01.json", json.dumps(record(**changes))))


def test_cholect50_frames_folder_with_labels(tmp_path: Path) -> None:
    from PIL import Image

    for number in (0, 1, 3):
        path = tmp_path / "videos" / "VID01" / f"{number:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16)).save(path)
    put(tmp_path / "labels" / "VID01.json", json.dumps(record()))
    dataset = CholecT50(tmp_path, "challenge")
    row = dataset.to_manifest().video("VID01")
    assert (row.path, row.fps, row.split) == ("videos/VID01", 1.0, "train")
    assert any("1 frame file missing" in line for line in dataset.problems())


def test_components_that_disagree_are_counted(tmp_path: Path) -> None:
    def rows(values: list[list[int]]) -> str:
        return "".join(",".join(map(str, [at, *row])) + "\n" for at, row in enumerate(values))

    triplet = np.zeros((3, 100), int)
    triplet[1, 60] = 1
    instrument, verb, target = np.zeros((3, 6), int), np.zeros((3, 10), int), np.zeros((3, 15), int)
    instrument[1, 2] = verb[1, 2] = target[1, 0] = 1
    verb[2, 3] = 1
    for name, values in (("triplet", triplet), ("instrument", instrument), ("verb", verb), ("target", target)):
        put(tmp_path / name / "VID06.txt", rows(values.tolist()))
    track = read_binary_labels(tmp_path, "VID06")["triplet"]
    assert track.spans == [(1, 2, "hook,dissect,gallbladder")]
    assert track.notes == ["verb labels differ from those of the triplets in 1 of 3 seconds"]
    good = rows(triplet.tolist())
    for text, message in (
        (good.replace("2,", "5,", 1), "frame must be 2 .*, got 5"),
        (good.replace("1,0", "1,2", 1), "must be 0 or 1"),
        (good.replace("0,0", "0", 1), "must have 101 values, got"),
        (good.replace("0,0", "0,x", 1), "must be whole numbers"),
    ):
        put(tmp_path / "triplet" / "VID06.txt", text)
        with pytest.raises(DataError, match=message):
            read_binary_labels(tmp_path, "VID06")
    put(tmp_path / "triplet" / "VID06.txt", rows(triplet[:2].tolist()))
    with pytest.raises(DataError, match="has 3 rows and its triplet file 2"):
        read_binary_labels(tmp_path, "VID06")


@pytest.mark.slow
@needs_real
def test_real_triplets_second_by_second() -> None:
    root = LABELS / "cholect45_layout"
    dataset = CholecT50(root)
    manifest = dataset.to_manifest()
    assert dataset.contents.unreadable == []
    assert sum(1 for _ in root.glob("*/*.txt")) == 40
    assert set(manifest.video_ids()) == set(CholecT50.SPLITS["rdp"]["test"])
    assert not any("differ" in line for line in dataset.problems())
    ids, times, want = [], [], []
    for path in sorted((root / "triplet").glob("*.txt")):
        table = np.loadtxt(path, delimiter=",", dtype=int)
        ids += [path.stem] * len(table)
        times += (table[:, 0] + 0.5).tolist()
        want += [sorted(TRIPLET_NAMES[at] for at in np.flatnonzero(row)) for row in table[:, 1:]]
    assert len(ids) == 21_251
    assert manifest.second_labels("triplet", ids, times) == want


def test_boxes_are_read_where_there_are_any(tmp_path: Path) -> None:
    boxed, bare = vector(12, 0, 0, 13), vector(60, 2, 2, 0)
    boxed[3:7] = [0.25, 0.5, 0.5, 0.125]
    path = put(tmp_path / "VID01.json", json.dumps(record(annotations={"7": [bare, vector(-1)], "3": [boxed]})))
    found = read_instance_boxes(path)
    assert (found.frames.tolist(), found.triplets.tolist(), found.instruments.tolist()) == ([3], [12], [0])
    assert found.xywh.tolist() == [[0.25, 0.5, 0.5, 0.125]]
    assert found.num_without == 1
    boxed[5] = 1.9
    with pytest.raises(DataError, match="frame 3: box .* is not within 0 to 1"):
        read_instance_boxes(put(path, json.dumps(record(annotations={"3": [boxed]}))))
