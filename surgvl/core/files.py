"""Files that stages hand to each other: atomic writes, JSON, JSON lines, plain YAML, hashes.

A file is written under a temporary name and renamed, so that a killed process leaves the old one intact.
"""

import contextlib
import errno
import hashlib
import json
import os
import re
import shlex
import socket
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from safetensors import SafetensorError

from surgvl.core.errors import DataError

YAML_LOADER = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
"""Reads plain values alone; libyaml's takes a tenth of the time."""

_durable = ContextVar("durable", default=False)
_NAME = re.compile(r"\.(?P<process>[0-9]+)-(?P<host>[0-9a-f]{8})\.tmp(\.[^.]*)?$")


@contextlib.contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path next to `path`; rename it to `path` if the block succeeds, delete it otherwise.

    Errors in the block name `path`. The file's mode follows the user's umask, although some libraries create files that
    only the user may read.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_path(path)
    # Creating a file is the only way to read the umask without changing it for other threads.
    temporary.touch()
    mode = temporary.stat().st_mode & 0o777
    temporary.unlink()
    try:
        yield temporary
        temporary.chmod(mode)
        if _durable.get():
            _flush(temporary)
        os.replace(temporary, path)
        if _durable.get():
            _flush(path.parent)
    except SafetensorError as error:
        raise DataError(f"{path} cannot be written ({error}): check its permissions and the free space") from error
    except OSError as error:
        # Errors of writes name no file, and the name of a temporary file is of no use.
        if error.filename is None or error.errno in (errno.ENOSPC, errno.EDQUOT):
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def durable() -> Iterator[None]:
    """In the block, `atomic` returns when file and name are on the disk, so that they outlast a loss of power.

    Without, a killed process loses nothing, and each file is written some milliseconds faster.
    """
    before = _durable.set(True)
    try:
        yield
    finally:
        _durable.reset(before)


def _flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def take_space(path: Path, num_bytes: int) -> None:
    """Create a file of a given size with its disk space allocated.

    Without allocation, a memory-mapped file is allocated page by page, and a full disk kills the process with SIGBUS.

    Raises:
        DataError: the disk has too little space.
    """
    with open(path, "wb") as file:
        try:
            if hasattr(os, "posix_fallocate") and num_bytes:
                os.posix_fallocate(file.fileno(), 0, num_bytes)
        except OSError as error:
            raise DataError(
                f"{path.parent} has no room for {num_bytes:,} bytes ({error.strerror}): free some, or change --out"
            ) from error


def write_text(path: Path | str, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path | str, value: Any) -> None:
    """Write indented JSON atomically; NaN raises ValueError, because JSON has none."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path | str) -> Any:
    """Read a JSON file: UTF-8, UTF-16 or UTF-32, with or without a byte order mark.

    Raises:
        DataError: the file does not exist or cannot be opened, is not JSON, is nested too deeply, or has a number of
            thousands of digits.
    """
    try:
        return json.loads(Path(path).read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: check the path, or run the stage that writes it") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): check the path") from error
    except RecursionError:
        raise DataError(f"{path} is not JSON (nested too deeply): write it again") from None
    except ValueError as error:
        fact = str(error).partition(";")[0]
        raise DataError(f"{path!s} is not JSON ({fact}): write it again") from error


def plain_yaml(path: Path | str) -> str:
    """The text of a YAML file written by hand: at most 1 MB, 32 levels, and no aliases, which grow when expanded.

    Events are checked as they are parsed, so that nothing is built from a file that is refused.

    Raises:
        DataError: the file does not exist, is not UTF-8 or YAML, or exceeds these limits.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        if len(text) > 1_000_000:
            raise DataError(f"{path} must have at most 1,000,000 characters, got {len(text):,}")
        depth = 0
        for event in yaml.parse(text, Loader=YAML_LOADER):
            where = f"{path}, line {event.start_mark.line + 1 if event.start_mark else '?'}"
            if isinstance(event, yaml.AliasEvent):
                name = (event.anchor or "")[:40]
                raise DataError(f"{where}: alias *{name} is not supported: write the value out")
            if isinstance(event, yaml.ScalarEvent) and event.value.isdigit() and len(event.value) > 20:
                raise DataError(f"{where}: a number must have at most 20 digits, got {len(event.value)}")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > 32:
                raise DataError(f"{where}: at most 32 levels of nesting are allowed: flatten it")
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): check the path") from error
    except yaml.YAMLError as error:
        raise DataError(f"{path} is not YAML ({' '.join(str(error).split())[:300]}): correct the line") from error
    except ValueError as error:
        raise DataError(f"{path} cannot be read ({str(error)[:200]}): save it as UTF-8 text") from error
    return text


def append_jsonl(path: Path | str, row: Mapping[str, Any]) -> None:
    """Append one JSON line in a single write, so that a killed process leaves at most one incomplete last line."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")


def trim_jsonl(path: Path, keep: Callable[[Mapping[str, Any]], bool]) -> list[Any]:
    """Delete rows of a JSON lines file, if it exists, and an incomplete last line.

    Args:
        path: the file.
        keep: tells whether a row is kept.

    Returns:
        The rows that were kept.
    """
    if not path.is_file():
        return []
    # As bytes: str.splitlines also splits at characters that JSON does not escape.
    lines = path.read_bytes().splitlines(keepends=True)
    rows = [(line, json.loads(line)) for line in lines if line.endswith(b"}\n")]
    kept = [(line, row) for line, row in rows if keep(row)]
    if len(kept) < len(lines):
        write_text(path, b"".join(line for line, _ in kept).decode())
    return [row for _, row in kept]


def below(id: str) -> str:
    """An id as a path below a folder: it may be a path, and that of a data set may be anything."""
    return "/".join(part for part in id.split("/") if part not in ("", ".", ".."))


def command(name: str, *words: object, **flags: object) -> str:
    """A surgvl command line for a shell, quoted where necessary; a value that starts with a dash is joined by `=`.

    Args:
        name: the command, of one or two words.
        words: positional words.
        flags: flags and their values.
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


def known_hash(path: Path | str) -> str:
    """`file_hash`, computed once in a process for a file that does not change."""
    state = os.stat(path)
    return _known_hash(str(path), state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)


@lru_cache(maxsize=4096)
def _known_hash(path: str, *state: int) -> str:
    return file_hash(path)


def size_of(paths: Iterable[Path]) -> int:
    """Bytes of files, without folders and what has just been removed."""
    total = 0
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            facts = path.stat()
            total += facts.st_size if stat.S_ISREG(facts.st_mode) else 0
    return total


def text_hash(text: str) -> str:
    """SHA-256 of a text, 16 hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def temporary_path(path: Path) -> Path:
    """A path next to `path`, with the same suffix, that names the process and machine that write it."""
    # Most file systems limit names to 255 bytes, and the temporary one is longer.
    name = path.name if len(os.fsencode(path.name)) <= 200 else hashlib.sha256(os.fsencode(path.name)).hexdigest()
    return path.with_name(f".{name}.{os.getpid()}-{_host()}.tmp{path.suffix}")


def clear_temporary(folder: Path) -> None:
    """Delete the half-written files of killed processes, at any depth of a folder.

    Only those of this machine's processes that no longer run: others may be writing to the same folder.
    """
    for path in sorted(folder.rglob(".*.tmp*")):
        made = _NAME.search(path.name)
        if made and made["host"] == _host() and not _runs(int(made["process"])):
            path.unlink(missing_ok=True)


def _host() -> str:
    """This machine in 8 hex digits."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # it is another user's
    return True
