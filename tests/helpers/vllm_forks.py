"""One process that has imported vLLM, and forks of it: importing vLLM takes longer than most of what tests ask it."""

import os
from pathlib import Path

from surgvl.serve.supervisor import SupervisedEngine, Supervisor, launch

ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "PYTHONUNBUFFERED": "1",
    "TORCHDYNAMO_DISABLE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    # One process, and threads that share the cores with the tests.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}


# Engines fill their whole cache with zeros when they start.
SMALL_CACHE = ("--kv-cache-memory-bytes", str(1 << 26))


class VllmForks:
    """The process, which each `surgvl serve` has of its own, and what is asked of it.

    Args:
        at_once: import vLLM now, not when it is first asked for.

    Attributes:
        asking: the socket by which it is asked.
        pid: its number.
    """

    def __init__(self, at_once: bool = False) -> None:
        self._environment = {**ENVIRONMENT, **os.environ, "OMP_NUM_THREADS": "1"}
        # What goes wrong there is said in the log of each engine.
        with open(os.devnull, "ab") as log:
            self._process, self.asking = launch(self._environment, log)
        self.pid = self._process.pid
        # A module of the standard library that says a line.
        self._first = self.start(Path(os.devnull), "__hello__") if at_once else None

    def start(self, log: Path, *words: str) -> SupervisedEngine:
        """Run a module with words, whose output goes to a file."""
        with log.open("ab") as opened:
            return Supervisor(self.asking).start(words, self._environment, opened, fork=True)

    def close(self) -> None:
        """End it; what it started must have ended."""
        if self._first is not None:
            self._first.stop()
        self.asking.close()
        self._process.wait()
