"""An archive of one's own recordings: a folder that knows its recordings, model, vectors, index, labels and clips.

    archive.json        name, time, the space in use, the model that answers questions
    catalogue.sqlite    recordings, case details, labels, saved clips, jobs
    manifest/           derived: the recordings with the labels as segments
    spaces/HASH/        vectors and index in the space of one model
    thumbnails/         a cache

Kept apart: `catalogue` (what people enter), `space` (vectors and index), `opened` (reading, and one writer at a time),
and one file for each thing that is done with an archive.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from surgvl.archive import adding
from surgvl.archive.creating import make_archive
from surgvl.archive.from_run import make_from_run
from surgvl.archive.opened import OpenArchive
from surgvl.archive.records import Progress, Report

if TYPE_CHECKING:
    pass


class Archive(OpenArchive):
    """An archive; obtain one with `create`, `open` or `from_run`."""

    @classmethod
    def create(
        cls,
        folder: Path | str,
        model: str | Path,
        *,
        name: str = "",
        chat: str = "",
        stride_s: float | None = None,
        prompt_sets: Sequence[str] | None = None,
        device: str = "cpu",
    ) -> Self:
        """Create an empty archive.

        Args:
            folder: a new or empty folder.
            model: run folder, model folder or name of a video-text model, or of a video encoder.
            name: what pages call it; the folder's name by default.
            chat: model that answers questions; may be empty.
            stride_s: seconds between vectors; by default, the model's step between clips.
            prompt_sets: names or files of the prompt sets whose sentences are embedded; by default, all that ship.
            device: torch device.

        Raises:
            ConfigError: the folder is not empty, or is being written.
            CheckpointError: there is no such model.
        """
        embedder = make_archive(Path(folder), model, name, chat, stride_s, prompt_sets, device)
        archive = cls(folder, device)
        archive.embedder = embedder
        return archive

    @classmethod
    def open(cls, folder: Path | str, device: str = "cpu") -> Self:
        """Open an archive.

        Raises:
            DataError: the folder is no archive.
        """
        return cls(folder, device)

    @classmethod
    def from_run(cls, run: Path | str, folder: Path | str, *, name: str = "", device: str = "cpu") -> Self:
        """An archive of what a run of `surgvl quickstart` embedded; see `surgvl.archive.from_run`."""
        make_from_run(Path(run), Path(folder), name)
        archive = cls(folder, device)
        with archive.writing():
            return archive

    def add(
        self,
        paths: Iterable[Path | str],
        *,
        tick: Callable[[Progress], object] = lambda _: None,
        should_stop: Callable[[], bool] = lambda: False,
        coarse: bool = False,
        wait_s: float = 0.0,
    ) -> Report:
        """Add video files and those in folders; see `surgvl.archive.adding.add`."""
        return adding.add(self, [Path(path) for path in paths], tick, should_stop, coarse, wait_s)

    def update(
        self,
        *,
        tick: Callable[[Progress], object] = lambda _: None,
        should_stop: Callable[[], bool] = lambda: False,
        coarse: bool = False,
        wait_s: float = 0.0,
    ) -> Report:
        """Embed what waits and what has changed; see `surgvl.archive.adding.update`."""
        return adding.update(self, tick, should_stop, coarse, wait_s)

    def remove(self, ids: Iterable[str], *, wait_s: float = 0.0) -> None:
        """Remove recordings with their vectors, details, labels and clips; their files stay where they are.

        Raises:
            DataError: there is no such recording; nothing is removed.
        """
        wanted = [self.catalogue.row(id).id for id in ids]
        with self.writing(wait_s):
            self.catalogue.forget(wanted)
