"""Label files as found in practice: lenient about format, strict about values."""

import csv
from pathlib import Path

import pytest

from surgvl.core.errors import DataError
from surgvl.core.files import read_json
from surgvl.core.ontology import CHOLEC80_PHASES
from surgvl.data.formats.frame_rows import place_rows
from surgvl.data.formats.qa_text import read_question_lines
from surgvl.data.formats.second_csv import read_second_csv
from surgvl.data.formats.text_files import read_csv, read_fields
from surgvl.data.readers.autolaparo import PHASES as HYSTERECTOMY_PHASES
from surgvl.data.readers.autolaparo import AutoLaparo, read_label_file
from surgvl.data.readers.base import VideoDataset
from surgvl.data.readers.cholec80 import Cholec80, read_phase_file, read_tool_file
from surgvl.data.readers.narration import read_narration
from surgvl.data.spans import join_runs
from tests.helpers.label_files import (
    LABELS,
    TOOL_HEADER,
    film,
    joined,
    needs_real,
    put,
    tool_text,
)

PHASE_SPANS = [(0.0, 0.2, "Preparation"), (0.2, 0.3, "CalotTriangleDissection"), (0.3, 0.4, "Preparation")]


@pytest.mark.parametrize(
    "text",
    [
        joined("\t", "\n"),
        joined("\t", "\r\n"),
        "\ufeff" + joined("\t", "\n"),
        joined("   ", " \n"),
        joined(",", "\n\n"),
        joined("\t", "\n", header=False),
        joined("\t", "\n").replace("CalotTriangleDissection", "Calot triangle dissection "),
        joined("  ", "\n").replace("CalotTriangleDissection", "Calot_Triangle Dissection"),
    ],
    ids=["tab", "crlf", "bom", "blanks", "comma", "headless", "words", "blank_words"],
)
def test_phase_file_in_every_dress(text: str, tmp_path: Path) -> None:
    track = place_rows(read_phase_file(put(tmp_path / "v.txt", text)), None, 10.0)
    assert track.spans == PHASE_SPANS
    assert track.end_s == 0.4
    assert [note.split(",")[0] for note in track.notes] == ["begins with a byte order mark"] * text.startswith("\ufeff")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("Frame\tPhase\n", "no rows"),
        ("Frame\tPhase\n0\n", "line 2 must have two values, got '0'"),
        ("Frame\tPhase\n0\tLunch\n", "line 2: unknown phase 'Lunch'"),
        ("Frame\tPhase\nx\tPreparation\n", "line 2: frame is 'x'"),
        ("Frame\tPhase\nnan\tPreparation\n", "line 2: frame is 'nan'"),
        ("Frame\tPhase\n5\tPreparation\n5\tPreparation\n", "line 3: frame 5 comes after frame 5"),
        (b"\x89PNG\r\n\x1a\n", "line 1: byte 0x89 is not valid UTF-8"),
        (b"Frame\tPhase\n0\tPrep\x00", "line 2 has a NUL"),
        (b"\xff\xfe\x00\xd8", "is not valid UTF-16"),
        (
            "Frame\tPhase\n" + "9" * 5000 + "\tPreparation\n",
            r"line 2: frame is .9+\.\.\.9+.; it must be a whole number",
        ),
    ],
)
def test_phase_file_that_is_refused(text: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_phase_file(put(tmp_path / "v.txt", text))
    assert "\n" not in str(caught.value)
    assert "v.txt" in str(caught.value)


def test_gap_in_frames_ends_a_span_and_is_noted(tmp_path: Path) -> None:
    text = "Frame\tPhase\n" + "".join(f"{frame}\tPreparation\n" for frame in (0, 1, 5, 6))
    track = place_rows(read_phase_file(put(tmp_path / "v.txt", text)), None, 1.0)
    assert track.spans == [(0.0, 2.0, "Preparation"), (5.0, 7.0, "Preparation")]
    assert track.notes == ["3 frames without a row between others: they have no label"]


def test_tools_are_taken_by_name(tmp_path: Path) -> None:
    path = put(tmp_path / "t.txt", tool_text(3, 25))
    assert read_tool_file(path, 25.0).spans == [(0.0, 3.0, "Grasper")]
    swapped = TOOL_HEADER.replace("Grasper", "x").replace("Hook", "Grasper").replace("x", "hook ")
    assert read_tool_file(put(path, tool_text(3, 25, swapped)), 25.0).spans == [(0.0, 3.0, "Hook")]
    for text, message in (
        (tool_text(2, header=TOOL_HEADER.replace("Hook", "Spoon")), "header is"),
        (tool_text(2).replace("\t1", "\t2"), "values 0 or 1"),
        (tool_text(2).replace("10\t", "0\t"), "comes after frame 0"),
        (TOOL_HEADER, "no rows"),
    ):
        with pytest.raises(DataError, match=message):
            read_tool_file(put(path, text), 10.0)


def test_csv_reader_is_tolerant_of_form_and_strict_on_columns(tmp_path: Path) -> None:
    path = put(tmp_path / "t.csv", '\ufeffa, b ,\r\n1,"x, y\r\nz ",\r\n\r\n 2 ,w,\r\n')
    assert read_csv(path, ("a", "b")) == {"a": ["1", "2"], "b": ["x, y\r\nz", "w"], "line": ["3", "5"]}
    put(path, b"id,name,note\n1,suction," + "吸引器".encode("gbk") + b"\n")
    assert read_csv(path, ("id", "name"), ignore_others=True)["name"] == ["suction"]
    for text, message in (
        ("a,b\n1\n", "line 2: 1 values for 2 columns"),
        ("a,c\n1,2\n", "columns are a, c; expected a, b: add b, drop c"),
        ("a,b,b\n1,2,3\n", "columns are a, b, b; expected a, b: leave one b"),
        ("a,b,c\n1,2,3\n", "expected a, b"),
        ("  \n", "is empty"),
        ('a,b\n1,"x\n2,y\n3,z\n', "is not a CSV row"),
        ("a,b\n1,one, two\n", "line 2: 3 values for 2 columns: correct the row, and quote values that contain a comma"),
        (f"{'a' * 9000},b\n1,2\n", r"columns are a+\.\.\.a+, b; expected a, b"),
    ):
        with pytest.raises(DataError, match=message):
            read_csv(put(path, text), ("a", "b"))
    put(path, "id,name,note\n1,größer,\n".encode("cp1252"))
    with pytest.raises(DataError, match="t.csv, line 2: name is not valid UTF-8"):
        read_csv(path, ("id", "name"), ignore_others=True)
    with pytest.raises(DataError, match="cannot be read"):
        read_fields(tmp_path)
    with pytest.raises(DataError, match="is not a path"):
        read_fields(tmp_path / "a\0b")


WORDS = "l’artère, 37 °C"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_stated_encodings_are_read(encoding: str, tmp_path: Path) -> None:
    path = put(tmp_path / "t.csv", f'a,b\r\n1,"{WORDS}"\r\n'.encode(encoding))
    assert read_csv(path, ("a", "b"))["b"] == [WORDS]


@pytest.mark.parametrize(
    ("encoding", "cause"), [("cp1252", "line 2: byte 0x92 is not valid UTF-8"), ("utf-16-le", "NUL")]
)
def test_encodings_that_are_not_stated_are_refused(encoding: str, cause: str, tmp_path: Path) -> None:
    path = put(tmp_path / "t.csv", f'a,b\r\n1,"{WORDS if cause != "NUL" else "x"}"\r\n'.encode(encoding))
    with pytest.raises(DataError, match=cause):
        read_csv(path, ("a", "b"))
    pair = put(tmp_path / "0.txt", f"Which?\r\nWhich?|{WORDS if cause != 'NUL' else 'x'}\r\n".encode(encoding))
    with pytest.raises(DataError, match=cause):
        read_question_lines(pair)


def test_semicolons_and_tabs_of_spreadsheets(tmp_path: Path) -> None:
    path = put(tmp_path / "t.csv", "start;end;text\n0,5;4,25;one, two\n")
    assert read_narration(path)["narration"].spans == [(0.5, 4.25, "one, two")]
    path = put(tmp_path / "t.csv", "start\tend\ttext\n0.5\t4\tone, two\n")
    assert read_narration(path)["narration"].spans == [(0.5, 4.0, "one, two")]
    # A comma without semicolons may stand before thousands: refused.
    with pytest.raises(DataError, match="line 2: end is '1,500'"):
        read_narration(put(tmp_path / "t.csv", 'start,end,text\n0,"1,500",we open\n'))


def test_times_on_a_clock(tmp_path: Path) -> None:
    text = 'start,end,text\n0:00:01.500,"0:00:04,250",one\n1:05,2:00,two\n'
    assert read_narration(put(tmp_path / "t.csv", text))["narration"].spans == [(1.5, 4.25, "one"), (65, 120, "two")]


@pytest.mark.parametrize(
    "content",
    [b"[" * 1_000_000, b"[" + b"7" * 5000 + b"]", b"\xff\xfe\x00\xd8", b"\x00\x01\x02", b"\x89PNG", b"", b"{]"],
)
def test_json_that_is_none_is_one_line(content: bytes, tmp_path: Path) -> None:
    path = put(tmp_path / "a.json", content)
    with pytest.raises(DataError) as caught:
        read_json(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_json_of_windows_is_read(encoding: str, tmp_path: Path) -> None:
    assert read_json(put(tmp_path / "a.json", '{"é": 1}'.encode(encoding))) == {"é": 1}


def test_runs_join_equal_neighbours_only() -> None:
    assert join_runs([0, 1, 2, 4], ["a", "a", "b", "b"]) == [(0, 2, "a"), (2, 3, "b"), (4, 5, "b")]
    assert join_runs([3], [""]) == []
    assert join_runs([], []) == []
    assert join_runs([0, 25, 50], ["a", "a", "a"], 1 / 25, 25) == [(0, 3, "a")]


def test_second_csv_refuses_what_does_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "video01.csv"
    track = read_second_csv(put(path, "path,label\nvideo01_0.png,1\nvideo01_2.png,7\n"), "video01", CHOLEC80_PHASES, 0)
    assert track.spans == [(0, 1, "Preparation"), (2, 3, "GallbladderRetraction")]
    assert track.notes == ["1 second without a row in video01.csv"]
    for rows, message in (
        ("video01_0.png,0", "label 0 is not one of 1 to 7"),
        ("video01_0.png,8", "label 8 is not one of 1 to 7"),
        ("video01_0.png,", "label is ''"),
        ("video02_0.png,1", "not a frame of video01"),
        ("video01_3.png,1\nvideo01_3.png,1", "line 3: .*sort the rows"),
        ("", "no rows"),
    ):
        with pytest.raises(DataError, match=message):
            read_second_csv(put(path, f"path,label\n{rows}\n"), "video01", CHOLEC80_PHASES, 0)
    with pytest.raises(DataError, match="sort the rows"):
        read_second_csv(put(path, "path,label\n01_0.png,1\n"), "01", HYSTERECTOMY_PHASES, 1)


@pytest.mark.slow
@needs_real
@pytest.mark.parametrize(
    ("kind", "folder", "num", "names", "first"),
    [
        (Cholec80, "cholec80_csv", 80, CHOLEC80_PHASES, 0),
        (AutoLaparo, "autolaparo_csv", 21, HYSTERECTOMY_PHASES, 1),
    ],
)
def test_real_csv_files_second_by_second(
    kind: type[VideoDataset], folder: str, num: int, names: tuple[str, ...], first: int
) -> None:
    dataset = kind(LABELS / folder)
    manifest = dataset.to_manifest()
    assert dataset.contents.unreadable == []
    files = sorted((LABELS / folder).glob("*.csv"))
    assert len(files) == len(manifest) == num
    ids, times, want = [], [], []
    for file in files:
        with file.open(newline="") as lines:
            assert next(lines).strip() == "path,label"
            rows = list(csv.reader(lines))
        ids += [file.stem] * len(rows)
        times += [int(path.split("_")[1].split(".")[0]) - first + 0.5 for path, _ in rows]
        want += [[names[int(label) - 1]] for _, label in rows]
    assert manifest.second_labels("phase", ids, times) == want


def test_autolaparo_text_layout(tmp_path: Path) -> None:
    put(tmp_path / "t1" / "labels" / "label_02.txt", "Frame\tPhase\r\n1\t1\r\n2\t1\r\n3\t7\r\n")
    film(tmp_path / "t1" / "videos" / "02.mp4", 3)
    manifest = AutoLaparo(tmp_path).to_manifest()
    assert [(s.start_s, s.end_s, s.label) for s in manifest.segments] == [(0, 2, "Preparation"), (2, 3, "Washing")]
    for text, message in (
        ("1\t8\n", "unknown phase '8'"),
        ("2\t1\n1\t1\n", "line 2: frame 1 comes after frame 2"),
        ("1 2 3\n", "line 1 has 3 values, '1 2 3'; a frame and a phase are expected"),
        ("1\tx\n", "'x'"),
    ):
        with pytest.raises(DataError, match=message):
            read_label_file(put(tmp_path / "x.txt", text))
