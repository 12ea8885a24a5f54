"""What a model folder says without its weights being loaded: how it takes clips, what it was trained on, its hash.

Nothing here imports torch, so that a command that only hands folders on starts at once.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from surgvl.errors import CheckpointError, ConfigError
from surgvl.io import file_hash, read_json
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

    num_frames: int
    fps: float
    size_px: int
    crop: str = "none"

    def __post_init__(self) -> None:
        """Refuse what no clip can be.

        Raises:
            ConfigError: a count or rate that is not above 0, or an unknown crop.
        """
        for name in ("num_frames", "fps", "size_px"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} {getattr(self, name)} is not above 0: give a number above 0")
        if self.crop not in CROPS:
            raise ConfigError(f"crop {self.crop!r} is unknown; allowed are {', '.join(CROPS)}: choose one")

    @property
    def clip_s(self) -> float:
        """Length of a clip, seconds."""
        return self.num_frames / self.fps


def load_preprocess(folder: Path | str) -> Preprocess:
    """Read `preprocessor_config.json`."""
    values = read_json(Path(folder) / "preprocessor_config.json")
    try:
        return Preprocess(**values)
    except TypeError as error:
        raise CheckpointError(f"{folder}/preprocessor_config.json does not fit ({error}): export the model") from error


def local(name: str | Path) -> Path:
    """A folder as it is; the id of a model on the Hugging Face hub as the folder that it was downloaded to.

    Raises:
        CheckpointError: neither is there.
    """
    path = Path(name)
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
            facts = read_json(record)
            return {
                "pretraining_video_ids": list(facts.get("pretraining_video_ids", [])),
                "frozen": bool(facts.get("frozen", False)),
                "num_trainable": int(facts.get("num_trainable", 0)),
            }
    return {}


def seen(folder: Path) -> list[str]:
    """Ids of the videos that a folder's model was trained on; none where no run is recorded."""
    return list(trained(folder).get("pretraining_video_ids", []))
