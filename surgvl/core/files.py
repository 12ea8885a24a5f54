"""Folders and files that stages leave to each other: atomic writes, hashes, run folders.

A run folder holds `config.yaml` (fully resolved), `run.json` (how and where it was made) and what the stage adds to it.
Everything is written under a temporary name and renamed, so that a killed process leaves the old file whole.
"""

import contextlib
import errno
import hashlib
import json
import os
import platform
import shlex
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml
from safetensors import SafetensorError

from surgvl.core.errors import ConfigError, DataError
from surgvl.core.temporary import clear_temporary, temporary_path


@dataclass(frozen=True)
class Invocation:
    """The command that is running: its words, and all its arguments as YAML."""

    words: Sequence[str]
    config: str
    stage: Callable[..., Any] | None = None


# Set by the command line around a command, and around a stage that is called from Python (`recorded`).
INVOCATION: Invocation | None = None
# File of the lock of a folder that is being written (see `locks`): a folder that holds nothing else counts as empty.
LOCK = ".lock"
PACKAGES = ("surgvl", "torch", "transformers", "open_clip_torch", "lightning", "faiss-cpu", "av", "numpy")


@contextlib.contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block ends well, delete it otherwise.

    What goes wrong in the block names `path`. The file's mode is that of the user's umask, whichever library wrote it:
    some make theirs for the user alone.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_path(path)
    # Nothing but a file that is made tells the umask without changing it for other threads.
    temporary.touch()
    mode = temporary.stat().st_mode & 0o777
    temporary.unlink()
    try:
        yield temporary
        temporary.chmod(mode)
        os.replace(temporary, path)
    except SafetensorError as error:
        raise DataError(f"{path} cannot be written ({error}): check its permissions and the free space") from error
    except OSError as error:
        # A write to an open file does not say which, and a library's own temporary file helps nobody.
        if error.filename is None or error.errno in (errno.ENOSPC, errno.EDQUOT):
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def take_space(path: Path, num_bytes: int) -> None:
    """Make a file of so many bytes whose place on the disk is taken.

    A mapped file without it gets its place page by page, and where the disk is full the process ends by SIGBUS.

    Raises:
        DataError: there is not so much space.
    """
    with open(path, "wb") as file:
        try:
            if hasattr(os, "posix_fallocate") and num_bytes:
                os.posix_fallocate(file.fileno(), 0, num_bytes)
        except OSError as error:
            raise DataError(
                f"{path.parent} has no place for {num_bytes:,} bytes ({error.strerror}): free some, or change --out"
            ) from error


def write_text(path: Path | str, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path | str, value: Any) -> None:
    """Write indented JSON atomically; NaN is refused, because JSON has none."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path | str) -> Any:
    """Read a JSON file: UTF-8, UTF-16 or UTF-32, with or without a byte order mark.

    Raises:
        DataError: the file is absent or cannot be opened, is not JSON, nests too deep, or has a number of thousands of
            digits.
    """
    try:
        return json.loads(Path(path).read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path} is not there: check the path, or run the stage that writes it") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): check the path") from error
    except RecursionError:
        raise DataError(f"{path} nests too deep for JSON that this writes or reads: write it again") from None
    except ValueError as error:
        fact = str(error).partition(";")[0]
        raise DataError(f"{path!s} is not JSON ({fact}): write it again") from error


def plain_yaml(path: Path | str) -> str:
    """The text of a YAML file that people write: at most 1 MB, 32 levels, and no aliases, which grow when they expand.

    Events are counted as they come, so that nothing is built of what is refused.

    Raises:
        DataError: the file is absent, is not UTF-8 or YAML, or goes beyond these bounds.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        if len(text) > 1_000_000:
            raise DataError(f"{path} has {len(text):,} characters; up to 1,000,000 are read: shorten it")
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            where = f"{path}, line {event.start_mark.line + 1 if event.start_mark else '?'}"
            if isinstance(event, yaml.AliasEvent):
                name = (event.anchor or "")[:40]
                raise DataError(f"{where}: *{name} is an alias, which is not read: write the value out")
            if isinstance(event, yaml.ScalarEvent) and event.value.isdigit() and len(event.value) > 20:
                raise DataError(f"{where}: a number of {len(event.value)} digits: give one of at most 20")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > 32:
                raise DataError(f"{where}: nested more than 32 levels deep: flatten it")
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): check the path") from error
    except yaml.YAMLError as error:
        raise DataError(f"{path} is not YAML ({' '.join(str(error).split())[:300]}): correct the line") from error
    except ValueError as error:
        raise DataError(f"{path} cannot be read ({str(error)[:200]}): save it as UTF-8 text") from error
    return text


