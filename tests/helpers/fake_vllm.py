"""`surgvl serve` as a process before a stand-in for vLLM, for tests of how both live and die."""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from surgvl.serve.import_vllm import ENTRY
from tests.helpers.served import Served

# What `cpu_server` changes in vLLM, and what engines import, which are forks of who has imported it.
CHANGED = {
    "vllm.v1.engine.utils": "get_mp_context = None\nimport tests.helpers.fake_engine\n",
    "vllm.model_executor.models.registry": "_run_in_subprocess = None\n",
}
# Stands where Python finds vLLM's server. It has a child, as vLLM has, which outlives it.
FAKE = """
import os, pathlib, signal, subprocess, sys
words = sys.argv
folder = pathlib.Path(words[2])
print("INFO 11-21 08:00:00 [api.py:1] words:", words, flush=True)
print("env", os.environ.get("SURGVL_API_KEY"), os.environ.get("VLLM_NO_USAGE_STATS"), flush=True)
if (folder / "broken").exists():
    print("(EngineCore pid=7) ERROR 11-21 08:00:00 [core.py:1] ValueError: no such layer", flush=True)
    print("RuntimeError: Engine core initialization failed. See root cause above.", flush=True)
    sys.exit(1)
stay = "trap '' TERM; " if (folder / "stubborn").exists() else ""
child = subprocess.Popen(["sh", "-c", stay + "exec sleep 600"])
(folder / "child").write_text(str(child.pid))
(folder / "pid").write_text(str(os.getpid()))
import uvicorn
from tests.helpers.fake_engine import FakeEngine
uvicorn.run(FakeEngine(words[words.index("--served-model-name") + 1]).app, uds=words[words.index("--uds") + 1])
"""
TEXT = {"kind": "tiny", "dim": 8, "context_length": 32, "width": 16, "heads": 2, "layers": 1}
KINDS = {"chat": "surgvl_chat", "embed": "surgvl_dual"}


def model_folder(place: Path, kind: str) -> Path:
    """A folder with the files that the launcher itself reads, and as much in them as it looks at."""
    place.mkdir()
    known: dict[str, object] = {"model_type": kind, "encoder": {"size_px": 64, "num_frames": 8, "patch_px": 16}}
    if kind == "surgvl_dual":
        known |= {"architectures": ["SurgVLEmbeddingModel"], "text": TEXT, "dim": 8}
    else:
        known |= {"projector": {}, "text_config": {"eos_token_id": 2}, "image_token_id": 3, "video_token_id": 4}
    (place / "config.json").write_text(json.dumps(known))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (place / name).write_text("{}")
    (place / "preprocessor_config.json").write_text(json.dumps({"num_frames": 8, "fps": 4.0, "size_px": 64}))
    log_scale = np.array([2.0], np.float32)
    save_file(
        {"weight": np.ones(3, np.float32), "half": np.ones(3, np.float16), "logit_scale": log_scale},
        place / "model.safetensors",
    )
    if kind == "surgvl_chat":
        (place / "answers.json").write_text(
            json.dumps({"answers": ["yes", "no"], "questions": {"Is it?": "x"}, "end_id": 2})
        )
    return place


class FakeServed(Served):
    """The command before the stand-in.

    Args:
        role: chat, embed or all.
        tmp_path: for model folders, the stand-in and temporary files.
        words: more words.
        fork: whether it is a fork of this process.
        env: more of the environment.
    """

    def __init__(self, role: str, tmp_path: Path, *words: str, fork: bool = True, **env: str) -> None:
        self.folders = {each: tmp_path / each for each in KINDS}
        for each, kind in KINDS.items():
            if not self.folders[each].exists():
                model_folder(self.folders[each], kind)
        for name, text in {ENTRY: FAKE, **CHANGED}.items():
            file = Path(*name.split(".")).with_suffix(".py")
            (tmp_path / "fake" / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "fake" / file).write_text(text)
            for package in list(file.parents)[:-1]:
                (tmp_path / "fake" / package / "__init__.py").touch()
        # Sockets lie in it, whose paths may have a hundred characters.
        self.temporary = Path(tempfile.mkdtemp(prefix="surgvl-"))
        argv = [role, "--port", "0", "--model", str(self.folders["embed" if role == "embed" else "chat"])]
        argv += ["--embed_model", str(self.folders["embed"])] if role == "all" else []
        paths = os.pathsep.join((str(tmp_path / "fake"), str(Path(__file__).resolve().parents[2])))
        super().__init__(*argv, *words, fork=fork, env={"PYTHONPATH": paths, "TMPDIR": str(self.temporary), **env})

    def drop(self) -> None:
        """End it, and clear its temporary files away."""
        super().drop()
        shutil.rmtree(self.temporary, ignore_errors=True)

    def pid(self, role: str, name: str = "pid") -> int:
        """Process of a stand-in, or of its child."""
        return int((self.folders[role] / name).read_text())


@contextlib.contextmanager
def serving(role: str, tmp_path: Path, *words: str, fork: bool = True, **env: str) -> Iterator[FakeServed]:
    """`surgvl serve`, which is gone at the end, and all that belongs to it."""
    served = FakeServed(role, tmp_path, *words, fork=fork, **env)
    try:
        yield served
    finally:
        served.drop()
