"""`eval --predictions`: files of any model against a data set's folder, with every gap told."""

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from surgvl.cli import main as cli
from surgvl.commands.eval import EvalConfig, evaluate
from surgvl.core.errors import ConfigError, DataError
from surgvl.core.ontology import CHOLEC80_PHASES, TRIPLET_NAMES
from surgvl.core.predictions import Predictions, write_predictions
from surgvl.core.results import Result, read_results
from surgvl.data.manifest import Manifest, Segment, VideoRow
from surgvl.data.readers.cholect50 import CholecT50

LENGTHS = {"video01": 60, "video41": 40, "video42": 50, "video43": 30, "video44": 35, "video45": 45}


def phase_at(second: int) -> int:
    return second // 10


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Six videos of Cholec80, as the CSV files of its community form; a phase lasts 10 s."""
    folder = tmp_path / "cholec80"
    folder.mkdir()
    for video, length in LENGTHS.items():
        with (folder / f"{video}.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["path", "label"])
            rows.writerows([f"{video}_{second}.png", phase_at(second) + 1] for second in range(length))
    return folder


def write_csv(path: Path, rows: Mapping[tuple[str, float], str]) -> Path:
    path.write_text("video,time,label\n" + "".join(f"{v},{t},{label}\n" for (v, t), label in rows.items()))
    return path


def right(videos: list[str]) -> dict[tuple[str, float], str]:
    return {(video, t): CHOLEC80_PHASES[phase_at(t)] for video in videos for t in range(LENGTHS[video])}


def by_name(results: list[Result]) -> dict[str, Result]:
    return {result.metric: result for result in results}


@pytest.mark.slow
def test_a_stranger_scores_a_csv_of_five_videos_in_one_command(root: Path, tmp_path: Path) -> None:
    said = right([video for video in LENGTHS if video != "video01"])
    wrong = [key for key in said if key[1] % 5 == 0]
    said |= {key: "Preparation" if key[1] >= 10 else "Clipping cutting" for key in wrong}
    out = tmp_path / "out"
    path = write_csv(tmp_path / "pred.csv", said)
    cli.run(["eval", "--manifest", f"cholec80:{root}", "--predictions", str(path), "--out", str(out)])
    found = by_name(read_results(out / "result.json"))
    # Two of each ten seconds are wrong.
    assert found["accuracy"].value == pytest.approx(0.8)
    assert found["accuracy"].num_videos == 5
    assert found["accuracy"].num_clips == len(said)
    assert found["accuracy"].baselines["majority"] == pytest.approx(
        np.mean([10 / length for video, length in LENGTHS.items() if video != "video01"])
    )
    assert found["accuracy"].warning == ""
    assert found["accuracy"].protocol.startswith("test split of cholec80, predictions of pred.csv, online or offline")


@pytest.mark.slow
def test_parquet_brings_its_facts_and_seen_test_videos_stop_it(root: Path, tmp_path: Path) -> None:
    seconds = np.arange(40)
    scores = np.eye(7, dtype=np.float32)[phase_at(seconds)]  # type: ignore[arg-type]
    facts = {"model": "our net", "encoder": "fine-tuned", "num_trainable": 12, "protocol": "online"}
    kept = {"pretraining_video_ids": ["video41"]}
    for name, more in (("p", {}), ("seen", kept)):
        times_s = seconds.astype(np.float64) + 0.5
        each = Predictions("phase", ["video41"] * 40, times_s, CHOLEC80_PHASES, scores, facts={**facts, **more})
        write_predictions(tmp_path / f"{name}.parquet", each)
    source = Path(f"cholec80:{root}")
    found = by_name(evaluate(source, tmp_path / "out", predictions=[tmp_path / "p.parquet"]))
    assert found["accuracy"].value == 1
    assert (found["accuracy"].encoder, found["accuracy"].num_trainable) == ("fine-tuned", 12)
    assert "predictions of our net, online, majority: Preparation (" in found["accuracy"].protocol
    assert ", 1 fps, " in found["accuracy"].protocol
    assert "4 of 5 videos have no predictions: video42, video43" in found["accuracy"].warning
    with pytest.raises(DataError, match="seen in pretraining: video41"):
        evaluate(source, tmp_path / "stopped", predictions=[tmp_path / "seen.parquet"])


def test_seconds_without_a_counterpart_are_counted_in_both_directions(root: Path, tmp_path: Path) -> None:
    said = right(["video41"])
    for second in (3, 4, 20):
        del said["video41", second]
    said |= {("video41", 40): "Preparation", ("video01", 0): "Preparation"}
    path = write_csv(tmp_path / "pred.csv", said)
    found = by_name(evaluate(Path(f"cholec80:{root}"), tmp_path / "out", predictions=[path]))
    assert "3 of 40 seconds with phase labels have no prediction" in found["accuracy"].warning
    assert "1 of 38 predictions are at or after the end of their video" in found["accuracy"].warning
    assert found["accuracy"].num_clips == 37


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            {("video41", 0): "Preparation", ("video41", 7): "ClipingCutting"},
            "label 'ClipingCutting' of video41 at 7 s is no phase of cholec80; allowed are Preparation, .* did you mean"
            " ClippingCutting",
        ),
        ({("video81", 0): "Preparation"}, "no video 'video81' in the manifest: did you mean"),
        ({("video01", 0): "Preparation"}, "none of the videos video01 is in split 'test', .* choose another --split"),
        ({("video41", 0): "stirring"}, "classes stirring are of no kind of label in the manifest .phase: Preparation"),
        (
            {("video41", 900): "Preparation"},
            "40 of 40 seconds with phase labels have no prediction; 1 of 1 predictions are at or after the end of",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(
    rows: dict[tuple[str, float], str], message: str, root: Path, tmp_path: Path
) -> None:
    path = write_csv(tmp_path / "pred.csv", rows)
    with pytest.raises(DataError, match=message):
        evaluate(Path(f"cholec80:{root}"), tmp_path / "out", predictions=[path])


def test_two_labels_of_one_moment_are_refused(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "pred.csv"
    path.write_text("video,time,label\nvideo41,3,Preparation\nvideo41,3,ClippingCutting\n")
    with pytest.raises(DataError, match="video41 at 3 s has 2 labels, ClippingCutting and Preparation: give one"):
        evaluate(Path(f"cholec80:{root}"), tmp_path / "out", predictions=[path])


@pytest.mark.slow
def test_files_of_one_kind_hold_different_videos(root: Path, tmp_path: Path) -> None:
    paths = [write_csv(tmp_path / f"{video}.csv", right([video])) for video in ("video41", "video42")]
    found = by_name(evaluate(Path(f"cholec80:{root}"), tmp_path / "out", predictions=paths))
    assert found["accuracy"].num_videos == 2
    assert found["accuracy"].value == 1
    with pytest.raises(DataError, match="both predict the phase of video41"):
        evaluate(Path(f"cholec80:{root}"), tmp_path / "again", predictions=[paths[0], paths[0]])


def test_predictions_of_a_kind_without_labels_and_beside_vectors_are_refused(root: Path, tmp_path: Path) -> None:
    path, source = tmp_path / "pred.csv", Path(f"cholec80:{root}")
    path.write_text(f'video,time,"{TRIPLET_NAMES[0]}"\nvideo41,0,1\n')
    with pytest.raises(DataError, match="no test video of the manifest has labels of task 'triplet'"):
        evaluate(source, tmp_path / "out", predictions=[path], predictions_kind="triplet")
    with pytest.raises(ConfigError, match="score them in two runs"):
        evaluate(source, tmp_path / "both", predictions=[path], vectors=tmp_path)


@pytest.mark.slow
def test_a_model_of_cholec80_is_not_tested_on_the_same_operations_of_cholect50(tmp_path: Path) -> None:
    """Pretrained on Cholec80 1 to 40, tested on the standard split of CholecT50."""
    splits = CholecT50.SPLITS["rdp"]
    videos = [
        VideoRow(video_id=name, path="", source="cholect50", fps=1, duration_s=4, split=split)  # type: ignore[arg-type]
        for split, ids in splits.items()
        for name in ids
    ]
    segments = [
        Segment(video_id=row.video_id, start_s=1, end_s=3, task="triplet", label=TRIPLET_NAMES[17]) for row in videos
    ]
    Manifest(videos, segments).save(tmp_path / "manifest")
    test = [name for name in splits["test"] for _ in range(4)]
    facts = {"pretraining_video_ids": [f"cholec80:video{number:02d}" for number in range(1, 41)]}
    times_s = np.tile(np.arange(4.0), len(splits["test"]))
    scores = np.zeros((len(test), 100), np.float32)
    # The third second is a false positive of each video, as likely as the two true ones.
    scores[times_s > 0, 17] = 1
    path = tmp_path / "p.parquet"
    write_predictions(path, Predictions("triplet", test, times_s, TRIPLET_NAMES, scores, facts=facts))
    with pytest.raises(
        DataError, match=r"4 of 10 test videos were seen in pretraining: VID06, VID10, VID14, VID32: use"
    ):
        evaluate(tmp_path / "manifest", tmp_path / "out", predictions=[path])
    allowed = EvalConfig(allow_overlap=True)
    found = by_name(evaluate(tmp_path / "manifest", tmp_path / "marked", predictions=[path], protocol=allowed))
    assert "seen in pretraining: VID06" in found["mAP_IVT"].warning
    # A second without a triplet is a negative, not a gap.
    assert found["mAP_IVT"].num_clips == 40
    assert "no prediction" not in found["mAP_IVT"].warning
    assert found["mAP_IVT"].value == pytest.approx(2 / 3)


def test_what_a_folder_without_its_name_needs_is_said(root: Path, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "p.csv", right(["video41"]))
    with pytest.raises(DataError, match=rf"holds no manifest: .* such as cholec80:{root}"):
        evaluate(root, tmp_path / "out", predictions=[path])


def test_class_numbers_are_not_guessed(root: Path, tmp_path: Path) -> None:
    said = {key: str(CHOLEC80_PHASES.index(name)) for key, name in right(["video41"]).items()}
    path = write_csv(tmp_path / "p.csv", said)
    with pytest.raises(DataError, match=r"classes 0, 1, 2, 3 are numbers, .* count from 0 or from 1 .*write the names"):
        evaluate(Path(f"cholec80:{root}"), tmp_path / "out", predictions=[path])


def test_predictions_after_the_end_are_told_apart_from_gaps(root: Path, tmp_path: Path) -> None:
    """Frames that were taken for seconds: only the first few fall within the video."""
    said = {(video, 25 * time): label for (video, time), label in right(["video41"]).items()}
    path = write_csv(tmp_path / "p.csv", said)
    found = evaluate(Path(f"cholec80:{root}"), tmp_path / "out", predictions=[path])
    assert "38 of 40 predictions are at or after the end of their video" in found[0].warning
    assert "without a phase label" not in found[0].warning


@pytest.mark.slow
def test_files_of_two_data_sets_are_each_scored_with_their_own_classes(tmp_path: Path) -> None:
    videos = [
        VideoRow(video_id=f"{source}1", path="", source=source, fps=1, duration_s=4, split="test")
        for source in ("left", "right")
    ]
    segments = [
        Segment(video_id=f"{source}1", start_s=start, end_s=start + 2, task="phase", label=f"{source} {name}")
        for source in ("left", "right")
        for start, name in ((0, "open"), (2, "close"))
    ]
    Manifest(videos, segments).save(tmp_path / "manifest")
    paths = [
        write_csv(
            tmp_path / f"{source}.csv",
            {(f"{source}1", time): f"{source} {'open' if time < wrong else 'close'}" for time in range(4)},
        )
        for source, wrong in (("left", 2), ("right", 1))
    ]
    found = evaluate(tmp_path / "manifest", tmp_path / "out", predictions=paths, predictions_kind="phase")
    assert {each.data: each.value for each in found if each.metric == "accuracy"} == {"left": 1, "right": 0.75}


def own_labels(folder: Path) -> Path:
    """A video of 20 s with labels of its own, which no list publishes: ten of opening, then ten of closing."""
    row = VideoRow(video_id="mine", path="", source="manual", split="test", fps=25.0, duration_s=20.0)
    spans = [(0.0, 10.0, "opening"), (10.0, 20.0, "closing")]
    Manifest([row], [Segment(video_id="mine", start_s=a, end_s=b, task="phase", label=c) for a, b, c in spans]).save(
        folder
    )
    return folder


def write_scores(path: Path, classes: list[str], columns: list[int], **facts: str) -> Path:
    scores = np.eye(len(classes), dtype=np.float32)[columns]
    said = Predictions("phase", ["mine"] * 20, np.arange(20, dtype=np.float64), classes, scores, facts=facts)
    write_predictions(path, said)
    return path


def test_a_model_of_more_classes_is_wrong_where_it_says_one_that_no_label_is_of(tmp_path: Path) -> None:
    manifest = own_labels(tmp_path / "manifest")
    # Opening is told at once and for all of its ten seconds, washing for two of the ten seconds of closing.
    path = write_scores(tmp_path / "p.parquet", ["closing", "opening", "washing"], [1] * 10 + [2] * 2 + [0] * 8)
    found = by_name(evaluate(manifest, tmp_path / "out", predictions=[path]))
    assert found["accuracy"].value == pytest.approx(18 / 20)
    assert found["balanced_accuracy"].value == pytest.approx((1 + 8 / 10) / 2)
    assert "no label is of phase washing, which the model can predict" in found["accuracy"].warning


@pytest.mark.slow
def test_a_class_that_may_be_misspelt_is_refused_but_of_a_readout(tmp_path: Path) -> None:
    manifest = own_labels(tmp_path / "manifest")
    classes, columns = ["opening", "closure"], [0] * 10 + [1] * 10
    with pytest.raises(DataError, match=r"column 'closure' is no phase of manual; allowed are closing, opening"):
        evaluate(manifest, tmp_path / "a", predictions=[write_scores(tmp_path / "p.parquet", classes, columns)])
    made = write_scores(tmp_path / "q.parquet", classes, columns, made_by="surgvl probe")
    found = by_name(evaluate(manifest, tmp_path / "b", predictions=[made]))
    assert found["accuracy"].value == pytest.approx(0.5)


def test_a_suite_does_not_drop_other_inputs(root: Path, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "p.csv", right(["video41"]))
    fact = "--suite phantom has its own data and protocols: leave "
    with pytest.raises(ConfigError, match=f"{fact}--manifest and --predictions out"):
        evaluate(root, tmp_path / "out", suite="phantom", predictions=[path])
    # These would have been ignored.
    with pytest.raises(ConfigError, match=f"{fact}--device out; --suite_device is the device of a suite"):
        evaluate(out=tmp_path / "out", suite="phantom", device="cuda")
    protocol = EvalConfig(smooth_s=10, relaxed="symmetric")
    with pytest.raises(ConfigError, match=f"{fact}--tasks and --smooth_s and --relaxed out"):
        evaluate(out=tmp_path / "out", suite="phantom", tasks=["phase"], protocol=protocol)


def test_sentences_without_vectors_are_refused(root: Path, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "p.csv", right(["video41"]))
    with pytest.raises(ConfigError, match="--prompts cholec80_phase: only --vectors or --server are scored by sent"):
        evaluate(root, tmp_path / "out", predictions=[path], protocol=EvalConfig(prompts=["cholec80_phase"]))


@pytest.mark.slow
def test_the_next_command_compares(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_csv(tmp_path / "p.csv", right(["video41"]))
    evaluate(Path(f"cholec80:{root}"), tmp_path / "out", predictions=[path])
    assert f"next: surgvl compare {tmp_path / 'out'} OTHER_RUN" in capsys.readouterr().out
