"""vLLM's server on a machine without a GPU, imported once: the process that computes is a fork of the server.

    python -m surgvl.serve.cpu_server --model FOLDER ...

The flags are those of `vllm serve`. vLLM itself forks on a GPU; on a CPU it starts its engine core anew, so that the
core reads other settings of OpenMP. Ours are in the environment from the start (`EngineProcess.environment`).
"""

import multiprocessing
import os
import runpy
import signal

from surgvl.serve.import_vllm import ENTRY, THREADS, import_vllm


def fork_engine_cores() -> None:
    """Import vLLM, and let it fork what it would spawn.

    Raises:
        ServerError: vLLM is missing, in another version, or without a module that is changed here.
    """
    num_threads = os.environ.get(THREADS, "1")
    registry, utils = import_vllm()
    utils.get_mp_context = lambda: multiprocessing.get_context("fork")
    # Models are asked what they can do in a process of their own, lest they touch a GPU.
    registry._run_in_subprocess = lambda look: look()
    os.register_at_fork(
        after_in_parent=lambda: _use_threads(num_threads), after_in_child=lambda: _begin_as_fork(num_threads)
    )


def _begin_as_fork(num_threads: str) -> None:
    _use_threads(num_threads)
    # Signals are told to the server's event loop, of which this process has only a copy.
    signal.set_wakeup_fd(-1)


def _use_threads(num_threads: str) -> None:
    import torch

    os.environ[THREADS] = num_threads
    # A list has a number for each level of nested threads; PyTorch has one level.
    torch.set_num_threads(int(num_threads.partition(",")[0]))


if __name__ == "__main__":
    fork_engine_cores()
    runpy.run_module(ENTRY, run_name="__main__", alter_sys=True)
