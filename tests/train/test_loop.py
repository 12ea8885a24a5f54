"""The training loop: two runs alike to the bit, and a run killed by SIGKILL and resumed alike to one that was not."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from surgvl import video
from surgvl.cli import main as cli
from surgvl.core.errors import DataError
from surgvl.data.clips import PretrainClips, collate
from surgvl.data.frame_store import FrameStore
from surgvl.data.manifest import Manifest, VideoRow
from surgvl.models.checkpoint import load_model, save_model
from surgvl.models.vit import VideoViT
from surgvl.models.vit_config import ViTConfig
from surgvl.pretrain.surgrec_jepa import SurgRecJEPA
from surgvl.pretrain.surgrec_mae import SurgRecMAE
from surgvl.pretrain.videomae import VideoMAE
from surgvl.pretrain.vjepa import VJEPA
from surgvl.train.config import Optim, Run
from surgvl.train.loop import fit
from surgvl.train.objective import Objective
from surgvl.train.samples import StepSampler, micro_batch_seed
from surgvl.video.clip import Preprocess
from tests.helpers.killed import run_killed

TINY = [
    "--encoder.size_px=16",
    "--encoder.num_frames=4",
    "--encoder.patch_px=4",
    "--encoder.dim=32",
    "--encoder.depth=2",
    "--encoder.heads=2",
    "--optim.muon_lr_ratio=2.0",
    "--run.batch=4",
    "--run.save_every=3",
    "--run.log_every=5",
    "--run.precision=32-true",
]
TINY_MAE = [
    "--objective.class_path=surgvl.pretrain.surgrec_mae.SurgRecMAE",
    "--objective.init_args.decoder_dim=32",
    "--objective.init_args.decoder_heads=2",
    *TINY,
]
DECODER = {"decoder_dim": 32, "decoder_heads": 2}
PREDICTOR = {"predictor_dim": 32, "predictor_depth": 1, "predictor_heads": 2, "momentum": 0.9}
TEACHER = "surgvl:TEACHER"  # a tiny encoder next to the manifest
BLOCKS = {"short_blocks": 2, "short_scale": 0.2, "long_blocks": 1, "long_scale": 0.5}
# Class of a recipe -> its arguments at this size. Every recipe with code of its own resumes to the same weights.
RECIPES: dict[str, dict[str, object]] = {
    "videomae.VideoMAE": {**DECODER, "decoder_depth": 1, "decoder_ratio": 0.5},
    "surgvista.SurgVISTA": {**DECODER, "pixel_depth": 1, "token_depth": 1, "mask_ratio": 0.7, "teacher": TEACHER},
    "vjepa.VJEPA": {**PREDICTOR, **BLOCKS},
    "unisurg.UniSurg": {**PREDICTOR},
    "zen.Zen": {"teachers": f"[{TEACHER},{TEACHER}]"},
}


SHAPE = Preprocess(num_frames=4, fps=4.0, size_px=16)


def moving_blobs(path: Path, seed: int, num_frames: int = 80) -> None:
    """A smooth video with something to predict: two blobs that drift."""
    rng = np.random.default_rng(seed)
    rows, cols = np.mgrid[0:32, 0:32]
    centre, speed = rng.uniform(8, 24, (2, 2)), rng.uniform(-1, 1, (2, 2))

    def frame(t: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        y, x = ((centre + t * speed) % 32).T
        light = sum(np.exp(-((rows - a) ** 2 + (cols - b) ** 2) / 30) for a, b in zip(y, x, strict=True))
        colours = np.clip(np.stack([light, light / 2, 1 - light], -1), 0, 1)
        return np.asarray(255 * colours, np.uint8)

    video.write(path, (frame(t) for t in range(num_frames)), 8.0, gop=8)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("blobs")
    rows = []
    for number in range(3):
        moving_blobs(root / f"v{number}.mp4", number)
        rows.append(
            VideoRow(
                video_id=f"v{number}", path=f"v{number}.mp4", source="blobs", fps=8.0, duration_s=10.0, split="train"
            )
        )
    Manifest(rows, root=root).save(root / "manifest")
    torch.manual_seed(7)
    teacher = VideoViT(ViTConfig(size_px=16, num_frames=4, patch_px=4, dim=24, depth=1, heads=2))
    save_model(teacher, root / "teacher", SHAPE)
    return root / "manifest"


def arguments(manifest: Path, out: Path, steps: int, recipe: str = "videomae.VideoMAE") -> list[str]:
    given = {
        name: str(value).replace("TEACHER", str(manifest.parent / "teacher")) for name, value in RECIPES[recipe].items()
    }
    own = [f"--objective.init_args.{name}={value}" for name, value in given.items()]
    return ["pretrain", "--manifest", str(manifest), "--out", str(out), "--frame_cache", str(out.parent / "frames"),
            *TINY,
            f"--objective.class_path=surgvl.pretrain.{recipe}", *own,
            f"--run.steps={steps}", "--resume=true"]  # fmt: skip


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_model(out)[0].state_dict()


def losses(out: Path) -> dict[int, float]:
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return {row["step"]: row["loss"] for row in rows}


@pytest.mark.slow
def test_two_runs_are_alike_to_the_bit_and_the_loss_falls(manifest: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        cli.run(arguments(manifest, tmp_path / name, 16))
    a, b = weights(tmp_path / "a"), weights(tmp_path / "b")
    assert all(torch.equal(a[key], b[key]) for key in a)
    history = losses(tmp_path / "a")
    assert history == losses(tmp_path / "b")
    assert history[15] < 0.9 * history[0]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_killed_and_resumed_ends_with_the_weights_of_a_run_that_was_not(
    recipe: str, manifest: Path, tmp_path: Path
) -> None:
    cli.run(arguments(manifest, tmp_path / "whole", 6, recipe))
    broken = tmp_path / "broken"
    run_killed(arguments(manifest, broken, 6, recipe), 5)
    last = broken / "checkpoints" / "last.ckpt"
    step = torch.load(last, weights_only=True)["step"]
    assert step == 3
    assert not (broken / "model").exists()

    cli.run(arguments(manifest, broken, 6, recipe))
    whole, resumed = weights(tmp_path / "whole"), weights(broken)
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)
    ends = [torch.load(out / "checkpoints/last.ckpt", weights_only=True) for out in (tmp_path / "whole", broken)]
    one, two = (end["objective"] for end in ends)
    assert one.keys() == two.keys()
    assert all(torch.equal(one[key], two[key]) for key in one if isinstance(one[key], torch.Tensor))


def test_recipes_that_are_not_resumed_here_have_no_code_of_their_own() -> None:
    for alias, recipe in ((SurgRecMAE, VideoMAE), (SurgRecJEPA, VJEPA)):
        assert issubclass(alias, recipe)
        assert not [name for name, value in vars(alias).items() if callable(value)]


def test_sampler_cuts_batches_over_ranks_and_time_and_resumes() -> None:
    whole = list(StepSampler(5, 8, 0, 0, 1))
    assert whole[1] == list(range(8, 16))
    assert list(StepSampler(5, 8, 3, 0, 1)) == whole[3:]
    one, two = (list(StepSampler(5, 8, 0, rank, 2, accumulate=2)) for rank in range(2))
    assert len(one) == len(two) == len(StepSampler(5, 8, 3, 0, 2, accumulate=2)) == 10
    for step, batch in enumerate(whole):
        parts = [*one[2 * step : 2 * step + 2], *two[2 * step : 2 * step + 2]]
        assert sum(parts, []) == batch
    # The parts of one process in time are those of two processes side by side.
    alone = list(StepSampler(5, 8, 0, 0, 1, accumulate=2))
    sides = zip(StepSampler(5, 8, 0, 0, 2), StepSampler(5, 8, 0, 1, 2), strict=True)
    assert alone == [part for step in sides for part in step][:10]
    seeds = {micro_batch_seed(seed, step, part) for seed in range(3) for step in range(50) for part in range(64)}
    assert len(seeds) == 3 * 50 * 64


@pytest.mark.slow
def test_samples_are_functions_of_seed_and_index(manifest: Path) -> None:
    table = Manifest.load(manifest)
    store = FrameStore({row.video_id: table.path_of(row.video_id) for row in table.videos}, SHAPE)
    good = store.prepare()
    first, second = (PretrainClips(store, good, seed=3) for _ in range(2))
    order = [17, 2, 40]
    for index in order:
        a, b = first[index], second[index]
        assert (a["video_id"], a["start_s"]) == (b["video_id"], b["start_s"])
        assert torch.equal(a["video"], b["video"])
    epoch = [first.draw(index)[0] for index in range(len(first.rows))]
    assert sorted(epoch) == list(range(len(first.rows)))
    batch = collate([first[0], first[1]])
    assert batch["video"].shape == (2, 3, 4, 16, 16)
    assert batch["video"].dtype == torch.uint8


@pytest.mark.slow
def test_a_store_gives_the_frames_of_the_file(manifest: Path, tmp_path: Path) -> None:
    table = Manifest.load(manifest)
    paths = {"v0": table.path_of("v0")}
    stored, direct = FrameStore(paths, SHAPE, tmp_path), FrameStore(paths, SHAPE)
    assert stored.prepare() == direct.prepare() == ["v0"]
    for place in (0, 13, 36):
        assert np.array_equal(stored.clip(("v0", place)), direct.clip(("v0", place)))


@pytest.mark.slow
def test_bad_videos_are_set_aside_listed_and_reported(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = Manifest.load(manifest)
    (tmp_path / "bad.mp4").write_text("not a video")
    bad = VideoRow(video_id="bad", path=str(tmp_path / "bad.mp4"), source="x", fps=8.0, duration_s=1.0, split="train")
    rows = [row.model_copy(update={"path": str(table.path_of(row.video_id))}) for row in table.videos]
    Manifest([*rows, bad]).save(tmp_path / "manifest")
    argv = arguments(tmp_path / "manifest", tmp_path / "out", 2)
    assert cli.main(argv) == 1
    message = capsys.readouterr().err
    assert "1 of 4 videos was set aside" in message
    assert "bad.mp4" in message
    assert (tmp_path / "out" / "model" / "model.safetensors").is_file()
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["pretraining_video_ids"] == ["blobs:v0", "blobs:v1", "blobs:v2"]
    assert list(record["problems"]) == ["bad"]


class Diverges(Objective):
    """A loss that is not a number from the start."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(2, 2))

    def forward(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"loss": self.weight.sum() * float("nan")}


def test_nan_stops_the_run_and_names_the_videos(manifest: Path, tmp_path: Path) -> None:
    table = Manifest.load(manifest)
    store = FrameStore({"v1": table.path_of("v1")}, SHAPE)
    data = PretrainClips(store, store.prepare(), 0)
    with pytest.raises(DataError, match="loss is nan at step 0, in a batch of v1"):
        fit(Diverges(), data, collate, tmp_path, Optim(), Run(steps=3, batch=4, precision="32-true"))
