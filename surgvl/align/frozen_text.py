"""A frozen text tower: its output for each sentence of the training data, computed once and kept.

Only the projection to the shared space is then trained (locked tuning, arXiv 2111.07991, of the text instead of the
image), so sentences that mean the same to the pretrained tower stay neighbours, in words that no narrator used.
Shapes: U sentences, W width of the tower's output before the projection.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from surgvl.align.losses import unique_sentences
from surgvl.models.text import TextTower

BATCH = 64


class FrozenText(nn.Module):
    """Output of a text tower's pretrained part for known sentences.

    Args:
        tower: with its weights; its pretrained part is put in evaluation mode.
        sentences: all that will be asked for; case and surrounding blanks are ignored.
    """

    pooled: Tensor

    def __init__(self, tower: TextTower, sentences: Sequence[str]):
        super().__init__()
        known, _ = unique_sentences([sentences])
        self.rows = {sentence: row for row, sentence in enumerate(known)}
        tower.pretrained.eval()
        with torch.no_grad():
            batches = [known[at : at + BATCH] for at in range(0, len(known), BATCH)]
            pooled = torch.cat([tower.pool_ids(tower.tokenize(batch)) for batch in batches])
        # Follows the module to its device, and is in no checkpoint.
        self.register_buffer("pooled", pooled, persistent=False)

    def forward(self, sentences: Sequence[str]) -> Tensor:
        """Output for sentences of `unique_sentences`, [U, W]."""
        return self.pooled[[self.rows[sentence] for sentence in sentences]]
