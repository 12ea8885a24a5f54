"""What is known of a model from its files is what the loaded model says."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from surgvl.core.errors import CheckpointError
from surgvl.core.files import read_json, write_json
from surgvl.embed.embedder import local_embedder
from surgvl.embed.encode_file import clip_encoder
from surgvl.models.checkpoint import load_model, save_model
from surgvl.models.model_info import model_facts, reads_text
from surgvl.models.named import convert_open_clip
from surgvl.models.video_text import VideoText
from surgvl.models.vit import VideoViT
from tests.helpers.in_fork import imports_none_of
from tests.helpers.made_duals import tiny_dual
from tests.helpers.made_published import TINY, tiny_clip
from tests.models.test_models import PREPROCESS, small_encoder


def made(kind: str, place: Path) -> Path:
    """A model folder of a dual encoder, a video encoder or a published model."""
    torch.manual_seed(0)
    if kind == "dual":
        save_model(tiny_dual(), place / "model", PREPROCESS)
    elif kind == "encoder":
        save_model(small_encoder(), place / "model", PREPROCESS)
    else:
        convert_open_clip(place / "model", TINY, tiny_clip(place))
    return place / "model"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dual", "encoder", "published"])
def test_facts_are_those_of_the_loaded_model(kind: str, tmp_path: Path) -> None:
    folder = made(kind, tmp_path)
    network, preprocess = load_model(folder)
    assert isinstance(network, VideoText | VideoViT)
    clip = torch.zeros(1, 3, preprocess.num_frames, preprocess.size_px, preprocess.size_px, dtype=torch.uint8)
    with torch.inference_mode():
        width = clip_encoder(network)(clip).shape[1]
    for stride_s in (None, 2.0):
        found, loaded = model_facts(folder, stride_s), local_embedder(folder, stride_s, None, "cpu")
        assert found.dim == loaded.dim == width
        assert found.preprocess == loaded.preprocess == replace(preprocess, step_s=stride_s or preprocess.step_s)
    assert reads_text(folder) == (loaded.texts is not None) == (kind != "encoder")


def test_what_makes_no_vectors_is_refused(tmp_path: Path) -> None:
    folder = made("encoder", tmp_path)
    config = read_json(folder / "config.json")
    write_json(folder / "config.json", {**config, "model_type": "surgvl_chat"})
    with pytest.raises(CheckpointError, match="holds a chat model, which has no vectors"):
        model_facts(folder, None)
    write_json(folder / "config.json", {**config, "model_type": "bert"})
    with pytest.raises(CheckpointError, match=r"config\.json: model_type must be one of .*, got 'bert'"):
        reads_text(folder)
    with pytest.raises(CheckpointError, match="holds no config.json"):
        model_facts(tmp_path / "none", None)


@pytest.mark.slow
def test_no_torch_is_imported(tmp_path: Path) -> None:
    folder = made("dual", tmp_path)

    def work() -> None:
        from surgvl.models.model_info import model_facts

        model_facts(folder, None)

    assert imports_none_of({"torch"}, work)
