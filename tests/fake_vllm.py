"""`surgvl serve` as a process before a stand-in for vLLM, for tests of how both live and die."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

# Stands where Python finds vLLM's server. It has a child, as vLLM has, which outlives it.
FAKE = """
import os, pathlib, signal, subprocess, sys
words = sys.argv
folder = pathlib.Path(words[2])
print("INFO 11-21 08:00:00 [api.py:1] words:", words, flush=True)
print("env", os.environ.get("SURGVL_API_KEY"), os.environ.get("VLLM_CPU_KVCACHE_SPACE"), flush=True)
if (folder / "broken").exists():
    print("(EngineCore pid=7) ERROR 11-21 08:00:00 [core.py:1] ValueError: no such layer", flush=True)
    print("RuntimeError: Engine core initialization failed. See root cause above.", flush=True)
    sys.exit(1)
stay = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
stubborn = [sys.executable, "-c", stay]
child = subprocess.Popen(stubborn if (folder / "stubborn").exists() else ["sleep", "600"])
(folder / "child").write_text(str(child.pid))
(folder / "pid").write_text(str(os.getpid()))
sys.path.insert(0, os.environ["TESTS"])
import uvicorn
from tests.fake_engine import FakeEngine
uvicorn.run(FakeEngine(words[words.index("--served-model-name") + 1]).app, uds=words[words.index("--uds") + 1])
"""
KINDS = {"chat": "surgvl_chat", "embed": "surgvl_dual"}


def model_folder(place: Path, kind: str) -> Path:
    """A folder with the files that the launcher itself reads."""
    place.mkdir()
    known = {"model_type": kind, "architectures": ["SurgVLEmbeddingModel"], "text": {"kind": "tiny"}, "projector": {}}
    (place / "config.json").write_text(json.dumps(known))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (place / name).write_text("{}")
    (place / "preprocessor_config.json").write_text(json.dumps({"num_frames": 8, "fps": 4.0, "size_px": 64}))
    (place / "model.safetensors").write_bytes(b"weights")
    if kind == "surgvl_chat":
        (place / "answers.json").write_text(json.dumps({"answers": ["yes", "no"], "questions": {"Is it?": "x"}}))
    return place


class Served:
    """A running `surgvl serve`."""

    def __init__(self, role: str, tmp_path: Path, *words: str, **env: str) -> None:
        self.folders = {each: tmp_path / each for each in KINDS}
        for each, kind in KINDS.items():
            if not self.folders[each].exists():
                model_folder(self.folders[each], kind)
        package = tmp_path / "fake" / "vllm" / "entrypoints" / "launchers" / "api_server"
        package.mkdir(parents=True, exist_ok=True)
        (package / "entry.py").write_text(FAKE)
        for place in (package, *list(package.parents)[:3]):
            (place / "__init__.py").touch()
        root = str(Path(__file__).resolve().parent.parent)
        temporary = tmp_path / "t"
        temporary.mkdir(exist_ok=True)
        self.temporary = temporary
        argv = [sys.executable, "-m", "surgvl.cli", "serve", role, "--port", "0"]
        argv += ["--model", str(self.folders["embed" if role == "embed" else "chat"])]
        argv += ["--embed_model", str(self.folders["embed"])] if role == "all" else []
        self.process = subprocess.Popen(
            [*argv, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(tmp_path / "fake"), "TESTS": root, "TMPDIR": str(temporary), **env},
        )
        self.said = ""

    def until(self, words: str) -> str:
        """Read what it says until some words."""
        assert self.process.stdout is not None
        while words not in self.said:
            line = self.process.stdout.readline()
            assert line or self.process.poll() is None, self.said + self.errors()
            self.said += line
        return self.said

    @property
    def url(self) -> str:
        found = re.search(r"at (http://127\.0\.0\.1:\d+)/v1", self.until("Ctrl-C"))
        assert found
        return found[1]

    def errors(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read()

    def pid(self, role: str, name: str = "pid") -> int:
        return int((self.folders[role] / name).read_text())

    def end(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


@contextlib.contextmanager
def serving(role: str, tmp_path: Path, *words: str, **env: str) -> Iterator[Served]:
    """`surgvl serve`, which is gone at the end, and all that belongs to it."""
    served = Served(role, tmp_path, *words, **env)
    try:
        yield served
    finally:
        served.process.kill()
        served.process.communicate()


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and waits to be collected does not."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def gone(pids: list[int], limit_s: float = 20.0) -> bool:
    """Whether processes end in time."""
    until = time.monotonic() + limit_s
    while any(map(alive, pids)) and time.monotonic() < until:
        time.sleep(0.05)
    return not any(map(alive, pids))
