"""Replies that other toolkits logged: small files in their layouts, matched by hand, counted by hand."""

import csv
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from surgvl.commands.eval import evaluate
from surgvl.core.errors import DataError
from surgvl.core.files import read_json
from surgvl.data.manifest import QA, Manifest, VideoRow
from surgvl.tasks.imported_answers import answers_of

PHASE, COUNT, SCENE = "Which phase is this?", "How many instruments are visible?", "Describe the scene."
# Video, start, question, answer, type; all segments last 10 s, and the first row is of the training split.
ASKED = [
    ("AVOS/v0", 0, PHASE, "Retraction", "phase"),
    ("AVOS/v1", 0, PHASE, "Clipping", "phase"),
    ("AVOS/v1", 10, PHASE, "Packaging", "phase"),
    ("AVOS/v2", 0, PHASE, "Clipping", "phase"),
    ("AVOS/v2", 0, COUNT, "2", "number"),
    ("AVOS/v2", 0, SCENE, "A hook dissects the gallbladder.", "open_caption"),
]


@pytest.fixture
def manifest() -> Manifest:
    videos = [
        VideoRow(video_id=f"AVOS/v{at}", path="", source="made", fps=25, duration_s=60, split=split)  # type: ignore[arg-type]
        for at, split in enumerate(("train", "test", "test"))
    ]
    rows = [
        QA(video_id=video, start_s=start, end_s=start + 10, question=question, answer=answer, type=kind)
        for video, start, question, answer, kind in ASKED
    ]
    return Manifest(videos, (), rows)


