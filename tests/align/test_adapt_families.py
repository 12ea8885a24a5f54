"""Published families trained further: what is saved gives the vectors that the trained model gave in memory."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import surgvl
from surgvl.align.adapt import Adapt, Adaptation, adapt
from surgvl.api import DualModel
from surgvl.core.errors import ConfigError
from surgvl.models.adapters.surgclip import SurgCLIP
from surgvl.models.adapters.surgvlp import SurgVLP
from surgvl.models.adapters.temporal import Temporal
from surgvl.models.checkpoint import load_model, save_model
from surgvl.models.model_info import logit_scale
from surgvl.models.video_text import VideoText
from surgvl.video.clip import Preprocess
from tests.helpers import made_transformers
from tests.helpers.made_published import surgclip_weights, surgvlp_weights

SENTENCES = [["the hook cuts", "a hook"], ["the grasper"]]


def of_weights(family: type[VideoText], weights: Path) -> Path:
    folder = weights.parent / "model"
    folder.mkdir()
    model, preprocess = family.convert(weights, weights.parent, {}, folder)
    save_model(model, folder, preprocess)
    return folder


def surgvlp(place: Path) -> Path:
    return of_weights(SurgVLP, surgvlp_weights(place, layers=4))


def surgclip(place: Path) -> Path:
    return of_weights(SurgCLIP, surgclip_weights(place)[0])


FRAMES: dict[str, Callable[[Path], Path]] = {
    "clip": lambda place: made_transformers.model_folder("clip", place),
    "siglip": lambda place: made_transformers.model_folder("siglip", place),
    "surgvlp": surgvlp,
}
CLIPS: dict[str, Callable[[Path], Path]] = {
    "xclip": lambda place: made_transformers.model_folder("xclip", place),
    "qwen3_vl": lambda place: made_transformers.model_folder("qwen3_vl", place),
    "surgclip": surgclip,
}
SIDES = {"qwen3_vl": 64, "surgclip": 48}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: make(tmp_path_factory.mktemp(name)) for name, make in (FRAMES | CLIPS).items()}


Published = tuple[VideoText, Preprocess, list[np.ndarray]]


@pytest.fixture(scope="module")
def published(folders: dict[str, Path]) -> dict[str, Published]:
    """The models as they are published, how their clips are cut, and their vectors."""
    found: dict[str, Published] = {}
    for name, folder in folders.items():
        model, preprocess = load_model(folder)
        assert isinstance(model, VideoText)
        found[name] = model, preprocess, vectors(model, clips(name))
    return found


def clips(family: str) -> Tensor:
    num_frames, side = 2 if family in FRAMES else 4, SIDES.get(family, 32)
    return torch.randint(
        0, 256, (2, 3, num_frames, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


def vectors(model: VideoText, video: Tensor) -> list[np.ndarray]:
    with torch.inference_mode():
        return [
            model.encode_video(video).numpy(),
            model.encode_text([each for row in SENTENCES for each in row]).numpy(),
        ]


def trained(folder: Path, how: Adapt, video: Tensor) -> tuple[VideoText, list[float]]:
    """A model after two steps, as `surgvl align` ends it."""
    model, _ = load_model(folder)
    assert isinstance(model, VideoText)
    torch.manual_seed(0)
    dual, tuned = adapt(model, how, folder, video.shape[2])
    objective = Adaptation(dual)
    objective.train()
    optimizer = torch.optim.AdamW([each for each in objective.parameters() if each.requires_grad], lr=0.01)
    losses = []
    for _ in range(2):
        loss = objective({"video": video, "text": SENTENCES})["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        objective.after_step(0.5)
        losses.append(loss.item())
    if tuned is not None:
        tuned.merge_and_unload()
    objective.eval()
    return dual, losses


@pytest.mark.slow
@pytest.mark.parametrize("how", ["frozen", "lora", "full"])
@pytest.mark.parametrize("family", FRAMES | CLIPS)
def test_what_is_saved_is_what_was_trained(
    family: str,
    how: Adapt,
    folders: dict[str, Path],
    published: dict[str, Published],
    tmp_path: Path,
) -> None:
    folder, video = folders[family], clips(family)
    if how == "frozen" and family in CLIPS:
        with pytest.raises(ConfigError, match="--adapt frozen .* this model sees clips: give lora or full"):
            trained(folder, how, video)
        return
    before, preprocess, earlier = published[family]
    model, losses = trained(folder, how, video)
    assert np.isfinite(losses).all()
    save_model(model, tmp_path, preprocess)
    found = surgvl.load(tmp_path)
    assert isinstance(found, DualModel)
    wanted = vectors(model, video)
    for one, two in zip(wanted, vectors(found.model, video), strict=True):
        assert np.abs(one - two).max() < 1e-5
    assert found.scale == pytest.approx(float(model.logit_scale.detach().exp()), rel=1e-6)
    assert logit_scale(tmp_path) == pytest.approx(found.scale, rel=1e-6)
    # A new SigLIP begins at the least scale.
    assert family == "siglip" or found.scale != pytest.approx(float(before.logit_scale.detach().exp()), rel=1e-4)
    # Both towers have learnt, or the pooling alone.
    changed = [np.abs(one - two).max() > 1e-4 for one, two in zip(wanted, earlier, strict=True)]
    assert changed == [True, how != "frozen"]
    if how != "full":
        # What is no linear layer of a tower stays: norms' statistics, embeddings, convolutions.
        kept, linear = _others(before), _others(found.model.base if isinstance(found.model, Temporal) else found.model)
        assert kept.keys() == linear.keys()
        assert [name for name, value in kept.items() if not torch.equal(value, linear[name])] == []


def _others(model: nn.Module) -> dict[str, Tensor]:
    """Weights and statistics by name, without those of linear layers and the scale."""
    linear = {f"{name}.weight" for name, each in model.named_modules() if isinstance(each, nn.Linear)}
    return {
        name: value
        for name, value in model.state_dict().items()
        if name not in linear and not name.endswith("logit_scale")
    }
