"""Own labels: tables, and files as annotation tools export them, written by hand after the tools' documentation."""

import json
from pathlib import Path
from typing import Any

import pytest

from surgvl.data.readers.manual import Manual
from tests.conftest import MadeOnce
from tests.helpers.label_files import film, put

Spans = list[tuple[str, str, float, float]]


@pytest.fixture
def root(made_once: MadeOnce, tmp_path: Path) -> Path:
    """A folder with a video of four seconds at 10 frames/s, `case 1.mp4`."""
    made = made_once("four_seconds", lambda folder: film(folder / "video.mp4"))
    (tmp_path / "case 1.mp4").symlink_to(made / "video.mp4")
    return tmp_path


def spans(root: Path) -> Spans:
    manifest = Manual(root).to_manifest()
    return [(each.task, each.label, each.start_s, each.end_s) for each in manifest.segments]


@pytest.mark.parametrize(
    ("text", "want"),
    [
        (
            "video,start,end,label\ncase 1.mp4,0,1.5,open\ncase 1,0:01.5,0:03,close\n",
            [("open", 0, 1.5), ("close", 1.5, 3)],
        ),
        ("\ufeffvideo;start;end;label;by\ncase 1;0;1,5;open;me\n", [("open", 0, 1.5)]),
        # Changes: each lasts until the next, the last until the end of the video.
        ("video,time,label\ncase 1,0,open\ncase 1,2.5,\ncase 1,3,close\n", [("open", 0, 2.5), ("close", 3, 4)]),
        # Samples: a gap has no label.
        (
            "video,time,label\n" + "".join(f"case 1,{time},open\n" for time in (0, 0.5, 1, 1.5, 3)),
            [("open", 0, 2), ("open", 3, 3.5)],
        ),
    ],
    ids=["spans", "semicolons", "changes", "samples"],
)
def test_tables(text: str, want: list[tuple[str, float, float]], root: Path) -> None:
    put(root / "labels.csv", text)
    assert spans(root) == [("phase", *row) for row in want]


def test_tasks_overlaps_and_videos_without_labels_are_told(root: Path) -> None:
    rows = (
        "case 1,0,2,a,phase\ncase 1,1,3,b,phase\ncase 1,0,4,hook,tool\ncase 1,1,2,grasper,tool\nother.mp4,0,9,a,phase\n"
    )
    put(root / "labels" / "labels.csv", "video,start,end,label,task\n" + rows)
    film(root / "videos" / "bare.mp4", 1)
    put(root / "labels" / "wrong.csv", "video,label\ncase 1,a\n")
    put(root / "splits.json", json.dumps({"train": ["case 1"], "test": ["bare"]}))
    dataset = Manual(root)
    assert {(each.video_id, each.task) for each in dataset.to_manifest().segments} == {
        ("case 1", "phase"),
        ("case 1", "tool"),
        ("other", "phase"),
    }
    assert {row.video_id: row.split for row in dataset.videos} == {"case 1": "train", "bare": "test", "other": ""}
    text = "\n".join(dataset.problems())
    for part in (
        "case 1: phase: 1 pair of neighbouring segments overlap",
        "bare: no labels",
        "labels but no video file for 1: other",
        "wrong.csv: columns are video, label; expected video, time, label",
    ):
        assert part in text
    assert "tool: 1 pair" not in text


EAF = """<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT FORMAT="3.0" VERSION="3.0">
  <HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">
    <MEDIA_DESCRIPTOR MEDIA_URL="file:///C:/data/case%201.mp4" MIME_TYPE="video/mp4"/>
  </HEADER>
  <TIME_ORDER>
    <TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="500"/><TIME_SLOT TIME_SLOT_ID="ts2" TIME_VALUE="2000"/>
    <TIME_SLOT TIME_SLOT_ID="ts3"/>
  </TIME_ORDER>
  <TIER LINGUISTIC_TYPE_REF="default-lt" TIER_ID="phase">
    <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a1" TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="ts2">
      <ANNOTATION_VALUE>open</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
    <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a2" TIME_SLOT_REF1="ts2" TIME_SLOT_REF2="ts3">
      <ANNOTATION_VALUE>loose</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
  </TIER>
  <TIER LINGUISTIC_TYPE_REF="note" PARENT_REF="phase" TIER_ID="surgeon">
    <ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a3" ANNOTATION_REF="a1">
      <ANNOTATION_VALUE>resident</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>
  </TIER>
</ANNOTATION_DOCUMENT>
"""


def test_elan(root: Path) -> None:
    put(root / "mine.eaf", EAF)
    assert spans(root) == [("phase", "open", 0.5, 2.0), ("surgeon", "resident", 0.5, 2.0)]
    assert "1 annotation without times left out" in "\n".join(Manual(root).problems())


CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version>
<meta><task><name>first task</name><size>20</size><mode>interpolation</mode>
<start_frame>4</start_frame><stop_frame>39</stop_frame><frame_filter>step=2</frame_filter>
<source>case 1.mp4</source></task></meta>
<track id="0" label="hook" source="manual">
  <box frame="0" outside="0" occluded="0" keyframe="1" xtl="0" ytl="0" xbr="9" ybr="9" z_order="0">
    <attribute name="track">tool</attribute></box>
  <box frame="3" outside="0" occluded="0" keyframe="1" xtl="2" ytl="0" xbr="9" ybr="9" z_order="0"></box>
  <box frame="5" outside="1" occluded="0" keyframe="1" xtl="2" ytl="0" xbr="9" ybr="9" z_order="0"></box>
  <box frame="17" outside="0" occluded="0" keyframe="1" xtl="2" ytl="0" xbr="9" ybr="9" z_order="0"></box>
</track>
</annotations>
"""


def test_cvat_with_a_frame_step(root: Path) -> None:
    put(root / "annotations.xml", CVAT)
    # Frames 4, 6, 8, 10 and 12 of the video, each for two; and 38 to its end.
    assert spans(root) == [("tool", "hook", 0.4, 1.4), ("phase", "hook", 3.8, 4.0)]


def test_cvat_tags_of_images(root: Path) -> None:
    images = "".join(
        f'<image id="{at}" name="{at}.png"><tag label="open" source="manual"/></image>' for at in (0, 1, 5)
    )
    put(root / "annotations.xml", f"<annotations><meta><task><name>case 1</name></task></meta>{images}</annotations>")
    assert spans(root) == [("phase", "open", 0, 0.2), ("phase", "open", 0.5, 0.6)]


def region(kind: str, **value: Any) -> dict[str, Any]:
    return {"id": "x", "from_name": "phase", "to_name": "video", "type": kind, "value": value}


@pytest.mark.parametrize("fps", [{"fps": 10}, {}], ids=["stated", "of_the_video"])
def test_label_studio(fps: dict[str, int], root: Path) -> None:
    result = [
        region("timelinelabels", ranges=[{"start": 1, "end": 15}], timelinelabels=["open"]),
        region("labels", start=1.5, end=2.5, labels=["close"]),
        region("choices", choices=["good"]),
    ]
    task = {
        "data": {"video": "/data/upload/3/0a1b2c3d-case%201.mp4", **fps},
        "annotations": [{"was_cancelled": True, "result": result[:1]}, {"result": result}],
        "predictions": [{"result": result[:1]}],
    }
    put(root / "project.json", json.dumps([task]))
    assert spans(root) == [("phase", "open", 0, 1.5), ("phase", "close", 1.5, 2.5)]
    assert "1 region of project.json are not labels of spans" in "\n".join(Manual(root).problems())


def test_fiftyone(root: Path) -> None:
    detections = [{"label": 1, "support": [1, 10]}, {"label": "open", "timestamps": [1.5, 2]}]
    put(root / "labels.json", json.dumps({"classes": ["open", "close"], "labels": {"case 1": detections}}))
    assert spans(root) == [("phase", "close", 0, 1), ("phase", "open", 1.5, 2)]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.eaf", EAF.replace("ANNOTATION_DOCUMENT", "annotations"), "begins with <annotations>"),
        ("a.eaf", "<!DOCTYPE x [<!ENTITY a 'b'>]><x/>", "declares a document type"),
        ("a.xml", "<annotations>", "is not XML"),
        ("a.xml", CVAT.replace("case 1.mp4", "case 9.mp4"), "counts the frames of case 9, which is not there"),
        ("a.xml", CVAT.replace('frame="17"', 'frame="900"'), "labels frames 1804 to 1805"),
        ("a.json", "[]x", "a.json"),
        ("a.json", '[{"data": {}}]', "names no video"),
        ("a.json", '{"labels": {"case 1": [{"label": "a", "support": [0, 3]}]}}', "labels frames -1 to 2"),
        ("a.json", '{"labels": {"case 1": [{"label": 4}]}}', "a label is 4"),
        ("a.csv", "video,start,end,label\ncase 1,2,1,a\n", "line 2: the end 1 s is not after the start 2 s"),
    ],
)
def test_what_does_not_fit_is_set_aside(name: str, text: str, message: str, root: Path) -> None:
    put(root / name, text)
    dataset = Manual(root)
    assert [row.video_id for row in dataset.videos] == ["case 1"]
    (line,) = dataset.contents.unreadable
    assert message in line
    assert "\n" not in line
