"""The folder that a stage writes: how it was made, what is in it, and which command comes next.

    RUN/config.yaml    every argument; `--config RUN/config.yaml` repeats the run
    RUN/run.json       command, commit, seed, device, packages, data, the ids of all videos that the model has seen
    RUN/model          the model, if the stage makes one
    RUN/result.json    the scores, if the stage has any; RUN/result.md is the same as a page

Everything is written under a temporary name and renamed, so that a killed process leaves the old file intact.
"""

import functools
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any

from surgvl.core.errors import ConfigError, DataError
from surgvl.core.files import clear_temporary, write_json, write_text
from surgvl.core.invocation import command_line, current
from surgvl.core.locks import LOCK
from surgvl.core.plurals import part_of
from surgvl.core.version import commit

PACKAGES = ("surgvl", "torch", "transformers", "open_clip_torch", "lightning", "faiss-cpu", "av", "numpy")


class RunFolder:
    """A context around the work of a stage, the same whether the stage was typed or called from Python.

        with RunFolder(out, resume, seed=seed) as folder:
            folder.watch(store.problems, len(ids))
            folder.record(data_hash=manifest.hash, seen_ids=ids)
            save_model(model, folder.model, preprocess)
            folder.next(f"model in {folder.model}", command("embed", model=out, out="vectors"))

    When the block succeeds, problems with single videos are recorded and the next command is printed.

    Args:
        out: the folder; created if missing.
        resume: continue in a folder that is not empty.
        seed: seed of the run.
        device: device of the run, such as `cpu`, or the address of a server.
        writes: whether this process writes files and prints; of several training processes, only the first does.

    Raises:
        ConfigError: on entering: the folder is not empty and `resume` is false, or it is a file.
        DataError: on leaving: some videos were set aside; the output for the others is kept.
    """

    def __init__(
        self, out: Path | str, resume: bool = False, *, seed: int = 0, device: str = "cpu", writes: bool = True
    ):
        self.path, self.resume, self.seed, self.device, self.writes = Path(out), resume, seed, device, writes
        self._facts: dict[str, Any] = {}
        self._problems: Mapping[str, str] | Sequence[str] | None = None
        self._num_videos = 0
        self._damaged: Callable[[], Sequence[str]] = list
        self._printed: set[str] = set()
        self._next = ""

    @property
    def model(self) -> Path:
        """Folder of the model that the stage makes."""
        return self.path / "model"

    def __enter__(self) -> "RunFolder":
        prepare_out(self.path, self.resume or not self.writes)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self.writes:
            self._finish()

    def watch(
        self,
        problems: Mapping[str, str] | Sequence[str],
        num_videos: int,
        damaged: Callable[[], Sequence[str]] = list,
        printed: Sequence[str] = (),
    ) -> None:
        """Report the problems with videos, as they are when the stage ends.

        Args:
            problems: why videos were set aside, by video id or as a list.
            num_videos: number of videos that were to be used.
            damaged: returns a line for each video with damaged frames.
            printed: those of these lines that have already been printed.
        """
        self._problems, self._num_videos, self._damaged = problems, num_videos, damaged
        self._printed = set(printed)

    def record(self, data_hash: str = "", seen_ids: Sequence[str] = (), **facts: Any) -> None:
        """Write `config.yaml` and `run.json`; a second call replaces them.

        Args:
            data_hash: hash of the manifest that was read.
            seen_ids: ids of the videos that the model has seen, handed from stage to stage for the leakage check.
            facts: further JSON values worth keeping.
        """
        self._facts = {"data_hash": data_hash, "pretraining_video_ids": sorted(set(seen_ids)), **facts}
        if self.writes:
            write_text(self.path / "config.yaml", current().config)
            self._write()

    def next(self, made: str, command: str) -> None:
        """Set what is printed when the block succeeds: what was made, and the next command."""
        self._next = f"{made}; next: {command}"

    def _write(self) -> None:
        packages = {}
        for name in PACKAGES:
            if version := _version(name):
                packages[name] = version
        record = {
            "command": command_line(),
            "commit": commit(),
            "seed": self.seed,
            "device": self.device,
            "python": platform.python_version(),
            "packages": packages,
            "written": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            **self._facts,
        }
        if self._problems is not None:
            record["problems"] = self._problems
        if damaged := self._damaged():
            record["damaged_frames"] = damaged
        write_json(self.path / "run.json", record)

    def _finish(self) -> None:
        """Print the warnings and the next command at the end.

        Raises:
            DataError: some videos were set aside.
        """
        if self._facts and (self._problems or self._damaged()):
            self._write()
        for line in self._damaged():
            if line not in self._printed:
                print(line)
        if self._next:
            print(self._next)
        if self._problems:
            problems = self._problems.values() if isinstance(self._problems, Mapping) else self._problems
            lines = "".join(f"{os.linesep}  {problem}" for problem in problems)
            part = part_of(len(self._problems), self._num_videos, "video", "was")
            raise DataError(f"{part} set aside, the others are done:{lines}")


def prepare_out(out: Path, resume: bool = False) -> None:
    """Create an output folder; refuse one that already has files unless the stage resumes.

    Half-written files of killed processes are deleted from it.

    Raises:
        ConfigError: the folder is not empty and `resume` is false, or it is a file.
    """
    if out.is_file():
        raise ConfigError(f"--out {out} is a file: give a folder")
    if out.is_dir() and any(path.name != LOCK for path in out.iterdir()) and not resume:
        raise ConfigError(f"--out {out} is not empty: give another folder, or --resume to continue in it")
    out.mkdir(parents=True, exist_ok=True)
    clear_temporary(out)


@functools.cache
def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
