"""Every format, read back by the parser of the tool that it is for, or by what that tool publishes about it.

FiftyOne, CVAT and Label Studio are too large to install here: their files are checked against models of the documented
layouts, which forbid what these do not name. By hand, the timeline of these tests was opened by FiftyOne 1.22.1's
importer of temporal detections, by Datumaro 1.13.12's importer of CVAT's XML, and by label-studio-sdk 2.1.2's check of
predictions against their labelling interface. The oracle of times is the file decoded in order: at the time that a
format gives, a player must show the frame that an interval begins with.
"""

import csv
import dataclasses
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
import webvtt
from pydantic import BaseModel, ConfigDict, TypeAdapter, model_validator
from pympi import Eaf

from surgvl.core.errors import ConfigError
from surgvl.export.base import choose_format, formats, write_table
from surgvl.export.interval_table import Interval, IntervalTable
from tests.export.conftest import CLASSES, ROWS
from tests.helpers.numbered_videos import HEIGHT, WIDTH, brute_force, shown

Written = Callable[[str], Path]


@pytest.fixture
def written(table: IntervalTable, tmp_path: Path) -> Written:
    """A function that writes the timeline in a format and returns the file."""

    def write(name: str) -> Path:
        path = tmp_path / f"timeline{formats()[name].suffix}"
        write_table(table, path)
        return path

    return write


@pytest.fixture(scope="session")
def frame_at(variable: Path) -> Callable[[float], int]:
    """The number of the frame that is shown at a time; the number after the last one at the end."""
    frames = brute_force(variable)
    with av.open(str(variable)) as container:
        end_s = float((container.streams.video[0].duration or 0) * (container.streams.video[0].time_base or 0))
    return lambda time_s: len(frames) if time_s >= end_s - 1e-9 else shown(frames, time_s, 1e-9)


def in_time(rows: tuple[tuple[str, str, int, int], ...]) -> list[tuple[str, str, int, int]]:
    return sorted(rows, key=lambda row: row[2:])


# ---- tables


