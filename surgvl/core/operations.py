"""Which videos of different data sets show one operation, so that a model is not tested on what it was trained on.

Known from the data sets' papers and from the lists of CAMMA (Strasbourg), where several data sets come from:

- Cholec80 `videoNN`, CholecT45 and CholecT50 `VIDNN`, CholecTrack20, CholecSeg8k, Cholec80-CVS, Cholec80-VQA and
  SSG-VQA number the same operations (Nwoye and Padoy, arXiv 2204.05235); 92, 96, 103, 110, 111 are not in Cholec80.
- M2CAI16-tool 1 to 10 are Cholec80 67 to 76, and 11 to 15 are 61, 62, 64, 65 and 66. M2CAI16-workflow contains Cholec80
  73 and 77 to 80, under numbers that are not published; `m2cai16_renumbered` is the same under others.
- Endoscapes 1, 2, 3, 4 and 7 are Cholec80 67, 68, 70, 71 and 72, and 121 is 66.
- PitVis and PitVQA are the same 25 operations; PSI-AVA, PSI-AVA-VQA and GraSP number the same cases, and ProstaTD's
  `psivN` are those of PSI-AVA; the three forms of EndoVis18-VQA number the same sequences. The phantom is written in
  the layouts of Cholec80 and CholecT50, with equal numbers.

An id is unambiguous with its data set: `cholec80:video01`. Without it, `videoNN` may be Cholec80's. `cholect50:*`
stands for videos of a data set of which nobody says which they are, so that each counts.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_CHOLEC = (
    "cholec80 cholect45 cholect50 cholectrack20 cholecseg8k cholec80_cvs cholec80_vqa cholec80_vqa_sentence ssg_vqa"
)
_FAMILIES = {
    **dict.fromkeys(_CHOLEC.split(), "cholec"),
    **dict.fromkeys(("pitvis", "pitvqa", "pitvqa_open"), "pituitary"),
    **dict.fromkeys(("psi_ava", "psi_ava_vqa", "grasp"), "psi_ava"),
    **dict.fromkeys(("endovis18_vqa", "endovis18_vqa_sentence", "endovis18_vqla"), "endovis18"),
    **dict.fromkeys(("endoscapes", "endoscapes_cvs"), "endoscapes"),
    **dict.fromkeys(("m2cai16_workflow", "m2cai16_renumbered"), "m2cai16_workflow"),
    **dict.fromkeys(("cataract21", "cataract21_merged"), "cataract21"),
    **{name: name for name in ("m2cai16_tool", "phantom")},
}
_SAME_AS_CHOLEC = {
    "m2cai16_tool": dict(zip(range(1, 16), (*range(67, 77), 61, 62, 64, 65, 66), strict=True)),
    "endoscapes": {1: 67, 2: 68, 3: 70, 4: 71, 7: 72, 121: 66},
}
_IN_WORKFLOW = (73, 77, 78, 79, 80)
_PSI_AVA = (1, 2, 3, 4, 7, 14, 15, 21)
# CholecT45 lacks the last five.
_CHOLECT50 = (
    "1 2 4 5 6 8 10 12 13 14 15 18 22 23 25 26 27 29 31 32 35 36 40 42 43 47 48 49 50 51 52 56 57 60 62 65 66 68 70 73 "
    "74 75 78 79 80 92 96 103 110 111"
)
_WHOLE = {
    **dict.fromkeys(("cholec80", "cholec80_cvs", "cholec80_vqa", "cholec80_vqa_sentence"), range(1, 81)),
    **dict.fromkeys(("cholect45", "cholect50"), tuple(map(int, _CHOLECT50.split()))),
    **dict.fromkeys(("psi_ava", "psi_ava_vqa"), _PSI_AVA),
}
"""Data set -> numbers of its operations, where its family has others, too."""
_ANY = ":*"
UNKNOWN = f"unknown{_ANY}"
"""Stands for the training videos of a model of which nobody says what it was trained on."""
_QUALIFIED = re.compile(r"(\w+):(.+)")
_VIDEO = re.compile(r"vid(?:eo)?0*(\d+)", re.IGNORECASE)
_NUMBER = re.compile(r"\D*0*(\d+)")


@dataclass(frozen=True)
class Operation:
    """The operation that a video shows.

    Attributes:
        key: equal for videos that are known to show one operation; empty if the data set is not known.
        may_be: keys of operations one of which it may be.
        names: what it may be called where the data set is not known.
    """

    key: str
    may_be: frozenset[str]
    names: frozenset[str]


def qualified(video_id: str, data_set: str) -> str:
    """An id with its data set, `cholec80:video06`, as runs record it; the id alone where the data set is not known."""
    return f"{_plain(data_set)}:{video_id}" if data_set else video_id


def any_of(data_set: str) -> str:
    """What stands for videos of a data set of which nobody says which they are."""
    return qualified(_ANY[1:], data_set)


def is_any(video_id: str) -> bool:
    """Whether an id stands for videos of a data set of which nobody says which they are."""
    return video_id.endswith(_ANY)


def not_listed(ids: Iterable[str]) -> list[str]:
    """Data sets that some ids stand for as a whole, without those whose operations are known here; sorted."""
    return sorted({_plain(each.removesuffix(_ANY)) for each in ids if is_any(each)} - _FAMILIES.keys())


def _plain(data_set: str) -> str:
    return re.sub(r"\W", "_", data_set.casefold())


def operation(video_id: str, data_set: str = "") -> Operation:
    """The operation of a video.

    Args:
        video_id: as in a manifest; `NAME:ID` names the data set.
        data_set: name of the data set; empty if it is not known.
    """
    if not data_set and (match := _QUALIFIED.fullmatch(video_id)):
        data_set, video_id = match[1], match[2]
    # `data merge` puts a name and a slash in front.
    name = video_id.rpartition("/")[2]
    data_set = _plain(data_set)
    if not data_set:
        match = _VIDEO.fullmatch(name)
        return Operation("", frozenset(), frozenset({name, f"video {match[1]}"} if match else {name}))
    if data_set == "prostatd" and (match := re.fullmatch(r"psiv0*(\d+)", name)):
        return Operation(f"psi_ava {match[1]}", frozenset(), frozenset({name}))
    family, match = _FAMILIES.get(data_set, ""), _NUMBER.fullmatch(name)
    if not family or not match:
        return Operation(f"{data_set} {name}", frozenset(), frozenset({name}))
    if family == "m2cai16_workflow":
        # Training and test videos have numbers of their own. SurgVISTA goes on counting: that its 28 is the first test
        # video is inferred.
        if data_set == "m2cai16_renumbered" and name.startswith("video_"):
            number = int(match[1])
            name = f"test_workflow_video_{number - 27:02d}" if number > 27 else f"workflow_video_{number:02d}"
        may_be = frozenset(f"cholec {number}" for number in _IN_WORKFLOW)
        return Operation(f"{family} {name}", may_be, frozenset({name}))
    number = int(match[1])
    if same := _SAME_AS_CHOLEC.get(family, {}).get(number):
        family, number = "cholec", same
    names = {name, f"video {number}"} if family in ("cholec", "phantom") else {name}
    return Operation(f"{family} {number}", frozenset(), frozenset(names))


def seen_before(
    test_ids: Iterable[str],
    other_ids: Iterable[str],
    data_sets: Mapping[str, str] | None = None,
    other_data_sets: Mapping[str, str] | None = None,
) -> list[str]:
    """Test ids whose operation is, or may be, among the other ids, sorted.

    Where one of two data sets is not known, equal ids count as one operation, and so does `videoNN` with Cholec80's.

    Args:
        test_ids: ids to test on.
        other_ids: ids that a model has seen.
        data_sets: data set of each test id, where known.
        other_data_sets: data set of each other id, where known.
    """
    other_ids = list(other_ids)
    others = [operation(name, (other_data_sets or {}).get(name, "")) for name in other_ids if not is_any(name)]
    whole = [_whole(name.removesuffix(_ANY)) for name in other_ids if is_any(name)]
    keys = {each.key for each in others if each.key} | {key for own, _ in whole for key in own}
    starts = tuple(start for _, start in whole if start)
    may_be = {key for each in others for key in each.may_be}
    unknown = {name for each in others if not each.key for name in each.names}
    names = {name for each in others for name in each.names}
    found = set()
    for test_id in test_ids:
        own = operation(test_id, (data_sets or {}).get(test_id, ""))
        if own.key:
            same = own.key in keys or own.key in may_be or own.key.startswith(starts)
            seen = same or bool(own.may_be & keys or own.names & unknown)
        else:
            seen = bool(own.names & names)
        if seen:
            found.add(test_id)
    return sorted(found)


def _whole(data_set: str) -> tuple[set[str], str]:
    """Keys of the operations of a data set, as far as they are known; what the keys of its others start with."""
    data_set = _plain(data_set)
    family = _FAMILIES.get(data_set, data_set)
    keys = {f"{family} {number}" for number in _WHOLE.get(data_set, ())}
    shared = _IN_WORKFLOW if family == "m2cai16_workflow" else _SAME_AS_CHOLEC.get(family, {}).values()
    keys |= {f"cholec {number}" for number in shared}
    if data_set == "prostatd":
        keys |= {f"psi_ava {number}" for number in _PSI_AVA}
    return keys, "" if data_set in _WHOLE else f"{family} "
