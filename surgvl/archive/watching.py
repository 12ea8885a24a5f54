"""Watching a folder: what arrives in it is added once it is whole.

A file counts as whole when its size and time of change are the same at two looks, an interval apart, and its header can
be read: a copy that is under way grows, and most containers get their header's table at the end.
"""

import time
from collections.abc import Callable
from pathlib import Path

from surgvl import video
from surgvl.archive.adding import add
from surgvl.archive.meter import Stop, Tick
from surgvl.archive.opened import OpenArchive
from surgvl.archive.records import Report
from surgvl.core.checks import check_above
from surgvl.core.errors import DataError
from surgvl.embed.recordings import find_videos

INTERVAL_S = 5.0
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
        tick: told how far adding is.
        should_stop: asked often.
        told: gets the report of each addition.
        wait_s: seconds to wait for another writer.

    Raises:
        DataError: the folder does not exist.
    """
    check_above("--interval_s", interval_s)
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder: give one that files arrive in")
    before, handled = stamps(folder), Stamps()
    while not should_stop():
        _sleep(interval_s, should_stop)
        now = stamps(folder)
        new = {file: stamp for file, stamp in now.items() if handled.get(file) != stamp}
        if ready := whole(before, new):
            told(add(archive, ready, tick, should_stop, False, wait_s))
            handled |= {file: now[file] for file in ready}
        before = now


def stamps(folder: Path) -> Stamps:
    """Size and time of change of each video file below a folder."""
    found = {}
    for file in find_videos([folder])[0]:
        try:
            facts = file.stat()
        except FileNotFoundError:
            continue  # removed just now
        found[file] = (facts.st_size, facts.st_mtime_ns)
    return found


def whole(before: Stamps, now: Stamps) -> list[Path]:
    """Files that are the same at two looks and whose header can be read."""
    same = [file for file, stamp in now.items() if before.get(file) == stamp and stamp[0]]
    return [file for file in same if _can_be_read(file)]


def _can_be_read(file: Path) -> bool:
    try:
        video.probe(file)
    except DataError:
        return False
    return True


def _sleep(duration_s: float, should_stop: Stop) -> None:
    until_s = time.monotonic() + duration_s
    while (left_s := until_s - time.monotonic()) > 0 and not should_stop():
        time.sleep(min(left_s, 0.2))
