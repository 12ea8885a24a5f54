"""Skill scores of whole videos: JIGSAWS, AIxSuture and HeiChole."""

import re
from pathlib import Path
from typing import Any

import pytest

from surgvl.core.errors import ConfigError, DataError
from surgvl.data.readers.aixsuture import PARTS, AIxSuture
from surgvl.data.readers.heichole import HeiChole
from surgvl.data.readers.jigsaws import SUTURING, Jigsaws
from surgvl.tasks.numbers import number_labels
from tests.helpers.label_files import film, put

META = "Suturing_B001\t\tN\t13\t\t1\t2\t3\t2\t2\t3\r\nSuturing_C002\t\tE\t30\t\t5\t5\t5\t5\t5\t4"


def jigsaws(root: Path) -> Path:
    put(root / "Suturing" / "transcriptions" / "Suturing_B001.txt", "31 90 G1 \r\n91 150 G5 \r\n181 240 G8 \r\n")
    put(root / "Suturing" / "meta_file_Suturing.txt", META)
    put(root / "Knot_Tying" / "transcriptions" / "Knot_Tying_C002.txt", "1 30 G12 \r\n")
    return root


def test_jigsaws_gestures_and_scores(tmp_path: Path) -> None:
    dataset = Jigsaws(jigsaws(tmp_path), "loso_2")
    manifest = dataset.to_manifest()
    rows = [(s.task, s.start_s, s.end_s, s.label) for s in manifest.segments if s.video_id == "Suturing_B001"]
    assert rows[:3] == [("gesture", 1, 3, "G1"), ("gesture", 3, 5, "G5"), ("gesture", 6, 8, "G8")]
    assert {row[0]: row[3] for row in rows[3:]} == {
        "experience": "novice",
        "skill_total": "13",
        "skill_respect_for_tissue": "1",
        "skill_suture_needle_handling": "2",
        "skill_time_and_motion": "3",
        "skill_flow_of_operation": "2",
        "skill_overall_performance": "2",
        "skill_quality_of_final_product": "3",
    }
    assert {row[1:3] for row in rows[3:]} == {(0, 8)}
    text = "\n".join(dataset.problems())
    assert "the scores of Suturing_C002 add up to 29, not to 30" in text
    assert "Knot_Tying has no skill labels" in text
    assert manifest.video("Suturing_B001").split == "train"
    # A trial of another task follows the same rule.
    assert manifest.video("Knot_Tying_C002").split == "test"
    assert Jigsaws(tmp_path, "louo_B").to_manifest().video("Suturing_B001").split == "test"


def test_jigsaws_protocols_leave_out_each_trial_once() -> None:
    assert len(SUTURING) == 39
    assert "Suturing_H002" not in SUTURING
    for kind, sizes in (("loso", [7, 8, 8, 8, 8]), ("louo", [4, 5, 5, 5, 5, 5, 5, 5])):
        protocols = {name: each for name, each in Jigsaws.SPLITS.items() if name.startswith(kind)}
        assert sorted(len(each["test"]) for each in protocols.values()) == sizes
        assert sorted(trial for each in protocols.values() for trial in each["test"]) == sorted(SUTURING)
        assert all(set(each["train"]) | set(each["test"]) == set(SUTURING) for each in protocols.values())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 30 G7 \n", "gesture is 'G7'; Suturing has G1, G2"),
        ("1 30 G1 \n30 40 G2 \n", "frames 30 to 40 after frame 30"),
        ("0 30 G1 \n", "start is '0'"),
        ("1 30\n", "has 2 values"),
    ],
)
def test_jigsaws_rows_that_are_refused(text: str, message: str, tmp_path: Path) -> None:
    put(tmp_path / "Suturing" / "transcriptions" / "Suturing_B001.txt", text)
    (line,) = Jigsaws(tmp_path).contents.unreadable
    assert message in line


def osats(video: str, *scores: int) -> str:
    return f"{video},{sum(scores)},{','.join(map(str, scores))}\n"


