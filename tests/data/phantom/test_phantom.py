"""The phantom's scripts, label files and command: same seed, same bytes, and every label follows from the scene."""

import csv
import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from surgvl import video
from surgvl.commands.phantom import phantom
from surgvl.core.errors import ConfigError, DataError
from surgvl.core.ontology import CHOLEC80_PHASES, CHOLEC80_TOOLS, INSTRUMENTS, TARGETS, TRIPLET_NAMES, VERBS
from surgvl.data.phantom.lls48 import lls48_questions
from surgvl.data.phantom.plan import PHASE_TRIPLETS
from surgvl.data.phantom.render import Renderer
from surgvl.data.phantom.scene import Action, Scene
from surgvl.data.phantom.script import labels_per_second, script
from surgvl.data.phantom.text import narration, pitvqa_questions, position
from surgvl.data.phantom.write import write_labels
from tests.helpers.small_phantom import SMALL


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [script(0, index) for index in range(36)]


def _bytes(root: Path) -> dict[str, bytes]:
    """Every file but the record of the run, which holds the time and the command."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name not in ("run.json", "config.yaml")
    }


@pytest.mark.slow
def test_same_seed_same_bytes(tmp_path: Path) -> None:
    for root in ("a", "b"):
        write_labels(tmp_path / root, script(3, 5, duration_s=30.0))
    first, second = _bytes(tmp_path / "a"), _bytes(tmp_path / "b")
    assert first == second
    assert len(first) == 5 + 3 + 2 * 30
    assert script(3, 5) != script(3, 6)
    assert script(3, 5).actions != script(4, 5).actions


def test_json_round_trip_and_refusal() -> None:
    scene = script(1, 2, duration_s=30.0)
    assert Scene.from_json(scene.to_json()) == scene
    broken = json.loads(scene.to_json())
    del broken["style"]["zoom"]
    with pytest.raises(DataError, match=r"style\.zoom"):
        Scene.from_json(json.dumps(broken))


@pytest.mark.slow
def test_everything_occurs_and_nothing_dominates(scenes: list[Scene]) -> None:
    seen: Counter[str] = Counter()
    tools: Counter[int] = Counter()
    phases_of: dict[str, set[str]] = {}
    for scene in scenes:
        for label in labels_per_second(scene):
            seen.update(label.triplets)
            if not label.out_of_body:
                tools[len(label.triplets)] += 1
            for triplet in label.triplets:
                phases_of.setdefault(triplet, set()).add(label.phase)
    parts = [set(column) for column in zip(*(name.split(",") for name in seen), strict=True)]
    assert parts == [set(INSTRUMENTS), set(VERBS), set(TARGETS)]
    assert set(seen) <= set(TRIPLET_NAMES)
    assert 36 <= len(seen) <= 46
    assert max(seen.values()) < 0.12 * seen.total()
    assert min(seen.values()) > 10
    assert all(len(phases) <= 2 for phases in phases_of.values())
    assert set().union(*phases_of.values()) == set(CHOLEC80_PHASES)
    assert 0.35 < tools[2] / tools.total() < 0.55
    assert max(tools) == 2
    assert tools[0] / tools.total() < 0.12


def test_most_verbs_need_motion() -> None:
    """Most triplets share phase, instrument and target with another verb."""
    shared = Counter((phase, *name.split(",")[::2]) for phase, names in PHASE_TRIPLETS.items() for name in names)
    ambiguous = sum(count for count in shared.values() if count > 1)
    assert ambiguous >= 0.5 * sum(shared.values())


@pytest.mark.slow
def test_phases_are_plausible_and_not_given_by_position(scenes: list[Scene]) -> None:
    orders = set()
    middles: dict[str, list[float]] = {}
    for scene in scenes:
        names = [phase.name for phase in scene.phases]
        assert {"CalotTriangleDissection", "GallbladderDissection"} <= set(names)
        assert len(set(names)) == len(names)
        rest = [name for name in names if name != "CleaningCoagulation"]
        assert rest == sorted(rest, key=CHOLEC80_PHASES.index)
        assert scene.phases[0].start_s == 0
        assert scene.phases[-1].end_s == scene.duration_s
        assert all(a.end_s == b.start_s for a, b in zip(scene.phases, scene.phases[1:], strict=False))
        assert all(
            any(
                p.start_s <= a.start_s < a.end_s <= p.end_s and a.triplet in PHASE_TRIPLETS[p.name]
                for p in scene.phases
            )
            for a in scene.actions
        )
        orders.add(tuple(names))
        for phase in scene.phases:
            middles.setdefault(phase.name, []).append((phase.start_s + phase.end_s) / 2)
    assert len(orders) > 6
    assert all(np.std(times) > 3 for name, times in middles.items() if name != "Preparation")


@pytest.mark.slow
def test_two_at_work_differ(scenes: list[Scene]) -> None:
    for scene in scenes:
        for second in range(90):
            active = scene.active(second + 0.5)
            if len(active) == 2:
                first, other = active
                assert first.target != other.target or first.target == "null_target"
                assert first.instrument != other.instrument or first.instrument == "grasper"


def _truth(scene: Scene, second: int) -> list[Action]:
    """Brute force: who is at work at k + 0.5, from the raw fields."""
    time = second + 0.5
    if any(e.kind == "out_of_body" and e.start_s <= time and time < e.end_s for e in scene.events):
        return []
    return [a for a in scene.actions if a.start_s <= time and time < a.end_s]


@pytest.mark.slow
def test_label_files_follow_the_scene(tmp_path: Path, scenes: list[Scene]) -> None:
    scene = scenes[7]
    write_labels(tmp_path, scene)
    assert Scene.from_json((tmp_path / "scene/video08.json").read_text()) == scene
    rows = [
        line.split("\t")
        for line in (tmp_path / "cholec80/phase_annotations/video08-phase.txt").read_text().splitlines()
    ]
    assert rows[0] == ["Frame", "Phase"]
    assert [int(row[0]) for row in rows[1:]] == list(range(900))
    for frame, name in rows[1:]:
        phase = next(p for p in scene.phases if p.name == name)
        assert phase.start_s <= int(frame) / 10 < phase.end_s
    text = (tmp_path / "cholec80/tool_annotations/video08-tool.txt").read_text()
    tools = list(csv.DictReader(text.splitlines(), delimiter="\t"))
    assert list(tools[0]) == ["Frame", *CHOLEC80_TOOLS]
    record = json.loads((tmp_path / "cholect50/labels/VID08.json").read_text())
    assert record["num_frames"] == len(tools) == len(record["annotations"]) == 90
    assert record["categories"]["triplet"]["94"] == "grasper,null_verb,null_target"
    in_view = num_boxes = 0
    for second in range(90):
        truth = _truth(scene, second)
        row = tools[second]
        assert int(row["Frame"]) == second * 10
        for tool in CHOLEC80_TOOLS[:-1]:
            assert row[tool] == str(int(any(a.instrument == tool.lower() for a in truth)))
        assert row["SpecimenBag"] == str(int(any(a.target == "specimen_bag" for a in truth)))
        vectors = record["annotations"][str(second)]
        assert all(len(vector) == 15 for vector in vectors)
        assert {CHOLEC80_PHASES[vector[14]] for vector in vectors} == {scene.phase_at(second + 0.5).name}
        named = [(INSTRUMENTS[v[1]], VERBS[v[7]], TARGETS[v[8]], TRIPLET_NAMES[v[0]]) for v in vectors if v[0] >= 0]
        assert named == [(a.instrument, a.verb, a.target, a.triplet) for a in truth]
        boxes = [vector[3:7] for vector in vectors if vector[0] >= 0]
        # A tool on its way in or out is at work and not yet in view: no box.
        assert all(box == [-1] * 4 or all(0 <= value <= 1 for value in box) for box in boxes)
        in_view += sum(box != [-1] * 4 for box in boxes)
        num_boxes += len(boxes)
    assert in_view > 0.9 * num_boxes


def test_narration_names_what_is_done(scenes: list[Scene]) -> None:
    for scene in scenes[:12]:
        said = narration(scene)
        assert said == sorted(said)
        assert all(0 <= s.start_s < s.end_s <= scene.duration_s for s in said)
        for action in scene.actions:
            verbs = {"grasp", "retract", "dissect", "coagulat", "clip", "cut", "aspirat", "irrigat", "pack"}
            stem = next((stem for stem in verbs if action.verb.startswith(stem)), None)
            texts = [s.text for s in said if (s.start_s, s.end_s) == (action.start_s, action.end_s)]
            target = "" if action.target == "null_target" else action.target.replace("_", " ")
            assert any(target in text and (stem is None or stem in text) for text in texts), action.triplet
        for phase in scene.phases:
            during = [s for s in said if phase.start_s <= s.start_s and s.end_s <= phase.end_s]
            assert any(s.start_s == phase.start_s for s in during)


def _blind(read: Callable[[Scene], list[Any]], train: list[Scene], test: list[Scene]) -> tuple[float, int]:
    """Accuracy of the most frequent training answer of each question, and the number of answers."""
    answers: dict[str, Counter[str]] = {}
    for scene in train:
        for asked in read(scene):
            for question, answer, *_ in asked:
                answers.setdefault(question, Counter())[answer] += 1
    marks = [
        question in answers and answers[question].most_common(1)[0][0] == answer
        for scene in test
        for asked in read(scene)
        for question, answer, *_ in asked
    ]
    return sum(marks) / len(marks), len({answer for counts in answers.values() for answer in counts})


@pytest.mark.slow
def test_questions_are_closed_and_need_the_picture(scenes: list[Scene]) -> None:
    blind, num_answers = _blind(pitvqa_questions, scenes[:28], scenes[28:])
    blind_lls, _ = _blind(lls48_questions, scenes[:28], scenes[28:])
    print(f"question-only accuracy: PitVQA-style {blind:.3f} ({num_answers} answers), LLS48-style {blind_lls:.3f}")
    assert blind < 0.55
    assert blind_lls < 0.55
    assert num_answers <= 59
    for scene in scenes[:6]:
        for second, asked in enumerate(pitvqa_questions(scene)):
            answers = {line.question: line.answer for line in asked}
            assert len(answers) == len(asked)
            assert (
                answers["How many instruments are present in the image?"]
                == ("zero", "one", "two")[len(_truth(scene, second))]
            )
            assert all("|" not in text and " " not in answer for text, answer, *_ in asked)


@pytest.mark.parametrize(
    ("x", "y", "place"),
    [
        (0.5, 0.5, "centre"),
        (0.1, 0.1, "top-left"),
        (0.9, 0.2, "top-right"),
        (0.2, 0.7, "bottom-left"),
        (0.7, 0.8, "bottom-right"),
    ],
)
def test_positions(x: float, y: float, place: str) -> None:
    assert position(x, y) == place


def film_bytes(root: Path, number: int) -> bytes:
    return (root / f"cholec80/videos/video{number:02d}.mp4").read_bytes()


@pytest.mark.slow
def test_command_writes_whole_layouts(small_phantom: Path) -> None:
    head = json.loads((small_phantom / "phantom.json").read_text())
    assert head["splits"] == {"train": [1], "val": [2], "test": [3]}
    for number in (1, 2, 3):
        info = video.probe(small_phantom / f"cholec80/videos/video{number:02d}.mp4")
        assert (info.width_px, info.height_px, info.fps) == (32, 32, 5)
        assert info.duration_s == pytest.approx(12.0)
        first = sorted((small_phantom / f"pitvqa/images/video_{number:02d}").iterdir())
        second = sorted((small_phantom / f"cholect50/videos/VID{number:02d}").iterdir())
        assert [path.name for path in first] == [f"{k:05d}.png" for k in range(12)]
        assert [path.name for path in second] == [f"{k:06d}.png" for k in range(12)]
        assert all(a.read_bytes() == b.read_bytes() for a, b in zip(first, second, strict=True))
        assert len(list((small_phantom / f"pitvqa/QA/video_{number:02d}").iterdir())) == 12
        # The film shows what the pictures show: frame 2 of 5 in second 3 stands at 3.4 s.
        film = small_phantom / f"cholec80/videos/video{number:02d}.mp4"
        shown = video.read(film, 3.4, 3.6, 5, 32)[0].astype(float)
        scene = Scene.from_json((small_phantom / f"scene/video{number:02d}.json").read_text())
        assert np.abs(shown - Renderer(scene, 32).frame(3.4)).mean() < 10
        assert (small_phantom / f"lls48/videos/video_{number:02d}.mp4").read_bytes() == film_bytes(
            small_phantom, number
        )
    for layout in ("pitvqa", "lls48"):
        splits = json.loads((small_phantom / layout / "splits.json").read_text())
        assert splits == {"train": ["video_01"], "val": ["video_02"], "test": ["video_03"]}
    assert (small_phantom / "preview.png").stat().st_size > 10_000
    assert (small_phantom / "run.json").is_file()


@pytest.mark.slow
def test_resume_writes_the_same_bytes(small_phantom: Path, tmp_path: Path) -> None:
    before = _bytes(small_phantom)
    root = tmp_path / "copy"
    shutil.copytree(small_phantom, root)
    kept = root / "cholec80/videos/video01.mp4"
    stamp = kept.stat().st_mtime_ns
    (root / "cholec80/videos/video02.mp4").unlink()
    (root / "pitvqa/images/video_03/00004.png").unlink()
    (root / "narration/video01.csv").write_text("broken")
    shutil.rmtree(root / "lls48")
    phantom(root, **SMALL, workers=1, resume=True, preview=True)
    assert _bytes(root) == before
    assert kept.stat().st_mtime_ns == stamp
    with pytest.raises(ConfigError, match="not empty"):
        phantom(root, **SMALL)
    with pytest.raises(ConfigError, match="was started with"):
        phantom(root, **{**SMALL, "seed": 9}, resume=True)


@pytest.mark.parametrize(
    "wrong", [{"train": -1}, {"size_px": 33}, {"size_px": 16}, {"fps": 2.5}, {"duration_s": 5.0}, {"workers": -1}]
)
def test_refusals_name_the_argument(tmp_path: Path, wrong: dict[str, Any]) -> None:
    name, value = next(iter(wrong.items()))
    with pytest.raises(ConfigError, match=f"{name}.* {value:g}"):
        phantom(tmp_path / "out", **{**SMALL, **wrong})
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_little_is_rendered_without_another_process(
    small_phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("surgvl.commands.phantom.ProcessPoolExecutor", None)
    phantom(tmp_path, **SMALL, preview=True)
    assert _bytes(tmp_path) == _bytes(small_phantom)
