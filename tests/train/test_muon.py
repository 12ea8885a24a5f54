"""Muon against torch's own, which multiplies in bfloat16, and against the iteration written in NumPy."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.optim._muon import _zeropower_via_newtonschulz

from surgvl.train import config
from surgvl.train.config import multiplies_bfloat16, precision
from surgvl.train.muon import Muon, orthogonal

SHAPES = [(8, 8), (24, 8), (8, 24), (1, 5)]


@pytest.mark.parametrize("shape", SHAPES)
def test_in_bfloat16_it_is_torchs_to_the_bit(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    theirs = _zeropower_via_newtonschulz(matrix, (3.4445, -4.7750, 2.0315), 5, 1e-7)
    assert torch.equal(orthogonal(matrix[None], torch.bfloat16)[0], theirs)


@pytest.mark.parametrize("shape", SHAPES)
def test_in_float32_it_is_the_iteration_in_float64(shape: tuple[int, int]) -> None:
    matrices = torch.randn((3, *shape), generator=torch.Generator().manual_seed(0))
    before = matrices.clone()
    found = orthogonal(matrices, torch.float32)
    for matrix, one in zip(matrices, found, strict=True):
        x = matrix.double().numpy()
        x = x / np.linalg.norm(x)
        for _ in range(5):
            outer = x @ x.T
            x = 3.4445 * x + (-4.7750 * outer + 2.0315 * outer @ outer) @ x
        np.testing.assert_allclose(one, x, atol=2e-5)
    assert torch.equal(matrices, before)


def test_a_matrix_of_zeros_stays_one() -> None:
    assert not orthogonal(torch.zeros(1, 3, 4), torch.float32).any()


def test_ten_steps_end_where_torchs_do() -> None:
    torch.manual_seed(0)
    mine = [torch.randn(shape, requires_grad=True) for shape in ((12, 6), (6, 12), (12, 6), (5, 5))]
    theirs = copy.deepcopy(mine)
    ours = Muon(mine, lr=0.02, weight_decay=0.1)
    torchs: torch.optim.Optimizer = torch.optim.Muon(theirs, lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    begun = [each.detach().clone() for each in mine]
    for _ in range(10):
        for one, other in zip(mine, theirs, strict=True):
            one.grad = torch.randn(one.shape)
            other.grad = one.grad.clone()
        for optimizer in (ours, torchs):
            optimizer.step()
    for one, other, start in zip(mine, theirs, begun, strict=True):
        moved = float((other.detach() - start).norm())
        # bfloat16 has eight bits, and ten roundings of one part in 256 do not add up to more than one in 50.
        assert float((one.detach() - other.detach()).norm()) < 0.02 * moved


def test_nothing_that_the_processor_lacks_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """bfloat16 is multiplied only by AVX-512's instructions, and only where torch uses them."""
    asked: list[torch.dtype] = []

    def note(matrix: Tensor, dtype: torch.dtype) -> Tensor:
        asked.append(dtype)
        return matrix

    monkeypatch.setattr("surgvl.train.muon.orthogonal", note)
    weight = torch.ones(2, 2, requires_grad=True)
    weight.grad = torch.ones(2, 2)
    for kernels, instructions, dtype in (
        ("AVX512", True, torch.bfloat16),
        ("AVX512", False, torch.float32),
        ("AVX2", True, torch.float32),
        ("AVX2", False, torch.float32),
    ):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda kernels=kernels: kernels)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda instructions=instructions: instructions)
        Muon([weight]).step()
        assert asked.pop() == dtype
        assert multiplies_bfloat16("cpu") == (dtype == torch.bfloat16)
        if not torch.cuda.is_available():
            assert (precision("auto") == "bf16-mixed") == (dtype == torch.bfloat16)
    assert config.precision("32-true") == "32-true"
