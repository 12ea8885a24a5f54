"""The whole path in one command, killed in the middle and gone on with."""

import json
from pathlib import Path
from typing import Any

import pytest

from surgvl.cli import main as cli
from surgvl.cli import quickstart as whole
from surgvl.cli.quickstart import quickstart, stages
from surgvl.cli.stages import Stage
from surgvl.core.errors import ConfigError
from surgvl.core.results import read_results
from tests.helpers.killed import run_killed_when
from tests.helpers.small_language import small_language

TINY = ["--videos", "1", "0", "2", "--duration_s", "10", "--effort", "0.004"]


def small_stages(out: Path, videos: tuple[int, int, int], duration_s: float, effort: float, seed: int) -> list[Stage]:
    """The stages, with training steps of four clips."""
    trained = ("pretrain", "align", "tune")
    return [
        (name, [*argv, "--run.batch", "4"] if argv[0] in trained else argv)
        for name, argv in stages(out, videos, duration_s, effort, seed)
    ]


@pytest.mark.slow
def test_a_killed_quickstart_goes_on_where_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole, "stages", small_stages)
    out = tmp_path / "run"
    words = ["quickstart", "--out", str(out), *TINY]
    run_killed_when(words, (out / "align").is_dir)
    before = json.loads((out / "quickstart.json").read_text())["seconds"]
    assert "pretrain" in before
    assert "align" not in before
    weights = out / "pretrain" / "model" / "model.safetensors"
    kept = weights.stat().st_mtime_ns

    with small_language():
        assert cli.main(words) == 0
    after = json.loads((out / "quickstart.json").read_text())["seconds"]
    assert {name: after[name] for name in before} == before
    assert weights.stat().st_mtime_ns == kept
    assert list(after) == [name for name, _ in stages(out, (1, 0, 2), 10.0, 0.004, 0)]

    for folder in (out, out / "control"):
        tasks = {result.task for part in ("zero-shot", "vqa") for result in read_results(folder / part / "result.json")}
        assert tasks == {"phase", "retrieval", "triplet", "vqa"}
    page = (out / "result.md").read_text()
    assert "random frozen encoder" in page
    assert "nothing about patients" in page
    assert page.strip() in capsys.readouterr().out
    both = json.loads((out / "result.json").read_text())
    assert [row["metric"] for row in both["trained"]] == [row["metric"] for row in both["control"]]
    # The control differs in its encoder and in nothing else.
    facts = json.loads((out / "control" / "align" / "run.json").read_text())
    assert facts["frozen"]
    assert not json.loads((out / "align" / "run.json").read_text())["frozen"]

    with pytest.raises(ConfigError, match="was started with"):
        quickstart(out, (3, 0, 2), 10.0, 0.004)


@pytest.mark.slow
def test_every_stage_is_a_command_that_parses(tmp_path: Path) -> None:
    (tmp_path / "manifest").mkdir()
    for _, argv in stages(tmp_path, (48, 4, 8), 90.0, 1.0, 0):
        cli.parse([*argv, "--resume=true"])


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ({"videos": (2, 1, 1)}, "--videos must be .* >= 2 for test .*, got 2 1 1"),
        ({"videos": (0, 1, 2)}, "--videos must be >= 1 for training, .*, got 0 1 2"),
        ({"videos": (2, -1, 2)}, "--videos must be .* >= 0 for validation .*, got 2 -1 2"),
        ({"duration_s": 9.0}, "--duration_s must be >= 10, got 9"),
        ({"duration_s": float("nan")}, "--duration_s must be >= 10, got nan"),
        ({"effort": 0.0}, "--effort must be > 0, got 0"),
        ({"effort": float("inf")}, "--effort must be > 0, got inf"),
        ({"seed": -1}, "--seed must be >= 0, got -1"),
    ],
)
def test_what_a_later_stage_refuses_is_refused_at_once(words: dict[str, Any], named: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=named):
        quickstart(tmp_path / "run", **words)
    assert not (tmp_path / "run").exists()
