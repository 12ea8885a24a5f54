"""PitVis' tables, the questions generated from them up to the published counts, and PitVQA's question files."""

from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest

from surgvl.data.formats.pitvis_qa import ANSWERS, make_questions, read_instruments, read_steps
from surgvl.data.formats.qa_text import question_type
from surgvl.data.readers.pitvis import PitVis
from surgvl.data.readers.pitvqa import PitVQA
from tests.helpers.label_files import LABELS, needs_real, put


def num_seconds(questions: Any) -> int:
    """Different (video, second) pairs."""
    video_of = pc.index_in(questions["video_id"], pc.unique(questions["video_id"]))
    return len(pc.unique(pc.add(pc.multiply(video_of, 1e6), questions["start_s"])))


@pytest.mark.slow
@needs_real
def test_pitvqa_text_has_the_published_counts() -> None:
    dataset = PitVis(LABELS / "pitvis")
    manifest = dataset.to_manifest()
    assert dataset.contents.unreadable == []
    kept = manifest.qa_table
    of_test = pc.is_in(kept["video_id"], value_set=_strings(PitVQA.SPLITS["standard"]["test"]))
    test = kept.filter(of_test)
    assert len(test) == 203_868
    assert num_seconds(test) == 24_767
    # All 59 answers occur, 57 of them in the test videos.
    assert set(pc.unique(kept["answer"]).to_pylist()) == set(ANSWERS)
    assert len(pc.unique(test["answer"])) == 57
    assert num_seconds(kept) == 109_173
    # Every second asks for the number of tools, which tells how many questions it had before some were dropped.
    tools = kept.filter(pc.equal(kept["type"], "count"))["answer"].value_counts().to_pylist()
    counts = {row["values"]: row["counts"] for row in tools}
    assert counts == {"zero": 37_712, "one": 53_950, "two": 17_511}
    assert 5 * counts["zero"] + 9 * counts["one"] + 12 * counts["two"] == 884_242
    # The types are those that the reader of text files finds.
    pairs = kept.group_by(["question", "type"]).aggregate([]).to_pylist()
    assert all(question_type(row["question"]) == row["type"] for row in pairs)


@pytest.mark.slow
@needs_real
def test_questions_before_dropping_have_the_published_count() -> None:
    folder = LABELS / "pitvis"
    steps = [read_steps(folder / f"steps_csv/steps_{at:02d}.csv") for at in range(1, 26)]
    tools = [read_instruments(folder / f"instruments_csv/instruments_{at:02d}.csv") for at in range(1, 26)]
    assert len(make_questions([str(at) for at in range(25)], steps, tools, "pitvqa", frozenset())) == 884_242


def _strings(names: Any) -> Any:
    import pyarrow as pa

    return pa.array(list(names), pa.string())


def test_answer_list_has_59_in_published_order() -> None:
    assert len(set(ANSWERS)) == len(ANSWERS) == 59
    assert (ANSWERS[0], ANSWERS[5], ANSWERS[14]) == ("nasal_corridor_creation", "haemostasis", "end_of_step")
    assert ANSWERS[15:19] == ("nasal_sphenoid", "sellar", "closure", "end_of_phase")
    assert (ANSWERS[19], ANSWERS[36]) == ("suction", "surgical_drill")
    assert ANSWERS[37:45] == ("zero", "one", "two", "top-left", "top-right", "centre", "bottom-left", "bottom-right")
    assert "defact" in ANSWERS[54]
    assert ANSWERS[58].endswith("ribbon gauze")


STEPS_HEAD = "int_video,int_time,str_step,int_step\n"
TOOLS_HEAD = "int_video,int_time,str_instrument1,str_instrument2,int_instrument1,int_instrument2,"
TOOLS_HEAD += "pos_instrument1,pos_instrument2\n"
NONE = "no_secondary_instrument"


def pitvis(root: Path, steps: str, tools: list[str]) -> Path:
    put(root / "steps_csv" / "steps_01.csv", STEPS_HEAD + steps)
    body = "".join(f"1,{at},{row}\n" for at, row in enumerate(tools))
    put(root / "instruments_csv" / "instruments_01.csv", TOOLS_HEAD + body)
    return root


