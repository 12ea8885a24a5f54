"""Contrastive loss: equal to open_clip's without repeats, and to a loop over the definition with them."""

import math

import pytest
import torch

from surgvl.align.clip import ClipAlign
from surgvl.align.losses import contrastive_loss, unique_sentences
from surgvl.core.errors import ConfigError
from surgvl.models.dual_encoder import DualEncoder
from surgvl.models.text import build_text
from tests.models.test_models import clips, small_encoder


def unit(*shape: int, seed: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_equals_open_clip_when_no_sentence_repeats() -> None:
    from open_clip.loss import ClipLoss

    video, text, scale = unit(9, 16, seed=0), unit(9, 16, seed=1), torch.tensor(13.0)
    sentences, positive = unique_sentences([[f"sentence {n}"] for n in range(9)])
    assert len(sentences) == 9
    assert contrastive_loss(video, text, scale, positive).item() == pytest.approx(
        ClipLoss()(video, text, scale).item(), abs=1e-6
    )


def test_repeats_and_several_sentences_follow_the_definition() -> None:
    texts = [["a", "b"], ["b"], [" A "], ["c"], ["b", "c"]]
    sentences, positive = unique_sentences(texts)
    assert sentences == ["a", "b", "c"]
    video, text, scale = unit(5, 8, seed=2), unit(3, 8, seed=3), torch.tensor(7.0)
    logits = (scale * video @ text.T).tolist()
    carries = [{0, 1}, {1}, {0}, {2}, {1, 2}]

    def cross_entropy(row: list[float], right: list[int]) -> float:
        norm = math.log(sum(math.exp(value) for value in row))
        return sum(norm - row[j] for j in right) / len(right)

    to_text = [cross_entropy(logits[i], sorted(carries[i])) for i in range(5)]
    to_video = [
        cross_entropy([logits[i][u] for i in range(5)], [i for i in range(5) if u in carries[i]]) for u in range(3)
    ]
    want = 0.5 * (sum(to_text) / 5 + sum(to_video) / 3)
    assert contrastive_loss(video, text, scale, positive).item() == pytest.approx(want, abs=1e-5)


def test_a_repeat_is_not_punished() -> None:
    """Two clips with one sentence: CLIP's loss pushes them from each other's copy, ours is at its minimum."""
    video = torch.tensor([[1.0, 0.0], [1.0, 0.0]], requires_grad=True)
    sentences, positive = unique_sentences([["x"], ["x"]])
    loss = contrastive_loss(video, torch.tensor([[1.0, 0.0]]), torch.tensor(10.0), positive)
    loss.backward()  # type: ignore[no-untyped-call]
    assert sentences == ["x"]
    assert video.grad is not None
    assert video.grad.abs().max() < 1e-6


def test_objective_freezes_what_it_says() -> None:
    dual = DualEncoder(small_encoder(), build_text("tiny", 16), 16)
    batch = {"video": clips(), "text": [["the hook cuts"], ["we clip the duct", "clipping"]]}
    ClipAlign(dual, frozen_encoder=True)(batch)["loss"].backward()
    assert all(p.grad is None for p in dual.encoder.parameters())
    assert dual.project.weight.grad is not None
    ClipAlign(dual, frozen_encoder=False)(batch)["loss"].backward()
    assert all(p.grad is not None for p in dual.encoder.parameters())


def test_a_share_of_the_tokens_is_drawn_anew_for_each_clip_and_step() -> None:
    dual = DualEncoder(small_encoder(), build_text("tiny", 16), 16)
    objective, video = ClipAlign(dual, token_keep=0.25), clips()
    batch = {"video": video, "text": [["the hook cuts"], ["clipping"]]}
    total, sizes = dual.encoder.num_tokens, []
    dual.encoder.norm.register_forward_hook(lambda module, args, out: sizes.append(out.shape[1]))
    torch.manual_seed(0)
    objective(batch)
    assert sizes == [total // 4]
    draws = [keep for _ in range(60) if (keep := objective.sample_tokens(video)) is not None]
    assert all(len(set(row)) == len(row) == total // 4 for keep in draws for row in keep.tolist())
    assert {number for keep in draws for number in keep[0].tolist()} == set(range(total))
    assert draws[0][0].tolist() != draws[0][1].tolist()
    # All of them, in any order, give the loss of the whole clip: the pool knows no order.
    every = torch.stack([torch.randperm(total), torch.randperm(total)])
    with torch.no_grad():
        whole = ClipAlign(dual)(batch)["loss"]
        objective.sample_tokens = lambda video: every  # type: ignore[method-assign]
        assert objective(batch)["loss"].item() == pytest.approx(whole.item(), abs=1e-5)


@pytest.mark.parametrize("share", [0.0, -1.0, 1.5, float("nan")])
def test_what_is_no_share_of_the_tokens_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match="--token_keep must be above 0 and at most 1"):
        ClipAlign(DualEncoder(small_encoder(), build_text("tiny", 16), 16), token_keep=share)
