"""Data sets with a label for each frame: small trees in each layout, with its known quirks."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from surgvl.core.errors import DataError
from surgvl.data.readers.autolaparo import AutoLaparo
from surgvl.data.readers.base import VideoDataset
from surgvl.data.readers.cataract21 import Cataract21
from surgvl.data.readers.cataract21_merged import Cataract21Merged
from surgvl.data.readers.cataracts import Cataracts
from surgvl.data.readers.cholec80 import Cholec80
from surgvl.data.readers.egosurgery import EgoSurgery
from surgvl.data.readers.m2cai16_renumbered import M2cai16Renumbered
from surgvl.data.readers.m2cai16_workflow import M2cai16Workflow
from surgvl.data.readers.pmlr50 import PmLR50
from tests.conftest import MadeOnce
from tests.helpers.label_files import film, put

# (start_s, end_s, label) by task, of one video.
Found = dict[str, list[tuple[float, float, str]]]


@pytest.fixture(scope="module")
def clip(made_once: MadeOnce) -> Path:
    """Four seconds at 10 frames/s."""
    return made_once("four_seconds", lambda folder: film(folder / "video.mp4")) / "video.mp4"


def pictures(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True)
    for name in names:
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(folder / name)


def found(dataset: VideoDataset, video_id: str) -> Found:
    by_task: Found = {}
    for each in dataset.to_manifest().segments:
        if each.video_id == video_id:
            by_task.setdefault(each.task, []).append((each.start_s, each.end_s, each.label))
    return by_task


def rows(count: int, label: Callable[[int], object], first: int = 0, mark: str = "\t") -> str:
    return "".join(f"{at + first}{mark}{label(at)}\n" for at in range(count))


def lines(dataset: VideoDataset) -> list[str]:
    """Problems other than the videos of the published split that a small tree lacks."""
    return [line for line in dataset.problems() if " of protocol " not in line]


def test_m2cai16_takes_neither_predictions_nor_timestamps_for_labels(tmp_path: Path, clip: Path) -> None:
    folder = tmp_path / "train_dataset"
    body = rows(40, lambda at: "TrocarPlacement" if at < 20 else "Preparation")
    put(folder / "workflow_video_01.txt", "Frame\tPhase\n" + body)
    put(folder / "workflow_video_01_pred.txt", "Frame\tPhase\n0\tCleaningCoagulation\n")
    put(folder / "workflow_video_01_timestamp.txt", "0\t00:00\n")
    (folder / "workflow_video_01.mp4").symlink_to(clip)
    put(tmp_path / "test_dataset" / "test_workflow_video_01.txt", "Frame\tPhase\n" + rows(50, lambda at: "Preparation"))
    dataset = M2cai16Workflow(tmp_path)
    assert found(dataset, "workflow_video_01")["phase"] == [(0, 2, "TrocarPlacement"), (2, 4, "Preparation")]
    assert found(dataset, "test_workflow_video_01")["phase"] == [(0, 2, "Preparation")]
    assert {row.video_id: row.split for row in dataset.videos} == {
        "workflow_video_01": "train",
        "test_workflow_video_01": "test",
    }
    assert lines(dataset) == ["labels but no video file for 1: test_workflow_video_01"]
    assert {split: len(ids) for split, ids in dataset.SPLITS["standard"].items()} == {"train": 27, "test": 14}


def test_pmlr50_counts_seconds_from_0(tmp_path: Path) -> None:
    put(tmp_path / "phase_annotations" / "38.txt", "frame\tphase\n" + rows(6, lambda at: at // 2))
    pictures(tmp_path / "frames" / "38", [f"{at:08d}.jpg" for at in range(6)])
    dataset = PmLR50(tmp_path)
    names = ("Preparation stage", "Knotting of the Foley catheter", "Procedure of the liver resection")
    assert found(dataset, "38")["phase"] == [(2 * at, 2 * at + 2, name) for at, name in enumerate(names)]
    assert dataset.videos[0].split == "test"
    assert PmLR50(tmp_path, "surgvista_test_is_val").split_of["34"] == "test"
    assert lines(dataset) == []
    sizes = {name: [len(ids) for ids in parts.values()] for name, parts in PmLR50.SPLITS.items()}
    assert sizes == {"standard": [35, 5, 10], "surgvista_test_is_val": [35, 5]}


def test_cataracts_count_frames_from_1_and_may_end_early(tmp_path: Path, clip: Path) -> None:
    gt = tmp_path / "ground_truth" / "CATARACTS_2020"
    put(gt / "dev_gt" / "test01.csv", "Frame,Steps\n" + rows(35, lambda at: 0 if at < 10 else 18, 1, ","))
    put(gt / "train_gt" / "train01.csv", "Frame,Steps\n1,19\n")
    (tmp_path / "videos" / "micro").mkdir(parents=True)
    (tmp_path / "videos" / "micro" / "test01.mp4").symlink_to(clip)
    dataset = Cataracts(tmp_path)
    assert found(dataset, "test01") == {"step": [(0, 1, "Idle"), (1, 3.5, "Wound Hydratation")]}
    assert dataset.videos[0].split == "val"
    text = "\n".join(lines(dataset))
    assert "test01: 5 frames fewer labelled than the video has: the last frames have no label" in text
    assert "train01.csv, line 2: unknown step '19'" in text
    sizes = [len(ids) for ids in Cataracts.SPLITS["standard"].values()]
    assert (sizes, sum(sizes)) == ([25, 5, 20], 50)


@pytest.mark.parametrize("folders", [("training", "training"), ("videos", "labels")])
def test_cataract21_has_no_header_and_german_names(folders: tuple[str, str], tmp_path: Path, clip: Path) -> None:
    text = rows(40, lambda at: "not_initialized" if at < 30 else "Visco-Absaugung", 0, ",")
    put(tmp_path / folders[1] / "case_01.csv", text)
    (tmp_path / folders[0]).mkdir(exist_ok=True)
    (tmp_path / folders[0] / "case_01.mp4").symlink_to(clip)
    dataset = Cataract21(tmp_path)
    assert found(dataset, "case_01")["phase"] == [(0, 3, "not_initialized"), (3, 4, "Visco-Absaugung")]
    assert lines(dataset) == []
    assert [len(ids) for ids in Cataract21.SPLITS["standard"].values()] == [17, 4]


def test_cataract21_merged_has_toning_and_antibiotics_as_one(tmp_path: Path) -> None:
    names = ("Visco-Absaugung", "Tonisieren", "Antibiotikum", "not_initialized")
    put(tmp_path / "labels" / "case_18.csv", rows(100, lambda at: names[at // 25], 0, ","))
    merged = Cataract21Merged(tmp_path)
    assert found(merged, "case_18")["phase"] == [
        (0, 1, "Visco-Absaugung"),
        (1, 3, "Tonisieren"),
        (3, 4, "not_initialized"),
    ]
    assert len(Cataract21Merged.CLASSES["phase"]) == 11
    assert [label for _, _, label in found(Cataract21(tmp_path), "case_18")["phase"]] == list(names)


def test_m2cai16_under_the_numbers_of_surgvista(tmp_path: Path, clip: Path) -> None:
    for number in (1, 28):
        text = "Frame\tPhase\n" + rows(40, lambda at: "TrocarPlacement" if at < 10 else "Preparation")
        put(tmp_path / "phases" / f"video_phase_{number:02d}.txt", text)
        (tmp_path / "videos").mkdir(exist_ok=True)
        (tmp_path / "videos" / f"video_{number:02d}.mp4").symlink_to(clip)
    dataset = M2cai16Renumbered(tmp_path)
    assert {row.video_id: row.split for row in dataset.videos} == {"video_01": "train", "video_28": "test"}
    assert found(dataset, "video_28")["phase"] == [(0, 1, "TrocarPlacement"), (1, 4, "Preparation")]
    assert {split: len(ids) for split, ids in dataset.SPLITS["standard"].items()} == {"train": 27, "test": 14}
    assert lines(dataset) == []


def test_egosurgery_joins_parts_whose_pictures_go_on(tmp_path: Path) -> None:
    folder = tmp_path / "annotations" / "phase"
    put(folder / "02_1.csv", "Frame,Phase\n02_1_0003,incision\n02_1_0004,Incision\n")
    put(folder / "02_2.csv", "Frame,Phase\n02_2_0006,closure\n")
    pictures(tmp_path / "images" / "02", [f"02_1_{at:04d}.jpg" for at in range(5)] + ["02_2_0005.jpg", "02_2_0006.jpg"])
    dataset = EgoSurgery(tmp_path)
    assert found(dataset, "02") == {"phase": [(3, 5, "incision"), (6, 7, "closure")]}
    text = "\n".join(lines(dataset))
    assert "02: labels start at frame 3" in text
    assert "02: 1 frame without a row between others" in text
    assert "16" not in {video_id for ids in EgoSurgery.SPLITS["standard"].values() for video_id in ids}
    assert [len(ids) for ids in EgoSurgery.SPLITS["standard"].values()] == [13, 2, 5]
    put(folder / "02_2.csv", "Frame,Phase\n02_2_0001,closure\n")
    assert "number the pictures of a video in one sequence" in EgoSurgery(tmp_path).contents.unreadable[0]


@pytest.mark.parametrize(
    ("text", "remark"),
    [
        (rows(4, lambda at: 1 + at // 2, 1), ""),
        (rows(4, lambda at: 1 + at // 2), "frames count from 0 although the layout counts from 1"),
        (rows(40, lambda at: 1 + at // 20, 1), "labels have a row for each frame, at 10 fps"),
    ],
    ids=["seconds", "from0", "frames"],
)
def test_autolaparo_counts_seconds_from_1(text: str, remark: str, tmp_path: Path, clip: Path) -> None:
    put(tmp_path / "labels" / "label_15.txt", "Frame\tPhase\n" + text)
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "15.mp4").symlink_to(clip)
    dataset = AutoLaparo(tmp_path)
    want = [(0, 2, "Preparation"), (2, 4, "Dividing Ligament and Peritoneum")]
    assert found(dataset, "15")["phase"] == want
    assert "\n".join(lines(dataset)).startswith(f"15: {remark}" if remark else "")
    assert len(lines(dataset)) == bool(remark)


def test_cholec80_in_the_form_of_tmrnet(tmp_path: Path, clip: Path) -> None:
    put(tmp_path / "phase_annotations" / "video41-phase.txt", rows(4, lambda at: at // 2).replace("\n", "\r\n"))
    put(tmp_path / "phase_annotations" / "video42-phase.txt", "".join(f"{at * 25}\t{at // 2}\n" for at in range(4)))
    put(tmp_path / "phase_annotations" / "video43-phase.txt", "0\t7\n")
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "video41.mp4").symlink_to(clip)
    dataset = Cholec80(tmp_path)
    want = [(0, 2, "Preparation"), (2, 4, "CalotTriangleDissection")]
    assert found(dataset, "video41")["phase"] == found(dataset, "video42")["phase"] == want
    text = "\n".join(lines(dataset))
    assert "video41: labels have a row a second and the video 10 frames a second" in text
    assert "unknown phase '7'" in text


def test_cholec80_in_the_form_of_svrcnet(tmp_path: Path) -> None:
    listed = (
        "\ufeffvideo02/video02-3.jpg 1\nvideo02/video02-1.jpg 0\nvideo41/video41-9.jpg 6\nvideo02/video02-2.jpg 0\n"
    )
    put(tmp_path / "gt_train.txt", listed)
    dataset = Cholec80(tmp_path)
    assert found(dataset, "video02")["phase"] == [(1, 3, "Preparation"), (3, 4, "CalotTriangleDissection")]
    assert found(dataset, "video41")["phase"] == [(9, 10, "GallbladderRetraction")]
    assert any("byte order mark" in line for line in lines(dataset))
    put(tmp_path / "gt_test.txt", "video02/video02-3.jpg 2\n")
    with pytest.raises(DataError, match="video02-3.jpg has two phases"):
        Cholec80(tmp_path).to_manifest()
