"""What all tests share: no network, fixed seeds, few threads; and one small run folder of the whole path."""

import ipaddress
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.helpers.live import Live

# Read when torch, transformers and gradio are imported, here and in the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
os.environ.update(HF_HUB_OFFLINE="1", GRADIO_ANALYTICS_ENABLED="False")
# torch's compiler takes kernels out of this folder without asking what they were compiled for.
os.environ.setdefault(
    "TORCHINDUCTOR_CACHE_DIR",
    str(Path(tempfile.gettempdir(), f"surgvl-tests-{os.getuid()}-{os.environ.get('ATEN_CPU_CAPABILITY', 'native')}")),
)

# One process for all commands: importing torch is most of the time.
_RUN_ALL = "import json, sys; from surgvl import cli; [cli.run(argv) for argv in json.loads(sys.argv[1])]"


@pytest.fixture(autouse=True, scope="session")
def _no_network() -> Iterator[None]:
    """Refuse every address but this machine's own, so that a test cannot come to depend on another."""
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def check(host: Any) -> None:
        text = host.decode() if isinstance(host, bytes) else str(host or "localhost")
        try:
            near = ipaddress.ip_address(text).is_loopback or ipaddress.ip_address(text).is_unspecified
        except ValueError:
            near = text == "localhost"
        if not near:
            raise OSError(f"tests have no network, and something asked for {text}")

    def guarded_connect(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            check(address[0])
        connect(self, address)

    def guarded_look_up(host: Any, *rest: Any, **named: Any) -> Any:
        check(host)
        return look_up(host, *rest, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded_connect)
        patch.setattr(socket, "getaddrinfo", guarded_look_up)
        yield


@pytest.fixture(autouse=True)
def _seeds() -> None:
    """The same random numbers in every order of the tests."""
    random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


def tiny_commands(out: Path) -> list[list[str]]:
    """Every stage with its smallest settings; the models learn nothing, but every file is there."""
    phantom, manifest, pretrain, align, vectors, index, tune = (
        str(out / name) for name in ("phantom", "manifest", "pretrain", "align", "vectors", "index", "tune")
    )
    data, steps = ["--manifest", manifest], ["--run.steps", "2", "--run.batch", "4"]
    return [
        ["phantom", "--out", phantom, "--train", "2", "--val", "1", "--test", "1", "--duration_s", "20"],
        ["data", "convert", "phantom", phantom, manifest],
        ["pretrain", "--recipe", "surgrec_mae_phantom", *data, "--out", pretrain, *steps],
        ["align", *data, "--encoder", pretrain, "--out", align, *steps],
        ["embed", "--model", align, *data, "--out", vectors],
        ["index", "--vectors", vectors, *data, "--out", index],
        ["tune", *data, "--encoder", align, "--out", tune, *steps, "--projector_steps", "1"],
    ]


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder as `surgvl quickstart` leaves it, of four rendered videos of 20 s; made once a session."""
    out = tmp_path_factory.mktemp("tiny") / "run"
    argv = [sys.executable, "-c", _RUN_ALL, json.dumps(tiny_commands(out))]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=280, env={**os.environ, "OMP_NUM_THREADS": "2"})
    assert done.returncode == 0, done.stderr[-2000:]
    return out


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Live"]:
    """A real `surgvl serve all` before tiny models; started once a session. Tests of test_server_live.py end it."""
    pytest.importorskip("vllm", reason="vllm is not installed: pip install 'surgvl[serve]'")
    from tests.helpers.live import serving

    with serving(tmp_path_factory.mktemp("live")) as found:
        yield found
