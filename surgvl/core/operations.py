"""Which videos of different data sets show one operation, so that a model is not tested on what it was trained on.

Known from the data sets' papers and from the lists of CAMMA (Strasbourg), where several data sets come from:

- Cholec80 `videoNN`, CholecT45 and CholecT50 `VIDNN`, CholecTrack20, CholecSeg8k, Cholec80-CVS, Cholec80-VQA and
  SSG-VQA number the same operations (Nwoye and Padoy, arXiv 2204.05235); 92, 96, 103, 110, 111 are not in Cholec80.
- M2CAI16-tool 1 to 10 are Cholec80 67 to 76, and 11 to 15 are 61, 62, 64, 65 and 66. M2CAI16-workflow contains Cholec80
  73 and 77 to 80, under numbers that are not published.
- Endoscapes 1, 2, 3, 4 and 7 are Cholec80 67, 68, 70, 71 and 72, and 121 is 66.
- PitVis and PitVQA are the same 25 operations; PSI-AVA, PSI-AVA-VQA and GraSP number the same cases; the three forms of
  EndoVis18-VQA the same sequences. The phantom is written in the layouts of Cholec80 and CholecT50, with equal numbers.

An id is unambiguous with its data set: `cholec80:video01`. Without it, `videoNN` may be Cholec80's.
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
    **{name: name for name in ("m2cai16_tool", "m2cai16_workflow", "phantom")},
}
_SAME_AS_CHOLEC = {
    "m2cai16_tool": dict(zip(range(1, 16), (*range(67, 77), 61, 62, 64, 65, 66), strict=True)),
    "endoscapes": {1: 67, 2: 68, 3: 70, 4: 71, 7: 72, 121: 66},
}
_IN_WORKFLOW = (73, 77, 78, 79, 80)
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
    data_set = re.sub(r"\W", "_", data_set.casefold())
    if not data_set:
        match = _VIDEO.fullmatch(name)
        return Operation("", frozenset(), frozenset({name, f"video {match[1]}"} if match else {name}))
    family, match = _FAMILIES.get(data_set, ""), _NUMBER.fullmatch(name)
    if not family or not match:
        return Operation(f"{data_set} {name}", frozenset(), frozenset({name}))
    if family == "m2cai16_workflow":
        # Training and test videos have numbers of their own.
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
    others = [operation(name, (other_data_sets or {}).get(name, "")) for name in other_ids]
    keys = {each.key for each in others if each.key}
    may_be = {key for each in others for key in each.may_be}
    unknown = {name for each in others if not each.key for name in each.names}
    names = {name for each in others for name in each.names}
    found = set()
    for test_id in test_ids:
        own = operation(test_id, (data_sets or {}).get(test_id, ""))
        if own.key:
            seen = own.key in keys or own.key in may_be or own.may_be & keys or own.names & unknown
        else:
            seen = own.names & names
        if seen:
            found.add(test_id)
    return sorted(found)
