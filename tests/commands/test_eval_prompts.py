"""The prompt sets that `eval` scores with: those of the videos' data set, as embedded, without the YAML files."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from surgvl import prompts
from surgvl.commands.data_merge import data_merge
from surgvl.commands.eval import EvalConfig, evaluate
from surgvl.core import files
from surgvl.core.errors import ConfigError, DataError
from surgvl.data.manifest import Manifest, Segment, VideoRow
from surgvl.embed.meta import Meta, PromptSetFacts, write_meta
from surgvl.embed.vectors import Texts, write_shard, write_texts
from surgvl.prompts import load_sets
from surgvl.tasks.base import Unavailable
from surgvl.tasks.phase import Phase

MINE = """name: mine
version: 3
task: phase
dataset: Mine
source: "mine"
licence: Apache-2.0
language: en
classes:
  - {id: 0, name: Open, aliases: [opening], prompts: ["the abdomen is opened"]}
  - {id: 1, name: Close, prompts: ["the abdomen is closed"]}
"""


class Step(Phase):
    """A zero-shot task for labels of a new kind, as one file below `surgvl/tasks` would hold it."""

    name = "step"
    kind = "step"


CHOLEC80 = ("Preparation", "CalotTriangleDissection")
CHOLECT50 = ("preparation", "carlot-triangle-dissection")


def a_manifest(labels: Mapping[str, tuple[str, str]], root: Path, rendered: bool = False) -> Manifest:
    """A test video of 4 s for each data set: 2 s of its first label, 2 s of its second."""
    videos, segments = [], []
    for source, (one, other) in labels.items():
        name = f"{source}-1"
        videos.append(
            VideoRow(
                video_id=name, path="", source=source, fps=25, duration_s=4, split="test", rendered=rendered
            )
        )  # fmt: skip
        segments += [
            Segment(video_id=name, start_s=at, end_s=at + 2, task="phase", label=label)
            for at, label in ((0, one), (2, other))
        ]
    return Manifest(videos, segments, root=root)


def a_vectors_folder(folder: Path, sets: list[prompts.PromptSet], video_ids: list[str]) -> Path:
    """Each set has a direction for each class; a clip is the sum of those of its class in all sets."""
    space = np.eye(64, dtype=np.float32)
    place = {(each.name, row.id): 8 * at + row.id for at, each in enumerate(sets) for row in each.classes}
    rows = [(each.name, *row) for each in sets for row in each.texts()]
    names, ids, classes, texts = (list(column) for column in zip(*rows, strict=True))
    write_texts(folder, Texts(space[[place[row[0], row[1]] for row in rows]], names, ids, classes, texts))
    clips = [sum(space[place[each.name, second // 2]] for each in sets) for second in range(4)]
    for number, video_id in enumerate(video_ids):
        write_shard(folder, number, np.array(clips), [video_id] * 4, np.arange(4), np.arange(4) + 1)
    meta = Meta(
        model="m", model_hash="h", dim=64, clip_s=1, stride_s=1, num_vectors=4 * len(video_ids), frozen=True,
        num_trainable=0, prompt_sets={each.name: PromptSetFacts.of(each) for each in sets},
    )  # fmt: skip
    write_meta(folder, meta)
    return folder


def shipped() -> list[prompts.PromptSet]:
    return [prompts.load(name) for name in ("cholec80_phase", "phantom_phase")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "labels", "wanted"),
    [
        ("cholec80", CHOLEC80, "cholec80_phase"),
        ("CHOLEC80", CHOLEC80, "cholec80_phase"),
        ("cholect50", CHOLECT50, "cholec80_phase"),
        ("phantom", CHOLEC80, "phantom_phase"),
        ("Phantom", CHOLEC80, "phantom_phase"),
    ],
)
def test_the_set_follows_from_the_data_set(tmp_path: Path, source: str, labels: tuple[str, str], wanted: str) -> None:
    table = a_manifest({source: labels}, tmp_path)
    table.save(tmp_path / "manifest")
    found = evaluate(
        tmp_path / "manifest", tmp_path / "out", a_vectors_folder(tmp_path / "v", shipped(), table.video_ids())
    )
    assert {result.metric: result.value for result in found}["accuracy"] == 1
    assert all(f"zero-shot with {wanted} v1" in result.protocol for result in found)
    assert files.read_json(tmp_path / "out" / "run.json")["prompt_sets"] == {"phase": [wanted]}
    assert prompts.load(wanted).hash in (tmp_path / "out" / "result.md").read_text()


@pytest.mark.slow
def test_a_data_set_without_sentences_is_an_error_that_lists_what_there_is(tmp_path: Path) -> None:
    table = a_manifest({"other": CHOLEC80}, tmp_path)
    table.save(tmp_path / "manifest")
    vectors = a_vectors_folder(tmp_path / "v", shipped(), table.video_ids())
    with pytest.raises(DataError, match=r"'other'; embedded are cholec80_phase \(Cholec80 and CholecT50\), phantom_ph"):
        evaluate(tmp_path / "manifest", tmp_path / "out", vectors)
    found = evaluate(
        tmp_path / "manifest", tmp_path / "named", vectors, protocol=EvalConfig(phase_prompts="cholec80_phase")
    )
    assert "with cholec80_phase v1" in found[0].protocol


def test_two_sets_that_fit_are_for_the_person_to_choose_from(tmp_path: Path) -> None:
    file = tmp_path / "more.yaml"
    file.write_text(MINE.replace("name: mine", "name: more", 1).replace("dataset: Mine", "dataset: cholec80"))
    table = a_manifest({"cholec80": CHOLEC80}, tmp_path)
    table.save(tmp_path / "manifest")
    vectors = a_vectors_folder(tmp_path / "v", [*shipped(), prompts.load(file)], table.video_ids())
    with pytest.raises(DataError, match="prompt sets cholec80_phase, more are for the phase labels"):
        evaluate(tmp_path / "manifest", tmp_path / "out", vectors)


@pytest.mark.slow
def test_several_sources_are_scored_each_with_its_own_set(tmp_path: Path) -> None:
    table = a_manifest({"cholec80": CHOLEC80, "phantom": CHOLEC80, "mine": ("opening", "Close")}, tmp_path)
    table.save(tmp_path / "manifest")
    (tmp_path / "mine.yaml").write_text(MINE)
    vectors = a_vectors_folder(tmp_path / "v", load_sets([*(s.name for s in shipped()), str(tmp_path / "mine.yaml")]),
                               table.video_ids())  # fmt: skip
    found = [row for row in evaluate(tmp_path / "manifest", tmp_path / "out", vectors) if row.metric == "accuracy"]
    assert [(row.data, row.protocol.split(", ")[1], row.num_clips) for row in found] == [
        ("cholec80", "zero-shot with cholec80_phase v1", 4),
        ("phantom", "zero-shot with phantom_phase v1", 4),
        ("mine", "zero-shot with mine v3", 4),
    ]
    assert [row.value for row in found] == [1, 1, 1]
    page = (tmp_path / "out" / "result.md").read_text()
    assert all(f"phase · {name}" in page for name in ("cholec80", "phantom", "mine"))


@pytest.mark.slow
def test_a_file_of_ones_own_keeps_its_aliases_without_the_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(MINE)
    table = a_manifest({"mine": ("opening", "Close")}, tmp_path)
    table.save(tmp_path / "manifest")
    vectors = a_vectors_folder(tmp_path / "v", [prompts.load(file)], table.video_ids())
    file.unlink()
    for number, chosen in enumerate(("", "mine")):
        found = evaluate(
            tmp_path / "manifest", tmp_path / f"out{number}", vectors, protocol=EvalConfig(phase_prompts=chosen)
        )
        assert {row.metric: row.value for row in found}["accuracy"] == 1


@pytest.mark.slow
def test_a_new_kind_of_label_needs_a_task_and_a_prompt_set_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(MINE.replace("task: phase", "task: step"))
    table = a_manifest({"mine": ("opening", "Close")}, tmp_path)
    steps = [row.model_copy(update={"task": "step"}) for row in table.segments]
    Manifest(table.videos, steps, root=tmp_path).save(tmp_path / "manifest")
    vectors = a_vectors_folder(tmp_path / "v", [prompts.load(tmp_path / "mine.yaml")], table.video_ids())
    for number, chosen in enumerate(([], ["mine"])):
        found = evaluate(
            tmp_path / "manifest",
            tmp_path / f"{number}",
            vectors,
            tasks=[f"{__name__}.Step"],
            protocol=EvalConfig(prompts=chosen),
        )
        assert {(row.task, row.metric): row.value for row in found}["step", "accuracy"] == 1
        assert found[0].protocol.startswith("test split of mine, zero-shot with mine v3")


def test_a_kind_of_label_without_any_sentences_is_unavailable(tmp_path: Path) -> None:
    table = a_manifest({"cholec80": CHOLEC80}, tmp_path)
    steps = [row.model_copy(update={"task": "step"}) for row in table.segments]
    Manifest(table.videos, [*table.segments, *steps], root=tmp_path).save(tmp_path / "manifest")
    vectors = a_vectors_folder(tmp_path / "v", shipped(), table.video_ids())
    with pytest.raises(Unavailable, match="no embedded prompt set is for step labels; embedded are cholec80_phase"):
        evaluate(tmp_path / "manifest", tmp_path / "out", vectors, tasks=[f"{__name__}.Step"])


def test_two_prompt_sets_for_one_kind_are_refused(tmp_path: Path) -> None:
    table = a_manifest({"cholec80": CHOLEC80}, tmp_path)
    table.save(tmp_path / "manifest")
    vectors = a_vectors_folder(tmp_path / "v", shipped(), table.video_ids())
    both = [each.name for each in shipped()]
    with pytest.raises(ConfigError, match="'cholec80_phase' and 'phantom_phase' are both for phase labels: choose one"):
        evaluate(tmp_path / "manifest", tmp_path / "out", vectors, protocol=EvalConfig(prompts=both))


def test_eval_opens_no_prompt_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = a_manifest({"cholect50": CHOLECT50}, tmp_path)
    table.save(tmp_path / "manifest")
    vectors = a_vectors_folder(tmp_path / "v", shipped(), table.video_ids())
    monkeypatch.setattr(prompts, "_FOLDER", tmp_path / "nowhere")
    assert evaluate(tmp_path / "manifest", tmp_path / "out", vectors)[0].value == 1


def test_folders_written_before_are_scored_by_the_names_of_their_sets(tmp_path: Path) -> None:
    table = a_manifest({"phantom": CHOLEC80}, tmp_path)
    table.save(tmp_path / "manifest")
    vectors = a_vectors_folder(tmp_path / "v", shipped(), table.video_ids())
    record = files.read_json(vectors / "vectors.json")
    files.write_json(vectors / "vectors.json", {**record, "prompt_sets": {"cholec80_phase": 1, "phantom_phase": 1}})
    assert "with phantom_phase v1" in evaluate(tmp_path / "manifest", tmp_path / "out", vectors)[0].protocol


def test_the_hash_tells_sets_of_one_name_and_version_apart(tmp_path: Path) -> None:
    hashes = set()
    for old, new in (("", ""), ("is opened", "is cut"), ("[opening]", "[begin]"), ("dataset: Mine", "dataset: M")):
        (tmp_path / "mine.yaml").write_text(MINE.replace(old, new, 1))
        hashes.add(prompts.load(tmp_path / "mine.yaml").hash)
    assert len(hashes) == 4


def test_two_sets_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(MINE)
    with pytest.raises(ConfigError, match="two sets are called 'mine'"):
        load_sets([str(tmp_path / "a.yaml"), str(tmp_path / "a.yaml")])


@pytest.mark.slow
def test_a_merged_phantom_is_still_one(tmp_path: Path) -> None:
    """Under another name of its source: its sentences are found, and its numbers are called a phantom's."""
    a_manifest({"phantom": CHOLEC80}, tmp_path, rendered=True).save(tmp_path / "p")
    a_manifest({"cholec80": CHOLEC80}, tmp_path).save(tmp_path / "c")
    for names, says in ((["lap"], "nothing about patients"), (["lap", "real"], "1 of 2 videos is rendered")):
        out = tmp_path / f"{len(names)}"
        data_merge([tmp_path / name for name in "pc"[: len(names)]], out / "m", names)
        table = Manifest.load(out / "m")
        vectors = a_vectors_folder(out / "v", shipped(), table.video_ids())
        found = evaluate(out / "m", out / "e", vectors)
        assert found[0].protocol.startswith("test split of lap, zero-shot with phantom_phase v1")
        assert says in (out / "e" / "result.md").read_text()
    data_merge([tmp_path / "c"], tmp_path / "real", ["lap"])
    table = Manifest.load(tmp_path / "real")
    evaluate(tmp_path / "real", tmp_path / "e", a_vectors_folder(tmp_path / "v", shipped(), table.video_ids()))
    assert "patients" not in (tmp_path / "e" / "result.md").read_text()
