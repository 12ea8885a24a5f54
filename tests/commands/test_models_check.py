"""`surgvl models check`: what it accepts, and each thing that it must notice."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from surgvl.cli import main as cli
from surgvl.commands.models_check import check_form, compare, models_check, phantom_clip
from surgvl.core.errors import CheckpointError, ConfigError
from surgvl.models.published import Recorded, published
from tests.helpers.made_published import TINY, tiny_clip

UNIT = np.eye(4, dtype=np.float32)


@pytest.mark.slow
def test_the_shipped_model_gives_what_is_recorded(capsys: pytest.CaptureFixture[str]) -> None:
    models_check("phantom")
    said = capsys.readouterr().out
    assert "(128 numbers)" in said
    assert "phantom equals what is recorded to " in said


@pytest.mark.slow
def test_any_model_that_loads_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SURGVL_MODELS", str(tmp_path / "store"))
    models_check(f"open_clip:{TINY}@{tiny_clip(tmp_path)}")
    said = capsys.readouterr().out
    assert "(16 numbers)" in said
    assert "no vectors are recorded" in said
    with pytest.raises(ConfigError, match="is not a published model"):
        models_check("nosuch")


@pytest.mark.slow
def test_the_clip_moves_and_is_the_same_each_time() -> None:
    clip = phantom_clip()
    assert clip.shape == (16, 256, 256, 3)
    assert len({frame.tobytes() for frame in clip}) == 16
    assert np.array_equal(clip, phantom_clip())


def test_another_vector_than_the_recorded_one_is_refused() -> None:
    recorded = Recorded(clip=[1.0, 0.0], text=[0.0, 1.0])
    assert compare("m", recorded, UNIT[0], UNIT[1]) == 0
    assert compare("m", recorded, UNIT[0] + np.float32(1e-3), UNIT[1]) == pytest.approx(1e-3, rel=1e-3)
    with pytest.raises(CheckpointError, match="vector of the sentence that differs from the recorded one"):
        compare("m", recorded, UNIT[0], UNIT[2])
    with pytest.raises(ConfigError, match="gives 1"):
        compare("m", recorded, UNIT[0][:1], UNIT[1])


@pytest.mark.parametrize(
    ("clip", "black", "text", "said"),
    [
        (UNIT[0] * 2, UNIT[1], UNIT[2], "of length"),
        (UNIT[0], UNIT[1], UNIT[2] * np.float32("nan"), "of length"),
        (UNIT[0], UNIT[0], UNIT[2], "one vector for a clip and for black frames"),
    ],
)
def test_vectors_that_no_working_model_gives_are_refused(
    clip: NDArray[np.float32], black: NDArray[np.float32], text: NDArray[np.float32], said: str
) -> None:
    check_form("m", UNIT[0], UNIT[1], UNIT[2])
    with pytest.raises(CheckpointError, match=said):
        check_form("m", clip, black, text)


def test_a_model_that_is_not_here_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SURGVL_MODELS", str(tmp_path))
    assert published("surgclip").recorded is None
    assert cli.main(["models", "check", "surgclip"]) == 1
    assert "surgvl models fetch surgclip" in capsys.readouterr().err
