"""ZEN-style (arXiv 2602.13633) distillation from several frozen teachers: a reconstruction from the abstract.

Little of ZEN is public: the abstract states multi-teacher distillation on frames of many procedures, not the student,
teachers, heads, losses, normalisation or schedule. These are inferred from its predecessors: one head per teacher for
the summary and one for patches (AM-RADIO, arXiv 2312.06709), half cosine and half SmoothL1, random dropping of all but
the hardest teacher per image (UNIC, arXiv 2408.05088), PHI-S or running normalisation. All are arguments. UNIC draws
once for a teacher's summary and patches together (`drop_rule` joint); by default each has a draw of its own, which is
this project's rule. The student sees frames (an encoder of one frame) or short clips; teachers see one frame per
tubelet.
Shapes: B clips, F = B*T' frames, student grid (T', h, w), D student width, E teacher width, K teachers.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from surgvl.core.errors import ConfigError
from surgvl.models.vit import VideoViT, init_weights
from surgvl.pretrain.base import Recipe, resize_grid
from surgvl.pretrain.normaliser import Normaliser
from surgvl.pretrain.teachers import load_teacher

DROP_RULES = ("separate", "joint")


def match_loss(prediction: Tensor, target: Tensor, cosine: float = 0.5) -> Tensor:
    """Distance of vectors [F, ..., E], per frame [F]: cosine * (1 - cos) + (1 - cosine) * SmoothL1."""
    apart = 1 - F.cosine_similarity(prediction, target, dim=-1)
    smooth = F.smooth_l1_loss(prediction, target, reduction="none").mean(-1)
    both = cosine * apart + (1 - cosine) * smooth
    return both.reshape(len(both), -1).mean(1)


def drop_teachers(losses: Tensor, drop: float) -> Tensor:
    """Mean of the losses [F, K] of the kept teachers, without synchronising with the host.

    Per frame, the teacher with the highest loss is always kept, and every other with probability 1 - drop.

    Args:
        losses: [F, K].
        drop: in [0, 1).
    """
    keep = torch.rand_like(losses) >= drop
    keep.scatter_(1, losses.detach().argmax(1, keepdim=True), True)
    return (losses * keep).sum() / keep.sum()


def total_loss(losses: dict[str, Tensor], weights: dict[str, float], drop: float, drop_rule: str) -> dict[str, Tensor]:
    """The loss over the kept teachers, and its terms.

    Args:
        losses: term -> [F, K], by frame and teacher.
        weights: of the terms.
        drop: see `drop_teachers`.
        drop_rule: see `Zen`; with joint, the terms that are returned are means over all teachers.
    """
    if drop_rule == "joint":
        together = torch.stack([weights[name] * each for name, each in losses.items()]).sum(0)
        return {"loss": drop_teachers(together, drop), **{name: each.mean() for name, each in losses.items()}}
    terms = {name: drop_teachers(each, drop) for name, each in losses.items()}
    return {"loss": torch.stack([weights[name] * term for name, term in terms.items()]).sum(), **terms}


class AdaptorHead(nn.Sequential):
    """Student features [..., D] -> a teacher's features [..., E], after AM-RADIO."""

    def __init__(self, dim: int, hidden: int, out_dim: int):
        super().__init__(nn.Linear(dim, hidden), nn.LayerNorm(hidden), nn.GELU(), nn.Linear(hidden, out_dim))
        self.apply(init_weights)


class Zen(Recipe):
    """Distillation from several image teachers.

    Args:
        encoder: the student.
        teachers: names as in `teachers.load_teacher`, at least one.
        hidden_dim: hidden width of the heads; 0: the student's width.
        cosine: weight of the cosine distance; the rest is SmoothL1.
        summary_weight: of the summaries.
        patch_weight: of the patches.
        normaliser: phi_s, running or none.
        momentum: of the moments of `running`; see `Normaliser`.
        sample_updates: updates from which phi_s is estimated.
        drop: probability that a teacher other than the hardest is dropped for a frame.
        drop_rule: separate: hardest teacher and draws for summaries and for patches apart (ours); joint: one hardest
            teacher and one draw per frame, by the weighted sum of both (UNIC's, with weights of 0.5).

    Raises:
        ConfigError: no teacher, or an unknown rule.
    """

    name = "zen"

    def __init__(
        self,
        encoder: VideoViT,
        teachers: tuple[str, ...] = (),
        hidden_dim: int = 0,
        cosine: float = 0.5,
        summary_weight: float = 1.0,
        patch_weight: float = 1.0,
        normaliser: str = "phi_s",
        momentum: float = 0.999,
        sample_updates: int = 32,
        drop: float = 0.5,
        drop_rule: str = "separate",
    ):
        super().__init__(encoder)
        if drop_rule not in DROP_RULES:
            raise ConfigError(f"drop_rule must be one of {', '.join(DROP_RULES)}, got {drop_rule!r}")
        if not teachers:
            raise ConfigError(
                "zen needs a teacher: give --objective.init_args.teachers, such as [timm:NAME, surgvl:FOLDER]"
            )
        loaded = [load_teacher(name) for name in teachers]
        self.teachers = nn.ModuleList(loaded)
        widths = [each.dim for each in loaded]
        hidden = hidden_dim or encoder.dim
        self.summary_heads = nn.ModuleList(AdaptorHead(encoder.dim, hidden, width) for width in widths)
        self.patch_heads = nn.ModuleList(AdaptorHead(encoder.dim, hidden, width) for width in widths)
        shape = (normaliser, momentum, sample_updates)
        self.summary_scales = nn.ModuleList(Normaliser(width, *shape) for width in widths)
        self.patch_scales = nn.ModuleList(Normaliser(width, *shape) for width in widths)
        self.cosine, self.drop, self.drop_rule = cosine, drop, drop_rule
        self.weights = {"summary": summary_weight, "patches": patch_weight}

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Losses of a batch with `video` [B, 3, T, H, W]."""
        video = batch["video"]
        slots, h, w = self.encoder.grid
        frames = video[:, :, :: self.encoder.config.tubelet].transpose(1, 2).flatten(0, 1)
        student = self.encoder(video).view(len(video) * slots, h, w, self.encoder.dim)
        summary = student.mean((1, 2))
        summaries, patches = [], []
        parts = zip(
            self.teachers, self.summary_heads, self.patch_heads, self.summary_scales, self.patch_scales, strict=True
        )
        for teacher, to_summary, to_patches, summary_scale, patch_scale in parts:
            with torch.no_grad():
                pooled, spatial = teacher(frames)
                pooled, spatial = summary_scale(pooled), patch_scale(spatial)
            resized = resize_grid(student, spatial.shape[1:3])
            summaries.append(match_loss(to_summary(summary).float(), pooled, self.cosine))
            patches.append(match_loss(to_patches(resized).float(), spatial, self.cosine))
        losses = {"summary": torch.stack(summaries, 1), "patches": torch.stack(patches, 1)}
        return total_loss(losses, self.weights, self.drop, self.drop_rule)
