"""Tokens of a frozen encoder: those that it gives, computed once, shared by the stages, and training that sees no
difference.
"""

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from surgvl.align.clip import ClipAlign
from surgvl.cli import main as cli
from surgvl.core.errors import ConfigError
from surgvl.core.files import write_json
from surgvl.data.clips import NarratedClips
from surgvl.data.frame_store import FrameStore
from surgvl.embed.features import Features
from surgvl.models.checkpoint import load_model, save_model
from surgvl.models.dual_encoder import DualEncoder
from surgvl.models.text import build_text
from surgvl.models.vit import VideoViT
from surgvl.models.vit_config import ViTConfig
from surgvl.video.clip import Preprocess
from tests.helpers.small_language import small_language
from tests.models.test_models import small_encoder

FPS, SIZE, FRAMES = 2.0, 16, 4
PREPROCESS = Preprocess(num_frames=FRAMES, fps=FPS, size_px=SIZE)


@pytest.fixture
def store(tmp_path: Path) -> FrameStore:
    from surgvl.video import write

    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        write(tmp_path / f"{name}.mp4", rng.integers(0, 255, (20, 32, 32, 3), dtype=np.uint8), fps=FPS)
    store = FrameStore({name: tmp_path / f"{name}.mp4" for name in "ab"}, PREPROCESS, tmp_path / "frames")
    assert store.prepare() == ["a", "b"]
    return store


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Number of clips in each look of any encoder."""
    found: list[int] = []
    forward = VideoViT.forward

    def counted(self: VideoViT, video: Tensor, keep: Tensor | None = None) -> Tensor:
        found.append(len(video))
        return forward(self, video, keep)

    monkeypatch.setattr(VideoViT, "forward", counted)
    return found


def direct(encoder: VideoViT, store: FrameStore, clip: tuple[str, int]) -> Tensor:
    frames = store.clip(clip)
    with torch.no_grad():
        tokens: Tensor = encoder(torch.from_numpy(frames).permute(3, 0, 1, 2)[None])
    return tokens[0]


def halves(tokens: Tensor) -> Tensor:
    """[B, N, D] -> the mean of each half, in memory that does not lie in order."""
    B, N, D = tokens.shape
    return tokens.view(B, 2, N // 2, D).mean(2).transpose(1, 2).contiguous().transpose(1, 2)


CLIPS = [("b", 6), ("a", 0), ("a", 5), ("b", 0), ("a", 0), ("a", 16)]


def test_tokens_are_the_encoders_and_are_computed_once(store: FrameStore, tmp_path: Path, looked: list[int]) -> None:
    encoder = small_encoder()
    for again in (False, True):
        looked.clear()
        features = Features(encoder, store, tmp_path / "features")
        features.add(CLIPS)
        assert sum(looked) == (0 if again else 5)
        assert ("a", 1) not in features
        wanted = torch.stack([direct(encoder, store, clip) for clip in CLIPS])
        assert torch.allclose(features.stack(CLIPS), wanted, atol=1e-6)
    looked.clear()
    features.add([*CLIPS, ("a", 1)])
    assert sum(looked) == 1
    assert torch.allclose(features["a", 1], direct(encoder, store, ("a", 1)), atol=1e-6)
    assert torch.allclose(features["a", 5], direct(encoder, store, ("a", 5)), atol=1e-6)


def test_what_is_stored_whole_is_pooled_without_looking(store: FrameStore, tmp_path: Path, looked: list[int]) -> None:
    encoder = small_encoder()
    Features(encoder, store, tmp_path / "features").add(CLIPS[:3])
    looked.clear()
    pooled = Features(encoder, store, tmp_path / "features", halves, "halves")
    pooled.add(CLIPS[:3])
    assert not looked
    pooled.add(CLIPS)
    assert sum(looked) == 2
    wanted = torch.stack([halves(direct(encoder, store, clip)[None])[0] for clip in CLIPS])
    assert torch.allclose(pooled.stack(CLIPS), wanted, atol=1e-6)


def test_another_encoder_or_another_state_of_a_video_is_looked_at(
    store: FrameStore, tmp_path: Path, looked: list[int]
) -> None:
    encoder = small_encoder()
    Features(encoder, store, tmp_path / "features").add(CLIPS)
    with torch.no_grad():
        encoder.blocks[0].mlp[0].weight[0, 0] += 1  # type: ignore[index, union-attr]
    changed = Features(encoder, store, tmp_path / "features")
    assert ("a", 0) not in changed
    changed.add(CLIPS)
    shutil.copyfile(tmp_path / "b.mp4", tmp_path / "a.mp4")
    fresh = FrameStore(store.paths, PREPROCESS, tmp_path / "frames")
    fresh.prepare()
    features = Features(encoder, fresh, tmp_path / "features")
    assert ("a", 0) not in features
    assert ("b", 0) in features
    features.add([("a", 0)])
    assert torch.allclose(features["a", 0], features["b", 0], atol=1e-6)


def test_a_frozen_encoder_drops_no_paths(store: FrameStore, tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = VideoViT(ViTConfig(size_px=SIZE, num_frames=FRAMES, patch_px=4, dim=32, depth=2, heads=2, drop_path=0.9))
    objective = ClipAlign(DualEncoder(encoder, build_text("tiny", 16), 16), frozen_encoder=True).train()
    assert not encoder.training
    assert objective.dual.pool.training
    features = Features(encoder.train(), store, tmp_path / "features")
    features.add(CLIPS)
    assert features.encoder.training
    assert torch.allclose(features["a", 0], direct(encoder.eval(), store, ("a", 0)), atol=1e-6)


def test_a_disk_without_room_is_told(store: FrameStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage(NamedTuple):
        free: int

    features = Features(small_encoder(), store, tmp_path / "features")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(2 * features.num_bytes(CLIPS) - 1))
    assert not features.fits(CLIPS)
    with pytest.raises(ConfigError, match="of 5 clips need .* more than half of the free space: give a --frame_cache"):
        features.add(CLIPS)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_moments_are_middles_of_seconds_or_of_the_sentence(store: FrameStore) -> None:
    class Row(NamedTuple):
        video_id: str
        start_s: float
        end_s: float
        label: str = "x"
        task: str = "narration"

    class Table(NamedTuple):
        segments: list[Row]

    rows = [Row("a", 0.6, 3.5), Row("a", 5.55, 6.4), Row("b", 2.0, 3.0)]
    table: Any = Table(rows)
    data = NarratedClips(store, table, ["a", "b"], 0, seconds=True)
    assert [data.moments(row) for row in table.segments] == [[1.5, 2.5], [(5.55 + 6.4) / 2], [2.5]]
    # A clip lasts two seconds, and none begins before its video.
    assert data.clips() == [("a", 1), ("a", 3), ("a", 10), ("b", 3)]
    drawn = [data[number] for number in range(60)]
    assert {(each["video_id"], round(FPS * each["start_s"])) for each in drawn} == set(data.clips())


def losses(run: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]


SIDE = 32


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of an untrained encoder, smaller than that of the tiny run."""
    folder = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(0)
    shape = ViTConfig(size_px=SIDE, num_frames=8, patch_px=8, tubelet=4, dim=32, depth=2, heads=2)
    save_model(VideoViT(shape), folder / "model", Preprocess(num_frames=8, fps=4.0, size_px=SIDE))
    write_json(folder / "run.json", {"pretraining_video_ids": []})
    return folder


