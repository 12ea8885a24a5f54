"""Every file of a model folder with what it cannot hold: one line that names the file, nothing built, nothing run."""

import functools
import json
import pickle
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file

import surgvl
from surgvl.commands.tune import language_model
from surgvl.core.errors import CheckpointError, ConfigError
from surgvl.core.files import read_json
from surgvl.models.chat import Chat
from surgvl.models.checkpoint import load_model, save_model
from surgvl.models.checkpoints.convert import load_encoder
from surgvl.models.model_info import load_answers, training_record
from surgvl.models.text import build_text
from surgvl.video.clip import Preprocess
from tests.helpers.made_duals import tiny_dual
from tests.helpers.made_published import TINY_CFG
from tests.helpers.small_language import small_language
from tests.models.test_models import PREPROCESS, small_encoder

# What no count can be.
NUMBERS: dict[str, Any] = {
    "negative": -3, "zero": 0, "text": "many", "null": None, "huge": 10**12, "longest": 10**400, "inf": float("inf"),
    "nan": float("nan"), "list": [1], "object": {"a": 1}, "true": True, "half": 1.5, "million": 1_000_000,
}  # fmt: skip
FILES = {
    "empty": b"", "binary": bytes(range(256)), "utf16": json.dumps([4]).encode("utf-16"), "list": b"[]",
    "null": b"null", "text": b'"no"', "deep": b'{"a":' * 200_000, "digits": b'{"dim": ' + b"9" * 5000 + b"}",
    "cut": b'{"dim": 4, "enc', "nul": b"\0" * 64,
}  # fmt: skip
ENCODER = (
    "size_px",
    "num_frames",
    "patch_px",
    "tubelet",
    "dim",
    "depth",
    "heads",
    "mlp_ratio",
    "eps",
    "std",
    "position",
)
TEXT = ("dim", "context_length", "width", "heads", "layers", "kind")
LANGUAGE = ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size", "intermediate_size", "model_type")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model folder of each kind."""
    root = tmp_path_factory.mktemp("made")
    save_model(small_encoder(), root / "encoder", PREPROCESS)
    save_model(tiny_dual(), root / "dual", PREPROCESS)
    with small_language():
        language, tokenizer = language_model("tiny")
    encoder = small_encoder()
    shape = {"grid": [1, 1, 1]}
    save_model(Chat.of(encoder, language, tokenizer, shape, PREPROCESS), root / "chat", PREPROCESS)
    (root / "chat" / "answers.json").write_text(json.dumps({"answers": ["yes"], "questions": {"Q?": "t"}, "end_id": 3}))
    for kind in ("encoder", "dual", "chat"):
        load_model(root / kind)
    return root


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Callable[[str], Path]:
    return lambda kind: Path(shutil.copytree(made / kind, tmp_path / kind))


def refused(call: Callable[[], Any], *named: str) -> str:
    began = time.process_time()
    with pytest.raises((CheckpointError, ConfigError)) as caught:
        call()
    assert time.process_time() - began < 20
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 1200
    for name in named:
        assert name in message
    return message


def put(path: Path, place: tuple[str, ...], value: Any) -> None:
    whole = read_json(path)
    inner = whole
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    path.write_text(json.dumps(whole))


def places() -> Iterator[tuple[str, str, tuple[str, ...]]]:
    for name in ENCODER:
        yield "encoder", "config.json", (name,)
    for name in ("encoder", "text", "dim"):
        yield "dual", "config.json", (name,)
    for name in TEXT:
        yield "dual", "config.json", ("text", name)
    for name in ("encoder", "projector", "text_config", "image_token_id"):
        yield "chat", "config.json", (name,)
    for name in LANGUAGE:
        yield "chat", "config.json", ("text_config", name)
    yield "chat", "config.json", ("projector", "grid")
    for name in ("num_frames", "fps", "size_px", "crop"):
        yield "encoder", "preprocessor_config.json", (name,)


@pytest.mark.parametrize(("kind", "file", "place"), list(places()), ids=lambda v: v if isinstance(v, str) else v[-1])
@pytest.mark.slow
def test_no_field_takes_what_it_cannot_be(
    kind: str, file: str, place: tuple[str, ...], folder: Callable[[str], Path]
) -> None:
    path = folder(kind) / file
    before = path.read_text()
    for name, value in NUMBERS.items():
        free = place[-1] in ("fps", "mlp_ratio", "eps") and name == "half"
        if free and place[-1] != "mlp_ratio":
            continue
        path.write_text(before)
        put(path, place, value)
        refused(lambda: surgvl.load(path.parent), "" if "token_id" in place[-1] else str(path.parent))


