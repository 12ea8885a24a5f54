"""The GPU benchmark: rehearsed on a CPU against counts by hand, its clock, what it does when a row fails."""

import contextlib
import importlib
import json
import os
import runpy
import sys
import time
import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from torch.profiler import DeviceType

from tests.helpers.in_fork import in_fork

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "benchmarks" / "gpu.py"

# Python runs this before anything else, and a fork when it has forgotten the rest: what is not
# torch, transformers or needed by them is not installed.
HIDE = """
import sys
from importlib.machinery import BuiltinImporter, FrozenImporter, PathFinder

SEEN = set({seen!r})

class Few(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        # The build's own settings are named after the machine.
        known = name.partition(".")[0] in SEEN or name.startswith("_sysconfigdata")
        return super().find_spec(name, path, target) if known else None

sys.meta_path = [BuiltinImporter, FrozenImporter, Few]
"""


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(SCRIPT.parent)
    return importlib.import_module("gpu")


@pytest.fixture
def gpu_rows(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(SCRIPT.parent)
    return importlib.import_module("gpu_rows")


def modules_of(*packages: str) -> set[str]:
    """Names that packages, and what they need, can be imported by."""
    found: dict[str, set[str]] = {}
    todo = list(packages)
    while todo:
        name = canonicalize_name(todo.pop())
        if name in found:
            continue
        found[name] = set()
        try:
            package = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        # As `metadata.packages_distributions`, which reads the lists of files of all that is installed.
        declared = (package.read_text("top_level.txt") or "").split()
        found[name] = set(declared) or {file.parts[0].partition(".")[0] for file in package.files or []}
        needs = [Requirement(text) for text in package.requires or []]
        todo += [each.name for each in needs if each.marker is None or each.marker.evaluate({"extra": ""})]
    return {module for modules in found.values() for module in modules}


def rehearse(folder: Path, out: Path) -> None:
    """A rehearsal where there is torch, transformers and the checkout, and nothing else; for a fork alone."""
    ours = {"surgvl", "gpu", "videomae_sides"}
    others = modules_of("torch", "transformers") | set(sys.stdlib_module_names)
    hide = HIDE.format(seen=sorted(ours | others))
    (folder / "sitecustomize.py").write_text(hide)
    # For the search, which is a process of its own.
    os.environ["PYTHONPATH"] = f"{folder}{os.pathsep}{ROOT}"
    for name in list(sys.modules):
        if name.partition(".")[0] not in others:
            del sys.modules[name]
    exec(hide, {})
    with contextlib.suppress(ModuleNotFoundError):
        importlib.import_module("lightning")
        raise AssertionError("lightning can be imported")
    sys.path.insert(0, str(SCRIPT.parent))
    gpu = importlib.import_module("gpu")
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of which torch's compiler has some; pytest makes them errors

    def drive(plan: dict[str, Any], left_s: float, take: Callable[[dict[str, Any]], None]) -> str:
        told = os.open(folder / "told", os.O_RDWR | os.O_CREAT)
        os.dup2(told, 1)
        sys.argv = ["gpu_rows.py", json.dumps(plan)]
        runpy.run_path(str(SCRIPT.parent / "gpu_rows.py"), run_name="__main__")
        for line in (folder / "told").read_text().splitlines():
            take(json.loads(line))
        return ""

    vars(gpu)["drive"] = drive
    sys.argv = [str(SCRIPT), "--rehearse", "--out", str(out)]
    gpu.main()


def clip_flops(kept: int, embedded: int, train: bool) -> float:
    """Products of a clip of the tiny model, by hand: 2 x 4 x 4 tokens of 3 x 2 x 8 x 8 values, widths 48 and 32."""
    N, P, D, d = 32, 384, 48, 32

    def block(tokens: int, dim: int) -> int:
        return tokens * 12 * dim * dim + 2 * tokens * tokens * dim

    embed, encoder = embedded * P * D, block(kept, D)
    if not train:
        return 2.0 * (embed + encoder)
    decoder = kept * D * d + block(N, d) + (N - kept) * d * P
    # Backward is twice forward, but nobody asks for the gradient of pixels.
    return 2.0 * (2 * embed + 3 * (encoder + decoder))


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="on a GPU it would compile")
def test_a_rehearsal_counts_as_one_does_by_hand_and_needs_torch_and_transformers_alone(tmp_path: Path) -> None:
    out = tmp_path / "page.md"
    assert in_fork(lambda: rehearse(tmp_path, out)) == 0
    found = json.loads(out.with_suffix(".json").read_text())
    assert found["left_out"] == []
    assert [(row["task"], row["compiled"]) for row in found["rows"]] == [
        ("train", False),
        ("embed", False),
        ("train", True),
        ("embed", True),
    ]
    # int(0.9 * 16) of 16 places are hidden in both time slots.
    kept = 2 * 2
    counts = {
        ("train", "ours"): clip_flops(kept, kept, True),
        ("train", "peer"): clip_flops(kept, 32, True),
        ("embed", "ours"): clip_flops(32, 32, False),
        ("embed", "peer"): clip_flops(32, 32, False),
    }
    page = out.read_text()
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("|")]
    head, _, *rows = lines
    assert len(rows) == 8
    written = iter(rows)
    for row in found["rows"]:
        assert row["batch"] == 4
        assert {name for name, _ in row["profile"]["operators"]} & {"aten::mm", "aten::addmm"}
        for side in ("ours", "peer"):
            want, side_found = counts[row["task"], side], row["found"][side]
            assert side_found["flops"] == pytest.approx(want, rel=0.01)
            cells = dict(zip(head, next(written), strict=True))
            one, two = side_found["seconds"]
            rate = 4 / ((one + two) / 2)
            assert float(cells["clips/s"].replace(",", "")) == pytest.approx(rate, abs=0.06)
            share = float(cells["MFU"].rstrip("%")) / 100
            assert share == pytest.approx(rate * want / found["device"]["product"], rel=0.02, abs=6e-4)
            assert bool(cells["first step, s"]) == row["compiled"]
            assert bool(cells["over peer"]) == (side == "ours")
    assert "the numbers mean nothing" in page
    assert "measured" in page


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_in_a_line(
    gpu: Any, gpu_rows: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = tmp_path / "told"

    def measure() -> None:
        os.dup2(os.open(told, os.O_WRONLY | os.O_CREAT), 1)
        sys.argv = ["gpu_rows.py", json.dumps({"rehearse": False})]
        gpu_rows.main()

    assert in_fork(measure) == 0
    # The process that is driven says this, and nothing else.
    (tmp_path / "gpu_rows.py").write_text(f"print({told.read_text().strip()!r}, flush=True)")
    monkeypatch.setattr(gpu, "HERE", tmp_path)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--out", str(tmp_path / "page.md")])
    with pytest.raises(SystemExit) as end:
        gpu.main()
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--rehearse" in line
    assert {path.name for path in tmp_path.iterdir()} == {"told", "gpu_rows.py"}


@pytest.mark.slow
def test_a_smaller_batch_where_memory_ends(gpu_rows: Any) -> None:
    tried = []

    def attempt(batch: int) -> None:
        tried.append(batch)
        if batch > 16:
            raise torch.cuda.OutOfMemoryError(f"{batch} clips")

    assert gpu_rows.largest([64, 32, 16, 8], attempt) == 16
    assert tried == [64, 32, 16]
    with pytest.raises(torch.cuda.OutOfMemoryError, match="32 clips"):
        gpu_rows.largest([64, 32], attempt)


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989.4e12),
        ("NVIDIA H200", 989.4e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("A100-SXM4-40GB", 312e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA GeForce RTX 4090", 165.2e12),
        ("NVIDIA B200", 2250e12),
        # Others begin like one that is known.
        ("NVIDIA H20", None),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("NVIDIA GeForce RTX 4090 D", None),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", None),
    ],
)
def test_a_peak_is_of_one_device(name: str, peak: float | None, gpu_rows: Any) -> None:
    assert gpu_rows.sheet_peak(name) == peak


