"""A script for the package `surgvlp` runs with one changed import, and gets that package's numbers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import surgvl
from surgvl.api import DualModel
from surgvl.compat import surgvlp
from surgvl.core.errors import CheckpointError, ConfigError
from surgvl.models import install
from surgvl.models.published import published
from tests.conftest import MadeOnce
from tests.helpers.made_published import surgvlp_weights
from tests.helpers.markdown_blocks import ROOT, blocks
from tests.helpers.plain_surgvlp import TRANSFORM, plain_resnet, plain_text

PAGE = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def weights(made_once: MadeOnce) -> Path:
    return made_once("surgvlp", surgvlp_weights) / "SurgVLP.pth"


@pytest.fixture
def frame(tmp_path: Path) -> Path:
    picture = np.random.default_rng(0).integers(0, 256, (54, 96, 3), np.uint8)
    Image.fromarray(picture).save(tmp_path / "frame.png")
    return tmp_path / "frame.png"


@pytest.fixture(autouse=True)
def _nothing_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(surgvlp, "_tokenizers", [])
    monkeypatch.setenv("SURGVL_MODELS", str(tmp_path / "store"))


@pytest.mark.slow
def test_the_script_of_the_page_gives_our_probabilities(
    weights: Path, frame: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install.add(published("peskavlp"), weights, accepted=True)
    (script,) = (block.code for block in blocks(PAGE) if block.title == "ported.py")
    monkeypatch.chdir(frame.parent)
    variables: dict[str, Any] = {}
    exec(compile(script, "docs/models.md", "exec"), variables)
    model = surgvl.load("peskavlp")
    assert isinstance(model, DualModel)
    cosines = model.encode_video(np.asarray(Image.open(frame))[None]) @ model.encode_text(variables["sentences"]).T
    want = torch.from_numpy(100 * cosines).softmax(-1).numpy()
    assert np.abs(variables["probs"] - want).max() < 1e-4
    assert variables["probs"].shape == (1, 2)


@pytest.mark.slow
def test_vectors_are_the_authors_before_any_norm(weights: Path, frame: Path) -> None:
    with pytest.raises(CheckpointError, match="tokenize needs the vocabulary of a model: load one first"):
        surgvlp.tokenize("a bleeding")
    model, preprocess = surgvlp.load({"type": "HecVL"}, device="cpu", pretrain=str(weights))
    pixels = preprocess(Image.open(frame))[None]
    assert torch.equal(pixels, TRANSFORM(Image.open(frame))[None])
    tokens = surgvlp.tokenize(["a bleeding", "the hook [x]"])
    assert tokens["input_ids"].shape == tokens["attention_mask"].shape == tokens["token_type_ids"].shape == (2, 77)
    assert tokens["cap_lens"] == [10, 11]
    state = torch.load(weights, weights_only=True)
    with torch.no_grad():
        found = model(pixels, tokens, mode="all")
        image, text = plain_resnet(state, pixels), plain_text(state, "a bleeding")
        assert torch.equal(model(pixels, mode="video")["img_emb"], found["img_emb"])
        one = model(None, surgvlp.tokenize("a bleeding"), mode="text")
    assert set(found) == {"img_emb", "text_emb"}
    assert set(one) == {"text_emb"}
    assert float((found["img_emb"] - image).norm() / image.norm()) < 1e-5
    assert float((found["text_emb"][0] - text).norm() / text.norm()) < 1e-5
    assert float(F.cosine_similarity(one["text_emb"][0], text, dim=0)) == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
def test_what_is_wrong_is_one_line(weights: Path) -> None:
    assert surgvlp.available_models() == ["SurgVLP", "HecVL", "PeskaVLP"]
    with pytest.raises(ConfigError, match="model must be one of SurgVLP, HecVL, PeskaVLP, got 'CLIP'"):
        surgvlp.load({"type": "CLIP"})
    with pytest.raises(CheckpointError, match="surgvl models fetch hecvl --accept_licence"):
        surgvlp.load({"type": "HecVL"}, device="cpu")
    with pytest.raises(ConfigError, match="model_name must be emilyalsentzer/Bio_ClinicalBERT"):
        surgvlp.tokenize("a", model_name="bert-base-uncased")
    model, _ = surgvlp.load("SurgVLP", device="cpu", pretrain=weights)
    with pytest.raises(ConfigError, match="mode must be video, text or all, got 'image'"):
        model(None, None, mode="image")
    with pytest.raises(ConfigError, match="mode all needs frames, got None"):
        model(None, surgvlp.tokenize("a"))
    with pytest.raises(ConfigError, match="mode all needs sentences, got None"):
        model(torch.zeros(1, 3, 224, 224))
