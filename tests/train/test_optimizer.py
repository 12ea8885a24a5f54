"""Muon with AdamW: which steps what, how far, and that a saved state resumes to the same weights."""

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from surgvl.train.config import Optim
from surgvl.train.optimizer import MuonAdamW, build_optimizer

OPTIM = Optim(lr=1e-2, muon_lr_ratio=2.0, weight_decay=0.1)


class Small(nn.Module):
    """A stack of two layers between a table and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(5, 8)
        self.blocks = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
        self.head = nn.Linear(8, 3)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.table(ids)
        for block in self.blocks:
            x = torch.tanh(block(x))
        out: Tensor = self.head(x)
        return out


def hidden_matrix(model: Small) -> Tensor:
    weight: Tensor = model.state_dict()["blocks.0.weight"]
    return weight.clone()


@pytest.fixture
def model() -> Small:
    torch.manual_seed(0)
    return Small()


def gradients(steps: int) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        yield torch.randint(0, 5, (16,), generator=generator)


def train(model: Small, optimizer: torch.optim.Optimizer, batches: list[Tensor]) -> None:
    for ids in batches:
        optimizer.zero_grad()
        model(ids).square().mean().backward()
        optimizer.step()


def test_only_matrices_of_the_stack_take_muons_steps(model: Small) -> None:
    optimizer = build_optimizer(model.named_parameters(), {"blocks.1.": 0.5}, OPTIM)
    assert isinstance(optimizer, MuonAdamW)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    hidden, rest = optimizer.parts
    assert {names[id(p)]: group["lr_scale"] for group in hidden.param_groups for p in group["params"]} == {
        "blocks.0.weight": 2.0,
        "blocks.1.weight": 1.0,
    }
    settings = [(p, group["lr_scale"], group["weight_decay"]) for group in rest.param_groups for p in group["params"]]
    assert {names[id(p)]: (rate, decay) for p, rate, decay in settings} == {
        "table.weight": (1.0, 0.1),
        "head.weight": (1.0, 0.1),
        "blocks.0.bias": (1.0, 0.0),
        "blocks.1.bias": (0.5, 0.0),
        "head.bias": (1.0, 0.0),
    }


def test_without_muon_or_without_a_stack_it_is_adamw(model: Small) -> None:
    assert type(build_optimizer(model.named_parameters(), {}, Optim())) is torch.optim.AdamW
    assert type(build_optimizer(model.head.named_parameters(), {}, OPTIM)) is torch.optim.AdamW


def test_a_first_step_is_orthogonal_and_as_long_as_adamws(model: Small) -> None:
    before = hidden_matrix(model)
    optimizer = build_optimizer(model.named_parameters(), {}, Optim(lr=1e-2, muon_lr_ratio=1.0, weight_decay=0.0))
    train(model, optimizer, list(gradients(1)))
    step = (before - hidden_matrix(model)) / 1e-2
    # 0.2 sqrt(max(rows, columns)) times a nearly orthogonal matrix (arXiv 2502.16982, section 2.2). A batch of five
    # different rows through eight columns leaves the smallest directions empty, so only the largest five are compared.
    values = torch.linalg.svdvals(step) / (0.2 * 8**0.5)
    assert 0.6 < float(values[4]) <= float(values[0]) < 1.3


def test_the_schedule_reaches_both_also_after_loading(model: Small) -> None:
    optimizer = build_optimizer(model.named_parameters(), {}, OPTIM)
    train(model, optimizer, list(gradients(2)))
    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    before = copy.deepcopy(model.state_dict())
    train(model, optimizer, list(gradients(1)))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_saved_state_goes_on_to_the_same_weights(model: Small) -> None:
    other = copy.deepcopy(model)
    batches = list(gradients(6))
    whole = build_optimizer(model.named_parameters(), {}, OPTIM)
    train(model, whole, batches)
    first = build_optimizer(other.named_parameters(), {}, OPTIM)
    train(other, first, batches[:3])
    second = build_optimizer(other.named_parameters(), {}, OPTIM)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    train(other, second, batches[3:])
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in model.state_dict().items())
