"""Data sets: the contract, the official splits, and the phantom read through the public layouts."""

import json
from pathlib import Path
from typing import Any

import pytest

from surgvl.commands import data
from surgvl.core.errors import ConfigError, DataError
from surgvl.data.formats.layout import find_videos
from surgvl.data.readers.autolaparo import AutoLaparo
from surgvl.data.readers.base import Contents, VideoDataset
from surgvl.data.readers.cholec80 import Cholec80
from surgvl.data.readers.cholect50 import CholecT50
from surgvl.data.readers.phantom import PhantomDataset
from surgvl.data.readers.pitvis import PitVis
from surgvl.data.readers.pitvqa import PitVQA
from surgvl.data.splits import split_of_each
from surgvl.embed.recordings import manifest_of
from surgvl.video import VIDEO_SUFFIXES
from surgvl.video.clip import Preprocess
from tests.helpers.label_files import REAL, cholec80, film, needs_real, put, record

KINDS = list(data.datasets().values())


@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
def test_every_data_set_keeps_the_contract(kind: type[VideoDataset], tmp_path: Path) -> None:
    assert kind.__module__ == f"surgvl.data.readers.{kind.name}"
    assert kind.LICENCE
    # Where another data set's licence was read says nothing about this one's.
    assert not kind.LICENCE_FROM or "LICENCE_FROM" in vars(kind) or "LICENCE" not in vars(kind)
    assert kind.SOURCE
    for protocol, splits in kind.SPLITS.items():
        assert set(splits) <= {"train", "val", "test"}
        ids = [name for split in splits.values() for name in split]
        assert len(set(ids)) == len(ids), protocol
        assert split_of_each(splits, protocol).keys() == set(ids)
    for names in kind.CLASSES.values():
        assert all(names)
        assert len(set(names)) == len(names) > 1
    with pytest.raises(DataError, match="not a folder"):
        kind(tmp_path / "absent")
    put(tmp_path / "phantom.json", '{"splits": {"train": [1]}}')
    with pytest.raises(ConfigError, match="no split protocol 'mine'"):
        kind(tmp_path, "mine")
    with pytest.raises(DataError, match="holds nothing in the layout"):
        kind(tmp_path).to_manifest()


def test_a_folder_within_that_has_the_data_set_is_named(tmp_path: Path) -> None:
    cholec80(tmp_path / "downloads" / "cholec80")
    (tmp_path / "downloads" / "another").mkdir()
    fact = "downloads holds nothing in the layout of cholec80, but .*/downloads/cholec80 does: give that folder"
    with pytest.raises(DataError, match=fact):
        Cholec80(tmp_path / "downloads").to_manifest()


@pytest.mark.parametrize(("kind", "name"), [(Cholec80, "video01"), (AutoLaparo, "01")])
@pytest.mark.parametrize("folder", ["", "labels"])
def test_csv_files_lie_in_the_folder_or_below_labels(
    kind: type[VideoDataset], name: str, folder: str, tmp_path: Path
) -> None:
    rows = "".join(f"{name}_{second}.png,{1 + second // 3}\n" for second in range(1, 7))
    put(tmp_path / folder / f"{name}.csv", f"path,label\n{rows}")
    phases = [each for each in kind(tmp_path).to_manifest().segments if each.task == "phase"]
    assert len(phases) == 3


def test_phase_files_may_lie_in_the_folder_itself(tmp_path: Path) -> None:
    wanted = Cholec80(cholec80(tmp_path)).to_manifest().segments
    for path in (tmp_path / "phase_annotations").iterdir():
        path.rename(tmp_path / path.name)
    assert Cholec80(tmp_path).to_manifest().segments == wanted
    assert {each.task for each in wanted} == {"phase", "tool"}


def test_data_sets_are_found() -> None:
    assert {"autolaparo", "cholec80", "cholect50", "narration", "phantom", "pitvis", "pitvqa"} <= set(data.datasets())
    with pytest.raises(ConfigError, match="did you mean cholec80"):
        data.dataset_class("cholec8")