def stages(run: Path, encoder: Path, out: Path, store: Path, *more: str) -> list[str]:
    return [
        *("align", "--manifest", str(run / "manifest"), "--encoder", str(encoder), "--out", str(out)),
        *("--frame_cache", str(store), "--frozen_encoder=true", "--random_encoder=true", "--run.precision", "32-true"),
        *("--run.steps", "6", "--run.batch", "8", "--run.log_every", "1", *more),
    ]


def test_align_learns_the_same_from_stored_tokens_and_tune_of_its_encoder_takes_them(
    tiny_run: Path,
    encoder: Path,
    tmp_path: Path,
    looked: list[int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    frames = tmp_path / "frames"
    cli.run(stages(tiny_run, encoder, tmp_path / "stored", frames, "--augment", "false"))
    # Two videos of 20 s have at most 40 seconds, where six steps of eight clips ask for 48.
    first = sum(looked)
    assert 0 < first <= 40

    looked.clear()
    cli.run([*stages(tiny_run, encoder, tmp_path / "again", frames, "--augment", "false")])
    assert not looked

    with monkeypatch.context() as patch:
        patch.setattr("surgvl.commands.align._tokens", lambda *args: None)
        cli.run(stages(tiny_run, encoder, tmp_path / "plain", frames, "--augment", "false"))
    assert sum(looked) == 48
    stored, plain = (losses(tmp_path / name) for name in ("stored", "plain"))
    assert len(plain) == 6
    assert stored == pytest.approx(plain, abs=1e-6)

    tune = ["tune", "--manifest", str(tiny_run / "manifest"), "--encoder", str(tmp_path / "stored")]
    tune += ["--out", str(tmp_path / "tune"), "--frame_cache", str(frames), "--run.steps", "2", "--run.batch", "4"]
    looked.clear()
    with small_language():
        cli.run([*tune, "--projector_steps", "1", "--held_out", ""])
    # Only the seconds over which no sentence is spoken are new to it.
    assert sum(looked) <= 40 - first
    assert not (tmp_path / "tune" / "features").exists()
    capsys.readouterr()

    looked.clear()
    cli.run(stages(tiny_run, encoder, tmp_path / "augmented", frames))
    assert sum(looked) == 48
    assert (
        "the frozen encoder encodes each clip again at each step, because the clips are augmented"
        in capsys.readouterr().out
    )
    assert json.loads((tmp_path / "augmented" / "run.json").read_text())["frozen"]


def test_crops_of_narrated_clips_are_taken_from_frames_read_larger(
    tiny_run: Path, encoder: Path, tmp_path: Path
) -> None:
    frames = tmp_path / "frames"
    crops = ["--augmentation.crop", "multi_scale", "--augmentation.picture_aspect", "0", "--augmentation.read_px", "40"]
    crops += ["--run.steps", "2"]
    cli.run(stages(tiny_run, encoder, tmp_path / "cropped", frames, *crops))
    cropped = {path.stat().st_size for path in frames.rglob("*.rgb")}
    # Without augmentation, frames are read as the encoder takes them.
    cli.run(stages(tiny_run, encoder, tmp_path / "plain", tmp_path / "small", *crops, "--augment", "false"))
    plain = {path.stat().st_size for path in (tmp_path / "small").rglob("*.rgb")}
    for name in ("cropped", "plain"):
        _, preprocess = load_model(tmp_path / name)
        assert preprocess.size_px == SIDE
    assert cropped
    assert {size * SIDE**2 for size in cropped} == {size * 40**2 for size in plain}


def test_without_a_store_nothing_is_left_behind(tiny_run: Path, encoder: Path, tmp_path: Path) -> None:
    argv = stages(tiny_run, encoder, tmp_path / "align", tmp_path, "--augment", "false", "--run.steps", "2")
    at = argv.index("--frame_cache")
    cli.run([*argv[:at], *argv[at + 2 :]])
    assert (tmp_path / "align" / "model").is_dir()
    assert not list(tmp_path.rglob("features"))


def test_readouts_share_tokens_and_score_the_same(
    tiny_run: Path, encoder: Path, tmp_path: Path, looked: list[int]
) -> None:
    probe = ["probe", "--manifest", str(tiny_run / "manifest"), "--encoder", str(encoder)]
    probe += ["--steps", "4", "--batch", "4", "--readout"]
    found = {}
    for name, readout, more in (
        ("plain", "linear", []),
        ("stored", "linear", ["--frame_cache", str(tmp_path / "frames")]),
        ("attentive", "attentive", ["--frame_cache", str(tmp_path / "frames")]),
        ("twice", "linear", ["--frame_cache", str(tmp_path / "frames"), "--clip.num_frames", "16"]),
        (
            "too large",
            "linear",
            ["--frame_cache", str(tmp_path / "other"), "--clip.num_frames", "16", "--tokens_gb", "4e-5"],
        ),
    ):
        looked.clear()
        cli.run([*probe, readout, "--out", str(tmp_path / name), *more])
        found[name] = sum(looked)
    # Two videos to learn from and one to be asked about, of 20 s each; clips of 16 frames are seen in two groups.
    assert (found["plain"], found["stored"], found["attentive"]) == (60, 60, 0)
    assert 0 < found["twice"] < 2 * 60
    assert found["too large"] == 2 * 60
    assert not (tmp_path / "other" / "features").exists()
    plain, stored = (json.loads((tmp_path / name / "result.json").read_text()) for name in ("plain", "stored"))
    assert [row["value"] for row in plain] == pytest.approx([row["value"] for row in stored], abs=0.02)
