"""Data sets of question files, each written here by hand: ids, times, splits, answers, unreadable files."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from surgvl.commands.data import data_check, data_convert
from surgvl.core.errors import DataError
from surgvl.core.operations import seen_before
from surgvl.data.formats.qa_text import parse_pair
from surgvl.data.manifest import Manifest
from surgvl.data.readers.base import VideoDataset
from surgvl.data.readers.cholec80_vqa import Cholec80VQA
from surgvl.data.readers.cholec80_vqa_sentence import Cholec80VQASentence
from surgvl.data.readers.endovis18_vqa import EndoVis18VQA
from surgvl.data.readers.endovis18_vqa_sentence import EndoVis18VQASentence
from surgvl.data.readers.endovis18_vqla import EndoVis18VQLA
from surgvl.data.readers.pitvqa import PitVQA
from surgvl.data.readers.pitvqa_open import PitVQAOpen
from surgvl.data.readers.psi_ava_vqa import PSIAVAVQA
from surgvl.data.readers.ssg_vqa import SSGVQA
from surgvl.data.readers.vqa_tree import VqaTree
from surgvl.data.tables import is_open
from surgvl.video import read
from tests.helpers.label_files import film, put

Row = tuple[str, float, str, str, str]


def pictures(folder: Path, *names: str) -> None:
    """Grey pictures, the first 10, the next 20 and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    for at, name in enumerate(names, 1):
        Image.fromarray(np.full((16, 16, 3), 10 * at, np.uint8)).save(folder / name)


def rows(dataset: VideoDataset) -> list[Row]:
    return [(row.video_id, row.start_s, row.answer, row.type, row.box) for row in dataset.to_manifest().qa]


def grey(manifest: Manifest, video_id: str, second: float) -> int:
    """Which of `pictures` is shown at the middle of a second."""
    return round(float(read(manifest.path_of(video_id), second + 0.5, second + 0.5, 1, 8).mean()) / 10)


def endovis(root: Path) -> Path:
    pictures(root / "seq_1" / "left_frames", "frame000.png", "frame001.png", "frame003.png")
    text = "What organ is being operated?|kidney\nWhat is the state of bipolar_forceps?|Idle\n"
    put(root / "seq_1/vqa/Classification/frame000_QA.txt", text)
    put(root / "seq_1/vqa/Classification/frame003_QA.txt", "where is bipolar_forceps located?|left-top\r\n\r\n")
    put(root / "seq_1/vqa/Classification/frame002_QA.txt", "where is bipolar_forceps located?|left-top\n")
    put(root / "seq_1/vqa/Classification/frame001_QA.txt", "What organ is being operated?|kidney\nno bar\n")
    put(root / "seq_1/vqa/Sentence/frame001_QA.txt", "What organ is being operated?|the organ is a kidney\n")
    pictures(root / "seq_10" / "left_fr", "frame000.png")
    put(root / "seq_10/vqa/Classification/frame000_QA.txt", "What organ is being operated?|Kidneys\n")
    put(root / "seq_4/vqla/label/frame001_QA.txt", "What is the state of suction?|Suction|1, 21,1280,1024\n")
    put(root / "seq_4/vqla/label/frame002_QA.txt", "What is the state of suction?|Suction|30,21,29,1024\n")
    return root


def test_endovis18_vqa(tmp_path: Path) -> None:
    dataset = EndoVis18VQA(endovis(tmp_path))
    assert rows(dataset) == [
        ("seq_1", 0, "kidney", "target", ""),
        ("seq_1", 0, "Idle", "state", ""),
        ("seq_1", 2, "left-top", "position", ""),
        ("seq_10", 0, "Kidneys", "target", ""),
    ]
    manifest = dataset.to_manifest()
    # Frame 3 is the third picture of its folder, and the question about it is asked where it is shown.
    assert grey(manifest, "seq_1", 2) == 3
    assert [(row.video_id, row.split, row.path) for row in manifest.videos] == [
        ("seq_1", "test", "seq_1/left_frames"),
        ("seq_10", "train", "seq_10/left_fr"),
    ]
    assert "frame001_QA.txt, line 2: 'no bar' is not question|answer" in dataset.contents.unreadable[0]
    text = "\n".join(dataset.problems())
    assert "1 question file without a picture left out: seq_1/frame002_QA.txt" in text
    assert "1 answer not among the 18 published ones kept: Kidneys; the first in" in text
    assert "too early" not in text
    assert sorted(len(ids) for ids in EndoVis18VQA.SPLITS["standard"].values()) == [3, 11]


def test_endovis18_sentences_are_open(tmp_path: Path) -> None:
    assert rows(EndoVis18VQASentence(endovis(tmp_path))) == [("seq_1", 1, "the organ is a kidney", "open_target", "")]
    assert is_open("open_target")
    assert not is_open("target")


def test_endovis18_boxes_count_from_zero(tmp_path: Path) -> None:
    dataset = EndoVis18VQLA(endovis(tmp_path))
    assert rows(dataset) == [("seq_4", 1, "Suction", "state", "0,20,1279,1023")]
    assert "frame002_QA.txt, line 1:" in dataset.contents.unreadable[0]
    assert "has box '30,21,29,1024'" in dataset.contents.unreadable[0]


