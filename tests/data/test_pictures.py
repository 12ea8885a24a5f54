"""Picture folders: labels follow the number of a picture, and other rates are reported."""

import io
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from surgvl.data.formats.pictures import at_pictures, times_of
from surgvl.data.readers.autolaparo import AutoLaparo
from surgvl.data.readers.base import VideoDataset
from surgvl.data.readers.cholec80 import Cholec80
from surgvl.data.readers.cholect50 import CholecT50
from surgvl.data.readers.lls48 import LLS48
from surgvl.data.readers.pitvis import PitVis
from surgvl.data.spans import Track
from tests.data.readers.test_pitvqa import NONE, pitvis
from tests.helpers.label_files import TOOL_HEADER, put, vector

TRIPLETS = {17: "grasper,retract,gallbladder", 60: "hook,dissect,gallbladder"}


def pictures(folder: Path, numbers: Iterable[int]) -> None:
    folder.mkdir(parents=True)
    black = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(black, "png")
    for number in numbers:
        (folder / f"{number:06d}.png").write_bytes(black.getvalue())


def labels(dataset: VideoDataset, task: str) -> list[list[str]]:
    """Labels of the seconds at which the pictures are shown, one each."""
    manifest = dataset.to_manifest()
    (row,) = manifest.videos
    times_s = [at + 0.5 for at in range(round(row.duration_s))]
    return manifest.second_labels(task, [row.video_id] * len(times_s), times_s)


@pytest.mark.parametrize(
    "numbers",
    [range(20), range(2, 22), range(37, 57), [*range(10), *range(20, 40)], [49, 57, 300, 301, 999, 1354], [7]],
    ids=["all", "from2", "from37", "gap", "sparse", "one"],
)
def test_triplets_go_by_the_number_of_the_picture(numbers: Iterable[int], tmp_path: Path) -> None:
    truth = {number: 17 if number % 3 else 60 for number in numbers}
    pictures(tmp_path / "videos/VID01", truth)
    record = {"num_frames": len(truth), "annotations": {str(at): [vector(triplet)] for at, triplet in truth.items()}}
    put(tmp_path / "labels/VID01.json", json.dumps(record))
    assert labels(CholecT50(tmp_path), "triplet") == [[TRIPLETS[triplet]] for triplet in truth.values()]


def test_a_frame_number_of_a_million_million_takes_no_memory(tmp_path: Path) -> None:
    for number, size in ((10**12, "annotations"), (10**7, "")):
        record = {"annotations": {str(number): [vector(17)], "0": [vector(60)]}}
        put(tmp_path / "labels/VID01.json", json.dumps(record))
        dataset = CholecT50(tmp_path)
        if size:
            assert "frame numbers of 'annotations' are whole numbers from 0" in dataset.contents.unreadable[0]
        else:
            assert [s.start_s for s in dataset.to_manifest().segments if s.label == TRIPLETS[17]] == [number]


def cholec80_rows(root: Path, num: int) -> Path:
    half = num // 2
    rows = [f"{at}\t{'Preparation' if at < half else 'CalotTriangleDissection'}" for at in range(num)]
    put(root / "phase_annotations/video01-phase.txt", "\n".join(["Frame\tPhase", *rows]) + "\n")
    tools = [f"{at}\t{int(at < half)}\t0\t0\t0\t0\t0\t0" for at in range(0, num, 25)]
    put(root / "tool_annotations/video01-tool.txt", "\n".join([TOOL_HEADER, *tools]) + "\n")
    return root


