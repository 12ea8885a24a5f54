"""PHI-S: the target of a fixed feature stands still once its basis is known, on several devices and after a resume."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from surgvl.pretrain.normaliser import Normaliser
from tests.helpers.forks import PROCESSES

DIM, ROWS, SAMPLE = 12, 64, 32


def batch(number: int) -> torch.Tensor:
    """Features of an update: pairs of channels of nearly equal variance, whose eigenvectors hardly differ."""
    generator = torch.Generator().manual_seed(number)
    deviations = torch.tensor([4.0, 4.0, 2.0, 2.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.1, 0.1])
    mix = torch.linalg.qr(torch.randn(DIM, DIM, generator=torch.Generator().manual_seed(-1)))[0]
    found: torch.Tensor = torch.randn(ROWS, DIM, generator=generator) * deviations @ mix + 3
    return found


def targets(scale: Normaliser, start: int, stop: int, share: slice = slice(None)) -> torch.Tensor:
    """Train on batches `start` to `stop` - 1: after each, the targets of the same five features, [updates, 5, E]."""
    fixed, found = batch(10**6)[:5], []
    for number in range(start, stop):
        scale.train()(batch(number)[share])
        found.append(scale.eval()(fixed))
    return torch.stack(found)


@pytest.mark.slow
def test_after_the_warm_up_no_update_turns_the_target_of_a_fixed_feature() -> None:
    found = targets(Normaliser(DIM, "phi_s"), 0, 1100)[SAMPLE - 1 :]
    cosine = torch.cosine_similarity(found[1:], found[:-1], dim=-1)
    assert float(cosine.min()) > 0.99


def test_the_frozen_basis_balances_the_channels_of_later_features() -> None:
    scale = Normaliser(DIM, "phi_s")
    targets(scale, 0, 2 * SAMPLE)
    later = scale(torch.cat([batch(number) for number in range(500, 700)]))
    assert float(later.mean(0).abs().max()) < 0.1
    # An eigenvalue of 2048 rows is off by a few per cent; without a rotation the variances differ by 1600.
    assert 0.85 < float(later.var(0).min()) < float(later.var(0).max()) < 1.15


def test_a_sample_that_was_interrupted_goes_on_to_the_same_targets() -> None:
    whole = targets(Normaliser(DIM, "phi_s"), 0, 40)
    first, second = Normaliser(DIM, "phi_s"), Normaliser(DIM, "phi_s")
    targets(first, 0, 20)
    second.load_state_dict(first.state_dict())
    assert torch.equal(targets(second, 20, 40), whole[20:])


def half_of_the_batches(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder / 'meet'}", rank=rank, world_size=2)
    scale = Normaliser(DIM, "phi_s")
    found = targets(scale, 0, 40, slice(rank * ROWS // 2, (rank + 1) * ROWS // 2))
    torch.save(found, folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_devices_with_half_of_each_batch_have_the_targets_of_one(tmp_path: Path) -> None:
    processes = [PROCESSES.Process(target=half_of_the_batches, args=(rank, tmp_path)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert torch.equal(first, second)
    alone = targets(Normaliser(DIM, "phi_s"), 0, 40)
    # Until the basis is chosen the targets agree entry by entry; its eigenvectors then have either sign, so angles do.
    assert torch.allclose(first[: SAMPLE - 1], alone[: SAMPLE - 1], atol=1e-3)
    angles, expected = (each @ each.transpose(1, 2) for each in (first, alone))
    assert torch.allclose(angles, expected, atol=1e-3)