def append_jsonl(path: Path | str, row: Mapping[str, Any]) -> None:
    """Append one JSON line; a line is one write, so that a killed process leaves at most one broken last line."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")


def trim_jsonl(path: Path, keep: Callable[[Mapping[str, Any]], bool]) -> list[Any]:
    """Delete lines of a file of JSON lines, if it is there, and a broken last one.

    Args:
        path: the file.
        keep: whether a row stays.

    Returns:
        The rows that are left.
    """
    if not path.is_file():
        return []
    # As bytes, because text has more ends of lines than JSON escapes.
    lines = path.read_bytes().splitlines(keepends=True)
    rows = [(line, json.loads(line)) for line in lines if line.endswith(b"}\n")]
    kept = [(line, row) for line, row in rows if keep(row)]
    if len(kept) < len(lines):
        write_text(path, b"".join(line for line, _ in kept).decode())
    return [row for _, row in kept]


def command(name: str, *words: object, **flags: object) -> str:
    """A command of ours as a shell takes it: every word quoted where it must be, no value taken for a flag.

    Args:
        name: the command, of one or two words.
        words: its bare words.
        flags: its flags and their values.
    """
    line = ["surgvl", *name.split(), *map(str, words)]
    for flag, value in flags.items():
        line += [f"--{flag}={value}"] if str(value).startswith("-") else [f"--{flag}", str(value)]
    return shlex.join(line)


def file_hash(path: Path | str) -> str:
    """SHA-256 of a file's bytes, 16 hex digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:16]


def text_hash(text: str) -> str:
    """SHA-256 of a text, 16 hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def prepare_out(out: Path | str, resume: bool = False) -> Path:
    """Make an output folder; refuse one that already holds files unless the stage is to go on in it.

    What killed processes left half-written in it is deleted.

    Raises:
        ConfigError: the folder is not empty and `resume` is false, or it is a file.
    """
    out = Path(out)
    if out.is_file():
        raise ConfigError(f"--out {out} is a file: give a folder")
    if out.is_dir() and any(path.name != LOCK for path in out.iterdir()) and not resume:
        raise ConfigError(f"--out {out} is not empty: give another folder, or --resume to continue in it")
    out.mkdir(parents=True, exist_ok=True)
    clear_temporary(out)
    return out


def commit() -> str:
    """The checkout's commit, `-dirty` where tracked files differ, or `unknown` outside a checkout."""
    root = Path(__file__).resolve().parent.parent.parent
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        call = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=10", "--exclude=*"]
        done = subprocess.run(call, capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()
    return "unknown"


def without_keys(words: Sequence[str], keys: Collection[str]) -> list[str]:
    """The words of a command, with KEY for what was given as --api_key: they stand in run folders and tables."""
    shown = list(words)
    for at, word in enumerate(words):
        option, _, given = word.partition("=")
        if "api" in option and given in keys:
            shown[at] = f"{option}=KEY"
        elif word in keys and at and words[at - 1].startswith("--") and "api" in words[at - 1]:
            shown[at] = "KEY"
    return shown


def command_line() -> str:
    """The command as it was typed, for tables and run.json; `python` when a stage is called from Python."""
    return shlex.join(INVOCATION.words) if INVOCATION else "python"


def write_run(
    out: Path | str,
    config: Mapping[str, Any],
    seed: int,
    device: str,
    data_hash: str = "",
    pretraining_video_ids: Sequence[str] = (),
    **facts: Any,
) -> None:
    """Write `config.yaml` and `run.json` of a run folder.

    Args:
        out: the run folder.
        config: every argument of the stage, plain values and paths; a command that was typed is recorded by its own
            words.
        seed: the seed of the run.
        device: where it ran, such as `cpu`.
        data_hash: hash of the manifest that was read.
        pretraining_video_ids: ids the encoder has seen, handed from stage to stage for the leakage check.
        facts: further JSON values worth keeping.
    """
    plain = {key: str(value) if isinstance(value, Path) else value for key, value in config.items()}
    write_text(Path(out) / "config.yaml", INVOCATION.config if INVOCATION else yaml.safe_dump(plain, sort_keys=False))
    versions = {}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    record = {
        "command": command_line(),
        "commit": commit(),
        "seed": seed,
        "device": device,
        "python": platform.python_version(),
        "packages": versions,
        "written": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "data_hash": data_hash,
        "pretraining_video_ids": sorted(set(pretraining_video_ids)),
        **facts,
    }
    write_json(Path(out) / "run.json", record)
