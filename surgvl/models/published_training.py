"""What is known of the training of a model that has no run: what the registry says, or that nobody says it."""

from pathlib import Path
from typing import Any

from surgvl.core.operations import UNKNOWN
from surgvl.models.published import Published, registry
from surgvl.models.schema import read_checked
from surgvl.models.store import CARD, WHOLE, Card


def published_training(folder: Path) -> dict[str, Any]:
    """`pretraining_video_ids` of a model, which its card or its repository on the hub names; `unknown:*` without.

    Args:
        folder: its folder, or a file of weights.

    Raises:
        CheckpointError: the card is damaged.
    """
    if (folder / CARD).is_file():
        return _said(registry().get(read_checked(folder / CARD, Card).name))
    return repository_training(_repository(folder))


def repository_training(repo: str) -> dict[str, Any]:
    """The same of a repository of the hub.

    Args:
        repo: OWNER/NAME, or any other name of a model, of which nothing is known.
    """
    own = (entry for entry in registry().values() if repo in {file.hub for file in entry.files[:1]})
    return _said(next(own, None))


def _said(entry: Published | None) -> dict[str, Any]:
    return {"pretraining_video_ids": entry.seen_ids if entry else [UNKNOWN]}


def _repository(folder: Path) -> str:
    """The repository of the hub that a folder is a copy of: one of the store, or of the cache of huggingface_hub."""
    if (folder / WHOLE).is_file():
        return str(read_checked(folder / WHOLE, dict[str, Any]).get("repo", ""))
    name = folder.parent.parent.name
    return name.removeprefix("models--").replace("--", "/", 1) if name.startswith("models--") else ""
