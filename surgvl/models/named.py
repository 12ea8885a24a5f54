"""Models by name: those of the registry, of the hub (`hf:OWNER/NAME`), and of open_clip (`open_clip:ARCH@FILE`).

A model folder on this machine is what every name ends at. Nothing here uses the network.
"""

import tempfile
from pathlib import Path

from surgvl.core.errors import CheckpointError
from surgvl.core.files import command, file_hash, write_json
from surgvl.models.published import registry
from surgvl.models.shipped import unpack
from surgvl.models.store import CARD, fetching, require_stored, store, stored_hub

OPEN_CLIP, HUB = "open_clip:", "hf:"


def find_named(name: str) -> Path | None:
    """The model folder of a name; None for what is no name.

    Raises:
        CheckpointError: the model is not on this machine, or its weights are not those of the architecture.
        ConfigError: open_clip does not know the architecture.
    """
    if (shipped := unpack(name)) is not None:
        return shipped
    if name in registry():
        return require_stored(name)
    if name.startswith(HUB):
        return stored_hub(name)
    return _open_clip(name) if name.startswith(OPEN_CLIP) else None


def _open_clip(name: str) -> Path:
    """The model folder of open_clip:ARCH@TAG, or of open_clip:ARCH@FILE, which is written on first use."""
    arch, _, weights = name.removeprefix(OPEN_CLIP).partition("@")
    if not weights:
        raise CheckpointError(f"{name} names no weights: give open_clip:ARCH@TAG, or open_clip:ARCH@FILE")
    for entry in registry().values():
        if entry.arguments == {"arch": arch, "tag": weights}:
            return require_stored(entry.name)
    path = Path(weights)
    folder = open_clip_folder(arch, file_hash(path) if path.is_file() else weights)
    if not folder.is_dir() and not path.is_file():
        if fetching():
            from surgvl.models.install import fetch_named

            return fetch_named(name)
        raise CheckpointError(
            f"{name} is not on this machine: `{command('models fetch', name)}` fetches it; or give a file, as "
            f"open_clip:{arch}@FILE"
        )
    if not folder.is_dir():
        convert_open_clip(folder, arch, path)
    return folder


def open_clip_folder(arch: str, weights: str) -> Path:
    """Where the model folder of open_clip's weights lies."""
    return store() / "open_clip" / f"{arch}@{weights}"


def convert_open_clip(folder: Path, arch: str, weights: Path, tag: str = "") -> None:
    """Write the model folder of a file of open_clip's weights; its tokenizer, where it needs one, lies next to it."""
    from surgvl.models.adapters.open_clip import OpenClip
    from surgvl.models.checkpoint import save_model

    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
        whole = Path(temporary) / "model"
        whole.mkdir()
        model, preprocess = OpenClip.convert(weights, weights.parent, {"arch": arch, "tag": tag}, whole)
        save_model(model, whole, preprocess)
        about = {"name": f"{OPEN_CLIP}{arch}", "licence": "unknown", "commercial": "ask"}
        write_json(whole / CARD, {**about, "source": str(weights.resolve())})
        try:
            whole.rename(folder)
        except OSError:
            # Another process finished first; its folder is identical.
            if not folder.is_dir():
                raise
