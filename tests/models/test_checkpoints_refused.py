"""Loading weights stops with one line where a file is damaged, holds something else, or does not fit to the letter."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from safetensors.torch import save_file

from surgvl.core.errors import CheckpointError
from surgvl.models.checkpoint import save_model
from surgvl.models.checkpoints.convert import load_encoder
from surgvl.models.dual_encoder import DualEncoder
from surgvl.models.text import build_text
from surgvl.models.vit import VideoViT
from surgvl.models.vit_config import Position, ViTConfig
from surgvl.video.clip import Preprocess
from tests.helpers.made_checkpoints import Weights, clips, original_videomae, videomae

SMALL: dict[str, Any] = {"size_px": 12, "num_frames": 4, "patch_px": 4, "dim": 48, "depth": 1, "heads": 2}
PREPROCESS = Preprocess(num_frames=4, fps=2.0, size_px=12)


@pytest.fixture(scope="module")
def weights() -> Weights:
    return original_videomae(videomae(depth=2))


def refusal(source: Path | str, **asked: Any) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_encoder(str(source), **{"heads": 2, "size_px": 20, "num_frames": 6, **asked})
    assert "\n" not in str(caught.value)
    assert str(source).removeprefix("hf:").split("@")[0] in str(caught.value)
    return str(caught.value)


def test_files_that_are_not_there_or_not_weights(tmp_path: Path) -> None:
    assert "does not exist: give a file, a folder, or hf:OWNER/NAME" in refusal(tmp_path / "no.pt")
    (tmp_path / "notes.txt").write_text("hello")
    assert "is not a weights file: give one that ends in .safetensors, .pt" in refusal(tmp_path / "notes.txt")
    (tmp_path / "empty").mkdir()
    assert "holds none of model.safetensors" in refusal(tmp_path / "empty")
    torch.save([1, 2], tmp_path / "list.pt")
    assert "holds a list" in refusal(tmp_path / "list.pt")
    torch.save({"epoch": 3, "lr": 0.1}, tmp_path / "none.pt")
    assert "holds no weights, only ['epoch', 'lr']" in refusal(tmp_path / "none.pt")


@pytest.mark.parametrize("share", [0.0, 0.05, 0.9])
def test_truncated_files(share: float, weights: Weights, tmp_path: Path) -> None:
    save_file(weights, tmp_path / "whole.safetensors")
    torch.save(weights, tmp_path / "whole.pt")
    torch.save(weights, tmp_path / "whole.bin", _use_new_zipfile_serialization=False)
    for name in ("whole.safetensors", "whole.pt", "whole.bin"):
        whole = (tmp_path / name).read_bytes()
        cut = tmp_path / f"cut_{name}"
        cut.write_bytes(whole[: int(share * len(whole))])
        assert "cut_" in refusal(cut)
    load_encoder(str(tmp_path / "whole.bin"), heads=2, size_px=20, num_frames=6)


class Trap:
    """What a pickle can do to those who run it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("sprung",)