def test_operators_and_the_kernels_that_they_start_are_not_summed_up_together(gpu_rows: Any) -> None:
    def event(key: str, kind: DeviceType, host_us: float, device_us: float, note: bool = False) -> SimpleNamespace:
        times = {"self_cpu_time_total": host_us, "self_device_time_total": device_us}
        return SimpleNamespace(key=key, device_type=kind, is_user_annotation=note, **times)

    rows = [
        event("aten::gelu", DeviceType.CPU, 900, 25),
        event("aten::mm", DeviceType.CPU, 10, 75),
        event("cudaLaunchKernel", DeviceType.CPU, 500, 0),
        event("elementwise", DeviceType.CUDA, 0, 25),
        event("gemm", DeviceType.CUDA, 0, 75),
        event("Optimizer.step", DeviceType.CUDA, 0, 100, note=True),
    ]
    profile = SimpleNamespace(key_averages=lambda: rows)
    operators, kernels = gpu_rows.terms(profile, "cuda")
    assert [name for name, _ in operators] == ["aten::mm", "aten::gelu"]
    assert [seconds for _, seconds in operators] == pytest.approx([75e-6, 25e-6])
    assert [name for name, _ in kernels] == ["gemm", "elementwise"]
    assert sum(seconds for _, seconds in kernels) == pytest.approx(100e-6)
    assert gpu_rows.terms(profile, "cpu")[0][0] == ("aten::gelu", pytest.approx(900e-6))


