"""The few vectors that a recording has at first."""

from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from surgvl import video
from surgvl.embed import coarse
from surgvl.embed.coarse import encode_coarse, spread
from surgvl.video.clip import extract_clip
from tests.helpers.made_duals import tiny_dual
from tests.helpers.numbered_videos import colourful
from tests.models.test_models import PREPROCESS

SECONDS = 12


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.mp4"
    video.write(path, colourful(SECONDS * 5), 5)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("most", [2, 3, 12])
def test_as_many_as_there_is_time_for_cover_the_video(film: Path, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    model = tiny_dual().eval()
    # A clock that goes on by a second whenever it is read: at the start, and after each clip.
    ticks = count()
    monkeypatch.setattr(coarse, "time", SimpleNamespace(monotonic=lambda: float(next(ticks))))
    found, starts, ends = encode_coarse(model, film, PREPROCESS, "cpu", count=12, budget_s=most)
    assert found.shape == (most, model.dim)
    assert len(starts) == len(ends) == most
    # Equal parts of twelve seconds have their middles at 0.5, 1.5, ...
    moments = np.sort(np.array(spread(12)[:most]) + 0.5)
    for number, moment_s in enumerate(moments.tolist()):
        clip = torch.from_numpy(extract_clip(film, PREPROCESS, moment_s)).permute(3, 0, 1, 2)[None]
        with torch.inference_mode():
            wanted = model.encode_video(clip)[0].numpy()
        np.testing.assert_allclose(found[number], wanted, atol=1e-6)
    assert starts == [0.0, *ends[:-1]]
    assert ends[-1] == pytest.approx(SECONDS)
    assert all(start < moment < end for start, moment, end in zip(starts, moments, ends, strict=True))


def test_without_any_time_one_clip_stands_for_all(film: Path) -> None:
    found, starts, ends = encode_coarse(tiny_dual().eval(), film, PREPROCESS, "cpu", budget_s=0)
    assert (len(found), starts) == (1, [0.0])
    assert ends == pytest.approx([SECONDS])


def test_the_first_ones_are_spread() -> None:
    assert spread(0) == []
    assert spread(1) == [0]
    for total in (2, 7, 12, 33):
        order = spread(total)
        assert sorted(order) == list(range(total))
        for first in range(1, total + 1):
            edges = [-1, *sorted(order[:first]), total]
            # No gap is much longer than the others: at most twice, but for rounding.
            gaps = np.diff(edges)
            assert gaps.max() <= 2 * (total / first) + 1
