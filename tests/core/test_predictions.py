"""Prediction files: what is written is read, CSV in each form, and errors that name line, column and remedy."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from surgvl.core.errors import ConfigError, DataError
from surgvl.core.predictions import Predictions, read_predictions, write_predictions

FACTS = {"model": "m", "encoder": "frozen", "num_trainable": 7, "protocol": "online", "pretraining_video_ids": ["a"]}


def scored() -> Predictions:
    scores = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    return Predictions("phase", ["b", "a", "a", "a"], np.array([0.0, 2, 0, 1]), ["x", "y", "z,w"], scores, facts=FACTS)


def csv_file(folder: Path, text: str) -> Path:
    path = folder / "predictions.csv"
    path.write_text(text)
    return path


def test_scores_are_read_as_written_with_their_facts(tmp_path: Path) -> None:
    given = scored()
    write_predictions(tmp_path / "p.parquet", given)
    found = read_predictions(tmp_path / "p.parquet")
    assert (found.kind, found.video_ids, found.class_names, found.facts) == (
        "phase",
        list(given.video_ids),
        list(given.class_names),
        FACTS,
    )
    np.testing.assert_array_equal(found.scores, given.scores)
    assert not found.hard
    # The documented form, read without this library.
    table = pq.read_table(tmp_path / "p.parquet")
    assert table.column_names == ["video_id", "time_s", "score:x", "score:y", "score:z,w"]
    assert json.loads(table.schema.metadata[b"surgvl"])["task"] == "phase"


def test_decisions_keep_moments_with_two_labels_and_with_none(tmp_path: Path) -> None:
    given = np.array([[1, 1, 0], [0, 0, 0], [0, 0, 1]], np.float32)
    names = ["hook", "clipper", "grasper"]
    write_predictions(
        tmp_path / "p.parquet", Predictions("tool", ["a"] * 3, np.array([0.0, 1, 2]), names, given, hard=True)
    )
    assert pq.read_table(tmp_path / "p.parquet")["label"].to_pylist() == ["hook", "clipper", None, "grasper"]
    found = read_predictions(tmp_path / "p.parquet")
    assert found.hard
    assert list(found.class_names) == names
    np.testing.assert_array_equal(found.scores, given)


def test_values_are_read_as_written(tmp_path: Path) -> None:
    write_predictions(
        tmp_path / "p.parquet", Predictions("skill", ["a", "b"], np.zeros(2), [], None, np.array([22, 3.5]))
    )
    found = read_predictions(tmp_path / "p.parquet")
    assert found.scores is None
    assert found.values is not None
    assert found.values.tolist() == [22, 3.5]


@pytest.mark.parametrize(
    "text",
    [
        "video,time,label\na,0,x\na,1,x\na,2,y\n",
        "\ufeffvideo_id;time_s;label\r\na;0;x\r\na;1;x\r\na;2;y\r\n",
        "video\tframe\tlabel\na\t0\tx\na\t25\tx\na\t50\ty\n",
        "video,start,end,label\na,0,2,x\na,2,2.5,y\n",
        "video\tframe\ttime\tlabel\na\t0\t0\tx\na\t25\t1\tx\na\t50\t2\ty\n",
        "video,time,x,y\na,0,1,0\na,1,1,0\na,2,0,1\n",
    ],
)
def test_every_form_of_csv_is_read(text: str, tmp_path: Path) -> None:
    found = read_predictions(csv_file(tmp_path, text), fps=25 if "frame" in text else None)
    assert (found.video_ids, found.times_s.tolist(), found.class_names) == (["a"] * 3, [0, 1, 2], ["x", "y"])
    assert found.scores is not None
    assert found.scores.tolist() == [[1, 0], [1, 0], [0, 1]]
    assert found.kind == ""
    assert found.stride_s == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("video,time,label\n", "has no predictions: it needs a header"),
        ("vidio,time,label\na,0,x\n", "no column `video` among vidio, time, label.*did you mean vidio"),
        ("Frame,Phase\n0,x\n", "no column `video`.*or add one with the id"),
        ("video,time,phase\na,0,x\na,1,y\n", "column phase holds no scores, but 'x'.*classes `label`"),
        ("video,label\na,x\n", "no column `time` or `frame`"),
        ("video,frame,label\na,0,x\n", "give --predictions_fps"),
        ("video,time\na,0\n", "columns video, time do not fit"),
        ("video,time,label,x\na,0,x,1\n", "columns video, time, label, x do not fit"),
        ("video,time,label\na,0,x\na,1\n", r"line 3: 2 cells for 3 columns"),
        ("video,time,label\na,0,x\n,1,x\n", "line 3: video is empty"),
        ("video,time,x,y\na,0,1,2\na,1,high,2\n", "line 3, column x: must be a finite number, got 'high'"),
        ("video,time,x,y\na,0,1,2\na,1,nan,2\n", "line 3, column x: must be a finite number"),
        ("video,time,label\na,-1,x\n", "line 2, column time: must be a number >= 0, got '-1'"),
        ("video,start,end,label\na,3,2,x\n", "line 2: end 2 must be after start 3"),
        ("video,time,x,y\na,1,1,2\na,1,1,2\n", "two predictions for a at 1 s"),
    ],
)
def test_a_faulty_csv_is_refused_with_its_place(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_predictions(csv_file(tmp_path, text))


def test_a_rate_of_frames_is_never_ignored(tmp_path: Path) -> None:
    for text in ("video,time,label\na,25,x\n", "video,start,end,label\na,0,50,x\n"):
        with pytest.raises(DataError, match="no column `frame` among .*, which --predictions_fps 25 is for"):
            read_predictions(csv_file(tmp_path, text), fps=25)


def test_a_table_with_frames_and_times_needs_no_rate(tmp_path: Path) -> None:
    found = read_predictions(csv_file(tmp_path, "video,frame,time,label\na,25,1,x\n"))
    assert found.times_s.tolist() == [1]


@pytest.mark.parametrize(
    ("columns", "facts", "message"),
    [
        ({"video_id": ["a"], "time_s": [0.0]}, {}, "allowed are video_id and time_s, then score:CLASS"),
        ({"video_id": ["a"], "time_s": [0.0], "score:x": ["high"]}, {}, "a column has the wrong type"),
        ({"video_id": ["a"], "time_s": [None], "label": ["x"]}, {}, "row 0: time_s is missing"),
        (
            {"video_id": ["a"], "time_s": [0.0], "label": ["x"]},
            {"classes": ["y"]},
            "labels x are not among its classes",
        ),
        ({"video_id": ["a"], "time_s": [0.0], "label": ["x"]}, {"classes": 3}, "`classes` a list of names"),
        ({"video_id": ["a"], "time_s": [0.0], "label": ["x"]}, {"num_trainable": "3"}, "num_trainable .* of type int"),
        (
            {"video_id": ["a"], "time_s": [0.0], "label": ["x"]},
            {"pretraining_video_ids": ["b", 7]},
            "pretraining_video_ids of predictions must be strings, got 7",
        ),
    ],
)
def test_a_faulty_parquet_is_refused(
    columns: dict[str, Any], facts: dict[str, Any], message: str, tmp_path: Path
) -> None:
    table = pa.table(columns).replace_schema_metadata({b"surgvl": json.dumps(facts).encode()})
    pq.write_table(table, tmp_path / "p.parquet")
    with pytest.raises(DataError, match=message):
        read_predictions(tmp_path / "p.parquet")


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    write_predictions(tmp_path / "p.parquet", scored())
    assert read_predictions(tmp_path / "p.parquet", kind="phase").kind == "phase"
    with pytest.raises(DataError, match="predicts labels of kind 'phase', not 'step'"):
        read_predictions(tmp_path / "p.parquet", kind="step")


def test_an_unknown_kind_of_encoder_is_refused() -> None:
    with pytest.raises(ConfigError, match="encoder of predictions must be one of frozen, fine-tuned, not stated"):
        Predictions("phase", ["a"], np.zeros(1), ["x"], np.zeros((1, 1), np.float32), facts={"encoder": "froze"})


def test_arrays_of_ivtmetrics_are_read_by_video(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {"VID06": rng.random((3, 100)), "VID10": rng.random((2, 100))}
    np.savez(tmp_path / "p.npz", **arrays)  # type: ignore[arg-type]
    np.save(tmp_path / "VID06.npy", arrays["VID06"])
    found = read_predictions(tmp_path / "p.npz")
    assert (found.kind, found.video_ids) == ("triplet", ["VID06"] * 3 + ["VID10"] * 2)
    assert found.times_s.tolist() == [0, 1, 2, 0, 1]
    assert found.scores is not None
    np.testing.assert_allclose(found.scores, np.concatenate([*arrays.values()]), rtol=1e-6)
    # Ids of CholecT50: 60 is the hook that dissects the gallbladder.
    assert found.class_names[60] == "hook,dissect,gallbladder"
    one = read_predictions(tmp_path / "VID06.npy")
    assert (one.video_ids, one.kind) == (["VID06"] * 3, "triplet")
    np.save(tmp_path / "VID07.npy", rng.random((4, 15)))
    assert read_predictions(tmp_path / "VID07.npy").kind == "target"
    np.save(tmp_path / "VID08.npy", rng.random((4, 7)))
    with pytest.raises(DataError, match=r"array VID08 must be numbers .* 100, 6, 10, 15 classes, got float64 \[4, 7\]"):
        read_predictions(tmp_path / "VID08.npy")
    (tmp_path / "VID09.npy").write_text("no array")
    with pytest.raises(DataError, match="VID09.npy cannot be read"):
        read_predictions(tmp_path / "VID09.npy")
