"""`eval` of boxes: files against label files with boxes, slow loops, and what does not fit."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from surgvl.commands.eval import evaluate
from surgvl.core.errors import ConfigError, DataError
from surgvl.core.ontology import INSTRUMENTS, TRIPLET_NAMES, TRIPLETS
from surgvl.core.results import Result
from surgvl.data.manifest import Manifest
from surgvl.data.readers.cholect50 import CholecT50
from surgvl.data.readers.prostatd import TRIPLETS as PROSTATD
from surgvl.data.readers.prostatd import ProstaTD
from surgvl.metrics.association import ASSOCIATIONS
from surgvl.tasks.detection import TripletDetection
from tests.helpers.label_files import put
from tests.metrics.test_association import slow
from tests.metrics.test_detection import made, slow_ap

REAL = os.environ.get("SURGVL_REAL_DATA", "")
HEAD = "video,time,label,score,x,y,w,h\n"
GRASPER, HOOK = 17, 60
BOXES = {GRASPER: [0.1, 0.1, 0.3, 0.4], HOOK: [0.6, 0.5, 0.3, 0.3]}


def by_name(results: list[Result]) -> dict[tuple[str, str], Result]:
    return {(result.task, result.metric): result for result in results}


def vector(triplet: int) -> list[float]:
    parts = [names.index(word) for names, word in zip((INSTRUMENTS,), TRIPLETS[triplet], strict=False)]
    found = [-1.0] * 15
    found[0], found[1], found[3:7] = triplet, parts[0], BOXES[triplet]
    return found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two test videos: a grasper in every frame, a hook in each second one; frame 7 of VID06 is empty."""
    for video, seconds in (("VID06", (0, 1, 2, 3, 7)), ("VID51", (0, 1, 2, 3))):
        frames = {str(at): [vector(each) for each in (GRASPER, HOOK)[: 1 + at % 2]] for at in seconds}
        if video == "VID06":
            frames["7"] = [[-1.0] * 15]
        put(tmp_path / "cholect50" / "labels" / f"{video}.json", json.dumps({"annotations": frames}))
    return tmp_path / "cholect50"


def true_rows(root: Path) -> list[list[Any]]:
    """Video, second, label, 0.5 and the box of each triplet."""
    rows: list[list[Any]] = []
    for path in sorted((root / "labels").glob("*.json")):
        for second, vectors in json.loads(path.read_text(encoding="utf-8"))["annotations"].items():
            rows += [
                [path.stem, int(second), TRIPLET_NAMES[int(each[0])], 0.5, *each[3:7]]
                for each in vectors
                if each[0] >= 0
            ]
    return rows


def write(path: Path, rows: list[list[Any]]) -> Path:
    lines = [",".join(f'"{cell}"' if isinstance(cell, str) else f"{cell}" for cell in row) for row in rows]
    path.write_text(HEAD + "".join(f"{line}\n" for line in lines))
    return path


def score(root: Path, path: Path, out: Path, **more: Any) -> dict[tuple[str, str], Result]:
    return by_name(evaluate(Path(f"cholect50:{root}"), out, predictions=[path], **more))


def test_true_boxes_score_one_and_all_labelled_frames_count(root: Path, tmp_path: Path) -> None:
    found = score(root, write(tmp_path / "p.csv", true_rows(root)), tmp_path / "out")
    for metric in ("mAP_IVT_50", "mAP_I_50", "mAP_IVT_50_by_frame", "association_lm"):
        assert found["triplet_detection", metric].value == 1, metric
    assert {task for task, _ in found} == {"triplet_detection"}
    ap = found["triplet_detection", "mAP_IVT_50"]
    assert (ap.num_videos, ap.num_clips, ap.warning) == (2, 9, "")
    assert ap.baselines == {"no boxes": 0}
    assert found["triplet_detection", "association_rfn"].baselines == {"no boxes": 1}
    assert set(ap.per_class or {}) == {TRIPLET_NAMES[GRASPER], TRIPLET_NAMES[HOOK]}


def test_a_box_in_an_empty_frame_is_wrong_and_a_frame_without_boxes_is_missed(root: Path, tmp_path: Path) -> None:
    rows = [row for row in true_rows(root) if (row[0], row[1]) != ("VID51", 2)]
    rows += [["VID06", 7, "Grasper, retract, gallbladder", 0.9, *BOXES[GRASPER]]]
    rows += [["VID06", 900, TRIPLET_NAMES[HOOK], 0.9, *BOXES[HOOK]]]
    found = score(root, write(tmp_path / "p.csv", rows), tmp_path / "out")
    ap = found["triplet_detection", "mAP_IVT_50"]
    # VID06, grasper: a false positive first, then 4 hits; VID51, grasper: 3 of 4, at recalls up to 0.7.
    grasper = (0.8 + 8 / 11) / 2
    assert ap.per_class == pytest.approx({TRIPLET_NAMES[GRASPER]: grasper, TRIPLET_NAMES[HOOK]: 1})
    assert ap.value == pytest.approx((grasper + 1) / 2)
    assert "1 of 9 predicted moments are not labelled frames, left out" in ap.warning
    # VID06: 6 matched and one too many; VID51: 5 matched and one missed.
    assert found["triplet_detection", "association_rfp"].value == pytest.approx((1 / 7 + 0) / 2)
    assert found["triplet_detection", "association_rfn"].value == pytest.approx((0 + 1 / 6) / 2)


