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
from torchvision import transforms
from transformers import BertConfig, BertModel

import surgvl
from surgvl import video
from surgvl.api import DualModel
from surgvl.core.errors import CheckpointError, SurgVLWarning
from surgvl.models import install
from surgvl.models.published import published
from tests.helpers.made_published import SPECIAL, WORDS, surgvlp_weights
from tests.helpers.numbered_videos import encode

# With the pieces that a greedy search from the left finds; case and accents are dropped.
SENTENCES = {
    "The Hook dissects the gallbladder.": "the hook dissect ##s the gall ##bladder .",
    "graspers, naïve": "grasp ##er ##s , naive",
    "a trocar": "a [UNK]",
    "cystic [SEP] duct": "cystic [SEP] duct",
}
CUT = transforms.Compose([transforms.Resize((360, 640)), transforms.CenterCrop(224)])
TRANSFORM = transforms.Compose(
    [
        CUT,
        transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ]
)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return surgvlp_weights(tmp_path_factory.mktemp("surgvlp"))


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


def plain_resnet(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """ResNet-50 with the stride in the 3 x 3 convolution, and the projection: [N, 3, H, W] -> [N, E]."""

    def convolve(x: Tensor, conv: str, norm: str, stride: int = 1, padding: int = 0) -> Tensor:
        at = "backbone_img.model."
        mean, var, weight, bias = (
            state[f"{at}{norm}.{each}"] for each in ("running_mean", "running_var", "weight", "bias")
        )
        x = F.conv2d(x, state[f"{at}{conv}.weight"], stride=stride, padding=padding)
        return F.batch_norm(x, mean, var, weight, bias, eps=1e-5)

    x = F.max_pool2d(F.relu(convolve(x, "conv1", "bn1", 2, 3)), 3, 2, 1)
    for layer, count in enumerate((3, 4, 6, 3), start=1):
        for number in range(count):
            block, stride = f"layer{layer}.{number}", 2 if layer > 1 and number == 0 else 1
            y = F.relu(convolve(x, f"{block}.conv1", f"{block}.bn1"))
            y = F.relu(convolve(y, f"{block}.conv2", f"{block}.bn2", stride, 1))
            y = convolve(y, f"{block}.conv3", f"{block}.bn3")
            if number == 0:
                x = convolve(x, f"{block}.downsample.0", f"{block}.downsample.1", stride)
            x = F.relu(x + y)
    at = "backbone_img.global_embedder"
    return F.linear(x.mean((2, 3)), state[f"{at}.weight"], state[f"{at}.bias"])


def plain_text(state: dict[str, Tensor], pieces: str) -> Tensor:
    """The mean over 77 positions of words, each the sum of its pieces and of four layers: [E]."""
    at = "backbone_text.model."
    own = {name.removeprefix(at): value for name, value in state.items() if name.startswith(at)}
    del own["embeddings.position_ids"]
    config = BertConfig(
        vocab_size=len(SPECIAL + WORDS),
        hidden_size=64,
        num_hidden_layers=5,
        num_attention_heads=1,
        intermediate_size=48,
        output_hidden_states=True,
    )
    bert = BertModel(config).eval()  # type: ignore[no-untyped-call]
    bert.load_state_dict(own)
    vocabulary = SPECIAL + WORDS
    ids = [vocabulary.index(word) for word in ["[CLS]", *pieces.split(), "[SEP]"]]
    length, rest = len(ids), 77 - len(ids)
    mask = torch.tensor([[1] * length + [0] * rest])
    hidden = bert(torch.tensor([ids + [0] * rest]), mask, torch.zeros_like(mask)).hidden_states[-4:]
    words = torch.zeros(77, 64)
    # The authors stop at the first separator.
    for position in range(ids.index(3) + 1):
        words[position] = sum(layer[0, position] for layer in hidden)
    return words.mean(0)


@pytest.mark.parametrize("shape", [(61, 91), (97, 55), (360, 640)], ids=["odd", "portrait", "as resized"])
def test_vectors_of_frames_are_those_of_the_layout(model: DualModel, weights: Path, shape: tuple[int, int]) -> None:
    frames = pictures(*shape)
    with torch.no_grad():
        pixels = torch.stack([TRANSFORM(Image.fromarray(frame)) for frame in frames])
        each = F.normalize(plain_resnet(torch.load(weights, weights_only=True), pixels), dim=-1)
    assert np.abs(model.encode_video(frames)[0] - F.normalize(each.mean(0), dim=-1).numpy()).max() < 1e-5
    # Frames differ by far more than that.
    assert (each[1:] - each[0]).abs().amax(1).min() > 1e-3


def test_vectors_of_sentences_are_those_of_the_layout(model: DualModel, weights: Path) -> None:
    state = torch.load(weights, weights_only=True)
    with torch.no_grad():
        want = torch.stack([plain_text(state, pieces) for pieces in SENTENCES.values()])
    # As a batch, in which short ones are padded, and alone.
    found = model.encode_text(list(SENTENCES))
    assert np.abs(found - F.normalize(want, dim=-1).numpy()).max() < 1e-5
    assert np.abs(model.encode_text("a trocar")[0] - found[2]).max() < 1e-6
    assert float(model.model.logit_scale.detach().exp()) == pytest.approx(100)


def test_longer_sentences_warn(model: DualModel) -> None:
    with pytest.warns(SurgVLWarning, match="longer than the text tower's 77 tokens: 5 tokens were left out"):
        model.encode_text("a " * 80)


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


def test_another_vocabulary_is_one_line(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SURGVL_MODELS", str(tmp_path / "store"))
    (tmp_path / "SurgVLP.pth").hardlink_to(weights)
    with pytest.raises(CheckpointError, match=r"lacks vocab\.txt of https://huggingface\.co/emilyalsentzer"):
        install.add(published("surgvlp"), tmp_path / "SurgVLP.pth", accepted=True)
    (tmp_path / "vocab.txt").write_text("[PAD]\nthe\n")
    with pytest.raises(CheckpointError, match=r"vocab\.txt has 2 words, the weights 25: put vocab\.txt of"):
        install.add(published("surgvlp"), tmp_path / "SurgVLP.pth", accepted=True)
