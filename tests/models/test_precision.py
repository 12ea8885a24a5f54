"""Vectors in bfloat16 beside those in float32."""

from pathlib import Path

import numpy as np
import pytest
import torch

from surgvl.core.errors import ConfigError
from surgvl.models.device import has_bfloat16, set_precision
from surgvl.models.video_text import normalised
from tests.helpers.made_duals import tiny_dual


def test_cosines_change_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("surgvl.models.device.has_bfloat16", lambda: True)
    dual = tiny_dual().eval()
    encoder = dual.encoder.config
    shape = (3, 3, encoder.num_frames, encoder.size_px, encoder.size_px)
    video = torch.from_numpy(np.random.default_rng(0).integers(0, 256, shape, np.uint8))
    with torch.inference_mode():
        clips, texts = dual.encode_video(video), dual.encode_text(["the hook", "a clip"])
        set_precision(dual, "bfloat16", "cpu")
        half_clips, half_texts = dual.encode_video(video), dual.encode_text(["the hook", "a clip"])
    assert next(dual.parameters()).dtype == torch.bfloat16
    for whole, half in ((clips, half_clips), (texts, half_texts)):
        assert half.dtype == torch.float32
        assert (whole * half).sum(-1).min() > 0.999
        assert not torch.equal(whole, half)


def test_nothing_is_emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("surgvl.models.device.has_bfloat16", lambda: False)
    dual = tiny_dual()
    set_precision(dual, "float32", "cpu")
    with pytest.raises(ConfigError, match="this one has none: leave it out"):
        set_precision(dual, "bfloat16", "cpu")
    set_precision(dual, "bfloat16", "cuda")
    assert next(dual.parameters()).dtype == torch.bfloat16


def test_the_processor_is_asked() -> None:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    flags = next((line for line in lines if line.startswith("flags")), "")
    if not flags:
        pytest.skip("no flags in /proc/cpuinfo")
    assert has_bfloat16() == bool({"avx512_bf16", "amx_bf16"} & set(flags.split()))


def test_pixels_take_the_dtype_of_the_model() -> None:
    frames = torch.arange(0, 256, 5, dtype=torch.uint8)[:48].view(1, 3, 4, 4)
    mean, std = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.25, 0.3])
    want = (frames.double() / 255 - mean.double().view(1, 3, 1, 1)) / std.double().view(1, 3, 1, 1)
    assert torch.allclose(normalised(frames, mean, std).double(), want, atol=1e-6)
    half = normalised(frames, mean.bfloat16(), std.bfloat16())
    assert half.dtype == torch.bfloat16
    assert torch.allclose(half.double(), want, atol=0.02)
