"""The words of `surgvl serve`: what is refused before anything starts, and what an engine is started with."""

import functools
import importlib.util
import json
import math
import pickle
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

pytest.importorskip("starlette", reason="starlette is not installed: pip install 'surgvl[serve]'")

from surgvl.cli import main as cli  # noqa: E402
from surgvl.cli.arguments import take_rest  # noqa: E402
from surgvl.core.errors import CheckpointError, ConfigError  # noqa: E402
from surgvl.models.model_info import check_servable  # noqa: E402
from surgvl.serve.engine_process import EngineProcess  # noqa: E402
from surgvl.serve.settings import ServerSettings  # noqa: E402
from tests.helpers.fake_vllm import KINDS, model_folder  # noqa: E402

# Importing it takes half a minute, and nothing of it is used here.
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("vllm") is None, reason="vllm is not installed: pip install 'surgvl[serve]'"
)


@pytest.mark.parametrize(
    ("command", "kind", "part"),
    [
        ("chat", "surgvl_dual", "holds a video-text model, not a chat model: give a folder that `surgvl tune` made"),
        ("chat", "surgvl_dual", "or use `surgvl serve embed`"),
        ("embed", "surgvl_chat", "holds a chat model, not a video-text model"),
        ("chat", "surgvl_video_vit", "holds a video encoder, not a chat model"),
        ("embed", "qwen2", "holds a model of type 'qwen2', not a video-text model"),
    ],
)
def test_a_folder_of_another_kind_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, kind: str, part: str
) -> None:
    folder = model_folder(tmp_path / "model", kind)
    assert cli.main(["serve", command, "--model", str(folder)]) == 1
    error = capsys.readouterr().err
    assert part in error
    assert error.count("\n") == 1


def put(folder: Path, name: str, value: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "encoder": {**config["encoder"], name: value}}))


