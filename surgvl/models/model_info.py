"""What a model folder says without its weights being loaded: how it takes clips, what it was trained on, its hash.

Nothing here imports torch, so that a command that only hands folders on starts at once.
"""

import hashlib
from pathlib import Path
from typing import Any

from surgvl.core.errors import CheckpointError
from surgvl.core.files import file_hash
from surgvl.models.schema import AnswersFile, RunFile, read_checked
from surgvl.models.shipped import unpack
from surgvl.video.clip import Preprocess


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
