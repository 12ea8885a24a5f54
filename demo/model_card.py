"""The card of the model behind an archive: what it was trained on, how, and on how many videos of which kind."""

from dataclasses import dataclass
from pathlib import Path

from surgvl.archive.trained_on import are_rendered, kind_of, manifest_of_run, run_of, training_videos
from surgvl.core.errors import SurgVLError
from surgvl.core.files import read_json
from surgvl.data.manifest import Manifest
from surgvl.demo.run_info import STAGES, TrainingStage, clip_facts, published_card, stage_facts
from surgvl.models.model_info import find_model


@dataclass(frozen=True)
class ModelCard:
    """What is known of a model.

    Attributes:
        name: of the model, as the archive has it; without folders.
        title: as people call it.
        trained_on: kind of the training data of all its stages, such as `rendered videos`; empty if unknown.
        licence: of its weights; empty if unknown.
        source: where it was published; empty if it was not.
        stages: training stages in order.
    """

    name: str
    title: str
    trained_on: str
    licence: str
    source: str
    stages: list[TrainingStage]


def read_card(model: Path | str, manifest: Manifest, answerer: str = "") -> ModelCard:
    """The card of a model; what its files do not say is left out, and a model that is gone has an empty card.

    Args:
        model: run folder, model folder or name.
        manifest: of the archive, which may have the training videos.
        answerer: name of another model that answers questions; empty: the run's own does.
    """
    name = Path(model).name if Path(model).exists() else str(model).rpartition("/")[2]
    try:
        folder = find_model(str(model))
    except (SurgVLError, OSError):
        return ModelCard(name, name, "", "", "", [])
    run = run_of(folder)
    if run is None:
        facts = published_card(folder, name)
        sees = {"sees": clip} if (clip := clip_facts(folder)) else {}
        stage = TrainingStage("Shared space", "a published model, as it is", {**facts, **sees})
        trained = kind_of(are_rendered(folder, training_videos(folder, manifest)))
        return ModelCard(
            facts.get("name", name), facts.get("name", name), trained, facts.get("licence", ""),
            facts.get("source", ""), [stage],
        )  # fmt: skip
    manifest = manifest_of_run(run, manifest)
    stages: list[TrainingStage] = []
    rendered: list[bool | None] = []
    seconds = _seconds(run)
    for stage_name, title, purpose in STAGES:
        if stage_name == "tune" and answerer:
            purpose = "another model, whose training is not recorded here"
            stages.append(TrainingStage(title, purpose, {"model": answerer}))
            rendered.append(None)
        elif (run / stage_name).is_dir():
            seen = training_videos(run / stage_name, manifest)
            rendered += are_rendered(run / stage_name, seen)
            facts = stage_facts(run / stage_name, seen)
            if stage_name in seconds:
                facts["time"] = f"{seconds[stage_name]:.0f} s"
            stages.append(TrainingStage(title, purpose, facts))
    return ModelCard(run.resolve().name, run.resolve().name, kind_of(rendered), "", "", stages)


def _seconds(run: Path) -> dict[str, float]:
    path = run / "quickstart.json"
    stored = read_json(path) if path.is_file() else {}
    found = stored.get("seconds") if isinstance(stored, dict) else None
    return {str(k): float(v) for k, v in found.items() if isinstance(v, int | float)} if isinstance(found, dict) else {}
