"""Conditions of a search against the clips that meet them, listed by hand."""

import numpy as np
import pytest

from surgvl.core.errors import ConfigError
from surgvl.retrieval.clip_index import ClipIndex
from surgvl.retrieval.where import EVERYWHERE, Segment, Where
from tests.helpers.made_vectors import DIM, clips


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ClipIndex:
    """Clips of one second at 0, 1, 2, ... of three recordings; each vector is unlike all others."""
    folder = tmp_path_factory.mktemp("where")
    vectors, manifest = clips(folder / "vectors", {"a": 40, "b": 31, "c": 20}, clip_s=1.0)
    made = ClipIndex.create(folder / "index", "dual", "hash-a", DIM)
    made.add_vectors(vectors, manifest)
    return made


def seconds(library: ClipIndex, where: Where) -> dict[str, list[int]]:
    """Recording -> the seconds at which moments begin or that they contain, of all that is found."""
    found: dict[str, set[int]] = {}
    for moment in library.search(np.ones(DIM), 200, where):
        found.setdefault(moment.video_id, set()).update(range(int(moment.start_s), int(np.ceil(moment.end_s))))
    return {name: sorted(times) for name, times in sorted(found.items())}


@pytest.mark.parametrize(
    ("where", "videos", "first", "end"),
    [
        (Where(recordings=("a", "c")), "ac", 0, 40),
        (Where(procedure="odd"), "b", 0, 31),
        (Where(source="made", recordings=("b",)), "b", 0, 31),
        (Where(span_s=(25, 100)), "ab", 25, 40),
        (Where(spans=(("a", 5, 9), ("c", 5, 9))), "ac", 5, 9),
        (Where(spans=(("a", 5, 9), ("c", 5, 9)), recordings=("c", "nobody")), "c", 5, 9),
        (Where(spans=(("b", 0, 30),), span_s=(10, 12)), "b", 10, 12),
    ],
)
def test_only_clips_that_meet_all_conditions(
    library: ClipIndex, where: Where, videos: str, first: int, end: int
) -> None:
    found = seconds(library, where)
    assert "".join(found) == videos
    for times in found.values():
        assert first <= min(times) <= max(times) < end


def test_a_clip_lies_where_its_middle_lies(library: ClipIndex) -> None:
    # The clip of second 7 has its middle at 7.5.
    assert seconds(library, Where(spans=(("a", 7.5, 8.4),))) == {"a": [7]}
    with pytest.raises(ConfigError, match=r"nothing in .* matches 1 spans"):
        library.search(np.ones(DIM), 1, Where(spans=(("a", 7.6, 8.4),)))


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (Where(recordings=()), "matches no recording"),
        (Where(recordings=("z",), procedure="odd"), r"video 'z' and procedure 'odd': video_id is one of a, b, c"),
        (Where(spans=()), "matches 0 spans"),
        (Where(span_s=(90, 99)), "matches the time 90 to 99 s"),
        (Where(phase="clipping"), "has no phase: search an archive"),
        (Where(tags=("bleeding",)), "has no tags: search an archive"),
    ],
)
def test_conditions_that_no_clip_meets_are_told(library: ClipIndex, where: Where, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        library.search(np.ones(DIM), 1, where)


@pytest.mark.parametrize("span", [(3.0, 3.0), (5.0, 2.0), (-1.0, 2.0), (0.0, float("nan"))])
def test_empty_spans_are_refused(span: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match="a span must begin at 0 s or later"):
        Where(span_s=span)
    with pytest.raises(ConfigError, match="a span must begin at 0 s or later"):
        Where(spans=(("a", *span),))


@pytest.mark.parametrize("date", ["13.3.2024", "2024-13", "2024-02-30", "today"])
def test_what_is_no_date_is_refused(date: str) -> None:
    with pytest.raises(ConfigError, match=f"date_to must be YYYY-MM-DD, YYYY-MM or YYYY, got '{date}'"):
        Where(date_from="2024", date_to=date)


def test_an_archive_replaces_its_conditions() -> None:
    asked = Where(recordings=("a", "b"), phase="clipping", surgeon="S1", spans=(("a", 0, 10),), source="made")
    assert asked.of_archive == {"phase": "clipping", "surgeon": "S1"}
    spans: tuple[Segment, ...] = (("a", 5, 20), ("a", 10, 12), ("c", 0, 9))
    assert asked.resolved(["b", "c"], spans) == Where(recordings=("b",), spans=(("a", 5, 10),), source="made")
    assert Where(phase="clipping").resolved(spans=spans) == Where(spans=spans)
    assert EVERYWHERE.resolved() == EVERYWHERE
    assert EVERYWHERE.resolved(recordings=[]) != EVERYWHERE


def test_a_better_clip_outside_of_a_condition_hides_none_inside(library: ClipIndex) -> None:
    query = library.vector_of(("a", 12.0, 13.0))
    found = library.search(query, 5, Where(spans=(("a", 13.0, 15.0), ("a", 20.0, 21.0))))
    spans = sorted((each.start_s, each.end_s) for each in found)
    assert (20.0, 21.0) in spans
    assert {second for start_s, end_s in spans[:-1] for second in range(int(start_s), int(end_s))} <= {13, 14}
    assert len(spans) > 1
