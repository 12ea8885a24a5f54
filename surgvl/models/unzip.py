"""Unpack a zip archive of unknown origin into a folder, and nowhere else."""

import lzma
import stat
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from surgvl.core.errors import DataError
from surgvl.models.transfer import BLOCK, check_space

MAX_FILES = 10_000
MAX_RATIO = 20
"""Weights shrink by a few per cent, text by ten times."""
FREE_BYTES = 100 << 20
"""An archive may always unpack to as much."""


def unzip(archive: Path, folder: Path) -> list[Path]:
    """Unpack an archive; `folder` gets all of its files or none.

    Args:
        archive: the zip file.
        folder: must not exist.

    Returns:
        The files.

    Raises:
        DataError: it is damaged or encrypted, or holds links, names that lead out of the folder, or more than an
            archive of weights does.
        ConfigError: the disk has too little space.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [each for each in opened.infolist() if not each.is_dir()]
            _check(archive, members)
            folder.parent.mkdir(parents=True, exist_ok=True)
            check_space(folder.parent, sum(each.file_size for each in members))
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
                whole = Path(temporary) / "files"
                whole.mkdir()
                for each in members:
                    _write(archive, opened, each, whole / each.filename)
                whole.rename(folder)
    # The module raises RuntimeError, and NotImplementedError of it, for a compression that it does not know.
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError) as error:
        raise DataError(f"{archive} cannot be unpacked ({error}): fetch it again") from error
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _write(archive: Path, opened: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> None:
    """Unpack one file.

    Raises:
        DataError: its data are damaged, or another file has its name.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with opened.open(member) as source, path.open("xb") as file:
            while block := source.read(BLOCK):
                file.write(block)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise DataError(f"{archive} holds one name twice: unpack it yourself, and give its files") from error
    except OSError as error:
        # Of the system's errors all have a number; bz2's of damaged data has none.
        if error.errno is None:
            raise DataError(f"{archive} cannot be unpacked ({error}): fetch it again") from error
        raise


def _check(archive: Path, members: list[zipfile.ZipInfo]) -> None:
    """Refuse an archive before anything of it is written.

    Raises:
        DataError: see `unzip`.
    """
    for each in members:
        # zipfile replaces the system's separator and cuts at NUL; the name in the file says what was meant.
        name, mode = each.orig_filename, each.external_attr >> 16
        path = PurePosixPath(name)
        outside = path.is_absolute() or ".." in path.parts or ":" in name or "\\" in name or "\0" in name
        if outside or not path.parts:
            raise DataError(f"{archive} holds {name[:80]!r}, which leads out of its folder: it is not unpacked")
        if mode and not stat.S_ISREG(mode) and stat.S_IFMT(mode):
            raise DataError(f"{archive} holds {name[:80]!r}, which is not a plain file: it is not unpacked")
        if each.flag_bits & 1:
            raise DataError(f"{archive} is encrypted: unpack it yourself, and give its files")
    total, most = sum(each.file_size for each in members), archive.stat().st_size * MAX_RATIO + FREE_BYTES
    if len(members) > MAX_FILES or total > most:
        raise DataError(
            f"{archive} would unpack to {len(members):,} files of {total:,} bytes, which no archive of weights does: "
            "it is not unpacked"
        )
