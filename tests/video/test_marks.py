"""Frames that the decoder marks as damaged: counted as libav counts them, reported, and recorded with the vectors."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from surgvl import video
from surgvl.cli import main as cli
from surgvl.core.files import read_json
from surgvl.data.manifest import Manifest, VideoRow
from surgvl.models.checkpoint import save_model
from surgvl.video.marks import counted
from tests.helpers.made_duals import tiny_dual
from tests.helpers.numbered_videos import FILES, colourful
from tests.models.test_models import PREPROCESS
from tests.train.test_loop import TINY_MAE


def flipped(path: Path, seed: int) -> Path:
    """A copy with eight bits flipped in its middle."""
    dice, content = random.Random(seed), bytearray(path.read_bytes())
    for _ in range(8):
        content[dice.randrange(len(content) * 4 // 10, len(content) * 6 // 10)] ^= 1 << dice.randrange(8)
    other = path.with_name(f"copy{seed}.mp4")
    other.write_bytes(content)
    return other


def marked(path: Path) -> tuple[int, int]:
    """Decoded frames and marked ones, by PyAV alone; (0, 0) where it gives up."""
    with av.open(str(path)) as container:
        try:
            found = [frame.is_corrupt for frame in container.decode(video=0)]
        except av.InvalidDataError:
            return 0, 0
    return len(found), sum(found)


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, tuple[int, int]]:
    """Damaged copies that play to their end, and (frames, marked frames) of each."""
    whole = tmp_path_factory.mktemp("copies") / "whole.mp4"
    video.write(whole, colourful(250), 25, gop=25)
    found = {path: marked(path) for path in (flipped(whole, seed) for seed in range(20))}
    found = {path: counts for path, counts in found.items() if counts[1]}
    assert len(found) >= 4
    return {whole: (250, 0), **found}


@pytest.mark.slow
def test_counts_are_those_of_the_decoder(copies: dict[Path, tuple[int, int]]) -> None:
    for path, (decoded, damaged) in copies.items():
        with counted() as marks:
            list(video.stream(path, 25, 16))
        said = f"{path.name}: {damaged} of {decoded} decoded frames are marked damaged by the decoder"
        assert marks.decoded == {path: decoded}
        assert [line.partition(" and were")[0] for line in marks.lines()] == ([said] if damaged else [])


@pytest.mark.slow
def test_nothing_is_counted_outside_of_a_block(copies: dict[Path, tuple[int, int]]) -> None:
    path = list(copies)[-1]
    with counted() as outer:
        with counted() as inner:
            list(video.stream(path, 5, 16))
        assert not outer.decoded
    assert inner.damaged
    before = dict(inner.decoded)
    list(video.stream(path, 5, 16))
    assert inner.decoded == before


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_no_good_file_is_called_damaged_wherever_it_is_entered(name: str, numbered_file: Callable[[str], Path]) -> None:
    path = numbered_file(name)
    with counted() as marks, video.VideoReader(path) as reader:
        for start_s in np.arange(0, min(reader.info.duration_s, 10.0) - 0.2, 0.37):
            reader.read(float(start_s), float(start_s) + 0.2, 10, 16)
        list(reader.stream(25, 16))
    assert marks.decoded[path] > 250
    assert not marks.lines()


@pytest.mark.slow
def test_embed_names_them_and_what_follows_knows_them(
    copies: dict[Path, tuple[int, int]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_model(tiny_dual(), tmp_path / "dual", PREPROCESS)
    whole, *_, broken = copies
    bad = Path(shutil.copy(broken, tmp_path / "broken.mp4"))
    words = ["embed", "--model", str(tmp_path / "dual"), "--out", str(tmp_path / "vectors"), "--prompt_sets", "[]"]
    assert cli.main([*words, "--videos", f"[{bad}]"]) == 0
    said = f"{bad.name}: {copies[broken][1]} of "
    assert capsys.readouterr().out.count(said) == 1
    assert cli.main([*words, "--videos", f"[{whole}]", "--resume", "true"]) == 0
    assert capsys.readouterr().out.count(said) == 1
    kept = read_json(tmp_path / "vectors" / "vectors.json")["damaged_frames"]
    assert list(kept) == [bad.stem]
    assert kept[bad.stem].startswith(said)

    index = ["index", "--vectors", str(tmp_path / "vectors"), "--manifest", str(tmp_path / "vectors" / "manifest")]
    assert cli.main([*index, "--out", str(tmp_path / "index")]) == 0
    assert capsys.readouterr().out.count(said) == 1

    # A good copy takes the place of the bad one.
    bad.write_bytes(whole.read_bytes())
    assert cli.main([*words, "--videos", f"[{bad}]", "--resume", "true"]) == 0
    assert "marked damaged" not in capsys.readouterr().out
    assert read_json(tmp_path / "vectors" / "vectors.json")["damaged_frames"] == {}


@pytest.mark.slow
@pytest.mark.parametrize("with_store", [True, False])
def test_training_names_them_once(
    with_store: bool, copies: dict[Path, tuple[int, int]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = list(copies)[-1]
    row = VideoRow(video_id="bad", path=str(bad), source="x", fps=25.0, duration_s=10.0, split="train")
    Manifest([row]).save(tmp_path / "manifest")
    words = ["pretrain", "--manifest", str(tmp_path / "manifest"), "--out", str(tmp_path / "out"), *TINY_MAE]
    words += ["--frame_cache", str(tmp_path / "store")] if with_store else []
    assert cli.main([*words, "--run.steps=3", "--fps=25"]) == 0
    assert capsys.readouterr().out.count(" decoded frames are marked damaged by the decoder") == 1
    (line,) = read_json(tmp_path / "out" / "run.json")["damaged_frames"]
    assert line.startswith(f"{bad.name}: ")
