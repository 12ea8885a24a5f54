"""Facts of run and model folders, read from the files of its stages without loading a model.

If a file is missing or not one of ours, its facts are left out, and the page still works.
"""

import contextlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from safetensors import SafetensorError, safe_open

from surgvl.archive.trained_on import are_rendered, json_object
from surgvl.core.errors import DataError, SurgVLError
from surgvl.core.files import read_json
from surgvl.core.results import Result, result_of
from surgvl.data.manifest import VideoRow
from surgvl.demo.formatting import hours
from surgvl.models.model_info import load_preprocess
from surgvl.models.published import registry

STAGES = (
    ("pretrain", "Video encoder", "learns from video alone, without labels"),
    ("align", "Shared space", "maps clips and narrated sentences into one space"),
    ("tune", "Question answering", "teaches a language model to answer questions about clips"),
)
# Where the frames of a clip lie, by its anchor.
PLACES = {"last": "up to the moment", "centre": "around the moment", "first": "from the moment on"}


@dataclass(frozen=True)
class TrainingStage:
    """One training stage: its name, what it does, and facts in the order in which they are shown."""

    name: str
    purpose: str
    facts: dict[str, str]


def stage_facts(folder: Path, seen: Sequence[VideoRow | None]) -> dict[str, str]:
    """Videos, steps, parameters, device, commit, date and seed of a stage, as text.

    Args:
        folder: run folder of the stage.
        seen: its training videos, None for videos of another manifest.
    """
    facts: dict[str, str] = {}
    record = json_object(folder / "run.json")
    if seen:
        durations_s = [row.duration_s for row in seen if row is not None]
        length = hours(sum(durations_s) / 3600) if len(durations_s) == len(seen) else "of another manifest"
        kind = "rendered, " if all(are_rendered(folder, seen)) else ""
        facts["videos"] = f"{len(seen):,} ({kind}{length})"
    if clips := clip_facts(folder / "model"):
        facts["clips"] = clips
    if steps := num_steps(folder):
        facts["steps"] = f"{steps:,}"
    total = num_parameters(folder / "model" / "model.safetensors")
    trainable = record.get("num_trainable")
    if total:
        facts["parameters"] = f"{total / 1e6:.1f} million"
        if isinstance(trainable, int):
            facts["parameters"] += f", of which this stage trained {trainable / 1e6:.1f} million"
    for key in ("device", "commit"):
        if isinstance(record.get(key), str) and record[key]:
            facts[key] = record[key]
    if isinstance(record.get("written"), str):
        facts["date"] = record["written"][:10]
    if isinstance(record.get("seed"), int):
        facts["seed"] = str(record["seed"])
    return facts


def clip_facts(model: Path) -> str:
    """Frames of a model's clips, and whether they look ahead; empty if its folder does not say."""
    with contextlib.suppress(SurgVLError):
        clip = load_preprocess(model)
        frames = "single frames" if clip.num_frames == 1 else f"{clip.num_frames} frames, {1 / clip.fps:g} s apart"
        return f"{frames}, {PLACES[clip.anchor]} ({clip.protocol})"
    return ""


def seen(model: Path | None) -> str:
    """What a model sees of a moment; "a clip of the moment" if there is no folder that says which."""
    if model is None:
        return "a clip of the moment"
    with contextlib.suppress(SurgVLError):
        clip = load_preprocess(model)
        return "the frame of the moment" if clip.num_frames == 1 else f"the seconds {PLACES[clip.anchor]}"
    return "a clip of the moment"


def num_steps(folder: Path) -> int:
    """Optimizer steps of a run from its log, or else from its configuration; 0 if unknown."""
    with contextlib.suppress(OSError, ValueError, IndexError, KeyError, TypeError):
        last = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1]
        return int(json.loads(last)["step"]) + 1
    with contextlib.suppress(OSError, yaml.YAMLError, KeyError, TypeError, ValueError):
        return int(yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))["run"]["steps"])
    return 0


def num_parameters(path: Path) -> int:
    """Number of weights in a safetensors file, from its header; 0 if there is no such file."""
    with contextlib.suppress(OSError, SafetensorError), safe_open(path, framework="numpy") as file:
        return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118 (no mapping)
    return 0


def known_questions(folder: Path) -> dict[str, str]:
    """Closed questions the model of a run folder was tuned on, with their types."""
    found = json_object(folder / "model" / "answers.json").get("questions")
    return {str(text): str(kind) for text, kind in found.items()} if isinstance(found, dict) else {}


def published_card(folder: Path, name: str) -> dict[str, str]:
    """What a published model's folder says of it, or the registry of one that ships."""
    card = json_object(folder / "model_card.json")
    if not card and (entry := registry().get(name)) is not None and entry.shipped:
        card = {"name": entry.title, "licence": entry.licence, "source": f"part of surgvl: {entry.purpose}"}
    return {key: str(card[key]) for key in ("name", "licence", "source") if card.get(key)}


def read_scores(path: Path) -> tuple[list[Result], list[Result]]:
    """Scores of a model and of its control in `result.json`; empty if there are none."""
    try:
        stored = read_json(path)
    except (DataError, OSError):
        return [], []
    stored = {"trained": stored} if isinstance(stored, list) else stored
    stored = stored if isinstance(stored, dict) else {}
    found: dict[str, list[Result]] = {"trained": [], "control": []}
    for name, results in found.items():
        rows = stored.get(name)
        for row in rows if isinstance(rows, list) else []:
            with contextlib.suppress(DataError):
                results.append(result_of(row))
    return found["trained"], found["control"]
