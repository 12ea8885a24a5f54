"""Real clips in an archive: two recordings of the same minute find each other, and are named as sharing footage."""

import os
from pathlib import Path

import pytest

from surgvl.archive.archive import Archive
from tests.helpers.real_clips import cut

REAL = os.environ.get("SURGVL_REAL_DATA", "")


@pytest.mark.slow
@pytest.mark.skipif(not REAL, reason="SURGVL_REAL_DATA is not set: no real footage here")
def test_recordings_of_the_same_minute_are_named(tmp_path: Path) -> None:
    # Slowed down, which leaves less to decode; the last begins four seconds after the one before, eight here.
    cuts = {"VID05_1858": (3, 4), "VID43_299": (11, 2), "VID43_303": (7, 2)}
    names = tuple(cuts)
    for name, (seconds, slower) in cuts.items():
        cut(Path(REAL) / "clips" / f"{name}.mp4", tmp_path / f"{name}.mp4", seconds, slower)
    with Archive.create(tmp_path / "archive", "phantom", prompt_sets=["phantom_phase"]) as archive:
        report = archive.add([tmp_path / f"{name}.mp4" for name in names], coarse=True)
        assert report.added == names
        found = archive.duplicates()
        assert [(each.recording, each.other) for each in found] == [("VID43_299", "VID43_303")]
        assert found[0].offset_s == pytest.approx(-8, abs=1)
        vectors, start_s, end_s = archive.vectors_of("VID43_299")
        for at in (10, 12, 14):
            own = (("VID43_299", 0.0, float(end_s[-1])),)
            best = archive.index().search(vectors[at], 1, exclude=own)[0]
            assert best.video_id == "VID43_303"
            assert best.start_s <= start_s[at] - 8 <= best.end_s
