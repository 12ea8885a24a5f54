"""Files that stages leave: whole or as they were, whatever happens."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from surgvl.cli import main as cli
from surgvl.core import files
from surgvl.core.errors import DataError

# Writes half a file, says so, and waits to be killed.
HALFWAY = """
import sys, time
from surgvl.core.files import atomic
with atomic(sys.argv[1]) as path:
    path.write_text("half of the new")
    print("written", flush=True)
    time.sleep(60)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_atomic_replaces_when_the_block_ends_well(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "table.json"
    for text in ("old", "new"):
        with files.atomic(path) as temporary:
            assert temporary.parent == path.parent  # a rename is atomic only within one file system
            assert temporary.suffix == path.suffix  # writers choose a format by it
            temporary.write_text(text)
        assert path.read_text() == text
    assert names(path.parent) == ["table.json"]


def test_atomic_keeps_the_old_file_when_the_block_raises(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    path.write_text("old")

    def write() -> None:
        with files.atomic(path) as temporary:
            temporary.write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["table.json"]


@pytest.mark.slow
def test_a_killed_writer_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    path.write_text("old")
    with subprocess.Popen([sys.executable, "-c", HALFWAY, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "written\n"
        os.kill(writer.pid, signal.SIGKILL)
        assert writer.wait() == -signal.SIGKILL
    assert path.read_text() == "old"
    files.write_text(path, "new")
    assert path.read_text() == "new"


def test_json_round_trip_keeps_letters_and_refuses_nan(tmp_path: Path) -> None:
    path = tmp_path / "facts.json"
    value = {"ä": [1, 2.5, None, True], "b": {"c": "→"}}
    files.write_json(path, value)
    assert files.read_json(path) == value
    assert "ä" in path.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(path, {"a": float("nan")})
    assert files.read_json(path) == value


@pytest.mark.parametrize("content", [None, b"{", b"\xff\xfe\x00", b""])
def test_a_file_that_is_not_json_gets_one_line(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "facts.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        files.read_json(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert ": " in message
    assert "\n" not in message


def test_jsonl_grows_by_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    rows: list[dict[str, object]] = [{"step": 0, "loss": 1.5}, {"step": 20, "note": "two\nlines"}]
    for row in rows:
        files.append_jsonl(path, row)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == rows


def test_sizes_leave_out_folders_and_what_is_gone(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"123")
    (tmp_path / "b").write_bytes(b"4567")
    assert files.size_of([tmp_path, tmp_path / "a", tmp_path / "gone", tmp_path / "b"]) == 7


def test_hashes_are_sha256_and_see_every_byte(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    data = bytes(range(256)) * 9000  # more than one block
    path.write_bytes(data)
    assert files.file_hash(path) == hashlib.sha256(data).hexdigest()[:16]
    path.write_bytes(data[:-1] + b"\x00")
    assert files.file_hash(path) != hashlib.sha256(data).hexdigest()[:16]
    assert files.text_hash("zürich") == hashlib.sha256("zürich".encode()).hexdigest()[:16]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_every_file_has_the_mode_that_the_user_wants(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        files.write_text(tmp_path / "a.txt", "text")
        with files.atomic(tmp_path / "b.bin") as path:
            # As some libraries make theirs.
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    finally:
        os.umask(before)
    assert {each.stat().st_mode & 0o777 for each in tmp_path.iterdir()} == {mode}


def test_space_is_taken_first_or_refused_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "store"
    files.take_space(path, 1 << 20)
    assert path.stat().st_size == 1 << 20
    # Blocks that are taken, not a hole.
    assert path.stat().st_blocks * 512 >= 1 << 20

    def full(*given: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DataError, match="has no room for 7 bytes \\(No space left on device\\): free some"):
        files.take_space(path, 7)


def test_a_full_disk_is_named_with_the_file_that_was_written(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    (tmp_path / "folder").mkdir()
    # A folder is one more thing that the library cannot write to; it says so in its own class of errors.
    with (
        pytest.raises(DataError, match=r"a\.safetensors cannot be written \(.*\): check its") as caught,
        files.atomic(path),
    ):
        save_file({"a": np.zeros(3, np.float32)}, tmp_path / "folder")
    assert "\n" not in str(caught.value)
    with pytest.raises(OSError, match="No space left") as failed, files.atomic(path), open("/dev/full", "wb") as file:
        file.write(bytes(1 << 20))
    assert failed.value.filename == str(path)
    with pytest.raises(FileNotFoundError) as absent, files.atomic(path):
        (tmp_path / "source").read_bytes()
    assert absent.value.filename == str(tmp_path / "source")
    assert [each.name for each in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("word", ["two words", "op 1 é", "it's", "$HOME", "a;b", "-3", "--x y", "*", "2 – ü@12.5", ""])
def test_a_printed_command_reaches_the_shell_as_it_was_meant(word: str) -> None:
    line = files.command("search", "a hook", like=word, index=Path("my index"))
    shell = 'surgvl() { printf "%s\\0" "$@"; }; ' + line
    got = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=True).stdout.split("\0")[:-1]
    config = cli.parse(got)[2]
    assert (config.query, config.like, str(config.index)) == ("a hook", [word], "my index")


def test_lines_of_json_are_trimmed_to_whole_and_wanted_ones(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    assert files.trim_jsonl(path, lambda row: True) == []
    rows = [{"step": 0, "text": "a\u2028b\x85c"}, {"step": 1, "text": "ü"}, {"step": 2, "text": ""}]
    for row in rows:
        files.append_jsonl(path, row)
    whole = path.read_bytes()
    path.write_bytes(whole + '{"step": 1, "text": "ü'.encode()[:-1])
    assert files.trim_jsonl(path, lambda row: True) == rows
    assert path.read_bytes() == whole
    assert files.trim_jsonl(path, lambda row: row["step"] < 2) == rows[:2]
    assert [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]] == rows[:2]


def test_a_known_hash_is_computed_once_for_each_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, read, real = tmp_path / "weights", list[str](), files.file_hash

    def counting(path: Path | str) -> str:
        read.append(str(path))
        return real(path)

    monkeypatch.setattr(files, "file_hash", counting)
    for content in (b"one", b"two"):
        # Of the same size, and renamed into place as stages write.
        with files.atomic(path) as temporary:
            temporary.write_bytes(content)
        for _ in range(3):
            assert files.known_hash(path) == hashlib.sha256(content).hexdigest()[:16]
    assert read == [str(path)] * 2
