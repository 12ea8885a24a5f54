"""One operation under the ids of several data sets: known overlaps, and no false ones."""

import pytest

import surgvl.data.readers
from surgvl.core.operations import any_of, not_listed, qualified, seen_before
from surgvl.core.registry import discover
from surgvl.data.readers.base import VideoDataset


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("cholec80:video41", "cholect50:VID41"),
        ("cholec80:video01", "cholec80_vqa:video01"),
        ("cholect50:VID111", "ssg_vqa:VID111"),
        ("cholec80_cvs:video07", "cholecseg8k:video07"),
        ("m2cai16_tool:tool_video_01", "cholec80:video67"),
        ("m2cai16_tool:tool_video_11", "cholec80:video61"),
        ("m2cai16_tool:tool_video_15", "cholect50:VID66"),
        ("endoscapes_cvs:3", "cholec80:video70"),
        ("endoscapes_cvs:121", "cholect50:VID66"),
        ("pitvis:video_02", "pitvqa:02"),
        ("psi_ava:CASE001", "grasp:CASE001"),
        ("psi_ava:CASE014", "prostatd:psiv14"),
        ("prostatd:psiv1", "grasp:CASE001"),
        ("cholec80:lap/video41", "cholect50:VID41"),
        ("phantom:video41", "Phantom:VID41"),
        ("cataract21:case_07", "cataract21_merged:case_07"),
        ("m2cai16_workflow:workflow_video_09", "m2cai16_renumbered:video_09"),
        ("m2cai16_workflow:test_workflow_video_01", "m2cai16_renumbered:video_28"),
        ("m2cai16_workflow:test_workflow_video_14", "m2cai16_renumbered:video_41"),
    ],
)
def test_one_operation_under_two_ids(first: str, second: str) -> None:
    assert seen_before([first], [second]) == [first]
    assert seen_before([second], [first]) == [second]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("cholec80:video01", "pmlr50:video01"),
        ("cholec80:video01", "phantom:video01"),
        ("cholec80:video01", "pitvis:video_01"),
        ("cholec80:video41", "cholect50:VID42"),
        ("autolaparo:01", "cataract21:01"),
        ("m2cai16_workflow:workflow_video_01", "m2cai16_workflow:test_workflow_video_01"),
        ("m2cai16_tool:tool_video_01", "cholec80:video01"),
        ("endoscapes_cvs:66", "cholec80:video66"),
        ("m2cai16_workflow:workflow_video_01", "cholec80:video41"),
        ("prostatd:esadv1", "psi_ava:CASE001"),
        ("prostatd:esadv1", "prostatd:pwhv1"),
        ("m2cai16_workflow:test_workflow_video_09", "m2cai16_renumbered:video_09"),
    ],
)
def test_other_operations_under_like_ids(first: str, second: str) -> None:
    assert seen_before([first], [second]) == []
    assert seen_before([second], [first]) == []


def test_what_may_be_one_operation_counts_as_one() -> None:
    """M2CAI16-workflow contains five videos of Cholec80 under unknown numbers."""
    test = [f"cholec80:video{number}" for number in range(70, 81)]
    assert seen_before(test, ["m2cai16_workflow:workflow_video_09"]) == [
        f"cholec80:video{number}" for number in (73, 77, 78, 79, 80)
    ]
    assert seen_before(["m2cai16_workflow:workflow_video_09"], test[3:4])


