"""What a run folder says about its model: read from the files that each stage left, without loading anything.

A file that is absent or foreign takes its facts with it, never the page.
"""

import contextlib
import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from safetensors import SafetensorError, safe_open

from surgvl.core.errors import DataError
from surgvl.core.files import read_json
from surgvl.core.results import Result
from surgvl.data.manifest import Manifest, VideoRow
from surgvl.demo.formatting import hours
from surgvl.demo.schemas import About, Stage

STAGES = (
    ("pretrain", "Video encoder", "learns to see from video alone, without labels"),
    ("align", "Shared space", "brings clips and spoken sentences together"),
    ("tune", "Answers", "teaches a language model to answer questions about clips"),
)


def about(run: Path, manifest: Manifest) -> About:
    """Facts of a run folder.

    Args:
        run: what `surgvl quickstart` leaves.
        manifest: its manifest.
    """
    rows, num_set_aside = readable(run / "vectors", manifest.videos)
    splits: dict[str, tuple[int, float]] = {}
    for row in rows:
        count, hours = splits.get(row.split, (0, 0.0))
        splits[row.split] = (count + 1, hours + row.duration_s / 3600)
    sources = list(dict.fromkeys((row.source, row.licence) for row in rows))
    trained, control = results(run / "result.json")
    seconds = _json(run / "quickstart.json").get("seconds", {})
    stages = []
    learnt_from: list[bool | None] = []
    for name, title, purpose in STAGES:
        if (run / name).is_dir():
            learnt = training_rows(run / name, manifest)
            learnt_from += are_rendered(run / name, learnt)
            known = stage_facts(run / name, learnt)
            if isinstance(seconds, dict) and isinstance(seconds.get(name), int | float):
                known["took"] = f"{seconds[name]:.0f} s"
            stages.append(Stage(title, purpose, known))
    return About(
        run.resolve().name,
        splits,
        sources,
        stages,
        trained,
        control,
        num_rendered=sum(row.rendered for row in rows),
        num_set_aside=num_set_aside,
        trained_on=kind_of(learnt_from),
    )


def readable(vectors: Path, rows: Sequence[VideoRow]) -> tuple[list[VideoRow], int]:
    """The videos without those that could not be embedded, and the number of the latter.

    Args:
        vectors: vectors folder; where it says nothing, all videos stand.
        rows: of the manifest. A split of which nothing was embedded was not asked for, and is kept.
    """
    embedded: set[str] = set()
    for path in vectors.glob("shard-*.parquet"):
        with contextlib.suppress(OSError, pa.ArrowInvalid, KeyError):
            embedded.update(pq.read_table(path, columns=["video_id"])["video_id"].unique().to_pylist())
    asked = {row.split for row in rows if row.video_id in embedded}
    kept = [row for row in rows if row.video_id in embedded or row.split not in asked]
    problems = _json(vectors / "run.json").get("problems")
    return kept, max(len(rows) - len(kept), len(problems) if isinstance(problems, list) else 0)


def training_rows(folder: Path, manifest: Manifest) -> list[VideoRow | None]:
    """Rows of the videos that a stage has seen; None for those of another manifest, of which nothing is known here."""
    record = _json(folder / "run.json")
    ids = record.get("pretraining_video_ids")
    if not isinstance(ids, list):
        return []
    # An id says which video it is within one manifest only.
    same = record.get("data_hash") == manifest.hash
    return [manifest.video(str(name)) if same and name in manifest else None for name in ids]


def are_rendered(folder: Path, learnt: Sequence[VideoRow | None]) -> list[bool | None]:
    """Whether each video that a stage has seen is rendered; None where neither its record nor the manifest says."""
    if learnt and _json(folder / "run.json").get("num_rendered") == len(learnt):
        return [True] * len(learnt)
    return [None if row is None else row.rendered for row in learnt]


def kind_of(rendered: Sequence[bool | None]) -> str:
    """What kind of videos these are, in words; empty where one is not known, or where there is none."""
    kinds = set(rendered)
    if not kinds or None in kinds:
        return ""
    if len(kinds) == 2:
        return "rendered and recorded videos"
    return "rendered videos" if kinds == {True} else "recorded videos"


