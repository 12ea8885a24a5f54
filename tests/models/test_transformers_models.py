"""Dual encoders of transformers and Qwen3-VL-Embedding against transformers itself: its processors, its forward."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

import surgvl
from surgvl import video
from surgvl.api import DualModel, load_answerer
from surgvl.core.errors import CheckpointError, ConfigError
from surgvl.models.checkpoint import load_model, save_model
from surgvl.models.model_info import check_servable, find_model, logit_scale, model_hash
from surgvl.models.store import CARD
from tests.helpers.made_transformers import KINDS, made

SENTENCES = ["The HOOK cuts", "a scissors"]


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("hub")
    return {kind: made(kind, folder / kind) for kind in KINDS}


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SURGVL_MODELS", str(tmp_path / "models"))


def dual(name: str | Path, **arguments: Any) -> DualModel:
    found = surgvl.load(name, **arguments)
    assert isinstance(found, DualModel)
    return found


def pictures(count: int, height: int = 60, width: int = 92) -> Any:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8)


def unit(vectors: Tensor) -> Any:
    return F.normalize(vectors, dim=-1).numpy()


def inputs(folder: Path, frames: Any, bilinear: bool) -> Tensor:
    """What the image processor of transformers that uses Pillow makes of frames."""
    kind = type(transformers.AutoImageProcessor.from_pretrained(folder)).__name__
    processor = getattr(transformers, f"{kind}Pil").from_pretrained(folder)
    assert processor.resample == (2 if bilinear else 3)
    found: Tensor = processor([Image.fromarray(frame) for frame in frames], return_tensors="pt")["pixel_values"]
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "text"),
    [
        # As their authors call the tokenizers.
        ("clip", {"padding": True}),
        ("siglip", {"padding": "max_length"}),
        ("siglip2", {"padding": "max_length"}),
        ("xclip", {"padding": True}),
    ],
)
def test_vectors_are_those_of_transformers(repositories: dict[str, Path], kind: str, text: dict[str, Any]) -> None:
    folder = repositories[kind]
    theirs, tokenizer = (
        transformers.AutoModel.from_pretrained(folder),
        transformers.AutoTokenizer.from_pretrained(folder),
    )
    theirs.eval()
    frames = pictures(4)
    pixels = inputs(folder, frames, bilinear=kind == "siglip")
    # SigLIP 2 was trained on text in lower case, SigLIP's tokenizer makes it so itself; neither has a mask.
    sentences = [each.lower() for each in SENTENCES] if kind == "siglip2" else SENTENCES
    length = theirs.config.text_config.max_position_embeddings
    words = tokenizer(sentences, **text, truncation=True, max_length=length, return_tensors="pt")
    if kind.startswith("siglip"):
        assert words["input_ids"].shape == (2, 16)
        words.pop("attention_mask", None)
    with torch.no_grad():
        if kind == "xclip":
            clip = unit(theirs.get_video_features(pixel_values=pixels[None]).pooler_output)[0]
        else:
            each = F.normalize(theirs.get_image_features(pixel_values=pixels).pooler_output, dim=-1)
            clip = unit(each.mean(0))
        wanted = unit(theirs.get_text_features(**words).pooler_output)
    ours = dual(f"hf:{folder}")
    assert np.abs(ours.encode_video(frames)[0] - clip).max() < 1e-5
    assert np.abs(ours.encode_text(SENTENCES) - wanted).max() < 1e-5
    assert torch.equal(ours.model.logit_scale, theirs.logit_scale)
    assert ours.model.sees == ("clips" if kind == "xclip" else "frames")
    assert "16 tokens" in ours.left_out(["x" * 300]) or "20 tokens" in ours.left_out(["x" * 300])


@pytest.mark.slow
def test_qwen_is_its_last_token(repositories: dict[str, Path]) -> None:
    """One sentence at a time, so without padding, and a clip of odd shape with the times of its frames in words."""
    folder = repositories["qwen3_vl"]
    theirs = transformers.AutoModel.from_pretrained(folder).eval()
    processor = transformers.AutoProcessor.from_pretrained(folder)
    ours = dual(f"hf:{folder}")
    frames = pictures(16, 46, 80)
    start = "<|im_start|>system\nRepresent the user's input.<|im_end|>\n<|im_start|>user\n"
    end = "<|im_end|>\n<|im_start|>assistant\n"
    given = processor(
        text=[f"{start}<|vision_start|><|video_pad|><|vision_end|>{end}"],
        videos=[torch.from_numpy(frames).permute(0, 3, 1, 2)],
        video_metadata=[{"total_num_frames": 16, "fps": 1.0, "frames_indices": list(range(16))}],
        do_sample_frames=False,
        return_tensors="pt",
    )
    told = processor.tokenizer.decode(given["input_ids"][0])
    assert "<0.5 seconds>" in told
    assert "<14.5 seconds>" in told
    with torch.no_grad():
        clip = unit(theirs(**given).last_hidden_state[0, -1])
        sentences = []
        for text in SENTENCES:
            start = (
                "<|im_start|>system\nFind the clip that corresponds to the given text.<|im_end|>\n<|im_start|>user\n"
            )
            ids = processor.tokenizer(f"{start}{text}{end}", return_tensors="pt")
            sentences.append(unit(theirs(**ids).last_hidden_state[0, -1]))
    assert np.abs(ours.encode_video(frames)[0] - clip).max() < 1e-5
    assert np.abs(ours.encode_text(SENTENCES) - np.stack(sentences)).max() < 1e-5


@pytest.mark.slow
def test_narrower_vectors(repositories: dict[str, Path]) -> None:
    name = f"hf:{repositories['qwen3_vl']}"
    whole, narrow = dual(name), dual(f"{name}:8")
    wanted = unit(torch.from_numpy(whole.encode_text(SENTENCES)[:, :8]))
    assert np.abs(narrow.encode_text(SENTENCES) - wanted).max() < 1e-6
    assert narrow.encode_video(pictures(16, 46, 80)).shape == (1, 8)
    assert np.array_equal(dual(name, dim=8).encode_text(SENTENCES), narrow.encode_text(SENTENCES))
    # Vectors of two widths never mix.
    assert whole.hash != narrow.hash == model_hash(f"{name}:8")
    with pytest.raises(ConfigError, match=r"must be >= 1 and <= 32, got 33"):
        dual(f"{name}:33")
    with pytest.raises(ConfigError, match=r"has vectors of one width: leave :8 out"):
        dual(f"hf:{repositories['clip']}:8")


@pytest.mark.slow
def test_a_portrait_file_keeps_its_aspect(repositories: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "portrait.mp4"
    video.write(path, pictures(3, 80, 46), fps=1)
    model = dual(f"hf:{repositories['qwen3_vl']}")
    assert model.frames(path).shape == (16, 80, 46, 3)
    found, starts, ends = model.encode_seconds(path)
    assert (starts[0], ends[-1], found.shape) == (0, 3, (3, 32))


@pytest.mark.slow
def test_the_model_folder_links_its_files(repositories: dict[str, Path], tmp_path: Path) -> None:
    name = f"hf:{repositories['clip']}"
    folder = find_model(name)
    assert {path.name for path in folder.iterdir()} == {"config.json", "preprocessor_config.json", "tower", CARD}
    assert all(path.is_symlink() for path in (folder / "tower").iterdir())
    assert find_model(name) == folder
    check_servable(folder)
    # A trained copy has files of its own, and the published ones stay as they are.
    model, preprocess = load_model(folder)
    before = (repositories["clip"] / "model.safetensors").read_bytes()
    for target in (tmp_path / "trained", folder):
        with torch.no_grad():
            model.inner.visual_projection.weight.mul_(-1)  # type: ignore[union-attr, operator]
        was = model_hash(folder)
        save_model(model, target, preprocess)
        assert not any(path.is_symlink() for path in (target / "tower").iterdir())
        again = dual(target)
        assert np.array_equal(again.encode_text(SENTENCES), model.encode_text(SENTENCES).detach().numpy())  # type: ignore[operator]
        assert model_hash(target) != was
    assert (repositories["clip"] / "model.safetensors").read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"visual_projection.weight": None}, r"missing \['visual_projection.weight'\]"),
        ({"other.weight": torch.ones(1)}, r"unknown \['other.weight'\]"),
        ({"visual_projection.weight": torch.ones(2, 2)}, r"a different shape \['visual_projection.weight'\]"),
        ({"visual_projection.weight": torch.full((16, 32), torch.nan)}, r"NaN or infinity .*visual_projection.weight"),
    ],
)
def test_other_weights_are_one_line(
    repositories: dict[str, Path], tmp_path: Path, change: dict[str, Tensor | None], told: str
) -> None:
    bad = tmp_path / "bad"
    bad.mkdir()
    for path in repositories["clip"].iterdir():
        (bad / path.name).write_bytes(path.read_bytes())
    state = {**load_file(bad / "model.safetensors"), **change}
    kept = {key: value for key, value in state.items() if value is not None}
    save_file(kept, bad / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=told) as error:
        dual(f"hf:{bad}")
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_what_cannot_be_read_is_one_line(repositories: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    with pytest.raises(CheckpointError, match=r"holds no \*.safetensors: pickles are not read"):
        dual(f"hf:{tmp_path}")
    with pytest.raises(CheckpointError, match=r"surgvl models fetch hf:nobody/nothing"):
        dual("hf:nobody/nothing")
    with pytest.raises(CheckpointError, match="gives vectors of clips and sentences, and answers no questions"):
        load_answerer(f"hf:{repositories['clip']}")
    folder = find_model(f"hf:{repositories['siglip']}")
    (folder / "tower" / "config.json").unlink()
    (folder / "tower" / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(CheckpointError, match=r"holds a model of type 'bert': give one of clip, siglip"):
        dual(folder)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_scale_of_cosines_is_the_models_own(kind: str, repositories: dict[str, Path]) -> None:
    """That of the loaded model and of its files, which the page and servers read without loading it."""
    folder = repositories[kind]
    if kind == "qwen3_vl":
        # Temperature 0.02, of its authors' evaluation; its weights have none.
        wanted = 50.0
    else:
        (path,) = folder.glob("*.safetensors")
        wanted = float(load_file(path)["logit_scale"].exp())
    model = dual(f"hf:{folder}")
    assert model.scale == pytest.approx(wanted, rel=1e-6)
    assert logit_scale(find_model(f"hf:{folder}")) == pytest.approx(wanted, rel=1e-6)


def test_a_width_of_vectors_is_none_of_a_model_that_answers(repositories: dict[str, Path], tmp_path: Path) -> None:
    for name in (f"hf:{tmp_path}:16", "hf:owner/name:16"):
        with pytest.raises(ConfigError, match=f"{name}: a model that answers questions .* :16 is: give {name[:-3]}$"):
            load_answerer(name)