def test_instruments_are_told_from_triplets_by_their_names(root: Path, tmp_path: Path) -> None:
    rows = [[*row[:2], row[2].partition(",")[0], *row[3:]] for row in true_rows(root)]
    rows[0][4:6] = 0.6, 0.6  # beside the true one
    found = score(root, write(tmp_path / "p.csv", rows), tmp_path / "out")
    assert {task for task, _ in found} == {"instrument_detection"}
    ap = found["instrument_detection", "mAP_50"]
    assert ap.per_class is not None
    assert ap.per_class["hook"] == 1
    assert ap.per_class["grasper"] < 1


def test_a_video_in_which_nothing_is_seen_is_a_prediction_too(root: Path, tmp_path: Path) -> None:
    rows = [row for row in true_rows(root) if row[0] == "VID06"]
    path = write(tmp_path / "p.csv", rows)
    path.write_text(path.read_text() + "VID51,0,,,,,,\n")
    found = score(root, path, tmp_path / "out")
    assert found["triplet_detection", "mAP_IVT_50"].by_video == {"VID06": 1, "VID51": 0}


def test_parquet_brings_its_facts(root: Path, tmp_path: Path) -> None:
    columns = list(map(list, zip(*true_rows(root), strict=True)))
    names = ("video_id", "time_s", "label", "score", "x", "y", "w", "h")
    facts = {"task": "triplet", "model": "our net", "pretraining_video_ids": ["VID51"]}
    table = pa.table(dict(zip(names, columns, strict=True))).replace_schema_metadata({"surgvl": json.dumps(facts)})
    pq.write_table(table, tmp_path / "p.parquet")
    with pytest.raises(DataError, match="seen in pretraining: VID51"):
        score(root, tmp_path / "p.parquet", tmp_path / "stopped")
    pq.write_table(table.replace_schema_metadata(None).drop_columns("h"), tmp_path / "bad.parquet")
    with pytest.raises(DataError, match="columns video_id, .* do not fit"):
        score(root, tmp_path / "bad.parquet", tmp_path / "bad")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (["VID06", 0, TRIPLET_NAMES[0], 0.5, 100, 80, 40, 30], "a box of VID06 at 0 s is 100,.* divide pixels"),
        (["VID06", 0, TRIPLET_NAMES[0], 0.5, 0.1, 0.1, -0.1, 0.2], "a box of VID06 at 0 s is 0.1, 0.1, -0.1"),
        (["VID06", 0.5, TRIPLET_NAMES[HOOK], 0.5, 0, 0, 1, 1], "VID06 has predictions at 0 s and 0.5 s, both in the"),
        (
            ["VID06", 0, "grasper,retract,galbladder", 0.5, 0, 0, 1, 1],
            "not a class of triplet_box: did you mean grasper,ret",
        ),
        (["VID06", 0, TRIPLET_NAMES[0], 0.5, "a", 0, 1, 1], "line 14, column x: must be a finite number, got 'a'"),
    ],
)
def test_boxes_that_do_not_fit(row: list[Any], message: str, root: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "p.csv", [*true_rows(root), row])
    with pytest.raises(DataError, match=message):
        score(root, path, tmp_path / "out", predictions_kind="triplet")


def test_boxes_of_a_kind_without_a_task(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="predicts labels of kind 'phase_box'; kinds with a task are"):
        score(root, write(tmp_path / "p.csv", true_rows(root)), tmp_path / "out", predictions_kind="phase")


@pytest.mark.slow
def test_the_baseline_sees_no_box(root: Path, tmp_path: Path) -> None:
    found = by_name(evaluate(Path(f"cholect50:{root}"), tmp_path / "out", baselines=True))
    for key, value in (("mAP_IVT_50", 0), ("mAP_I_50", 0), ("association_rfn", 1), ("association_lm", 0)):
        assert found["triplet_detection", key].value == value
        assert found["triplet_detection", key].num_clips == 9
    assert found["instrument_detection", "mAP_50"].value == 0
    assert found["instrument_detection", "mAP_50"].encoder == "no model"


@pytest.mark.parametrize("most", [1, 3])
def test_scores_equal_slow_loops(most: int) -> None:
    truth, predicted = made(most, most)
    names = TRIPLET_NAMES[:4]
    task = TripletDetection(truth, names, ["a", "b", "c"], 70)
    found = {result.metric: result for result in task.score(predicted)}
    ap = np.array([[slow_ap(truth, predicted, v, k, 0.5, "score") for k in range(3)] for v in range(2)])
    assert found["mAP_IVT_50"].value == pytest.approx(ap.mean(axis=0).mean(), abs=1e-12)
    assert found["mAP_IVT_50"].low < found["mAP_IVT_50"].value < found["mAP_IVT_50"].high
    by_video: list[dict[str, float]] = []
    for video in range(2):
        own = [
            type(each)(
                *(
                    getattr(each, name)[each.videos == video]
                    for name in ("frames", "videos", "classes", "xywh", "scores")
                )
            )
            for each in (truth, predicted)
        ]
        counts = slow(own[0], own[1], 0.5)
        by_video.append({name: count / sum(counts.values()) for name, count in counts.items()})
    for name in ASSOCIATIONS:
        assert found[f"association_{name}"].value == pytest.approx((by_video[0][name] + by_video[1][name]) / 2)


