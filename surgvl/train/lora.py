"""Low-rank adapters (LoRA, Hu et al., arXiv 2106.09685), which peft adds to a model."""

from collections.abc import Sequence
from typing import Any

from surgvl.core.errors import ConfigError


def with_lora(model: Any, rank: int, targets: str | Sequence[str], task_type: str | None = None) -> Any:
    """The model with trainable adapters of peft in linear layers; all other weights are frozen.

    Args:
        model: the model, which is changed.
        rank: of the adapters; they are scaled by 2.
        targets: names of the layers, or peft's `all-linear`.
        task_type: peft's name of the model's task; None: none.

    Raises:
        ConfigError: peft is not installed.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise ConfigError("LoRA needs peft, which is not installed: pip install 'surgvl[train]'") from error
    layers = targets if isinstance(targets, str) else list(targets)
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=layers, task_type=task_type)
    return get_peft_model(model, config)