def cholec80(root: Path) -> Path:
    asked = "what is the phase of image?|calot triangle dissection\nhow many tools are operating?|2\n"
    put(root / "Classification/5/400_QA.txt", asked + "is hook used in the image?|yes\n")
    put(root / "Classification/5/100_QA.txt", "what is the phase of image?|preparation\n")
    put(root / "Classification/5/125_QA.txt", "what is the phase of image?|preparation\n")
    put(root / "Classification/40/200_QA.txt", "what is the phase of image?|preparation\n")
    put(root / "Sentence/5/100_QA.txt", "what is the phase of image?|it is the preparation phase\n")
    return root


def test_cholec80_vqa(tmp_path: Path) -> None:
    pictures(cholec80(tmp_path) / "cropped_image" / "5", "25.png", "100.png", "400.png")
    film(tmp_path / "videos" / "video40.mp4", 12.0)
    dataset = Cholec80VQA(tmp_path)
    manifest = dataset.to_manifest()
    assert rows(dataset) == [
        ("video05", 1, "preparation", "phase", ""),
        ("video05", 2, "calot triangle dissection", "phase", ""),
        ("video05", 2, "2", "count", ""),
        ("video05", 2, "yes", "presence", ""),
        ("video40", 8, "preparation", "phase", ""),
    ]
    assert [grey(manifest, "video05", second) for second in (1, 2)] == [2, 3]
    assert [(row.video_id, row.split) for row in manifest.videos] == [("video05", "test"), ("video40", "train")]
    # They are Cholec80's operations under Cholec80's names.
    assert seen_before(["VID05"], ["cholec/video05"]) == ["VID05"]
    splits = Cholec80VQA.SPLITS["standard"]
    assert (len(splits["train"]), splits["test"][-1]) == (32, "video31")
    assert rows(Cholec80VQASentence(tmp_path))[0][3:] == ("open_phase", "")


def test_cholec80_vqa_without_pictures_goes_by_25_frames_a_second(tmp_path: Path) -> None:
    assert [(row[0], row[1]) for row in rows(Cholec80VQA(cholec80(tmp_path)))][:2] == [("video05", 4), ("video05", 16)]


SEEN = "Which anatomical structures are present?|liver, gallbladder\n\nWhich tools are present?|hook\n"


@pytest.mark.parametrize("place", ["qa_txt", "qa_txt/ssg-qa", "ssg-qa"])
def test_ssg_vqa(place: str, tmp_path: Path) -> None:
    text = SEEN + "What is the action being performed on cystic_duct?|dissect\n"
    text += "What anatomy is at the top-mid of the frame ?|liver|[157.0, 60.0]\n"
    text += "What color is it?|brown|single_and.json|query_color|NA\nAre there hooks?|True|zero_hop.json|exist|NA\n"
    put(tmp_path / place / "VID02" / "10.txt", text)
    put(tmp_path / place / "VID02" / "2.txt", SEEN + "How many?|11|zero_hop.json|count|NA\n")
    put(tmp_path / place / "VID18" / "0.txt", SEEN + "How many|one_hop.json\nHow many\n")
    pictures(tmp_path / "data" / "VID02", *(f"{number:06d}.png" for number in range(12)))
    dataset = SSGVQA(tmp_path)
    assert rows(dataset) == [
        ("VID02", 2, "11", "count", ""),
        ("VID02", 10, "dissect", "action", ""),
        ("VID02", 10, "liver", "target", ""),
        ("VID02", 10, "brown", "query_color", ""),
        ("VID02", 10, "True", "exist", ""),
    ]
    assert grey(dataset.to_manifest(), "VID02", 10) == 11
    assert dataset.videos[0].split == "test"
    assert "VID18/0.txt, line 5: 'How many' is not question|answer|template|type" in dataset.contents.unreadable[0]
    assert any("1 answer not among the 51 published ones kept: 11" in line for line in dataset.problems())
    splits = SSGVQA.SPLITS["standard"]
    assert [len(splits[name]) for name in ("train", "val", "test")] == [35, 5, 5]


def test_pitvqa_pictures_without_a_gap_in_time(tmp_path: Path) -> None:
    """Seconds outside the patient have no picture: the question about second 7 belongs to the picture of second 7."""
    pictures(tmp_path / "images" / "video_06", "00005.png", "00007.png")
    put(tmp_path / "QA/video_06/00007.txt", "What is the surgical phase shown in the image?|sellar\n")
    manifest = PitVQA(tmp_path).to_manifest()
    assert [(row.start_s, row.answer) for row in manifest.qa] == [(1, "sellar")]
    assert grey(manifest, "video_06", 1) == 2