def stage_facts(folder: Path, learnt: Sequence[VideoRow | None]) -> dict[str, str]:
    """Videos, steps, parameters, device, date and commit of a stage's run folder, as words.

    Args:
        folder: of the stage.
        learnt: the videos that it has seen, None for those that are not known here.
    """
    found: dict[str, str] = {}
    record = _json(folder / "run.json")
    if learnt:
        lengths_s = [row.duration_s for row in learnt if row is not None]
        whole = len(lengths_s) == len(learnt)
        kind = "rendered, " if all(are_rendered(folder, learnt)) else ""
        found["videos"] = f"{len(learnt):,} ({kind}{hours(sum(lengths_s) / 3600) if whole else 'of another manifest'})"
    if steps := num_steps(folder):
        found["steps"] = f"{steps:,}"
    total = num_parameters(folder / "model" / "model.safetensors")
    trainable = record.get("num_trainable")
    if total:
        found["parameters"] = f"{total / 1e6:.1f} million"
        if isinstance(trainable, int):
            found["parameters"] += f", of which this stage trained {trainable / 1e6:.1f} million"
    for key in ("device", "commit"):
        if isinstance(record.get(key), str) and record[key]:
            found[key] = record[key]
    if isinstance(record.get("written"), str):
        found["date"] = record["written"][:10]
    if isinstance(record.get("seed"), int):
        found["seed"] = str(record["seed"])
    return found


def num_steps(folder: Path) -> int:
    """Optimiser steps of a run: of its log, else of its configuration; 0 where neither says."""
    with contextlib.suppress(OSError, ValueError, IndexError, KeyError, TypeError):
        last = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1]
        return int(json.loads(last)["step"]) + 1
    with contextlib.suppress(OSError, yaml.YAMLError, KeyError, TypeError, ValueError):
        return int(yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))["run"]["steps"])
    return 0


def num_parameters(path: Path) -> int:
    """Number of stored weights of a safetensors file, from its header; 0 where there is none."""
    with contextlib.suppress(OSError, SafetensorError), safe_open(path, framework="numpy") as file:
        return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118 (no mapping)
    return 0


def questions(folder: Path) -> dict[str, str]:
    """Closed questions that the model of a run folder was tuned on, with their types; read without loading it."""
    found = _json(folder / "model" / "answers.json").get("questions")
    return {str(text): str(kind) for text, kind in found.items()} if isinstance(found, dict) else {}


def logit_scale(folder: Path) -> float:
    """What a video-text model multiplies its cosines by before a softmax; 1 / 0.07 where its weights do not say."""
    path = folder / "model" / "model.safetensors"
    with contextlib.suppress(OSError, SafetensorError), safe_open(path, framework="numpy") as file:
        return math.exp(float(file.get_tensor("logit_scale")))
    return 1 / 0.07


def results(path: Path) -> tuple[list[Result], list[Result]]:
    """Scores of the trained model and of the control in `result.json`; none where it is absent or of another kind."""
    stored = _json(path)
    fields = {field.name for field in dataclasses.fields(Result)}
    found = []
    for name in ("trained", "control"):
        rows = stored.get(name)
        rows = rows if isinstance(rows, list) else []
        found.append([_result(row) for row in rows if isinstance(row, dict) and set(row) <= fields])
    return found[0], found[1]


def _result(row: dict[str, Any]) -> Result:
    # JSON has no NaN: what is undefined is null there.
    numbers = {name: math.nan if row.get(name) is None else float(row[name]) for name in ("value", "low", "high")}
    baselines = {name: math.nan if value is None else value for name, value in (row.get("baselines") or {}).items()}
    return Result(**{**row, **numbers, "baselines": baselines})


def _json(path: Path) -> dict[str, Any]:
    try:
        value = read_json(path)
    except (DataError, OSError):
        return {}
    return value if isinstance(value, dict) else {}