def test_aixsuture_averages_its_raters(tmp_path: Path) -> None:
    head = f"VIDEO,GLOBA_RATING_SCORE,{','.join(f'OSATS_{part}' for part in PARTS)}\n"
    rows = osats("A31H", *[2] * 8) + osats("A31H", *[2] * 7, 1) + osats("A31H", *[2] * 7, 4)
    put(tmp_path / "OSATS.csv", head + rows + osats("B01A", *[5] * 8) + osats("B01A", *[1] * 8))
    film(tmp_path / "videos" / "A31H.mp4", 2)
    dataset = AIxSuture(tmp_path)
    labels = {s.task: s.label for s in dataset.to_manifest().segments if s.video_id == "A31H"}
    assert labels["skill_total"] == "16.33"
    assert labels["skill_final_quality"] == "2.33"
    assert labels["skill_respect"] == "2"
    assert labels["skill_class"] == "intermediate"
    assert [labels[f"skill_total_rater_{at}"] for at in (1, 2, 3)] == ["16", "15", "18"]
    assert {s.label for s in dataset.to_manifest().segments if s.task == "skill_class"} == {
        "intermediate",
        "proficient",
    }
    text = "\n".join(dataset.problems())
    assert "not every video has three raters: some have 2" in text
    assert "length is set to 1 s" in text


def test_aixsuture_says_what_its_splits_are_to_be(tmp_path: Path) -> None:
    head = f"VIDEO,GLOBA_RATING_SCORE,{','.join(f'OSATS_{part}' for part in PARTS)}\n"
    put(tmp_path / "OSATS.csv", head + "".join(osats(name, *[2] * 8) for name in ("A31H", "B01A", "C02B", "D03C")))
    (line,) = [line for line in AIxSuture(tmp_path).problems() if "splits.json" in line]
    assert f"write {tmp_path / 'splits.json'}" in line
    assert "with all 4 ids" in line
    # The example itself is a file that it takes.
    example = re.search(r"such as ({.*}), with", line)
    assert example is not None
    put(tmp_path / "splits.json", example[1])
    dataset = AIxSuture(tmp_path)
    assert {row.video_id: row.split for row in dataset.videos} == {
        **dict(zip(("A31H", "B01A", "C02B"), ("train", "val", "test"), strict=True)),
        "D03C": "",
    }
    assert any("not in any split of protocol own: D03C" in line for line in dataset.problems())
    put(tmp_path / "splits.json", '{"train": ["A31H"], "test": ["A31H"]}')
    with pytest.raises(ConfigError, match=r"splits.json: A31H is in train and in test"):
        AIxSuture(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", r"splits.json is \[\]; it must be .*\"train\": \[ids\]"),
        ('{"training": ["A31H"]}', r"splits.json has a split 'training'; it must be"),
        ('{"train": "A31H"}', r"splits.json: train holds 'A31H'; it must be"),
        ('{"train": ["A31H", 5]}', r"splits.json: train holds 5; it must be"),
    ],
)
def test_splits_of_another_form(text: str, message: str, tmp_path: Path) -> None:
    put(tmp_path / "splits.json", text)
    with pytest.raises(DataError, match=message):
        AIxSuture(tmp_path)


def test_aixsuture_workbook_and_wrong_scores(tmp_path: Path) -> None:
    put(tmp_path / "OSATS.xlsx", b"PK")
    assert "export its sheet as CSV to OSATS.csv" in AIxSuture(tmp_path).contents.unreadable[0]
    head = f"VIDEO,GLOBA_RATING_SCORE,{','.join(f'OSATS_{part}' for part in PARTS)}\n"
    put(tmp_path / "OSATS.csv", head + osats("A31H", *[2] * 7, 6))
    assert "a score is 6; it must be 1 to 5" in AIxSuture(tmp_path).contents.unreadable[0]


def heichole(root: Path, name: str, task: str, rows: list[str]) -> None:
    put(root / "Annotations" / task / f"{name}_Annotation_{task}.csv", "\n".join(rows) + "\n")