@pytest.mark.parametrize("place", ["QA", "QA/3-sentence-simple-act"])
def test_open_pitvqa(place: str, tmp_path: Path) -> None:
    question = "What is the surgical step shown in this frame?"
    put(tmp_path / place / "video_13" / "00002.txt", f"{question}|The step shown is durotomy.\n")
    put(tmp_path / place / "video_13" / "00003.txt", f"{question}|one|two bars\n")
    dataset = PitVQAOpen(tmp_path)
    assert rows(dataset) == [("video_13", 2, "The step shown is durotomy.", "open_step", "")]
    assert dataset.videos[0].split == "test"
    assert "00003.txt, line 1:" in dataset.contents.unreadable[0]
    assert PitVQAOpen.SPLITS == PitVQA.SPLITS


def test_open_pitvqa_says_which_of_several_sets_it_reads(tmp_path: Path) -> None:
    for name in ("1-short", "2-long"):
        put(tmp_path / "QA" / name / "video_01" / "00002.txt", f"Which?|{name}\n")
    dataset = PitVQAOpen(tmp_path)
    assert [row[2:4] for row in rows(dataset)] == [("1-short", "open")]
    assert "of the sets of sentences, 1-short is read and not 2-long" in dataset.problems()


def test_psi_ava_vqa(tmp_path: Path) -> None:
    put(
        tmp_path / "Train/C1_location.txt",
        "CASE001/00040.jpg|Where is it?|top left\nCASE001/00005.jpg|Where?|top right\n",
    )
    put(tmp_path / "Train/C3_phase.txt", "CASE001/00005.jpg|What phase?|LPAI\nCASE002/00001.jpg|What phase?|LPAD\n")
    put(tmp_path / "Val/C4_step.txt", "CASE003/00001.jpg|What step?|Corte\nCASE002/00001.jpg|What step?|Corte\n")
    put(tmp_path / "Val/C2_action.txt", "CASE003/00001.jpg|What action?\n")
    pictures(tmp_path / "keyframes" / "CASE001", "00005.jpg", "00040.jpg")
    dataset = PSIAVAVQA(tmp_path)
    assert rows(dataset) == [
        ("CASE001", 0, "top right", "location", ""),
        ("CASE001", 0, "LPAI", "phase", ""),
        ("CASE001", 1, "top left", "location", ""),
        ("CASE002", 1, "LPAD", "phase", ""),
        ("CASE003", 1, "Corte", "step", ""),
    ]
    assert [row.split for row in dataset.videos] == ["train", "train", "test"]
    assert any("1 question of Val about cases of Train" in line for line in dataset.problems())
    assert "C2_action.txt, line 1:" in dataset.contents.unreadable[0]


def test_own_trees_with_and_without_boxes(tmp_path: Path) -> None:
    put(tmp_path / "QA/or-7/00001.txt", "What is seen?|hook|4,5,6.5,7\nIs it late?|no\n")
    put(tmp_path / "QA/or-7/note.txt", "a question|an answer\n")
    put(tmp_path / "QA/or-8/00000.txt", "What is seen?|hook|4,5,6\n")
    film(tmp_path / "videos" / "or-7.mp4", 2.0)
    put(tmp_path / "splits.json", '{"test": ["or-7"]}')
    dataset = VqaTree(tmp_path)
    assert rows(dataset) == [("or-7", 1, "hook", "other", "4,5,6.5,7"), ("or-7", 1, "no", "other", "")]
    assert dataset.to_manifest().video("or-7").split == "test"
    assert "has '4,5,6' where a box x1,y1,x2,y2 should be" in dataset.contents.unreadable[0]
    assert "1 file without a number left out: or-7/note.txt" in dataset.problems()
    for text in ('{"test": "or-7"}', '{"later": ["or-7"]}', '[["or-7"]]', '{"test": [7]}'):
        put(tmp_path / "splits.json", text)
        with pytest.raises(DataError, match=r"splits.json.*; it must be"):
            VqaTree(tmp_path)


@pytest.mark.parametrize("line", ["a|b|", "|b", "a|", "a|b|c", "a|b|1,2,3,4|c", "a|b|1,2,nan,4", "a|b|0,0,5,5"])
def test_lines_that_are_no_questions(line: str) -> None:
    with pytest.raises(ValueError, match="is not question|where a box|has box"):
        parse_pair(line, first_px=1)


@pytest.mark.parametrize(
    ("kind", "write"),
    [(EndoVis18VQA, endovis), (EndoVis18VQASentence, endovis), (EndoVis18VQLA, endovis), (Cholec80VQA, cholec80)],
)
def test_check_and_convert(
    kind: type[VideoDataset], write: Callable[[Path], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write(tmp_path / "set")
    read_here = kind(root)
    commands: list[Callable[[], None]] = [
        partial(data_check, kind.name, root),
        partial(data_convert, kind.name, root, tmp_path / "manifest"),
    ]
    for run in commands:
        if read_here.contents.unreadable:
            with pytest.raises(DataError, match="1 unreadable, set aside and listed above"):
                run()
        else:
            run()
        assert kind.SOURCE in capsys.readouterr().out
    assert Manifest.load(tmp_path / "manifest").hash == read_here.to_manifest().hash
