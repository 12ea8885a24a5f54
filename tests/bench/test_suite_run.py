"""A suite from its trees to its page by the real commands: stopped, and gone on with, without videos that are broken.

All frames are alike, so whatever is read out of an encoder is constant, and so are its scores.
"""

import json
from pathlib import Path

import pytest
import torch

from surgvl.commands.suite_config import SuiteConfig
from surgvl.data.readers.autolaparo import AutoLaparo
from surgvl.data.readers.cholec80 import Cholec80
from surgvl.models.checkpoint import save_model
from surgvl.models.vit import VideoViT
from surgvl.models.vit_config import ViTConfig
from surgvl.video.clip import Preprocess
from tests.helpers import made_trees, stopped_suite
from tests.helpers.forks import PROCESSES
from tests.helpers.label_files import put

SUITE = """
name: tiny
title: Two data sets
source: a paper
protocol: Words.
readouts:
  linear: probe --readout linear --fit.steps 2
rows:
  - {data: cholec80, kind: phase, split: standard, metrics: [accuracy, macro_f1], published: a paper}
  - {data: autolaparo, kind: phase, split: standard, published: a paper}
  - {data: lapgyn4, kind: clip, published: a paper, lacks: a reader of its own}
"""


def tiny_encoder(folder: Path) -> Path:
    torch.manual_seed(0)
    config = ViTConfig(size_px=16, num_frames=2, patch_px=8, tubelet=2, dim=16, depth=1, heads=2)
    save_model(VideoViT(config), folder, Preprocess(num_frames=2, fps=2.0, size_px=16))
    return folder


@pytest.mark.slow
def test_a_suite_runs_to_its_page(tmp_path: Path) -> None:
    root, out = tmp_path / "data", tmp_path / "out"
    made_trees.cholec80(root / "cholec80", made_trees.some_of(Cholec80.SPLITS["standard"]))
    put(root / "cholec80" / "videos" / "video02.mp4", b"no video")
    # Its labels are there.
    (root / "cholec80" / "videos" / "video27.mp4").unlink()
    encoder = str(tiny_encoder(tmp_path / "encoder"))
    put(tmp_path / "tiny.yaml", SUITE)
    stop = put(tmp_path / "stop", "")
    given = SuiteConfig(root=root, encoders=(encoder,), workers=1)

    def run() -> str:
        told = tmp_path / "told"
        process = PROCESSES.Process(target=stopped_suite.run, args=(tmp_path / "tiny.yaml", given, out, stop, told))
        process.start()
        process.join()
        return told.read_text()

    assert run() == "KeyboardInterrupt: "
    first = json.loads((out / "suite.json").read_text())["seconds"]
    assert [name.partition("/")[0] for name in first] == ["manifests", "runs"]
    assert not (out / "result.json").exists()

    # What was done is not repeated, and what cannot be read is told although all jobs are done.
    message = run()
    assert message.startswith("DataError: 2 jobs set videos or files aside")
    assert "video02" in message
    assert "video 'video27' has labels but no file" in message
    state = json.loads((out / "suite.json").read_text())
    assert {name: state["seconds"][name] for name in first} == first
    assert len(state["seconds"]) == 3

    record = json.loads((out / "result.json").read_text())
    values = {each["metric"]: (each["value"], each["num_videos"]) for each in record["rows"][0]["results"]}
    # Half of each operation has one phase: a constant is right half of the time, with an F1 of 2/3 and of 0.
    assert values["accuracy"] == (pytest.approx(1 / 2), 2)
    assert values["macro_f1"] == (pytest.approx(1 / 3), 2)
    assert record["failed"] == {}
    assert list(record["absent"]) == ["autolaparo-phase-standard", "lapgyn4-clip"]
    assert AutoLaparo.SOURCE in record["absent"]["autolaparo-phase-standard"]

    page = (out / "result.md").read_text()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line[:1] == "|"]
    scores = {(row[0], row[3].removesuffix(" (!)")): row[4] for row in cells if len(row) == 10}
    assert scores["cholec80 standard", "accuracy"].startswith("0.500 [")
    assert ["lapgyn4-clip", "lacks a reader of its own"] in cells
    assert "## Set aside" in page
    plots = {path.name.partition("-linear")[0] for path in (out / "plots").iterdir()}
    assert plots >= {f"cholec80-phase-standard-{kind}" for kind in ("confusion", "ribbons")}
    assert all(f"(plots/{path.name})" in page for path in (out / "plots").iterdir())
