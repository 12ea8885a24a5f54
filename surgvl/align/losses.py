"""Contrastive losses between clips and sentences.

Shapes: B clips, U unique sentences of a batch, E width of the shared space; vectors have unit norm.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def unique_sentences(texts: Sequence[Sequence[str]]) -> tuple[list[str], Tensor]:
    """The unique sentences of a batch and the clips they belong to.

    Args:
        texts: the sentences of each of B clips, at least one; case and surrounding blanks are ignored.

    Returns:
        U sentences in order of appearance, and bool [B, U]: true where a sentence belongs to a clip.
    """
    numbers: dict[str, int] = {}
    pairs = [
        (row, numbers.setdefault(text.strip().lower(), len(numbers))) for row, each in enumerate(texts) for text in each
    ]
    positive = torch.zeros(len(texts), len(numbers), dtype=torch.bool)
    positive[tuple(torch.tensor(pairs).T)] = True
    return list(numbers), positive


def contrastive_loss(video: Tensor, text: Tensor, scale: Tensor, positive: Tensor) -> Tensor:
    """Symmetric InfoNCE (CLIP, arXiv 2103.00020) with several positives per row and column and no false negatives.

    A sentence of several clips is one column; a clip with several sentences has several positives. The target of a row
    (and of a column) is uniform over its positives, as in supervised contrastive learning (arXiv 2004.11362). With one
    sentence per clip and no repeats the loss is CLIP's.

    Args:
        video: unit vectors [B, E].
        text: unit vectors [U, E].
        scale: scalar factor of the cosines.
        positive: bool [B, U], from `unique_sentences`; at least one true in each row and column.

    Returns:
        Scalar.
    """
    logits = scale * video @ text.T
    target = positive.to(logits.dtype)
    to_text = F.cross_entropy(logits, target / target.sum(1, keepdim=True))
    to_video = F.cross_entropy(logits.T, target.T / target.T.sum(1, keepdim=True))
    return 0.5 * (to_text + to_video)
