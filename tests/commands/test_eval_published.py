"""Published models are scored by what the registry says of their training: ids, whole data sets, or unknown."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from surgvl.commands.eval import EvalConfig, evaluate
from surgvl.core.errors import DataError
from surgvl.core.files import read_json, write_json
from surgvl.core.predictions import Predictions, write_predictions
from surgvl.core.results import Result
from surgvl.data.manifest import Manifest, Segment, VideoRow
from surgvl.models import published
from surgvl.models.model_info import training_record
from surgvl.models.store import CARD

PHASES = ("preparation", "dissection")
ALLOWED = EvalConfig(allow_overlap=True)


def model_folder(folder: Path, name: str) -> Path:
    """The folder of a published model, as far as its training is concerned."""
    folder.mkdir()
    write_json(folder / CARD, {"name": name, "licence": "MIT"})
    return folder


def scored(tmp_path: Path, model: Path, **given: Any) -> list[Result]:
    """Evaluate right predictions of a model about one test video of each of two data sets."""
    sources = {"VID06": "cholect50", "video05": "cholec80"}
    videos = [
        VideoRow(video_id=name, path="", source=source, fps=1, duration_s=4, split="test")
        for name, source in sources.items()
    ]
    spans = [(name, at, phase) for name in sources for at, phase in enumerate(PHASES)]
    segments = [
        Segment(video_id=name, start_s=2 * at, end_s=2 * at + 2, task="phase", label=phase) for name, at, phase in spans
    ]
    Manifest(videos, segments).save(tmp_path / "manifest")
    ids = [name for name in sources for _ in range(4)]
    scores = np.eye(2, dtype=np.float32)[[0, 0, 1, 1] * 2]
    made = Predictions("phase", ids, np.tile(np.arange(4.0), 2), PHASES, scores, facts=training_record(model))
    write_predictions(tmp_path / "p.parquet", made)
    return evaluate(tmp_path / "manifest", tmp_path / "out", predictions=[tmp_path / "p.parquet"], **given)


@pytest.mark.slow
def test_a_leaking_entry_of_the_registry_stops_the_evaluation_or_marks_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = [{"data_set": "Cholec80", "videos": ["video05", "video06"], "source": "a paper"}]
    entry = {
        "title": "Leaky", "kind": "chat", "purpose": "a test", "licence": "MIT", "commercial": "yes",
        "files": [{"name": "a.bin", "url": "https://example.org/a.bin"}], "trained_on": trained,
    }  # fmt: skip
    (tmp_path / "registry").mkdir()
    (tmp_path / "registry" / "leaky.yaml").write_text(yaml.safe_dump(entry), encoding="utf-8")
    monkeypatch.setattr(published, "REGISTRY", tmp_path / "registry")
    model = model_folder(tmp_path / "model", "leaky")
    with pytest.raises(DataError, match="2 of 2 test videos were seen in pretraining: VID06, video05: use"):
        scored(tmp_path, model)
    results = scored(tmp_path, model, protocol=ALLOWED, resume=True)
    assert all("seen in pretraining: VID06, video05" in result.warning for result in results)


@pytest.mark.slow
def test_where_no_split_is_published_any_video_of_the_data_set_counts(tmp_path: Path) -> None:
    model = model_folder(tmp_path / "model", "surg-cholect50-7b")
    # Of Cholec80, CholecT50 has video 5; 6 is CholecT50's own.
    with pytest.raises(DataError, match="2 of 2 test videos were perhaps seen in pretraining, for .*: VID06, video05"):
        scored(tmp_path, model)
    scored(tmp_path, model, protocol=ALLOWED, resume=True)
    assert read_json(tmp_path / "out" / "run.json")["pretraining_video_ids"] == ["cholect50:*"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("surgclip", "trained on videos that nobody lists, so test videos may be among them: surglavi_beta\n"),
        ("surgvlp", "test videos may be among them: svl\n"),
        ("medsiglip", "test videos may be among them: data that nobody names\n"),
        ("a model that the registry does not have", "test videos may be among them: data that nobody names\n"),
    ],
)
def test_unknown_training_data_is_told_and_stops_nothing(tmp_path: Path, name: str, said: str) -> None:
    results = scored(tmp_path, model_folder(tmp_path / "model", name))
    assert {result.warning for result in results} == {""}
    assert said in (tmp_path / "out" / "result.md").read_text(encoding="utf-8")
