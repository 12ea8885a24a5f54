"""Texts, times and strides as people give them from Python: right, or one line."""

from pathlib import Path

import numpy as np
import pytest

from surgvl import video
from surgvl.api import DualModel
from surgvl.cli.arguments import read_configs
from surgvl.cli.renamed import names
from surgvl.cli.usage_error import UsageError
from surgvl.core.checks import MAX_CHARACTERS, check_question, text_list
from surgvl.core.errors import ConfigError, DataError, SurgVLWarning
from surgvl.core.files import plain_yaml, read_json
from surgvl.models.dual_encoder import DualEncoder
from surgvl.prompts import load
from surgvl.train.config import Optim, Run
from surgvl.video.clip import Preprocess
from tests.helpers.made_duals import tiny_dual
from tests.models.test_models import PREPROCESS


@pytest.fixture(scope="module")
def dual() -> DualModel:
    return DualModel(tiny_dual(), PREPROCESS, Path("none"), "cpu")


def test_one_sentence_is_one_row_and_none_are_none(dual: DualModel) -> None:
    assert np.array_equal(dual.encode_text("the hook"), dual.encode_text(["the hook"]))
    assert dual.encode_text("the hook").shape == (1, 24)
    assert dual.encode_text([]).shape == (0, 24)
    for bad in ([None], [3], [b"a"]):
        with pytest.raises(DataError, match="sentences must be strings, got"):
            text_list(bad, "sentences")  # type: ignore[arg-type]


def test_what_is_cut_off_a_sentence_is_said(dual: DualModel) -> None:
    assert isinstance(dual.model, DualEncoder)
    assert dual.model.text.tokenizer is not None
    count = len(dual.model.text.tokenizer.encode("hook " * 40))
    with pytest.warns(SurgVLWarning, match=f"1 of 2 sentences .* {count - 30} tokens were left out"):
        dual.encode_text(["hook", "hook " * 40])


@pytest.mark.parametrize("stride_s", [0, -1, float("nan"), float("inf")])
def test_a_stride_is_above_nothing(stride_s: float, dual: DualModel) -> None:
    with pytest.raises(ConfigError, match="step_s must be > 0"):
        dual.encode_seconds("none.mp4", stride_s)


def test_a_clip_at_the_end_lies_inside_the_video(dual: DualModel, tmp_path: Path) -> None:
    want: Preprocess = dual.preprocess
    size = want.size_px * 2
    path = tmp_path / "a.mp4"
    video.write(path, np.zeros((50, size, size, 3), np.uint8), fps=5.0)
    end_s = video.probe(path).duration_s
    label = dual.classify(path, "phantom_phase", at_s=end_s)[0]
    assert label.end_s == pytest.approx(end_s)
    assert label.start_s == pytest.approx(end_s - want.clip_s)
    with pytest.raises(DataError, match="outside"):
        dual.classify(path, "phantom_phase", at_s=end_s + 1)


def trained(out: Path, optim: Optim, run: Run) -> None:
    """Arguments of a command that trains."""


BOMB = "a: &a [x, x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1 or ''}, *a{n - 1 or ''}]\n" for n in range(1, 60))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (BOMB.encode(), "alias .* is not supported"),
        (b"[" * 100_000, "at most 32 levels of nesting"),
        (b'{"a":' * 100_000, "at most 32 levels of nesting"),
        ("run: {}".encode("utf-16"), "UTF-8"),
        (bytes(range(256)), "UTF-8"),
        (b"steps: " + b"9" * 5000, "at most 20 digits, got 5000"),
        (b"k: \0", "not YAML"),
        (b"a: [1", "not YAML"),
    ],
)
def test_yaml_that_nobody_writes_is_refused(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    for call, kind in ((plain_yaml, DataError), (load, DataError)):
        with pytest.raises(kind, match=said) as caught:
            call(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="mine.yaml"):
        read_configs(["--config", str(path)], trained, names(trained))


@pytest.mark.parametrize(
    "content",
    [
        b"[1, 2]",
        b"hello",
        b"",
        b'out: "a\\0b"',
        b"run: null",
        b"run: [1, 2]",
        b"optim: {lr: null}",
        b"run: {steps: null}",
    ],
)
def test_a_config_is_a_mapping_of_plain_values(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_bytes(content)
    with pytest.raises(UsageError, match="mine.yaml"):
        read_configs([f"--config={tmp_path / 'mine.yaml'}"], trained, names(trained))


@pytest.mark.parametrize("content", [b"[" * 200_000, b"9" * 5000, b"\0", b""])
def test_json_that_cannot_be_read_is_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DataError, match="JSON"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize("question", ["", "  ", None, 3, "a" * 1_000_000])
def test_a_question_is_a_short_text(question: str | None) -> None:
    with pytest.raises(DataError, match="question") as caught:
        check_question(question)  # type: ignore[arg-type]
    assert len(str(caught.value)) < 200
    assert check_question("a" * MAX_CHARACTERS)


@pytest.mark.parametrize("value", [float("inf"), float("nan"), -1.0])
def test_a_rate_is_a_number(value: float) -> None:
    with pytest.raises(ConfigError, match="optim.lr"):
        Optim(lr=value)