def test_questions_of_five_seconds(tmp_path: Path) -> None:
    steps = "1,0,operation_not_started,-1\n1,1,sellotomy ,5\n1,4,debris clearance,14\n1,5,operation_ended,-1\n"
    tools = [
        f"suction,{NONE},16,-2,3,",
        f"out_of_patient,{NONE},-1,-2,,",
        f"no_visible_instrument,{NONE},0,-2,,",
        "suction,kerrisons,16,8,3.0,5.0",
        f"suction,{NONE},16,-2,,4",
        f"suction,{NONE},16,-2,3,",
    ]
    manifest = PitVis(pitvis(tmp_path, steps, tools)).to_manifest()
    found: dict[float, list[str]] = {}
    for row in manifest.qa:
        found.setdefault(row.start_s, []).append(f"{row.question}|{row.answer}")
    sellotomy = "The sella is identified, confirmed and carefully opened"
    assert found == {
        2.0: [
            "What is the surgical phase shown in the image?|sellar",
            "What is the surgical step shown in this frame?|sellotomy",
            "What is the next surgical phase?|closure",
            "What is the next surgical step?|durotomy",
            "How many instruments are present in the image?|zero",
        ],
        3.0: [
            "What is the surgical phase shown in the image?|sellar",
            "What is the surgical step shown in this frame?|sellotomy",
            f"What is the surgical operation performed in the image?|{sellotomy}",
            "What is the next surgical phase?|closure",
            "What is the next surgical step?|durotomy",
            "What instrument is used at the centre of the image?|suction",
            "What instrument is used in the bottom-right of the image?|kerrisons",
            f"What surgical activity is performing by the instrument suction?|{sellotomy}",
            f"What surgical activity is performing by the instrument kerrisons?|{sellotomy}",
            "Where is the surgical instrument suction tip located in the image?|centre",
            "Where is the surgical instrument kerrisons tip located in the image?|bottom-right",
            "How many instruments are present in the image?|two",
        ],
        4.0: [
            "What is the surgical phase shown in the image?|closure",
            "What is the surgical step shown in this frame?|debris_clearance",
            "What is the surgical operation performed in the image?|Debris is cleared from the nasal cavity and choana",
            "What is the next surgical phase?|end_of_phase",
            "What is the next surgical step?|end_of_step",
            # QuestionLine of the second instrument, which has the position; its answer is of the dropped kind.
            f"What surgical activity is performing by the instrument {NONE}?|"
            "Debris is cleared from the nasal cavity and choana",
            f"Where is the surgical instrument {NONE} tip located in the image?|bottom-left",
            "How many instruments are present in the image?|one",
        ],
    }
    assert [(s.start_s, s.end_s, s.label) for s in manifest.segments if s.task == "step"] == [
        (1, 4, "sellotomy"),
        (4, 5, "debris_clearance"),
    ]
    assert manifest.second_labels("instrument", ["video_01"], [3.5])[0] == ["kerrisons", "suction"]


@pytest.mark.parametrize(
    ("steps", "tools", "message"),
    [
        ("1,0,lunch,1\n", f"suction,{NONE},1,1,3,", "unknown step 'lunch'"),
        ("1,-1,sellotomy,5\n", f"suction,{NONE},1,1,3,", "time -1 is negative"),
        ("1,0,sellotomy,5\n", f"spoon,{NONE},1,1,3,", "unknown instrument 'spoon'"),
        ("1,0,sellotomy,5\n", f"suction,{NONE},1,1,6,", "pos_instrument1 is 6"),
        ("1,0,sellotomy\n", f"suction,{NONE},1,1,3,", "3 values for 4 columns"),
    ],
)
def test_pitvis_tables_that_are_set_aside(steps: str, tools: str, message: str, tmp_path: Path) -> None:
    dataset = PitVis(pitvis(tmp_path, steps, [tools]))
    assert message in dataset.contents.unreadable[0]


def test_unsorted_steps_are_noted_and_sorted_for_segments(tmp_path: Path) -> None:
    steps = "1,0,sellotomy,5\n1,3,durotomy,6\n1,2,haemostasis,8\n"
    dataset = PitVis(pitvis(tmp_path, steps, [f"suction,{NONE},1,1,3,"] * 4))
    spans = [(s.start_s, s.end_s, s.label) for s in dataset.to_manifest().segments if s.task == "step"]
    assert spans == [(0, 2, "sellotomy"), (2, 3, "haemostasis"), (3, 4, "durotomy")]
    assert any("second 2 comes after second 3" in line for line in dataset.problems())


def test_pitvqa_tree(tmp_path: Path) -> None:
    from PIL import Image

    for number in range(3):
        path = tmp_path / "images" / "video_02" / f"{number:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16)).save(path)
    instrument = "What instrument is used at the centre of the image?"
    put(tmp_path / "QA/video_02/00000.txt", f"{instrument}|suction\r\nHow many instruments are present?|one\r\n")
    put(tmp_path / "QA/video_02/00001.txt", "")
    put(tmp_path / "QA/video_02/00002.txt", f"{instrument}|no_visible_instrument\n{instrument}| cottle \n\n")
    put(tmp_path / "QA/video_01/00004.txt", "What is the next surgical step?|durotomy\n")
    put(tmp_path / "QA/video_01/00005.txt", "no bar here\n")
    dataset = PitVQA(tmp_path)
    manifest = dataset.to_manifest()
    rows = [(row.video_id, row.start_s, row.end_s, row.answer, row.type) for row in manifest.qa]
    assert rows == [
        ("video_01", 4, 5, "durotomy", "next_step"),
        ("video_02", 0, 1, "suction", "instrument"),
        ("video_02", 0, 1, "one", "count"),
        ("video_02", 2, 3, "cottle", "instrument"),
    ]
    assert manifest.video("video_02").split == "test"
    assert manifest.video("video_02").path == "images/video_02"
    assert manifest.video("video_01").path == ""
    text = "\n".join(dataset.problems())
    assert "1 question of pitvqa left out" in text
    assert "'no bar here' is not question|answer" in text


def test_question_types_of_sets_without_templates() -> None:
    assert question_type("Which surgical step is this?") == "step"
    assert question_type("Which surgical task is performed?") == "task"
    assert question_type("Which action is performed by the instrument from the left?") == "action"
    assert question_type("What tissue is the instrument hook acting on?") == "target"
    assert question_type("What is the state of bipolar_forceps?") == "state"
    assert question_type("Is the hook used in this image?") == "presence"
    assert question_type("Is it late?") == "other"
    assert question_type("Is it late?", free=True) == "open"
    assert question_type("Where is suction located?", free=True) == "open_position"
