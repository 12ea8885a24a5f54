"""Contrastive loss: equal to open_clip's without repeats, and to a loop over the definition with them."""

import math

import pytest
import torch

from surgvl.align.clip import ClipAlign
from surgvl.align.losses import contrastive, same_text
from surgvl.models.dual import Dual
from surgvl.models.text import build_text
from tests.test_models import clips, small_encoder


def unit(*shape: int, seed: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_equals_open_clip_when_no_sentence_repeats() -> None:
    from open_clip.loss import ClipLoss

    video, text, scale = unit(9, 16, seed=0), unit(9, 16, seed=1), torch.tensor(13.0)
    same = same_text([f"sentence {n}" for n in range(9)])
    assert contrastive(video, text, scale, same).item() == pytest.approx(ClipLoss()(video, text, scale).item(), abs=1e-6)


def test_repeated_sentences_are_positives_by_the_definition() -> None:
    texts = ["a", "b", " A ", "c", "b"]
    group = [0, 1, 0, 2, 1]
    video, scale = unit(5, 8, seed=2), torch.tensor(7.0)
    text = unit(3, 8, seed=3)[group]
    logits = (scale * video @ text.T).tolist()
    total = 0.0
    for i in range(5):
        positives = [j for j in range(5) if group[j] == group[i]]
        for rows in (logits[i], [logits[j][i] for j in range(5)]):
            norm = math.log(sum(math.exp(value) for value in rows))
            total += sum(norm - rows[j] for j in positives) / len(positives)
    assert contrastive(video, text, scale, same_text(texts)).item() == pytest.approx(total / 10, abs=1e-5)


def test_a_repeat_is_not_punished() -> None:
    """Two perfect pairs with one sentence: CLIP's loss pushes them apart, ours is at its minimum."""
    video = torch.tensor([[1.0, 0.0], [1.0, 0.0]], requires_grad=True)
    loss = contrastive(video, torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor(10.0), same_text(["x", "x"]))
    loss.backward()
    assert video.grad is not None
    assert video.grad.abs().max() < 1e-6


def test_objective_freezes_what_it_says() -> None:
    dual = Dual(small_encoder(), build_text("tiny", 16), 16)
    batch = {"video": clips(), "text": ["the hook cuts", "we clip the duct"]}
    ClipAlign(dual, frozen_encoder=True)(batch)["loss"].backward()
    assert all(p.grad is None for p in dual.encoder.parameters())
    assert dual.project.weight.grad is not None
    ClipAlign(dual, frozen_encoder=False)(batch)["loss"].backward()
    assert all(p.grad is not None for p in dual.encoder.parameters())
