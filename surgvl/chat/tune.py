"""Instruction tuning: the language model learns to answer from the visual tokens of a frozen encoder.

Two stages, as in LLaVA (arXiv 2304.08485): the projector alone, then the projector with the language model, whole or
through LoRA (arXiv 2106.09685). The encoder is frozen, so clips are seen once and their pooled tokens stored.
"""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from surgvl.chat.template import IGNORE, training_batch
from surgvl.errors import ConfigError
from surgvl.models.chat import Chat
from surgvl.objective import Objective

TRAIN = ("projector", "full", "lora")


class Tune(Objective):
    """Next-token loss on answers.

    Args:
        chat: trained in place.
        train: `projector`, `full` (projector and language model) or `lora` (projector and adapters).
        lora_rank: rank of the adapters.
        max_tokens: longest question with its answer.

    Raises:
        ConfigError: `train` is none of these.
    """

    def __init__(self, chat: Chat, train: str, lora_rank: int = 8, max_tokens: int = 256):
        super().__init__()
        if train not in TRAIN:
            raise ConfigError(f"train={train!r} is unknown; allowed are {', '.join(TRAIN)}: choose one")
        self.chat, self.max_tokens = chat, max_tokens
        chat.requires_grad_(False)
        chat.projector.requires_grad_(True)
        if train == "full":
            chat.language.requires_grad_(True)
        if train == "lora":
            chat.language = with_lora(chat.language, lora_rank)

    def compiled(self) -> list[nn.Module]:
        """Nothing: the length of a text differs from batch to batch."""
        return []

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Loss and token accuracy of a batch.

        The batch holds `pooled` [B, V, D] (or `video` [B, 3, T, H, W]), and lists `question` and `answer`.
        """
        chat = self.chat
        pooled = batch["pooled"] if "pooled" in batch else chat.see(batch["video"])
        ids, mask, labels = (
            part.to(pooled.device)
            for part in training_batch(chat.tokenizer, batch["question"], batch["answer"], self.max_tokens)
        )
        logits = chat(pooled.float(), ids, mask)[:, :-1]
        expected = labels[:, 1:]
        loss = F.cross_entropy(logits.flatten(0, 1).float(), expected.flatten(), ignore_index=IGNORE)
        right = (logits.argmax(-1) == expected) & (expected != IGNORE)
        return {"loss": loss, "token_accuracy": right.sum() / (expected != IGNORE).sum()}


def with_lora(language: Any, rank: int) -> Any:
    """The language model with trainable low-rank adapters on its attention and perceptron layers.

    Raises:
        ConfigError: peft is not installed.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise ConfigError("LoRA needs peft, which is not installed: pip install 'surgvl[train]'") from error
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
    return get_peft_model(language, config)


def merge_lora(language: Any) -> Any:
    """The plain language model with the adapters added into its weights; itself where it has none."""
    return language.merge_and_unload() if hasattr(language, "merge_and_unload") else language
