"""One step of contrastive alignment, its batch cut over devices and in time, and what it has to be.

Oracles: open_clip's loss of the whole batch and, where sentences repeat, the definition in NumPy with its derivative by
hand; the towers' gradient is that of one pass over the whole batch.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from open_clip.loss import ClipLoss
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils.data import Dataset

from surgvl.align.clip import ClipAlign
from surgvl.data.augment import Augment
from surgvl.data.augment_config import AugmentConfig
from surgvl.data.clips import collate
from surgvl.models.dual_encoder import DualEncoder
from surgvl.models.text import build_text
from surgvl.models.vit import VideoViT
from surgvl.models.vit_config import ViTConfig
from surgvl.train.config import Optim, Run
from surgvl.train.distributed import full_tensor, main_process
from surgvl.train.loop import fit
from surgvl.train.samples import micro_batch_seed

Step = tuple[float, dict[str, Tensor]]

BATCH, SEED = 8, 5
# What float32 leaves; with float64 only the vectors of the shared space are float32. Lightning's fsdp has no 64-true.
SINGLE = 4e-6
AUGMENT = AugmentConfig(crop="random_resized")
# The sentences of eight clips. Where they repeat, it is within a half, over both halves and in another case; the halves
# and quarters hold different numbers of them.
TEXTS = {
    "unique": [[f"sentence number {number}"] for number in range(BATCH)],
    "repeated": [
        ["we clip the duct", "clipping"],
        ["the hook cuts"],
        ["We clip the duct "],
        ["grasping"],
        ["the hook cuts", "grasping", "we wash"],
        ["clipping"],
        ["clipping"],
        ["the bag is closed"],
    ],
}


class Narrated(Dataset[Any]):
    """A batch of noise with the sentences of a case, again and again."""

    def __init__(self, case: str, tokens: tuple[int, int] | None = None):
        self.texts, self.tokens = TEXTS[case], tokens

    def __getitem__(self, index: int) -> dict[str, Any]:
        index %= BATCH
        generator = torch.Generator().manual_seed(index)
        video = torch.randint(0, 256, (3, 4, 16, 16), generator=generator, dtype=torch.uint8)
        seen = {"video": video} if self.tokens is None else {"tokens": torch.randn(*self.tokens, generator=generator)}
        return {**seen, "video_id": f"v{index}", "text": self.texts[index]}


def objective(token_keep: float = 1.0, frozen_encoder: bool = False) -> ClipAlign:
    torch.manual_seed(0)
    encoder = VideoViT(ViTConfig(size_px=16, num_frames=4, patch_px=8, tubelet=2, dim=32, depth=2, heads=2))
    return ClipAlign(
        DualEncoder(encoder, build_text("tiny", 16, width=32, heads=2, layers=1), 16),
        frozen_encoder,
        token_keep=token_keep,
    )


def step(
    out: Path,
    case: str,
    trained: ClipAlign | None = None,
    augment: nn.Module | None = None,
    tokens: tuple[int, int] | None = None,
    **settings: Any,
) -> Step:
    """Loss of the first step, as it is logged, and the gradient of the first that is taken, by parameter."""
    trained = objective() if trained is None else trained
    found: dict[str, Tensor] = {}

    def note(*_: Any) -> None:
        for name, parameter in trained.named_parameters():
            if parameter.grad is not None and name not in found:
                found[name] = full_tensor(parameter.grad).detach().clone()

    handle = register_optimizer_step_pre_hook(note)
    precision = "32-true" if settings.get("strategy") == "fsdp" else "64-true"  # Lightning's fsdp has no 64-true
    run = Run(**{"steps": 1, "batch": BATCH, "seed": SEED, "precision": precision, "accelerator": "cpu", **settings})
    try:
        fit(trained, Narrated(case, tokens), collate, out, Optim(clip_norm=0.0), run, augment)
    finally:
        handle.remove()
    if not main_process():
        return 0.0, found
    return json.loads((out / "metrics.jsonl").read_text().splitlines()[0])["loss"], found


# Strategy, sentences and micro-batches on each of two processes.
CUTS = [
    ("ddp", "unique", 1),
    ("ddp", "repeated", 1),
    ("ddp", "repeated", 2),
    ("fsdp", "unique", 1),
    ("fsdp", "repeated", 2),
]


def two_processes(out: Path) -> None:
    """Called by each of two processes; OUT/STRATEGY/CASE/PARTS and OUT/STRATEGY/random hold loss and gradient."""

    def save(folder: Path, found: Step) -> None:
        if main_process():
            torch.save(found, folder / "step.pt")

    for strategy, case, parts in CUTS:
        folder = out / strategy / case / str(parts)
        save(folder, step(folder, case, devices=2, strategy=strategy, accumulate=parts))
    for strategy in ("ddp", "fsdp"):
        # Half of the tokens of augmented clips: each of four micro-batches has random numbers of its own.
        how: dict[str, Any] = {"devices": 2, "strategy": strategy, "accumulate": 2, "precision": "32-true"}
        folder = out / strategy / "random"
        save(folder, step(folder, "repeated", objective(0.5), Augment(AUGMENT, 16), **how))


def by_definition(video: Tensor, text: Tensor, log_scale: Tensor, positive: np.ndarray) -> tuple[float, list[Tensor]]:
    """The loss of unit vectors [B, E] and [U, E], and its derivatives by both and by the logarithm of the scale."""
    v, t = (x.detach().double().numpy() for x in (video, text))
    scale = float(log_scale.detach().exp())
    logits = scale * v @ t.T
    loss, slope = 0.0, np.zeros_like(logits)
    for axis in (1, 0):
        target = positive / positive.sum(axis, keepdims=True)
        exps = np.exp(logits - logits.max(axis, keepdims=True))
        shares = exps / exps.sum(axis, keepdims=True)
        num = logits.shape[1 - axis]
        loss -= 0.5 * float((target * np.log(shares)).sum()) / num
        slope += 0.5 * (shares - target) / num
    found = scale * slope @ t, scale * slope.T @ v, np.full(log_scale.shape, (slope * logits).sum())
    return loss, [torch.tensor(x).to(y.dtype) for x, y in zip(found, (video, text, log_scale), strict=True)]


def whole(model: ClipAlign, case: str, video: Tensor) -> Step:
    """Loss and gradient of a step from the vectors of all of its clips, float32 [B, E]."""
    log_scale = model.dual.logit_scale
    if case == "unique":
        text = model.dual.encode_text([sentence for (sentence,) in TEXTS[case]])
        total = ClipLoss()(video, text, log_scale.exp().float())
        total.backward()
        loss = total.item()
    else:
        cleaned = [[text.strip().lower() for text in each] for each in TEXTS[case]]
        sentences = sorted({text for each in cleaned for text in each})
        positive = np.array([[float(sentence in each) for sentence in sentences] for each in cleaned])
        text = model.dual.encode_text(sentences)
        loss, slopes = by_definition(video, text, log_scale, positive)
        torch.autograd.backward([video, text, log_scale], slopes)
    return loss, {name: each.grad for name, each in model.named_parameters() if each.grad is not None}


def videos(first: int = 0, last: int = BATCH) -> Tensor:
    found: Tensor = collate([Narrated("unique")[index] for index in range(first, last)])["video"]
    return found


def at_once(case: str) -> Step:
    model = objective().double()
    return whole(model, case, model.dual.encode_video(videos()))


def in_parts(case: str, parts: int) -> Step:
    """Half of the tokens of augmented clips, with the random numbers of each micro-batch, in one graph."""
    model, augment, vectors = objective(0.5), Augment(AUGMENT, 16), []
    for part in range(parts):
        torch.manual_seed(micro_batch_seed(SEED, 0, part))
        video = augment(videos(BATCH * part // parts, BATCH * (part + 1) // parts))
        vectors.append(model.dual.encode_tokens(model.dual.encoder(video, model.sample_tokens(video))))
    return whole(model, case, torch.cat(vectors))


def assert_same(found: Step, want: Step, tolerance: float = 1e-6) -> None:
    assert found[0] == pytest.approx(want[0], abs=tolerance)
    assert found[1].keys() == want[1].keys()
    one, two = (torch.cat([each[name].double().flatten() for name in want[1]]) for each in (found[1], want[1]))
    assert float((one - two).norm()) < tolerance * float(two.norm())
    # One number among thousands, and the only one that does not come through a vector.
    scale = found[1]["dual.logit_scale"], want[1]["dual.logit_scale"]
    assert scale[0].item() == pytest.approx(scale[1].item(), rel=tolerance)
