"""Full fine-tuning of an encoder with a head: mixup or CutMix of clips, label smoothing, stochastic depth.

SurgVISTA's downstream recipe (arXiv 2506.02692), after VideoMAE's (arXiv 2203.12602); mixup arXiv 1710.09412, CutMix
arXiv 1905.04899. Layer decay is the optimizer's (`--optim.layer_decay`).
Shapes: B clips, T frames, S pixels.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from surgvl.core.checks import check_range
from surgvl.data.clips import to_tensor
from surgvl.data.frame_store import FrameStore
from surgvl.probe.fit import Rows
from surgvl.probe.labels import Truth
from surgvl.probe.loss import head_loss
from surgvl.probe.recogniser import Recogniser
from surgvl.train.objective import Objective


class FineTune(Objective):
    """Loss of a recogniser on clips; all of it is trained.

    Args:
        model: trained in place.
        mixup: parameter of the beta distribution of the share of each of two clips that are blended; 0: none. Only
            where every head has one class at a time, as published.
        cutmix: the same of the area of the other clip that is pasted in; with both, each step draws one of them.
        smoothing: label smoothing.

    Raises:
        ConfigError: a number is out of range.
    """

    def __init__(self, model: Recogniser, mixup: float = 0.0, cutmix: float = 0.0, smoothing: float = 0.0):
        super().__init__()
        check_range("--regularise.mixup", mixup, 0)
        check_range("--regularise.cutmix", cutmix, 0)
        check_range("--regularise.smoothing", smoothing, 0, 1)
        self.model, self.smoothing = model, smoothing
        exclusive = all(head.kind == "one" for head in model.readout.asked)
        self.ways = [(way, alpha) for way, alpha in (("mixup", mixup), ("cutmix", cutmix)) if alpha > 0 and exclusive]

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Loss of a batch with `video` [B, 3, T, S, S] in 0..255, and labels by head as `truth_HEAD`."""
        video, share, other = self._mixed(batch["video"])
        logits, losses = self.model(video), []
        for name, scores in logits.items():
            truth = batch[f"truth_{name}"]
            loss = head_loss(scores, truth, smoothing=self.smoothing)
            if share < 1:
                # Cross-entropy is linear in the target, so this is the loss of the blended one.
                loss = share * loss + (1 - share) * head_loss(scores, truth[other], smoothing=self.smoothing)
            losses.append(loss)
        return {"loss": torch.stack(losses).sum()}

    def _mixed(self, video: Tensor) -> tuple[Tensor, float, Tensor]:
        """Clips blended with those in reverse order, the share of each clip itself, and the order of the others."""
        other = torch.arange(len(video) - 1, -1, -1, device=video.device)
        if not (self.ways and self.training and len(video) > 1):
            return video, 1.0, other
        # Drawn on the host from torch's generator, which the loop seeds at each step.
        generator = np.random.default_rng(int(torch.randint(2**31, ()).item()))
        way, alpha = self.ways[int(generator.integers(len(self.ways)))]
        share = float(generator.beta(alpha, alpha))
        video = video.float()
        if way == "mixup":
            return share * video + (1 - share) * video[other], share, other
        height, width = video.shape[-2:]
        side = (1 - share) ** 0.5
        top, left = int(generator.integers(height)), int(generator.integers(width))
        rows = slice(max(0, round(top - side * height / 2)), min(height, round(top + side * height / 2)))
        columns = slice(max(0, round(left - side * width / 2)), min(width, round(left + side * width / 2)))
        pasted = video.clone()
        pasted[..., rows, columns] = video[other][..., rows, columns]
        area = (rows.stop - rows.start) * (columns.stop - columns.start)
        return pasted, 1 - area / (height * width), other


class LabelledMoments(Dataset[dict[str, Any]]):
    """Endless clips at labelled moments, one permutation after another.

    Args:
        store: provides the clips; prepared.
        video_ids: [N].
        times_s: [N], moments, seconds.
        truth: labels by head, of the N clips.
        seed: of the permutations.
    """

    def __init__(self, store: FrameStore, video_ids: Sequence[str], times_s: Sequence[float], truth: Truth, seed: int):
        self.store, self.video_ids, self.times_s, self.truth = store, video_ids, times_s, truth
        self.rows = Rows(len(video_ids), seed)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Sample `index`: `video` uint8 [3, T, S, S], `video_id`, and its label `truth_HEAD` by head.

        Raises:
            Unreadable: the video cannot be read there.
        """
        row = self.rows[index]["row"]
        clip = self.store.clip(self.store.key(self.video_ids[row], self.times_s[row]))
        found: dict[str, Any] = {"video": to_tensor(clip), "video_id": self.video_ids[row]}
        if self.video_ids[row] in self.store.aspects:
            found["aspect"] = self.store.aspects[self.video_ids[row]]
        return found | {f"truth_{head}": torch.as_tensor(labels[row]) for head, labels in self.truth.items()}
