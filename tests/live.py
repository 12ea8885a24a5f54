"""One real `surgvl serve all` before tiny models, for every test that needs a server: it takes a minute to start."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from surgvl.api import ChatModel, DualModel, load
from surgvl.models.folder import save_model
from tests.made_duals import tiny_dual
from tests.made_organs import save_run, taught
from tests.test_models import PREPROCESS

KEY = "live-key"
START_LIMIT_S = 240.0


@dataclass(frozen=True)
class Live:
    """A running server and the models that it serves.

    Attributes:
        url: its address.
        key: what clients must send.
        chat_run: run folder of the chat model.
        dual_run: model folder of the video-text model.
        pid: of the launcher.
    """

    url: str
    key: str
    chat_run: Path
    dual_run: Path
    pid: int

    def chat(self) -> ChatModel:
        """The chat model in this process."""
        model = load(self.chat_run)
        assert isinstance(model, ChatModel)
        return model

    def dual(self) -> DualModel:
        """The video-text model in this process."""
        model = load(self.dual_run)
        assert isinstance(model, DualModel)
        return model


@contextlib.contextmanager
def serving(place: Path) -> Iterator[Live]:
    """Start it, and stop it with all that belongs to it."""
    # vLLM's attention on a CPU has heads of 32 or more.
    chat_run, dual_run = save_run(taught(width=64), place / "chat"), place / "dual"
    save_model(tiny_dual(), dual_run, PREPROCESS)
    argv = [sys.executable, "-m", "surgvl.cli", "serve", "all", "--port", "0", "--model", str(chat_run)]
    argv += ["--embed_model", str(dual_run)]
    env = {**os.environ, "SURGVL_API_KEY": KEY, "TMPDIR": str(place)}
    said, errors = place / "said", place / "errors"
    with said.open("w") as out, errors.open("w") as err:
        process = subprocess.Popen(argv, stdout=out, stderr=err, env=env)
    try:
        until = time.monotonic() + START_LIMIT_S
        while "Ctrl-C" not in said.read_text():
            assert process.poll() is None, _logs(place)
            assert time.monotonic() < until, _logs(place)
            time.sleep(0.2)
        found = re.search(r"at (http://127\.0\.0\.1:\d+)/v1", said.read_text())
        assert found
        yield Live(found[1], KEY, chat_run, dual_run, process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _logs(place: Path) -> str:
    return "\n".join(path.read_text()[-2000:] for path in (place / "errors", *place.glob("surgvl-serve-*/*.log")))
