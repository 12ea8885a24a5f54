"""The `finetune` command on a small phantom: where it begins, how long it lasts, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from surgvl.commands.data import data_convert
from surgvl.commands.embed import embed
from surgvl.commands.finetune import Regularise, finetune
from surgvl.commands.phantom import phantom
from surgvl.commands.probe import probe
from surgvl.core.errors import ConfigError, DataError
from surgvl.core.predictions import Predictions, read_predictions
from surgvl.data.manifest import Manifest
from surgvl.models.checkpoint import save_model
from surgvl.models.vit import VideoViT
from surgvl.models.vit_config import ViTConfig
from surgvl.probe.config import ProbeClips, ReadoutTraining
from surgvl.train.config import Optim, Run
from surgvl.video.clip import Preprocess
from tests.helpers.small_phantom import SMALL

FIT = ReadoutTraining(steps=20, batch=8, lr=(0.05,))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A phantom of three videos of 12 s as a manifest, and two untrained encoders, of clips and of single frames."""
    root = tmp_path_factory.mktemp("finetune")
    phantom(root / "phantom", workers=1, **SMALL)
    data_convert("phantom", root / "phantom", root / "manifest")
    for name, num_frames, tubelet in (("video", 4, 2), ("image", 1, 1)):
        torch.manual_seed(0)
        model = VideoViT(
            ViTConfig(size_px=16, num_frames=num_frames, patch_px=8, tubelet=tubelet, dim=32, depth=1, heads=2)
        )
        save_model(model, root / name, Preprocess(num_frames=num_frames, fps=4.0, size_px=16))
    return root


def run(made: Path, out: Path, encoder: Path, lr: float = 0.0, steps: int = 2, **given: Any) -> Predictions:
    """A short fine-tuning; what it says of the phases of the test video."""
    finetune(
        made / "manifest",
        out,
        encoder,
        frame_cache=made / "frames",
        optim=Optim(lr=lr, warmup=0.0),
        run=Run(steps=steps, batch=4, precision="32-true", accelerator="cpu"),
        **given,
    )
    return read_predictions(out / "predictions" / "phase.parquet")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("encoder", "readout", "clip"),
    [
        ("video", "linear", ProbeClips()),
        ("video", "attentive", ProbeClips()),
        ("image", "linear", ProbeClips(num_frames=4, fps=4.0, frame_step=2, every_s=2.0)),
    ],
)
def test_training_goes_on_from_the_predictions_of_a_probe(
    made: Path, tmp_path: Path, encoder: str, readout: str, clip: ProbeClips
) -> None:
    given: dict[str, Any] = {"heads": ["phase", "verb"], "frame_cache": made / "frames"}
    probe(made / "manifest", tmp_path / "probe", made / encoder, readout, clip=clip, fit=FIT, **given)
    wanted = read_predictions(tmp_path / "probe" / "predictions" / "phase.parquet")
    assert wanted.scores is not None
    # A head of zeros would say the same of all clips.
    assert np.ptp(wanted.scores, 0).max() > 0.01
    found = run(made, tmp_path / "still", tmp_path / "probe")
    assert (found.video_ids, found.class_names) == (wanted.video_ids, wanted.class_names)
    np.testing.assert_array_equal(found.times_s, wanted.times_s)
    assert found.scores is not None
    np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-5)

    moved = run(made, tmp_path / "moved", tmp_path / "probe", lr=1e-3)
    assert moved.scores is not None
    assert not np.allclose(moved.scores, wanted.scores, atol=1e-4)
    before, after = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("probe", "moved"))
    # All that is trained has changed; what the training clips were standardised by has not.
    fixed = {"readout.norm.mean", "readout.norm.std"} & before.keys()
    assert before.keys() == after.keys()
    assert {name for name in before if np.array_equal(before[name], after[name])} == fixed
    record = json.loads((tmp_path / "moved" / "run.json").read_text())
    trained = {name: value.size for name, value in after.items() if name not in fixed}
    assert record["num_trainable"] == sum(trained.values())


@pytest.mark.slow
def test_a_fine_tuned_model_of_random_weights_is_called_so_whatever_it_began_with(made: Path, tmp_path: Path) -> None:
    given: dict[str, Any] = {"heads": ["phase"], "fit": FIT}
    probe(made / "manifest", tmp_path / "probe", made / "video", "linear", random_encoder=True, **given)
    run(made, tmp_path / "tuned", tmp_path / "probe")
    [words, *_] = json.loads((tmp_path / "tuned" / "result.json").read_text())
    assert words["encoder"] == "random, fine-tuned"
    assert "begun with a trained linear readout" in words["protocol"]
    assert json.loads((tmp_path / "tuned" / "run.json").read_text())["random_encoder"] is True


