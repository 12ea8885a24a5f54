import importlib
import os
from pathlib import Path

import numpy as np
import pytest

from surgvl import video
from surgvl.cli import main as cli
from surgvl.commands.embed import embed
from surgvl.core.errors import ConfigError, DataError
from surgvl.core.files import read_json
from surgvl.core.locks import locked
from surgvl.data.manifest import Manifest
from surgvl.embed.recordings import identity, manifest_of, name_files
from surgvl.embed.vectors import Vectors
from surgvl.models.checkpoint import save_model
from tests.helpers.in_fork import imports_none_of
from tests.helpers.made_duals import tiny_dual
from tests.helpers.numbered_videos import colourful
from tests.models.test_models import PREPROCESS


def film(path: Path, number: int = 1, seconds: int = 2) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    made = path.with_suffix(".mp4")
    video.write(made, (frame for _, frame in zip(range(seconds * 5), colourful(number * 100), strict=False)), 5)
    made.rename(path)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save_model(tiny_dual(), tmp_path / "dual", PREPROCESS)
    return tmp_path / "dual"


def ids(folder: Path) -> list[str]:
    return sorted(set(Vectors.load(folder).video_ids))


def test_names_that_repeat_are_told_apart_by_their_folders_and_endings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    top = tmp_path / "top"
    for name in ("case1/video.mov", "case2/video.mov", "clip.mov", "clip.AVI", "deep/er/once.MTS"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(b"x")
    (top / "case1/notes.txt").write_text("x")
    table, problems = manifest_of([top, top / "clip.mov"])
    wanted = {"case1/video", "case2/video", "clip.mov", "clip.AVI", "once"}
    assert ({row.video_id for row in table.videos}, problems) == (wanted, [])
    assert "skipped 1 file without a video suffix" in capsys.readouterr().out
    table, _ = manifest_of([top / "case1", top / "case2"])
    assert {row.video_id for row in table.videos} == {"case1/video", "case2/video"}
    with pytest.raises(ConfigError, match="no video below"):
        manifest_of([tmp_path / "dual"] if (tmp_path / "dual").is_dir() else [])


def test_a_place_whose_files_are_moved_away_never_runs_out_of_names() -> None:
    known: dict[Path, str] = {}
    for number in range(5):
        known |= {Path(f"/store/{number}.mp4"): name_files([Path("/in/video.mp4")], known)[Path("/in/video.mp4")]}
    assert list(known.values()) == ["video", "video.mp4", "/in/video.mp4", "video-2", "video-3"]


@pytest.mark.slow
def test_a_name_that_is_not_utf8_is_set_aside_and_named(tmp_path: Path, model: Path) -> None:
    film(tmp_path / "v/good.mp4")
    os.link(tmp_path / "v/good.mp4", os.fsencode(tmp_path / "v") + b"/op\xe9.mp4")
    with pytest.raises(DataError, match=r"1 of 2 videos was set aside[^$]*op\\xe9.mp4: the path is not UTF-8"):
        embed(tmp_path / "o", model, videos=[tmp_path / "v"], prompt_sets=[])
    assert ids(tmp_path / "o") == ["good"]


@pytest.mark.slow
def test_a_file_of_many_that_is_set_aside_shows_by_the_exit_status_and_stops_nothing(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the help of `embed` says."""
    film(tmp_path / "v/good.mp4")
    (tmp_path / "v/broken.mp4").write_bytes(b"no video")
    out = tmp_path / "o"
    words = ["embed", "--model", str(model), "--videos", str(tmp_path / "v"), "--out", str(out), "--prompt_sets", "[]"]
    assert cli.main(words) == 1
    err = capsys.readouterr().err
    assert "1 of 2 videos was set aside" in err
    assert "broken.mp4" in err
    record = read_json(out / "run.json")
    assert len(record["problems"]) == 1
    assert "broken.mp4" in record["problems"][0]
    assert [row.video_id for row in Manifest.load(out / "manifest").videos] == ids(out) == ["good"]
    assert cli.main(["index", "--vectors", str(out), "--manifest", f"{out}/manifest", "--out", f"{tmp_path}/i"]) == 0
    assert "of 1 video in" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        cli.main(["embed", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "the exit status is 1" in shown
    assert cli.main(["--help"]) == 0
    assert "1 failed, or some files of many could not be read" in capsys.readouterr().out


@pytest.mark.slow
def test_an_archive_grows_and_what_was_replaced_is_embedded_again(tmp_path: Path, model: Path) -> None:
    archive, out = tmp_path / "v", tmp_path / "o"
    film(archive / "case1/video.mp4", 1)
    (archive / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(DataError, match="1 of 2 videos was set aside"):
        embed(out, model, videos=[archive], prompt_sets=[])
    assert [row.video_id for row in Manifest.load(out / "manifest").videos] == ["video"]
    before = Vectors.load(out).vectors
    (archive / "broken.mp4").unlink()
    film(archive / "case2/video.mp4", 2, seconds=3)
    embed(out, model, videos=[archive], prompt_sets=[], resume=True)
    after = Vectors.load(out)
    assert ids(out) == ["case2/video", "video"]
    np.testing.assert_array_equal(after.vectors[:2], before)
    film(archive / "case1/video.mp4", 7)
    embed(out, model, videos=[archive], prompt_sets=[], resume=True)
    again = Vectors.load(out)
    embed(tmp_path / "fresh", model, videos=[archive / "case1"], prompt_sets=[])
    mine = again.vectors[[name == "video" for name in again.video_ids]]
    np.testing.assert_array_equal(mine, Vectors.load(tmp_path / "fresh").vectors)
    embed(out, model, videos=[archive / "case2"], prompt_sets=[], resume=True)
    assert ids(out) == ["case2/video", "video"]
    with pytest.raises(DataError, match="was started with stride_s"):
        embed(out, model, videos=[archive], prompt_sets=[], resume=True, stride_s=0.5)


@pytest.mark.slow
def test_a_refused_command_leaves_nothing_and_writers_take_turns(tmp_path: Path, model: Path) -> None:
    film(tmp_path / "v/good.mp4")
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    for wrong in ("absent", "bad.mp4"):
        with pytest.raises((ConfigError, DataError)):
            embed(tmp_path / "o", model, videos=[tmp_path / wrong], prompt_sets=[])
    with locked(tmp_path / "o"), pytest.raises(ConfigError, match="is being written by"):
        embed(tmp_path / "o", model, videos=[tmp_path / "v"], prompt_sets=[])
    embed(tmp_path / "o", model, videos=[tmp_path / "v"], prompt_sets=[])
    assert ids(tmp_path / "o") == ["good"]


def test_content_is_told_by_bytes_in_the_middle(tmp_path: Path) -> None:
    data = bytearray(300_000)
    (tmp_path / "a").write_bytes(data)
    data[150_000] = 1
    (tmp_path / "b").write_bytes(data)
    assert identity(tmp_path / "a") != identity(tmp_path / "b")


@pytest.mark.slow
def test_the_command_is_known_without_torch() -> None:
    assert imports_none_of({"torch"}, lambda: importlib.import_module("surgvl.commands.embed"))
