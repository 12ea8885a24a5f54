"""A run folder for a first look: eight rendered operations under the models that ship, made in about a minute."""

import shutil
from pathlib import Path

from surgvl.cli.quickstart import run_stages
from surgvl.models.model_info import find_model

# Operations that the shipped models were not trained on, see surgvl/models/phantom/README.md.
FIRST, NUM = 61, 8
MODELS = {"align": "phantom", "tune": "phantom-chat"}


def prepare(out: Path) -> Path:
    """Render the operations, embed and index them; a folder that was begun is continued, a whole one is left.

    Args:
        out: run folder, as the page takes it.
    """
    out.mkdir(parents=True, exist_ok=True)
    for stage, name in MODELS.items():
        folder, record = out / stage / "model", out / stage / "run.json"
        if not record.is_file():
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(find_model(name), folder)
            (folder / "run.json").replace(record)
    at = {name: str(out / name) for name in ("phantom", "manifest", "vectors", "index", "align")}
    rendered = ["phantom", "--train", "0", "--val", "0", "--test", str(NUM), "--first", str(FIRST)]
    plan = [
        ("phantom", [*rendered, "--out", at["phantom"]]),
        ("convert", ["data", "convert", "phantom", at["phantom"], at["manifest"]]),
        ("embed", ["embed", "--model", at["align"], "--manifest", at["manifest"], "--out", at["vectors"]]),
        ("index", ["index", "--vectors", at["vectors"], "--manifest", at["manifest"], "--out", at["index"]]),
    ]
    run_stages(out, plan, {"first": FIRST, "videos": NUM})
    return out
