"""Arguments of tuning: the visual tokens of a chat model, and the stages of its training."""

from dataclasses import dataclass
from typing import Literal

from surgvl.core.checks import check_range
from surgvl.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class VisualTokens:
    """How the encoder's tokens become visual tokens of the language model.

    Args:
        projector: grid (average-pooled to a grid), mlp (every token) or perceiver (learned queries).
        grid: number of visual tokens in time, height and width, for grid; perceiver uses the first number only.
        queries: number of visual tokens per time step of the grid, for perceiver.
    """

    projector: Literal["grid", "mlp", "perceiver"] = "grid"
    grid: tuple[int, int, int] = (2, 4, 4)
    queries: int = 16

    def projector_config(self) -> dict[str, object]:
        """These settings in the form of a model's config.json."""
        return {"kind": self.projector, "grid": list(self.grid), "num_queries": self.queries}


@dataclass(frozen=True, kw_only=True)
class TuningStages:
    """Stages of tuning: the projector, then the language model (run.steps), then all.

    Args:
        projector_steps: steps of stage 1, which trains the projector alone.
        finetune: what stage 2 trains: full (all weights) or lora (adapters), both with the projector; or head, a
            classifier over the known answers on the same backbone: a baseline that cannot generate text.
        encoder_steps: steps of stage 3, which trains everything, the encoder included, on clips.
        lora_rank: rank of the LoRA adapters.
        pack: pack several short conversations into one row of a batch.
        max_tokens: maximum length of a conversation with its visual tokens, and of a packed row.
    """

    projector_steps: int = 100
    finetune: Literal["full", "lora", "head"] = "full"
    encoder_steps: int = 0
    lora_rank: int = 8
    pack: bool = False
    max_tokens: int = 512

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ConfigError: one is out of range, or there is a stage 3 after a classifier.
        """
        check_range("--stages.projector_steps", self.projector_steps, 0)
        check_range("--stages.encoder_steps", self.encoder_steps, 0)
        if self.finetune == "head" and self.encoder_steps:
            raise ConfigError(f"--stages.encoder_steps must be 0 with --finetune head, got {self.encoder_steps}")
