"""Published models trained further: what changes, what stays, and what is loaded again."""

from pathlib import Path

import numpy as np
import pytest
import torch

import surgvl
from surgvl import video
from surgvl.align.adapt import adapt, linear_layers
from surgvl.api import DualModel
from surgvl.cli import main as cli
from surgvl.core.errors import ConfigError
from surgvl.core.files import write_json
from surgvl.data.manifest import Manifest
from surgvl.data.tables import Segment
from surgvl.models.adapters.open_clip import OpenClip
from surgvl.models.adapters.temporal import Temporal, TemporalPool
from surgvl.models.checkpoint import save_model
from surgvl.models.model_info import find_model, model_hash, training_record
from surgvl.video.clip import Preprocess
from tests.helpers.made_duals import tiny_dual
from tests.helpers.made_published import TINY, tiny_clip
from tests.helpers.made_transformers import made
from tests.helpers.small_phantom import SMALL
from tests.models.test_models import small_encoder

STEPS = ["--run.steps", "3", "--run.batch", "4", "--run.workers", "0", "--optim.lr", "0.01"]
SENTENCES = ["the hook dissects the gallbladder", "the clipper clips the cystic duct"]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"open_clip:{TINY}@{tiny_clip(tmp_path_factory.mktemp('tiny'))}"


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("phantom")
    flags = [word for name, value in SMALL.items() for word in (f"--{name}", str(value))]
    cli.run(["phantom", "--out", str(root / "raw"), *flags])
    cli.run(["data", "convert", "phantom", str(root / "raw"), str(root / "manifest")])
    return root / "manifest"


def align(published: str, manifest: Path, out: Path, how: str) -> DualModel:
    command = ["align", "--encoder", published, "--manifest", str(manifest), "--out", str(out), "--adapt", how]
    cli.run([*command, *STEPS])
    found = surgvl.load(out)
    assert isinstance(found, DualModel)
    return found


def clip(seed: int = 0) -> video.Image:
    return np.random.default_rng(seed).integers(0, 256, (4, 40, 60, 3), np.uint8)


def test_the_pooling_starts_at_the_published_model_and_learns_order() -> None:
    torch.manual_seed(0)
    pool = TemporalPool(16, 4)
    frames = torch.nn.functional.normalize(torch.randn(2, 4, 16), dim=-1)
    assert torch.allclose(pool(frames), torch.nn.functional.normalize(frames.mean(1), dim=-1), atol=1e-7)
    torch.nn.init.ones_(pool.gate)
    assert not torch.allclose(pool(frames), pool(frames.flip(1)), atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--random_encoder"], "--random_encoder cannot be given with open_clip:"),
        (["--text", "minilm", "--frozen_text"], "--text and --frozen_text cannot be given with open_clip:"),
    ],
)
def test_flags_for_towers_of_ours_are_refused(
    flags: list[str], named: str, published: str, manifest: Path, tmp_path: Path
) -> None:
    """A control with random weights would otherwise be the published model."""
    command = ["align", "--encoder", published, "--manifest", str(manifest), "--out", str(tmp_path / "out")]
    with pytest.raises(ConfigError, match=f"{named}.*choose by --adapt"):
        cli.run([*command, *flags])


@pytest.mark.slow
@pytest.mark.parametrize("is_random", [False, True])
def test_random_weights_have_seen_no_videos_before(is_random: bool, manifest: Path, tmp_path: Path) -> None:
    encoder = tmp_path / "encoder"
    save_model(small_encoder(), encoder / "model", Preprocess(num_frames=4, fps=4.0, size_px=16))
    write_json(encoder / "run.json", {"pretraining_video_ids": ["elsewhere"]})
    command = ["align", "--encoder", str(encoder), "--manifest", str(manifest), "--out", str(tmp_path / "out")]
    cli.run([*command, "--run.steps", "1", "--run.batch", "2", "--dim", "8", f"--random_encoder={is_random}".lower()])
    record = training_record(tmp_path / "out")
    assert ("elsewhere" in record["pretraining_video_ids"]) is not is_random
    assert record["random_encoder"] is is_random


