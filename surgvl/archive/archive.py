"""An archive of one's own recordings: a folder that knows its recordings, model, vectors, index, labels and clips.

    archive.json        name, time, the space in use, the model that answers questions
    catalogue.sqlite    recordings, case details, labels, saved clips, jobs
    manifest/           derived: the recordings with the labels as segments
    spaces/HASH/        vectors and index in the space of one model
    thumbnails/         a cache of small pictures

Kept apart: `catalogue` (what people enter), `space` (vectors and index), `opened` (reading, and one writer at a time),
and one file for each thing that is done with an archive.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Self

from surgvl.archive import adding
from surgvl.archive.creating import make_archive, set_header
from surgvl.archive.exporting import export
from surgvl.archive.foreign import Foreign
from surgvl.archive.from_run import make_from_run
from surgvl.archive.merging import merge
from surgvl.archive.meter import Stop, Tick
from surgvl.archive.opened import OpenArchive
from surgvl.archive.records import Report
from surgvl.archive.reindexing import reindex
from surgvl.archive.verify import verify
from surgvl.archive.watching import INTERVAL_S, watch
from surgvl.embed.vectors import unit
from surgvl.models.device import Precision
from surgvl.retrieval.duplicates import Duplicate, near_duplicates


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
        load: bool = True,
    ) -> Self:
        """Create an empty archive.

        Args:
            folder: a new or empty folder.
            model: run folder, model folder or name of a video-text model, or of a video encoder.
            name: its name on the page; the folder's name by default.
            chat: model that answers questions; may be empty.
            stride_s: seconds between vectors; by default, the model's step between clips.
            prompt_sets: names or files of the prompt sets whose sentences are embedded; by default, all that ship.
            device: torch device.
            load: load the model and embed the sentences now; otherwise with the first recording.

        Raises:
            ConfigError: the folder is not empty, or is being written.
            CheckpointError: there is no such model.
        """
        embedder = make_archive(Path(folder), model, name, chat, stride_s, prompt_sets, device, load)
        archive = cls(folder, device)
        if embedder is not None:
            archive.embedder = embedder
        return archive

    @classmethod
    def open(cls, folder: Path | str, device: str = "cpu", precision: Precision = "float32") -> Self:
        """Open an archive.

        Args:
            folder: of the archive.
            device: torch device on which recordings are embedded.
            precision: in which they are.

        Raises:
            DataError: the folder is not an archive.
        """
        return cls(folder, device, precision)

    @classmethod
    def from_run(cls, run: Path | str, folder: Path | str, *, name: str = "", device: str = "cpu") -> Self:
        """An archive of what a run of `surgvl quickstart` embedded; see `surgvl.archive.from_run`."""
        make_from_run(Path(run), Path(folder), name)
        archive = cls(folder, device)
        with archive.writing():
            return archive

    @cached_property
    def foreign(self) -> Foreign:
        """Which recordings the model is likely not to understand."""
        return Foreign(self)

    def set(self, name: str | None = None, chat: str | Path | None = None, *, wait_s: float = 0.0) -> None:
        """Change what the archive is called, and the model that answers questions; None leaves either as it is.

        Args:
            name: its name on the page; the folder's name if empty.
            chat: folder or name of a model on this machine; may be empty.
            wait_s: seconds to wait for another writer.

        Raises:
            CheckpointError: there is no such model.
            ConfigError: another process is still writing; the message names it.
        """
        set_header(self.folder, name, chat, wait_s)

    def add(
        self,
        paths: Iterable[Path | str],
        *,
        tick: Tick = lambda _: None,
        should_stop: Stop = lambda: False,
        coarse: bool = False,
        wait_s: float = 0.0,
    ) -> Report:
        """Add video files and those in folders; see `surgvl.archive.adding.add`."""
        return adding.add(self, [Path(path) for path in paths], tick, should_stop, coarse, wait_s)

    def update(
        self,
        *,
        tick: Tick = lambda _: None,
        should_stop: Stop = lambda: False,
        coarse: bool = False,
        wait_s: float = 0.0,
    ) -> Report:
        """Embed what waits and what has changed; see `surgvl.archive.adding.update`."""
        return adding.update(self, tick, should_stop, coarse, wait_s)

    def remove(self, ids: Iterable[str], *, should_stop: Stop = lambda: False, wait_s: float = 0.0) -> None:
        """Remove recordings with their vectors, details, labels and clips; their files stay where they are.

        Raises:
            DataError: there is no such recording; nothing is removed.
        """
        wanted = [self.catalogue.row(id).id for id in ids]
        with self.writing(wait_s, should_stop):
            self.catalogue.forget(wanted)

    def verify(self, mend: bool = True, *, wait_s: float = 0.0) -> list[str]:
        """What is damaged or missing, one line each; see `surgvl.archive.verify.verify`."""
        return verify(self, mend, wait_s)

    def merge(self, other: "Archive | Path | str", *, wait_s: float = 0.0) -> Report:
        """Take over the recordings of another archive of the same model; see `surgvl.archive.merging.merge`."""
        if isinstance(other, Archive):
            return merge(self, other, wait_s)
        with Archive.open(other) as opened:
            return merge(self, opened, wait_s)

    def export(
        self, out: Path | str, formats: Sequence[str] = ("csv", "manifest"), *, resume: bool = False
    ) -> dict[str, str]:
        """Write details, labels and clips as files of other tools; see `surgvl.archive.exporting.export`."""
        return export(self, Path(out), formats, resume)

    def reindex(
        self,
        model: str | Path = "",
        *,
        stride_s: float | None = None,
        prompt_sets: Sequence[str] | None = None,
        keep: bool = False,
        tick: Tick = lambda _: None,
        should_stop: Stop = lambda: False,
        wait_s: float = 0.0,
    ) -> Report:
        """Embed all recordings with another model, beside the present vectors, and then use that one.

        Args:
            model: run folder, model folder or name; by default the present one, of which only the sentences are
                embedded and the index is built again.
            stride_s: seconds between vectors; by default, the model's step between clips.
            prompt_sets: names or files of the prompt sets whose sentences are embedded; by default, all that ship.
            keep: keep the vectors of the old model; they are kept, too, where a recording was set aside.
            tick: called with how far it is.
            should_stop: asked often; the next call goes on.
            wait_s: seconds to wait for another writer.

        Returns:
            The recordings that have vectors now, and those that were set aside.
        """
        return reindex(self, model or self.model, stride_s, prompt_sets, keep, tick, should_stop, wait_s)

    def watch(
        self,
        folder: Path | str,
        told: Callable[[Report], object],
        *,
        interval_s: float = INTERVAL_S,
        tick: Tick = lambda _: None,
        should_stop: Stop = lambda: False,
        wait_s: float = 0.0,
    ) -> None:
        """Add what arrives in a folder, until told to stop; see `surgvl.archive.watching.watch`."""
        watch(self, Path(folder), interval_s, tick, should_stop, told, wait_s)

    def duplicates(self, least_s: float = 10.0, tick: Callable[[int], object] = lambda _: None) -> list[Duplicate]:
        """Pairs of recordings that share footage, the longest first; see `surgvl.retrieval.duplicates`.

        Args:
            least_s: shortest footage that counts, seconds.
            tick: called with 1 for each pair that is compared.
        """
        whole = [row.id for row in self.catalogue.rows() if row.state == "embedded"]
        vectors = {id: unit(self.vectors_of(id)[0]) for id in whole}
        return near_duplicates(vectors, self.space.meta.stride_s, least_s, tick)
