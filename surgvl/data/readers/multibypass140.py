"""MultiBypass140: 140 gastric bypasses of two centres, 12 phases and 46 steps (Lavanchy et al., arXiv 2312.11250).

Layout: `labels/bern/labels_by70/BBP01.mp4.json` and `labels/strasbourg/labels_by70/SBP01.mp4.json` as in the authors'
repository, {phases, steps}: lists of {start, end, label_name, label_id} in milliseconds; videos in `videos/`,
`BernBypass70/videos/` or `StrasBypass70/videos/`, also below `datasets/MultiBypass140/`. Phases 12 (out_of_body) and 13
(severe_index) overlap phases: they are flags, task `flag`.

The authors' folds draw 40 / 10 / 20 videos of a centre; tests of neighbouring folds share videos, so they are no
cross-validation. Folds 1 to 4 of Bern are here; the others are published in pickles alone, which are not read: give
them as `splits.json`. SurgRec splits 90 videos; its clips take the two flags for phases.
"""

from pathlib import Path
from typing import Any

from surgvl.core.errors import DataError
from surgvl.core.files import read_json
from surgvl.data.formats.label_files import LabelFiles
from surgvl.data.formats.layout import find_files, find_videos
from surgvl.data.formats.multibypass140 import FLAGS, PHASES, STEPS, splits
from surgvl.data.formats.text_files import MAX_S, short_repr
from surgvl.data.readers.base import Contents
from surgvl.data.spans import Span, Track, overlap_notes
from surgvl.video import VideoInfo

_KEYS = {"start", "end", "label_name", "label_id"}


def read_labels(path: Path) -> dict[str, Track]:
    """Read a video's phases, flags and steps.

    Raises:
        DataError: a different form, an unknown id, or an id whose name is another.
    """
    record = read_json(path)
    if not isinstance(record, dict) or not all(isinstance(record.get(key), list) for key in ("phases", "steps")):
        raise DataError(f"{path} must hold {{phases: [...], steps: [...]}}: copy it again")
    phases = _spans(record["phases"], (*PHASES, *FLAGS), path)
    steps = _spans(record["steps"], STEPS, path)
    end_s = max((span[1] for span in (*phases, *steps)), default=0.0)
    flags = [span for span in phases if span[2] in FLAGS]
    phases = [span for span in phases if span[2] not in FLAGS]
    return {
        "phase": Track(phases, end_s, overlap_notes(phases)),
        "flag": Track(flags, end_s, whole=False),
        "step": Track(steps, end_s, overlap_notes(steps)),
    }


def _spans(rows: list[Any], names: tuple[str, ...], path: Path) -> list[Span]:
    spans: list[Span] = []
    for row in rows:
        if not isinstance(row, dict) or not row.keys() >= _KEYS:
            raise DataError(
                f"{path}: a segment must have {', '.join(sorted(_KEYS))}, got {short_repr(row)}: correct it"
            )
        start, end, name, number = row["start"], row["end"], row["label_name"], row["label_id"]
        if not all(type(value) in (int, float) for value in (start, end)) or not 0 <= start <= end <= MAX_S * 1000:
            raise DataError(f"{path}: start and end must be milliseconds from 0, got {short_repr(row)}: correct it")
        if type(number) is not int or not 0 <= number < len(names) or names[number] != name:
            raise DataError(f"{path}: label {short_repr(number)} is not called {short_repr(name)}: correct the file")
        spans.append((start / 1000, end / 1000, names[number]))
    return sorted(spans)


class MultiBypass140(LabelFiles):
    """MultiBypass140's segments."""

    name = "multibypass140"
    LICENCE = "CC BY-NC-SA 4.0"
    LICENCE_FROM = "README of github.com/CAMMA-public/MultiBypass140"
    SOURCE = "arXiv 2312.11250; github.com/CAMMA-public/MultiBypass140"
    PROCEDURE = "laparoscopic Roux-en-Y gastric bypass"
    SPECIALTY = "general surgery"
    FILE = "labels/bern/labels_by70/VIDEO.mp4.json (or strasbourg)"
    CLASSES = {"phase": PHASES, "step": STEPS, "flag": FLAGS}
    SPLITS = splits()
    FIRST = (1, 0)

    def files(self, contents: Contents) -> tuple[dict[str, Path], dict[str, Path]]:
        """Videos or pictures of both centres, and segments."""
        videos: dict[str, Path] = {}
        labels: dict[str, Path] = {}
        for folder in (self.root, self.root / "datasets" / "MultiBypass140", self.root / "datasets"):
            for centre in ("", "BernBypass70", "StrasBypass70"):
                videos |= find_videos(folder / centre / "videos", r"[BS]BP\d\d", contents)
        for centre in ("bern", "strasbourg"):
            folder = self.root / "labels" / centre
            labels |= find_files(folder / "labels_by70", r"([BS]BP\d\d)\.mp4\.json", contents)
            pictures = find_videos(folder / "labels_by70_splits" / "frames", r"[BS]BP\d\d", contents)
            videos = pictures | videos
        return videos, labels

    def tracks(self, path: Path, info: VideoInfo | None) -> dict[str, Track]:
        """Phases, steps and flags."""
        return read_labels(path)
