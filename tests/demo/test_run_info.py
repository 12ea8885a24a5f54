"""What the page says about its videos and its models: from the manifest and the run records, in every mixture."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from surgvl.core.files import read_json, write_json
from surgvl.core.results import Result, write_results
from surgvl.data.manifest import Manifest, VideoRow
from surgvl.demo import formatting, run_info
from surgvl.demo.evaluation_runs import evaluation_runs
from surgvl.demo.model_card import read_card
from surgvl.models.model_info import find_model
from surgvl.models.shipped import PACKED


def a_run(folder: Path, videos: dict[str, bool], seen: list[str], hash_: str | None = None) -> Manifest:
    """A run folder with one stage: videos with whether they are rendered, and the ids that the stage has seen."""
    rows = [
        VideoRow(video_id=name, path=f"{name}.mp4", source="own", fps=25, duration_s=3600, rendered=drawn)
        for name, drawn in videos.items()
    ]  # fmt: skip
    manifest = Manifest(rows, root=folder)
    (folder / "align").mkdir(parents=True)
    (folder / "align" / "config.json").write_text("{}")
    record = {"pretraining_video_ids": seen, "data_hash": manifest.hash if hash_ is None else hash_}
    write_json(folder / "align" / "run.json", record)
    return manifest


@pytest.mark.parametrize(
    ("videos", "seen", "trained_on"),
    [
        ({"a": True, "b": True}, ["a"], "rendered videos"),
        ({"a": False, "b": False}, ["a"], "recorded videos"),
        ({"a": True, "b": False}, ["a", "b"], "rendered and recorded videos"),
        ({"a": False, "b": True}, ["a"], "recorded videos"),
        ({"a": False, "b": False}, ["a", "elsewhere"], ""),
        ({"a": False}, [], ""),
        # Runs record the data set, too; the weights that one began with may be anybody's.
        ({"a": True, "b": True}, ["own:a", "own:b", "unknown:*"], "rendered videos"),
        ({"a": False, "b": False}, ["other:a"], ""),
    ],
)
def test_what_a_model_was_trained_on_follows_from_the_videos(
    tmp_path: Path, videos: dict[str, bool], seen: list[str], trained_on: str
) -> None:
    manifest = a_run(tmp_path, videos, seen)
    assert read_card(tmp_path / "align", manifest).trained_on == trained_on
    # An archive has a manifest of its own: that of the run says what its ids are.
    manifest.save(tmp_path / "manifest")
    assert read_card(tmp_path / "align", Manifest([])).trained_on == trained_on


def test_ids_of_another_manifest_are_not_taken_for_videos_of_this_one(tmp_path: Path) -> None:
    found = read_card(tmp_path / "align", a_run(tmp_path, {"video01": False}, ["video01"], hash_="other"))
    assert found.trained_on == ""
    assert found.stages[0].facts["videos"] == "1 (of another manifest)"


def test_a_published_model_says_what_its_card_says(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    write_json(tmp_path / "model_card.json", {"name": "some-model", "licence": "MIT", "source": "its page"})
    found = read_card(tmp_path, Manifest([]))
    assert (found.name, found.licence, found.source, found.trained_on) == ("some-model", "MIT", "its page", "")
    shipped = read_card("phantom", Manifest([]))
    assert (shipped.licence, shipped.trained_on) == ("Apache-2.0", "rendered videos")
    assert shipped.source.startswith("part of surgvl: ")
    assert shipped.stages[0].facts["sees"].startswith("8 frames, 0.25 s apart")
    assert read_card(tmp_path / "gone", Manifest([])).stages == []
    assert read_card("no-such-model", Manifest([])).stages == []


@pytest.mark.parametrize("name", ["phantom", "phantom-chat"])
def test_the_models_that_ship_say_that_they_saw_rendered_operations_alone(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SURGVL_CACHE", str(tmp_path / "cache"))
    # Their card says the same: 48 operations, rendered.
    assert "48 operations rendered" in (PACKED / "README.md").read_text(encoding="utf-8")
    manifest = a_run(tmp_path / "run", {"mine": False}, [])
    folder = find_model(name)
    (tmp_path / "run" / "align" / "config.json").unlink()
    shutil.copytree(folder, tmp_path / "run" / "align" / "model")
    (tmp_path / "run" / "align" / "run.json").write_bytes((folder / "run.json").read_bytes())
    found = read_card(tmp_path / "run" / "align", manifest)
    assert found.trained_on == "rendered videos"
    assert found.stages[0].facts["videos"] == "48 (rendered, of another manifest)"
    assert "trained here" not in found.stages[0].facts["parameters"]


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


# ---- scores


def test_facts_of_absent_or_foreign_files_are_left_out(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    assert run_info.read_scores(result) == ([], [])
    own = {"task": "phase", "metric": "accuracy", "value": 0.5, "low": None, "high": None, "baselines": {}}
    for foreign in (
        "[1, 2]",
        "not json",
        json.dumps({"trained": [{"foreign": 1}], "control": "none"}),
        json.dumps([{"task": "phase"}, own, {**own, "value": "high", "per_class": None}]),
    ):
        result.write_text(foreign)
        assert run_info.read_scores(result) == ([], [])
    (tmp_path / "metrics.jsonl").write_text("not json\n")
    (tmp_path / "config.yaml").write_text("run:\n  steps: 7\n")
    assert run_info.num_steps(tmp_path) == 7
    (tmp_path / "metrics.jsonl").write_text('{"step": 0}\n{"step": 19}\n')
    assert run_info.num_steps(tmp_path) == 20
    assert run_info.num_parameters(tmp_path / "model.safetensors") == 0


WHOLE = Result(
    task="phase", metric="accuracy", value=0.5, low=0.4, high=0.6, num_videos=8, num_clips=9,
    baselines={"majority": 0.3, "random": 0.1}, protocol="test",
)  # fmt: skip


def test_undefined_scores_come_back_as_nan(tmp_path: Path) -> None:
    undefined = {"low": None, "high": None, "sd_videos": None, "sd_classes": None, "baselines": {"random": None}}
    row = vars(WHOLE) | undefined
    write_json(tmp_path / "result.json", {"trained": [row], "control": []})
    (found,), _ = run_info.read_scores(tmp_path / "result.json")
    assert found.value == 0.5
    assert math.isnan(found.low)
    assert math.isnan(found.sd_videos)
    assert math.isnan(found.baselines["random"])


def test_runs_beside_an_archive_are_found_with_their_controls(tmp_path: Path) -> None:
    control = replace(WHOLE, value=0.2)
    write_results(tmp_path / "zero-shot" / "result.json", [WHOLE])
    write_results(tmp_path / "control" / "result.json", [control])
    (tmp_path / "vectors").mkdir()
    rows = [read_json(tmp_path / each / "result.json") for each in ("zero-shot", "control")]
    write_json(tmp_path / "result.json", {"trained": rows[0], "control": rows[1]})
    whole, alone = evaluation_runs(tmp_path)
    assert (whole["name"], alone["name"]) == (tmp_path.name, "zero-shot")
    (row,) = whole["tasks"][0]["main"]
    assert (row["value"], row["interval"], row["control"], row["blind"]) == (
        "0.500",
        "0.400 to 0.600",
        "0.200",
        "0.300",
    )
    places = {mark["kind"]: mark["left"] for mark in row["plot"]}
    assert places == pytest.approx({"whisker": 40, "blind": 30, "control": 20, "dot": 50})
    assert alone["tasks"][0]["main"][0]["control"] == "–"


# ---- words


def test_scores_have_as_many_decimals_as_they_need() -> None:
    assert formatting.score(math.nan) == "–"
    assert (formatting.score(0.12349), formatting.score(3, "median_rank")) == ("0.123", "3.0")


def test_messages_to_a_browser_name_files_without_folders() -> None:
    assert (
        formatting.without_folders("/srv/run/index/a.mp4: broken (see /srv/log.txt)") == "a.mp4: broken (see log.txt)"
    )
    assert formatting.without_folders("a half/half b 1/2 cut") == "a half/half b 1/2 cut"
