"""SurgVLP, HecVL and PeskaVLP against a plain forward pass of their layout, with torchvision's transform."""

import re
import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

import surgvl
from surgvl import video
from surgvl.api import DualModel
from surgvl.core.errors import CheckpointError, SurgVLWarning
from surgvl.models import install
from surgvl.models.published import published
from tests.conftest import MadeOnce
from tests.helpers.made_published import surgvlp_weights
from tests.helpers.numbered_videos import encode
from tests.helpers.plain_surgvlp import CUT, TRANSFORM, plain_resnet, plain_text

# With the pieces that a greedy search from the left finds; case and accents are dropped.
SENTENCES = {
    "The Hook dissects the gallbladder.": "the hook dissect ##s the gall ##bladder .",
    "graspers, naïve": "grasp ##er ##s , naive",
    "a trocar": "a [UNK]",
    "cystic [SEP] duct": "cystic [SEP] duct",
}


@pytest.fixture(scope="module")
def weights(made_once: MadeOnce) -> Path:
    return made_once("surgvlp", surgvlp_weights) / "SurgVLP.pth"


@pytest.fixture(scope="module")
def model(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> DualModel:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SURGVL_MODELS", str(tmp_path_factory.mktemp("store")))
        install.add(published("surgvlp"), weights, accepted=True)
        found = surgvl.load("surgvlp")
    assert isinstance(found, DualModel)
    return found


def pictures(height: int, width: int) -> NDArray[np.uint8]:
    """Four of noise, each in another colour."""
    dice = np.random.default_rng(0)
    noise = dice.integers(0, 64, (4, height, width, 3), np.uint8)
    return np.asarray(noise + dice.integers(0, 192, (4, 1, 1, 3), np.uint8), np.uint8)


def averages(pixels: Tensor) -> Tensor:
    """What stands in for the ResNet, in its width of 64, where only the shape of frames is another."""
    return F.pad(F.adaptive_avg_pool2d(pixels, 4).flatten(1), (0, 16))


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(61, 91), (97, 55), (360, 640)], ids=["odd", "portrait", "as resized"])
def test_vectors_of_frames_are_those_of_the_layout(
    model: DualModel, weights: Path, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = pictures(*shape)
    if whole := shape == (61, 91):
        state = torch.load(weights, weights_only=True)
    else:
        monkeypatch.setattr(model.model.get_submodule("backbone_img"), "forward", averages)
    with torch.no_grad():
        pixels = torch.stack([TRANSFORM(Image.fromarray(frame)) for frame in frames])
        each = F.normalize(plain_resnet(state, pixels) if whole else averages(pixels), dim=-1)
    assert np.abs(model.encode_video(frames)[0] - F.normalize(each.mean(0), dim=-1).numpy()).max() < 1e-5
    # Frames differ by far more than that.
    assert (each[1:] - each[0]).abs().amax(1).min() > 1e-3


@pytest.mark.slow
def test_vectors_of_sentences_are_those_of_the_layout(model: DualModel, weights: Path) -> None:
    state = torch.load(weights, weights_only=True)
    with torch.no_grad():
        want = torch.stack([plain_text(state, pieces) for pieces in SENTENCES.values()])
    # As a batch, in which short ones are padded, and alone.
    found = model.encode_text(list(SENTENCES))
    assert np.abs(found - F.normalize(want, dim=-1).numpy()).max() < 1e-5
    assert np.abs(model.encode_text("a trocar")[0] - found[2]).max() < 1e-6
    assert float(model.model.logit_scale.detach().exp()) == pytest.approx(100)


@pytest.mark.slow
def test_longer_sentences_warn(model: DualModel) -> None:
    with pytest.warns(SurgVLWarning, match="longer than the text tower's 77 tokens: 5 tokens were left out"):
        model.encode_text("a " * 80)


@pytest.mark.slow
def test_a_video_of_variable_rate_is_seen_at_its_times(model: DualModel, tmp_path: Path) -> None:
    path, tick = tmp_path / "variable.mp4", 1 / 25
    encode(path, [0, 3, 5, 40, 45, 90, 100, 130], Fraction(1, 25))
    with av.open(str(path)) as container:
        decoded = [
            (frame.time or 0.0, Image.fromarray(frame.to_ndarray(format="rgb24")))
            for frame in container.decode(video=0)
        ]
    found = model.frames(path, at_s=2.5)
    times_s = model.preprocess.times_s(2.5, video.probe(path).duration_s)
    assert len(times_s) == len(found) == 4
    for time_s, frame in zip(times_s, found, strict=True):
        shown = [image for begin_s, image in decoded if begin_s <= time_s + tick / 4][-1]
        want = np.asarray(CUT(shown))
        assert np.abs(frame.astype(int) - want).max() <= 4
    # These are not the same picture four times.
    assert np.ptp(found.astype(int), 0).max() > 100


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"backbone_img.model.conv1.weight": None}, {"head.weight": torch.ones(2)}])
def test_a_missing_or_unknown_weight_is_one_line(
    weights: Path, change: dict[str, Tensor | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SURGVL_MODELS", str(tmp_path / "store"))
    # Of the right shapes, in a small file.
    state = {
        name: torch.zeros((), dtype=value.dtype).expand(value.shape)
        for name, value in torch.load(weights, weights_only=True, mmap=True).items()
    }
    changed = {name: value for name, value in {**state, **change}.items() if value is not None}
    torch.save(changed, tmp_path / "bad.pth")
    shutil.copyfile(weights.with_name("vocab.txt"), tmp_path / "vocab.txt")
    with pytest.raises(CheckpointError, match=re.escape(next(iter(change)))) as caught:
        install.add(published("hecvl"), tmp_path / "bad.pth", accepted=True)
    assert "\n" not in str(caught.value)
    # Nothing of it stays.
    assert [path.name for path in (tmp_path / "store").iterdir() if not path.name.startswith(".")] == []


@pytest.mark.slow
def test_another_vocabulary_is_one_line(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SURGVL_MODELS", str(tmp_path / "store"))
    (tmp_path / "SurgVLP.pth").hardlink_to(weights)
    with pytest.raises(CheckpointError, match=r"lacks vocab\.txt of https://huggingface\.co/emilyalsentzer"):
        install.add(published("surgvlp"), tmp_path / "SurgVLP.pth", accepted=True)
    (tmp_path / "vocab.txt").write_text("[PAD]\nthe\n")
    with pytest.raises(CheckpointError, match=r"vocab\.txt has 2 words, the weights 25: put vocab\.txt of"):
        install.add(published("surgvlp"), tmp_path / "SurgVLP.pth", accepted=True)