def test_a_folder_without_splits_is_told_how_to_get_some(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    film(tmp_path / "a.mp4", 1)
    put(tmp_path / "labels.csv", "video,start,end,label\na,0,1,cut\n")
    data.data_check("manual", tmp_path)
    assert "splits: none; to train on some videos and score others, put a splits.json, {" in capsys.readouterr().out
    put(tmp_path / "splits.json", '{"test": ["a"]}')
    data.data_check("manual", tmp_path)
    assert "splits: own\n" in capsys.readouterr().out


def test_a_licence_stands_with_the_place_where_it_was_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data.data_check("cholec80", cholec80(tmp_path))
    assert "licence: CC BY-NC-SA 4.0 (read in the list of licences of SurgRec's authors" in capsys.readouterr().out
    data.data_list()
    (row,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("pitvis ")]
    assert "not verified" in row


def test_val_among_test_is_refused(tmp_path: Path) -> None:
    class Mixed(Cholec80):
        SPLITS = {"bad": {"val": ("video01", "video02"), "test": ("video02",)}}

    with pytest.raises(ConfigError, match="video02 is in val and in test"):
        Mixed(tmp_path)


def test_clips_of_a_split_carry_their_times_and_labels(tmp_path: Path) -> None:
    clips = Cholec80(cholec80(tmp_path)).clips("train", Preprocess(num_frames=4, fps=4, size_px=16))
    found = [clips[number] for number in range(len(clips))]
    assert [(clip["video_id"], clip["start_s"], clip["end_s"]) for clip in found] == [
        ("video01", float(second), second + 1.0) for second in range(4)
    ]
    assert [clip["labels"]["phase"] for clip in found] == [["Preparation"]] * 2 + [["CalotTriangleDissection"]] * 2
    assert all(clip["labels"]["tool"] == ["Grasper"] and clip["text"] == [] for clip in found)
    assert {(tuple(clip["video"].shape), str(clip["video"].dtype)) for clip in found} == {
        ((3, 4, 16, 16), "torch.uint8")
    }
    whole = Cholec80(tmp_path).clips("train", Preprocess(num_frames=32, fps=4, size_px=16))
    assert [(each["start_s"], each["end_s"], each["labels"]["phase"]) for each in (whole[0],)] == [
        (0, 8, ["CalotTriangleDissection"])
    ]
    with pytest.raises(DataError, match="no video is in split 'test'"):
        Cholec80(tmp_path).clips("test")


@pytest.mark.parametrize("suffix", [*VIDEO_SUFFIXES, ".MP4"])
def test_what_counts_as_a_video_is_the_same_for_data_sets_and_for_recordings(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / "videos" / f"video01{suffix}"
    film(tmp_path / "made.mp4", 0.5)
    path.parent.mkdir()
    (tmp_path / "made.mp4").rename(path)
    assert find_videos(path.parent, r"video\d+", Contents()) == {"video01": path}
    assert manifest_of([path.parent])[0].path_of("video01") == path


def test_classes_follow_the_published_ids() -> None:
    # First and last id of each list, and their number, by the papers.
    found = {
        (kind.name, task): (names[0], names[-1], len(names)) for kind in KINDS for task, names in kind.CLASSES.items()
    }
    assert found["cholec80", "phase"] == ("Preparation", "GallbladderRetraction", 7)
    assert found["cholec80", "tool"] == ("Grasper", "SpecimenBag", 7)
    assert found["autolaparo", "phase"] == ("Preparation", "Washing", 7)
    assert found["cholect50", "triplet"] == ("grasper,dissect,cystic_plate", "irrigator,null_verb,null_target", 100)
    assert [found["cholect50", task][2] for task in ("instrument", "verb", "target", "phase")] == [6, 10, 15, 7]
    assert found["pitvis", "step"] == ("nasal_corridor_creation", "debris_clearance", 14)
    assert found["pitvis", "instrument"] == ("bipolar_forceps", "tissue_glue", 18)


CHOLECT50_NUMBERS = [
    *(1, 2, 4, 5, 6, 8, 10, 12, 13, 14, 15, 18, 22, 23, 25, 26, 27, 29, 31, 32, 35, 36, 40, 42, 43, 47, 48, 49, 50),
    *(51, 52, 56, 57, 60, 62, 65, 66, 68, 70, 73, 74, 75, 78, 79, 80, 92, 96, 103, 110, 111),
]


def numbers(ids: Any) -> list[int]:
    return sorted(int("".join(letter for letter in name if letter.isdigit())) for name in ids)


def test_cholec80_and_autolaparo_splits_are_complete() -> None:
    for splits, total in ((Cholec80.SPLITS, 80), (AutoLaparo.SPLITS, 21), (PitVQA.SPLITS, 25), (PitVis.SPLITS, 25)):
        for protocol in splits.values():
            assert numbers(name for ids in protocol.values() for name in ids) == list(range(1, total + 1))
    assert next(iter(Cholec80.SPLITS)) == "standard"
    assert "val" not in Cholec80.SPLITS["standard"]
    assert numbers(Cholec80.SPLITS["camma"]["val"]) == list(range(41, 49))
    assert numbers(AutoLaparo.SPLITS["standard"]["test"]) == list(range(15, 22))
    assert numbers(PitVQA.SPLITS["standard"]["test"]) == [2, 6, 12, 13, 24]


def test_cholect50_splits_are_complete_and_disjoint() -> None:
    splits = CholecT50.SPLITS
    assert list(splits) == ["rdp", "challenge", *(f"{kind}cv{fold}" for kind in ("", "t45_") for fold in range(1, 6))]
    every = numbers(name for ids in splits["rdp"].values() for name in ids)
    assert every == CHOLECT50_NUMBERS
    added = {92, 96, 103, 110, 111}
    for name, protocol in splits.items():
        is_t45 = name.startswith("t45")
        want = [number for number in every if not is_t45 or number not in added]
        assert numbers(video_id for ids in protocol.values() for video_id in ids) == want
        sizes = [len(protocol[split]) for split in ("train", "val", "test")]
        assert sizes == ([40, 5, 5] if name == "challenge" else [31, 5, 9] if is_t45 else [35, 5, 10])
    folds = [numbers(splits[f"cv{fold}"]["test"]) for fold in range(1, 6)]
    assert sorted(number for fold in folds for number in fold) == every
    # Validation is the last five of the training folds, in their published order.
    assert splits["cv1"]["val"] == ("VID01", "VID56", "VID04", "VID13", "VID92")
    assert splits["cv5"]["val"] == ("VID75", "VID22", "VID49", "VID12", "VID110")
    assert numbers(splits["challenge"]["test"]) == [92, 96, 103, 110, 111]


def test_sources_agree_that_rdp_tests_on_the_ten_videos_at_hand() -> None:
    assert numbers(CholecT50.SPLITS["rdp"]["test"]) == [6, 10, 14, 32, 42, 51, 73, 74, 80, 111]


def test_phantom_folder_through_the_same_readers(tmp_path: Path) -> None:
    cholec80(tmp_path / "cholec80")
    put(tmp_path / "phantom.json", json.dumps({"splits": {"train": [], "val": [], "test": [1, 2]}}))
    put(tmp_path / "cholect50" / "labels" / "VID01.json", json.dumps(record()))
    put(tmp_path / "narration" / "video01.csv", "start,end,text\n0,2,hello\n")
    put(tmp_path / "pitvqa" / "QA" / "video_01" / "00001.txt", "What is the next surgical phase?|closure\n")
    put(tmp_path / "lls48" / "QA" / "video_01" / "00002.txt", "Which surgical task is performed?|division\n")
    dataset = PhantomDataset(tmp_path)
    manifest = dataset.to_manifest()
    assert manifest.video_ids("test") == ["video01"]
    assert manifest.path_of("video01") == tmp_path / "cholec80" / "videos" / "video01.mp4"
    labels = [manifest.second_labels(task, ["video01"], [1.5])[0] for task in ("phase", "tool", "triplet", "narration")]
    triplets = ["grasper,grasp,specimen_bag", "hook,dissect,gallbladder"]
    assert labels == [["Preparation"], ["Grasper"], triplets, ["hello"]]
    assert [(row.source, row.type, row.video_id) for row in manifest.qa] == [
        ("pitvqa", "next_phase", "video01"),
        ("lls48", "task", "video01"),
    ]
    assert dataset.problems() == ["1 of 2 videos of protocol phantom is missing: video02"]
    for text, message in (("{}", "has no splits"), ('{"splits": {"train": ["x"]}}', "lists of video numbers")):
        put(tmp_path / "phantom.json", text)
        with pytest.raises(DataError, match=message):
            PhantomDataset(tmp_path)
    put(tmp_path / "phantom.json", '{"splits": {"val": [1], "test": [1]}}')
    with pytest.raises(ConfigError, match="video01 is in val and in test"):
        PhantomDataset(tmp_path)


@needs_real
@pytest.mark.parametrize("name", ["clips"])
def test_real_clips_as_videos_without_labels(name: str, tmp_path: Path) -> None:
    for number, file in enumerate(sorted((Path(REAL) / name).glob("VID*.mp4"))[:2], 1):
        target = tmp_path / "videos" / f"video{number:02d}.mp4"
        target.parent.mkdir(exist_ok=True)
        target.symlink_to(file)
    put(tmp_path / "videos" / "video03.mp4", (Path(REAL) / "broken" / "header_only.mp4").read_bytes())
    dataset = Cholec80(tmp_path)
    assert [(row.fps, round(row.duration_s)) for row in dataset.videos] == [(25, 32), (25, 32)]
    assert len(dataset.contents.unreadable) == 1
    assert "video03" in dataset.contents.unreadable[0]
