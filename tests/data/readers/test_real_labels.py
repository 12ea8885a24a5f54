"""Every real label file at hand: what the readers find, against counts by plain loops over the same files."""

import csv
import json
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from surgvl.core.ontology import RATED, class_kind
from surgvl.data.formats.cholect50_boxes import read_instance_boxes
from surgvl.data.manifest import Manifest
from surgvl.data.readers.autolaparo import AutoLaparo
from surgvl.data.readers.base import VideoDataset
from surgvl.data.readers.cataract101 import Cataract101
from surgvl.data.readers.cholec80 import Cholec80
from surgvl.data.readers.cholect50 import CholecT50
from surgvl.data.readers.m2cai16_workflow import M2cai16Workflow
from surgvl.data.readers.multibypass140 import MultiBypass140
from surgvl.data.readers.ophnet import OphNet
from tests.helpers.label_files import LABELS, REAL, needs_real

pytestmark = needs_real
MORE = Path(REAL) / "labels_more"


def seconds(manifest: Manifest, task: str) -> int:
    return round(sum(each.end_s - each.start_s for each in manifest.segments if each.task == task))


@cache
def of_csv_files(kind: type[VideoDataset]) -> tuple[VideoDataset, Manifest]:
    """Labels in the format of a row per second, with their manifest; read once, and changed by nobody."""
    dataset = kind(LABELS / f"{kind.name}_csv")
    return dataset, dataset.to_manifest()


def labels_fit(dataset: VideoDataset, manifest: Manifest) -> None:
    for each in manifest.segments:
        # What annotators looked at has no class, and boxes have those of what is in them.
        allowed = (RATED,) if each.task.endswith("_rated") else dataset.CLASSES[class_kind(each.task)]
        assert each.label in allowed, (each.task, each.label)


def csv_rows(folder: Path) -> int:
    return sum(len(path.read_text(encoding="utf-8").split()) - 1 for path in folder.glob("*.csv"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "folder", "count"),
    [(Cholec80, "cholec80_csv", 184_497), (AutoLaparo, "autolaparo_csv", 83_201)],
    ids=["cholec80", "autolaparo"],
)
def test_seconds_of_the_csv_files(kind: type[VideoDataset], folder: str, count: int) -> None:
    dataset, manifest = of_csv_files(kind)
    assert dataset.root == (LABELS / folder).resolve()
    assert seconds(manifest, "phase") == csv_rows(LABELS / folder) == count
    assert dataset.contents.unreadable == []
    labels_fit(dataset, manifest)


def test_cholec80_of_tmrnet_agrees_with_the_csv_files(tmp_path: Path) -> None:
    (tmp_path / "phase_annotations").symlink_to(MORE / "cholec80" / "gt-phase")
    dataset = Cholec80(tmp_path)
    numbers = {"41": 3104, "42": 3713, "58": 5994, "72": 3107, "78": 740, "80": 1725}
    assert {row.video_id: row.duration_s for row in dataset.videos} == {f"video{n}": s for n, s in numbers.items()}
    own, other = dataset.to_manifest(), of_csv_files(Cholec80)[1]
    # The csv files lack the last second.
    moments = [(row.video_id, at + 0.5) for row in dataset.videos for at in range(int(row.duration_s) - 1)]
    ids, times = [video_id for video_id, _ in moments], [time_s for _, time_s in moments]
    assert own.second_labels("phase", ids, times) == other.second_labels("phase", ids, times)


def test_cholec80_of_svrcnet_agrees_with_the_csv_files() -> None:
    root = MORE / "cholec80" / "gt_file_Cholec80_sample"
    dataset = Cholec80(root)
    manifest = dataset.to_manifest()
    lines = [line for path in root.glob("*.txt") for line in path.read_text("utf-8-sig").splitlines() if line.strip()]
    assert seconds(manifest, "phase") == len(lines) == 40
    spans = [each for each in manifest.segments if each.task == "phase"]
    ids, times = [each.video_id for each in spans], [each.start_s + 0.5 for each in spans]
    truth = of_csv_files(Cholec80)[1].second_labels("phase", ids, times)
    assert truth == [[each.label] for each in spans]


@pytest.mark.slow
def test_frames_of_cholect45(tmp_path: Path) -> None:
    root = LABELS / "cholect45_layout"
    frames = triplets = 0
    for path in (root / "triplet").glob("*.txt"):
        table = [line.split(",") for line in path.read_text(encoding="utf-8").split()]
        frames += len(table)
        triplets += sum(row[1:].count("1") for row in table)
    dataset = CholecT50(root)
    manifest = dataset.to_manifest()
    assert sum(row.duration_s for row in dataset.videos) == frames == 21_251
    assert seconds(manifest, "triplet") == triplets
    labels_fit(dataset, manifest)


