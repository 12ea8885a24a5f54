"""Compiled parts of an objective: they train as those that are not, and all names in the state dict stay."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial, partialmethod
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from surgvl.train.loop import fit
from surgvl.train.objective import Objective
from tests.helpers.two_processes import OPTIM, SMALL, Clips, collate, mae, small_encoder


class Tokens(Objective):
    """An encoder and the smallest loss that reaches all its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = small_encoder(depth=1)

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        return {"loss": self.encoder(batch["video"]).sigmoid().square().mean()}


@pytest.fixture
def in_few_files(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have g++ compile each of the two passes as one file: as 13, next to a header of all, they take half a minute.

    It optimizes nothing and writes no tables for debuggers, which takes it as long again; loops are short here.
    """
    from torch._inductor import config, cpp_builder  # imports the whole compiler

    monkeypatch.setattr(cpp_builder, "_get_optimization_cflags", lambda *given, **named: (["O0"], []))
    with config.patch({"cpp_wrapper": True, "cpp_cache_precompile_headers": False, "cpp.vec_isa_ok": False}):
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("in_few_files")
@pytest.mark.filterwarnings("ignore")  # torch warns itself while it compiles
@pytest.mark.parametrize(
    ("make", "backend", "names"),
    [(partial(mae, depth=1), "aot_eager", ["VideoViT", "Decoder"]), (Tokens, "inductor", ["VideoViT"])],
)
def test_compiled_parts_train_alike_and_keep_their_names(
    make: Callable[[], Objective], backend: str, names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.compiler.reset()
    if backend != "inductor":  # which is torch's own choice
        monkeypatch.setattr(nn.Module, "compile", partialmethod(nn.Module.compile, backend=backend))
    trained, logs = [], []
    for on in (False, True):
        torch.manual_seed(3)
        trained.append(make())
        fit(trained[-1], Clips(), collate, tmp_path / str(on), OPTIM, replace(SMALL, steps=4, compile=on))
        lines = (tmp_path / str(on) / "metrics.jsonl").read_text().splitlines()
        logs.append([json.loads(line)["loss"] for line in lines])
    plain, compiled = trained
    assert list(plain.state_dict()) == list(compiled.state_dict())
    assert [type(part).__name__ for part in compiled.modules_to_compile()] == names
    assert logs[0][0] > 1.01 * logs[0][-1]
    assert logs[1] == pytest.approx(logs[0], rel=1e-5)
    assert all(part._compiled_call_impl is not None for part in compiled.modules_to_compile())
