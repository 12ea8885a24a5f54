"""What a model folder says without its weights being loaded: how it takes clips, what it was trained on, its hash.

Nothing here imports torch, so that a command that only hands folders on starts at once.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict

from surgvl.core.errors import CheckpointError, ConfigError
from surgvl.core.files import file_hash
from surgvl.models.schema import AnswersFile, Crop, Rate, RunFile, Side, read_checked
from surgvl.models.shipped import unpack

CROPS = ("none", "content")


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """How a clip is cut from a video for a model.

    Args:
        num_frames: frames of a clip, T.
        fps: frames per second of video time.
        size_px: side of the square frames.
        crop: `none`, or `content` to cut black borders and to bound a round content area before resizing.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    num_frames: Side
    fps: Rate
    size_px: Side
    crop: Crop = "none"

    def __post_init__(self) -> None:
        """Refuse what no clip can be.

        Raises:
            ConfigError: a count or rate that is not above 0 or beyond all clips, or an unknown crop.
        """
        for name, most in (("num_frames", 4096), ("fps", 1000), ("size_px", 4096)):
            if not 0 < getattr(self, name) <= most:
                raise ConfigError(f"{name} {getattr(self, name)} is not above 0 and up to {most}: give such a number")
        if self.crop not in CROPS:
            raise ConfigError(f"crop {self.crop!r} is unknown; allowed are {', '.join(CROPS)}: choose one")

    @property
    def clip_s(self) -> float:
        """Length of a clip, seconds."""
        return self.num_frames / self.fps


def load_preprocess(folder: Path | str) -> Preprocess:
    """Read `preprocessor_config.json`.

    Raises:
        CheckpointError: absent, or a field that is not what it should be.
    """
    return read_checked(Path(folder) / "preprocessor_config.json", Preprocess)


def load_answers(folder: Path | str) -> AnswersFile:
    """Read `answers.json` of a model folder or run folder; nothing is known where there is none.

    Raises:
        CheckpointError: a field that is not what it should be.
    """
    path = find_model(folder) / "answers.json"
    return read_checked(path, AnswersFile) if path.is_file() else AnswersFile(answers=[])


def local(name: str | Path) -> Path:
    """A folder as it is; the id of a model on the Hugging Face hub as the folder that it was downloaded to.

    Raises:
        CheckpointError: neither is there.
    """
    path = Path(name)
    if "\0" in str(name):
        raise CheckpointError(f"{str(name)!r} holds a NUL character, which no path has: correct it")
    if path.exists() or str(name).count("/") != 1:
        return path
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(str(name)))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        first = str(error).splitlines()[0]
        raise CheckpointError(f"{name} is neither a folder nor to be had from the hub ({first}): check it") from error


def find_model(folder: Path | str) -> Path:
    """The model folder itself, `model/` inside a run folder, or that of a model that ships (see `models.shipped`).

    Raises:
        CheckpointError: neither holds a `config.json`.
    """
    if "\0" in str(folder):
        raise CheckpointError(f"{str(folder)!r} holds a NUL character, which no path has: correct it")
    folder = Path(folder)
    for candidate in (folder, folder / "model"):
        if (candidate / "config.json").is_file():
            return candidate
    if (shipped := unpack(str(folder))) is not None:
        return shipped
    raise CheckpointError(f"{folder} holds no config.json, nor does its model/: give a model folder or a run folder")


def model_hash(folder: Path | str) -> str:
    """Hash of a model folder's configuration and weights, 16 hex digits."""
    folder = find_model(folder)
    parts = (file_hash(folder / name) for name in ("config.json", "preprocessor_config.json", "model.safetensors"))
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:16]


def trained(folder: Path) -> dict[str, Any]:
    """Of a run folder's or model folder's model: ids of the videos it was trained on, whether its encoder was frozen,
    and how many parameters were trained; empty where no run is recorded.
    """
    folder = (unpack(str(folder)) or folder).resolve()
    for record in (folder / "run.json", folder.parent / "run.json"):
        if record.is_file():
            return read_checked(record, RunFile).model_dump(include=set(RunFile.model_fields))
    return {}


def seen(folder: Path) -> list[str]:
    """Ids of the videos that a folder's model was trained on; none where no run is recorded."""
    return list(trained(folder).get("pretraining_video_ids", []))
