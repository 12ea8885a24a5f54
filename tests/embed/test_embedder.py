"""`embed` with a video encoder alone: mean tokens of unit norm, found again in the index, and no prompts."""

from pathlib import Path

import numpy as np
import pytest
import torch

from surgvl import video
from surgvl.cli import main as cli
from surgvl.commands.embed import embed
from surgvl.core.errors import ConfigError
from surgvl.embed.vectors import Vectors
from surgvl.models.checkpoint import save_model
from tests.helpers.numbered_videos import colourful
from tests.models.test_models import PREPROCESS, small_encoder


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    torch.manual_seed(3)
    save_model(small_encoder(), tmp_path / "mae" / "model", PREPROCESS)
    return tmp_path / "mae"


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "films" / "a.mp4"
    path.parent.mkdir()
    video.write(path, (frame for _, frame in zip(range(20), colourful(20), strict=False)), 5)
    return path


@pytest.mark.slow
def test_vectors_are_normalised_mean_tokens(encoder: Path, film: Path, tmp_path: Path) -> None:
    out = tmp_path / "vectors"
    embed(out, model=encoder, videos=[film], stride_s=2.0)
    found = Vectors.load(out)
    assert found.texts is None
    assert found.meta.prompt_sets == {}
    assert found.vectors.shape == (2, 32)
    torch.manual_seed(3)
    network = small_encoder()
    clip_s = PREPROCESS.num_frames / PREPROCESS.fps
    for row, centre_s in enumerate((1.0, 3.0)):
        start_s = centre_s - clip_s / 2
        frames = video.read(film, start_s, start_s + clip_s, PREPROCESS.fps, PREPROCESS.size_px)
        with torch.no_grad():
            tokens = network(torch.from_numpy(frames).permute(3, 0, 1, 2)[None])[0].numpy()
        mean = tokens.astype(np.float64).mean(0)
        # Vectors are stored in float16.
        np.testing.assert_allclose(found.vectors[row], mean / np.linalg.norm(mean), atol=1e-3)


@pytest.mark.slow
def test_its_vectors_are_indexed_and_searched_by_a_moment(
    encoder: Path, film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, index = tmp_path / "vectors", tmp_path / "index"
    cli.run(["embed", "--model", str(encoder), "--videos", str(film), "--stride_s", "2", "--out", str(out)])
    assert "is a video encoder without a text tower: prompts are not embedded" in capsys.readouterr().out
    cli.run(["index", "--vectors", str(out), "--manifest", str(out / "manifest"), "--out", str(index)])
    found = cli.run(["search", "--like", "a@1", "--index", str(index)])
    assert [(moment.video_id, moment.start_s) for moment in found] == [("a", 2.0)]


def test_prompts_are_refused_in_one_line(encoder: Path, film: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^--prompt_sets needs a text tower, and .*mae is a video encoder.*$"):
        embed(tmp_path / "vectors", model=encoder, videos=[film], prompt_sets=["phantom_phase"])
    assert not (tmp_path / "vectors").exists()
