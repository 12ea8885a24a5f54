"""Contrastive losses between clips and sentences.

Shapes: B pairs, E width of the shared space; vectors are unit vectors.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def same_text(texts: Sequence[str], device: torch.device | str = "cpu") -> Tensor:
    """bool [B, B]: true where two pairs of the batch have the same sentence (case and outer blanks do not count)."""
    numbers: dict[str, int] = {}
    ids = torch.tensor([numbers.setdefault(text.strip().lower(), len(numbers)) for text in texts], device=device)
    return ids[:, None] == ids[None, :]


def contrastive(video: Tensor, text: Tensor, scale: Tensor, same: Tensor) -> Tensor:
    """Symmetric InfoNCE (CLIP, arXiv 2103.00020) in which a repeated sentence is a positive, not a negative.

    The target of a row is spread evenly over the pairs that carry its sentence, as in supervised contrastive learning (arXiv
    2004.11362); when no sentence repeats, the loss is CLIP's.

    Args:
        video: unit vectors [B, E].
        text: unit vectors [B, E].
        scale: scalar that multiplies the cosines.
        same: bool [B, B], from `same_text`; the diagonal is true.

    Returns:
        Scalar.
    """
    logits = scale * video @ text.T
    target = same.to(logits.dtype)
    target = target / target.sum(1, keepdim=True)
    return 0.5 * (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target.T))
