"""Serving a vision-language model of transformers as it is: its folder goes to vLLM, behind our gateway."""

from pathlib import Path
from typing import Any

from surgvl.chat.vision_language_config import ADAPTER, adapter_folder
from surgvl.core.errors import CheckpointError
from surgvl.core.files import read_json
from surgvl.models.store import stored_hub

BASE = "surgvl-base"
"""Name of the model below an adapter, which has the name that clients use."""
# What decides how pixels become numbers, and what holds where a file does not say; mean and standard deviation have no
# common default.
NORMALISATION = {
    **{"do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True},
    **{"image_mean": None, "image_std": None},
}


def general_folder(name: str) -> Path:
    """What vLLM is given for `hf:` and a folder or hub id, or for the folder of an adapter: the model without it.

    Raises:
        CheckpointError: a folder that holds no model, or a hub id that is not on this machine.
    """
    if (adapter := adapter_folder(name)) is not None:
        name = str(read_json(adapter / ADAPTER).get("base_model_name_or_path"))
    found = stored_hub(name)
    if not (found / "config.json").is_file():
        raise CheckpointError(f"{found} holds no config.json: give a folder of transformers, or a hub id")
    return found


def general_flags(name: str, served: str) -> list[str]:
    """Flags of `vllm serve` for such a model, besides those of every model.

    Args:
        name: as for `general_folder`.
        served: name that clients use.
    """
    # By default, vLLM 0.32 normalises videos inside the model, by the numbers that are meant for pictures.
    apart = ["--no-mm-device-do-normalize"] if normalises_apart(general_folder(name)) else []
    if (adapter := adapter_folder(name)) is None:
        return apart
    rank = int(read_json(adapter / ADAPTER)["r"])
    # vLLM knows some ranks only.
    most = next((each for each in (8, 16, 32, 64, 128, 256, 320, 512) if each >= rank), rank)
    return [
        *apart,
        *("--enable-lora", "--max-lora-rank", str(most), "--lora-modules", f"{served}={adapter.resolve()}"),
        *("--served-model-name", BASE),
    ]


def normalises_apart(folder: Path) -> bool:
    """Whether the processor in a folder normalises videos by other numbers than pictures.

    Args:
        folder: of transformers, with the processor in one file or in one for each kind of media.
    """

    def read(name: str) -> dict[str, Any]:
        return dict(read_json(folder / name)) if (folder / name).is_file() else {}

    both = read("processor_config.json")
    pictures = both.get("image_processor") or read("preprocessor_config.json")
    videos = both.get("video_processor") or read("video_preprocessor_config.json") or pictures
    return any(pictures.get(name, value) != videos.get(name, value) for name, value in NORMALISATION.items())


def describe_general(model: str, trained: dict[str, Any] | None = None) -> dict[str, Any]:
    """What clients get in place of preprocessing and known answers, which such a model does not have.

    Args:
        model: its name.
        trained: the record of its training, where it is known (`surgvl.models.model_info.training_record`).
    """
    return {"general": True, "model": model, "trained": trained or {}}
