"""`ViTConfig`: what model folders written before it say, read and written again unchanged; and what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest

from surgvl.core.errors import CheckpointError, ConfigError
from surgvl.models import shipped
from surgvl.models.checkpoint import load_model, save_model
from surgvl.models.schema import checked
from surgvl.models.vit import VideoViT
from surgvl.models.vit_config import SIZES, ViTConfig
from surgvl.video.clip import Preprocess

# A video encoder's `config.json` as surgvl 0.1 wrote it, before there was a ViTConfig.
WRITTEN = """{
  "size_px": 16,
  "num_frames": 4,
  "patch_px": 8,
  "tubelet": 2,
  "dim": 32,
  "depth": 1,
  "heads": 2,
  "mlp_ratio": 4.0,
  "position": "vjepa",
  "qkv_bias": "no_key",
  "eps": 1e-06,
  "drop_path": 0.1,
  "checkpoint": false,
  "mean": [
    0.485,
    0.456,
    0.406
  ],
  "std": [
    0.229,
    0.224,
    0.225
  ],
  "final_norm": false,
  "table_grid": [
    1,
    3,
    3
  ],
  "model_type": "surgvl_video_vit",
  "architectures": [
    "VideoViT"
  ]
}
"""


@pytest.mark.parametrize("kind", ["dual", "chat"])
def test_a_shipped_model_says_the_same_before_and_after(kind: str) -> None:
    before = json.loads((shipped.PACKED / kind / "config.json").read_text())["encoder"]
    assert json.dumps(checked(before, ViTConfig, kind).to_dict()) == json.dumps(before)


def test_an_old_folder_is_read_and_written_again_letter_for_letter(tmp_path: Path) -> None:
    values = json.loads(WRITTEN)
    config = ViTConfig(
        size_px=16, num_frames=4, patch_px=8, dim=32, depth=1, heads=2, position="vjepa", qkv_bias="no_key",
        drop_path=0.1, final_norm=False, table_grid=(1, 3, 3),
    )  # fmt: skip
    save_model(VideoViT(config), tmp_path, Preprocess(num_frames=4, fps=4.0, size_px=16))
    assert json.loads((tmp_path / "config.json").read_text()) == values
    assert list(json.loads((tmp_path / "config.json").read_text())) == list(values)
    (tmp_path / "config.json").write_text(WRITTEN)
    loaded, preprocess = load_model(tmp_path)
    assert isinstance(loaded, VideoViT)
    assert loaded.config == config
    save_model(loaded, tmp_path / "again", preprocess)
    assert (tmp_path / "again" / "config.json").read_text() == (tmp_path / "config.json").read_text()


def test_a_field_that_is_left_out_has_its_default() -> None:
    assert checked({"dim": 192, "heads": 3}, ViTConfig, "f") == ViTConfig(dim=192, heads=3)
    assert ViTConfig().grid == (8, 14, 14)
    assert (ViTConfig().num_tokens, ViTConfig().patch_dim) == (1568, 3 * 2 * 16 * 16)


def test_published_sizes_are_within_bounds() -> None:
    for dim, depth, heads, ratio in SIZES.values():
        ViTConfig(dim=dim, depth=depth, heads=heads, mlp_ratio=ratio, num_frames=64, size_px=384)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"size_px": 20}, "encoder.size_px must be a multiple of patch_px = 16, got 20"),
        ({"num_frames": 5}, "encoder.num_frames must be a multiple of tubelet = 2, got 5"),
        ({"dim": 768, "heads": 5}, "encoder.dim must be a multiple of 2 * heads = 10, got 768"),
        ({"depth": 0}, "encoder.depth must be from 1 to 256, got 0"),
        ({"eps": 0.0}, "encoder.eps must be above 0 and at most 1, got 0.0"),
        ({"drop_path": 1.0}, "encoder.drop_path must be from 0 to below 1, got 1.0"),
        ({"std": (0.2, 0.0, 0.2)}, "encoder.std must be above 0"),
        ({"mean": (float("nan"), 0.0, 0.0)}, "encoder.mean must be from -1000 to 1000"),
        ({"table_grid": (0, 1, 1)}, "encoder.table_grid must be from 1 to 4096"),
        ({"size_px": 4096, "num_frames": 4096}, "tokens times dim must be at most 268,435,456"),
    ],
)
def test_a_number_out_of_bounds_is_one_line(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ViTConfig(**given)
    assert str(caught.value).startswith(said) or said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "given", [{"dim": "768"}, {"dim": 768.0}, {"dim": True}, {"checkpoint": 1}, {"position": "here"}, {"sizes": 3}]
)
def test_a_file_has_no_other_types_and_no_other_fields(given: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match=f"config.json: {next(iter(given))} is "):
        checked(given, ViTConfig, "config.json")
