"""Run folders: refused when they hold something, what they tell of the call and of its videos, and the last words."""

import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from surgvl.core.errors import ConfigError, DataError
from surgvl.core.files import read_json
from surgvl.core.invocation import Invocation, command_line, recorded, running, yaml_value
from surgvl.core.run_folder import RunFolder
from surgvl.core.version import commit

# Writes half a file, says so, and waits to be killed.
HALFWAY = """
import sys, time
from surgvl.core.files import atomic
with atomic(sys.argv[1]) as path:
    path.write_text("half of the new")
    print("written", flush=True)
    time.sleep(60)
"""


def config(out: Path) -> object:
    return yaml.safe_load((out / "config.yaml").read_text())


@dataclass(frozen=True)
class Group:
    rate: float = 0.5
    api_key: str = ""


@recorded
def stage(out: Path, steps: int = 3, group: Group = Group(), resume: bool = False) -> None:  # noqa: B008 (frozen)
    with RunFolder(out, resume, seed=7) as folder:
        folder.record("0123", ["video02", "video01", "video02"], num_trainable=5)


@recorded
def outer(out: Path, api_key: str = "") -> None:
    with RunFolder(out) as folder:
        stage(out / "inner", 4, Group(api_key=api_key))
        folder.record()


# ---- what it holds


def test_a_called_stage_tells_its_arguments_and_what_it_was_made_with(tmp_path: Path) -> None:
    stage(tmp_path, group=Group(api_key="secret"))
    group = {"rate": 0.5, "api_key": ""}
    assert config(tmp_path) == {"out": str(tmp_path), "steps": 3, "group": group, "resume": False}
    record = read_json(tmp_path / "run.json")
    assert shlex.split(record["command"]) == ["python", f"{__name__}.stage(out={str(tmp_path)!r}, group={group!r})"]
    facts = {"seed": 7, "device": "cpu", "data_hash": "0123", "num_trainable": 5, "commit": commit()}
    assert record.items() >= facts.items()
    assert record["pretraining_video_ids"] == ["video01", "video02"]
    assert record["packages"]["numpy"]
    assert "problems" not in record


def test_a_typed_stage_tells_its_words(tmp_path: Path) -> None:
    words = ["surgvl", "search", "the hook's tip", "--index", "index"]
    with running(Invocation(words, "query: the hook's tip\n")), RunFolder(tmp_path) as folder:
        folder.record()
    assert config(tmp_path) == {"query": "the hook's tip"}
    assert shlex.split(read_json(tmp_path / "run.json")["command"]) == words


def test_a_stage_within_a_stage_tells_its_own_arguments_under_the_command_that_was_typed(tmp_path: Path) -> None:
    outer(tmp_path / "called", "secret")
    assert config(tmp_path / "called") == {"out": str(tmp_path / "called"), "api_key": ""}
    group = {"rate": 0.5, "api_key": ""}
    inner = {"out": str(tmp_path / "called/inner"), "steps": 4, "group": group, "resume": False}
    assert config(tmp_path / "called/inner") == inner
    with running(Invocation(["surgvl", "outer"], "typed: 1\n")):
        stage(tmp_path / "typed")
        assert command_line() == "surgvl outer"
    assert read_json(tmp_path / "typed/run.json")["command"] == "surgvl outer"
    assert config(tmp_path / "typed") == {**inner, "out": str(tmp_path / "typed"), "steps": 3}
    assert command_line() == "python"
    assert "secret" not in "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())


def test_a_call_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is not empty"):
        stage(tmp_path)
    assert command_line() == "python"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_password_in_an_address_is_not_kept(tmp_path: Path) -> None:
    @recorded
    def call(out: Path, server: str) -> None:
        with RunFolder(out) as folder:
            folder.record()

    call(tmp_path, "http://me:secret@host/v1")
    assert config(tmp_path) == {"out": str(tmp_path), "server": "http://***@host/v1"}
    assert "secret" not in (tmp_path / "run.json").read_text()


def test_values_are_plain() -> None:
    value = {"path": Path("a/b"), "sizes": (1, 2), "group": Group(2), "class": RunFolder}
    assert yaml.safe_load(yaml.safe_dump(yaml_value(value))) == {
        "path": "a/b",
        "sizes": [1, 2],
        "group": {"rate": 2, "api_key": ""},
        "class": {"class_path": "surgvl.core.run_folder.RunFolder"},
    }


