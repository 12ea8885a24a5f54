"""Critical view of safety: Endoscapes' three raters and Cholec80-CVS' intervals."""

import json
from pathlib import Path

import pytest

from surgvl.data.readers.cholec80_cvs import Cholec80CVS, folds
from surgvl.data.readers.endoscapes_cvs import EndoscapesCVS
from tests.helpers.label_files import REAL, needs_real, put

HEAD = "vid,frame,avg_cvs,C1,C2,C3,is_ds_keyframe,cvs_annotator_1,cvs_annotator_2,cvs_annotator_3,mask_path\n"


def spans(dataset: EndoscapesCVS | Cholec80CVS, task: str) -> list[tuple[float, float, str]]:
    return [(s.start_s, s.end_s, s.label) for s in dataset.to_manifest().segments if s.task == task]


def rating(frame: int, *votes: tuple[int, int, int]) -> str:
    means = ",".join(str(sum(vote[at] for vote in votes) / 3) for at in range(3))
    cells = ",".join(f'"[{a}.0, {b}.0, {c}.0]"' for a, b, c in votes)
    return f"4,{frame},x,{means},True,{cells},\n"


def test_endoscapes_raters_and_majority(tmp_path: Path) -> None:
    rows = (
        rating(250, (1, 0, 0), (1, 1, 0), (0, 0, 0))
        + "4,255,x,0.5,0.2,0.0,False,,,,\n4,260,x,0.5,0.2,0.0,False,nan,nan,nan,\n"
        + rating(375, (1, 0, 0), (1, 0, 0), (1, 0, 1))
        + rating(500, (0, 0, 0), (0, 0, 0), (0, 0, 0))
    )
    put(tmp_path / "all_metadata.csv", HEAD + rows)
    put(tmp_path / "train_vids.txt", "\n".join(f"{number:.18e}" for number in range(1, 121)))
    put(tmp_path / "val_vids.txt", "\n".join(f"{number:.18e}" for number in range(122, 162)))
    dataset = EndoscapesCVS(tmp_path)
    assert spans(dataset, "cvs") == [(10, 20, "C1")]
    assert spans(dataset, "cvs_rater_1") == [(10, 20, "C1")]
    assert spans(dataset, "cvs_rater_2") == [(10, 20, "C1"), (10, 15, "C2")]
    assert spans(dataset, "cvs_rater_3") == [(15, 20, "C1"), (15, 20, "C3")]
    # At 10 s two raters saw C1; from 15 s all three; the last rating, of no criterion, is a rating all the same.
    assert spans(dataset, "cvs_score") == [(10, 20, "1"), (20, 25, "0")]
    assert spans(dataset, "cvs_rated") == [(10, 25, "rated")]
    assert [(row.video_id, row.split, row.duration_s) for row in dataset.videos] == [("4", "train", 25)]
    text = "\n".join(dataset.problems())
    assert "2 rows without raters (interpolated) left out" in text
    assert "val_vids.txt and the val split of protocol standard differ in 121" in text
    assert "train_vids.txt" not in text
    assert [len(ids) for ids in dataset.SPLITS["standard"].values()] == [120, 41, 40]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('4,250,x,1,0,0,True,"[1, 0]","[1, 0, 0]","[1, 0, 0]",\n', "cvs_annotator_1 is"),
        ('4,250,x,1,0,0,True,"[2, 0, 0]","[1, 0, 0]","[1, 0, 0]",\n', "must be three times 0 or 1"),
        ('4,-1,x,1,0,0,True,"[1, 0, 0]","[1, 0, 0]","[1, 0, 0]",\n', "frame is '-1'"),
        ('4,250,x,one,0,0,True,"[1, 0, 0]","[1, 0, 0]","[1, 0, 0]",\n', "C1 is 'one'"),
    ],
)
def test_endoscapes_rows_that_are_refused(row: str, message: str, tmp_path: Path) -> None:
    put(tmp_path / "all_metadata.csv", HEAD + row)
    (line,) = EndoscapesCVS(tmp_path).contents.unreadable
    assert message in line
    assert "all_metadata.csv, line 2" in line


def test_a_score_of_endoscapes_is_the_number_of_criteria(tmp_path: Path) -> None:
    all_met, two_met = [(1, 1, 1)] * 3, [(1, 1, 0), (0, 1, 1), (1, 0, 0)]
    put(tmp_path / "all_metadata.csv", HEAD + rating(0, *all_met) + rating(125, *two_met))
    assert spans(EndoscapesCVS(tmp_path), "cvs_score") == [(0, 5, "3"), (5, 10, "2")]


def test_means_that_the_raters_do_not_give_are_named(tmp_path: Path) -> None:
    vote = '"[1, 0, 0]"'
    put(tmp_path / "all_metadata.csv", f"{HEAD}4,250,x,0.2,0,0,True,{vote},{vote},{vote},\n")
    dataset = EndoscapesCVS(tmp_path)
    assert any("1 mean in all_metadata.csv that the raters' values do not give: 4_250" in x for x in dataset.problems())
    assert spans(dataset, "cvs") == [(10, 15, "C1")]


BOOK = (
    "video,initial_minute,initial_second,final_minute,final_second,two_structures,cystic_plate,hepatocystic_triangle\n"
)


def test_cholec80_cvs_intervals(tmp_path: Path) -> None:
    put(
        tmp_path / "surgeons_annotations.csv",
        BOOK + "2,1,10,1,40,2,0,1\n2,1,40,2,0,2,2,1\n2,5,0,4,0,1,1,1\n7,0,1,0,3,0,0,0\n",
    )
    dataset = Cholec80CVS(tmp_path)
    assert spans(dataset, "cvs") == [(70, 100, "C1"), (70, 100, "C2"), *((100, 120, f"C{n}") for n in (1, 2, 3))]
    assert spans(dataset, "cvs_total") == [(70, 100, "3"), (100, 120, "5")]
    assert spans(dataset, "cvs_score") == [(70, 100, "3"), (100, 120, "5"), (1, 3, "0")]
    (line,) = dataset.contents.unreadable
    assert "line 4: video02 from 300 s to 240 s ends before it starts" in line


def test_of_six_classes_an_interval_without_a_score_is_one_and_a_full_score_is_none(tmp_path: Path) -> None:
    put(tmp_path / "surgeons_annotations.csv", BOOK + "2,0,10,0,20,0,0,0\n2,0,20,0,30,2,2,2\n2,0,40,0,50,1,2,2\n")
    dataset = Cholec80CVS(tmp_path)
    assert spans(dataset, "cvs_score") == [(10, 20, "0"), (40, 50, "5")]
    assert spans(dataset, "cvs_total") == [(20, 30, "6"), (40, 50, "5")]


def test_a_workbook_is_to_be_exported(tmp_path: Path) -> None:
    put(tmp_path / "data" / "surgeons_annotations.xlsx", b"PK")
    (line,) = Cholec80CVS(tmp_path).contents.unreadable
    assert "is a workbook: export its sheet as CSV to surgeons_annotations.csv" in line


@needs_real
def test_published_folds() -> None:
    record = json.loads((Path(REAL) / "labels_more/cholec80_cvs/data/folds.json").read_text())
    assert [list(fold) for fold in folds()] == record["folds"]
    assert len({name for fold in folds() for name in fold}) == 80
    assert [len(ids) for ids in Cholec80CVS.SPLITS["code_50_15_15"].values()] == [50, 15, 15]
