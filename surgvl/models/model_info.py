"""Facts about a model folder without loading its weights: preprocessing, training data, hash.

It imports no torch, so commands that only pass folders on start at once.
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
        CheckpointError: it is missing, or a field is invalid.
    """
    return read_checked(Path(folder) / "preprocessor_config.json", Preprocess)


def load_answers(folder: Path | str) -> AnswersFile:
    """Read `answers.json` of a model folder or run folder; no answers where there is none.

    Raises:
        CheckpointError: a field is invalid.
    """
    path = find_model(folder) / "answers.json"
    return read_checked(path, AnswersFile) if path.is_file() else AnswersFile(answers=[])


def resolve_model(name: str | Path) -> Path:
    """The path of a model: a folder as given, or the download folder of a Hugging Face hub id.

    Raises:
        CheckpointError: neither exists.
    """
    path = Path(name)
    if "\0" in str(name):
        raise CheckpointError(f"{str(name)!r} holds a NUL character, which no path can: correct it")
    if path.exists() or str(name).count("/") != 1:
        return path
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(str(name)))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        first = str(error).splitlines()[0]
        raise CheckpointError(f"{name} is neither a folder nor a model on the hub ({first}): check the name") from error


def find_model(folder: Path | str) -> Path:
    """The model folder: the folder itself, `model/` in a run folder, or a shipped model's (see `models.shipped`).

    Raises:
        CheckpointError: neither holds a `config.json`.
    """
    if "\0" in str(folder):
        raise CheckpointError(f"{str(folder)!r} holds a NUL character, which no path can: correct it")
    folder = Path(folder)
    for candidate in (folder, folder / "model"):
        if (candidate / "config.json").is_file():
            return candidate
    if (shipped := unpack(str(folder))) is not None:
        return shipped
    raise CheckpointError(f"{folder} holds no config.json, nor does its model/: give a model folder or a run folder")


def model_hash(folder: Path | str) -> str:
    """SHA-256 of a model folder's configuration and weights, 16 hex digits."""
    folder = find_model(folder)
    parts = (file_hash(folder / name) for name in ("config.json", "preprocessor_config.json", "model.safetensors"))
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:16]


def training_record(folder: Path) -> dict[str, Any]:
    """How the model of a run folder or model folder was trained, from `run.json`; empty where that is missing.

    Returns:
        `pretraining_video_ids`: ids of all videos it was trained on, `frozen`: whether its encoder was frozen, and
        `num_trainable`: the number of trained parameters.

    Raises:
        CheckpointError: a field is invalid.
    """
    folder = (unpack(str(folder)) or folder).resolve()
    for record in (folder / "run.json", folder.parent / "run.json"):
        if record.is_file():
            return read_checked(record, RunFile).model_dump(include=set(RunFile.model_fields))
    return {}


def pretraining_video_ids(folder: Path) -> list[str]:
    """Ids of the videos that a folder's model was trained on; none where no `run.json` is found."""
    return list(training_record(folder).get("pretraining_video_ids", []))
