"""LLS48 in our own layout: tables by hand, the questions generated from them, and those of the phantom."""

import shutil
from pathlib import Path

import pytest

from surgvl.commands.data import data_check, data_convert, data_list
from surgvl.core.errors import DataError
from surgvl.data.phantom.lls48 import lls48_questions, lls48_tables
from surgvl.data.phantom.script import script
from surgvl.data.readers.lls48 import LLS48, make_questions, read_label_table
from surgvl.data.readers.pitvqa import PitVQA
from tests.helpers.label_files import film, put

STEPS = "start,end,step\n0,2.5,mobilisation\n2.5,4,parenchymal_transection\n"
TASKS = "start,end,task\n0.6,1.4,division\n1.4,4.0,haemostasis\n3.2,4.0,exposure\n"
ACTIONS = """start,end,instrument,verb,target,side
0.2,1.7,hook,cut,ligament,right
0.9,3.0,grasper,retract,liver,left
2.1,3.0,irrigator,aspirate,blood,left
"""


def tables(root: Path, actions: str = ACTIONS) -> Path:
    for folder, text in (("steps", STEPS), ("tasks", TASKS), ("actions", actions)):
        put(root / folder / "video_07.csv", text)
    return root


def asked(dataset: LLS48) -> list[tuple[float, str, str, str]]:
    return [(row.start_s, row.question, row.answer, row.type) for row in dataset.to_manifest().qa]


def test_questions_of_four_seconds(tmp_path: Path) -> None:
    film(tmp_path / "videos" / "video_07.mp4", 4.0)
    put(tmp_path / "splits.json", '{"train": ["video_07"], "test": ["video_08"]}')
    dataset = LLS48(tables(tmp_path))
    step, task = "Which surgical step is this?", "Which surgical task is performed?"
    right, left = (f"Which action is performed by the instrument from the {side}?" for side in ("right", "left"))
    assert asked(dataset) == [
        # The division from 0.6 to 1.4 s covers the middle of no second.
        (0, step, "mobilisation", "step"),
        (0, right, "hook_cut_ligament", "action"),
        (1, step, "mobilisation", "step"),
        (1, task, "haemostasis", "task"),
        (1, right, "hook_cut_ligament", "action"),
        (1, left, "grasper_retract_liver", "action"),
        # At 2.5 s two tools work from the left: who is meant could not be said.
        (2, step, "parenchymal_transection", "step"),
        (2, task, "haemostasis", "task"),
        # At 3.5 s two tasks go on.
        (3, step, "parenchymal_transection", "step"),
    ]
    manifest = dataset.to_manifest()
    assert manifest.second_labels("action", ["video_07"], [2.5])[0] == [
        "grasper_retract_liver",
        "irrigator_aspirate_blood",
    ]
    assert manifest.second_labels("step", ["video_07"], [2.5])[0] == ["parenchymal_transection"]
    assert manifest.video("video_07").split == "train"
    assert dataset.problems() == ["1 of 2 videos of protocol own is missing: video_08"]


def test_actions_without_sides_and_without_video(tmp_path: Path) -> None:
    plain = "\n".join(line.rpartition(",")[0] for line in ACTIONS.splitlines()) + "\n"
    dataset = LLS48(tables(tmp_path, plain))
    rows = [
        (second, answer) for second, question, answer, _ in asked(dataset) if question == "Which action is performed?"
    ]
    assert rows == [(0, "hook_cut_ligament")]
    assert dataset.videos[0].duration_s == 4.0
    assert any("no splits.json" in line for line in dataset.problems())


def test_published_questions_would_come_before_those_of_the_tables(tmp_path: Path) -> None:
    put(tables(tmp_path) / "QA" / "video_07" / "00003.txt", "Which surgical task is performed?|lavage\n")
    assert asked(LLS48(tmp_path)) == [(3, "Which surgical task is performed?", "lavage", "task")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("start,end,step\n0,2,a\n3,3,b\n", "video_07.csv, line 3: step 'b' from 3 s to 3 s"),
        ("start,end,step\n0,2,\n", "line 2: step '' from 0 s to 2 s"),
        ("start,end,step\n0,soon,a\n", "line 2: end is 'soon'"),
        ("start,end,phase\n0,2,a\n", "columns are start, end, phase; expected start, end, step"),
    ],
)
def test_tables_that_are_set_aside(text: str, message: str, tmp_path: Path) -> None:
    put(tables(tmp_path) / "steps" / "video_07.csv", text)
    dataset = LLS48(tmp_path)
    assert message in dataset.contents.unreadable[0]
    assert {row.type for row in dataset.to_manifest().qa} == {"task", "action"}


def test_absent_data_say_that_the_set_is_not_public(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for root in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(
            DataError, match=r"LLS48-VQA is not public.*schema at the top of surgvl/data/readers/lls48\.py"
        ):
            LLS48(root).to_manifest()
    data_list()
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("lls48 "))
    assert "schema of ours, not verified on real data" in line


@pytest.mark.slow
def test_phantom_tables_make_the_questions_of_its_tree(tmp_path: Path) -> None:
    num_questions = 0
    for number in range(12):
        scene = script(5, number)
        levels = {
            name: read_label_table(put(tmp_path / f"{name}.csv", text), name)
            for name, text in lls48_tables(scene).items()
        }
        made: list[list[tuple[str, str]]] = [[] for _ in range(90)]
        for second, row in zip(*make_questions(levels), strict=True):
            made[second].append((row.question, row.answer))
        tree = [[(line.question, line.answer) for line in row] for row in lls48_questions(scene)]
        assert made == tree
        num_questions += sum(map(len, tree))
    assert num_questions > 12 * 90 * 2


@pytest.mark.slow
def test_real_loaders_read_the_phantom(small_phantom: Path, tmp_path: Path) -> None:
    shutil.copytree(small_phantom, tmp_path / "ph")
    data_check("lls48", tmp_path / "ph" / "lls48")
    data_convert("lls48", tmp_path / "ph" / "lls48", tmp_path / "m")
    whole = LLS48(tmp_path / "ph" / "lls48").to_manifest()
    for folder in ("QA/video_01", "QA/video_02", "QA/video_03"):
        for path in (tmp_path / "ph" / "lls48" / folder).iterdir():
            path.unlink()
        (tmp_path / "ph" / "lls48" / folder).rmdir()
    made = LLS48(tmp_path / "ph" / "lls48").to_manifest()
    assert made.qa == whole.qa
    assert len(made.qa) > 36
    assert [(row.video_id, row.split, bool(row.path)) for row in whole.videos] == [
        ("video_01", "train", True),
        ("video_02", "val", True),
        ("video_03", "test", True),
    ]
    pitvqa = PitVQA(tmp_path / "ph" / "pitvqa")
    manifest = pitvqa.to_manifest()
    assert [(row.split, row.path) for row in manifest.videos] == [
        ("train", "images/video_01"),
        ("val", "images/video_02"),
        ("test", "images/video_03"),
    ]
    files = list((tmp_path / "ph" / "pitvqa" / "QA").glob("*/*.txt"))
    assert len(manifest.qa) == sum(len(path.read_text().splitlines()) for path in files)
    assert any("answers not among the 59 published ones kept" in line for line in pitvqa.problems())
