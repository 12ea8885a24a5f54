"""Instruction tuning: the language model learns to answer from the visual tokens of an encoder.

Stages, as in LLaVA (arXiv 2304.08485): the projector alone; then the projector with the language model, fully or
through LoRA (arXiv 2106.09685); then, optionally, the encoder too. While the encoder is frozen, the features of each
clip are computed once and stored.
"""

from typing import Any, Protocol

import torch.nn.functional as F
from torch import Tensor, nn

from surgvl.chat.template import IGNORE, training_batch
from surgvl.core.errors import ConfigError
from surgvl.models.chat import Chat
from surgvl.train.lora import with_lora
from surgvl.train.objective import Objective

TRAIN = ("projector", "full", "lora", "encoder")


class Monitor(Protocol):
    """Evaluates held-out questions during training."""

    def begin(self, progress: float) -> None:
        """Called where training starts or resumes, at `progress` in [0, 1]."""

    def __call__(self, chat: Chat, progress: float) -> dict[str, Tensor]:
        """Scalars for the log."""


class Tune(Objective):
    """Next-token loss on answers.

    Args:
        chat: trained in place.
        train: `projector`, `full` (projector and language model), `lora` (projector and adapters) or `encoder` (all).
        lora_rank: rank of the adapters.
        max_tokens: longest question with its visual tokens and its answer.
        pack: several short conversations in one row, masked from one another.
        held_out: called at logging steps with the model and the progress in [0, 1]; returns scalars to log.

    Raises:
        ConfigError: another value of `train`.
    """

    def __init__(
        self,
        chat: Chat,
        train: str,
        lora_rank: int = 8,
        max_tokens: int = 256,
        pack: bool = False,
        held_out: Monitor | None = None,
    ):
        super().__init__()
        if train not in TRAIN:
            raise ConfigError(f"train must be one of {', '.join(TRAIN)}, got {train!r}")
        self.chat, self.max_tokens, self.pack, self.held_out = chat, max_tokens, pack, held_out
        self.progress = 0.0
        chat.requires_grad_(False)
        chat.projector.requires_grad_(True)
        if train in ("full", "encoder"):
            chat.language.requires_grad_(True)
        if train == "encoder":
            chat.encoder.requires_grad_(True)
        if train == "lora":
            chat.language = with_lora(chat.language, lora_rank, "all-linear", "CAUSAL_LM")

    def modules_to_compile(self) -> list[nn.Module]:
        """Nothing: text lengths differ from batch to batch."""
        return []

    def begin(self, progress: float) -> None:
        """Record where training starts or resumes."""
        self.progress = progress
        if self.held_out is not None:
            self.held_out.begin(progress)

    def after_step(self, progress: float) -> None:
        """Record the progress of training."""
        self.progress = progress

    def monitor(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Scalars of held-out questions."""
        return {} if self.held_out is None else self.held_out(self.chat, self.progress)

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Loss and token accuracy of a batch.

        The batch holds `pooled` [B, V, D] (or `video` [B, 3, T, H, W]), lists `question` and `answer`, and for
        conversations `earlier`, the turns before.
        """
        chat = self.chat
        texts = batch["question"], batch["answer"]
        rows, order = training_batch(chat.ready, *texts, self.max_tokens, self.pack, batch.get("earlier"))
        pooled = batch["pooled"] if "pooled" in batch else chat.encode_visual(batch["video"])
        rows = rows.to(pooled.device)
        # Right padding needs no mask, because attention is causal; packed rows do.
        mask = rows.mask(chat.dtype) if self.pack else None
        logits = chat(
            rows.ids, pooled=pooled[order], attention_mask=mask, position_ids=rows.positions if self.pack else None
        ).logits[:, :-1]
        expected = rows.labels[:, 1:]
        loss = F.cross_entropy(logits.flatten(0, 1).float(), expected.flatten(), ignore_index=IGNORE)
        right = (logits.argmax(-1) == expected) & (expected != IGNORE)
        return {"loss": loss, "token_accuracy": right.sum() / (expected != IGNORE).sum()}


def merge_lora(language: Any) -> Any:
    """The plain language model with the adapters added into its weights; itself where it has none."""
    return language.merge_and_unload() if hasattr(language, "merge_and_unload") else language