# Stands in for gpu_rows.py: what it does with the plan follows after these lines.
FAKE = """
import json, subprocess, sys, time
plan = json.loads(sys.argv[1])
def tell(found):
    print(json.dumps(found), flush=True)
def row_of(row, done):
    side = {"flops": 1e9, "seconds": [0.5, 0.25, 0.5], "first_s": 3.0, "gib": 1.5}
    found = {name: side for name in row["sides"]}
    profile = {"total_s": 0.25, "operators": [["aten::mm", 0.125]], "kernels": [["gemm", 0.125]]}
    return {"row": {**row, "batch": 8, "found": found, "profile": profile, "done": done}}
device = {"name": "Card", "driver": "1", "clocks": "2 MHz", "torch": "2", "transformers": "5"}
tell({"device": {**device, "product": 8e11, "peak": 1e12, "by_sheet": True}})
"""


def main_of(gpu: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, *flags: str) -> tuple[Any, str]:
    """What the JSON and the page say after `script` stood in for the measurement."""
    (tmp_path / "gpu_rows.py").write_text(FAKE + script)
    (tmp_path / "gpu_search.py").write_text("print('| flat | gpu | 0.12 |')")
    monkeypatch.setattr(gpu, "HERE", tmp_path)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--out", str(tmp_path / "page.md"), "--sizes", "B", *flags])
    gpu.main()
    return json.loads((tmp_path / "page.json").read_text()), (tmp_path / "page.md").read_text()


@pytest.mark.slow
def test_a_row_that_fails_is_measured_without_the_peer_and_the_others_go_on(
    gpu: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = """
for row in plan["rows"]:
    if row["compiled"] and (row["task"] == "embed" or len(row["sides"]) == 2):
        print("a long story", file=sys.stderr)
        raise RuntimeError("no kernel for " + row["task"])
    tell(row_of(row, True))
"""
    found, page = main_of(gpu, monkeypatch, tmp_path, script)
    assert [(row["task"], row["compiled"], row["sides"]) for row in found["rows"]] == [
        ("train", False, ["ours", "peer"]),
        ("embed", False, ["ours", "peer"]),
        ("train", True, ["ours"]),
    ]
    assert found["left_out"] == [
        "pretraining, ViT-B, compiled, ours and peer: RuntimeError: no kernel for train",
        "embedding, ViT-B, compiled, ours and peer: RuntimeError: no kernel for embed",
        "embedding, ViT-B, compiled, ours: RuntimeError: no kernel for embed",
    ]
    assert all(line in page for line in found["left_out"])
    # 8 clips in 0.5 s are 16 a second; at 1 GFLOP each they are 1.6 % of 1 TFLOP/s.
    assert "|    16.0 | 16.0 to 32.0 |      1.00 | 1.6% |" in page
    assert "kernels run for 50% of a step" in page
    assert "`aten::mm` 50.0%" in page
    assert "| flat | gpu | 0.12 |" in page


@pytest.mark.slow
def test_when_time_is_up_what_was_measured_stays_and_nothing_runs_on(
    gpu: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ticks = tmp_path / "ticks"
    child = f"import time\nwhile True: print(file=open({str(ticks)!r}, 'a')); time.sleep(0.02)"
    script = f"""
tell(row_of(plan["rows"][0], True))
tell(row_of(plan["rows"][1], False))
subprocess.Popen([sys.executable, "-c", {child!r}])
time.sleep(60)
"""
    begun = time.monotonic()
    found, page = main_of(gpu, monkeypatch, tmp_path, script, "--minutes", "0.05")
    assert 2 < time.monotonic() - begun < 50
    assert len(found["rows"]) == 2
    assert found["left_out"] == [
        "embedding, ViT-B, eager: cut off when time was up",
        "pretraining, ViT-B, compiled: time was up",
        "embedding, ViT-B, compiled: time was up",
    ]
    assert found["searches"] == ["- time was up"]
    assert page.count("surgvl SurgRecMAE") == 1
    assert page.count("surgvl VideoViT") == 1
    size = ticks.stat().st_size
    assert size > 0
    time.sleep(0.5)
    assert ticks.stat().st_size == size


def test_where_nothing_can_be_measured_it_says_why(gpu: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "gpu_rows.py").write_text("raise ImportError('no torch here')")
    monkeypatch.setattr(gpu, "HERE", tmp_path)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--out", str(tmp_path / "page.md")])
    with pytest.raises(SystemExit, match="no torch here"):
        gpu.main()
