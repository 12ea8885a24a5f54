"""The contrastive loss of a step and its gradient do not depend on the number of its micro-batches.

`tests/train/test_distributed.py` has the same for devices, and `tests.helpers.align_steps` the oracles.
"""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from surgvl.align.clip import ClipAlign
from surgvl.core.errors import DataError
from surgvl.data.augment import Augment
from surgvl.data.augment_config import AugmentConfig
from surgvl.data.clips import collate
from surgvl.train.config import Optim, Run
from surgvl.train.loop import fit
from tests.helpers.align_steps import (
    AUGMENT,
    BATCH,
    SINGLE,
    TEXTS,
    Narrated,
    assert_same,
    at_once,
    in_parts,
    objective,
    step,
)
from tests.helpers.two_processes import HostReads


@pytest.mark.slow
@pytest.mark.parametrize("case", TEXTS)
@pytest.mark.parametrize("parts", [1, 2, 4, 8])
def test_parts_of_a_batch_are_the_batch(case: str, parts: int, tmp_path: Path) -> None:
    assert_same(step(tmp_path, case, accumulate=parts), at_once(case))


@pytest.mark.slow
def test_both_passes_over_a_part_draw_the_same_random_numbers(tmp_path: Path) -> None:
    found = step(tmp_path, "repeated", objective(0.5), Augment(AUGMENT, 16), accumulate=4, precision="32-true")
    assert_same(found, in_parts("repeated", 4), SINGLE)


@pytest.mark.slow
@pytest.mark.parametrize("tokens", [None, (8, 32)])
def test_parts_with_a_frozen_encoder_are_the_batch(tokens: tuple[int, int] | None, tmp_path: Path) -> None:
    one, parts = (
        step(tmp_path / str(n), "repeated", objective(frozen_encoder=True), tokens=tokens, accumulate=n) for n in (1, 4)
    )
    assert_same(parts, one)
    assert not any(name.startswith("dual.encoder.") for name in parts[1])


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "tolerance", "steps"), [("16-mixed", 0.01, 4), ("bf16-mixed", 0.05, 1)])
def test_parts_in_half_precision_are_the_batch_as_it_rounds(
    precision: str, tolerance: float, steps: int, tmp_path: Path
) -> None:
    # A gradient scaler skips steps until it finds its scale.
    loss, gradient = step(tmp_path, "repeated", accumulate=2, precision=precision, steps=steps)
    want = at_once("repeated")
    assert loss == pytest.approx(want[0], rel=tolerance)
    one, two = (torch.cat([each[name].double().flatten() for name in want[1]]) for each in (gradient, want[1]))
    assert float((one - two).norm()) < 3 * tolerance * float(two.norm())


class Live:
    """Bytes besides weights that graphs keep for their backward pass, at most at one time; a context manager."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.model, self.now, self.most = model, 0, 0
        self.weights: set[int] = set()

    def __enter__(self) -> "Live":
        live = self

        class Saved:
            def __init__(self, x: Tensor):
                # Once there is a pass, they have their precision.
                live.weights = live.weights or {each.untyped_storage().data_ptr() for each in live.model.parameters()}
                self.x, self.size = x, 0 if x.untyped_storage().data_ptr() in live.weights else x.nbytes
                live.now += self.size
                live.most = max(live.most, live.now)

            def __del__(self) -> None:
                live.now -= self.size

        self.hooks = torch.autograd.graph.saved_tensors_hooks(Saved, lambda saved: saved.x)
        self.hooks.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self.hooks.__exit__()


@pytest.mark.slow
def test_activations_take_the_memory_of_one_part(tmp_path: Path) -> None:
    most = []
    for parts in (1, 8):
        model = objective()
        with Live(model) as live:
            step(tmp_path / str(parts), "unique", model, accumulate=parts)
        assert live.now == 0
        most.append(live.most)
    assert most[1] < 0.2 * most[0]


class Failing(ClipAlign):
    """No number for the clips of the third quarter of a batch."""

    def embed(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        found = super().embed(batch)
        return {**found, "video": found["video"] * (float("nan") if "v5" in batch["video_id"] else 1.0)}


@pytest.mark.slow
def test_a_loss_that_is_not_a_number_names_the_part_where_the_fault_lies(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="loss is nan at step 0, in a batch of v4, v5: inspect"):
        step(tmp_path, "repeated", Failing(objective().dual), accumulate=4)


@pytest.mark.slow
def test_a_run_in_parts_resumes_to_the_same_weights(tmp_path: Path) -> None:
    run = Run(steps=4, batch=BATCH, precision="32-true", accelerator="cpu", accumulate=4, save_every=2)
    found = []
    for name in ("whole", "broken"):
        model = objective(0.5)
        if name == "broken":
            after_step = model.after_step

            def stop(progress: float) -> None:
                after_step(progress)  # noqa: B023 (called within this turn)
                if progress == 3 / 4:
                    raise KeyboardInterrupt

            model.after_step = stop  # type: ignore[method-assign]
            with pytest.raises(KeyboardInterrupt):
                fit(model, Narrated("repeated"), collate, tmp_path / name, Optim(), run, Augment(AUGMENT, 16))
            model = objective(0.5)
        fit(model, Narrated("repeated"), collate, tmp_path / name, Optim(), run, Augment(AUGMENT, 16))
        found.append(model.state_dict())
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())


@pytest.mark.slow
def test_nothing_is_read_from_the_device_between_logging_steps(tmp_path: Path) -> None:
    at: list[int] = []
    with HostReads() as reads:

        def counted(rows: list[dict[str, Any]]) -> dict[str, Any]:
            at.append(reads.num)
            return collate(rows)

        run = Run(steps=8, batch=BATCH, precision="32-true", accelerator="cpu", accumulate=2, log_every=4)
        # Without crops, which are drawn on the host: on a CPU, that looks like reading the device.
        fit(objective(0.5), Narrated("repeated"), counted, tmp_path, Optim(), run, Augment(AugmentConfig(), 16))
    # Two batches a step; steps 0, 4 and 7 are logged, and what was noted is checked before a logged step's batches.
    assert {number // 2 for number in range(15) if at[number + 1] > at[number]} == {0, 3, 4, 6}


@pytest.mark.parametrize(("before", "after"), [(9.0, math.log(100)), (-1.0, 0.0), (2.0, 2.0)])
def test_the_scale_stays_within_1_and_100_after_a_step(before: float, after: float) -> None:
    model = objective()
    with torch.no_grad():
        model.dual.logit_scale.fill_(before)
    model.after_step(0.5)
    assert model.dual.logit_scale.item() == pytest.approx(after)


def test_a_scale_at_its_bound_still_has_a_gradient() -> None:
    model = objective()
    with torch.no_grad():
        model.dual.logit_scale.fill_(4.7)  # above the bound, as it is before it is clamped after a step
    batch = collate([Narrated("unique")[index] for index in range(4)])
    model(batch)["loss"].backward()
    assert model.dual.logit_scale.grad is not None
    assert model.dual.logit_scale.grad.abs().item() > 0
