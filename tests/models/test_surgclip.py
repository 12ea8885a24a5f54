"""SurgCLIP against its authors' package: its model, its transform, and the axis that it reads in two ways."""

import shutil
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import surgvl
from surgvl.api import DualModel
from surgvl.core.errors import CheckpointError
from surgvl.models import install
from surgvl.models.adapters.surgclip import SurgCLIP
from surgvl.models.published import published
from surgvl.video.clip import Preprocess
from tests.helpers.made_published import SPECIAL, WORDS, surgclip_package, surgclip_weights

pytestmark = pytest.mark.skipif(
    find_spec("surgclip") is None, reason="surgclip is not installed: pip install -e '.[dev]'"
)
SENTENCES = {
    "The hook dissects the gallbladder.": "the hook dissect ##s the gall ##bladder .",
    "a bleeding": "a bleeding",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    return surgclip_weights(tmp_path_factory.mktemp("surgclip"))


@pytest.fixture
def model(made: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DualModel:
    monkeypatch.setenv("SURGVL_MODELS", str(tmp_path / "store"))
    # The small model has smaller clips than the registry says.
    entry = published("surgclip").model_copy(update={"preprocess": None})
    install.add(entry, made[0])
    found = surgvl.load("surgclip")
    assert isinstance(found, DualModel)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(61, 91), (97, 55), (48, 48)], ids=["odd", "portrait", "as resized"])
def test_the_vector_of_a_clip_gives_the_authors_scores(
    model: DualModel, made: tuple[Path, Any], shape: tuple[int, int]
) -> None:
    theirs = made[1]
    frames = np.random.default_rng(0).integers(0, 256, (4, *shape, 3), np.uint8)
    pixels = surgclip_package().VideoPreprocessor(num_frames=4, image_res=48)(frames)
    vocabulary = SPECIAL + WORDS
    text = [[vocabulary.index(word) for word in ["[CLS]", *line.split(), "[SEP]"]] for line in SENTENCES.values()]
    ids = torch.tensor([each + [0] * (77 - len(each)) for each in text])
    with torch.no_grad():
        bands = F.normalize(theirs.vision_proj(theirs.encode_vision(pixels)[1]), dim=-1)
        sentences = SimpleNamespace(input_ids=ids, attention_mask=(ids > 0).long())
        words = F.normalize(theirs.text_proj(theirs.encode_text(sentences)[1]), dim=-1)
        scores = theirs(pixels, sentences)[0][0].numpy()
    assert bands.shape == (1, 4, 32)
    found, text_found = model.encode_video(frames), model.encode_text(list(SENTENCES))
    assert np.abs(found - F.normalize(bands.mean(1), dim=-1).numpy()).max() < 1e-5
    assert np.abs(text_found - words.numpy()).max() < 1e-5
    # The authors' scores are smaller by the length of the mean of the bands.
    scale, length = float(model.model.logit_scale.detach().exp()), float(bands.mean(1).norm())
    assert np.allclose((found @ text_found.T)[0] * scale * length, scores, atol=1e-4)
    assert length < 0.999


@pytest.mark.slow
def test_the_vectors_before_the_mean_are_bands_and_not_frames(model: DualModel) -> None:
    """A change in one frame moves all of them; without blocks, a change in the top row moves the first two."""
    assert isinstance(model.model, SurgCLIP)
    tower = model.model.vision_encoder.model
    video = torch.rand(1, 3, 4, 48, 48)
    with torch.no_grad():
        before = tower(video)
        video[:, :, 2] = torch.rand(1, 3, 48, 48)
        moved = (tower(video) - before).abs().amax(2)[0]
        assert (moved > 1e-4).all()
        blocks, tower.blocks = tower.blocks, torch.nn.ModuleList()
        before = tower(video)
        video[..., :16, :] = torch.rand(1, 3, 4, 16, 48)
        moved = (tower(video) - before).abs().amax(2)[0]
        tower.blocks = blocks
    # 10 tokens of 4 frames each, in four bands of ten: those of the first row are tokens 4 to 15.
    assert moved[0] > 1e-4
    assert moved[1] > 1e-4
    assert torch.equal(moved[2:], torch.zeros(2))


def test_clips_are_those_of_the_registry_at_the_published_size() -> None:
    entry = published("surgclip")
    assert entry.preprocess is not None
    found = Preprocess(**entry.preprocess)
    assert (found.num_frames, found.size_px, found.geometry, found.interpolation) == (16, 224, "squash", "bicubic")
    config = surgclip_package().config.get_config("SurgCLIP-B")
    assert (config.num_frames, config.inputs.image_res) == (found.num_frames, found.size_px)


@pytest.mark.slow
@pytest.mark.parametrize(
    "change", [{"temp": None}, {"vision_encoder.model.time_embed": None}, {"other": torch.ones(2)}]
)
def test_a_missing_or_unknown_weight_is_one_line(
    made: tuple[Path, Any], change: dict[str, Tensor | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SURGVL_MODELS", str(tmp_path / "store"))
    state = {**torch.load(made[0], weights_only=True), **change}
    torch.save({name: value for name, value in state.items() if value is not None}, tmp_path / "bad.pth")
    shutil.copyfile(made[0].with_name("vocab.txt"), tmp_path / "vocab.txt")
    with pytest.raises(CheckpointError, match=next(iter(change))) as caught:
        install.add(published("surgclip"), tmp_path / "bad.pth")
    assert "\n" not in str(caught.value)


def test_a_model_of_other_clips_is_one_line(
    made: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SURGVL_MODELS", str(tmp_path / "store"))
    with pytest.raises(CheckpointError, match="takes clips of 4 frames of 48 px, and surgclip is one of 16 of 224 px"):
        install.add(published("surgclip"), made[0])