@pytest.mark.slow
@pytest.mark.parametrize(
    ("numbers", "times_s", "remark"),
    [
        (range(20), range(20), ""),
        (range(1, 21), range(20), ""),
        (range(0, 500, 25), range(20), ""),
        (range(500), [at / 25 for at in range(500)], "25 pictures per second"),
        (range(1, 501), [at / 25 for at in range(500)], "25 pictures per second"),
        (range(100), [at / 5 for at in range(100)], "5 pictures per second"),
        ([*range(5), *range(9, 20)], [*range(5), *range(9, 20)], "4 frame files missing"),
        (range(3, 20), range(3, 20), "the first picture has number 3"),
    ],
    ids=["1fps", "from1", "renamed", "25fps", "25fps_from1", "5fps", "gap", "late"],
)
def test_phases_and_tools_of_pictures_at_any_rate(
    numbers: Iterable[int], times_s: Iterable[float], remark: str, tmp_path: Path
) -> None:
    pictures(tmp_path / "videos/video01", numbers)
    dataset = Cholec80(cholec80_rows(tmp_path, 500))
    want = ["Preparation" if time_s < 10 else "CalotTriangleDissection" for time_s in times_s]
    assert labels(dataset, "phase") == [[name] for name in want]
    assert labels(dataset, "tool") == [["Grasper"] if name == "Preparation" else [] for name in want]
    text = "\n".join(line for line in dataset.problems() if not line.startswith("79 of 80"))
    assert remark in text
    assert bool(remark) == bool(text)


@pytest.mark.parametrize("numbers", [range(10), range(1, 11), range(4, 11)])
def test_phases_of_hysterectomies_count_from_one(numbers: range, tmp_path: Path) -> None:
    pictures(tmp_path / "videos/01", numbers)
    rows = "".join(f"{second}\t{1 if second <= 5 else 4}\n" for second in range(1, 11))
    put(tmp_path / "labels/label_01.txt", "Frame\tPhase\n" + rows)
    first = 5 if numbers[0] == 0 else 6
    want = ["Preparation" if number < first else "Transecting the Vagina" for number in numbers]
    assert labels(AutoLaparo(tmp_path), "phase") == [[name] for name in want]


def test_steps_and_questions_skip_pictures_that_are_missing(tmp_path: Path) -> None:
    pictures(tmp_path / "images/video_01", [0, 1, 4, 5])
    root = pitvis(
        tmp_path, "1,0,sellotomy,5\n1,3,durotomy,6\n1,9,operation_ended,-1\n", [f"suction,{NONE},16,-2,3,"] * 6
    )
    dataset = PitVis(root)
    assert labels(dataset, "step") == [["sellotomy"]] * 2 + [["durotomy"]] * 2
    rows = [(row.start_s, row.answer) for row in dataset.to_manifest().qa if row.type == "step"]
    assert rows == [(0, "sellotomy"), (1, "sellotomy"), (2, "durotomy"), (3, "durotomy")]


def test_tables_in_seconds_beside_pictures(tmp_path: Path) -> None:
    pictures(tmp_path / "images/video_01", [2, 3, 8])
    put(tmp_path / "steps/video_01.csv", "start,end,step\n0,3,a\n3,7,b\n7,9,c\n")
    dataset = LLS48(tmp_path)
    assert labels(dataset, "step") == [["a"], ["b"], ["c"]]
    assert [(row.start_s, row.answer) for row in dataset.to_manifest().qa] == [(0, "a"), (1, "b"), (2, "c")]


def test_what_has_no_picture_or_no_label_is_counted(tmp_path: Path) -> None:
    pictures(tmp_path / "in", [0, 1, 2, 6, 7])
    times_s, _ = times_of(tmp_path / "in", 6.5)
    track = at_pictures(Track([(0, 2, "a"), (3, 5, "lost"), (6, 6.5, "b")], 6.5), times_s)
    assert track.spans == [(0, 2, "a"), (3, 4, "b")]
    assert [note.split(":")[0] for note in track.notes] == [
        "1 of 3 label segments have no picture, left out",
        "1 of 5 pictures are after the end of the labels at 6.5 s",
    ]
    beyond = at_pictures(Track([(0, 30, "a")], 30.0), times_s)
    assert [note.split(":")[0] for note in beyond.notes] == ["labels continue for 22.0 s after the last picture"]
