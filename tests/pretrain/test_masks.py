"""Masks: equal counts, measured shares against closed forms and hand counts, and the time bias of the released trim."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from surgvl.core.errors import ConfigError
from surgvl.pretrain import masks

GRID = (8, 14, 14)


def as_bool(ids: torch.Tensor, num: int) -> torch.Tensor:
    return torch.zeros(len(ids), num, dtype=torch.bool).scatter_(1, ids, True)


@pytest.mark.parametrize(("ratio", "visible"), [(0.9, 160), (0.85, 240), (0.75, 392)])
def test_tubes_hide_the_published_counts_in_every_slot(ratio: float, visible: int) -> None:
    keep, hide = masks.tube(3, GRID, ratio)
    assert keep.shape == (3, visible)
    hidden = as_bool(hide, 1568).view(3, 8, 196)
    assert torch.equal(hidden, hidden[:, :1].expand_as(hidden))
    assert torch.equal(torch.cat([keep, hide], 1).sort(1).values, torch.arange(1568).expand(3, -1))


def test_random_masks_differ_between_slots_and_hide_evenly() -> None:
    torch.manual_seed(0)
    keep, hide = masks.random(400, (4, 6, 6), 0.75)
    assert hide.shape[1] == 108
    assert keep.shape[1] == 36
    share = as_bool(hide, 144).float().mean(0)
    # 400 draws of a coin of 0.75: five deviations are 0.108.
    assert float((share - 0.75).abs().max()) < 0.108
    hidden = as_bool(hide, 144).view(400, 4, 36)
    assert not torch.equal(hidden[:, 0], hidden[:, 1])


def test_a_ratio_range_is_drawn_within_it_and_follows_the_seed() -> None:
    torch.manual_seed(1)
    ratios = [masks.sample_ratio((0.75, 0.95)) for _ in range(200)]
    torch.manual_seed(1)
    assert ratios[:5] == [masks.sample_ratio((0.75, 0.95)) for _ in range(5)]
    assert 0.75 <= min(ratios) < 0.77
    assert 0.93 < max(ratios) <= 0.95
    assert masks.sample_ratio(0.9) == 0.9


def test_one_block_is_a_box_of_the_stated_area_over_the_whole_time() -> None:
    torch.manual_seed(2)
    keep, hide = masks.multi_block(6, GRID, 1, 0.25, (1.0, 1.0))
    assert hide.shape == (6, 8 * 7 * 7)
    assert keep.shape == (6, 1568 - 392)
    for row in as_bool(hide, 1568).view(6, *GRID).numpy():
        times, rows, cols = np.nonzero(row)
        assert len(times) == (np.ptp(times) + 1) * (np.ptp(rows) + 1) * (np.ptp(cols) + 1) == 392
        assert np.ptp(times) + 1 == 8


@pytest.mark.slow
@pytest.mark.parametrize(("number", "scale"), [(8, 0.15), (2, 0.7)])
def test_context_and_targets_are_apart_and_their_measured_shares_are_those_of_random_boxes(
    number: int, scale: float
) -> None:
    """Oracle: boxes laid one by one in plain Python; without trimming (one clip) the shares must agree."""
    torch.manual_seed(3)
    rng = np.random.default_rng(3)
    ours, theirs = [], []
    for _ in range(300):
        keep, hide = masks.multi_block(1, GRID, number, scale)
        assert keep.shape[1] + hide.shape[1] == 1568
        ours.append(hide.shape[1] / 1568)
        ratio = math.exp(rng.uniform(math.log(0.75), math.log(1.5)))
        h, w = (min(14, round(math.sqrt(scale * 196 * r))) for r in (ratio, 1 / ratio))
        plane = np.zeros((14, 14), bool)
        for _ in range(number):
            y, x = rng.integers(0, 14 - h + 1), rng.integers(0, 14 - w + 1)
            plane[y : y + h, x : x + w] = True
        theirs.append(plane.mean())
    apart = 4 * math.hypot(np.std(ours) / 300**0.5, np.std(theirs) / 300**0.5)
    assert abs(np.mean(ours) - np.mean(theirs)) < apart


@pytest.mark.slow
def test_trimming_at_random_treats_all_time_slots_alike_and_by_prefix_starves_the_last() -> None:
    torch.manual_seed(4)
    slots = {}
    for trim in ("random", "prefix"):
        used = torch.zeros(8)
        for _ in range(20):
            keep, hide = masks.multi_block(24, (8, 16, 16), 8, 0.15, trim=trim)
            assert (keep[:, 1:] > keep[:, :-1]).all()
            used += as_bool(keep, 2048).view(24, 8, 256).float().mean((0, 2)) / 20
        slots[trim] = used
    assert float(slots["random"].max() - slots["random"].min()) < 0.01
    # Measured on the released generator at this batch (reference notes): first slot .386, last slot .018.
    assert 0.3 < float(slots["prefix"][0]) < 0.5
    assert float(slots["prefix"][-1]) < 0.06


def test_trimming_keeps_what_was_chosen_and_equal_counts() -> None:
    torch.manual_seed(5)
    chosen = torch.rand(50, 40) < 0.5
    for trim in masks.TRIMS:
        ids = masks.trim_to_shortest(chosen, trim)
        assert ids.shape == (50, int(chosen.sum(1).min()))
        assert chosen.gather(1, ids).all()
    first = masks.trim_to_shortest(chosen, "prefix")
    assert torch.equal(first[0], chosen[0].nonzero()[: first.shape[1], 0])


def test_running_cells_choose_half_of_each_cell_and_every_place_once_in_four_slots() -> None:
    torch.manual_seed(6)
    chosen = masks.running_cell(5, (4, 6, 8), 0.5).view(5, 4, 3, 2, 4, 2)
    assert (chosen.sum((3, 5)) == 2).all()
    assert (chosen.sum(1) == 2).all()
    assert not torch.equal(chosen[:, 0], chosen[:, 1])
    quarter = masks.running_cell(5, (4, 6, 8), 0.25).view(5, 4, 48)
    assert (quarter.sum(1) == 1).all()


@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.75])
def test_running_cells_in_raster_order_are_those_of_a_queue(ratio: float) -> None:
    """Oracle: VideoMAE V2's queue of a cell, read row by row and turned by one per slot, in plain Python."""
    torch.manual_seed(7)
    queue, possible = [False] * (4 - int(4 * ratio)) + [True] * int(4 * ratio), []
    for start in range(4):
        slots = []
        for slot in range(5):
            cell = [queue[(place + start + slot) % 4] for place in range(4)]
            slots.append([[cell[2 * (row % 2) + column % 2] for column in range(8)] for row in range(6)])
        possible.append(torch.tensor(slots).flatten())
    found = masks.running_cell(40, (5, 6, 8), ratio, "raster")
    assert all(any(torch.equal(row, each) for each in possible) for row in found)
    assert all(any(torch.equal(row, each) for row in found) for each in possible)


