"""Public checkpoints into the encoder: every layout, and what does not fit."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from surgvl.core.errors import CheckpointError
from surgvl.models.checkpoints.convert import exact_ratio, inflate, load_encoder, usual_heads
from surgvl.models.checkpoints.key_maps import convert_keys
from surgvl.models.position import interpolate
from tests.helpers.made_checkpoints import (
    Weights,
    clips,
    original_videomae,
    original_vjepa2,
    theirs_on,
    videomae,
    vjepa2,
    written_table,
)

GRID = (3, 5, 5)


def under(prefix: str, weights: Weights) -> Weights:
    return {prefix + name: value for name, value in weights.items()}


def noise(*names: str) -> Weights:
    return {name: torch.randn(3, 4) for name in names}


def with_table(weights: Weights, kind: str, grid: tuple[int, int, int] = GRID) -> Weights:
    return {**weights, "pos_embed": torch.from_numpy(written_table(kind, grid, 64)).float()[None]}


def with_key_bias(weights: Weights) -> Weights:
    """A full bias that changes nothing: the softmax takes a bias of keys away."""
    out = dict(weights)
    for name in [name for name in weights if name.endswith("q_bias")]:
        start = name.removesuffix("q_bias")
        q, v = out.pop(f"{start}q_bias"), out.pop(f"{start}v_bias")
        out[f"{start}qkv.bias"] = torch.cat([q, torch.randn_like(q), v])
    return out


MAE_PARTS = ("mask_token", "decoder.blocks.0.norm1.weight", "encoder_to_decoder.weight", "decoder.head.bias")
VISTA_PARTS = ("down_img.weight", "down_vid.bias", "mask_token_img", "pos_embed_vid", "decoder_img.norm.weight")
TRAINING = {"optimizer": {"state": {}}, "epoch": 149, "args": argparse.Namespace(model="vit", lr=1e-3), "scaler": {}}


def v4(model: Any) -> Weights:
    """transformers 4 kept the biases of queries and values next to the layers."""
    names = ((".query.bias", ".q_bias"), (".value.bias", ".v_bias"))
    state = model.state_dict()
    for new, old in names:
        state = {name.replace(new, old): value for name, value in state.items()}
    return {name: value.clone() for name, value in state.items()}


# Layout: how a training script or a library would have saved the weights of a transformers model.
OF_VIDEOMAE: dict[str, Callable[[Any], Any]] = {
    "C pretraining": lambda m: {"model": under("encoder.", original_videomae(m)) | noise(*MAE_PARTS), **TRAINING},
    "C in DDP": lambda m: {"module": under("module.encoder.", original_videomae(m)) | noise("module.mask_token")},
    "C compiled": lambda m: under("_orig_mod.", original_videomae(m)),
    "V2 hub": lambda m: under("model.", original_videomae(m)) | noise("model.head.weight"),
    "SurgRec-MAE": lambda m: {"model": under("encoder.", original_videomae(m)), "epoch": 149},
    "D v5": lambda m: {name: value.clone() for name, value in m.state_dict().items()},
    "D v4 pretraining": lambda m: under("videomae.", v4(m)) | noise("mask_token", "decoder.norm.weight"),
}
OF_VJEPA2: dict[str, Callable[[Any], Any]] = {
    "A": lambda m: {"encoder": under("module.backbone.", original_vjepa2(m)), "predictor": noise("x"), "opt": {"a": 1}},
    "A target": lambda m: {
        "encoder": under("module.backbone.", noise("patch_embed.proj.weight")),
        "target_encoder": under("module.backbone.", original_vjepa2(m)),
    },
    "A flat": lambda m: (
        under("encoder.", noise("patch_embed.proj.weight", "norm.bias")) | under("target_encoder.", original_vjepa2(m))
    ),
    "SurgMotion": lambda m: {"encoder": under("module.backbone.", original_vjepa2(m))},
    "B": lambda m: {name: value.clone() for name, value in m.state_dict().items()},
    "B classifier": lambda m: (
        under("vjepa2.", {n: v.clone() for n, v in m.state_dict().items()}) | noise("pooler.query_tokens")
    ),
}


def same_tokens(file: Path, theirs: Any, position: str) -> None:
    ours = load_encoder(str(file), heads=2, size_px=20, num_frames=6)
    assert ours.config.position == position
    assert not ours.training
    video = clips(ours)
    with torch.no_grad():
        assert torch.allclose(ours(video), theirs_on(theirs, ours, video), atol=1e-5, rtol=0)


@pytest.mark.parametrize("layout", OF_VIDEOMAE)
def test_videomae_layouts(layout: str, tmp_path: Path) -> None:
    theirs = videomae()
    torch.save(OF_VIDEOMAE[layout](theirs), tmp_path / "weights.pth")
    same_tokens(tmp_path / "weights.pth", theirs, "sinusoid")


@pytest.mark.parametrize("layout", OF_VJEPA2)
def test_vjepa2_layouts(layout: str, tmp_path: Path) -> None:
    theirs = vjepa2()
    torch.save(OF_VJEPA2[layout](theirs), tmp_path / "weights.pt")
    same_tokens(tmp_path / "weights.pt", theirs, "rope")


@pytest.mark.parametrize("suffix", ["C", "D"])
def test_classifiers_have_no_norm_of_tokens(suffix: str, tmp_path: Path) -> None:
    theirs = videomae(pooled=True)
    weights = original_videomae(theirs) if suffix == "C" else under("videomae.", v4(theirs))
    save_file(weights | noise("fc_norm.weight", "fc_norm.bias", "head.weight"), tmp_path / "a.safetensors")
    same_tokens(tmp_path / "a.safetensors", theirs, "sinusoid")


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "bias"), [("sincos_3d", "no_key"), ("vjepa", "full")])
def test_stored_tables_tell_kind_and_grid(kind: str, bias: str, tmp_path: Path) -> None:
    theirs = videomae()
    weights = with_table(original_videomae(theirs), kind)
    raw: Any = {"model": weights | noise(*VISTA_PARTS), **TRAINING}
    if bias == "full":
        raw = {"target_encoder": under("module.backbone.", with_key_bias(weights))}
    torch.save(raw, tmp_path / "weights.pth")
    theirs.embeddings.position_embeddings = weights["pos_embed"]
    same_tokens(tmp_path / "weights.pth", theirs, kind)
    ours = load_encoder(str(tmp_path / "weights.pth"), heads=2)
    assert (ours.grid, ours.config.size_px, ours.config.num_frames) == (GRID, 20, 6)
    assert ours.config.qkv_bias == bias

    moved = load_encoder(str(tmp_path / "weights.pth"), heads=2, size_px=28, num_frames=4)
    other = videomae(size=28, frames=4)
    other.embeddings.position_embeddings = interpolate(kind, GRID, (2, 7, 7), 64)[None]
    video = clips(moved)
    with torch.no_grad():
        assert torch.allclose(moved(video), theirs_on(other, moved, video), atol=1e-5, rtol=0)


def test_a_learned_table_is_refused(tmp_path: Path) -> None:
    weights = with_table(original_videomae(videomae()), "sincos_3d")
    weights["pos_embed"][0, 7, 40] += 0.001
    torch.save(weights, tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match=r"position table \(75, 64\) is neither V-JEPA's nor SurgVISTA's"):
        load_encoder(str(tmp_path / "weights.pth"), heads=2)
    taken = load_encoder(str(tmp_path / "weights.pth"), heads=2, size_px=20, num_frames=6, partial=True)
    assert taken.config.position == "sincos_3d"


def test_folders_say_heads_epsilon_and_frames(tmp_path: Path) -> None:
    theirs = videomae(size=12, frames=4, heads=4, eps=1e-3)
    theirs.save_pretrained(tmp_path, max_shard_size="60KB")
    assert (tmp_path / "model.safetensors.index.json").is_file()
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": [0.25] * 3}))
    ours = load_encoder(str(tmp_path))
    assert (ours.config.heads, ours.config.eps, ours.config.size_px, ours.config.num_frames) == (4, 1e-3, 12, 4)
    assert (ours.config.mean, ours.config.std) == ((0.5,) * 3, (0.25,) * 3)
    video = clips(ours)
    with torch.no_grad():
        assert torch.allclose(ours(video), theirs_on(theirs, ours, video), atol=1e-5, rtol=0)


def test_giants_differ_in_heads() -> None:
    def width(dim: int, vjepa: bool) -> int:
        weights = {"patch_embed.proj.weight": torch.zeros(dim, 3, 2, 2, 2)}
        weights |= {"blocks.0.attn.qkv.bias": torch.zeros(3)} if vjepa else {"blocks.0.attn.q_bias": torch.zeros(1)}
        return usual_heads(convert_keys(weights, "file"), "file")

    assert [width(dim, True) for dim in (192, 384, 768, 1024, 1280, 1408)] == [3, 6, 12, 16, 16, 22]
    assert [width(dim, False) for dim in (768, 1280, 1408)] == [12, 16, 16]
    with pytest.raises(CheckpointError, match="heads cannot be inferred from a width of 40: give heads"):
        width(40, True)


def test_perceptron_ratios_survive_being_cut() -> None:
    cut = [(dim, hidden) for dim in range(1, 80) for hidden in range(1, 5 * dim) if int(dim * (hidden / dim)) != hidden]
    assert cut
    for dim, hidden in [*cut, (1408, 6144)]:
        assert int(dim * exact_ratio(hidden, dim)) == hidden


def test_a_still_clip_has_the_tokens_of_its_picture() -> None:
    weight, picture = torch.randn(8, 3, 4, 4), torch.randn(2, 3, 12, 12)
    still = picture[:, :, None].expand(-1, -1, 6, -1, -1)
    want = F.conv2d(picture, weight, stride=4)
    for t in (1, 2, 3):
        got = F.conv3d(still, inflate(weight, t), stride=(t, 4, 4))
        assert torch.allclose(got, want[:, :, None].expand_as(got), atol=1e-5)


def test_an_image_transformer_is_inflated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from timm.models.vision_transformer import VisionTransformer

    size: dict[str, Any] = {"img_size": 20, "patch_size": 4, "embed_dim": 64, "depth": 2, "num_heads": 1}
    image = VisionTransformer(**size, class_token=False, global_pool="avg", fc_norm=False, num_classes=0).eval()
    file = tmp_path / "vit.safetensors"
    save_file(image.state_dict() | {"cls_token": torch.randn(1, 1, 64)}, file)
    ours = load_encoder(str(file), size_px=20, num_frames=2)
    assert "class token and positions" in capsys.readouterr().out.replace("\n", " ")
    with torch.no_grad():
        image.pos_embed.copy_(torch.from_numpy(written_table("sincos_3d", (1, 5, 5), 64)))  # type: ignore[union-attr]
        picture = torch.randint(0, 256, (2, 3, 1, 20, 20), dtype=torch.uint8)
        want = image.forward_features(ours.normalise(picture)[:, :, 0])
        assert torch.allclose(ours(picture.expand(-1, -1, 2, -1, -1)), want, atol=1e-5)