@pytest.mark.slow
def test_a_frozen_model_gets_a_pooling(published: str, manifest: Path, tmp_path: Path) -> None:
    before = surgvl.load(published)
    assert isinstance(before, DualModel)
    model = align(published, manifest, tmp_path / "out", "frozen")
    assert isinstance(model.model, Temporal)
    # Sentences and frames as before, clips not.
    assert np.abs(model.encode_text(SENTENCES) - before.encode_text(SENTENCES)).max() < 1e-6
    base = model.model.base
    assert isinstance(base, OpenClip)
    assert isinstance(before.model, OpenClip)
    theirs = before.model.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in base.state_dict().items())
    assert np.abs(model.encode_video(clip()) - before.encode_video(clip())).max() > 1e-4
    facts = training_record(tmp_path / "out")
    assert facts["frozen"] is True
    assert facts["num_trainable"] == sum(p.numel() for p in model.model.head.parameters())
    # The folder stands alone, and its hash is that of both parts.
    assert model_hash(tmp_path / "out") != model_hash(published)
    assert not any(path.is_symlink() for path in (tmp_path / "out" / "model").rglob("*"))
    path = next((find_model(tmp_path / "out") / "base").glob("model.safetensors"))
    assert path.stat().st_size > 0
    # A file is encoded with the pooling, too.
    video_path = next(manifest.parent.rglob("*.mp4"))
    found, starts, ends = model.encode_seconds(video_path)
    at_s = (starts[3] + ends[3]) / 2
    assert np.abs(found[3] - model.encode_video(video_path, at_s)[0]).max() < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("how", ["lora", "full"])
def test_towers_are_trained_and_saved_as_they_were_published(
    published: str, manifest: Path, tmp_path: Path, how: str
) -> None:
    before = surgvl.load(published)
    model = align(published, manifest, tmp_path / "out", how)
    assert isinstance(before, DualModel)
    assert isinstance(model.model, OpenClip)
    theirs = before.model.state_dict()
    changed = {name for name, value in model.model.state_dict().items() if not torch.equal(value, theirs[name])}
    own = {f"{name}.weight" for name in linear_layers(before.model)}
    assert own
    if how == "lora":
        assert changed == {*own, "inner.logit_scale"}
    else:
        assert own < changed
    assert not torch.allclose(
        torch.from_numpy(model.encode_text(SENTENCES)), torch.from_numpy(before.encode_text(SENTENCES))
    )


@pytest.mark.slow
def test_linear_layers_are_those_that_lora_can_replace(published: str) -> None:
    """torch's attention reads its output layer's weight itself, so a replaced one would have no effect."""
    model = surgvl.load(published)
    assert isinstance(model, DualModel)
    names = linear_layers(model.model)
    assert names
    assert all("c_fc" in name or "c_proj" in name for name in names)


def test_whole_clips_have_no_frames_to_pool(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="sees clips: give lora or full"):
        adapt(tiny_dual(), "frozen", tmp_path, 4)


@pytest.mark.slow
def test_a_model_of_whole_pictures_is_trained_on_them(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Qwen3-VL-Embedding takes frames at their own aspect ratio, which are augmented and batched as they are."""
    monkeypatch.setenv("SURGVL_MODELS", str(tmp_path / "store"))
    name = f"hf:{made('qwen3_vl', tmp_path / 'hub')}"
    model = align(name, manifest, tmp_path / "out", "lora")
    before = surgvl.load(name)
    assert isinstance(before, DualModel)
    assert model.preprocess == before.preprocess
    assert model.preprocess.geometry == "fit"
    assert np.abs(model.encode_text(SENTENCES) - before.encode_text(SENTENCES)).max() > 1e-4
    assert np.abs(model.encode_video(clip()) - before.encode_video(clip())).max() > 1e-4
    command = ["align", "--encoder", name, "--manifest", str(manifest), "--out", str(tmp_path / "other"), *STEPS]
    with pytest.raises(
        ConfigError, match="--augmentation.crop must be none for hf:.* at their own aspect ratio, got 'random'"
    ):
        cli.run([*command, "--adapt", "lora", "--augmentation.crop", "random"])
    # Another video of a different shape.
    table = Manifest.load(manifest)
    wide = tmp_path / "wide.mp4"
    video.write(wide, (np.zeros((32, 96, 3), np.uint8) for _ in range(20)), fps=5)
    rows = [*table.videos, table.videos[0].model_copy(update={"video_id": "wide", "path": str(wide), "split": "train"})]
    told = [Segment(video_id="wide", start_s=0.0, end_s=3.0, task="narration", label="a hook")]
    Manifest(rows, [*table.segments, *told], root=table.root).save(tmp_path / "mixed")
    command[command.index("--manifest") + 1] = str(tmp_path / "mixed")
    with pytest.raises(
        ConfigError, match=r"have several \(32x32 and 96x32 px\): give --run.accumulate 4, one clip at a time"
    ):
        cli.run([*command, "--adapt", "lora"])
    cli.run([*command, "--adapt", "lora", "--run.accumulate", "4", "--run.steps", "1", "--resume"])
