"""Watching a folder: what arrives in it is added once it is complete.

A file counts as complete when its size and modification time are the same at two looks, an interval apart, and its
header can be read: a copy that is under way grows, and most containers get their header's table at the end. One that
stays as it is and cannot be read is named once, and looked at again when it changes.
"""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from surgvl import video
from surgvl.archive.adding import add
from surgvl.archive.meter import Stop, Tick
from surgvl.archive.opened import OpenArchive
from surgvl.archive.records import Report
from surgvl.core.checks import check_above
from surgvl.core.errors import Busy, DataError
from surgvl.embed.recordings import find_videos

INTERVAL_S = 5.0
# A copy may pause: a file that cannot be read must be the same for so long before it is named.
PAUSE_S = 60.0
Stamps = dict[Path, tuple[int, int]]


def watch(
    archive: OpenArchive,
    folder: Path,
    interval_s: float,
    tick: Tick,
    should_stop: Stop,
    told: Callable[[Report], object],
    wait_s: float,
) -> None:
    """Add what arrives in a folder, until told to stop.

    Args:
        archive: the archive.
        folder: looked through at any depth.
        interval_s: seconds between two looks.
        tick: called with how far adding is.
        should_stop: asked often.
        told: gets the report of each addition, and of files that cannot be read.
        wait_s: seconds to wait for another writer; after that, files wait for the next look.

    Raises:
        DataError: the folder does not exist.
    """
    check_above("--interval_s", interval_s)
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder: give one that files arrive in")
    before, handled = stamps(folder), Stamps()
    since_s = dict.fromkeys(before, time.monotonic())
    while not should_stop():
        _sleep(interval_s, should_stop)
        now, at_s = stamps(folder), time.monotonic()
        since_s = {file: since_s[file] if before.get(file) == stamp else at_s for file, stamp in now.items()}
        new = {file: stamp for file, stamp in now.items() if handled.get(file) != stamp}
        ready, bad = whole(before, new)
        if given_up := {file: line for file, line in bad.items() if at_s - since_s[file] >= PAUSE_S}:
            told(Report(aside={str(file): line for file, line in given_up.items()}))
            handled |= {file: now[file] for file in given_up}
        if ready:
            # While another process writes, they stay ready.
            with contextlib.suppress(Busy):
                told(add(archive, ready, tick, should_stop, False, wait_s))
                handled |= {file: now[file] for file in ready}
        before = now


def stamps(folder: Path) -> Stamps:
    """Size and modification time of each video file below a folder."""
    found = {}
    for file in find_videos([folder])[0]:
        try:
            facts = file.stat()
        except FileNotFoundError:
            continue  # removed just now
        found[file] = (facts.st_size, facts.st_mtime_ns)
    return found


def whole(before: Stamps, now: Stamps) -> tuple[list[Path], dict[Path, str]]:
    """Files that are the same at two looks: those whose header can be read, and why the others cannot."""
    good, bad = list[Path](), dict[Path, str]()
    for file in [file for file, stamp in now.items() if before.get(file) == stamp]:
        try:
            video.probe(file)
            good.append(file)
        except DataError as error:
            bad[file] = str(error)
    return good, bad


def _sleep(duration_s: float, should_stop: Stop) -> None:
    until_s = time.monotonic() + duration_s
    while (left_s := until_s - time.monotonic()) > 0 and not should_stop():
        time.sleep(min(left_s, 0.2))
