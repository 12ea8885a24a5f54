"""Which videos a model was trained on, and whether these were rendered, from its files and those of its run."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from surgvl.core.errors import DataError, SurgVLError
from surgvl.core.files import read_json
from surgvl.core.operations import is_any, qualified
from surgvl.data.manifest import Manifest, VideoRow
from surgvl.models.model_info import find_model

# Stages behind labels and searches; what answers questions is trained apart.
LABEL_STAGES = ("pretrain", "align")
RENDERED = "rendered videos"


def labels_trained_on(model: Path | str, manifest: Manifest) -> str:
    """Kind of the videos behind the labels and searches of a model; see `kind_of`.

    Args:
        model: run folder, model folder or name; a model that is gone has no kind.
        manifest: of the archive, which may have the training videos.
    """
    try:
        folder = find_model(str(model))
    except (SurgVLError, OSError):
        return ""
    run = run_of(folder)
    if run is None:
        return kind_of(are_rendered(folder, training_videos(folder, manifest)))
    manifest = manifest_of_run(run, manifest)
    stages = [run / name for name in LABEL_STAGES if (run / name).is_dir()]
    return kind_of([each for stage in stages for each in are_rendered(stage, training_videos(stage, manifest))])


def run_of(folder: Path) -> Path | None:
    """The run of `surgvl quickstart` or `align` that a model folder belongs to; None for other models."""
    stage = folder.parent if folder.name == "model" else folder
    return stage.parent if stage.name == "align" and (stage / "run.json").is_file() else None


def manifest_of_run(run: Path, otherwise: Manifest) -> Manifest:
    """The manifest of a run, whose ids are those of its training videos; another one where it has none."""
    with contextlib.suppress(SurgVLError):
        return Manifest.load(run / "manifest")
    return otherwise


def training_videos(folder: Path, manifest: Manifest) -> list[VideoRow | None]:
    """Manifest rows of the videos a stage was trained on; None for videos of another manifest.

    What weights of others were trained on, and nobody lists, is left out.
    """
    record = json_object(folder / "run.json")
    ids = record.get("pretraining_video_ids")
    if not isinstance(ids, list):
        return []
    # An id identifies a video only within one manifest.
    same = record.get("data_hash") == manifest.hash
    rows = {name: row for row in manifest.videos for name in _names(row)} if same else {}
    return [rows.get(name) for name in map(str, ids) if not is_any(name)]


def _names(row: VideoRow) -> tuple[str, str]:
    """What a record calls a video: runs of before November 2026 recorded ids without their data sets."""
    return row.video_id, qualified(row.video_id, row.data_set)


def are_rendered(folder: Path, seen: Sequence[VideoRow | None]) -> list[bool | None]:
    """Whether each video a stage was trained on is rendered; None if neither its record nor the manifest tells."""
    if seen and json_object(folder / "run.json").get("num_rendered") == len(seen):
        return [True] * len(seen)
    return [None if row is None else row.rendered for row in seen]


def kind_of(rendered: Sequence[bool | None]) -> str:
    """Kind of the videos, in words; empty if there are none or the kind of one is unknown."""
    kinds = set(rendered)
    if not kinds or None in kinds:
        return ""
    if len(kinds) == 2:
        return "rendered and recorded videos"
    return RENDERED if kinds == {True} else "recorded videos"


def json_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty if there is none."""
    try:
        value = read_json(path)
    except (DataError, OSError):
        return {}
    return value if isinstance(value, dict) else {}
