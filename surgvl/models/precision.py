"""The precision in which a model encodes: float32, or bfloat16 where the device computes in it."""

from typing import TYPE_CHECKING, Literal

from surgvl.core.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

Precision = Literal["float32", "bfloat16"]


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
    # Commands name precisions before torch is imported.
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
