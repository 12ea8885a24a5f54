"""What `data check` says of trees that lack a file or hold another one: the place, what is wrong, and what to do."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from surgvl.commands.data import data_check, datasets
from surgvl.core.errors import DataError
from tests.helpers import made_trees


def tree(name: str, root: Path) -> Path:
    splits = next(iter(datasets()[name].SPLITS.values()), made_trees.AIXSUTURE)
    made_trees.MAKERS[name](root, made_trees.some_of(splits))
    return root


def without(name: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        path = root / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return change


def with_column(name: str, mark: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        lines = (root / name).read_text().splitlines()
        (root / name).write_text("".join(f"{line}{mark}7\n" for line in lines))

    return change


def at_twice_the_rate(root: Path) -> None:
    """A row for each half frame, as of a video of 20 frames a second."""
    for path in (root / "phase_annotations").iterdir():
        head, *rows = (line.split("\t") for line in path.read_text().splitlines())
        doubled = [f"{2 * int(frame) + half}\t{label}\n" for frame, label in rows for half in (0, 1)]
        path.write_text("\t".join(head) + "\n" + "".join(doubled))


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("cholec80", without("phase_annotations/video01-phase.txt"), "phase_annotations/VIDEO-phase.txt is missing"),
        ("cholec80", without("videos"), "labels but no video file for 6: video01, .* expected in .*: `videos/video01"),
        ("cholec80", at_twice_the_rate, r"phase labels are longer than the video \(12.0 s, video 6.0 s\): check"),
        (
            "cholec80",
            with_column("phase_annotations/video01-phase.txt", "\t"),
            "video01-phase.txt, line 2 has 3 values, .*; a frame and a phase are expected: drop the other columns",
        ),
        ("cholect50", without("labels"), "no triplet labels: labels/VIDEO.json is missing"),
        ("autolaparo", without("labels/label_01.txt"), "01: no phase labels: labels/label_VIDEO.txt is missing"),
        ("autolaparo", with_column("labels/label_01.txt", "\t"), "label_01.txt, line 2 has 3 values"),
        ("pitvis", without("steps_csv"), "no steps table: steps_csv/steps_NN.csv is missing"),
        ("cataract101", with_column("annotations.csv", ";"), "expected VideoID, FrameNo, Phase: drop 7"),
        ("cataract101", without("videos.csv"), "no videos.csv in .*: copy the file from the data set"),
        ("endoscapes_cvs", without("all_metadata.csv"), "no all_metadata.csv in .*, so no ratings: copy it"),
        ("aixsuture", without("OSATS.csv"), "no OSATS.csv in .*: export the sheet of OSATS.xlsx to it"),
        ("aixsuture", without("splits.json"), r"write .*splits.json, such as {\"train\": \[\"A01A\"\]"),
    ],
)
def test_what_is_said_of_a_broken_tree(
    name: str, change: Callable[[Path], None], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tree(name, tmp_path / name)
    change(root)
    error = ""
    try:
        data_check(name, root)
    except DataError as caught:
        error = str(caught)
        assert "\n" not in error
    text = " ".join([*capsys.readouterr().out.split(), error])
    assert re.search(told, text), text
    # A file that is there but cannot be read is not missing.
    assert "drop the other columns" not in text or "is missing" not in text