def weigh(folder: Path, value: float, dtype: str) -> None:
    weights = {"a": torch.ones(5), "b": torch.tensor([1.0, 65504.0, -1e-8, value]).to(getattr(torch, dtype))}
    save_file(weights, folder / "model.safetensors")


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "negative": (lambda folder: put(folder, "dim", -3), "encoder.dim must be from 1 to 16384, got -3"),
    "text": (lambda folder: put(folder, "depth", "many"), "encoder.depth is 'many'"),
    "null": (lambda folder: put(folder, "heads", None), "encoder.heads is 'None'"),
    "huge": (lambda folder: put(folder, "depth", 10**12), "encoder.depth must be from 1 to 256, got 1000000000000"),
    "clips": (lambda folder: put(folder, "num_frames", 16), "config.json takes 16 of 64"),
    "deep": (lambda folder: (folder / "config.json").write_text('{"a":' * 200_000), "config.json is not JSON"),
    "fps": (
        lambda folder: (folder / "preprocessor_config.json").write_text('{"num_frames":8,"fps":1e300,"size_px":64}'),
        "preprocessor_config.json: fps is '1e+300'",
    ),
    "list": (lambda folder: (folder / "preprocessor_config.json").write_text("[]"), "preprocessor_config.json"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors cannot be read"),
    "cut": (
        lambda folder: (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-3]),
        "model.safetensors cannot be read",
    ),
    "pickle": (lambda folder: (folder / "model.safetensors").write_bytes(pickle.dumps({"a": 1})), "cannot be read"),
    "run": (lambda folder: (folder / "run.json").write_text('{"pretraining_video_ids": 3}'), "run.json"),
    "not finite": (functools.partial(weigh, value=math.nan, dtype="float32"), "holds NaN or infinity in b"),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder of each role, with which both start."""
    place = tmp_path_factory.mktemp("good")
    return {role: model_folder(place / role, kind) for role, kind in KINDS.items()}


def serve_all(folders: dict[str, Path]) -> list[str]:
    return ["serve", "all", "--model", str(folders["chat"]), "--embed_model", str(folders["embed"])]


@pytest.mark.slow
@pytest.mark.parametrize("role", ["chat", "embed"])
@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_folder_is_one_line_before_anything_starts(
    kind: str,
    role: str,
    good: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("surgvl.commands.serve.run_server", lambda *given: print("started"))
    broken = shutil.copytree(good[role], tmp_path / role)
    harm, said = BROKEN[kind]
    harm(broken)
    for words in (serve_all({**good, role: broken}), ["serve", role, "--model", str(broken)]):
        assert cli.main(words) == 1
        out, error = capsys.readouterr()
        assert not out
        assert error.count("\n") == 1
        assert said in error
        assert str(broken) in error


def test_whole_folders_start(
    good: dict[str, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("surgvl.commands.serve.run_server", lambda *given: print("started"))
    assert cli.main(serve_all(good)) == 0
    assert capsys.readouterr().out == "started\n"


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_that_are_not_finite_are_refused(value: float, dtype: str, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "chat", "surgvl_chat")
    weigh(folder, value, dtype)
    with pytest.raises(CheckpointError, match="holds NaN or infinity in b"):
        check_servable(folder)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_large_and_small_weights_are_numbers(dtype: str, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "chat", "surgvl_chat")
    weigh(folder, 1e-7, dtype)
    check_servable(folder)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &a [1, 1]\nb: [*a, *a]\n", "is not supported"),
        ("[" * 100_000, "at most 32 levels of nesting"),
        ("server: {port: null}\n", "server.port must not be null"),
        ("- model\n", "must be a mapping of arguments"),
        ("model: " + "9" * 5000, "a number must have at most 20 digits, got 5000"),
    ],
)
def test_a_damaged_config_is_one_line(text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "serve.yaml").write_text(text)
    for name in ("chat", "embed", "all"):
        assert cli.main(["serve", name, "--config", str(tmp_path / "serve.yaml")]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1


def test_a_chat_model_of_before_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = model_folder(tmp_path / "model", "surgvl_chat")
    (folder / "config.json").write_text('{"model_type": "surgvl_chat"}')
    assert cli.main(["serve", "chat", "--model", str(folder)]) == 1
    assert "tune the model again" in capsys.readouterr().err


def test_without_vllm_it_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib import metadata

    def none(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", none)
    assert cli.main(["serve", "chat", "--model", "m"]) == 1
    assert "vllm, which is not installed: pip install 'surgvl[serve]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        ({"port": 70000}, "--port must be 1 to 65535"),
        ({"max_video_s": 0}, "--max_video_s must be > 0, got 0"),
        ({"max_upload_mb": -1.0}, "--max_upload_mb must be > 0, got -1.0"),
        ({"tensor_parallel": 0}, "--tensor_parallel must be > 0"),
        ({"max_answers": 0}, "--max_answers must be > 0"),
        ({"max_connections": -5}, "--max_connections must be > 0, got -5"),
        ({"media_folder": Path("/no/such")}, "--media_folder /no/such is not a folder"),
    ],
)
def test_impossible_settings_are_refused(flags: dict[str, Any], part: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(part)):
        ServerSettings(**flags)


def test_an_open_address_without_a_key_is_warned_about(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SURGVL_API_KEY", raising=False)
    for host in ("127.0.0.1", "localhost", "::1", "127.0.0.53"):
        assert not ServerSettings(host=host).warning()
    for host in ("0.0.0.0", "::", "10.0.0.1", "example.org"):
        assert f"--host {host} lets other machines connect" in ServerSettings(host=host).warning()
        assert not ServerSettings(host=host, api_key="k").warning()


def test_words_after_engine_args_are_vllms() -> None:
    words = shlex.split("--model m --api-key k --engine-args --max-model-len 512 --seed=1")
    assert take_rest(words, "engine_args")[:4] == words[:4]
    config = cli.parse(["serve", "chat", *words])[2]
    assert config["engine_args"] == ["--max-model-len", "512", "--seed=1"]
    assert config["server.api_key"] == "k"
    assert cli.parse(shlex.split("serve chat --model m --trust_embeds --port 1"))[2]["server.trust_embeds"] is True


def test_the_environment_of_an_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SURGVL_API_KEY", "secret")
    for name in ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"):
        monkeypatch.delenv(name, raising=False)
    engine = EngineProcess("chat", tmp_path, "m", 8001, tmp_path / "log")
    found = engine.environment
    assert "secret" not in found.values()
    assert (found["VLLM_NO_USAGE_STATS"], found["HF_HUB_OFFLINE"]) == ("1", "1")
    assert (found["VLLM_ENABLE_V1_MULTIPROCESSING"], found["VLLM_CPU_OMP_THREADS_BIND"]) == ("0", "nobind")
    assert "PYTHONPYCACHEPREFIX" not in found
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "7")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = EngineProcess("chat", tmp_path, "m", 8001, tmp_path / "log", tensor_parallel=2).environment
    assert found["VLLM_CPU_KVCACHE_SPACE"] == "7"
    assert not {"VLLM_ENABLE_V1_MULTIPROCESSING", "VLLM_CPU_OMP_THREADS_BIND"} & set(found)
    assert "PYTHONDONTWRITEBYTECODE" not in found
    assert Path(found["PYTHONPYCACHEPREFIX"]).is_relative_to(tmp_path)


def test_the_command_line_of_an_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLLM_CPU_KVCACHE_SPACE", raising=False)

    def words(cpu: bool, **more: Any) -> str:
        return " ".join(EngineProcess("chat", tmp_path, "m", 8001, tmp_path / "log", cpu=cpu, **more).words)

    assert "--dtype float32 --enforce-eager" in words(cpu=True)
    assert "--host 127.0.0.1 --port 8001" in words(cpu=True)
    # Processes that share the work have settings of OpenMP of their own, with which vLLM starts them anew.
    assert "surgvl.serve.cpu_server" in words(cpu=True)
    assert "surgvl.serve.cpu_server" not in words(cpu=True, tensor_parallel=2)
    assert """--override-generation-config {"max_new_tokens": 99}""" in words(cpu=True, max_tokens=99)
    assert "--kv-cache-memory-bytes 1073741824" in words(cpu=True)
    assert "--kv-cache-memory-bytes" not in words(cpu=False)
    # It would override the flag.
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "7")
    assert "--kv-cache-memory-bytes" not in words(cpu=True)
    # Bounded: of vLLM's own 4 GiB it looks as if memory had a leak.
    cache_gb = float(words(cpu=True).partition("--mm-processor-cache-gb ")[2].split()[0])
    assert 0 < cache_gb < 1
    on_gpus = words(cpu=False, tensor_parallel=4, data_parallel=2)
    assert "float32" not in on_gpus
    assert "--tensor-parallel-size 4 --data-parallel-size 2" in on_gpus
    assert "embeds" not in on_gpus
    assert "--enable-mm-embeds --enable-prompt-embeds" in words(cpu=True, trust_embeds=True)
    assert f"--allowed-local-media-path {tmp_path}" in words(cpu=True, media_folder=tmp_path)
    with pytest.raises(ConfigError, match="TMPDIR"):
        EngineProcess("chat", tmp_path, "m", tmp_path / ("x" * 100), tmp_path / "log")
