"""SurgRec's clip lists: their form, and the defects of the published ones."""

import csv
import itertools
from functools import cache
from pathlib import Path

import pytest

from surgvl.data.readers.surgical_actions160 import SurgicalActions160
from surgvl.data.readers.surgrec_clips import SurgRecClips, position_labels, read_clip_list
from tests.helpers.label_files import LABELS, REAL, film, needs_real, put

LISTS = Path(REAL) / "labels_more" / "surgrec_splits" / "splits"
MARK = "__DATA_ROOT__/"


def test_lists_with_blanks_in_paths_and_a_validation_that_is_the_test(tmp_path: Path) -> None:
    put(tmp_path / "train.csv", f"{MARK}set/a b/1.mp4 0\n")
    put(tmp_path / "test.csv", f"{MARK}set/2.mp4 1\r\n{MARK}set/3.mp4 2\r\n")
    put(tmp_path / "val.csv", f"{MARK}set/2.mp4 1\r\n{MARK}set/3.mp4 2\r\n")
    put(tmp_path / "label_mapping.json", '{"label_to_index": {"x": 9}, "index_to_label": {"0": "cut", "2": "Phase"}}')
    film(tmp_path / "set" / "a b" / "1.mp4", 2)
    dataset = SurgRecClips(tmp_path)
    manifest = dataset.to_manifest()
    assert [(row.video_id, row.split, round(row.duration_s)) for row in manifest.videos] == [
        ("set/2.mp4", "test", 1),
        ("set/3.mp4", "test", 1),
        ("set/a b/1.mp4", "train", 2),
    ]
    assert [(s.task, s.label, s.start_s, round(s.end_s)) for s in manifest.segments] == [
        ("clip", "1", 0, 1),
        ("clip", "Phase", 0, 1),
        ("clip", "cut", 0, 2),
    ]
    asked = manifest.qa_table.select(["video_id", "answer", "type"]).to_pylist()
    assert [tuple(row.values()) for row in asked] == [
        ("set/2.mp4", "1", "clip"),
        ("set/3.mp4", "Phase", "clip"),
        ("set/a b/1.mp4", "cut", "clip"),
    ]
    text = "\n".join(dataset.problems())
    assert "2 of 2 clips of val.csv are also in test.csv" in text
    assert "1 clip of a class Phase, which is the header word" in text


@pytest.mark.parametrize(
    ("line", "message"),
    [("clip.mp4", "is not a path below"), ("../clip.mp4 1", "is not a path below"), ("a.mp4 x", "label is 'x'")],
)
def test_lines_that_are_refused(line: str, message: str, tmp_path: Path) -> None:
    put(tmp_path / "train.csv", f"{MARK}ok.mp4 0\n{line}\n")
    dataset = SurgRecClips(tmp_path)
    assert message in dataset.contents.unreadable[0]
    assert "train.csv, line 2" in dataset.contents.unreadable[0]


def test_positions_are_counted_against_the_segments() -> None:
    clips = {"a/cholec80_01_1.mp4": 0, "a/cholec80_01_2.mp4": 1, "a/cholec80_01_3.mp4": 2, "a/other_01_1.mp4": 5}
    phases = {1: ["CalotTriangleDissection", "CalotTriangleDissection"]}
    assert position_labels(clips, phases) == (1, 2)


@pytest.mark.slow
@needs_real
def test_86_of_543_labels_of_cholec80_are_not_the_phase(tmp_path: Path) -> None:
    for name in ("train.csv", "test.csv", "label_map.json"):
        if (LISTS / "cholec80" / name).is_file():
            (tmp_path / name).symlink_to(LISTS / "cholec80" / name)
    (tmp_path / "phases").symlink_to(LABELS / "cholec80_csv")
    problems = "\n".join(SurgRecClips(tmp_path).problems())
    assert "86 of 543 clip labels differ from the phase" in problems
    assert "the labels of all 543 clips are the position of the clip" in problems
    # The same count without the reader, on the raw text.
    differing = 0

    @cache
    def runs_of(video: str) -> list[str]:
        text = (LABELS / "cholec80_csv" / f"video{video}.csv").read_text()
        rows = list(csv.reader(text.splitlines()))[1:]
        return [number for number, _ in itertools.groupby(row[1] for row in rows)]

    for name in ("train.csv", "test.csv"):
        for line in (LISTS / "cholec80" / name).read_text().splitlines():
            stem, label = line.rsplit(".mp4 ", 1)
            video, k = stem.split("cholec80_")[-1].split("_")
            differing += int(runs_of(video)[int(k) - 1]) - 1 != int(label)
    assert differing == 86


COUNTS = {
    "AutoLaparo": (77, 26, 62),
    "M2CAI16-Workflow": (241, 0, 113),
    "MultiBypass140": (1031, 223, 448),
    "PitVis": (783, 0, 292),
    "SAR-RARP50": (1773, 0, 439),
    "SurgicalActions160": (112, 32, 16),
    "cat-21": (213, 0, 51),
    "cataract-101": (889, 248, 128),
    "cataract-1k-phase": (651, 178, 101),
    "cholec80": (270, 0, 273),
}


@needs_real
@pytest.mark.parametrize("name", COUNTS)
def test_published_lists_have_the_stated_sizes(name: str) -> None:
    sizes = [
        len(read_clip_list(path)) if (path := LISTS / name / f"{split}.csv").is_file() else 0
        for split in ("train", "val", "test")
    ]
    assert tuple(sizes) == COUNTS[name]


@needs_real
def test_the_header_word_is_a_class_of_m2cai16() -> None:
    assert any(
        line.startswith("41 clips of a class Phase") for line in SurgRecClips(LISTS / "M2CAI16-Workflow").problems()
    )


@needs_real
def test_the_split_of_surgical_actions160_is_the_published_list() -> None:
    for split, ids in SurgicalActions160.SPLITS["surgrec"].items():
        clips = read_clip_list(LISTS / "SurgicalActions160" / f"{split}.csv")
        assert sorted(ids) == sorted(Path(clip).stem for clip in clips)
        assert all(int(Path(clip).stem[:2]) == label + 1 for clip, label in clips.items())


def test_surgical_actions160_by_name(tmp_path: Path) -> None:
    film(tmp_path / "16_endobag-out" / "16_03.mp4", 1)
    (tmp_path / "made.mp4").write_bytes((tmp_path / "16_endobag-out" / "16_03.mp4").read_bytes())
    put(tmp_path / "01_abdominal_access" / "02_01.mp4", b"misplaced")
    put(tmp_path / "17_01.mp4", b"no class")
    dataset = SurgicalActions160(tmp_path)
    assert [(s.video_id, s.task, s.label) for s in dataset.to_manifest().segments] == [("16_03", "clip", "Endobag-Out")]
    assert dataset.videos[0].split == "test"
    assert any("01_abdominal_access/02_01.mp4" in line and "17_01.mp4" in line for line in dataset.problems())
    assert [len(ids) for ids in dataset.SPLITS["surgrec"].values()] == [112, 32, 16]
