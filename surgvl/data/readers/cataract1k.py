"""Cataract-1K, its phases: the spans of twelve phases in 56 cataract operations (Ghamsarian et al., arXiv 2312.06295).

Layout: `videos/case_4687.mp4` and `annotations/case_4687/case_4687_annotations_phases.csv`, or the tables side by side:
columns comment (the phase), frame, endFrame, sec and endSec. Seconds count; the frame rate beside them (in
`case_4687_video.csv`) is wrong for some videos. What no row covers is idle and has no label here. There is no official
split: `surgrec` is that of SurgRec's lists of clips.
"""

from pathlib import Path

from surgvl.core.errors import DataError
from surgvl.core.plurals import plural
from surgvl.data.formats.frame_rows import by_name, label_key
from surgvl.data.formats.label_files import LabelFiles
from surgvl.data.formats.layout import find_files, find_videos
from surgvl.data.formats.text_files import mark_note, no_rows, parse_seconds, read_csv, short_repr
from surgvl.data.readers.base import Contents
from surgvl.data.spans import Span, Track, overlap_notes
from surgvl.video import VideoInfo

# Spelt as in the files.
PHASES = (
    "Incision",
    "Viscoelastic",
    "Capsulorhexis",
    "Hydrodissection",
    "Phacoemulsification",
    "Irrigation/Aspiration",
    "Capsule Pulishing",
    "Lens Implantation",
    "Lens positioning",
    "Viscoelastic_Suction",
    "Anterior_Chamber Flushing",
    "Tonifying/Antibiotics",
)
_TRAIN = (
    "4687 4693 4695 4697 4709 4750 4816 4852 4859 4864 4874 4899 4906 4923 4924 4927 4999 5006 5015 5016 5017 5032 "
    "5051 5057 5058 5063 5104 5301 5305 5309 5311 5317 5319 5329 5331 5334 5340 5353 5357"
)
_VAL = "4811 4863 4888 4939 5004 5013 5014 5304 5314 5316 5335"
_TEST = "5011 5072 5261 5300 5303 5315"


def _ids(numbers: str) -> tuple[str, ...]:
    return tuple(f"case_{number}" for number in numbers.split())


def read_spans(path: Path) -> Track:
    """Read a table of phases.

    Raises:
        DataError: other columns, an unknown phase, an invalid time, or an end before its start.
    """
    columns = read_csv(path, ("comment", "sec", "endSec"), ignore_others=True)
    classes = by_name(PHASES, {"Capsule Polishing": "Capsule Pulishing"})
    spans: list[Span] = []
    num_empty = 0
    for name, start, end, line in zip(*(columns[key] for key in ("comment", "sec", "endSec", "line")), strict=True):
        start_s, end_s = parse_seconds(start, path, line, "sec"), parse_seconds(end, path, line, "endSec")
        if label_key(name) not in classes:
            raise DataError(f"{path}, line {line}: unknown phase {short_repr(name)}; allowed are {', '.join(PHASES)}")
        if end_s < start_s:
            raise DataError(f"{path}, line {line}: the end {end_s:g} s is before the start {start_s:g} s: correct it")
        num_empty += end_s == start_s
        if end_s > start_s:
            spans.append((start_s, end_s, classes[label_key(name)]))
    if not spans:
        raise no_rows(path)
    notes = [f"{plural(num_empty, 'row')} without duration left out"] if num_empty else []
    end_s = max(span[1] for span in spans)
    return Track(sorted(spans), end_s, notes + mark_note(path) + overlap_notes(spans), whole=False)


class Cataract1K(LabelFiles):
    """The part of Cataract-1K with phases."""

    name = "cataract1k"
    LICENCE = "CC BY 4.0"
    LICENCE_FROM = "README of github.com/Negin-Ghamsarian/Cataract-1K"
    SOURCE = "arXiv 2312.06295; github.com/Negin-Ghamsarian/Cataract-1K"
    PROCEDURE = "cataract surgery"
    SPECIALTY = "ophthalmology"
    CLASSES = {"phase": PHASES}
    # 39, 11 and 6.
    SPLITS = {"surgrec": {"train": _ids(_TRAIN), "val": _ids(_VAL), "test": _ids(_TEST)}}
    FILE = "annotations/VIDEO/VIDEO_annotations_phases.csv"
    LABEL_FPS = 30.0

    def files(self, contents: Contents) -> tuple[dict[str, Path], dict[str, Path]]:
        """Videos, and tables of phases."""
        videos = find_videos(self.root / "videos", r"case_\d+", contents)
        pattern = r"(case_\d+)_annotations_phases\.csv"
        labels = find_files(self.root / "annotations", pattern, contents)
        for case, folder in find_files(self.root / "annotations", r"(case_\d+)", contents).items():
            if case not in labels and (path := folder / f"{case}_annotations_phases.csv").is_file():
                labels[case] = path
        find_files(self.root / "annotations", r"(case_\d+)_video\.csv", contents)
        return videos, labels

    def tracks(self, path: Path, info: VideoInfo | None) -> dict[str, Track]:
        """Phases."""
        return {"phase": read_spans(path)}
