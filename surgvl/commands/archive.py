"""The commands that make and change an archive: `archive create`, `set`, `add`, `update`, `watch`, `remove`,
`reindex`.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from surgvl.archive.archive import Archive
from surgvl.archive.meter import Tick
from surgvl.archive.records import Progress, Report
from surgvl.archive.watching import INTERVAL_S
from surgvl.commands.common import VIDEO_BAR
from surgvl.core.checks import check_above
from surgvl.core.errors import ConfigError, DataError
from surgvl.core.files import command
from surgvl.core.plurals import part_of, plural
from surgvl.models.device import Precision


def archive_create(
    folder: Path,
    model: str,
    name: str = "",
    chat: str = "",
    stride_s: float | None = None,
    prompt_sets: list[str] | None = None,
    device: str = "cpu",
) -> None:
    """Create an empty archive of your own recordings.

    Args:
        folder: a new folder.
        model: run folder, model folder or name of the video-text model that makes the vectors.
        name: name of the archive on the page; by default, the folder's.
        chat: run folder, model folder or name of the model that answers questions.
        stride_s: seconds between vectors; by default, the model's step between clips.
        prompt_sets: names or files of the prompt sets whose sentences are embedded; by default, all that ship.
        device: torch device, such as cpu or cuda.
    """
    if stride_s is not None:
        check_above("--stride_s", stride_s)
    with Archive.create(
        folder, model, name=name, chat=chat, stride_s=stride_s, prompt_sets=prompt_sets, device=device
    ) as archive:
        print(f"archive of {archive.model} in {folder}; next: {command('archive add', folder, 'recordings')}")


def archive_set(folder: Path, name: str | None = None, chat: str | None = None, wait_s: float = 0.0) -> None:
    """Change an archive's name, or the model that answers questions about it.

    The model that makes the vectors is changed by `surgvl archive reindex`.

    Args:
        folder: the archive.
        name: name of the archive on the page.
        chat: run folder, model folder or name of the model that answers questions; '' for none.
        wait_s: seconds to wait for another process that writes.
    """
    if name is None and chat is None:
        raise ConfigError("give --name or --chat: what is to change")
    with Archive.open(folder) as archive:
        archive.set(name, chat, wait_s=wait_s)
        answers = f"questions are answered by {archive.chat}" if archive.chat else "no model answers questions"
        print(f"{archive.name}: {answers}; next: {command('archive info', folder)}")


def archive_add(
    folder: Path,
    files: list[Path],
    coarse: bool = False,
    precision: Precision = "float32",
    device: str = "cpu",
    server: str = "",
    api_key: str = "",
    in_flight: int = 8,
    wait_s: float = 0.0,
) -> Report:
    """Add recordings to an archive: register, embed and index them; run it again to continue after an interruption.

    A file is known by its content: one that was moved or renamed keeps its id, labels and vectors. Files that cannot be
    read are set aside and listed at the end, and the exit status is 1.

    Args:
        folder: the archive.
        files: video files, or folders that are searched for them at any depth; they stay where they are.
        coarse: first embed a few clips of each recording, so that all can be searched soon.
        precision: bfloat16 takes about half the time where the device computes in it; cosines change in the fourth
            digit.
        device: torch device, such as cpu or cuda.
        server: address of `surgvl serve` with the archive's model, which encodes instead of this process.
        api_key: the server's key, or @FILE that contains it; SURGVL_API_KEY by default, which is safer.
        in_flight: maximum number of concurrent requests to the server.
        wait_s: seconds to wait for another process that writes.
    """
    with _opened(folder, precision, device, server, api_key, in_flight) as archive, _bar("add") as tick:
        report = archive.add(files, tick=tick, coarse=coarse, wait_s=wait_s)
    _tell(report, folder)
    return report


def archive_update(
    folder: Path,
    coarse: bool = False,
    precision: Precision = "float32",
    device: str = "cpu",
    server: str = "",
    api_key: str = "",
    in_flight: int = 8,
    wait_s: float = 0.0,
) -> Report:
    """Embed the recordings of an archive that wait or have changed.

    Args:
        folder: the archive.
        coarse: first embed a few clips of each recording, so that all can be searched soon.
        precision: bfloat16 takes about half the time where the device computes in it; cosines change in the fourth
            digit.
        device: torch device, such as cpu or cuda.
        server: address of `surgvl serve` with the archive's model, which encodes instead of this process.
        api_key: the server's key, or @FILE that contains it; SURGVL_API_KEY by default, which is safer.
        in_flight: maximum number of concurrent requests to the server.
        wait_s: seconds to wait for another process that writes.
    """
    with _opened(folder, precision, device, server, api_key, in_flight) as archive, _bar("update") as tick:
        report = archive.update(tick=tick, coarse=coarse, wait_s=wait_s)
    _tell(report, folder)
    return report


def archive_watch(
    folder: Path,
    source: Path,
    interval_s: float = INTERVAL_S,
    precision: Precision = "float32",
    device: str = "cpu",
    server: str = "",
    api_key: str = "",
    in_flight: int = 8,
    wait_s: float = 60.0,
) -> None:
    """Add recordings to an archive as they arrive in a folder, until Ctrl-C.

    A file has arrived when its size and modification time have not changed between two looks, and its header can be
    read.

    Args:
        folder: the archive.
        source: folder in which recordings arrive, at any depth.
        interval_s: seconds between two looks.
        precision: bfloat16 takes about half the time where the device computes in it; cosines change in the fourth
            digit.
        device: torch device, such as cpu or cuda.
        server: address of `surgvl serve` with the archive's model, which encodes instead of this process.
        api_key: the server's key, or @FILE that contains it; SURGVL_API_KEY by default, which is safer.
        in_flight: maximum number of concurrent requests to the server.
        wait_s: seconds to wait for another process that writes.
    """
    print(f"watching {source}; Ctrl-C stops")

    def told(report: Report) -> None:
        for word in ("added", "updated", "moved", "embedded"):
            for id in vars(report)[word]:
                print(f"{word} {id}", flush=True)
        for path, id in report.copies.items():
            print(f"{path} is a copy of recording {id!r}: left out", flush=True)
        for line in report.aside.values():
            print(f"set aside: {line}", flush=True)

    with _opened(folder, precision, device, server, api_key, in_flight) as archive, _bar("watch") as tick:
        archive.watch(source, told, interval_s=interval_s, tick=tick, wait_s=wait_s)


def archive_remove(folder: Path, recordings: list[str], wait_s: float = 0.0) -> None:
    """Remove recordings with their vectors, case details, labels and clips; their files stay where they are.

    Args:
        folder: the archive.
        recordings: their ids.
        wait_s: seconds to wait for another process that writes.
    """
    with Archive.open(folder) as archive:
        archive.remove(recordings, wait_s=wait_s)
        left = plural(len(archive.catalogue.rows()), "recording")
        there = archive.index().version.head.num_removed
    if there:
        print(f"{plural(there, 'removed vector')} stay in the index file, unsearchable, until `surgvl archive reindex`")
    print(f"{plural(len(set(recordings)), 'recording')} removed, {left} left; next: {command('archive list', folder)}")


def archive_reindex(
    folder: Path,
    model: str = "",
    stride_s: float | None = None,
    prompt_sets: list[str] | None = None,
    keep: bool = False,
    precision: Precision = "float32",
    device: str = "cpu",
    wait_s: float = 0.0,
) -> Report:
    """Embed all recordings of an archive with another model, beside the present vectors, and then switch to it.

    Run it again to continue after an interruption; until it is done, the archive works with the present model.

    Args:
        folder: the archive.
        model: run folder, model folder or name; by default the present model, of which only the sentences are embedded
            and the index is built again.
        stride_s: seconds between vectors; by default, the model's step between clips.
        prompt_sets: names or files of the prompt sets whose sentences are embedded; by default, all that ship.
        keep: keep the vectors of the old model; they are kept, too, where a recording was set aside.
        precision: bfloat16 takes about half the time where the device computes in it; cosines change in the fourth
            digit.
        device: torch device, such as cpu or cuda.
        wait_s: seconds to wait for another process that writes.
    """
    if stride_s is not None:
        check_above("--stride_s", stride_s)
    with Archive.open(folder, device, precision) as archive, _bar("reindex") as tick:
        report = archive.reindex(model, stride_s=stride_s, prompt_sets=prompt_sets, keep=keep, tick=tick, wait_s=wait_s)
        now = archive.model
    print(f"{folder} is in the space of {now}; next: {command('archive info', folder)}")
    _list_aside(report, len(report.updated))
    return report


def _opened(folder: Path, precision: Precision, device: str, server: str, api_key: str, in_flight: int) -> Archive:
    """An archive, with what embeds its recordings; a model in this process is loaded when one needs it."""
    archive = Archive.open(folder, device, precision)
    if server:
        from surgvl.serve.remote_encoder import remote_encoder

        archive.embedder = remote_encoder(None, archive.space.meta.stride_s, server, api_key, in_flight)
    return archive


@contextlib.contextmanager
def _bar(name: str) -> Iterator[Tick]:
    """A progress bar by hours of video, with the remaining time."""
    with tqdm(total=0.0, desc=name, unit="h", disable=None, leave=False, bar_format=VIDEO_BAR) as bar:

        def tick(progress: Progress) -> None:
            bar.total = progress.total_s / 3600
            bar.set_postfix_str(f"{progress.num_done} of {progress.num_total}: {progress.recording_id}", refresh=False)
            # Watching counts anew with every file.
            bar.n = min(bar.n, progress.done_s / 3600)
            bar.update(progress.done_s / 3600 - bar.n)

        yield tick


def _tell(report: Report, folder: Path) -> None:
    for path, id in report.copies.items():
        print(f"{path} is a copy of recording {id!r}: left out")
    words = ("added", "updated", "moved", "embedded", "unchanged")
    counts = ", ".join(f"{len(vars(report)[word])} {word}" for word in words if vars(report)[word]) or "nothing to do"
    print(f"{counts}; next: {command('search', 'the hook dissects the gallbladder', archive=folder)}")
    _list_aside(report, sum(len(vars(report)[word]) for word in words))


def _list_aside(report: Report, num_others: int) -> None:
    if report.aside:
        lines = "".join(f"\n  {line}" for line in report.aside.values())
        part = part_of(len(report.aside), num_others + len(report.aside), "file", "was")
        raise DataError(f"{part} set aside, the others are done:{lines}")
