"""A model of transformers inside a model folder: its own files in `tower/`, read by transformers' own loader.

The files of a published model are large, so that its folder holds links to them; a trained model has files of its own.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn

from surgvl.core.errors import CheckpointError
from surgvl.core.files import temporary_path
from surgvl.models.foreign import check_finite, foreign, without_notes
from surgvl.models.model_info import TOWER
from surgvl.models.schema import read_checked

WEIGHTS = "*.safetensors"
# What transformers reads of a repository, without code and pickles.
FILES = (WEIGHTS, "*.json", "*.txt", "*.model", "*.jinja")


def link_tower(files: Path, folder: Path) -> Path:
    """Link the files of a repository into `tower/` of a model folder, which is returned.

    Raises:
        CheckpointError: there is no configuration, or there are no weights as safetensors.
    """
    found = [path for path in sorted(files.iterdir()) if path.is_file() and any(fnmatch(path.name, x) for x in FILES)]
    if not (files / "config.json").is_file():
        raise CheckpointError(f"{files} holds no config.json of transformers: give the folder of the whole repository")
    if not any(path.suffix == ".safetensors" for path in found):
        raise CheckpointError(
            f"{files} holds no {WEIGHTS}: pickles are not read; give a revision of the repository with safetensors"
        )
    tower = folder / TOWER
    tower.mkdir(exist_ok=True)
    for path in found:
        (tower / path.name).symlink_to(path.resolve())
    return tower


def tower_type(tower: Path) -> str:
    """The `model_type` of a model of transformers; empty where it has none.

    Raises:
        CheckpointError: its `config.json` cannot be read.
    """
    config: dict[str, Any] = read_checked(tower / "config.json", dict[str, Any])
    return str(config.get("model_type", ""))


def load_tower(
    kind: type[transformers.PreTrainedModel],
    tower: Path,
    dtype: torch.dtype | str = torch.float32,
    spare: tuple[str, ...] = (),
) -> Any:
    """Load a model strictly, without code from its folder.

    Args:
        kind: its class in transformers.
        tower: its folder.
        dtype: of its weights; `auto` for that of the files.
        spare: weights that the files may have more than the model.

    Raises:
        CheckpointError: a weight is missing, unknown, of a different shape, NaN or infinite; the message names it.
    """
    with foreign(f"{tower} holds no {kind.__name__} that transformers can load"), quiet():
        loaded: Any = kind.from_pretrained(
            tower,
            dtype=dtype,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
        model, info = loaded
    missing, extra = sorted(info["missing_keys"]), sorted(set(info["unexpected_keys"]) - set(spare))
    odd = sorted(str(each[0] if isinstance(each, tuple) else each) for each in info["mismatched_keys"])
    if missing or extra or odd:
        raise CheckpointError(
            f"{tower} does not fit its config.json: missing {missing[:3]}, unknown {extra[:3]}, of a different shape "
            f"{odd[:3]} ({len(missing)}, {len(extra)} and {len(odd)} in all): give the weights of a {kind.__name__}"
        )
    check_finite(model.state_dict(), tower)
    model.eval()
    return model


def save_tower(model: nn.Module, before: Path, folder: Path) -> None:
    """Write `tower/` of a model folder with the model's weights; they never go through a link to the original.

    Args:
        model: of transformers.
        before: the tower that it came from, whose tokenizer and preprocessor are copied.
        folder: the model folder.
    """
    assert isinstance(model, transformers.PreTrainedModel)
    tower, fresh = folder / TOWER, temporary_path(folder / TOWER)
    fresh.mkdir(parents=True)
    with quiet():
        model.save_pretrained(fresh)
    for path in before.iterdir():
        if path.suffix != ".safetensors" and ".safetensors." not in path.name and not (fresh / path.name).exists():
            shutil.copyfile(path, fresh / path.name)
    if tower.exists():
        shutil.rmtree(tower)
    fresh.rename(tower)


@contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' notes, warnings and bars."""
    bars = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()
    try:
        with without_notes():
            yield
    finally:
        if bars:
            transformers.utils.logging.enable_progress_bar()
