"""Models by name: `open_clip:ARCH@FILE` and `open_clip:ARCH@TAG`, of which the first is converted on first use.

A model folder in the user's cache is what every name ends at. Nothing here uses the network.
"""

import tempfile
from pathlib import Path

from surgvl.core.errors import CheckpointError
from surgvl.core.files import command, file_hash, write_json
from surgvl.models.shipped import cache

OPEN_CLIP = "open_clip:"


def find_named(name: str) -> Path | None:
    """The model folder of a name with a prefix; None for any other.

    Raises:
        CheckpointError: the model is not on this machine, or its weights are not those of the architecture.
        ConfigError: open_clip does not know the architecture.
    """
    if not name.startswith(OPEN_CLIP):
        return None
    arch, _, weights = name.removeprefix(OPEN_CLIP).partition("@")
    if not weights:
        raise CheckpointError(f"{name} names no weights: give open_clip:ARCH@TAG, or open_clip:ARCH@FILE")
    path = Path(weights)
    if not path.is_file():
        folder = named_folder(f"open_clip--{arch}--{weights}")
        if folder.is_dir():
            return folder
        raise CheckpointError(
            f"{name} is not on this machine: `{command('models fetch', name)}` fetches it; or give a file, as "
            f"open_clip:{arch}@FILE"
        )
    folder = named_folder(f"open_clip--{arch}--{file_hash(path)}")
    if not folder.is_dir():
        convert_into(folder, arch, path)
    return folder


def named_folder(name: str) -> Path:
    """Where the model folder of a name lies."""
    return cache() / "models" / name


def convert_into(folder: Path, arch: str, weights: Path, tag: str = "") -> None:
    """Write the model folder of a file of open_clip's weights; its tokenizer, where it needs one, lies next to it."""
    from surgvl.models.adapters.open_clip import OpenClip
    from surgvl.models.checkpoint import save_model

    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
        whole = Path(temporary) / "model"
        whole.mkdir()
        model, preprocess = OpenClip.convert(weights, weights.parent, {"arch": arch, "tag": tag}, whole)
        save_model(model, whole, preprocess)
        card = {
            "name": f"open_clip:{arch}",
            "licence": "unknown",
            "commercial": "ask",
            "source": str(weights.resolve()),
        }
        write_json(whole / "model_card.json", card)
        try:
            whole.rename(folder)
        except OSError:
            # Another process finished first; its folder is identical.
            if not folder.is_dir():
                raise
