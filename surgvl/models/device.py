"""The device on which a model computes, and the precision: float32, or bfloat16 where the device computes in it.

Commands name precisions before torch is imported, so it is imported in the functions.
"""

from typing import TYPE_CHECKING, Literal, TypeVar

from surgvl.core.errors import ConfigError, first_line

if TYPE_CHECKING:
    from torch import nn

M = TypeVar("M", bound="nn.Module")
Precision = Literal["float32", "bfloat16"]


def place(model: M, device: str) -> M:
    """The model on a device, in evaluation mode.

    Raises:
        ConfigError: the device cannot be used.
    """
    from torch import nn

    try:
        # Models of transformers replace `to`, and type it for some of its arguments only.
        nn.Module.to(model, device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"device {device!r} cannot be used ({first_line(error)}): give cpu, or a device of this machine"
        ) from error
    return model.eval()


def set_precision(model: "nn.Module", precision: Precision, device: str) -> None:
    """Convert the weights of a model in place.

    Args:
        model: that takes uint8 clips and gives float32 vectors.
        precision: `bfloat16` halves memory and about halves time; cosines change in the fourth digit.
        device: torch device.

    Raises:
        ConfigError: the processor has no bfloat16 and would emulate it, which is slower than float32.
    """
    if precision == "float32":
        return
    import torch

    if device.startswith("cpu") and not has_bfloat16():
        raise ConfigError(
            "--precision bfloat16 needs a processor with bfloat16 (AVX-512 BF16 or AMX) or a GPU, and this one has "
            "none: leave it out"
        )
    model.to(torch.bfloat16)


def has_bfloat16() -> bool:
    """Whether this processor multiplies in bfloat16."""
    import torch

    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