def test_csv_is_read_back(written: Written, frame_at: Callable[[float], int]) -> None:
    with written("csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(r["track"], r["name"], int(r["first_frame"]), int(r["last_frame"])) for r in rows] == list(ROWS)
    for row in rows:
        assert frame_at(float(row["start_s"])) == int(row["first_frame"])
        assert frame_at(float(row["end_s"])) == int(row["last_frame"]) + 1
        assert frame_at(float(row["end_s"]) - 1e-6) == int(row["last_frame"])
        assert (row["video_id"], row["protocol"]) == ("my case", "online")
    assert [row["prompt_set"] for row in rows] == ["cholec80_phase 1"] * 3 + ["mine 2"] * 3
    assert [float(row["confidence"]) for row in rows] == [0.5, 0.51, 0.52, 0.53, 0.54, 0.55]


def test_parquet_and_json_hold_the_same(written: Written) -> None:
    with written("csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    columns = pq.read_table(written("parquet"))
    assert [{name: str(value) for name, value in row.items()} for row in columns.to_pylist()] == rows
    whole = json.loads(written("json").read_text())
    names = list(whole["intervals"][0])
    assert [{name: str(row[name]) for name in names} for row in whole["intervals"]] == [
        {name: row[name] for name in names} for row in rows
    ]
    about = json.loads(columns.schema.metadata[b"surgvl"])
    assert about["origin"] == whole["origin"]
    assert whole["video"]["num_frames"] == 250
    assert whole["video"]["even_fps"] is None


# ---- captions


def seconds(text: str) -> float:
    hours, minutes, rest = text.replace(",", ".").split(":")
    return 3600 * int(hours) + 60 * int(minutes) + float(rest)


@pytest.mark.parametrize("name", ["vtt", "srt"])
def test_captions_open_in_webvtt_py(name: str, written: Written, frame_at: Callable[[float], int]) -> None:
    path = written(name)
    cues = (webvtt.read(str(path)) if name == "vtt" else webvtt.from_srt(str(path))).captions
    for cue, (track, label, first, last) in zip(cues, in_time(ROWS), strict=True):
        text = re.sub("&lt;", "<", re.sub("&gt;", ">", re.sub("&amp;", "&", cue.raw_text)))
        words = {
            "grasper,retract,gallbladder": "grasper · retract · gallbladder",
            "hook <1>, --> cut": "hook <1> · --> cut",
        }
        assert text.startswith(f"{track}: {words.get(label, label)} (0.5")
        start_s, end_s = seconds(cue.start), seconds(cue.end)
        assert frame_at(start_s) == first
        assert first == 0 or frame_at(start_s - 1e-3) == first - 1
        assert frame_at(end_s) == last + 1
        assert frame_at(end_s - 1e-3) == last


# ---- ELAN


def test_elan_opens_in_pympi(written: Written, variable: Path, frame_at: Callable[[float], int]) -> None:
    path = written("eaf")
    eaf = Eaf(str(path))
    (media,) = eaf.get_linked_files()
    name = ElementTree.parse(path).getroot().find("HEADER/MEDIA_DESCRIPTOR")
    assert name is not None
    assert (media["MIME_TYPE"], name.get("RELATIVE_MEDIA_URL")) == ("video/mp4", media["MEDIA_URL"])
    assert (path.parent / media["MEDIA_URL"].replace("%20", " ")).resolve() == variable.resolve()
    found = []
    for tier in eaf.get_tier_names():
        if tier.endswith(" confidence"):
            # (start, end, value, value of the parent)
            rows = eaf.get_ref_annotation_data_for_tier(tier)
            assert eaf.get_parameters_for_tier(tier)["PARENT_REF"] == tier.removesuffix(" confidence")
            assert all(0.5 <= float(row[2]) <= 0.55 for row in rows)
            assert len(rows) == len(eaf.get_annotation_data_for_tier(tier.removesuffix(" confidence")))
            continue
        spans = sorted(eaf.get_annotation_data_for_tier(tier))
        assert all(before[1] <= after[0] for before, after in zip(spans, spans[1:], strict=False)), "overlap"
        assert tier in ("phase", *(f"triplet: {each}" for each in CLASSES["triplet"]))
        for start, end, label in spans:
            assert frame_at((start - 1) / 1000) == frame_at(start / 1000) - (start > 0)
            found.append((tier.partition(":")[0], label, frame_at(start / 1000), frame_at(end / 1000) - 1))
    assert in_time(tuple(found)) == in_time(ROWS)


# ---- CVAT: https://docs.cvat.ai/docs/dataset_management/formats/format-xml/

# Element -> (attributes, elements below).
CVAT = {
    "annotations": ("", "version meta track"),
    "meta": ("", "task"),
    "task": ("", "name size mode overlap flipped labels original_size"),
    "labels": ("", "label"),
    "label": ("", "name type attributes"),
    "attributes": ("", "attribute"),
    "original_size": ("", "width height"),
    "track": ("id label source", "box"),
    "box": ("frame outside occluded keyframe xtl ytl xbr ybr z_order", "attribute"),
}


def test_cvat_has_the_published_elements(written: Written) -> None:
    root = ElementTree.parse(written("cvat")).getroot()
    for element in root.iter():
        attributes, below = CVAT.get(element.tag, ("", ""))
        if element.tag == "attribute":
            attributes = "name" if element.get("name") else ""
            below = "" if attributes else "name mutable input_type default_value values"
        assert set(element.keys()) == set(attributes.split()), element.tag
        assert {each.tag for each in element} <= set(below.split()), element.tag
    assert root.findtext("version") == "1.1"
    assert root.findtext("meta/task/mode") == "interpolation"
    assert root.findtext("meta/task/size") == "250"
    labels = {label.findtext("name") for label in root.iter("label")}
    assert labels == {name for classes in CLASSES.values() for name in classes}
    assert {track.get("label") for track in root.iter("track")} <= labels
    raw = re.search(r"raw editor: (\[.*\]) -->", written("cvat").read_text())
    assert raw
    assert {label["name"] for label in json.loads(raw[1])} == labels


def test_cvat_shows_each_track_in_its_frames(written: Written) -> None:
    for track in ElementTree.parse(written("cvat")).getroot().iter("track"):
        keys = {int(box.attrib["frame"]): box for box in track}
        assert list(keys) == sorted(keys)
        assert max(keys) < 250
        visible, seen = False, set()
        for frame in range(250):
            if frame in keys:
                visible = keys[frame].get("outside") == "0"
                sides = [float(keys[frame].attrib[side]) for side in ("xtl", "ytl", "xbr", "ybr")]
                assert sides == [0, 0, WIDTH, HEIGHT]
            seen |= {frame} if visible else set()
        kind = next(each.text for each in track.iter("attribute") if each.get("name") == "track")
        own = [row for row in ROWS if row[:2] == (kind, track.get("label"))]
        assert seen == {frame for _, _, first, last in own for frame in range(first, last + 1)}


def cvat_shows(path: Path, frame: int) -> list[tuple[str, list[float]]]:
    """Labels and boxes that CVAT shows: between key frames a box moves evenly, unless it is outside since the first."""
    found = []
    for track in ElementTree.parse(path).getroot().iter("track"):
        keys = [
            (int(box.attrib["frame"]), box.get("outside") == "1",
             np.array([float(box.attrib[side]) for side in ("xtl", "ytl", "xbr", "ybr")]))
            for box in track
        ]  # fmt: skip
        before = [key for key in keys if key[0] <= frame]
        after = [key for key in keys if key[0] > frame] or before[-1:]
        if before and not before[-1][1]:
            (first, _, box), (then, _, moved) = before[-1], after[0]
            share = (frame - first) / (then - first) if then > first else 0.0
            found.append((track.attrib["label"], (box + share * (moved - box)).tolist()))
    return sorted(found)


def test_boxes_of_labels_are_where_they_are_seen(table: IntervalTable, tmp_path: Path) -> None:
    """Two graspers at once, one of which goes on elsewhere at once, and later again elsewhere."""
    begins = table.frames.begin_s
    rows = tuple(
        Interval("tool", "grasper", begins(first), begins(last + 1), first, last, 1.0, xywh)
        for first, last, xywh in (
            (0, 9, "0,0.5,0.25,0.5"), (0, 9, "0.5,0.25,0.5,0.25"), (10, 19, "0.5,0,0.5,1"), (21, 249, "0,0,0.5,0.5")
        )
    )  # fmt: skip
    boxed = dataclasses.replace(table, intervals=rows)
    write_table(boxed, tmp_path / "boxes.xml", "cvat")
    w, h = WIDTH, HEIGHT
    left, right, moved, corner = [0, h / 2, w / 4, h], [w / 2, h / 4, w, h / 2], [w / 2, 0, w, h], [0, 0, w / 2, h / 2]
    boxes = {0: [left, right], 5: [left, right], 9: [left, right], 10: [moved], 19: [moved], 20: [], 21: [corner]}
    for frame, wanted in {**boxes, 249: [corner]}.items():
        assert cvat_shows(tmp_path / "boxes.xml", frame) == [("grasper", box) for box in sorted(wanted)], frame
    assert boxed.to_arrow()["xywh"].to_pylist() == [row.xywh for row in rows]
    assert "xywh" not in table.to_arrow().column_names


# ---- Label Studio: https://labelstud.io/tags/timelinelabels, https://labelstud.io/guide/predictions


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, protected_namespaces=())


class Range(Strict):
    start: int
    end: int

    @model_validator(mode="after")
    def _check(self) -> "Range":
        assert 1 <= self.start <= self.end, "frames are counted from 1, and the last one is included"
        return self


class Value(Strict):
    ranges: list[Range]
    timelinelabels: list[str]


class Region(Strict):
    id: str
    from_name: str
    to_name: str
    type: Literal["timelinelabels"]
    origin: Literal["prediction"]
    score: float
    value: Value


class Prediction(Strict):
    model_version: str
    score: float | None = None
    result: list[Region]


class LabelTask(Strict):
    data: dict[str, str | float]
    meta: dict[str, Any]
    predictions: list[Prediction]


def test_label_studio_takes_the_predictions(written: Written, frame_at: Callable[[float], int]) -> None:
    (task,) = TypeAdapter(list[LabelTask]).validate_json(written("label_studio").read_bytes())
    config = ElementTree.fromstring(task.meta["label_config"])
    (player,) = config.iter("Video")
    assert (player.get("value"), player.get("frameRate")) == ("$video", "$fps")
    labels = {
        each.get("name"): [label.get("value") for label in each]
        for each in config.iter("TimelineLabels")
        if each.get("toName") == player.get("name")
    }
    assert labels == {track: list(names) for track, names in CLASSES.items()}
    found, fps = [], float(task.data["fps"])
    regions = task.predictions[0].result
    assert len({region.id for region in regions}) == len(regions)
    for region in regions:
        (span,), (label,) = region.value.ranges, region.value.timelinelabels
        assert label in labels[region.from_name]
        # The editor shows frame n at (n - 1) / frameRate.
        first, last = ((at - 1) / fps for at in (span.start, span.end))
        assert frame_at(first - 1 / fps) == frame_at(first) - (first > 0)
        assert frame_at(last + 1 / fps) == frame_at(last) + 1
        found.append((region.from_name, label, frame_at(first), frame_at(last)))
    assert found == list(ROWS)


def test_label_studio_counts_the_frames_of_a_steady_rate(table: IntervalTable) -> None:
    steady = dataclasses.replace(table.frames, times_s=np.arange(250) / 25, declared_fps=25.0)
    (task,) = json.loads(formats()["label_studio"].encode(dataclasses.replace(table, frames=steady)))
    assert task["data"]["fps"] == 25
    ranges = [region["value"]["ranges"][0] for region in task["predictions"][0]["result"]]
    assert [(each["start"] - 1, each["end"] - 1) for each in ranges] == [row[2:] for row in ROWS]


# ---- FiftyOne: FiftyOneTemporalDetectionDataset in its user guide


class Detection(Strict):
    label: str
    support: list[int]
    confidence: float
    attributes: dict[str, str | float]


class LabelsFile(Strict):
    labels: dict[str, list[Detection]]
    info: dict[str, Any]
    """Its importer reads `labels` and `classes`, and no other key."""


def test_fiftyone_finds_the_frames(written: Written) -> None:
    file = LabelsFile.model_validate_json(written("fiftyone").read_bytes())
    # Frames are counted from 1, first and last included; videos are found by their names without the suffix.
    found = [
        (each.attributes["track"], each.label, each.support[0] - 1, each.support[1] - 1)
        for each in file.labels["my case"]
    ]
    assert list(file.labels) == ["my case"]
    assert found == list(ROWS)


# ---- all


@pytest.mark.parametrize("name", formats())
def test_every_format_tells_its_origin_and_takes_an_empty_timeline(name: str, table: IntervalTable) -> None:
    kind = formats()[name]
    empty = kind.encode(dataclasses.replace(table, intervals=()))
    text = empty.decode("utf-8", "replace")
    # SubRip has no room for it, and CSV has columns.
    assert name in ("srt", "csv") or all(
        word in text
        for word in ("surgvl", "peskavlp (0123456789abcdef)", "cholec80_phase 1", "online", "Not for clinical use")
    )
    assert kind.title
    assert kind.purpose
    if kind.suffix in (".eaf", ".xml"):
        ElementTree.parse(io.BytesIO(empty))


def test_formats_are_chosen_by_the_longest_suffix_or_by_name(tmp_path: Path) -> None:
    for file, name in (
        ("a.CSV", "csv"),
        ("a.json", "json"),
        ("a.fiftyone.json", "fiftyone"),
        ("a.label_studio.json", "label_studio"),
        ("a.xml", "cvat"),
    ):
        assert choose_format("", tmp_path / file).name == name
    assert choose_format("vtt", tmp_path / "a.txt").name == "vtt"
    with pytest.raises(ConfigError, match=r"a\.txt has no suffix of a format: end it with one of \.csv"):
        choose_format("", tmp_path / "a.txt")
    with pytest.raises(ConfigError, match=r"--format must be one of .*: did you mean eaf\?"):
        choose_format("eav")


def test_characters_that_xml_cannot_hold_do_not_spoil_a_file(table: IntervalTable) -> None:
    odd = dataclasses.replace(table, media="bell\a and null.mp4")
    for name in ("eaf", "cvat"):
        ElementTree.fromstring(formats()[name].encode(odd))
