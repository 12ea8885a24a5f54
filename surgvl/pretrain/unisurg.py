"""UniSurg, later named SurgMotion (arXiv 2602.05638): V-JEPA 2 with three more terms for surgical motion.

Its pretraining code is not public; what is known comes from secondary sources: tube masking at 0.75 to 0.95, a
motion-guided term on the K = 3 tubes with most motion (gamma = 2), an affinity term (weight 0.1, tau = 0.1), a variance
hinge (weight 0.3), EMA momentum 0.99925, two stages of 16 and 64 frames. Inferred here: the plain prediction term is
kept next to the motion term (three tubes alone would leave the rest untrained), distances are means over channels and
slots to make terms comparable, the hinge is at 1 (targets are layer-normed), neighbours are the four adjacent patches,
and motion scores are standardised per clip: raw mean differences of pixels in [0, 1] are so close together that gamma
leaves three nearly equal weights.
Unknown, hence arguments: learning rate, weight decay, initialisation.
Shapes: B clips, N tokens, K kept, M masked, D width, S masked tubes (positions in a frame), T' slots.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from surgvl.models.vit import VideoViT
from surgvl.pretrain.base import gather
from surgvl.pretrain.masks import sample_ratio, tube
from surgvl.pretrain.motion import motion
from surgvl.pretrain.vjepa import VJEPA, latent_loss


def motion_shares(scores: Tensor, top: int, gamma: float) -> tuple[Tensor, Tensor]:
    """The tubes with most motion, and their shares, which sum to 1.

    Args:
        scores: [B, S], motion of the masked tubes.
        top: K, number of tubes; all if fewer are masked.
        gamma: sharpness of the shares; 0: they are equal.

    Returns:
        Indices int64 [B, K] among the masked tubes, and shares float [B, K], softmax(gamma * score) over these.
    """
    best, chosen = scores.topk(min(top, scores.shape[1]), 1)
    return chosen, (gamma * best).softmax(1)


def motion_loss(prediction: Tensor, target: Tensor, scores: Tensor, top: int, gamma: float) -> Tensor:
    """Prediction error on the tubes with most motion, each weighted by one plus its share of the motion.

    Args:
        prediction: [B, T', S, D].
        target: [B, T', S, D].
        scores: [B, S]; see `motion_shares`, as for `top` and `gamma`.
        top: number of tubes.
        gamma: sharpness of the shares.

    Returns:
        Scalar: mean over clips and chosen tubes of (1 + share) * mean absolute error.
    """
    chosen, shares = motion_shares(scores, top, gamma)
    errors = (prediction - target).abs().mean((1, 3)).gather(1, chosen)
    return ((1 + shares) * errors).mean()


def _rows(prediction: Tensor, target: Tensor, rows: Tensor, target_rows: Tensor, tau: float) -> Tensor:
    """Sum over rows of KL(target affinities || predicted affinities) of unit vectors, [B, C, D] with [B, M, D]."""
    expected = (target_rows @ target.transpose(1, 2) / tau).log_softmax(-1)
    found = (rows @ prediction.transpose(1, 2) / tau).log_softmax(-1)
    return F.kl_div(found, expected, log_target=True, reduction="sum")


def affinity_loss(prediction: Tensor, target: Tensor, tau: float = 0.1, chunk: int = 512) -> Tensor:
    """KL divergence between cosine affinities among masked tokens, KL(targets || predictions), mean over rows.

    Only `chunk` rows of the M x M affinities exist at a time, in the backward pass too, so memory is linear in M.

    Args:
        prediction: [B, M, D].
        target: [B, M, D].
        tau: temperature of the softmax over tokens.
        chunk: rows at a time.
    """
    prediction, target = F.normalize(prediction, dim=-1), F.normalize(target, dim=-1)
    total = prediction.new_zeros(())
    for at in range(0, prediction.shape[1], chunk):
        part = slice(at, at + chunk)
        args = (prediction, target, prediction[:, part], target[:, part], tau)
        total = total + (checkpoint(_rows, *args, use_reentrant=False) if prediction.requires_grad else _rows(*args))
    return total / (prediction.shape[0] * prediction.shape[1])


def variance_loss(prediction: Tensor, floor: float = 1.0) -> Tensor:
    """Mean of relu(floor - std), std that of each channel over all tokens [B, M, D], as in VICReg."""
    std = (prediction.flatten(0, -2).var(0) + 1e-4).sqrt()
    return F.relu(floor - std).mean()


class UniSurg(VJEPA):
    """Motion-guided latent prediction. The arguments of predictor and EMA are those of `VJEPA`.

    Args:
        encoder: the encoder to train.
        ratio_min: smallest masked fraction of the patches; one is drawn per step.
        ratio_max: largest masked fraction.
        latent_weight: of the plain prediction term over all masked tokens.
        motion_weight: of the motion-guided term.
        affinity_weight: of the affinity term.
        variance_weight: of the variance hinge.
        top_tubes: K, number of tubes in the motion term.
        gamma: sharpness of their weights.
        motion_score: pixels or flow; see `motion`.
        motion_scale: standard, or raw as reported for the paper, whose L1 norms over a patch are 3 * patch_px^2 times
            ours, which gamma can absorb.
        tau: temperature of the affinities.
        affinity_chunk: rows of the affinities computed at a time.
        std_floor: position of the variance hinge.
        init: xavier, or vjepa as in V-JEPA 2; see `VJEPA`.
        predictor_dim: width of the predictor.
        predictor_depth: its blocks.
        predictor_heads: its attention heads.
        momentum: of the EMA at the start.
        final_momentum: of the EMA at the end of the schedules.
    """

    name = "unisurg"

    def __init__(
        self,
        encoder: VideoViT,
        ratio_min: float = 0.75,
        ratio_max: float = 0.95,
        latent_weight: float = 1.0,
        motion_weight: float = 1.0,
        affinity_weight: float = 0.1,
        variance_weight: float = 0.3,
        top_tubes: int = 3,
        gamma: float = 2.0,
        motion_score: str = "pixels",
        motion_scale: str = "standard",
        tau: float = 0.1,
        affinity_chunk: int = 512,
        std_floor: float = 1.0,
        init: str = "xavier",
        predictor_dim: int = 384,
        predictor_depth: int = 12,
        predictor_heads: int = 12,
        momentum: float = 0.99925,
        final_momentum: float = 0.99925,
    ):
        super().__init__(
            encoder,
            init=init,
            predictor_dim=predictor_dim,
            predictor_depth=predictor_depth,
            predictor_heads=predictor_heads,
            momentum=momentum,
            final_momentum=final_momentum,
        )
        self.ratios = (ratio_min, ratio_max)
        self.weights = {
            "latent": latent_weight,
            "motion": motion_weight,
            "affinity": affinity_weight,
            "variance": variance_weight,
        }
        self.top_tubes, self.gamma = top_tubes, gamma
        self.motion_score, self.motion_scale = motion_score, motion_scale
        self.tau, self.affinity_chunk, self.std_floor = tau, affinity_chunk, std_floor

    def masks(self, num_clips: int, device: torch.device) -> list[tuple[Tensor, Tensor]]:
        """One tube mask with a ratio drawn per step."""
        return [tube(num_clips, self.encoder.grid, sample_ratio(self.ratios), device)]

    def tube_scores(self, video: Tensor, hide: Tensor) -> Tensor:
        """Motion of the masked tubes [B, S]; `hide` int64 [B, M], the same tubes in all slots."""
        slots, h, w = self.encoder.grid
        scores = motion(video, self.encoder.config.patch_px, self.motion_score, self.motion_scale).flatten(1)
        return scores.gather(1, hide[:, : hide.shape[1] // slots] % (h * w))

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Losses of a batch with `video` [B, 3, T, H, W]; a term of weight 0 is not computed."""
        video = batch["video"]
        keep, hide = self.masks(video.shape[0], video.device)[0]
        target = gather(self.targets(video), hide)
        prediction = self.predict(video, keep, hide)
        losses: dict[str, Tensor] = {}
        if self.weights["latent"]:
            losses["latent"] = latent_loss(prediction, target)
        if self.weights["motion"]:
            shape = (len(video), self.encoder.grid[0], -1, self.encoder.dim)
            apart = (prediction.view(shape), target.view(shape))
            losses["motion"] = motion_loss(*apart, self.tube_scores(video, hide), self.top_tubes, self.gamma)
        if self.weights["affinity"]:
            losses["affinity"] = affinity_loss(prediction, target, self.tau, self.affinity_chunk)
        if self.weights["variance"]:
            losses["variance"] = variance_loss(prediction, self.std_floor)
        total = torch.stack([self.weights[name] * loss for name, loss in losses.items()]).sum()
        return {"loss": total, **losses}

    def monitor(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Collapse indicators, and the entropy of the tubes' shares in nats: log(top_tubes) where they are equal."""
        found = super().monitor(batch)
        if self.weights["motion"]:
            video = batch["video"]
            _, hide = self.masks(video.shape[0], video.device)[0]
            _, shares = motion_shares(self.tube_scores(video, hide), self.top_tubes, self.gamma)
            found["motion_entropy"] = torch.special.entr(shares).sum(1).mean()
        return found
