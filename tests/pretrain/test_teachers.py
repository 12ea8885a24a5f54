"""Frozen teachers: their tokens against the libraries they come from, their pixels, and that nothing moves them."""

import functools
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from surgvl.core.errors import CheckpointError, ConfigError
from surgvl.models.checkpoint import save_model
from surgvl.models.vit import VideoViT
from surgvl.models.vit_config import IMAGENET_MEAN, IMAGENET_STD, Position, ViTConfig
from surgvl.pretrain.teachers import Teacher, load_teacher
from surgvl.video.clip import Preprocess
from tests.helpers.made_checkpoints import Floats, randomise

HALF = (0.5, 0.5, 0.5)


def frames(height: int = 50, width: int = 61) -> Tensor:
    return torch.randint(0, 256, (2, 3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))


def triangle(old: int, new: int) -> Floats:
    """Antialiased bilinear resizing of a row [new, old]: triangles as wide as two new pixels, sums of one."""
    scale = max(1.0, old / new)
    centres = (np.arange(new)[:, None] + 0.5) * old / new
    weights = np.maximum(0, 1 - np.abs(np.arange(old)[None] + 0.5 - centres) / scale)
    return np.asarray(weights / weights.sum(1, keepdims=True))


def pixels(video: Tensor, size: int, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Resized and normalised frames, by matrices."""
    rows, columns = triangle(video.shape[2], size), triangle(video.shape[3], size)
    small = np.einsum("ay,bx,ncyx->ncab", rows, columns, video.numpy().astype(float)) / 255
    moments = [np.array(each)[None, :, None, None] for each in (mean, std)]
    return torch.from_numpy((small - moments[0]) / moments[1]).float()


def looks_like(teacher: Teacher, video: Tensor, summary: Tensor, patches: Tensor) -> None:
    got = teacher(video)
    assert [each.dtype for each in got] == [torch.float32, torch.float32]
    assert got[0].shape == (2, teacher.dim)
    assert got[1].shape == (2, *teacher.grid, teacher.dim)
    assert torch.allclose(got[0], summary, atol=1e-4)
    assert torch.allclose(got[1].flatten(1, 2), patches, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("model", "size"), [("test_vit", None), ("test_vit2", 64), ("test_vit3", 48)])
def test_timm_class_token_mean_and_attention_pools(model: str, size: int | None, tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs: Any = timm.create_model(model, img_size=size or 160).eval()
    torch.save(theirs.state_dict(), tmp_path / "w.pth")
    teacher = load_teacher(f"timm:{model}@{tmp_path / 'w.pth'}", size)
    assert (teacher.dim, teacher.size_px, teacher.grid) == (
        theirs.num_features,
        size or 160,
        theirs.patch_embed.grid_size,
    )
    video = frames()
    with torch.no_grad():
        tokens = theirs.forward_features(pixels(video, teacher.size_px, HALF, HALF))
        looks_like(teacher, video, theirs.forward_head(tokens, pre_logits=True), tokens[:, 1:])


def dinov2(registers: int) -> Any:
    from transformers import Dinov2Config, Dinov2Model, Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    size: dict[str, Any] = {"image_size": 28, "patch_size": 7, "hidden_size": 32, "num_hidden_layers": 2}
    if registers:
        config = Dinov2WithRegistersConfig(**size, num_attention_heads=2, num_register_tokens=registers)
        return randomise(Dinov2WithRegistersModel(config))
    return randomise(Dinov2Model(Dinov2Config(**size, num_attention_heads=2)))


@pytest.mark.slow
@pytest.mark.parametrize("registers", [0, 3])
@pytest.mark.parametrize("size", [None, 42])
def test_dinov2_of_transformers(registers: int, size: int | None, tmp_path: Path) -> None:
    theirs = dinov2(registers)
    theirs.save_pretrained(tmp_path)
    teacher = load_teacher(f"hf:{tmp_path}", size)
    assert teacher.size_px == (size or 28)
    video = frames()
    with torch.no_grad():
        tokens = theirs(pixels(video, teacher.size_px, IMAGENET_MEAN, IMAGENET_STD)).last_hidden_state
    looks_like(teacher, video, tokens[:, 0], tokens[:, 1 + registers :])


@pytest.mark.slow
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("size", [None, 48])
def test_siglip_of_transformers(whole: bool, size: int | None, tmp_path: Path) -> None:
    from transformers import SiglipConfig, SiglipModel, SiglipTextConfig, SiglipVisionConfig, SiglipVisionModel

    vision: dict[str, Any] = {
        "image_size": 32, "patch_size": 8, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 48,
    }  # fmt: skip
    model: Any
    if whole:
        text = SiglipTextConfig(
            vocab_size=20, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
        )
        model = SiglipModel(SiglipConfig(text_config=text.to_dict(), vision_config=vision))
    else:
        model = SiglipVisionModel(SiglipVisionConfig(**vision))
    randomise(model).save_pretrained(tmp_path)
    theirs = model.vision_model if whole else model
    teacher = load_teacher(f"hf:{tmp_path}", size)
    video = frames()
    with torch.no_grad():
        out = theirs(pixels(video, size or 32, HALF, HALF), interpolate_pos_encoding=size is not None)
    looks_like(teacher, video, out.pooler_output, out.last_hidden_state)


def test_the_preprocessors_file_has_the_word(tmp_path: Path) -> None:
    dinov2(0).save_pretrained(tmp_path)
    values = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.1, 0.2, 0.3], "crop_size": {"height": 14, "width": 14}}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(values))
    teacher = load_teacher(f"hf:{tmp_path}")
    video = frames(30, 30)
    assert torch.allclose(teacher.pixels(video), pixels(video, 14, (0.4, 0.5, 0.6), (0.1, 0.2, 0.3)), atol=1e-4)


def endossl(path: Path) -> VisionTransformer:
    """The same transformer by timm, and its file with queries, keys and values apart."""
    theirs = VisionTransformer(
        img_size=32, patch_size=8, embed_dim=64, depth=2, num_heads=1, num_classes=0, no_embed_class=True,
        norm_layer=functools.partial(nn.LayerNorm, eps=1e-5),
    )  # fmt: skip
    randomise(theirs)
    weights = {}
    for name, value in theirs.state_dict().items():
        if ".attn.qkv." in name:
            for part, third in zip("qkv", value.chunk(3), strict=True):
                weights[name.replace("qkv", part)] = third.clone()
        else:
            weights[name] = value
    torch.save({"model_state": {f"model.{name}": value for name, value in weights.items()}}, path)
    theirs.norm = nn.Identity()
    return theirs


@pytest.mark.slow
@pytest.mark.parametrize("raw", [False, True])
def test_endossl_is_read_before_the_last_norm(raw: bool, tmp_path: Path) -> None:
    theirs = endossl(tmp_path / "vit.pth")
    teacher = load_teacher(f"endossl:{tmp_path / 'vit.pth'}{'@raw' if raw else ''}")
    assert {part.eps for part in teacher.modules() if isinstance(part, nn.LayerNorm)} == {1e-5}
    video = frames()
    moments = ((0.0,) * 3, (1 / 255,) * 3) if raw else (IMAGENET_MEAN, IMAGENET_STD)
    with torch.no_grad():
        tokens = theirs.forward_features(pixels(video, 32, *moments))
    looks_like(teacher, video, tokens[:, 0], tokens[:, 1:])
    assert load_teacher(f"endossl:{tmp_path / 'vit.pth'}", 48)(video)[1].shape == (2, 6, 6, 64)


@pytest.mark.parametrize("position", ["sinusoid", "rope"])
def test_a_video_encoder_sees_each_frame_for_a_tubelet(position: Position, tmp_path: Path) -> None:
    encoder = VideoViT(
        ViTConfig(size_px=16, num_frames=6, patch_px=4, tubelet=3, dim=48, depth=2, heads=2, position=position)
    ).eval()
    save_model(encoder, tmp_path, Preprocess(num_frames=6, fps=1.0, size_px=16))
    teacher = load_teacher(f"surgvl:{tmp_path}")
    still = VideoViT(
        ViTConfig(size_px=16, num_frames=3, patch_px=4, tubelet=3, dim=48, depth=2, heads=2, position=position)
    ).eval()
    still.load_state_dict(encoder.state_dict())
    video = frames()
    picture = pixels(video, 16, (0.0,) * 3, (1 / 255,) * 3)
    with torch.no_grad():
        tokens = still(torch.stack([picture] * 3, 2))
    looks_like(teacher, video, tokens.mean(1), tokens)


def test_nothing_moves_a_teacher(tmp_path: Path) -> None:
    dinov2(0).save_pretrained(tmp_path)
    teacher = load_teacher(f"hf:{tmp_path}")
    around = nn.ModuleList([teacher]).train()
    assert around.training
    assert not any(part.training for part in teacher.modules())
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    video = frames().float().requires_grad_()
    assert not any(each.requires_grad for each in teacher(video))
    assert teacher.name == f"hf:{tmp_path}"


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("resnet50", ConfigError, "or surgvl:FOLDER, got 'resnet50'"),
        ("timm:", ConfigError, "or surgvl:FOLDER, got 'timm:'"),
        ("timm:no_such_vit", ConfigError, "timm has no model 'no_such_vit'"),
        ("timm:test_vit@no.pth", CheckpointError, "no.pth does not exist"),
        (
            "timm:test_vit.r160_in1k",
            CheckpointError,
            "`surgvl models fetch hf:timm/test_vit.r160_in1k/model.safetensors`",
        ),
        ("hf:no/such", CheckpointError, "hf:no/such is not on this machine"),
        ("endossl:no.pth", CheckpointError, "no.pth does not exist"),
        ("surgvl:no", CheckpointError, "no does not exist"),
    ],
)
def test_names_that_lead_nowhere(name: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        load_teacher(name)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_models_and_weights_that_do_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(timm.create_model("test_vit2").state_dict(), tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="timm cannot load test_vit from"):
        load_teacher(f"timm:test_vit@{tmp_path / 'other.pth'}")
    torch.save(timm.create_model("test_resnet").state_dict(), tmp_path / "resnet.pth")
    with pytest.raises(ConfigError, match="test_resnet has no patch tokens"):
        load_teacher(f"timm:test_resnet@{tmp_path / 'resnet.pth'}")
    endossl(tmp_path / "vit.pth")
    whole = torch.load(tmp_path / "vit.pth", weights_only=True)["model_state"]
    torch.save({n: v for n, v in whole.items() if n != "model.blocks.1.norm2.bias"}, tmp_path / "cut.pth")
    with pytest.raises(CheckpointError, match=r"1 missing or of a different shape \['blocks.1.norm2.bias'\]"):
        load_teacher(f"endossl:{tmp_path / 'cut.pth'}")
    torch.save(whole | {"model.pos_embed": torch.zeros(1, 17, 64)}, tmp_path / "slot.pth")
    with pytest.raises(CheckpointError, match=r"positions \(1, 17, 64\)"):
        load_teacher(f"endossl:{tmp_path / 'slot.pth'}")
    with pytest.raises(ConfigError, match="multiple of the teacher's patch side 8, got 30"):
        load_teacher(f"endossl:{tmp_path / 'vit.pth'}", 30)
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ConfigError, match="needs timm: pip install timm"):
        load_teacher("timm:test_vit")
