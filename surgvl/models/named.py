"""Models by name: those of the registry, of the hub (`hf:OWNER/NAME`, `hf:FOLDER`), of open_clip (`open_clip:ARCH@TAG`
or `@FILE`), and the same with narrower vectors (`NAME:512`).

A model folder on this machine is what every name ends at. Nothing here uses the network.
"""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from surgvl.core.errors import CheckpointError, ConfigError
from surgvl.core.files import command, file_hash, text_hash, write_json
from surgvl.models.published import registry
from surgvl.models.schema import read_checked
from surgvl.models.shipped import unpack
from surgvl.models.store import CARD, fetching, require_stored, store, stored_hub

OPEN_CLIP, HUB = "open_clip:", "hf:"
# `model_type` of transformers -> the family that takes it.
HUB_FAMILIES = {
    "clip": "transformers",
    "siglip": "transformers",
    "xclip": "transformers_clips",
    "qwen3_vl": "qwen3_vl_embedding",
}
# The family whose vectors may be cut (Matryoshka).
NARROWED = "qwen3_vl_embedding"


def find_named(name: str) -> Path | None:
    """The model folder of a name; None for what is not a name.

    Raises:
        CheckpointError: the model is not on this machine, or its weights are not those of the architecture.
        ConfigError: open_clip does not know the architecture, or a width is not one of the model's.
    """
    if (shipped := unpack(name)) is not None:
        return shipped
    if name in registry():
        return require_stored(name)
    whole, _, width = name.rpartition(":")
    if whole and width.isdecimal():
        folder = Path(whole) if (Path(whole) / "config.json").is_file() else find_named(whole)
        return None if folder is None else _narrower(whole, folder, int(width))
    if name.startswith(HUB):
        return _of_hub(name)
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


def convert_open_clip(folder: Path, arch: str, weights: Path) -> None:
    """Write the model folder of a file of open_clip's weights; its tokenizer, where it needs one, lies next to it."""

    def write(whole: Path) -> None:
        from surgvl.models.adapters.open_clip import OpenClip
        from surgvl.models.checkpoint import save_model

        model, preprocess = OpenClip.convert(weights, weights.parent, {"arch": arch}, whole)
        save_model(model, whole, preprocess)
        _write_card(whole, f"{OPEN_CLIP}{arch}", weights)

    _once(folder, write)


def hub_family(path: Path) -> str | None:
    """The family of a folder of transformers' files; None if it is not a video-text model of one.

    Raises:
        CheckpointError: its `config.json` is missing or damaged.
    """
    config: dict[str, Any] = read_checked(path / "config.json", dict[str, Any])
    family = HUB_FAMILIES.get(str(config.get("model_type")))
    # A Qwen3-VL that answers questions has the same type; one that embeds comes with files of sentence-transformers.
    embeds = (path / "modules.json").is_file() or "embedding" in str(path.resolve()).lower()
    return None if family == NARROWED and not embeds else family


def _of_hub(name: str) -> Path:
    """The model folder of hf:OWNER/NAME or hf:FOLDER, which is written on first use: links to its files.

    What is not a dual encoder of transformers, such as a model of ours or a vision-language model, is its own folder.
    """
    source = stored_hub(name)
    if (family := hub_family(source)) is None:
        return source
    # What was read at conversion; the weights are only linked.
    known = "".join(f"{path.name}{file_hash(path)}" for path in sorted(source.glob("*.json")))
    folder = store() / "transformers" / f"{source.name}-{text_hash(f'{source.resolve()}{known}')[:12]}"

    def write(whole: Path) -> None:
        import surgvl.models.adapters
        from surgvl.core.registry import choose
        from surgvl.models.checkpoint import save_model
        from surgvl.models.video_text import VideoText

        adapter = choose(surgvl.models.adapters, VideoText, family)  # type: ignore[type-abstract]
        model, preprocess = adapter.convert(source / "config.json", source, {}, whole)
        save_model(model, whole, preprocess, has_weights=True)
        _write_card(whole, name, source)

    _once(folder, write)
    return folder


def _narrower(name: str, folder: Path, width: int) -> Path:
    """The model folder of a model with vectors of a different width: links, and its own configuration."""
    config: dict[str, Any] = read_checked(folder / "config.json", dict[str, Any])
    if config.get("family") != NARROWED:
        raise ConfigError(f"{name} has vectors of one width: leave :{width} out")
    tower: dict[str, Any] = read_checked(folder / "tower" / "config.json", dict[str, Any])
    most = int(tower["text_config"]["hidden_size"])
    if not 1 <= width <= most:
        raise ConfigError(f"the width of vectors of {name} must be >= 1 and <= {most}, got {width}: correct it")

    def write(whole: Path) -> None:
        for path in folder.iterdir():
            if path.name != "config.json":
                (whole / path.name).symlink_to(path.absolute())
        write_json(whole / "config.json", {**config, "dim": width, "hidden_size": width})

    narrow = store() / "widths" / f"{folder.name}-{width}"
    _once(narrow, write)
    return narrow


def _write_card(folder: Path, name: str, source: Path) -> None:
    about: Mapping[str, str] = {"name": name, "licence": "unknown", "commercial": "ask"}
    write_json(folder / CARD, {**about, "source": str(source.resolve())})


def _once(folder: Path, write: Callable[[Path], None]) -> None:
    """Write a model folder as a whole unless it is there."""
    if folder.is_dir():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
        whole = Path(temporary) / "model"
        whole.mkdir()
        write(whole)
        try:
            whole.rename(folder)
        except OSError:
            # Another process finished first; its folder is identical.
            if not folder.is_dir():
                raise