def test_heichole_tables_without_headers(tmp_path: Path) -> None:
    for number, fps in ((1, 25), (16, 50)):
        frames = range(4 * fps)
        name = f"Hei-Chole{number}"
        heichole(tmp_path, name, "Phase", [f"{at},{1 if at < 2 * fps else 3}" for at in frames])
        grasper = [f"{at},{int(at < fps)}," + ",".join(["0"] * 20) for at in frames]
        heichole(tmp_path, name, "Instrument", grasper)
        heichole(tmp_path, name, "Action", [f"{at},0,{int(at >= fps)},0,0" for at in frames])
    put(tmp_path / "Annotations" / "Skill" / "Hei-Chole1_Calot_Skill.csv", "3,4,5,2,1\n")
    put(tmp_path / "Annotations" / "Skill" / "Hei-Chole1_Dissection_Skill.csv", "2,2,2,2,2\n")
    put(tmp_path / "Annotations" / "Skill" / "Hei-Chole16_Annotation_Skill.csv", "1,1,1,1,1\n")
    dataset = HeiChole(tmp_path)
    rows: list[Any] = [(s.video_id, s.task, s.start_s, s.end_s, s.label) for s in dataset.to_manifest().segments]
    for name in ("Hei-Chole1", "Hei-Chole16"):
        assert [row[1:] for row in rows if row[0] == name and not row[1].startswith("skill")] == [
            ("phase", 0, 2, "CalotTriangleDissection"),
            ("phase", 2, 4, "GallbladderDissection"),
            ("instrument", 0, 1, "Grasper"),
            ("action", 1, 4, "hold"),
        ]
    skills = {row[1]: row[2:] for row in rows if row[0] == "Hei-Chole1" and row[1].startswith("skill")}
    assert skills["skill_calot_depth_perception"] == (0, 2, "3")
    assert skills["skill_calot_difficulty"] == (0, 2, "1")
    assert skills["skill_dissection_difficulty"] == (2, 4, "2")
    # A video has one number of each kind, by which it is scored.
    assert number_labels(dataset.to_manifest(), "skill_calot_efficiency") == {"Hei-Chole1": 5}
    assert ("Hei-Chole16", "skill_efficiency", 0, 4, "1") in rows
    assert [len(ids) for ids in HeiChole.SPLITS["surgbenchkit"].values()] == [14, 5, 5]


def test_heichole_defects_are_named(tmp_path: Path) -> None:
    heichole(tmp_path, "Hei-Chole2", "Phase", ["0,1", "1,1", "5,1", "6,7"])
    heichole(tmp_path, "Hei-Chole2", "Action", ["0,0,2,0,0"])
    put(tmp_path / "Annotations" / "Skill" / "Hei-Chole2_Annotation_Skill.csv", "3,4,5\n")
    found = "\n".join(HeiChole(tmp_path).problems())
    assert "unknown phase '7'" in found
    assert "hold is 2; it must be 0 or 1" in found
    assert "must be one line of five numbers" in found
    heichole(tmp_path, "Hei-Chole2", "Phase", ["0,1", "1,1", "5,1"])
    assert "3 frames without a row between others" in "\n".join(HeiChole(tmp_path).problems())


def test_heichole_labels_keep_their_times_where_the_video_was_reencoded(tmp_path: Path) -> None:
    heichole(tmp_path, "Hei-Chole1", "Phase", [f"{at},{int(at >= 50)}" for at in range(100)])
    film(tmp_path / "Videos" / "Full" / "Hei-Chole1.mp4", 4, 5)
    dataset = HeiChole(tmp_path)
    rows = [(s.start_s, s.label) for s in dataset.to_manifest().segments if s.task == "phase"]
    assert rows == [(0, "Preparation"), (2, "CalotTriangleDissection")]
    assert any("the video has 5 fps and its labels 25 fps" in line for line in dataset.problems())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0,0,0,0,0\n0,1,0,0,0\n", "row 2: frame 0 after frame 0"),
        ("0,x,0,0,0\n", "is not a table of whole numbers"),
        ("0,1,2\n", "has 3 columns; expected 5"),
        ("-1,0,0,0,0\n", "frame -1"),
    ],
)
def test_heichole_tables_that_are_refused(text: str, message: str, tmp_path: Path) -> None:
    put(tmp_path / "Annotations" / "Action" / "Hei-Chole1_Annotation_Action.csv", text)
    (line,) = HeiChole(tmp_path).contents.unreadable
    assert message in line
    assert len(line.splitlines()) == 1
