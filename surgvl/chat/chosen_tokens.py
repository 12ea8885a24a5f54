"""Log-probabilities of the tokens that transformers' `generate` chooses, noted on the way.

After the processors of the model and the constraints of the question, before temperature: of the options that may be
written, they sum to 1. Only what is asked for is kept, not the scores of the whole vocabulary.
Shapes: B rows, W tokens of the vocabulary, N generated tokens, K most probable ones.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor


class ChosenTokens(LogitsProcessor):
    """A processor that changes nothing.

    Args:
        num_listed: K.
    """

    def __init__(self, num_listed: int = 0) -> None:
        self.num_listed = num_listed
        self._logprobs: list[Tensor] = []
        self._listed: list[tuple[list[float], list[int]]] = []
        self._last: Tensor | None = None

    def __call__(self, input_ids: Tensor, scores: Any) -> Any:
        """Scores [B, W] of the next token, as they came."""
        if self._last is not None:
            self._note(input_ids[:, -1])
        self._last = scores.float().log_softmax(-1)
        if self.num_listed:
            values, ids = self._last[0].topk(min(self.num_listed, self._last.shape[1]))
            self._listed.append((values.tolist(), ids.tolist()))
        return scores

    def logprobs(self, made: Tensor) -> Tensor:
        """Of the generated tokens int64 [B, N]: float32 [B, N], natural logarithms."""
        if self._last is not None:
            self._note(made[:, -1])
            self._last = None
        return torch.stack(self._logprobs, 1) if self._logprobs else torch.zeros(made.shape)

    @property
    def listed(self) -> list[list[tuple[int, float]]]:
        """Of the first row, the K most probable tokens at the place of each, with their log-probabilities."""
        return [list(zip(ids, values, strict=True)) for values, ids in self._listed]

    def _note(self, chosen: Tensor) -> None:
        assert self._last is not None
        self._logprobs.append(self._last.gather(1, chosen[:, None].to(self._last.device))[:, 0].cpu())
