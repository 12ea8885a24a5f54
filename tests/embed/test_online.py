"""Online clips: no frame after a segment changes its vector; and results say which clips were embedded."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from surgvl.embed.windows import encode_windows, read_windows
from surgvl.models.checkpoint import load_model, save_model
from surgvl.video.clip import Anchor, Preprocess
from tests.models.test_models import small_encoder


def pictures(folder: Path, seed: int, changed_from: int = 40) -> Path:
    """Forty pictures, one a second; from a second on others than without the change."""
    folder.mkdir()
    for second in range(40):
        own = np.random.default_rng([seed if second >= changed_from else 0, second])
        cv2.imwrite(str(folder / f"{second:04d}.png"), own.integers(0, 255, (16, 16, 3), dtype=np.uint8))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("fps", [1.0, 0.25])
def test_the_future_changes_no_online_vector(tmp_path: Path, fps: float) -> None:
    torch.manual_seed(0)
    encoder = small_encoder().eval()
    one, other = pictures(tmp_path / "one", 0), pictures(tmp_path / "other", 1, changed_from=25)
    anchors: tuple[Anchor, ...] = ("last", "centre", "first")
    alike = {}
    for anchor in anchors:
        save_model(encoder, tmp_path / anchor, Preprocess(num_frames=4, fps=fps, size_px=16, anchor=anchor))
        model, preprocess = load_model(tmp_path / anchor)
        assert preprocess.anchor == anchor
        first, second = (
            encode_windows(lambda video: model(video).mean(1), read_windows(path, preprocess), 8, "cpu")[0]  # noqa: B023
            for path in (one, other)
        )
        alike[anchor] = int((first == second).all(1).sum())
    # 25 segments lie before the change; clips with other anchors look ahead.
    assert alike["last"] == 25
    assert alike["centre"] < 25 > alike["first"]