def test_a_data_set_of_which_nobody_lists_the_videos_is_seen_as_a_whole() -> None:
    splits = discover(surgvl.data.readers, VideoDataset)  # type: ignore[type-abstract]
    whole = {
        name: {each for split in splits[name].SPLITS.values() for ids in split.values() for each in ids}
        for name in (
            "cholec80",
            "cholect50",
            "cholec80_cvs",
            "endoscapes_cvs",
            "m2cai16_workflow",
            "autolaparo",
            "prostatd",
            "psi_ava",
            "grasp",
        )
    }
    for name, ids in whole.items():
        assert seen_before(ids, [any_of(name)], dict.fromkeys(ids, name)) == sorted(ids)
    both = [each for each in whole["cholec80"] if f"VID{each[5:]}" in whole["cholect50"]]
    assert len(both) == 45
    sets = dict.fromkeys(whole["cholec80"], "Cholec80")
    assert seen_before(whole["cholec80"], ["cholect50:*"], sets) == sorted(both)
    shared = [f"video{number}" for number in (66, 67, 68, 70, 71, 72)]
    assert seen_before(whole["cholec80"], ["endoscapes:*"], sets) == shared
    assert seen_before(whole["cholec80"], ["autolaparo:*", "svl:*", "unknown:*"], sets) == []
    cases = dict.fromkeys(whole["grasp"], "grasp")
    assert seen_before(cases, ["psi_ava:*"], cases) == seen_before(cases, ["prostatd:*"], cases)
    assert seen_before(cases, ["prostatd:*"], cases) == sorted(whole["psi_ava"])
    assert seen_before(["01"], ["avos:*"], {"01": "AVOS"}) == ["01"]
    assert seen_before(["*"], ["video01"]) == []


def test_data_sets_that_nobody_lists_and_that_are_not_known_here_are_named() -> None:
    assert not_listed(["svl:*", "cholect50:*", "cholec80:video01", "unknown:*", "video02"]) == ["svl", "unknown"]


@pytest.mark.parametrize(
    ("name", "data_set", "expected"),
    [
        ("video06", "Cholec80", "cholec80:video06"),
        ("lap/video06", "cholec80", "cholec80:lap/video06"),
        ("op 1", "St. Mary", "st__mary:op 1"),
        ("video06", "", "video06"),
    ],
)
def test_an_id_with_its_data_set_is_found_again(name: str, data_set: str, expected: str) -> None:
    assert qualified(name, data_set) == expected
    assert seen_before([name], [expected], {name: data_set}) == [name]


def test_ids_without_a_data_set_match_by_name_and_as_cholec80s() -> None:
    assert seen_before(["VID41", "VID42", "a"], ["video41", "a", "b"]) == ["VID41", "a"]
    assert seen_before(["VID01"], ["lap/video01"]) == ["VID01"]
    assert seen_before(["video_41"], ["video41"]) == []
    # Of the test video, the data set is known from the manifest.
    assert seen_before(["VID41"], ["video41"], {"VID41": "CholecT50"}) == ["VID41"]
    assert seen_before(["vid41"], ["video41"], {"vid41": "eyes"}) == []
    assert seen_before(["video41"], ["video41"], {"video41": "eyes"}) == ["video41"]
    assert seen_before(["case7"], ["case7", "phantom:VID07"]) == ["case7"]


def test_published_splits_share_no_operation() -> None:
    checked = 0
    for name, dataset in discover(surgvl.data.readers, VideoDataset).items():  # type: ignore[type-abstract]
        for protocol, splits in dataset.SPLITS.items():
            for split, ids in splits.items():
                others = [each for other, theirs in splits.items() if other != split for each in theirs]
                sets = dict.fromkeys((*ids, *others), name)
                assert seen_before(ids, others, sets, sets) == [], f"{name} {protocol} {split}"
                checked += 1
    assert checked > 40


def test_pretraining_on_cholec80_leaks_into_the_test_videos_of_cholect50() -> None:
    splits = discover(surgvl.data.readers, VideoDataset)["cholect50"].SPLITS  # type: ignore[type-abstract]
    seen = [f"cholec80:video{number:02d}" for number in range(1, 41)]
    for protocol, expected in (("rdp", ["VID06", "VID10", "VID14", "VID32"]), ("challenge", [])):
        test = splits[protocol]["test"]
        assert seen_before(test, seen, dict.fromkeys(test, "cholect50")) == expected