def test_an_instrument_with_two_targets_counts_once() -> None:
    truth, _ = made(1, 1)
    same = [at for at, (i, v, _) in enumerate(TRIPLETS) if (i, v) == ("grasper", "retract")][:4]
    names = [TRIPLET_NAMES[at] for at in same]
    twice = type(truth)(
        *(
            np.concatenate([each, other])
            for each, other in (
                (truth.frames, truth.frames),
                (truth.videos, truth.videos),
                (truth.classes, (truth.classes + 1) % 4),
                (truth.xywh, truth.xywh),
                (truth.scores, truth.scores),
            )
        )
    )
    found = {result.metric: result for result in TripletDetection(twice, names, ["a", "b"], 60).score(truth)}
    assert found["mAP_I_50"].value == 1
    assert found["mAP_IVT_50"].value < 1


def test_boxes_of_prostatd_are_centres(tmp_path: Path) -> None:
    row = [0, 0, 0, 0, 1, 1, 0.5, 0.4, 0.2, 0.1]
    frames = {
        "0.jpg": [row],
        "1.jpg": [],
        "2.jpg": [[*row[:6], -1, -1, -1, -1]],
        "4.jpg": [[*row[:6], 300, 200, 50, 50]],
    }
    put(tmp_path / "annos" / "esadv1.json", json.dumps(frames))
    dataset = ProstaTD(tmp_path)
    segments = dataset.to_manifest().segments
    boxes = {(row.task, row.start_s, row.end_s, row.label, row.xywh) for row in segments if row.xywh}
    assert boxes == {
        ("triplet_box", 0, 1, PROSTATD[0], "0.4,0.35,0.2,0.1"),
        ("instrument_box", 0, 1, "scissors", "0.4,0.35,0.2,0.1"),
    }
    assert [row.start_s for row in segments if row.task == "triplet_box_rated"] == [0, 1, 2, 4]
    told = "\n".join(dataset.problems())
    assert "1 instance in esadv1.json with a box that is not in parts of the picture" in told
    assert "1 instance in esadv1.json without a box" in told


def test_instruments_of_psi_ava_are_scored(tmp_path: Path) -> None:
    """Two key frames of a test case with a box each; one is found, the other is called another instrument."""
    rows = ["CASE002,1,1,0.1,0.1,0.4,0.5,5,-1,-1,1,0,0", "CASE002,36,2,0.5,0.5,1,1,5,-1,-1,2,0,0"]
    put(tmp_path / "psi" / "annotations" / "val.csv", "\n".join(rows))
    said: list[list[Any]] = [["CASE002", 0, "bipolar forceps", 0.9, 0.1, 0.1, 0.3, 0.4]]
    said += [["CASE002", 35, "Clip Applier", 0.8, 0.5, 0.5, 0.5, 0.5]]
    path = write(tmp_path / "p.csv", said)
    found = by_name(evaluate(Path(f"psi_ava:{tmp_path / 'psi'}"), tmp_path / "out", predictions=[path]))
    ap = found["instrument_detection", "mAP_50"]
    assert {task for task, _ in found} == {"instrument_detection"}
    assert (ap.num_videos, ap.num_clips) == (1, 2)
    assert ap.per_class == {"Bipolar Forceps": 1, "Prograsp Forceps": 0}


def test_manifests_without_boxes_keep_their_columns_and_hash(root: Path, tmp_path: Path) -> None:
    manifest = CholecT50(root).to_manifest()
    manifest.save(tmp_path / "boxed")
    assert Manifest.load(tmp_path / "boxed").hash == manifest.hash
    bare = [row for row in manifest.segments if "_box" not in row.task]
    without = Manifest(manifest.videos, bare)
    without.save(tmp_path / "bare")
    assert "xywh" not in pq.read_schema(tmp_path / "bare" / "segments.parquet").names
    assert without.hash != manifest.hash


@pytest.mark.slow
@pytest.mark.skipif(not REAL, reason="SURGVL_REAL_DATA is not set: real labels are not at hand")
def test_real_boxes_of_the_challenge(tmp_path: Path) -> None:
    """VID73 and VID74 are test videos, with 160 and 441 frames; every true box is predicted."""
    folder = Path(REAL) / "labels_more/cholect50/cholect50-challenge-val"
    rows = [row for row in true_rows(folder) if row[0] in ("VID73", "VID74")]
    found = score(folder, write(tmp_path / "p.csv", rows), tmp_path / "out")
    ap = found["triplet_detection", "mAP_IVT_50"]
    assert (ap.value, ap.num_videos, ap.num_clips) == (1, 2, 160 + 441)
    assert found["triplet_detection", "association_lm"].value == 1