def table(path: Path, head: Sequence[str], rows: Sequence[Sequence[object]]) -> Path:
    """A table as pandas writes it with `csv.QUOTE_ALL`, tab-separated."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter="\t", quoting=csv.QUOTE_ALL).writerows([head, *rows])
    return path


def workbook(path: Path, rows: Sequence[Sequence[object]]) -> Path:
    """A workbook as pandas writes it, by openpyxl: numbers are numbers, and empty cells are left out."""
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet()
    for row in rows:
        sheet.append([None if value == "" else value for value in row])
    book.save(path)
    return path


HEAD = ["index", "video", "start", "question", "A", "B", "C", "answer", "prediction"]
# Right by its letter, wrong, a failed request, right as a number in words; the scene has no row.
ROWS: list[list[object]] = [
    [7, "v1.mp4", 0, PHASE, "Packaging", "Clipping", "Retraction", "B", "The answer is B."],
    [8, "v1.mp4", 10, PHASE, "Packaging", "Clipping", "Retraction", "A", "(C) Retraction"],
    [9, "v2.mp4", 0, PHASE, "Packaging", "Clipping", "Retraction", "B", "Failed to obtain answer via API."],
    [10, "v2.mp4", 0, COUNT, "", "", "", "2", "There are two instruments."],
]


def vlmevalkit(folder: Path, form: str, rows: Sequence[Sequence[object]] = ROWS) -> Path:
    path = folder / f"Qwen_Made.{form}"
    if form == "json":
        path.write_text(json.dumps([dict(zip(HEAD, row, strict=True)) for row in rows]))
        return path
    return workbook(path, [HEAD, *rows]) if form == "xlsx" else table(path, HEAD, rows)


@pytest.mark.parametrize("form", ["tsv", "xlsx", "json"])
def test_vlmevalkit_is_read_in_each_form(form: str, manifest: Manifest, tmp_path: Path) -> None:
    found = answers_of(vlmevalkit(tmp_path, form), manifest, "test")
    assert [(row["prediction"], row["outcome"], row["mode"]) for row in found.rows] == [
        ("Clipping", "correct", "closed"),
        ("Retraction", "wrong", "closed"),
        ("", "missing", "closed"),
        ("2", "correct", "typed"),
        ("", "missing", "open"),
    ]
    assert found.rows[0]["raw"] == "The answer is B."


@pytest.mark.slow
def test_vlmevalkit_is_scored_by_typed_answers(manifest: Manifest, tmp_path: Path) -> None:
    manifest.save(tmp_path / "manifest")
    path = vlmevalkit(tmp_path, "tsv")
    for again in (False, True):
        out = tmp_path / f"out{again}"
        given: dict[str, Any] = {"rescore": path} if again else {"answers": path}
        results = {each.metric: each for each in evaluate(tmp_path / "manifest", out, **given)}
        # One of three phases is right, one is missing.
        assert results["accuracy"].value == pytest.approx(1 / 3)
        assert results["missing_rate"].value == pytest.approx(1 / 3)
        assert results["number_accuracy"].value == 1
        assert "replies logged by VLMEvalKit" in results["accuracy"].protocol
        counts = read_json(out / "run.json")["outcomes"]
        assert (counts["closed"]["correct"], counts["closed"]["missing"], counts["open"]["missing"]) == (1, 1, 1)


@pytest.mark.slow
def test_replies_with_marks_of_a_judge_are_read_again(manifest: Manifest, tmp_path: Path) -> None:
    manifest.save(tmp_path / "manifest")
    path = vlmevalkit(tmp_path, "tsv", [*ROWS, [11, "v2.mp4", 0, SCENE, "", "", "", "", "The hook cuts."]])
    rows = answers_of(path, manifest, "test").rows
    assert [row["options"] for row in rows[:2]] == [["Packaging", "Clipping", "Retraction"]] * 2
    # As an earlier reader might have had it; the scene is as it was when the judge read it.
    rows[0] |= {"prediction": "Packaging", "outcome": "wrong"}
    rows[-1] |= {"judged": "correct"}
    (tmp_path / "judged").mkdir()

    def scored(out: str, **given: Path) -> tuple[dict[str, float], str]:
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / "judged" / "answers.jsonl").write_text(text)
        found = evaluate(tmp_path / "manifest", tmp_path / out, **given)  # type: ignore[arg-type]
        return {each.metric: each.value for each in found}, (tmp_path / out / "result.md").read_text()

    values, _ = scored("before", answers=tmp_path / "judged")
    assert (values["accuracy"], values["judged_accuracy"]) == (0, 1)
    values, page = scored("after", rescore=tmp_path / "judged")
    assert values["accuracy"] == pytest.approx(1 / 3)
    assert values["judged_accuracy"] == 1
    assert "- replies read again: 1 of 5 differ" in page
    # The judge read something else.
    rows[-1]["prediction"] = "The hook cuts"
    values, page = scored("other", rescore=tmp_path / "judged")
    assert values["judged_accuracy"] == 0
    assert "- judge: 1 of 1 mark is of an answer that is read differently now, and not counted: mark" in page
    for row in rows:
        del row["options"]
    with pytest.raises(DataError, match="another toolkit logged from its own file, or after `surgvl judge --resume`"):
        scored("old", rescore=tmp_path / "judged")


def changed(row: int, column: str, value: object) -> list[list[object]]:
    rows = [list(each) for each in ROWS]
    rows[row][HEAD.index(column)] = value
    return rows


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (changed(1, "question", "Who is it?"), r"1 of 4 rows fits no question .* row 2 \(index 8, v1.mp4, at 10 s"),
        (changed(2, "video", "v9.mp4"), r"1 of 4 rows fits no question .* row 3 \(index 9, v9.mp4"),
        (changed(0, "start", ""), r"1 of 4 rows fits several questions: row 1 \(index 7, v1.mp4, .* fits 2: add col"),
        (changed(0, "start", 10), r"1 of 4 rows fits a question that another row answers: row 2 \(index 8"),
        (changed(0, "answer", "C"), "row 1 .* states 'Retraction', the manifest 'Clipping': score against"),
        (changed(3, "start", "soon"), "row 4 has 'soon' as start_s or start, which must be a number"),
    ],
)
def test_rows_that_do_not_fit_stop_with_ids_and_counts(
    rows: list[list[object]], message: str, manifest: Manifest, tmp_path: Path
) -> None:
    if rows[0][2] == 10:
        rows[0][7] = "A"  # its true answer
    with pytest.raises(DataError, match=message):
        answers_of(vlmevalkit(tmp_path, "tsv", rows), manifest, "test")


def test_a_number_decides_between_several_questions(manifest: Manifest, tmp_path: Path) -> None:
    head = ["index", "question", "answer", "prediction"]
    rows = [
        [0, PHASE, "Clipping", "clipping"],
        [1, PHASE, "packaging", "B"],
        [2, PHASE, "Clipping", "Clipping or packaging"],
    ]
    found = answers_of(table(tmp_path / "p.tsv", head, rows), manifest, "test").rows
    # Without options in the file, no letter is guessed.
    assert [row["outcome"] for row in found] == ["correct", "unparsed", "unparsed", "missing", "missing"]
    # Counted from 1, the numbers fit other truths; beyond the split or without a truth, they decide nothing.
    with pytest.raises(DataError, match=r"2 of 2 rows fit a question with a different true answer: row 1 \(index 1"):
        answers_of(table(tmp_path / "p.tsv", head, [[1, *rows[0][1:]], [2, *rows[1][1:]]]), manifest, "test")
    for row in ([99, PHASE, "Clipping", "clipping"], [0, PHASE, "", "clipping"]):
        with pytest.raises(DataError, match="fits several questions"):
            answers_of(table(tmp_path / "p.tsv", head, [row]), manifest, "test")


def sample(number: int, prompt: str, target: str, reply: str, filtered: str | None = None) -> dict[str, Any]:
    """A line of `DATE_samples_TASK.jsonl`."""
    line = {"doc_id": number, "target": target, "filtered_resps": [reply if filtered is None else filtered]}
    return line | {"input": prompt, "doc_hash": "0"} | ({} if filtered is None else {"resps": [[reply]]})


def jsonl(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_lmms_eval_is_read_before_its_filter_and_by_the_options_of_its_prompt(
    manifest: Manifest, tmp_path: Path
) -> None:
    prompt = f"{PHASE}\nA. Packaging\nB. Clipping\nC. Retraction\nAnswer with the option's letter."
    rows = [
        # The filter kept the first capital letter.
        sample(0, prompt, "B", "Although A is near, the answer is B", "A"),
        sample(1, prompt, "A", "A"),
        sample(2, prompt, "B", ""),
        sample(3, f"{COUNT} Answer with a number.", "2", "3"),
    ]
    found = answers_of(jsonl(tmp_path / "20260101_samples_made.jsonl", rows), manifest, "test").rows
    assert [row["outcome"] for row in found] == ["correct", "correct", "missing", "wrong", "missing"]
    with pytest.raises(DataError, match=r"1 of 1 row fits several questions: row 1 \(index 9"):
        answers_of(jsonl(tmp_path / "9.jsonl", [sample(9, prompt, "B", "B")]), manifest, "test")
    with pytest.raises(DataError, match="1 of 1 row fits a question with a different true answer"):
        answers_of(jsonl(tmp_path / "1.jsonl", [sample(1, prompt, "B", "B")]), manifest, "test")
    likely = sample(1, prompt, "B", "B") | {"resps": [[[-0.5, True]]]}
    with pytest.raises(DataError, match="row 1 has .* as its reply, which must be one text"):
        answers_of(jsonl(tmp_path / "l.jsonl", [likely]), manifest, "test")


def test_medvidbench_is_read_as_inferred_and_as_submitted(manifest: Manifest, tmp_path: Path) -> None:
    facts = {"video_id": "v2", "fps": "2.0", "input_video_start_frame": "0", "input_video_end_frame": "19"}
    entry = {"metadata": facts, "qa_type": "caption", "question": SCENE, "gnd": ASKED[-1][3], "data_source": "AVOS"}
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"0": entry | {"answer": "A hook cuts."}}))
    row = answers_of(path, manifest, "test").rows[-1]
    assert (row["mode"], row["prediction"], row["raw"], row["outcome"]) == (
        "open",
        "A hook cuts.",
        "A hook cuts.",
        "wrong",
    )
    path.write_text(json.dumps([{"id": "v2&&0&&19&&2", "qa_type": "caption", "prediction": "A hook cuts."}]))
    assert answers_of(path, manifest, "test").rows[-1] == row
    # Half a second too short.
    path.write_text(json.dumps([{"id": "v2&&0&&18&&2", "qa_type": "caption", "prediction": "A hook cuts."}]))
    with pytest.raises(DataError, match=r"fits no question .*\(v2, at 0 s\)"):
        answers_of(path, manifest, "test")


def test_surgrec_is_read_from_what_the_model_wrote(tmp_path: Path) -> None:
    clips = {"kc/a/1.mp4": "Lens implantation", "kc/b/1.mp4": "irrigation-aspiration", "kc/b/2.mp4": "incision"}
    videos = [VideoRow(video_id=name, path="", source="made", fps=25, duration_s=5, split="test") for name in clips]
    asked = [
        QA(video_id=name, start_s=0, end_s=5, question="Which class?", answer=label, type="clip")
        for name, label in clips.items()
    ]
    entries = [
        # Its own reader takes the article for option A, which is the incision.
        {"video_path": "/data/kc/a/1.mp4", "gt_label": 2, "pred_label": 0, "raw_output": "This is a lens implantation"},
        {"video_path": "/data/kc/b/1.mp4", "gt_label": 1, "pred_label": 1, "raw_output": "B"},
        {
            "video_path": "/data/kc/b/2.mp4",
            "gt_label": 0,
            "pred_label": None,
            "raw_output": "",
            "error": "decode_failed",
        },
    ]
    path = tmp_path / "predictions.json"
    path.write_text(json.dumps(entries))
    # Names as SurgRec shows them, without punctuation.
    names = {"0": "incision", "1": "irrigation aspiration", "2": "lens implantation"}
    (tmp_path / "meta.json").write_text(json.dumps({"dataset": "kc", "label_map": names}))
    rows = answers_of(path, Manifest(videos, (), asked), "test").rows
    assert [(row["prediction"], row["outcome"]) for row in rows] == [
        ("Lens implantation", "correct"),
        ("irrigation-aspiration", "correct"),
        ("", "missing"),
    ]
    (tmp_path / "meta.json").write_text(json.dumps({"label_map": {"0": "incision"}}))
    with pytest.raises(DataError, match="row 1 has gt_label 2, which the label_map of meta.json does not name"):
        answers_of(path, Manifest(videos, (), asked), "test")


def test_other_files_are_refused_with_the_known_forms(manifest: Manifest, tmp_path: Path) -> None:
    path = table(tmp_path / "p.tsv", ["id", "said"], [[1, "hook"]])
    with pytest.raises(DataError, match=r"columns id, said are of no known form .*VLMEvalKit: index, prediction"):
        answers_of(path, manifest, "test")
    (tmp_path / "p.pkl").write_bytes(b"\x80\x04.")
    with pytest.raises(DataError, match="pickles may run code, and are not opened"):
        answers_of(tmp_path / "p.pkl", manifest, "test")
    damaged = bytearray(vlmevalkit(tmp_path, "xlsx").read_bytes())
    with zipfile.ZipFile(tmp_path / "Qwen_Made.xlsx") as parts:
        at = next(part.header_offset for part in parts.infolist() if "sheet1" in part.filename)
    # Past the header and the name: compressed blocks have no type 3.
    damaged[at + 30 + len("xl/worksheets/sheet1.xml")] = 0xFF
    for content in (b"PK", damaged):
        (tmp_path / "p.xlsx").write_bytes(content)
        with pytest.raises(DataError, match="p.xlsx is not a workbook that can be read"):
            answers_of(tmp_path / "p.xlsx", manifest, "test")
