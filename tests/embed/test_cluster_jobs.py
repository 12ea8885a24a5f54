"""Jobs of a cluster: shards that are gathered, and the workers of Ray. The oracle is one process that does it all."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from surgvl import video
from surgvl.commands.embed import embed
from surgvl.commands.gather import data_gather
from surgvl.core.errors import ConfigError, DataError
from surgvl.core.files import read_json, write_json
from surgvl.embed.part import Part
from surgvl.models.checkpoint import save_model
from tests.helpers.made_duals import tiny_dual
from tests.helpers.numbered_videos import colourful
from tests.models.test_models import PREPROCESS

# What says how, when and by which command the folder was made.
OWN = {"run.json", "config.yaml"}
SETS = ["phantom_phase"]


def contents_of(folder: Path) -> dict[str, bytes]:
    """The bytes of all files, but for those about the run."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if path.name not in OWN}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model and five recordings of different lengths, of which the second cannot be read."""
    top = tmp_path_factory.mktemp("cluster")
    save_model(tiny_dual(), top / "dual", PREPROCESS)
    (top / "films").mkdir()
    for name, seconds in zip("aceb", (2, 5, 3, 4), strict=True):
        frames = (frame for _, frame in zip(range(seconds * 5), colourful(100 * seconds), strict=False))
        video.write(top / "films" / f"{name}.mp4", frames, 5)
    (top / "films" / "ab.mp4").write_bytes(b"no video")
    return top


@pytest.fixture(scope="module")
def whole(place: Path) -> dict[str, bytes]:
    """What one process writes."""
    with pytest.raises(DataError, match="1 of 5 videos was set aside"):
        embed(place / "whole", place / "dual", videos=[place / "films"], prompt_sets=SETS)
    return contents_of(place / "whole")


@pytest.fixture(scope="module")
def shards(place: Path) -> list[Path]:
    """What three jobs write."""
    outs = [place / f"shard-{index}" for index in (1, 2, 3)]
    for index, out in enumerate(outs, 1):
        try:
            embed(out, place / "dual", videos=[place / "films"], prompt_sets=SETS, shard=f"{index}/3")
        except DataError as error:
            assert "ab.mp4" in str(error)  # noqa: PT017
    return outs


def test_parts_are_disjoint_whole_and_even() -> None:
    durations_s = [100.0, 1.0, 90.0, 50.0, 60.0, 1.0, 0.0]
    parts = [Part(index, 3).of(durations_s) for index in (1, 2, 3)]
    assert sorted(place for part in parts for place in part) == list(range(7))
    assert all(part == sorted(part) for part in parts)
    # 100 + 1, 90 + ..., 60 + 50: no other division has less in its longest part than 110 = 50 + 60.
    assert max(sum(durations_s[place] for place in part) for part in parts) == 110
    assert Part().of(durations_s) == list(range(7))


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "1/x", "-1/3", "1/0"])
def test_a_shard_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--shard must be i/n"):
        Part.parse(text)


@pytest.mark.slow
def test_gathered_shards_equal_one_process(place: Path, whole: dict[str, bytes], shards: list[Path]) -> None:
    assert sum(bool(list(shard.glob("shard-*.parquet"))) for shard in shards) >= 2
    with pytest.raises(DataError, match=r"(?s)1 of 5 videos was set aside.*ab\.mp4"):
        data_gather(shards[::-1], place / "gathered")
    found = contents_of(place / "gathered")
    assert found.keys() == whole.keys()
    assert [name for name in whole if found[name] != whole[name]] == []
    mine, run = read_json(place / "whole" / "run.json"), read_json(place / "gathered" / "run.json")
    same = ("data_hash", "model_hash", "stride_s", "precision", "problems", "pretraining_video_ids")
    assert {name: run[name] for name in same} == {name: mine[name] for name in same}


@pytest.mark.slow
def test_a_missing_or_repeated_shard_is_named(place: Path, shards: list[Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="shard 2/3 is missing"):
        data_gather([shards[0], shards[2]], tmp_path / "o")
    with pytest.raises(ConfigError, match="each folder must be given once"):
        data_gather([*shards, shards[0]], tmp_path / "o")
    (tmp_path / "p").symlink_to(shards[0])
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in shards[0].iterdir():
        if path.is_file():
            (copy / path.name).write_bytes(path.read_bytes())
    with pytest.raises(DataError, match=r"video '.*' is in .* and in "):
        data_gather([*shards, copy], tmp_path / "o2")


@pytest.mark.slow
def test_folders_of_another_model_are_not_gathered(place: Path, shards: list[Path], tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for path in shards[1].iterdir():
        if path.is_file():
            (other / path.name).write_bytes(path.read_bytes())
    write_json(other / "vectors.json", {**read_json(other / "vectors.json"), "model_hash": "0" * 16})
    with pytest.raises(DataError, match="model_hash .* embed both with the same model"):
        data_gather([shards[0], other, shards[2]], tmp_path / "o")


@pytest.mark.slow
def test_a_job_goes_on_with_its_own_shard_only(place: Path, shards: list[Path]) -> None:
    with pytest.raises(DataError, match="was started with shard 1/3, not 2/3"):
        embed(shards[0], place / "dual", videos=[place / "films"], prompt_sets=SETS, shard="2/3", resume=True)
    with pytest.raises(ConfigError, match="there are 5 videos"):
        embed(place / "many", place / "dual", videos=[place / "films"], prompt_sets=SETS, shard="1/6")


@pytest.mark.skipif(bool(importlib.util.find_spec("ray")), reason="ray is installed")
def test_without_ray_nothing_is_written(place: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"pip install 'surgvl\[scale\]'"):
        embed(tmp_path / "o", place / "dual", videos=[place / "films"], prompt_sets=SETS, ray="local")
    assert not (tmp_path / "o").exists()


_ON_TWO_NODES = """
import json, sys
from pathlib import Path
from ray.cluster_utils import Cluster
from surgvl.commands.embed import embed
from surgvl.core.errors import DataError

place, out = Path(sys.argv[1]), Path(sys.argv[2])
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
cluster.add_node(num_cpus=1)
try:
    ray = {"ray": cluster.address, "workers": 2}
    embed(out, place / "dual", videos=[place / "films"], prompt_sets=json.loads(sys.argv[3]), **ray)
except DataError as error:
    print("aside:", error)
finally:
    cluster.shutdown()
"""


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("ray"), reason="ray is not installed (surgvl[scale])")
def test_two_workers_of_ray_equal_one_process(place: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    alone = "import sys, runpy; sys.argv = ['surgvl', *sys.argv[1:]]; runpy.run_module('surgvl', run_name='__main__')"
    words = [
        "embed",
        "--out",
        str(tmp_path / "alone"),
        "--model",
        str(place / "dual"),
        "--videos",
        str(place / "films"),
    ]
    done = subprocess.run(
        [sys.executable, "-c", alone, *words, "--prompt_sets", *SETS], env=environment, capture_output=True, text=True
    )
    assert "set aside" in done.stderr, done.stderr
    arguments = [str(place), str(tmp_path / "ray"), json.dumps(SETS)]
    done = subprocess.run(
        [sys.executable, "-c", _ON_TWO_NODES, *arguments], env=environment, capture_output=True, text=True
    )
    assert "aside: 1 of 5 videos was set aside" in done.stdout, done.stdout + done.stderr
    alone_there, by_ray = contents_of(tmp_path / "alone"), contents_of(tmp_path / "ray")
    assert by_ray.keys() == alone_there.keys()
    assert [name for name in by_ray if by_ray[name] != alone_there[name]] == []