@pytest.mark.parametrize("kind", ["encoder", "dual", "chat"])
@pytest.mark.parametrize("name", FILES)
@pytest.mark.slow
def test_no_file_is_another(kind: str, name: str, folder: Callable[[str], Path]) -> None:
    path = folder(kind)
    for file in sorted(each.name for each in path.iterdir()):
        if file in ("answers.json", "chat_template.jinja", "processor_config.json"):
            continue
        if kind == "dual" and file.startswith("tokenizer") and file.endswith("json"):
            continue  # for vLLM alone
        if file == "tokenizer_config.json" and name in ("null",):
            continue
        before = (path / file).read_bytes()
        (path / file).write_bytes(FILES[name])
        refused(lambda: surgvl.load(path), str(path))
        (path / file).unlink()
        (path / file).mkdir()
        if file not in ("tokenizer_config.json",):
            refused(lambda: surgvl.load(path), str(path))
        (path / file).rmdir()
        (path / file).write_bytes(before)
    surgvl.load(path)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_what_stands_beside_a_model(name: str, folder: Callable[[str], Path]) -> None:
    path = folder("chat")
    (path / "answers.json").write_bytes(FILES[name])
    (path / "run.json").write_bytes(FILES[name])
    refused(lambda: load_answers(path), "answers.json")
    refused(lambda: training_record(path), "run.json")


@pytest.mark.slow
@pytest.mark.parametrize("value", [None, 3, "a", [1], {"a": 1}, [None]])
def test_answers_and_ids_are_texts(value: Any, folder: Callable[[str], Path]) -> None:
    path = folder("chat")
    put(path / "answers.json", ("answers",), value)
    refused(lambda: load_answers(path), "answers")
    (path / "run.json").write_text(json.dumps({"pretraining_video_ids": value}))
    refused(lambda: training_record(path), "pretraining_video_ids")


@pytest.mark.slow
def test_another_geometry_is_refused_before_it_is_built(
    folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder("encoder")
    put(path / "config.json", ("depth",), 250)
    put(path / "config.json", ("dim",), 8192)
    made: list[str] = []
    plain = torch.nn.Linear.reset_parameters

    def note(layer: torch.nn.Linear) -> None:
        made.append(layer.weight.device.type)
        plain(layer)

    monkeypatch.setattr(torch.nn.Linear, "reset_parameters", note)
    assert "does not fit: missing" in refused(lambda: surgvl.load(path))
    assert set(made) == {"meta"}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("kind", ["encoder", "dual", "chat"])
def test_weights_are_numbers(value: float, kind: str, folder: Callable[[str], Path]) -> None:
    path = folder(kind) / "model.safetensors"
    weights = load_file(path)
    name = next(name for name, each in weights.items() if each.ndim == 2)
    weights[name][0, 0] = value
    save_file(weights, path)
    assert name in refused(lambda: surgvl.load(path.parent), "NaN or infinity in 1 of")
    if kind == "encoder":
        torch.save(weights, path.with_suffix(".pt"))


def test_clips_of_another_size_than_the_encoder_takes(folder: Callable[[str], Path]) -> None:
    path = folder("encoder")
    put(path / "preprocessor_config.json", ("num_frames",), 2 * PREPROCESS.num_frames)
    refused(lambda: surgvl.load(path), "config.json takes")
    with pytest.raises(ConfigError, match="fps must be > 0 and <= 1000, got 1e"):
        Preprocess(num_frames=4, fps=1e300, size_px=8)


class Trap:
    """What a pickle can do to those who run it."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.mkdir, (self.path,)


def traps(root: Path, sprung: Path) -> Path:
    """A folder that brings code and a pickle instead of weights."""
    root.mkdir()
    auto = {"AutoConfig": "code.C", "AutoModel": "code.M", "AutoModelForCausalLM": "code.M", "AutoTokenizer": "code.T"}
    (root / "config.json").write_text(json.dumps({"model_type": "strange", "auto_map": auto}))
    (root / "tokenizer_config.json").write_text(json.dumps({"auto_map": {"AutoTokenizer": ["code.T", None]}}))
    (root / "code.py").write_text(f"import pathlib\npathlib.Path({str(sprung)!r}).mkdir()\n")
    (root / "pytorch_model.bin").write_bytes(pickle.dumps({"a": Trap(sprung)}, protocol=2))
    return root


@pytest.mark.slow
def test_code_and_pickles_of_others_are_refused_and_not_run(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    code = traps(tmp_path / "code", sprung)
    pickled = traps(tmp_path / "pickled", sprung)
    bert = {"model_type": "bert", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "vocab_size": 8}
    (pickled / "config.json").write_text(json.dumps(bert))
    gpt = traps(tmp_path / "gpt", sprung)
    (gpt / "config.json").write_text(json.dumps({"model_type": "gpt2", "n_embd": 8, "n_layer": 1, "n_head": 1}))
    for path in (code, pickled):
        refused(functools.partial(build_text, f"hf:{path}", 8), str(path))
    for path in (code, gpt):
        refused(functools.partial(language_model, str(path)), str(path))
    file = code / "pytorch_model.bin"
    (tmp_path / "small.json").write_text(json.dumps(TINY_CFG))
    open_clip.add_model_config(tmp_path / "small.json")
    refused(lambda: build_text(f"open_clip:small@{file}", 8), str(file))
    refused(lambda: build_text(f"open_clip:small@{code}/no.pt", 8), "no.pt is neither a file nor a tag of small")
    refused(lambda: load_encoder(str(file)), str(file))
    assert not sprung.exists()


def test_a_nul_is_in_no_path() -> None:
    refused(lambda: surgvl.load("a\0b"), "NUL")
