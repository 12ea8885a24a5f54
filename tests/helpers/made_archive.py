"""Small archives: short films, and an embedder without a network whose vectors are known."""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import islice
from pathlib import Path
from string import ascii_lowercase
from tempfile import TemporaryDirectory

import numpy as np

from surgvl import video
from surgvl.archive.archive import Archive
from surgvl.archive.creating import new_folder, write_new
from surgvl.archive.space import Space
from surgvl.core.arrays import Float32Array
from surgvl.core.errors import DataError
from surgvl.embed.embedder import Embedder
from surgvl.prompts import PromptSet, load_sets
from surgvl.video.clip import Preprocess
from tests.helpers.numbered_videos import colourful

DIM = 8
HASH = "0123456789abcdef"
PREPROCESS = Preprocess(num_frames=2, fps=2.0, size_px=8)


def film(path: Path, number: int = 1, seconds: int = 2) -> Path:
    """A video, 5 frames a second; other numbers are other videos."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_film(number, seconds))
    return path


@cache
def _film(number: int, seconds: int) -> bytes:
    with TemporaryDirectory() as folder:
        first, made = 7 * number, Path(folder) / "film.mp4"
        video.write(made, islice(colourful(first + seconds * 5), first, None), 5)
        return made.read_bytes()


def vectors_of(path: Path, count: int) -> Float32Array:
    """Unit vectors that depend on the first bytes of a file."""
    seed = int.from_bytes(hashlib.sha256(path.read_bytes()[:2048]).digest())
    found = np.random.default_rng(seed).normal(size=(count, DIM)).astype(np.float32)
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)


def plain_embedder() -> Embedder:
    """One vector a second; a file that ends with `bad` cannot be read beyond its header."""

    def seconds(path: Path, tick: Callable[[float], object]) -> tuple[Float32Array, list[float], list[float]]:
        if path.read_bytes().endswith(b"bad"):
            raise DataError(f"{path} is damaged at 1.0 s: copy it again")
        count = round(video.probe(path).duration_s)
        for _ in range(count):
            tick(1.0)
        return vectors_of(path, count), [float(at) for at in range(count)], [at + 1.0 for at in range(count)]

    def few(path: Path) -> tuple[Float32Array, list[float], list[float]]:
        return vectors_of(path, 1), [0.0], [video.probe(path).duration_s]

    def texts(sentences: list[str]) -> Float32Array:
        return np.eye(DIM, dtype=np.float32)[[len(each) % DIM for each in sentences]]

    return Embedder("plain", HASH, DIM, PREPROCESS, {}, seconds, texts, few=few)


@cache
def _prompt_sets() -> list[PromptSet]:
    return load_sets(["phantom_phase"])


def empty_archive(folder: Path) -> Archive:
    """An archive of the plain embedder."""
    with new_folder(folder) as home:
        plain = plain_embedder()
        Space.create(home / "spaces" / HASH[:12], plain, _prompt_sets(), plain.texts)
        write_new(home, "", HASH[:12], "plain", "")
    return opened(folder)


def archive_of_films(home: Path, *lengths: int) -> Path:
    """A folder filled with `films`, a.mp4, b.mp4 and so on of some seconds, and with their `archive`."""
    for number, (name, seconds) in enumerate(zip(ascii_lowercase, lengths, strict=False), 1):
        film(home / f"films/{name}.mp4", number, seconds)
    with empty_archive(home / "archive") as archive:
        archive.add([home / "films"])
    return home


def copy_of(made: Path, place: Path) -> Archive:
    """The archive in a copy of such a folder."""
    shutil.copytree(made, place, dirs_exist_ok=True)
    return opened(place / "archive")


def opened(folder: Path) -> Archive:
    """The same, opened again."""
    archive = Archive.open(folder)
    archive.embedder = plain_embedder()
    return archive


def without_few(embedder: Embedder) -> Embedder:
    """The same as of a server, which cannot embed a few clips."""
    return replace(embedder, few=None)
