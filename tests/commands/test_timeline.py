"""The `timeline` command: one file or a folder, what resumes, what is refused."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from surgvl import video
from surgvl.api import DualModel, load
from surgvl.cli import main as cli
from surgvl.core.errors import CheckpointError, ConfigError, DataError
from surgvl.data.manifest import Manifest, VideoRow
from surgvl.embed import recordings
from surgvl.export.base import formats
from surgvl.models.checkpoint import save_model
from tests.helpers.made_duals import tiny_dual
from tests.models.test_models import PREPROCESS

SETS = ["--prompt_sets", "phantom_phase"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder of a small random video-text model."""
    folder = tmp_path_factory.mktemp("models") / "small"
    save_model(tiny_dual(), folder, PREPROCESS)
    return str(folder)


def film(path: Path, seed: int = 0, length_s: int = 4) -> Path:
    """Noise, 5 frames a second."""
    noise = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    video.write(path, (noise.integers(0, 255, (32, 32, 3), np.uint8) for _ in range(5 * length_s)), fps=5)
    return path


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_a_video_gives_the_file_that_its_suffix_names(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = film(tmp_path / "case.mp4"), tmp_path / "out" / "case.csv"
    argv = ["timeline", str(path), "--model", model, "--out", str(out), *SETS, "--causal", "--smooth_s", "2"]
    cli.run(argv)
    said = capsys.readouterr().out
    rows = read(out)
    assert f"{len(rows)} intervals in {out}" in said.replace("interval in", "intervals in")
    assert f"next: surgvl embed --model {model} --videos {path}" in said
    loaded = load(model)
    assert isinstance(loaded, DualModel)
    want = loaded.timeline(path, "phantom_phase", causal=True, smooth_s=2.0)
    assert [(row["name"], float(row["start_s"]), float(row["confidence"])) for row in rows] == [
        (row.name, row.start_s, row.confidence) for row in want
    ]
    assert {row["model"] for row in rows} == {f"small ({loaded.hash})"}
    with pytest.raises(ConfigError, match=r"case\.csv exists: give another file, or --resume to replace it"):
        cli.run(argv)
    cli.run([*argv, "--resume", "--format", "json"])
    assert json.loads(out.read_text())["video"]["media"] == "../case.mp4"


@pytest.mark.slow
def test_a_folder_gives_a_file_each_and_resumes(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    films, out = tmp_path / "films", tmp_path / "out"
    for at, name in enumerate(("a.mp4", "day 1/b.mp4", "day 2/b.mp4")):
        film(films / name, at)
    (films / "notes.mp4").write_text("These are notes, not a video.\n" * 100)
    argv = ["timeline", str(films), "--model", model, "--out", str(out), *SETS]
    with pytest.raises(DataError, match=r"1 of 4 videos was set aside, the others are done:\n.*notes\.mp4"):
        cli.run(argv)
    assert f"timelines of 3 videos in {out}; next: " in capsys.readouterr().out
    names = ("a", "day 1/b", "day 2/b")
    files = {name: out / f"{name}.csv" for name in names}
    assert {name: {row["video_id"] for row in read(path)} for name, path in files.items()} == {
        name: {name} for name in names
    }
    with pytest.raises(ConfigError, match="is not empty"):
        cli.run(argv)
    # By hand corrected files are kept; a changed video and a missing file are made again.
    files["a"].write_text("corrected")
    film(films / "day 1/b.mp4", 7)
    files["day 2/b"].unlink()
    (films / "notes.mp4").unlink()
    before = files["day 1/b"].read_text()
    cli.run([*argv, "--resume"])
    assert files["a"].read_text() == "corrected"
    assert files["day 1/b"].read_text() != before
    assert files["day 2/b"].is_file()
    # Other settings make all of them again.
    cli.run([*argv, "--resume", "--smooth_s", "0"])
    assert files["a"].read_text() != "corrected"


@pytest.mark.slow
def test_files_lie_below_the_folder_whatever_the_ids(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = film(tmp_path / "films/a.mp4", 0)
    rows = [
        VideoRow(video_id=id, path=str(path), source="made", fps=5, duration_s=2)
        for id in (str(tmp_path / "elsewhere"), "../up")
    ]
    monkeypatch.setattr(recordings, "manifest_of", lambda *_: (Manifest(rows), []))
    cli.run(["timeline", str(tmp_path / "films"), "--model", model, "--out", str(tmp_path / "out"), *SETS])
    found = {each.relative_to(tmp_path / "out").as_posix() for each in (tmp_path / "out").rglob("*.csv")}
    assert found == {f"{(tmp_path / 'elsewhere').as_posix()[1:]}.csv", "up.csv"}
    assert not list(tmp_path.glob("*.csv"))


@pytest.mark.slow
def test_what_is_refused_is_one_line(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = film(tmp_path / "a.mp4", length_s=1)
    common = ["--model", model, *SETS]
    for words, said in (
        ([path, path, "--out", tmp_path / "x.csv"], "must be a folder for several videos"),
        ([tmp_path, "--out", tmp_path / "x.csv"], "must be a folder for several videos"),
        ([path, "--out", tmp_path / "x.doc"], "has no suffix of a format"),
        ([path, "--out", tmp_path / "x.csv", "--format", "elan"], "--format must be one of"),
        ([path, "--out", tmp_path / "x.csv", "--stride_s", "0"], "--stride_s must be > 0"),
        ([tmp_path / "b.mp4", "--out", tmp_path / "x.csv"], "b.mp4 does not exist"),
    ):
        assert cli.main(["timeline", *map(str, words), *common]) == 1
        line = capsys.readouterr().err
        assert said in line
        assert line.count("\n") == 1
    assert not (tmp_path / "x.csv").exists()


def test_the_help_names_every_format(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["timeline", "--help"])
    shown = capsys.readouterr().out.partition("--format")[2].partition("--prompt_sets")[0]
    assert all(name in shown for name in formats())


@pytest.mark.slow
@pytest.mark.parametrize("causal", [False, True])
def test_a_server_gives_the_same_file(
    model: str, tmp_path: Path, causal: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("starlette", reason="starlette is not installed: pip install 'surgvl[serve]'")
    pytest.importorskip("openai", reason="openai is not installed: pip install 'surgvl[client]'")
    from tests.helpers.fake_gateway import before

    path = film(tmp_path / "case.mp4")
    argv = ["timeline", str(path), *SETS, "--stride_s", "0.5", *(["--causal"] if causal else [])]
    cli.run([*argv, "--model", model, "--out", str(tmp_path / "here.csv")])
    with before(None, load(model)) as url:
        cli.run([*argv, "--server", url, "--out", str(tmp_path / "there.csv")])
        assert f"next: surgvl embed --server {url} --videos {path}" in capsys.readouterr().out
        other = tmp_path / "other"
        dual = tiny_dual()
        torch.nn.init.zeros_(dual.logit_scale)
        save_model(dual, other, PREPROCESS)
        with pytest.raises(CheckpointError, match="serves model .* holds .*: start `surgvl serve` with that folder"):
            cli.run([*argv, "--server", url, "--model", str(other), "--out", str(tmp_path / "no.csv")])
    here, there = read(tmp_path / "here.csv"), read(tmp_path / "there.csv")
    assert len(here) == len(there) > 0
    for one, two in zip(here, there, strict=True):
        assert float(one.pop("confidence")) == pytest.approx(float(two.pop("confidence")), abs=1e-5)
        assert one.pop("model") != two.pop("model")
        assert one == two


def test_a_model_or_a_server_is_needed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give --model, a run folder of `surgvl align`, or --server"):
        cli.run(["timeline", str(film(tmp_path / "case.mp4")), "--out", str(tmp_path / "case.csv")])
