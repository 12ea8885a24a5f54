"""ASFormer against dense attention by NumPy, and on sequences that no single clip tells."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from surgvl.probe.asformer import ASFormer, local_attention
from surgvl.probe.dataset import ProbeData
from surgvl.probe.fit import predict, train
from surgvl.probe.labels import Head

PHASE = Head("phase", "one", ("a", "b", "c"))
Array = NDArray[np.float64]


def dense(q: Array, k: Array, v: Array, reach: int) -> Array:
    """Attention over all pairs, with a mask."""
    at = np.arange(len(q))
    energy = np.where(abs(at[:, None] - at) <= reach, q @ k.T / np.sqrt(q.shape[1]), -np.inf)
    weights = np.exp(energy - energy.max(1, keepdims=True))
    return np.asarray(weights / weights.sum(1, keepdims=True) @ v)


@pytest.mark.parametrize("num_clips", [1, 31, 64, 150])
@pytest.mark.parametrize("reach", [0, 1, 7, 40, 256])
def test_local_attention_is_dense_attention_with_a_mask(num_clips: int, reach: int) -> None:
    rng = np.random.default_rng(num_clips + reach)
    q, k, v = rng.normal(size=(num_clips, 4)), rng.normal(size=(num_clips, 4)), rng.normal(size=(num_clips, 6))
    given = [torch.from_numpy(each).requires_grad_() for each in (q, k, v)]
    found = local_attention(given[0], given[1], given[2], reach)
    np.testing.assert_allclose(found.detach().numpy(), dense(q, k, v, reach), atol=1e-12)
    found.square().sum().backward()  # type: ignore[no-untyped-call]
    assert all(each.grad is not None and bool(each.grad.isfinite().all()) for each in given)


class Small(ASFormer):
    """Few layers, so that it is fast by hand."""

    stages, layers, maps = 3, 4, 6


def by_hand(readout: ASFormer, x: Array) -> list[Array]:
    """The logits [T, C] of every stage of ASFormer from its weights, with dense attention. x: [T, D]."""
    weights = {name: value.double().numpy() for name, value in readout.state_dict().items()}

    def line(name: str, x: Array) -> Array:
        weight = weights[f"{name}.weight"].reshape(len(weights[f"{name}.weight"]), -1)
        return np.asarray(x @ weight.T + weights[f"{name}.bias"])

    before, found = None, []
    for stage in range(readout.stages):
        x = line(f"stack.{stage}.enter", x)
        for layer in range(readout.layers):
            name, apart = f"stack.{stage}.layers.{layer}", 2**layer
            taps = weights[f"{name}.dilated.weight"]
            padded = np.pad(x, ((apart, apart), (0, 0)))
            own = sum(padded[apart * tap : apart * tap + len(x)] @ taps[:, :, tap].T for tap in range(3))
            own = np.maximum(own + weights[f"{name}.dilated.bias"], 0)
            norm = (own - own.mean(0)) / np.sqrt(own.var(0) + 1e-5)
            value = line(f"{name}.value", norm if before is None else before)
            seen = dense(line(f"{name}.query", norm), line(f"{name}.key", norm), value, apart // 2)
            alpha = 1 if stage == 0 else np.exp(-3 * (stage - 1))
            x = x + line(f"{name}.mix", own + alpha * line(f"{name}.out", np.maximum(seen, 0)))
        before = x
        logits = line(f"stack.{stage}.leave.phase", x)
        found.append(logits)
        x = np.exp(logits - logits.max(1, keepdims=True))
        x /= x.sum(1, keepdims=True)
    return found


def test_every_stage_by_hand() -> None:
    torch.manual_seed(0)
    readout = Small(5, [PHASE]).eval()
    tokens = torch.randn(45, 1, 5)
    with torch.no_grad():
        found = readout.all_stages(tokens)
    expected = by_hand(readout, tokens[:, 0].double().numpy())
    assert len(found) == 3
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine["phase"].double().numpy(), theirs, atol=1e-4)


@pytest.mark.slow
def test_it_learns_what_past_and_future_tell(tmp_path: Path) -> None:
    """A sign is seen in the middle of each segment of its class; all other clips show nothing."""

    def videos(num_videos: int, seed: int) -> ProbeData:
        rng = np.random.default_rng(seed)
        phase = np.repeat(rng.permuted(np.tile([0, 1, 2], (num_videos, 1)), axis=1), 10, axis=1)
        signs = np.eye(3)[phase] * (np.arange(30) % 10 == 5)[None, :, None]
        tokens = (4 * signs + 0.1 * rng.normal(size=signs.shape)).reshape(-1, 1, 3).astype(np.float16)
        ids = [f"v{number}" for number in range(num_videos) for _ in range(30)]
        return ProbeData(ids, np.tile(np.arange(30.0), num_videos), tokens, {"phase": phase.ravel()})

    class Narrow(ASFormer):
        stages, layers, maps = 2, 4, 32

    learn, held = videos(12, 0), videos(4, 1)
    torch.manual_seed(0)
    readout = Narrow(3, [PHASE])
    train(readout, learn.tokens, learn.truth, tmp_path, 35, 1, [1e-2], [0.0], 0, learn.videos)
    said = predict(readout, held.tokens, held.videos)["phase"].argmax(1)
    # An online head, which has seen nothing of a segment in its first half, could not exceed about three quarters.
    assert (said == held.truth["phase"]).mean() > 0.9


def test_a_video_of_one_clip_is_scored() -> None:
    readout = Small(5, [PHASE]).train()
    loss = readout.loss(torch.randn(1, 1, 5), {"phase": torch.tensor([1])})
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(bool(each.grad.isfinite().all()) for each in readout.parameters() if each.grad is not None)
