"""Files that a browser sends, written to disk as they arrive: recordings for the archive, pictures to search by.

The body is never held in memory, and a limit is noticed while it arrives. What a file is called decides nothing but
its suffix and its title.
"""

import re
import secrets
from pathlib import Path
from typing import IO, TYPE_CHECKING

from python_multipart import multipart
from python_multipart.exceptions import FormParserError
from starlette.requests import ClientDisconnect, Request

from surgvl import video
from surgvl.core.errors import ConfigError, DataError
from surgvl.video.decoder import VIDEO_SUFFIXES
from surgvl.video.frame_folder import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAX_BYTES = 200 << 20
MAX_S = 30 * 60.0
MAX_FILES = 100
MAX_PICTURE_BYTES = 20 << 20


async def receive_files(
    request: Request, folder: Path, suffixes: tuple[str, ...], max_bytes: int, max_files: int = MAX_FILES
) -> list[Path]:
    """Write the files of a multipart form.

    Args:
        request: the request.
        folder: where they go; created if missing.
        suffixes: allowed suffixes, lower case.
        max_bytes: most bytes of a file.
        max_files: most files.

    Returns:
        Their paths, in the order of the form. What was written of a form that is refused is deleted.

    Raises:
        ConfigError: no form, no or too many files, or one that is too large or of another type.
    """
    kind, options = multipart.parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise ConfigError("send the files as multipart/form-data")
    folder.mkdir(parents=True, exist_ok=True)
    form = _Form(folder, suffixes, max_bytes, max_files)
    parser = multipart.MultipartParser(options[b"boundary"], form.callbacks())
    is_whole = False
    try:
        async for chunk in request.stream():
            parser.write(chunk)
        parser.finalize()
        if not form.paths:
            raise ConfigError("the form holds no file: choose at least one")
        is_whole = True
    except FormParserError as error:
        raise ConfigError("the form cannot be read: send the files again") from error
    except ClientDisconnect as error:
        raise ConfigError("the upload was cut off") from error
    finally:
        form.close()
        if not is_whole:
            for path in form.paths:
                path.unlink(missing_ok=True)
    return form.paths


class _Form:
    """The files of a form while it is parsed."""

    def __init__(self, folder: Path, suffixes: tuple[str, ...], max_bytes: int, max_files: int) -> None:
        self.folder, self.suffixes, self.max_bytes, self.max_files = folder, suffixes, max_bytes, max_files
        self.paths: list[Path] = []
        self._header, self._value = b"", b""
        self._headers: dict[bytes, bytes] = {}
        self._file: IO[bytes] | None = None
        self._num_bytes = 0

    def callbacks(self) -> "MultipartCallbacks":
        """What the parser calls."""
        return {
            "on_header_field": self._on_field,
            "on_header_value": self._on_value,
            "on_header_end": self._on_header,
            "on_headers_finished": self._begin,
            "on_part_data": self._write,
            "on_part_end": self.close,
        }

    def close(self) -> None:
        """Close the file that is being written."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._headers = {}

    def _on_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header(self) -> None:
        self._headers[self._header.lower()] = self._value
        self._header, self._value = b"", b""

    def _begin(self) -> None:
        _, options = multipart.parse_options_header(self._headers.get(b"content-disposition", b""))
        if b"filename" not in options:
            return
        name = safe_name(options[b"filename"].decode("utf-8", "replace"))
        suffix = Path(name).suffix.lower()
        if suffix not in self.suffixes:
            raise ConfigError(
                f"{name} is not of a type that can be read here: give {', '.join(self.suffixes[:8])}, ..."
            )
        if len(self.paths) >= self.max_files:
            raise ConfigError(f"at most {self.max_files} files can be sent at once: send the others afterwards")
        self._file, self._num_bytes = self._create(name), 0
        self.paths.append(Path(self._file.name))

    def _create(self, name: str) -> IO[bytes]:
        """A new file of this name, or of one like it where another person has sent one of this name."""
        path = self.folder / name
        while True:
            try:
                return path.open("xb")
            except FileExistsError:
                path = self.folder / f"{Path(name).stem}-{secrets.token_hex(3)}{path.suffix}"

    def _write(self, data: bytes, start: int, end: int) -> None:
        if self._file is None:
            return
        self._num_bytes += end - start
        if self._num_bytes > self.max_bytes:
            raise ConfigError(
                f"{self.paths[-1].name} is larger than {self.max_bytes >> 20} MB: trim it or reduce its resolution, or "
                "add it on the machine of the archive (surgvl archive add)"
            )
        self._file.write(data[start:end])


def safe_name(name: str) -> str:
    """A file name without folders and signs that mean something to a shell or a page, at most 80 characters."""
    plain = re.sub(r"[^\w .()-]+", "_", re.split(r"[/\\]", name)[-1]).strip(" .")
    stem, suffix = plain[: plain.rfind(".")] if "." in plain else plain, Path(plain).suffix
    return f"{stem[: 80 - len(suffix)] or 'upload'}{suffix}"


async def receive_recordings(request: Request, folder: Path) -> list[Path]:
    """Write recordings of a form; see `receive_files`."""
    return await receive_files(request, folder, VIDEO_SUFFIXES, MAX_BYTES)


def check_recordings(paths: list[Path]) -> None:
    """Delete all of them, and refuse, if one is not a video or too long.

    Raises:
        DataError: which one, by its name.
    """
    try:
        for path in paths:
            duration_s = video.probe(path).duration_s
            if duration_s > MAX_S:
                limit = f"the limit is {MAX_S / 60:.0f} minutes"
                raise DataError(f"{path} is {duration_s / 60:.0f} minutes long and {limit}: trim it first")
    except DataError as error:
        for path in paths:
            path.unlink(missing_ok=True)
        raise DataError(re.sub(r"\S*/(?=[^/\s]+)", "", str(error))) from error


async def receive_picture(request: Request, folder: Path) -> Path:
    """Write the one picture of a form; see `receive_files`."""
    return (await receive_files(request, folder, IMAGE_SUFFIXES, MAX_PICTURE_BYTES, 1))[0]