# ---- how it ends


def test_at_the_end_the_next_command_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with RunFolder(tmp_path) as folder:
        folder.next("3 scores in eval", "surgvl index")
        assert capsys.readouterr().out == ""
    assert capsys.readouterr().out == "3 scores in eval; next: surgvl index\n"


@pytest.mark.parametrize("kind", [dict, list])
def test_at_the_end_videos_that_were_set_aside_are_recorded_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: "type[dict[str, str]] | type[list[str]]"
) -> None:
    problems = kind()
    damaged = ["a.mp4: 1 frame"]

    def work() -> None:
        with RunFolder(tmp_path) as folder:
            folder.watch(problems, 5, lambda: damaged, printed=list(damaged))
            folder.record()
            assert read_json(tmp_path / "run.json")["problems"] == kind()
            # What is found while the stage works.
            damaged.append("b.mp4: 2 frames")
            if isinstance(problems, dict):
                problems["c"] = "c.mp4 is empty"
            else:
                problems.append("c.mp4 is empty")
            folder.next("done", "rest")

    with pytest.raises(DataError, match="^1 of 5 videos was set aside, the others are done:\n  c.mp4 is empty$"):
        work()
    record = read_json(tmp_path / "run.json")
    assert record["problems"] == problems
    assert record["damaged_frames"] == damaged
    assert capsys.readouterr().out == "b.mp4: 2 frames\ndone; next: rest\n"


def test_a_stage_that_fails_says_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        with RunFolder(tmp_path) as folder:
            folder.watch({"a": "is empty"}, 1)
            folder.next("done", "rest")
            raise ValueError("the first error")

    with pytest.raises(ValueError, match="the first error"):
        work()
    assert capsys.readouterr().out == ""


def test_of_several_processes_one_writes_and_speaks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "of the first").touch()
    with RunFolder(tmp_path, writes=False) as folder:
        folder.watch({"a": "is empty"}, 1)
        folder.record()
        folder.next("done", "rest")
    assert [path.name for path in tmp_path.iterdir()] == ["of the first"]
    assert capsys.readouterr().out == ""


# ---- what it refuses


def enter(out: Path, resume: bool = False) -> Path:
    with RunFolder(out, resume) as folder:
        return folder.path


def test_a_folder_is_made_and_what_is_there_is_guarded(tmp_path: Path) -> None:
    new = tmp_path / "a" / "b"
    assert enter(new) == new
    assert new.is_dir()
    assert enter(new) == new  # empty is as good as new
    (new / "model").mkdir()
    with pytest.raises(ConfigError, match="is not empty: give another folder, or --resume"):
        enter(new)
    assert enter(new, resume=True) == new
    file = tmp_path / "file"
    file.touch()
    for resume in (False, True):
        with pytest.raises(ConfigError, match="is a file: give a folder"):
            enter(file, resume)


@pytest.mark.slow
def test_what_a_killed_writer_left_is_cleared_at_the_next_start(tmp_path: Path) -> None:
    """A living writer's files stay, and so do those of other machines and files that only look alike."""
    script = [sys.executable, "-c", HALFWAY]
    dead, living = (
        subprocess.Popen([*script, str(tmp_path / "cholec80" / name)], stdout=subprocess.PIPE, text=True)
        for name in ("video01.mp4", "video02.mp4")
    )
    for process in (dead, living):
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
    dead.kill()
    dead.communicate()
    left, at_work = (
        next(path for path in (tmp_path / "cholec80").iterdir() if name in path.name) for name in ("video01", "video02")
    )
    elsewhere = at_work.with_name(f".video03.mp4.{dead.pid}-00000000.tmp.mp4")
    alike = [tmp_path / ".notes.tmp", tmp_path / f"table.{dead.pid}.tmp.txt", tmp_path / ".env"]
    for path in [elsewhere, *alike]:
        path.touch()
    try:
        with pytest.raises(ConfigError, match="not empty"):
            enter(tmp_path)
        assert left.exists()  # a folder that is refused is left alone
        enter(tmp_path, resume=True)
        assert not left.exists()
        assert all(path.exists() for path in [at_work, elsewhere, *alike])
    finally:
        living.kill()
        living.communicate()
