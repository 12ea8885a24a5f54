"""Models in the package: `phantom`, a video-text model, and `phantom-chat`, a chat model.

Both were trained on rendered operations (`benchmarks/ship_phantom.py`) and share an encoder, which is stored once; all
weights are float16. On first use they are unpacked to ordinary model folders in the user's cache:
`$SURGVL_CACHE`, else `$XDG_CACHE_HOME/surgvl`, else `~/.cache/surgvl`.
"""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from surgvl.core.files import file_hash

PACKED = Path(__file__).parent / "phantom"
# Name -> folder in PACKED.
MODELS = {"phantom": "dual", "phantom-chat": "chat"}
ENCODER = "encoder.safetensors"


def cache() -> Path:
    """The folder of unpacked models."""
    chosen, home = os.environ.get("SURGVL_CACHE"), os.environ.get("XDG_CACHE_HOME")
    return Path(chosen) if chosen else (Path(home) if home else Path.home() / ".cache") / "surgvl"


def unpack(name: str) -> Path | None:
    """Model folder of a shipped model, float32, unpacked on first use; None for any other name."""
    if name not in MODELS:
        return None
    packed = PACKED / MODELS[name]
    files = [PACKED / ENCODER, *sorted(path for path in packed.iterdir() if path.is_file())]
    version = hashlib.sha256("".join(map(file_hash, files)).encode()).hexdigest()[:12]
    folder = cache() / f"{name}-{version}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{name}-") as temporary:
        whole = Path(temporary) / "model"
        shutil.copytree(packed, whole)
        weights = {**load_file(PACKED / ENCODER), **load_file(packed / "model.safetensors")}
        save_file(
            {key: value.astype(np.float32) for key, value in weights.items()},
            whole / "model.safetensors",
            metadata={"format": "pt"},
        )
        try:
            whole.rename(folder)
        except OSError:
            # Another process finished first; its folder is identical.
            if not folder.is_dir():
                raise
    return folder


def pack(dual: Path, chat: Path, facts: dict[str, dict[str, object]]) -> None:
    """Replace the packaged models by two model folders that share an encoder.

    Args:
        dual: folder of the video-text model.
        chat: folder of the chat model.
        facts: `run.json` of each, by folder in PACKED.

    Raises:
        ValueError: their encoders differ.
    """
    from surgvl.core.files import write_json

    parts = {"dual": load_file(dual / "model.safetensors"), "chat": load_file(chat / "model.safetensors")}
    names = [name for name in parts["dual"] if name.startswith("encoder.")]
    for name in names:
        if not np.array_equal(parts["dual"][name], parts["chat"][name]):
            raise ValueError(f"the encoders of {chat} and {dual} differ ({name}): tune the chat model on that encoder")
    shutil.rmtree(PACKED, ignore_errors=True)
    PACKED.mkdir()
    small = {name: value.astype(np.float16) for name, value in parts["dual"].items() if name in names}
    save_file(small, PACKED / ENCODER, metadata={"format": "pt"})
    for kind, source in (("dual", dual), ("chat", chat)):
        shutil.copytree(source, PACKED / kind, ignore=shutil.ignore_patterns("*.safetensors"))
        small = {name: value.astype(np.float16) for name, value in parts[kind].items() if name not in names}
        save_file(small, PACKED / kind / "model.safetensors", metadata={"format": "pt"})
        write_json(PACKED / kind / "run.json", facts[kind])
