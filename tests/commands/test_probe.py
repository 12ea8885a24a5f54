"""The `probe` command on a small phantom: what it writes, what it refuses, and that a seed gives one result."""

import json
import shutil
from dataclasses import fields, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from surgvl.api import load
from surgvl.cli import main as cli
from surgvl.commands.data import data_convert
from surgvl.commands.embed import embed
from surgvl.commands.eval import evaluate
from surgvl.commands.finetune import Regularise, finetune
from surgvl.commands.phantom import phantom
from surgvl.commands.probe import probe
from surgvl.commands.timeline import timeline
from surgvl.core.errors import CheckpointError, ConfigError, DataError
from surgvl.core.files import write_json
from surgvl.core.predictions import read_predictions
from surgvl.core.results import Result, read_results
from surgvl.data.manifest import Manifest
from surgvl.metrics.average_precision import videos_then_classes
from surgvl.models.checkpoint import save_model
from surgvl.models.vit import VideoViT
from surgvl.models.vit_config import ViTConfig
from surgvl.probe.config import FewShot, ProbeClips, ReadoutTraining
from surgvl.probe.predicted import said
from surgvl.probe.recognition import Recognition
from surgvl.train.config import Optim, Run
from surgvl.video.clip import Preprocess

# Training videos of the readout, as a run records them; those of the encoder are of an old run, without data set.
OWN = ["phantom:video01", "phantom:video02"]
CALIBRATION = ("ece", "ece_mass", "brier")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A phantom of five short videos as a manifest, and two untrained encoders with the ids that they have seen."""
    root = tmp_path_factory.mktemp("probe")
    phantom(root / "phantom", train=2, val=1, test=2, duration_s=12.0, size_px=32, fps=5.0, workers=1)
    data_convert("phantom", root / "phantom", root / "manifest")
    for name, num_frames, tubelet in (("video", 4, 2), ("image", 1, 1)):
        torch.manual_seed(0)
        model = VideoViT(
            ViTConfig(size_px=16, num_frames=num_frames, patch_px=8, tubelet=tubelet, dim=32, depth=1, heads=2)
        )
        save_model(model, root / name / "model", Preprocess(num_frames=num_frames, fps=4.0, size_px=16))
        write_json(root / name / "run.json", {"pretraining_video_ids": ["video01", "video02"]})
    return root


def run(made: Path, out: Path, encoder: str = "video", **given: Any) -> dict[tuple[str, str], Result]:
    """A short probe; its results by task and metric, as they lie on disk."""
    given = {"steps": 4, "batch": 8, "frame_cache": made / "frames", **given}
    kinds: dict[str, Any] = {"clip": ProbeClips, "fit": ReadoutTraining}
    groups: dict[str, Any] = {
        name: kind(**{field.name: given.pop(field.name) for field in fields(kind) if field.name in given})
        for name, kind in kinds.items()
    }
    probe(made / "manifest", out, made / encoder, **groups, **given)
    found = read_results(out / "result.json")
    asked = given.get("heads") or ["phase", "instrument", "verb", "target"]
    assert {(result.task, result.metric) for result in found} == {
        (head, metric)
        for head in asked
        for metric in (*(("accuracy", "macro_f1") if head == "phase" else ("mAP", "mAP_video")), *CALIBRATION)
    }
    return {(result.task, result.metric): result for result in found}


def values(results: dict[tuple[str, str], Result]) -> list[float]:
    return [result.value for result in results.values()]


def facts(out: Path) -> Any:
    return json.loads((out / "run.json").read_text())


@pytest.mark.slow
def test_what_a_probe_writes(made: Path, tmp_path: Path) -> None:
    first = run(made, tmp_path / "a")
    for (task, metric), result in first.items():
        assert (result.num_videos, result.num_clips) == (2, 24)
        assert result.encoder == "frozen"
        assert result.num_trainable == facts(tmp_path / "a")["num_trainable"] > 0
        blind = {"majority", "random", "prior"} if task == "phase" else {"constant", "random"}
        assert set(result.baselines) == ({"certain"} if metric in CALIBRATION else blind), metric
        assert result.low <= result.value <= result.high
    assert facts(tmp_path / "a")["num_clips"] == [24, 24]
    assert facts(tmp_path / "a")["pretraining_video_ids"] == [*OWN, "video01", "video02"]
    assert "nothing about patients" in (tmp_path / "a" / "result.md").read_text()
    # What the scores are means of, for paired comparisons.
    tables = json.loads((tmp_path / "a" / "videos.json").read_text())
    assert tables["videos"] == ["video04", "video05"]
    for task, metric in (("phase", "accuracy"), ("verb", "mAP_video")):
        mean = float(videos_then_classes(np.array(tables[task], float))[0])
        assert mean == pytest.approx(first[task, metric].value)
    assert {path.name for path in (tmp_path / "a").iterdir()} == {
        *("config.yaml", "run.json", "result.json", "result.md", "videos.json", "videos.parquet"),
        *("model", "predictions"),
    }
    said = read_predictions(tmp_path / "a" / "predictions" / "phase.parquet")
    assert said.scores is not None
    np.testing.assert_allclose(said.scores.sum(1), 1, atol=1e-5)
    table = Manifest.load(made / "manifest")
    truth = table.second_labels("phase", said.video_ids, said.times_s)
    hits = np.array([said.class_names[at] == names[0] for at, names in zip(said.scores.argmax(1), truth, strict=True)])
    by_video = [hits[np.array(said.video_ids) == name].mean() for name in ("video04", "video05")]
    assert np.mean(by_video) == pytest.approx(first["phase", "accuracy"].value)
    assert said.facts["encoder"] == "frozen"

    again = run(made, tmp_path / "b", frame_cache=None)
    # The command names its folder.
    assert [replace(result, command="") for result in again.values()] == [
        replace(result, command="") for result in first.values()
    ]
    one, two = (load_file(tmp_path / name / "model" / "model.safetensors") for name in "ab")
    assert all(np.array_equal(one[name], two[name]) for name in one)
    other = run(made, tmp_path / "c", seed=1, heads=["phase"])
    assert values(other) != [first[each].value for each in other]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("readout", "heads"),
    [
        ("knn", ["phase", "instrument", "verb", "target"]),
        ("attentive", ["phase", "verb"]),
        ("ms_tcn", ["phase", "verb"]),
    ],
)
def test_a_saved_readout_says_of_a_file_what_it_said_of_the_split(
    made: Path, tmp_path: Path, readout: str, heads: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run(made, tmp_path / "p", readout=readout, heads=heads)
    model = load(tmp_path / "p")
    assert isinstance(model, Recognition)
    wanted = read_predictions(tmp_path / "p" / "predictions" / "phase.parquet")
    assert wanted.scores is not None
    path = Manifest.load(made / "manifest").path_of("video04")
    logits, starts, _ = model.predict(path)
    own = np.array(wanted.video_ids) == "video04"
    head = model.model.readout.asked[0]
    # Tokens of the split were stored in half precision.
    np.testing.assert_allclose(said(head, logits["phase"]), wanted.scores[own], atol=0.05)
    out = tmp_path / "video.csv"
    cli.run(["timeline", str(path), "--model", str(tmp_path / "p"), "--out", str(out), "--smooth_s", "0"])
    # It has no vectors, which `embed` would be for.
    assert capsys.readouterr().out.strip().endswith(f"--model {tmp_path / 'p'} --out {path.stem}.vtt")
    table = model.timeline(path, smooth_s=0)
    assert out.read_text().splitlines()[1:] != []
    assert set(table.classes) == set(heads)
    best = [head.classes[at] for at in said(head, logits["phase"]).argmax(1)]
    phases = [row for row in table if row.track == "phase"]
    assert [row.name for row in phases] == [name for name, _ in groupby(best)]
    assert phases[0].start_s == starts[0]
    with pytest.raises(ConfigError, match="looks ahead: for --causal"):
        model.timeline(path, causal=True)
    timeline([path], out=tmp_path / "t.csv", model=tmp_path / "p")
    assert (tmp_path / "t.csv").read_text().count("\n") > 1
    assert_eval_agrees(made, tmp_path)


def assert_eval_agrees(made: Path, folder: Path, **given: Any) -> None:
    """`eval --model` finds each score that the probe of the folder `p` wrote, and more."""
    found = evaluate(made / "manifest", folder / "scores", model=str(folder / "p"), **given)
    scores = {(result.task, result.metric): result for result in found}
    for own in read_results(folder / "p" / "result.json"):
        other = scores[own.task, own.metric]
        # Batches differ in size, so that the last bit of a token may, and with it a rank.
        assert other.value == pytest.approx(own.value, abs=0.01), own
        assert (other.num_videos, other.num_clips) == (own.num_videos, own.num_clips)
        assert (other.encoder, other.num_trainable) == (own.encoder, own.num_trainable)
    assert len(scores) > 10


@pytest.mark.slow
def test_vectors_grids_and_few_shots_by_the_command(made: Path, tmp_path: Path) -> None:
    embed(tmp_path / "vectors", made / "video", made / "manifest")
    grid = ReadoutTraining(steps=3, lr=(1e-3, 1e-2), weight_decay=(0.0, 0.1))
    heads = ["phase", "verb"]
    found = probe(
        made / "manifest", tmp_path / "g", vectors=tmp_path / "vectors", readout="tecno", fit=grid, heads=heads
    )
    assert "best of 4 by validation videos" in found[0].protocol
    assert "tecno readout of vectors" in found[0].protocol
    (tmp_path / "g").rename(tmp_path / "p")
    assert_eval_agrees(made, tmp_path, vectors=tmp_path / "vectors")
    shots = FewShot(videos=1, draws=2)
    given: dict[str, Any] = {
        "readout": "linear",
        "few_shot": shots,
        "fit": ReadoutTraining(steps=3),
        "heads": ["phase"],
    }
    found = probe(made / "manifest", tmp_path / "f", vectors=tmp_path / "vectors", **given)
    assert "1 training videos, 3 steps" in found[0].protocol
    assert {result.task for result in found} == {"phase"}
    assert (tmp_path / "f" / "predictions" / "draw1" / "phase.parquet").is_file()
    # The model is that of the first draw, and reads files by the encoder that made the vectors.
    wanted = read_predictions(tmp_path / "f" / "predictions" / "draw0" / "phase.parquet")
    assert wanted.scores is not None
    model = load(tmp_path / "f")
    assert isinstance(model, Recognition)
    path = Manifest.load(made / "manifest").path_of("video04")
    own = np.array(wanted.video_ids) == "video04"
    chances = said(model.model.readout.asked[0], model.predict(path)[0]["phase"])
    np.testing.assert_allclose(chances, wanted.scores[own], atol=1e-3)
    timeline([path], out=tmp_path / "t.csv", model=tmp_path / "f")
    assert (tmp_path / "t.csv").read_text().count("\n") > 1
    with pytest.raises(ConfigError, match="readout attentive reads every token and needs --encoder"):
        probe(made / "manifest", tmp_path / "a", vectors=tmp_path / "vectors")
    with pytest.raises(ConfigError, match="give --encoder, .*, or --vectors"):
        probe(made / "manifest", tmp_path / "b")


@pytest.mark.slow
def test_a_readout_of_vectors_says_which_model_it_needs(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "video", tmp_path / "encoder")
    embed(tmp_path / "vectors", tmp_path / "encoder", made / "manifest")
    fit, heads = ReadoutTraining(steps=2), ["phase"]
    probe(made / "manifest", tmp_path / "p", vectors=tmp_path / "vectors", readout="linear", fit=fit, heads=heads)
    embed(tmp_path / "others", made / "image", made / "manifest")
    given: dict[str, Any] = {"manifest": made / "manifest", "model": str(tmp_path / "p")}
    with pytest.raises(ConfigError, match=r"reads vectors of .*encoder.*, those of .*others are of"):
        evaluate(out=tmp_path / "a", vectors=tmp_path / "others", **given)
    with pytest.raises(DataError, match="2 of 2 train videos were seen in pretraining: video01, video02"):
        evaluate(out=tmp_path / "b", split="train", **given)
    weights = tmp_path / "encoder" / "model" / "model.safetensors"
    changed = {name: value + 1 for name, value in load_file(weights).items()}
    save_file(changed, weights)
    with pytest.raises(CheckpointError, match=r"vectors of .*encoder.*, but the model there is a different one"):
        load(tmp_path / "p")
    shutil.rmtree(tmp_path / "encoder")
    with pytest.raises(CheckpointError, match=r"reads out vectors of .*encoder.*, which is not there: put that model"):
        load(tmp_path / "p")
    # The same model elsewhere does; another one, or one for a readout that has its own, does not.
    there, image = made / "video", made / "image"
    assert isinstance(load(tmp_path / "p", encoder=there), Recognition)
    evaluate(out=tmp_path / "e", encoder=there, tasks=["phase"], **given)
    path = Manifest.load(made / "manifest").path_of("video04")
    timeline([path], out=tmp_path / "t.csv", model=tmp_path / "p", encoder=there)
    with pytest.raises(CheckpointError, match=r"but the model in .*image is a different one"):
        timeline([path], out=tmp_path / "u.csv", model=tmp_path / "p", encoder=image)
    with pytest.raises(CheckpointError, match=r"which is not in .*nowhere: put that model there, name the folder"):
        load(tmp_path / "p", encoder=tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"--encoder .*video: .*image reads out no stored vectors: leave it out"):
        load(image, encoder=there)
    # Stored vectors need no encoder, and not to know how clips are cut.
    (tmp_path / "p" / "model" / "preprocessor_config.json").unlink()
    evaluate(out=tmp_path / "c", vectors=tmp_path / "vectors", **given)
    with pytest.raises(CheckpointError, match=r"p reads out vectors of an earlier version, which do not say how clips"):
        load(tmp_path / "p", encoder=there)
    with pytest.raises(CheckpointError, match="is not a trained readout: give a run folder of `surgvl probe`"):
        evaluate(made / "manifest", tmp_path / "d", model=str(made / "video"))


@pytest.mark.slow
def test_fine_tuning_writes_a_model_and_its_scores(made: Path, tmp_path: Path) -> None:
    given: dict[str, Any] = {"heads": ["phase"], "frame_cache": made / "frames"}
    plain = Regularise(mixup=0, cutmix=0, smoothing=0)
    training: dict[str, Any] = {
        "run": Run(steps=4, batch=8, precision="32-true", accelerator="cpu"),
        "optim": Optim(layer_decay=0.75),
    }
    found = finetune(made / "manifest", tmp_path / "f", made / "video", regularise=plain, **given, **training)
    assert {result.encoder for result in found} == {"fine-tuned"}
    before = load_file(made / "video" / "model" / "model.safetensors")
    after = load_file(tmp_path / "f" / "model" / "model.safetensors")
    assert all(not np.array_equal(before[name], after[f"encoder.{name}"]) for name in before)
    assert found[0].num_trainable == sum(value.size for value in after.values())
    assert facts(tmp_path / "f")["pretraining_video_ids"] == [*OWN, "video01", "video02"]
    model = load(tmp_path / "f")
    assert isinstance(model, Recognition)
    wanted = read_predictions(tmp_path / "f" / "predictions" / "phase.parquet")
    assert wanted.scores is not None
    path = Manifest.load(made / "manifest").path_of("video05")
    own = np.array(wanted.video_ids) == "video05"
    logits = model.predict(path)[0]["phase"]
    np.testing.assert_allclose(said(model.model.readout.asked[0], logits), wanted.scores[own], atol=0.02)


@pytest.mark.slow
def test_the_readouts_and_the_random_control(made: Path, tmp_path: Path) -> None:
    found = {"pretrained": run(made, tmp_path / "p", readout="linear")}
    found["random"] = run(made, tmp_path / "r", readout="linear", random_encoder=True, seed=3)
    assert values(found["random"]) != values(found["pretrained"])
    assert {result.encoder for result in found["random"].values()} == {"random, frozen"}
    # Those of the readout alone.
    assert facts(tmp_path / "r")["pretraining_video_ids"] == OWN
    sizes = {name: facts(tmp_path / name)["num_parameters"] for name in "pr"}
    assert sizes["p"] == sizes["r"]
    # Phases that occur, then 6 instruments, 10 verbs, 15 targets; 32 columns and a bias.
    phases = {row.label for row in Manifest.load(made / "manifest").segments if row.task == "phase"}
    assert facts(tmp_path / "p")["num_trainable"] == (len(phases) + 31) * 33


@pytest.mark.slow
def test_an_image_encoder_is_read_out_over_the_frames_of_a_clip(made: Path, tmp_path: Path) -> None:
    verb: dict[str, Any] = {"encoder": "image", "heads": ["verb"]}
    still, moving = run(made, tmp_path / "s", **verb), run(made, tmp_path / "m", num_frames=4, fps=4.0, **verb)
    assert "of 4 frames at 4 fps" in moving["verb", "mAP_video"].protocol
    assert "of 1 frames at 4 fps" in still["verb", "mAP_video"].protocol
    assert facts(tmp_path / "m")["num_trainable"] == facts(tmp_path / "s")["num_trainable"]
    assert values(still) != values(moving)
    # The middle one of four frames is the frame at the middle of the clip, so it is what a clip of one frame shows.
    middle = run(made, tmp_path / "t", num_frames=4, fps=4.0, frame_step=4, **verb)
    assert "of 4 frames at 4 fps, 1 in 4" in middle["verb", "mAP_video"].protocol
    shown, expected = (load_file(tmp_path / name / "model" / "model.safetensors") for name in "ts")
    assert all(np.array_equal(shown[name], expected[name]) for name in expected if name.startswith("readout."))


@pytest.mark.slow
def test_clips_may_end_at_their_moment_though_the_encoder_saw_them_around_it(made: Path, tmp_path: Path) -> None:
    found = run(made, tmp_path / "p", num_frames=8, fps=1.0, anchor="last", heads=["phase"])
    assert "online" in found["phase", "accuracy"].protocol
    assert "of 8 frames at 1 fps" in found["phase", "accuracy"].protocol
    model = load(tmp_path / "p")
    assert isinstance(model, Recognition)
    assert (model.preprocess.anchor, model.preprocess.num_frames, model.preprocess.fps) == ("last", 8, 1.0)
    with pytest.raises(ConfigError, match=r"--clip.anchor must be one of last, centre, first"):
        run(made, tmp_path / "q", "video", anchor="middle")


@pytest.mark.slow
def test_what_was_seen_is_not_scored(made: Path, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"2 of 2 train videos were seen in pretraining: .* also in training of the readout"
    ):
        run(made, tmp_path / "a", split="train", heads=["phase"])
    write_json(made / "video" / "run.json", {"pretraining_video_ids": ["VID04"]})
    try:
        with pytest.raises(DataError, match="1 of 2 test videos was seen in pretraining: video04"):
            run(made, tmp_path / "b", heads=["phase"])
        marked = run(made, tmp_path / "b", allow_overlap=True, resume=True, heads=["phase"])
        run(made, tmp_path / "c", random_encoder=True, heads=["phase"])
    finally:
        write_json(made / "video" / "run.json", {"pretraining_video_ids": ["video01", "video02"]})
    assert all("video04" in result.warning for result in marked.values())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "problem", "words"),
    [
        ({"tokens_gb": 1e-6}, ConfigError, "more than --tokens_gb 1e-06: give a larger"),
        ({"num_frames": 6}, ConfigError, "--clip.num_frames must be a multiple of the encoder's 4 frames, got 6"),
        ({"frame_step": 3}, ConfigError, "--clip.frame_step must divide the 4 frames of a clip, got 3"),
        ({"every_s": -1.0}, ConfigError, "--clip.every_s must be >= 0, got -1"),
        ({"batch": 0}, ConfigError, "--fit.batch must be >= 1, got 0"),
        ({"split": "exam"}, ConfigError, "no video is in split 'exam'"),
        ({"readout": "atentive"}, ConfigError, "did you mean attentive"),
        ({"encoder": "phantom"}, CheckpointError, "holds no config.json"),
    ],
)
def test_what_does_not_fit_is_refused(
    made: Path, tmp_path: Path, given: dict[str, Any], problem: type[Exception], words: str
) -> None:
    with pytest.raises(problem, match=words):
        run(made, tmp_path / "o", **given)
    assert not (tmp_path / "o" / "work").exists()


@pytest.mark.slow
def test_a_video_that_cannot_be_read_is_set_aside(made: Path, tmp_path: Path) -> None:
    table = Manifest.load(made / "manifest")
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    rows = [
        row.model_copy(update={"path": str(tmp_path / "broken.mp4")}) if row.video_id == "video05" else row
        for row in table.videos
    ]
    Manifest(rows, table.segment_table, root=table.root).save(tmp_path / "manifest")
    fit = ReadoutTraining(steps=2, batch=8)
    with pytest.raises(DataError, match="1 of 4 videos was set aside"):
        probe(tmp_path / "manifest", tmp_path / "o", made / "video", fit=fit, heads=["phase", "verb"])
    found = read_results(tmp_path / "o" / "result.json")
    assert all(result.num_videos == 1 and "broken.mp4" in result.warning for result in found)