@pytest.mark.slow
def test_frames_of_the_challenge_files_of_cholect50() -> None:
    root = MORE / "cholect50" / "cholect50-challenge-val"
    dataset = CholecT50(root)
    manifest = dataset.to_manifest()
    want = {"VID68": 243, "VID70": 164, "VID73": 160, "VID74": 441, "VID75": 120}
    for name, count in want.items():
        frames = json.loads((root / "labels" / f"{name}.json").read_text(encoding="utf-8"))["annotations"]
        assert len(frames) == count
        boxes = read_instance_boxes(root / "labels" / f"{name}.json")
        vectors_of = [(int(at), vector) for at, vectors in frames.items() for vector in vectors]
        assert (len(boxes.frames), boxes.num_without) == (len(vectors_of), 0)
        assert [tuple(row) for row in boxes.xywh.tolist()] == [
            tuple(vector[3:7]) for _, vector in sorted(vectors_of, key=lambda pair: pair[0])
        ]
        own = [each for each in manifest.segments if each.video_id == name]
        assert round(sum(each.end_s - each.start_s for each in own if each.task == "phase")) == count
        # A frame may hold one triplet twice.
        pairs = {(at, vector[0]) for at, vectors in frames.items() for vector in vectors if vector[0] >= 0}
        assert round(sum(each.end_s - each.start_s for each in own if each.task == "triplet")) == len(pairs)
    labels_fit(dataset, manifest)


def test_rows_of_cataract101() -> None:
    root = MORE / "cataract101" / "cataract-101"
    with (root / "annotations.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    with (root / "videos.csv").open(encoding="utf-8") as file:
        facts = list(csv.DictReader(file, delimiter=";"))
    dataset = Cataract101(root)
    manifest = dataset.to_manifest()
    spans = Counter(each.task for each in manifest.segments)
    assert (spans["phase"], len(rows)) == (1_266, 1_266)
    assert spans["experience"] == len(facts) == len(dataset.videos) == 101
    # Phases cover each video from its first start to its end.
    covered = sum(int(row["Frames"]) / 25 for row in facts)
    covered -= sum(min(int(row["FrameNo"]) for row in rows if row["VideoID"] == one["VideoID"]) / 25 for one in facts)
    found = [each.end_s - each.start_s for each in manifest.segments if each.task == "phase"]
    assert sum(found) == pytest.approx(covered, abs=0.1)
    assert Counter(row.split for row in dataset.videos) == {"train": 71, "val": 20, "test": 10}
    labels_fit(dataset, manifest)


@pytest.mark.slow
def test_rows_of_ophnet() -> None:
    path = MORE / "ophnet" / "annotation" / "OphNet2024_loca_challenge_phase.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    dataset = OphNet(MORE / "ophnet")
    manifest = dataset.to_manifest()
    assert len(manifest.segment_table) == len(rows) == 14_674
    for split, count, videos in (("train", 8_773, 445), ("val", 2_964, 144), ("test", 2_937, 154)):
        ids = set(manifest.video_ids(split))
        assert sum(row["split"] == split for row in rows) == count
        assert sum(each.video_id in ids for each in manifest.segments) == count
        assert len(ids) == len({row["video_id"] for row in rows if row["split"] == split}) == videos
    lines = [line for line in dataset.contents.problems if "segments overlap" in line]
    overlaps = [int(line.split(": ")[1].split()[0]) for line in lines]
    assert sum(overlaps) == 186
    labels_fit(dataset, manifest)


@pytest.mark.slow
def test_segments_of_multibypass140() -> None:
    phases = steps = flags = 0
    for path in (MORE / "multibypass140" / "labels").rglob("*.mp4.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        phases, steps = phases + len(record["phases"]), steps + len(record["steps"])
        flags += sum(each["label_name"] in ("out_of_body", "severe_index") for each in record["phases"])
    dataset = MultiBypass140(MORE / "multibypass140")
    manifest = dataset.to_manifest()
    found = Counter(each.task for each in manifest.segments)
    assert len(dataset.videos) == 140
    assert (phases, steps, flags) == (2_451, 5_429, 689 + 334)
    assert found == {"phase": phases - flags, "flag": flags, "step": steps}
    labels_fit(dataset, manifest)


def test_a_prediction_is_not_read_as_labels(tmp_path: Path) -> None:
    (source,) = (MORE / "m2cai16_workflow" / "layout_only").iterdir()
    for name, count in (("workflow_video_03_pred.txt", 0), ("workflow_video_03.txt", 17_750)):
        folder = tmp_path / str(count) / "train_dataset"
        folder.mkdir(parents=True)
        (folder / name).symlink_to(source)
        (folder / "workflow_video_04.txt").write_text("Frame\tPhase\n0\tPreparation\n", encoding="utf-8")
        manifest = M2cai16Workflow(folder.parent).to_manifest()
        own = [each for each in manifest.segments if each.video_id == "workflow_video_03"]
        assert sum(each.end_s - each.start_s for each in own) == pytest.approx(count / 25)


def test_splits_of_surgrec_are_those_of_its_lists() -> None:
    lists = MORE / "surgrec_splits" / "splits" / "cataract-101"
    for split, ids in Cataract101.SPLITS["surgrec"].items():
        text = (lists / f"{split}.csv").read_text(encoding="utf-8")
        assert {line.split("/case_")[1].split("_")[0] for line in text.splitlines()} == {one[5:] for one in ids}
