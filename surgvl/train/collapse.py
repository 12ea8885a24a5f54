"""Measures of feature collapse, which the loss of a latent objective does not show.

Shapes: N rows of features, D channels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def feature_std(features: Tensor) -> Tensor:
    """Spread of directions: standard deviation of each channel of unit vectors, mean over channels, times sqrt(D).

    Near 1 if directions are spread evenly, 0 if all rows point the same way (SimSiam, arXiv 2011.10566).

    Args:
        features: [N, D], of any float type.

    Returns:
        float32 scalar.
    """
    unit = F.normalize(features.detach().float(), dim=-1)
    out: Tensor = unit.std(0, correction=0).mean() * features.shape[-1] ** 0.5
    return out


def effective_rank(features: Tensor, max_rows: int = 2048) -> Tensor:
    """Exponential of the entropy of the normalised singular values (Roy and Vetterli, EUSIPCO 2007).

    Between 1 (all rows on one line) and min(N, D). RankMe (arXiv 2210.02885) uses it as a measure of the quality of an
    encoder.

    Args:
        features: [N, D], of any float type; not centred.
        max_rows: of more rows, about this many, evenly spaced, are used, because the cost grows with their cube.

    Returns:
        float32 scalar; 0 if all features are 0, NaN if one is not finite.
    """
    rows = features.detach()[:: max(1, -(-len(features) // max_rows))].double()
    good = rows.isfinite().all()
    # The decomposition raises on non-finite values, which the check of the loss should report instead.
    rows = torch.where(good, rows, 0.0)
    # Singular values from the smaller Gram matrix, which is cheaper than a singular value decomposition.
    product = rows.T @ rows if rows.shape[0] > rows.shape[1] else rows @ rows.T
    singular = torch.linalg.eigvalsh(product).clamp(min=0).sqrt()
    share = singular / singular.sum().clamp(min=1e-300)
    entropy = torch.special.entr(share).sum()
    return torch.where(good, entropy.exp() * (singular.sum() > 0), torch.nan).float()


def mean_cosine(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean cosine between rows of [..., N, D] and [..., N, D], float32 scalar."""
    return F.cosine_similarity(prediction.detach().float(), target.detach().float(), dim=-1).mean()
