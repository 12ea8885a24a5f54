"""Augmentation in pretraining: what each recipe ships, what reaches objective and teacher, and what a run repeats."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from surgvl import video
from surgvl.cli import main as cli
from surgvl.data.augment import Augment
from surgvl.data.augment_config import AugmentConfig
from surgvl.data.clips import PretrainClips, collate
from surgvl.data.frame_store import FrameStore
from surgvl.data.manifest import Manifest, VideoRow
from surgvl.data.sampler import ClipConfig
from surgvl.models.checkpoint import load_model
from surgvl.models.vit import VideoViT
from surgvl.pretrain.surgvista import SurgVISTA
from surgvl.train.loop import MicroStep
from surgvl.video.clip import Crop, Preprocess
from tests.pretrain.test_contract import build, clips, teacher  # noqa: F401 (fixture)
from tests.train.test_loop import TINY_MAE

STILL = {"shift": 0.0, "gain": 0.0, "colour": 0.0}
MULTI_SCALE = {"crop": "multi_scale", "scales": (1.0, 0.875, 0.75, 0.66), **STILL, "flip": False}
RESIZED = {"crop": "random_resized", "area": (0.3, 1.0), "aspect": (0.75, 1.35), **STILL, "flip": True}
WINDOW = {"crop": "random", "side": 224 / 256, **STILL, "flip": False}
TODAY = {"crop": "none", "shift": 0.08, "gain": 0.15, "colour": 0.05, "flip": True}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        # By the released code of SurgVISTA, VideoMAE V2 and V-JEPA 2; UniSurg as told of its paper.
        ("surgvista", MULTI_SCALE),
        ("videomae", MULTI_SCALE),
        ("vjepa", RESIZED),
        ("unisurg_stage1", WINDOW),
        ("unisurg_stage2", WINDOW),
        # Unknown: those that they build on stand in.
        ("surgrec_mae", MULTI_SCALE),
        ("surgrec_jepa", RESIZED),
        ("zen", {"crop": "random_resized", "area": (0.4, 1.0), "flip": True}),
        *((f"{name}_phantom", TODAY) for name in ("surgvista", "videomae", "vjepa", "unisurg", "surgrec_mae", "zen")),
    ],
)
def test_recipes_ship_the_augmentation_of_their_papers(recipe: str, expected: dict[str, Any]) -> None:
    _, parser, config = cli.parse(["pretrain", "--recipe", recipe, "--manifest", "m", "--out", "o"])
    found = parser.instantiate(config).augmentation
    assert {name: vars(found)[name] for name in expected} == expected
    if not recipe.endswith("_phantom"):
        assert found.per_video
        assert found.read_px > config.encoder.size_px


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos of 64 x 32 px, one of which has black borders left and right of 32 x 32."""
    root = tmp_path_factory.mktemp("wide")
    rng = np.random.default_rng(0)
    for name in ("full", "bordered"):
        frames = rng.integers(90, 256, (40, 32, 64, 3), dtype=np.uint8)
        if name == "bordered":
            frames[:, :, :16] = frames[:, :, 48:] = 0
        video.write(root / f"{name}.mp4", iter(frames), 8.0, gop=8)
    rows = [
        VideoRow(video_id=name, path=f"{name}.mp4", source="wide", fps=8.0, duration_s=5.0, split="train")
        for name in ("full", "bordered")
    ]
    Manifest(rows, root=root).save(root / "manifest")
    return root / "manifest"


@pytest.mark.parametrize(("crop", "aspect"), [("none", 2.0), ("content", 1.0)])
def test_clips_know_the_aspect_ratio_of_what_is_read(wide: Path, crop: Crop, aspect: float, tmp_path: Path) -> None:
    table = Manifest.load(wide)
    paths = {row.video_id: table.path_of(row.video_id) for row in table.videos}
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    shape = Preprocess(num_frames=4, fps=4.0, size_px=24, crop=crop)
    store = FrameStore(paths | {"broken": tmp_path / "broken.mp4"}, shape)
    store.prepare()
    store.problems.clear()
    assert store.measure_aspects([*paths, "broken"]) == ["full", "bordered"]
    assert list(store.problems) == ["broken"]
    assert store.aspects == {"full": 2.0, "bordered": pytest.approx(aspect, abs=0.1)}
    data = PretrainClips(store, ["bordered"], 0, config=ClipConfig(repeats=2))
    batch = collate([data[0], data[1]])
    assert batch["aspect"] == [store.aspects["bordered"]] * 2
    assert torch.equal(batch["video"][0], batch["video"][1])
    # Repeats of a clip differ by augmentation.
    torch.manual_seed(0)
    augmented = Augment(AugmentConfig(crop="random_resized", picture_aspect=0), 16)(batch["video"], batch["aspect"])
    assert not torch.equal(augmented[0], augmented[1])


def test_without_need_no_aspect_ratio_is_measured(wide: Path) -> None:
    table = Manifest.load(wide)
    store = FrameStore({"full": table.path_of("full")}, Preprocess(num_frames=4, fps=4.0, size_px=24))
    store.prepare()
    assert "aspect" not in PretrainClips(store, ["full"], 0)[0]


def test_the_teacher_sees_the_crop_of_the_student(teacher: str) -> None:  # noqa: F811
    recipe = build(SurgVISTA, teacher)
    assert isinstance(recipe, SurgVISTA)
    seen: dict[str, Tensor] = {}
    recipe.encoder.register_forward_pre_hook(lambda _, given: seen.update(student=given[0]))
    recipe.teacher.register_forward_pre_hook(lambda _, given: seen.update(teacher=given[0]))
    given = torch.nn.functional.interpolate(clips(4), (4, 48, 48))
    torch.manual_seed(0)
    MicroStep(recipe, Augment(AugmentConfig(crop="multi_scale"), 32))({"video": given})
    student = seen["student"]
    assert student.shape == (4, 3, 4, 32, 32)
    # One frame per tubelet of two.
    assert torch.equal(seen["teacher"], student[:, :, ::2].transpose(1, 2).flatten(0, 1))
    torch.manual_seed(0)
    assert torch.equal(student, Augment(AugmentConfig(crop="multi_scale"), 32)(given))


def run(wide: Path, out: Path, *words: str) -> list[float]:
    """Losses of two steps."""
    crops = {"crop": "random_resized", "picture_aspect": "0", "read_px": "24"}
    given = [f"--augmentation.{name}={value}" for name, value in crops.items()]
    cli.run(["pretrain", "--manifest", str(wide), "--out", str(out), "--frame_cache", str(out.parent / "frames"),
             *TINY_MAE, *given, "--run.steps=2", "--run.log_every=1", *words])  # fmt: skip
    return [json.loads(line)["loss"] for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_a_run_with_crops_repeats_and_its_model_reads_clips_at_its_own_size(wide: Path, tmp_path: Path) -> None:
    first = run(wide, tmp_path / "first")
    assert len(first) == 2
    assert run(wide, tmp_path / "again") == first
    assert run(wide, tmp_path / "whole", "--augmentation.crop=none") != first
    assert run(wide, tmp_path / "repeats", "--clip.repeats=4")[-1] > 0
    # Five seconds at four frames a second, cached at the side that crops are taken from.
    assert {path.stat().st_size for path in (tmp_path / "frames").rglob("*.rgb")} == {20 * 24 * 24 * 3}
    model, preprocess = load_model(tmp_path / "first")
    assert isinstance(model, VideoViT)
    assert preprocess.size_px == model.config.size_px == 16
