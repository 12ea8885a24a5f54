"""vLLM's server without a GPU forks its engine core, which computes with all threads and hears no signals of others."""

import importlib.util
import multiprocessing
import os
import signal
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from surgvl.core.errors import ServerError
from surgvl.serve.cpu_server import fork_engine_cores
from tests.helpers.forks import PROCESSES
from tests.helpers.patience import patience

MODULES = ["vllm", "vllm.v1", "vllm.v1.engine", "vllm.v1.engine.utils"]
MODULES += ["vllm.model_executor", "vllm.model_executor.models", "vllm.model_executor.models.registry"]


def compute() -> float:
    """More than a thread does alone."""
    return float(torch.ones(1_000_000).sqrt().sum())


def as_core(out: Path) -> None:
    compute()
    # A loop's file descriptor, to which signals would be told.
    (out / "core").write_text(f"{torch.get_num_threads()} {signal.set_wakeup_fd(-1)}")


def put_in_place_of_vllm(**names: object) -> None:
    """Modules with some names only."""
    sys.modules.update({name: ModuleType(name) for name in MODULES})
    for name, value in names.items():
        for module in ("vllm.v1.engine.utils", "vllm.model_executor.models.registry"):
            setattr(sys.modules[module], name, value)


def as_server(out: Path) -> None:
    put_in_place_of_vllm(get_mp_context=None, _run_in_subprocess=None)
    # Three threads, and one inside each.
    os.environ["OMP_NUM_THREADS"] = "3,1"
    torch.set_num_threads(1)
    fork_engine_cores()
    before = os.environ["OMP_NUM_THREADS"]
    compute()
    _, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing)
    core = sys.modules["vllm.v1.engine.utils"].get_mp_context().Process(target=as_core, args=(out,))
    core.start()
    core.join(patience(10))
    core.kill()
    compute()
    told = signal.set_wakeup_fd(-1) == writing
    (out / "server").write_text(f"{before} {torch.get_num_threads()} {told}")


def as_server_of_another_vllm(out: Path) -> None:
    put_in_place_of_vllm(get_mp_context=None)
    try:
        fork_engine_cores()
    except ServerError as error:
        (out / "error").write_text(str(error))


NEEDS_VLLM = pytest.mark.skipif(
    importlib.util.find_spec("vllm") is None, reason="vllm is not installed: pip install surgvl[serve]"
)


@NEEDS_VLLM
def test_a_fork_computes_with_all_threads_and_leaves_signals_to_the_server(tmp_path: Path) -> None:
    # A fork would wait for those threads of OpenMP that this process has had.
    process = multiprocessing.get_context("spawn").Process(target=as_server, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert (tmp_path / "server").read_text() == "1 3 True"
    assert (tmp_path / "core").read_text() == "3 -1"


@NEEDS_VLLM
def test_a_vllm_without_a_name_that_is_changed_is_refused(tmp_path: Path) -> None:
    process = PROCESSES.Process(target=as_server_of_another_vllm, args=(tmp_path,))
    process.start()
    process.join()
    assert "registry._run_in_subprocess" in (tmp_path / "error").read_text()