@pytest.mark.slow
def test_epochs_are_passes_over_the_training_clips(made: Path, tmp_path: Path) -> None:
    # Twelve clips, a second each, in steps of four.
    run(made, tmp_path / "tuned", made / "video", heads=["phase"], epochs=3.0)
    steps = [json.loads(line)["step"] for line in (tmp_path / "tuned" / "metrics.jsonl").read_text().splitlines()]
    assert steps[-1] == 8
    with pytest.raises(ConfigError, match="--epochs must be .*, got -1"):
        run(made, tmp_path / "other", made / "video", epochs=-1.0)


@pytest.mark.slow
def test_epochs_leave_out_moments_without_a_label(made: Path, tmp_path: Path) -> None:
    """Of the training video's twelve seconds, the first five have a phase."""
    whole = Manifest.load(made / "manifest")
    trained = whole.video_ids("train")
    videos = [row.model_copy(update={"path": str(whole.path_of(row.video_id))}) for row in whole.videos]
    rows = [row for row in whole.segments if row.task == "phase" and (row.video_id not in trained or row.start_s < 5)]
    cut = [row.model_copy(update={"end_s": min(row.end_s, 5)}) if row.video_id in trained else row for row in rows]
    Manifest(videos, cut).save(made / "partly")
    given: dict[str, Any] = {"heads": ["phase"], "frame_cache": made / "frames"}
    settings = Run(batch=2, precision="32-true", accelerator="cpu")
    finetune(made / "partly", tmp_path / "tuned", made / "video", run=settings, epochs=4.0, **given)
    lines = (tmp_path / "tuned" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["step"] + 1 == 4 * 5 / 2
    fit = ReadoutTraining(epochs=4, batch=5)
    results = probe(made / "partly", tmp_path / "probe", made / "video", "linear", fit=fit, **given)
    assert "4 steps of 5 clips" in results[0].protocol
    for name in ("tuned", "probe"):
        assert json.loads((tmp_path / name / "run.json").read_text())["num_clips"][0] == 5
    only = [row for row in whole.segments if row.video_id not in trained and row.task == "phase"]
    Manifest(videos, only).save(made / "unlabelled")
    with pytest.raises(DataError, match="no training clip has a label of these kinds: check the manifest and --heads"):
        finetune(made / "unlabelled", tmp_path / "none", made / "video", run=settings, **given)


@pytest.mark.slow
def test_a_readout_that_cannot_be_trained_further_is_refused(made: Path, tmp_path: Path) -> None:
    given: dict[str, Any] = {"heads": ["phase"], "fit": ReadoutTraining(steps=1)}
    for readout in ("linear", "knn", "tecno"):
        probe(made / "manifest", tmp_path / readout, made / "video", readout, **given)
    for readout in ("knn", "tecno"):
        with pytest.raises(ConfigError, match=f"readout {readout}, through which no encoder is trained: give a probe"):
            run(made, tmp_path / "a", tmp_path / readout)
    with pytest.raises(ConfigError, match="--heads must be those of the readout in .*, phase, got verb"):
        run(made, tmp_path / "b", tmp_path / "linear", heads=["verb"])
    with pytest.raises(ConfigError, match="--random_encoder needs an encoder without a readout"):
        run(made, tmp_path / "c", tmp_path / "linear", random_encoder=True)
    embed(tmp_path / "vectors", made / "video", made / "manifest")
    probe(made / "manifest", tmp_path / "stored", vectors=tmp_path / "vectors", readout="linear", **given)
    with pytest.raises(ConfigError, match="reads stored vectors and has no encoder to train"):
        run(made, tmp_path / "d", tmp_path / "stored")


@pytest.mark.slow
def test_regularisation_leaves_the_start_as_it_is(made: Path, tmp_path: Path) -> None:
    given: dict[str, Any] = {"heads": ["phase"], "fit": FIT}
    probe(made / "manifest", tmp_path / "probe", made / "video", "linear", **given)
    wanted = read_predictions(tmp_path / "probe" / "predictions" / "phase.parquet")
    found = run(made, tmp_path / "tuned", tmp_path / "probe", regularise=Regularise(drop_path=0.5, mixup=0.7))
    [first, *_] = json.loads((tmp_path / "tuned" / "result.json").read_text())
    assert "mixup 0.7, CutMix 1, smoothing 0.1" in first["protocol"]
    assert found.scores is not None
    assert wanted.scores is not None
    np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-5)
