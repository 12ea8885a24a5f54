"""What the page says about its videos and its models: from the manifest and the run records, in every mixture."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from surgvl.core.files import write_json
from surgvl.data.manifest import Manifest, VideoRow
from surgvl.demo import model_card, run_info
from surgvl.demo.schemas import ModelCard
from surgvl.embed.vectors import write_shard
from surgvl.models.model_info import find_model
from surgvl.models.shipped import PACKED
from tests.helpers.parsed_html import Parsed


def a_run(
    folder: Path, videos: dict[str, bool], seen: list[str], hash_: str | None = None, licence: str = ""
) -> Manifest:
    """A run folder with one stage: videos with whether they are rendered, and the ids that the stage has seen."""
    rows = [
        VideoRow(video_id=name, path=f"{name}.mp4", source="own", fps=25, duration_s=3600, rendered=drawn,
                 licence=licence)
        for name, drawn in videos.items()
    ]  # fmt: skip
    manifest = Manifest(rows, root=folder)
    (folder / "align").mkdir(parents=True)
    record = {"pretraining_video_ids": seen, "data_hash": manifest.hash if hash_ is None else hash_}
    write_json(folder / "align" / "run.json", record)
    return manifest


def shown(card: ModelCard) -> str:
    """The text of the page about the model."""
    return Parsed(model_card.model_card(card)).text


@pytest.mark.parametrize(
    ("videos", "seen", "trained_on", "says", "says_not"),
    [
        ({"a": True, "b": True}, ["a"], "rendered videos", "The videos on this page are rendered", "recorded"),
        ({"a": False, "b": False}, ["a"], "recorded videos", "trained on recorded videos", "rendered"),
        ({"a": True, "b": False}, ["a", "b"], "rendered and recorded videos", "1 of the 2 videos on", "The videos"),
        ({"a": False, "b": True}, ["a"], "recorded videos", "say nothing about patients", "trained on rendered"),
        ({"a": False, "b": False}, ["a", "elsewhere"], "", "Nothing here has been tested", "trained on re"),
        ({"a": False}, [], "", "nothing here is for clinical use", "rendered"),
    ],
)
def test_every_sentence_follows_from_the_videos(
    tmp_path: Path, videos: dict[str, bool], seen: list[str], trained_on: str, says: str, says_not: str
) -> None:
    found = run_info.read_model_card(tmp_path, a_run(tmp_path, videos, seen))
    assert found.trained_on == trained_on
    text = shown(found)
    assert says in text
    assert says_not not in text


def test_ids_of_another_manifest_are_not_taken_for_videos_of_this_one(tmp_path: Path) -> None:
    found = run_info.read_model_card(tmp_path, a_run(tmp_path, {"video01": False}, ["video01"], hash_="other"))
    assert found.trained_on == ""
    assert found.stages[0].facts["videos"] == "1 (of another manifest)"


def test_videos_that_could_not_be_embedded_are_counted_separately(tmp_path: Path) -> None:
    manifest = a_run(tmp_path, {"a": False, "b": False, "broken": False}, [])
    for number, name in enumerate("ab"):
        write_shard(tmp_path / "vectors", number, np.eye(2), [name] * 2, [0, 1], [1, 2])
    write_json(tmp_path / "vectors" / "run.json", {"problems": ["broken.mp4 cannot be read"]})
    found = run_info.read_model_card(tmp_path, manifest)
    assert found.splits == {"": (2, 2.0)}
    assert found.num_unreadable == 1
    assert "Left out because they cannot be read: 1 video." in shown(found)


def test_the_licence_is_said_where_there_is_one(tmp_path: Path) -> None:
    manifest = a_run(tmp_path / "a", {"a": False}, [], licence="CC BY 4.0")
    assert "own (licence: CC BY 4.0)" in shown(run_info.read_model_card(tmp_path / "a", manifest))
    text = shown(run_info.read_model_card(tmp_path / "b", a_run(tmp_path / "b", {"a": False}, [])))
    assert "Sources: own." in text
    assert "licence" not in text


@pytest.mark.parametrize("name", ["phantom", "phantom-chat"])
def test_the_models_that_ship_say_that_they_saw_rendered_operations_alone(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SURGVL_CACHE", str(tmp_path / "cache"))
    # Their card says the same: 48 operations, rendered.
    assert "48 operations rendered" in (PACKED / "README.md").read_text(encoding="utf-8")
    manifest = a_run(tmp_path / "run", {"mine": False}, [])
    folder = find_model(name)
    shutil.copytree(folder, tmp_path / "run" / "align" / "model")
    (tmp_path / "run" / "align" / "run.json").write_bytes((folder / "run.json").read_bytes())
    found = run_info.read_model_card(tmp_path / "run", manifest)
    assert found.trained_on == "rendered videos"
    assert found.stages[0].facts["videos"] == "48 (rendered, of another manifest)"
    assert "trained here" not in found.stages[0].facts["parameters"]
    text = shown(found)
    assert "The models were trained on rendered videos" in text
    assert "say nothing about patients" in text


def test_clips_are_told_with_what_they_see(tmp_path: Path) -> None:
    own = {"num_frames": 16, "fps": 0.25, "size_px": 224}
    cases: list[tuple[dict[str, object], str, str]] = [
        ({}, "16 frames, 4 s apart, around the moment (offline)", "the seconds around the moment"),
        ({"anchor": "last"}, "16 frames, 4 s apart, up to the moment (online)", "the seconds up to the moment"),
        ({"anchor": "first"}, "16 frames, 4 s apart, from the moment on (offline)", "the seconds from the moment on"),
        (
            {"num_frames": 1, "anchor": "first"},
            "single frames, from the moment on (offline)",
            "the frame of the moment",
        ),
        ({"anchor": "causal"}, "", "a clip of the moment"),
    ]
    for number, (more, said, seen) in enumerate(cases):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "preprocessor_config.json").write_text(json.dumps({**own, **more}))
        assert run_info.clip_facts(folder) == said
        assert run_info.seen(folder) == seen
    assert run_info.clip_facts(tmp_path / "absent") == ""
