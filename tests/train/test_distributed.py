"""Two processes that share a batch, with copies of the model or with its halves, do what one process does."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from surgvl.train.distributed import main_process
from tests.helpers.align_steps import CUTS, SINGLE, assert_same, at_once, in_parts
from tests.helpers.forks import PROCESSES
from tests.helpers.two_processes import CASES, as_command, train

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All cases on two processes with gloo, with both strategies."""
    out = tmp_path_factory.mktemp("shared")
    process = PROCESSES.Process(target=as_command, args=(out,))
    process.start()
    process.join()
    assert process.exitcode == 0, (out / "output").read_text()
    return out


def losses(folder: Path) -> dict[int, float]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {row["step"]: row["loss"] for row in rows}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[dict[int, float], dict[str, Tensor]]]:
    """Losses and weights of a case on one process, each trained once."""

    @cache
    def trained(case: str) -> tuple[dict[int, float], dict[str, Tensor]]:
        out = tmp_path_factory.mktemp("alone")
        # Each process draws its own masks, so the one process draws them for each half of a batch.
        objective = train(case, out, {"accumulate": 2 if case in ("mae", "jepa") else 1})
        return losses(out / case), objective.state_dict()

    return trained


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
@pytest.mark.parametrize("case", CASES)
def test_two_processes_are_one_with_the_double_batch(
    strategy: str, case: str, shared: Path, alone: Callable[[str], tuple[dict[int, float], dict[str, Tensor]]]
) -> None:
    folder = shared / strategy / case
    (one, expected), two = alone(case), losses(folder)
    assert one.keys() == two.keys()
    assert all(abs(one[step] - two[step]) < 1e-5 for step in one)
    assert one[0] > 1.01 * one[max(one)]
    weights = torch.load(folder / "weights.pt", weights_only=True)
    assert weights.keys() == expected.keys()
    for name, value in expected.items():
        # A key's bias has no gradient but what rounding leaves, which AdamW brings to its own size.
        if not name.endswith("qkv.bias"):
            assert torch.allclose(value, weights[name], atol=1e-5), name


@pytest.mark.parametrize(("strategy", "case", "parts"), CUTS)
def test_contrastive_loss_and_gradient_of_two_processes_are_those_of_the_whole_batch(
    strategy: str, case: str, parts: int, shared: Path
) -> None:
    found = torch.load(shared / "align" / strategy / case / str(parts) / "step.pt", weights_only=True)
    assert_same(found, at_once(case), SINGLE if strategy == "fsdp" else 1e-6)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_in_two_parts_draw_the_random_numbers_of_four_parts(strategy: str, shared: Path) -> None:
    assert_same(
        torch.load(shared / "align" / strategy / "random/step.pt", weights_only=True), in_parts("repeated", 4), SINGLE
    )


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_processes_wait_for_the_device_at_logging_steps_alone(strategy: str, shared: Path) -> None:
    # Steps 0, 4 and 8 are logged; what was noted before is checked before a logged step asks for its batch.
    assert json.loads((shared / strategy / "guarded/reads.json").read_text()) == [0, 3, 4, 7]


def test_a_run_of_two_goes_on_from_its_checkpoint(shared: Path) -> None:
    # The case `mae` was broken off after two steps and went on: each step was logged once, by one process.
    for strategy in ("ddp", "fsdp"):
        rows = (shared / strategy / "mae/metrics.jsonl").read_text().splitlines()
        assert [json.loads(row)["step"] for row in rows] == list(range(4))
        kept = torch.load(shared / strategy / "mae/checkpoints/last.ckpt", weights_only=True)
        assert kept["step"] == 4
        assert kept["objective"]["encoder.embed.weight"].shape == (16, 96)


def test_both_name_the_clips_of_the_one_whose_loss_is_not_a_number(shared: Path) -> None:
    # Clip 45 is in the second half of step 5.
    said = [(shared / f"said_{which}").read_text() for which in ("first", "second")]
    assert said[0] == said[1]
    assert said[0].startswith("loss is nan at step 5, in a batch of v44, v45, v46, v47: inspect these videos")
    assert torch.load(shared / "breaks/checkpoints/last.ckpt", weights_only=True)["step"] == 4


def test_both_stop_when_one_gets_sigterm(shared: Path) -> None:
    # It comes in step 2; they agree at step 4, which is logged, and leave the checkpoint of four steps.
    assert (shared / "stopped_first").read_text() == (shared / "stopped_second").read_text() == "143"
    assert torch.load(shared / "told/checkpoints/last.ckpt", weights_only=True)["step"] == 4


@pytest.mark.parametrize(
    ("environment", "first"),
    [
        ({}, True),
        ({"LOCAL_RANK": "0"}, True),
        ({"LOCAL_RANK": "1"}, False),
        ({"NODE_RANK": "1"}, False),
        ({"NODE_RANK": "1", "LOCAL_RANK": "0"}, False),
        ({"RANK": "0", "LOCAL_RANK": "0"}, True),
        ({"RANK": "4", "LOCAL_RANK": "0"}, False),
        ({"SLURM_PROCID": "3"}, False),
    ],
)
def test_one_process_speaks(environment: dict[str, str], first: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main_process() == first
