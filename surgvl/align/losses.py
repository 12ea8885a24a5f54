"""Contrastive losses between clips and sentences.

Shapes: B clips, U different sentences of a batch, E width of the shared space; vectors are unit vectors.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def pairs(texts: Sequence[Sequence[str]]) -> tuple[list[str], Tensor]:
    """The different sentences of a batch and which clip they are spoken over.

    Args:
        texts: for each of B clips, its sentences, at least one; case and outer blanks do not count.

    Returns:
        U sentences in order of appearance, and bool [B, U]: true where a clip carries a sentence.
    """
    numbers: dict[str, int] = {}
    own = [[numbers.setdefault(text.strip().lower(), len(numbers)) for text in each] for each in texts]
    positive = torch.zeros(len(texts), len(numbers), dtype=torch.bool)
    for row, columns in enumerate(own):
        positive[row, columns] = True
    return list(numbers), positive


def contrastive(video: Tensor, text: Tensor, scale: Tensor, positive: Tensor) -> Tensor:
    """Symmetric InfoNCE (CLIP, arXiv 2103.00020) in which what belongs together is never a negative.

    A sentence that several clips carry is one column; a clip that carries several sentences has several positives. The
    target of a row (and of a column) is spread evenly over its positives, as in supervised contrastive learning (arXiv
    2004.11362). With one sentence a clip and no repeats the loss is CLIP's.

    Args:
        video: unit vectors [B, E].
        text: unit vectors [U, E].
        scale: scalar that multiplies the cosines.
        positive: bool [B, U], from `pairs`; at least one true in each row and column.

    Returns:
        Scalar.
    """
    logits = scale * video @ text.T
    target = positive.to(logits.dtype)
    to_text = F.cross_entropy(logits, target / target.sum(1, keepdim=True))
    to_video = F.cross_entropy(logits.T, target.T / target.T.sum(1, keepdim=True))
    return 0.5 * (to_text + to_video)
