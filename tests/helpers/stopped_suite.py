"""A suite whose commands are forks, stopped as by Ctrl-C before its first scoring while a file is there.

`python -m tests.helpers.stopped_suite FILE WORDS` is `surgvl WORDS`, which stops who started it, once.
"""

import os
import runpy
import signal
import sys
import time
from pathlib import Path
from subprocess import DEVNULL, STDOUT
from types import SimpleNamespace

from surgvl.bench import jobs
from surgvl.commands.suite import run_suite
from surgvl.commands.suite_config import SuiteConfig
from surgvl.core.errors import DataError
from tests.helpers.forked import Forked


def run(suite: Path, given: SuiteConfig, out: Path, stop: Path, told: Path) -> None:
    """Run a suite, and write what ended it."""
    vars(jobs)["subprocess"] = SimpleNamespace(Popen=Forked, DEVNULL=DEVNULL, STDOUT=STDOUT)
    try:
        run_suite(str(suite), given, out, 0, (sys.executable, "-m", __name__, str(stop)))
    except (KeyboardInterrupt, DataError) as end:
        told.write_text(f"{type(end).__name__}: {end}")


def main() -> None:
    stop = sys.argv.pop(1)
    if os.path.exists(stop) and "eval" in sys.argv:
        os.unlink(stop)
        os.kill(os.getppid(), signal.SIGINT)
        time.sleep(60)
    sys.argv[0] = "surgvl"
    runpy.run_module("surgvl", run_name="__main__")


if __name__ == "__main__":
    main()
