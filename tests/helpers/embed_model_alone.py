"""The embedding model without vLLM's engine: part of `vllm_alone`."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoTokenizer

from surgvl.core.errors import SurgVLError
from surgvl.serve.import_vllm import STARTED

TEXTS = ["the hook cuts", "", "Duct &amp; ARTERY", "naïve 手術 </s> <pad>", "cut the cystic duct " * 40]


def registered(folder: Path) -> dict[str, Any]:
    """What `register` leaves behind when it is called twice."""
    from vllm import ModelRegistry

    from surgvl.serve import plugin

    plugin.register()
    plugin.register()
    return {
        "known": sorted(set(plugin.MODELS) & set(ModelRegistry.get_supported_archs())),
        "imported": sorted(name for name in sys.modules if name.startswith("surgvl.")),
        "width": AutoConfig.from_pretrained(folder).hidden_size,
    }


def build(folder: Path) -> Any:
    """The model of a folder, as vLLM builds it."""
    from surgvl.serve import embed_model

    kind: Any = embed_model.SurgVLEmbeddingModel
    config = SimpleNamespace(model=str(folder), hf_config=AutoConfig.from_pretrained(folder))
    return kind(vllm_config=SimpleNamespace(model_config=config)).eval()


def difference(folder: Path, prepared: Path) -> float:
    """Largest difference between texts and clips through vLLM's tokenizer and model, and the model itself."""
    from surgvl.models.checkpoint import load_model
    from surgvl.models.video_text import VideoText

    model = build(prepared)
    names = {name for name, _ in model.named_parameters()}
    assert names <= model.load_weights(load_file(prepared / "model.safetensors").items())
    dual, preprocess = load_model(folder)
    assert isinstance(dual, VideoText)
    shape = (2, 3, preprocess.num_frames, preprocess.size_px, preprocess.size_px)
    clips = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        texts = model.encode_texts(AutoTokenizer.from_pretrained(prepared)(TEXTS)["input_ids"])
        stacked = torch.cat(model.embed_multimodal(clips=clips))
        listed = torch.cat(model.embed_multimodal(clips=list(clips)))
        want, want_clips = dual.encode_text(TEXTS), dual.encode_video(clips)
    assert (want[0] - want[4]).abs().max() > 0.01
    pairs = ((texts, want), (stacked, want_clips), (listed, want_clips))
    return max(float((got - wanted).abs().max()) for got, wanted in pairs)


def refusals(tiny: Path, unprepared: Path) -> list[str]:
    """What is said to a folder that was not prepared, and to weights that do not fit."""
    weights = load_file(tiny / "model.safetensors")
    name = "project.weight"
    tries: list[Callable[[], Any]] = [
        lambda: build(unprepared),
        lambda: build(tiny).load_weights((key, value) for key, value in weights.items() if key != name),
        lambda: build(tiny).load_weights([(name, weights[name][1:])]),
    ]
    said = []
    for one in tries:
        try:
            one()
        except SurgVLError as error:
            said.append(str(error))
    return said


def check(tiny: str, towers: list[tuple[str, str, str]]) -> dict[str, Any]:
    """All checks, of a prepared folder and of other text towers: kind, folder and prepared folder of each."""
    found: dict[str, Any] = {"registered": registered(Path(tiny)), "late": sorted(set(STARTED) - set(sys.modules))}
    found["differences"] = {kind: difference(Path(folder), Path(prepared)) for kind, folder, prepared in towers}
    return {**found, "refusals": refusals(Path(tiny), Path(towers[0][1]))}
