"""One process that has imported vLLM, and forks of it: importing vLLM takes longer than most of what tests ask of it.

`python -m tests.helpers.vllm_forks` reads lines of JSON, each with a module to run as `__main__` or a fork to wait for.
"""

import gc
import json
import os
import runpy
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

from surgvl.serve.cpu_server import fork_engine_cores

ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    # One process, and threads that share the cores with the tests.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}


class VllmForks:
    """The process, and what is asked of it."""

    def __init__(self) -> None:
        argv = [sys.executable, "-m", "tests.helpers.vllm_forks"]
        environment = {**ENVIRONMENT, **os.environ, "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def start(self, log: Path, *words: str) -> int:
        """Run a module with words; its process, whose output goes to a file."""
        return self._ask(log=str(log), words=words)

    def wait(self, pid: int) -> int:
        """Exit status of a fork, once it has ended."""
        return self._ask(wait=pid)

    def close(self) -> None:
        """End it; what it started must have ended."""
        self._process.communicate()

    def _ask(self, **asked: Any) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


def main() -> None:
    """Answer until there are no more lines."""
    # vLLM logs to standard output.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    fork_engine_cores()
    import vllm.entrypoints.launchers.api_server.entry
    import vllm.entrypoints.llm
    import vllm.v1.engine.core  # noqa: F401

    gc.freeze()
    for line in sys.stdin:
        asked = json.loads(line)
        if "wait" in asked:
            answer = os.waitstatus_to_exitcode(os.waitpid(asked["wait"], 0)[1])
        else:
            answer = os.fork() or _run(asked["log"], asked["words"])
        print(answer, file=answers, flush=True)


def _run(log: str, words: list[str]) -> int:
    """In the fork: run a module and end."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for number in (1, 2):
        os.dup2(output, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    status = 1
    try:
        sys.argv = list(words)
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


if __name__ == "__main__":
    main()
