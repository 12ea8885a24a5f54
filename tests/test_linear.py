"""oneDNN's products against numpy in float64, for every way that tensors lie in memory."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from surgvl.models.linear import BUILT, Linear, linear
from tests.products import by_torch

K, N = 48, 36
LIES: dict[str, Callable[[], Tensor]] = {
    "plain": lambda: torch.randn(20, K),
    "tokens": lambda: torch.randn(3, 7, K),
    "one token of each clip": lambda: torch.randn(6, 5, K)[:, 0],
    "some tokens": lambda: torch.randn(3, 9, K)[:, 2:5],
    "part of a width": lambda: torch.randn(8, 3 * K)[:, K : 2 * K],
    "transposed": lambda: torch.randn(K, 9).t(),
    "permuted": lambda: torch.randn(7, 3, K).transpose(0, 1),
    "the same row": lambda: torch.randn(1, K).expand(9, K),
    "one vector": lambda: torch.randn(K),
    "none": lambda: torch.randn(0, K),
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("with_bias", [True, False])
def test_result_and_gradients_are_those_of_numpy(lie: str, with_bias: bool) -> None:
    torch.manual_seed(0)
    x, weight = LIES[lie](), torch.randn(N, K)
    bias = torch.randn(N) if with_bias else None
    leaves = [each.requires_grad_() for each in (x, weight, bias) if each is not None]
    out = linear(x, weight, bias)
    up = torch.randn(out.shape)
    torch.autograd.backward([out], [up])
    xs, ws, ups = (each.detach().double().numpy() for each in (x, weight, up))
    want = xs @ ws.T + (0 if bias is None else bias.detach().double().numpy())
    rows, ups = xs.reshape(-1, K), ups.reshape(-1, N)
    grads = [(ups @ ws).reshape(xs.shape), ups.T @ rows, ups.sum(0)]
    np.testing.assert_allclose(out.detach(), want, atol=2e-5)
    for leaf, grad in zip(leaves, grads, strict=False):
        assert leaf.grad is not None
        np.testing.assert_allclose(leaf.grad, grad, atol=5e-5)


def test_weights_with_gaps_and_gradients_of_sums() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(5, 4, K, requires_grad=True), torch.randn(N, 2 * K)[:, ::2]
    torch.autograd.backward([linear(x, weight).sum()])
    assert x.grad is not None
    np.testing.assert_allclose(x.grad, weight.double().sum(0).expand(5, 4, K), atol=2e-5)


@pytest.mark.parametrize("by_x", [False, True])
@pytest.mark.parametrize("by_weight", [False, True])
@pytest.mark.parametrize("by_bias", [False, True])
def test_only_what_learns_has_a_gradient_and_keeps_the_other_factor(by_x: bool, by_weight: bool, by_bias: bool) -> None:
    torch.manual_seed(0)
    layer, x = Linear(K, N), torch.randn(4, K, requires_grad=by_x)
    layer.weight.requires_grad_(by_weight)
    layer.bias.requires_grad_(by_bias)
    kept: list[int] = []

    def keep(each: Tensor) -> Tensor:
        kept.append(each.data_ptr())
        return each

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda each: each):
        out = layer(x).sum()
    assert out.requires_grad == any((by_x, by_weight, by_bias))
    assert (x.data_ptr() in kept, layer.weight.data_ptr() in kept) == (by_weight, by_x)
    if out.requires_grad:
        torch.autograd.backward([out])
    ones, xs, ws = np.ones((4, N)), x.detach().double().numpy(), layer.weight.detach().double().numpy()
    for learns, leaf, grad in (
        (by_x, x, ones @ ws),
        (by_weight, layer.weight, ones.T @ xs),
        (by_bias, layer.bias, ones.sum(0)),
    ):
        assert (leaf.grad is not None) == learns
        if leaf.grad is not None:
            np.testing.assert_allclose(leaf.grad, grad, atol=2e-5)
    with torch.no_grad():
        assert layer(x).grad_fn is None


@pytest.mark.skipif(not BUILT, reason="torch was built without oneDNN")
def test_where_it_suits_and_where_not() -> None:
    layer, x = Linear(K, N), torch.randn(4, K)

    def ours(out: Tensor) -> bool:
        return type(out.grad_fn).__name__ == "_LinearBackward"

    assert ours(layer(x))
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(x)
        assert not ours(out)
        assert out.dtype == torch.bfloat16
    with by_torch():
        assert not ours(layer(x))
    assert not ours(layer.double()(x.double()))


def test_it_is_torchs_layer_to_whoever_loads_or_compiles_it() -> None:
    torch.manual_seed(0)
    mine, theirs = Linear(K, N), torch.nn.Linear(K, N)
    theirs.load_state_dict(mine.state_dict())
    x = torch.randn(3, 5, K)
    assert (mine(x) - theirs(x)).abs().max() < 1e-5
    compiled = torch.compile(mine, fullgraph=True, backend="aot_eager")
    assert (compiled(x) - theirs(x)).abs().max() < 1e-5