def test_pickles_run_nothing(weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model": weights, "args": Trap()}, tmp_path / "trap.pt")
    assert "holds more than tensors (posix.mkdir), and code in a file is never run" in refusal(tmp_path / "trap.pt")
    assert not (tmp_path / "sprung").exists()


def rename(old: str, new: str) -> Callable[[Weights], Weights]:
    return lambda weights: {name.replace(old, new): value for name, value in weights.items()}


def without(*names: str) -> Callable[[Weights], Weights]:
    return lambda weights: {name: value for name, value in weights.items() if name not in names}


def with_shape(name: str, *shape: int) -> Callable[[Weights], Weights]:
    return lambda weights: {**weights, name: torch.zeros(shape)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (rename("patch_embed", "stem"), "no patch embedding among its 30 names, such as ['blocks.0.attn.proj.bias'"),
        (without("blocks.1.mlp.fc2.bias", "norm.bias"), "2 missing ['blocks.1.mlp.2.bias', 'norm.bias'], 0 unexpected"),
        (with_shape("blocks.0.ls1.gamma", 64), "0 missing [], 1 unexpected ['blocks.0.ls1.gamma']"),
        (with_shape("cls_token", 1, 1, 64), "1 unexpected ['cls_token']"),
        (with_shape("modality.weight", 3), "1 unexpected ['modality.weight']"),
        (
            with_shape("blocks.1.attn.proj.weight", 64, 32),
            "1 of a different shape ['blocks.1.attn.proj.weight (64, 32) for",
        ),
        (with_shape("patch_embed.proj.weight", 64, 1, 2, 4, 4), "got (64, 1, 2, 4, 4)"),
        (with_shape("patch_embed.proj.weight", 64, 3, 2, 4, 8), "got (64, 3, 2, 4, 8)"),
        (with_shape("pos_embed", 1, 75, 32), "positions (1, 75, 32) do not fit tokens of width 64"),
        (rename("mlp.fc1", "mlp.w1"), "no MLP in blocks.0"),
        (rename("blocks.1", "blocks.2"), "13 missing ['blocks.1."),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_what_does_not_fit_is_named(
    change: Callable[[Weights], Weights], message: str, weights: Weights, tmp_path: Path
) -> None:
    torch.save({"model": change(weights)}, tmp_path / "a.pth")
    assert message in refusal(tmp_path / "a.pth")


def test_partial_takes_what_fits_and_says_what_does_not(
    weights: Weights, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = with_shape("blocks.1.attn.proj.weight", 64, 32)(without("norm.bias")(weights)) | {"x": torch.zeros(2)}
    torch.save(changed, tmp_path / "a.pth")
    ours = load_encoder(str(tmp_path / "a.pth"), heads=2, size_px=20, num_frames=6, partial=True)
    said = capsys.readouterr().out
    assert "1 missing ['norm.bias'], 1 unexpected ['x'], 1 of a different shape ['blocks.1.attn.proj.weight" in said
    state = ours.state_dict()
    assert torch.equal(state["blocks.1.mlp.0.weight"], weights["blocks.1.mlp.fc1.weight"])
    assert torch.equal(state["norm.bias"], torch.zeros(64))


@pytest.mark.slow
def test_folders_of_other_models(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    assert "model_type must be videomae or vjepa2, got 'bert'" in refusal(tmp_path)
    videomae(depth=1).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "hidden_act": "relu"}))
    assert "must be gelu, got 'relu'" in refusal(tmp_path)


@pytest.mark.parametrize("position", ["sinusoid", "vjepa", "rope"])
def test_our_own_folders(position: Position, tmp_path: Path) -> None:
    encoder = VideoViT(ViTConfig(**SMALL, position=position)).eval()
    save_model(encoder, tmp_path / "run" / "model", PREPROCESS)
    again = load_encoder(str(tmp_path / "run"))
    video = clips(encoder)
    with torch.no_grad():
        assert torch.equal(again(video), encoder(video))
    moved = load_encoder(str(tmp_path / "run" / "model"), size_px=20, num_frames=8)
    want = VideoViT(
        ViTConfig(
            **{**SMALL, "size_px": 20, "num_frames": 8},
            position=position,
            table_grid=(2, 3, 3) if position == "vjepa" else None,
        )
    ).eval()
    want.load_state_dict(encoder.state_dict())
    with torch.no_grad():
        assert torch.equal(moved(clips(moved)), want(clips(want)))
    assert "heads must be 2 for" in refusal(tmp_path / "run", heads=3)


def test_the_encoder_of_a_dual_model(tmp_path: Path) -> None:
    encoder = VideoViT(ViTConfig(**SMALL)).eval()
    save_model(DualEncoder(encoder, build_text("tiny", 16), 16), tmp_path, PREPROCESS)
    again = load_encoder(str(tmp_path))
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in encoder.state_dict().items())


@pytest.mark.slow
def test_hub_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No network: what is in the store or in huggingface_hub's cache is found, for the rest there is what to type."""
    monkeypatch.setenv("SURGVL_MODELS", str(tmp_path / "store"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    assert "`surgvl models fetch hf:nobody/nothing` fetches it" in refusal("hf:nobody/nothing")
    theirs = videomae(size=12, frames=4)
    theirs.save_pretrained(tmp_path / "store/hf/owner--name@abc")
    assert "is not on this machine" in refusal("hf:owner/name@abc")
    (tmp_path / "store/hf/owner--name@abc/hub.json").write_text("{}")
    commit = "0123456789" * 4
    theirs.save_pretrained(tmp_path / f"cache/models--owner--name/snapshots/{commit}")
    (tmp_path / "cache/models--owner--name/refs").mkdir()
    (tmp_path / "cache/models--owner--name/refs/main").write_text(commit)
    whole = load_encoder("hf:owner/name@abc")
    single = load_encoder("hf:owner/name/model.safetensors", heads=2, size_px=12, num_frames=4)
    assert load_encoder("hf:owner/name").config == whole.config
    with torch.no_grad():
        assert torch.allclose(whole(clips(whole)), single(clips(single)), atol=1e-6)
