"""Whole models of open_clip against open_clip itself: its transform, its tokenizer, its forward pass."""

from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import surgvl
from surgvl import video
from surgvl.api import DualModel
from surgvl.core.errors import CheckpointError, ConfigError, SurgVLWarning
from surgvl.models.adapters.open_clip import OpenClip, describe, preprocess_of
from surgvl.models.model_info import find_model, model_hash
from surgvl.models.schema import bounded
from tests.helpers.made_published import RESNET_CFG, TINY, TINY_RESNET, tiny_clip

SENTENCES = ["the hook dissects the gallbladder", "a scissors"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def model(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DualModel:
    monkeypatch.setenv("SURGVL_CACHE", str(tmp_path / "cache"))
    found = surgvl.load(f"open_clip:{TINY}@{weights}")
    assert isinstance(found, DualModel)
    return found


@pytest.mark.slow
def test_vectors_are_open_clips(model: DualModel, weights: Path, tmp_path: Path) -> None:
    theirs, _, transform = open_clip.create_model_and_transforms(TINY, str(weights))
    theirs.eval()
    frames = np.random.default_rng(0).integers(0, 256, (4, 60, 91, 3), np.uint8)
    with torch.no_grad():
        each = torch.cat([theirs.encode_image(transform(Image.fromarray(frame))[None]) for frame in frames])
        clip = F.normalize(F.normalize(each, dim=-1).mean(0), dim=-1).numpy()
        text = F.normalize(theirs.encode_text(open_clip.get_tokenizer(TINY)(SENTENCES)), dim=-1).numpy()
    assert model.preprocess.num_frames == 4
    assert np.abs(model.encode_video(frames)[0] - clip).max() < 1e-5
    assert np.abs(model.encode_text(SENTENCES) - text).max() < 1e-5
    assert torch.equal(model.model.logit_scale, theirs.logit_scale)


@pytest.mark.slow
def test_a_resnet_is_open_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SURGVL_CACHE", str(tmp_path / "cache"))
    weights = tiny_clip(tmp_path, TINY_RESNET, RESNET_CFG)
    found = surgvl.load(f"open_clip:{TINY_RESNET}@{weights}")
    assert isinstance(found, DualModel)
    theirs, _, transform = open_clip.create_model_and_transforms(TINY_RESNET, str(weights))
    frame = np.random.default_rng(0).integers(0, 256, (60, 91, 3), np.uint8)
    with torch.no_grad():
        one = F.normalize(theirs.eval().encode_image(transform(Image.fromarray(frame))[None]), dim=-1)[0].numpy()
    assert np.abs(found.encode_video(np.stack([frame] * 4))[0] - one).max() < 1e-5


def test_no_architecture_of_open_clip_is_refused_for_its_sizes() -> None:
    known = open_clip.list_models()
    assert {"RN50x64", "ViT-B-16", "PE-Core-B-16", "MobileCLIP2-S0"} <= set(known)
    for arch in known:
        bounded(open_clip.get_model_config(arch))
    for layers in ([3, 4, 6], [3, 4, 6, 0], [3, 4, 6, True], [3, 4, 6, 1 << 20]):
        with pytest.raises(ValueError, match="layers"):
            bounded({"vision_cfg": {"layers": layers}})


@pytest.mark.slow
def test_a_video_is_encoded_like_its_clips(model: DualModel, tmp_path: Path) -> None:
    """Frames that several clips show are encoded once; the vectors are those of each clip alone."""
    path = tmp_path / "odd.mp4"
    frames = np.random.default_rng(1).integers(0, 256, (7, 23, 31, 3), np.uint8).repeat(2, 1).repeat(2, 2)
    video.write(path, frames, fps=1)
    found, starts, ends = model.encode_seconds(path)
    assert (starts[0], ends[-1], len(found)) == (0, 7, 7)
    alone = np.concatenate(
        [model.encode_video(path, (start + end) / 2) for start, end in zip(starts, ends, strict=True)]
    )
    assert np.abs(found - alone).max() < 1e-6
    seen = []
    assert isinstance(model.model, OpenClip)
    model.model.inner.visual.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    model.encode_seconds(path)
    assert sum(seen) == 7


@pytest.mark.slow
def test_the_model_folder_is_one_of_ours(model: DualModel, weights: Path) -> None:
    name = f"open_clip:{TINY}@{weights}"
    folder = find_model(name)
    assert {path.name for path in folder.iterdir()} == {
        "config.json", "model.safetensors", "open_clip_config.json", "preprocessor_config.json", "model_card.json",
    }  # fmt: skip
    assert model_hash(name) == model_hash(folder) == model.hash
    again = surgvl.load(folder)
    assert isinstance(again, DualModel)
    assert np.array_equal(again.encode_text(SENTENCES), model.encode_text(SENTENCES))


def test_longer_sentences_warn(model: DualModel) -> None:
    with pytest.warns(SurgVLWarning, match=r"longer than the text tower's 20 tokens: 12 tokens were left out"):
        model.encode_text("a " * 30)


def test_other_weights_are_one_line(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SURGVL_CACHE", str(tmp_path / "cache"))
    state = torch.load(weights, weights_only=True)
    for change in ({"visual.proj": None}, {"visual.other": torch.ones(1)}):
        bad = tmp_path / "bad.bin"
        torch.save({key: value for key, value in {**state, **change}.items() if value is not None}, bad)
        with pytest.raises(CheckpointError, match=rf"{next(iter(change))}"):
            surgvl.load(f"open_clip:{TINY}@{bad}")
    with pytest.raises(ConfigError, match="open_clip has no model 'no-such'"):
        surgvl.load(f"open_clip:no-such@{weights}")
    with pytest.raises(CheckpointError, match=r"surgvl models fetch open_clip:ViT-B-16@laion2b"):
        surgvl.load("open_clip:ViT-B-16@laion2b")


@pytest.mark.parametrize(
    ("arch", "tag", "geometry", "interpolation", "mean", "size_px"),
    [
        # As published: SigLIP 2 and PE-Core squash, MobileCLIP 2 crops, B without a mean.
        ("ViT-B-16-SigLIP2", "webli", "squash", "bicubic", 0.5, 224),
        ("PE-Core-B-16", "meta", "squash", "bilinear", 0.5, 224),
        ("MobileCLIP2-B", "dfndr2b", "crop", "bilinear", 0.0, 224),
        ("ViT-B-16", "laion2b_s34b_b88k", "crop", "bicubic", 0.48145466, 224),
    ],
)
def test_preprocessing_is_that_of_the_tag(
    arch: str, tag: str, geometry: str, interpolation: str, mean: float, size_px: int
) -> None:
    facts = describe(arch, tag)
    found = preprocess_of(facts)
    assert (found.geometry, found.interpolation, found.size_px) == (geometry, interpolation, size_px)
    assert facts["preprocess_cfg"]["mean"][0] == pytest.approx(mean)


def test_a_file_of_an_architecture_with_two_ways_needs_its_tag() -> None:
    with pytest.raises(ConfigError, match="differ in their preprocessing"):
        describe("ViT-L-14")


@pytest.mark.slow
def test_only_frames_that_a_clip_shows_are_encoded(model: DualModel, tmp_path: Path) -> None:
    path = tmp_path / "long.mp4"
    video.write(path, np.random.default_rng(2).integers(0, 256, (40, 32, 32, 3), np.uint8), fps=2)
    seen = []
    assert isinstance(model.model, OpenClip)
    model.model.inner.visual.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    found, starts, _ = model.encode_seconds(path, 10.0)
    assert starts == [0.0, 10.0]
    # Four of each clip, and those at the end that would stand for frames that a file lacks.
    assert 8 <= sum(seen) <= 8 + 3
    alone = np.concatenate([model.encode_video(path, at_s) for at_s in (5.0, 15.0)])
    assert np.abs(found - alone).max() < 1e-6
