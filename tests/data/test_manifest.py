"""Manifest: what it refuses, what survives saving and loading, and labels at times against a plain loop."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from surgvl.core.errors import DataError
from surgvl.data.manifest import QA, Manifest, Segment, VideoRow


def video(name: str, **changes: Any) -> VideoRow:
    row = {"video_id": name, "path": f"{name}.mp4", "source": "made", "fps": 25.0, "duration_s": 60.0, "split": "train"}
    return VideoRow(**{**row, **changes})


def segment(name: str, start: float, end: float, label: str = "a", task: str = "phase") -> Segment:
    return Segment(video_id=name, start_s=start, end_s=end, task=task, label=label)


def example(root: Path) -> Manifest:
    videos = [video("v1"), video("v2", split="val"), video("v3", split="test"), video("bare", path="", split="")]
    segments = [segment("v1", 0, 10, "b"), segment("v1", 10, 20, "a"), segment("v2", 0, 5, "Ä, ö", "narration")]
    qa = [QA(video_id="v3", start_s=1, end_s=2, question="Which?", answer="that", type="t", source="s")]
    return Manifest(videos, segments, qa, root=root)


def test_folder_gives_back_what_was_saved(tmp_path: Path) -> None:
    made = example(tmp_path / "data")
    made.save(tmp_path / "manifest")
    read = Manifest.load(tmp_path / "manifest")
    assert (read.videos, read.segments, read.qa) == (made.videos, made.segments, made.qa)
    assert read.hash == made.hash
    assert read.path_of("v2") == tmp_path / "data" / "v2.mp4"


def test_manifest_and_videos_can_be_moved_together(tmp_path: Path) -> None:
    example(tmp_path / "here" / "data").save(tmp_path / "here" / "manifest")
    shutil.move(tmp_path / "here", tmp_path / "there")
    assert Manifest.load(tmp_path / "there/manifest").path_of("v1") == tmp_path / "there" / "data" / "v1.mp4"


def test_distant_root_stays_where_it_was(tmp_path: Path) -> None:
    example(tmp_path / "disk" / "data").save(tmp_path / "runs" / "one" / "manifest")
    shutil.move(tmp_path / "runs" / "one", tmp_path / "two")
    assert Manifest.load(tmp_path / "two" / "manifest").path_of("v1") == tmp_path / "disk" / "data" / "v1.mp4"


def test_absolute_paths_ignore_the_root(tmp_path: Path) -> None:
    manifest = Manifest([video("v", path=str(tmp_path / "x.mp4"))], root="elsewhere")
    assert manifest.path_of("v") == tmp_path / "x.mp4"


def test_hash_is_of_values_not_of_their_storage(tmp_path: Path) -> None:
    made = example(tmp_path)
    table = made.segment_table
    chunked = pa.concat_tables([table.slice(0, 1), table.slice(1)]).select(
        ["label", "task", "end_s", "start_s", "video_id"]
    )
    coded = chunked.set_column(0, "label", chunked["label"].combine_chunks().dictionary_encode())
    assert Manifest(made.video_table, coded, made.qa_table, root=tmp_path / "other").hash == made.hash
    hashes = {made.hash}
    for segments in ([segment("v1", 0, 10, "b")], [segment("v1", 0, 10.5, "b")], [segment("v2", 0, 10, "b")], []):
        hashes.add(Manifest(made.video_table, segments).hash)
    assert len(hashes) == 5


def test_folder_written_before_boxes_and_conversations_is_read_and_keeps_its_hash(tmp_path: Path) -> None:
    """Seven columns of questions, as the first manifests have them, and the hash that they were given then."""
    folder = tmp_path / "old"
    made = example(tmp_path / "data")
    made.save(folder)
    row = {"video_id": "v3", "start_s": 1.0, "end_s": 2.0, "question": "Which?", "answer": "that", "type": "t"}
    pq.write_table(pa.Table.from_pylist([{**row, "source": "s"}]), folder / "qa.parquet")
    (folder / "manifest.json").write_text('{"root": ".", "hash": "6c6392e120ad194e", "version": 1}')
    assert Manifest.load(folder).qa == made.qa
    assert (made.qa[0].box, made.qa[0].conversation) == ("", "")
    boxed = made.qa[0].model_copy(update={"box": "0,1,2,3"})
    new = Manifest(made.video_table, made.segment_table, [made.qa[0], boxed], root=made.root)
    new.save(tmp_path / "new")
    assert pq.read_schema(tmp_path / "new" / "qa.parquet").names == [*row, "source", "box"]
    assert [each.box for each in Manifest.load(tmp_path / "new").qa] == ["", "0,1,2,3"]
    other = boxed.model_copy(update={"box": "", "conversation": "0,1,2,3"})
    assert len({Manifest(made.video_table, qa=[made.qa[0], last]).hash for last in (made.qa[0], boxed, other)}) == 3


def test_edited_or_half_written_folder_is_refused(tmp_path: Path) -> None:
    made = example(tmp_path)
    made.save(tmp_path / "m")
    pq.write_table(made.segment_table.slice(1), tmp_path / "m" / "segments.parquet")
    with pytest.raises(DataError, match="edited or partly written"):
        Manifest.load(tmp_path / "m")
    (tmp_path / "m" / "segments.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"segments\.parquet cannot be read"):
        Manifest.load(tmp_path / "m")
    (tmp_path / "m" / "manifest.json").write_text('{"root": ".", "hash": "x", "version": 99}')
    with pytest.raises(DataError, match="version 99"):
        Manifest.load(tmp_path / "m")
    with pytest.raises(DataError, match="does not exist"):
        Manifest.load(tmp_path / "absent")


BAD_VIDEOS: list[tuple[list[VideoRow], str]] = [
    ([video("v"), video("v", path="other.mp4")], "id 'v' occurs twice"),
    ([video("v"), video("v", path="o.mp4", split="test")], "in 'train' and in 'test'"),
    ([video("v", split="val"), video("w", path="v.mp4", split="test")], "file 'v.mp4' occurs twice"),
]


@pytest.mark.parametrize(("videos", "message"), BAD_VIDEOS)
def test_videos_that_are_refused(videos: list[VideoRow], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Manifest(videos)


def rows(**changes: Any) -> Any:
    row = {"video_id": "v", "start_s": 0.0, "end_s": 1.0, "task": "phase", "label": "a", **changes}
    return pa.table({name: [value] for name, value in row.items() if value != "drop"})


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (rows(start_s=float("nan")), "row 0: start_s is nan"),
        (rows(end_s=float("inf")), "row 0: end_s is inf"),
        (rows(start_s=-1.0), "row 0: start_s is -1"),
        (rows(end_s=0.0), "end_s 0.0 is not after start_s 0.0"),
        (rows(label=""), "label is empty"),
        (rows(label=None), "label is missing"),
        (rows(start_s="soon"), "wrong type"),
        (rows(extra=1), r"unknown \['extra'\]"),
        (rows(label="drop"), r"missing \['label'\]"),
        (rows(video_id="w"), "video 'w', which has no row"),
    ],
)
def test_segments_that_are_refused(table: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Manifest([video("v")], table)


def test_unknown_split_in_a_table_is_refused() -> None:
    table = example(Path()).video_table
    at = table.column_names.index("split")
    with pytest.raises(DataError, match="split must be train, val, test or empty, got 'testing'"):
        Manifest(table.set_column(at, "split", pa.array(["testing"] * 4)))


def test_rows_refuse_unknown_fields_and_wrong_values() -> None:
    for changes in ({"colour": "red"}, {"fps": 0}, {"duration_s": float("nan")}, {"split": "dev"}, {"video_id": ""}):
        with pytest.raises(ValidationError):
            video("v", **changes)


def test_split_select_and_lookup(tmp_path: Path) -> None:
    manifest = example(tmp_path)
    assert manifest.video_ids() == ["v1", "v2", "v3", "bare"]
    assert manifest.video_ids("val") == ["v2"]
    assert manifest.split("train").segments == manifest.segments[:2]
    assert len(manifest.select(["v3", "v1"])) == 2
    assert manifest.select(["v3"]).qa == manifest.qa
    with pytest.raises(DataError, match="no video is in split 'dev'"):
        manifest.split("dev")
    unsplit = Manifest([row.model_copy(update={"split": ""}) for row in manifest.videos])
    with pytest.raises(DataError, match="no video of the manifest has a split, so none is in 'test': give --split ''"):
        unsplit.split("test")
    with pytest.raises(DataError, match="no video 'v9'"):
        manifest.select(["v9"])
    with pytest.raises(DataError, match="labels but no file"):
        manifest.path_of("bare")


def test_merge_keeps_files_and_refuses_doubles(tmp_path: Path) -> None:
    one = Manifest([video("a")], [segment("a", 0, 1)], root=tmp_path / "one")
    two = Manifest([video("b", split="test")], qa=example(tmp_path).qa_table.slice(0, 0), root=tmp_path / "two")
    both = Manifest.merge([one, two])
    assert [both.path_of(name) for name in ("a", "b")] == [tmp_path / "one/a.mp4", tmp_path / "two/b.mp4"]
    assert both.segments == one.segments
    assert Manifest.merge([one]).hash == one.hash
    with pytest.raises(DataError, match="id 'a' occurs twice"):
        Manifest.merge([one, one])
    with pytest.raises(DataError, match="no manifest"):
        Manifest.merge([])


def test_second_labels_equal_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    names = ["v10", "v2", "v", "w"]
    segments = []
    for _ in range(200):
        start = float(rng.integers(0, 40)) / 2
        length, task = float(rng.integers(1, 20)) / 2, str(rng.choice(["phase", "tool"]))
        segments.append(
            segment(str(rng.choice(names[:3])), start, start + length, str(rng.choice(list("abcde"))), task)
        )
    manifest = Manifest([video(name) for name in names], segments)
    video_ids = [str(name) for name in rng.choice([*names, "unknown"], 300)]
    times = rng.integers(0, 60, 300) / 2
    for task in ("phase", "tool", "none"):
        want = [
            sorted({s.label for s in segments if s.task == task and s.video_id == v and s.start_s <= t < s.end_s})
            for v, t in zip(video_ids, times, strict=True)
        ]
        assert manifest.second_labels(task, video_ids, times) == want
    assert manifest.second_labels("tool", [], []) == []


def test_second_labels_refuse_nan_and_unequal_lengths() -> None:
    manifest = Manifest([video("v")])
    for ids, times in ((["v"], [float("nan")]), (["v"], [1.0, 2.0])):
        with pytest.raises(DataError, match="each video id needs a time"):
            manifest.second_labels("phase", ids, times)


def test_rendered_is_told_of_each_video_and_survives_disk_and_other_names(tmp_path: Path) -> None:
    made = Manifest([video("v1", rendered=True), video("v2"), video("v3", source="Phantom")], root=tmp_path)
    made.save(tmp_path / "m")
    assert [row.rendered for row in Manifest.load(tmp_path / "m").videos] == [True, False, True]
    assert pq.read_table(tmp_path / "m" / "manifest.parquet")["rendered"].to_pylist() == [True, False, True]
    assert Manifest([video("v1"), video("v2"), video("v3", source="Phantom")]).hash != made.hash


def test_folder_written_before_rendered_is_read_and_keeps_its_hash(tmp_path: Path) -> None:
    """Ten columns of videos, as manifests had them, and the hash that they were given then."""
    row = {"path": "", "specialty": "", "fps": 25.0, "duration_s": 60.0, "licence": "", "split": ""}
    ours = "laparoscopic cholecystectomy (rendered)"
    rows = [("a", "phantom", ""), ("b", "lap", ours), ("c", "cholec80", "laparoscopic cholecystectomy")]
    table = pa.Table.from_pylist(
        [{"video_id": name, "source": source, "procedure": what, **row} for name, source, what in rows]
    )
    Manifest(table).save(tmp_path)
    pq.write_table(table, tmp_path / "manifest.parquet")
    (tmp_path / "manifest.json").write_text('{"root": ".", "hash": "f8af1eba94766ebf", "version": 1}')
    assert [each.rendered for each in Manifest.load(tmp_path).videos] == [True, True, False]