@pytest.mark.parametrize(("draw", "size"), [("uniform", (26, 23)), ("log_uniform", (26, 24))])
def test_the_aspect_of_blocks_is_drawn_as_asked(draw: str, size: tuple[int, int], monkeypatch: Any) -> None:
    """The middle of a draw in 0.75 to 1.5 is 1.125, or 1.061 on a logarithmic scale; 614.4 patches are 614, or not."""
    monkeypatch.setattr(torch, "rand", lambda *size: torch.full(size[0] if size[0] else (), 0.5))
    _, hide = masks.multi_block(3, (1, 64, 64), 1, 0.15, trim="prefix", aspect_draw=draw)
    for row in as_bool(hide, 4096).view(3, 64, 64).numpy():
        rows, columns = np.nonzero(row)
        assert (int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1) == size


def test_what_no_mask_can_be_is_refused_in_one_line() -> None:
    with pytest.raises(ConfigError, match="4 of 4 masked"):
        masks.tube(1, (2, 2, 2), 1.0)
    with pytest.raises(ConfigError, match="trim must be one of random, prefix, got 'first'"):
        masks.multi_block(1, GRID, 1, 0.5, trim="first")
    with pytest.raises(ConfigError, match="mask the whole grid"):
        masks.multi_block(1, (2, 4, 4), 1, 1.0, (1.0, 1.0))
    with pytest.raises(ConfigError, match="even sides"):
        masks.running_cell(1, (2, 3, 4), 0.5)
    with pytest.raises(ConfigError, match="running cell must be one of circle, raster, got 'spiral'"):
        masks.running_cell(1, (2, 4, 4), 0.5, "spiral")
    with pytest.raises(ConfigError, match="aspect_draw must be one of log_uniform, uniform, got 'normal'"):
        masks.multi_block(1, GRID, 1, 0.5, aspect_draw="normal")
