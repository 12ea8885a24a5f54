"""SurgRec's published clip lists, for whoever must compare with its tables: one label for each cut clip (SurgRec 2026).

Layout, one data set of the published `splits/`: `train.csv`, `val.csv`, `test.csv` without a header, lines `path label`
with one blank (other blanks belong to the path), paths beginning with `__DATA_ROOT__/`, and where it is published
`label_map.json` or `label_mapping.json`. The clips are below the same folder, at those paths; the length of a clip that
is not there is set to one second.

The label of a clip is also the answer to a question about it, as SurgRec asks vision-language models (its `vlm_eval`).

These lists have defects, which `surgvl data check` names. Of several sets the validation list is the test list. The
labels of Cholec80 are the position of the clip in its video, not its phase: with Cholec80's phases in `phases/`
(`video01.csv`, see `surgvl.data.formats.second_csv`) the check counts the labels that differ from the phase of the
k-th segment. A header word became a class of M2CAI16. Never take such labels as truth.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from surgvl.core.errors import DataError
from surgvl.core.label_map import read_label_map
from surgvl.core.ontology import CHOLEC80_PHASES
from surgvl.core.plurals import plural, shorten
from surgvl.data.formats.layout import find_files
from surgvl.data.formats.second_csv import read_second_csv
from surgvl.data.formats.sparse_labels import NOMINAL_S, whole_tracks
from surgvl.data.formats.text_files import parse_int, read_text
from surgvl.data.readers.base import Contents, VideoDataset
from surgvl.data.tables import QA, schema_of

ROOT_MARK = "__DATA_ROOT__/"
QUESTION = "Which class does the clip show?"
_POSITION = re.compile(r"(?:.*/)?cholec80_(\d+)_(\d+)\.\w+")


def read_clip_list(path: Path) -> dict[str, int]:
    """Clip (its path without the mark) -> label id.

    Raises:
        DataError: a line without a path or a label, or a clip twice.
    """
    clips: dict[str, int] = {}
    for line, text in enumerate(read_text(path).splitlines(), 1):
        if not text.strip():
            continue
        clip, _, label = text.strip().rpartition(" ")
        clip = clip.strip().removeprefix(ROOT_MARK)
        if not clip or clip in clips or clip.startswith("/") or ".." in clip.split("/"):
            fact = "occurs twice" if clip in clips else "is not a path below the folder and a label"
            raise DataError(f"{path}, line {line}: {text.strip()!r} {fact}: correct the line")
        clips[clip] = parse_int(label, path, line, "label", least=0)
    return clips


def position_labels(clips: Mapping[str, int], phases: Mapping[int, list[str]]) -> tuple[int, int]:
    """How many labels of Cholec80's clips differ from the phase of the clip's segment.

    Args:
        clips: `.../cholec80_41_2.mp4` -> label id; other names are not counted.
        phases: video number -> phases of its segments, in order of time.

    Returns:
        The number of labels that differ, and of clips counted: those of which the video has that many segments.
    """
    num_differing = num_clips = 0
    for clip, label in clips.items():
        match = _POSITION.fullmatch(clip)
        segments = phases.get(int(match[1]), []) if match else []
        if match and 1 <= int(match[2]) <= len(segments):
            num_clips += 1
            num_differing += CHOLEC80_PHASES.index(segments[int(match[2]) - 1]) != label
    return num_differing, num_clips


class SurgRecClips(VideoDataset):
    """One data set's lists of SurgRec; a video is a clip."""

    name = "surgrec_clips"
    LICENCE = "CC BY-NC 4.0, CC BY-NC-SA 4.0 or no redistribution, by data set (lists); that of the data set (clips)"
    LICENCE_FROM = "DATASETS.md of github.com/Siiichenggg/SurgRec-open-source"
    SOURCE = "github.com/Siiichenggg/SurgRec-open-source"

    def read(self, contents: Contents) -> None:
        """Read the lists; a clip of two lists is kept in the test."""
        lists: dict[str, dict[str, int]] = {}
        # The test first: where validation or training repeats it, the clip is a test clip.
        for split in ("test", "val", "train"):
            path = self.root / f"{split}.csv"
            try:
                if path.is_file():
                    lists[split] = read_clip_list(path)
            except DataError as error:
                contents.unreadable.append(str(error))
        names: dict[int, str] = {}
        for path in sorted(self.root.glob("label_map*.json")):
            try:
                names = read_label_map(path)
            except DataError as error:
                contents.unreadable.append(str(error))
        labels: dict[str, int] = {}
        for split, clips in lists.items():
            for other in lists:
                if other == split:
                    break
                if repeated := sorted(clips.keys() & lists[other].keys()):
                    fact = f"{len(repeated)} of {plural(len(clips), 'clip')} of {split}.csv are also in {other}.csv"
                    contents.problems.append(f"{fact}: {shorten(repeated, 2)}; they are left in {other} only")
            for clip, label in clips.items():
                if clip not in labels:
                    labels[clip] = label
                    self.split_of.setdefault(clip, split)
        self._check_labels(contents, labels, names)
        rows: list[dict[str, Any]] = []
        bare = 0
        for clip, label in labels.items():
            medium = self.root / clip
            # Not Path.exists, which raises for names that no file system accepts.
            there = os.path.exists(medium)
            info = self.open_video(contents, clip, medium if there else None)
            bare += not there
            known = names.get(label) or str(label)
            tracks = whole_tracks({"clip": known}, info)
            self.add_video(contents, clip, medium if info else None, info, tracks)
            asked = {"start_s": 0.0, "end_s": tracks["clip"].end_s, "question": QUESTION, "answer": known}
            rows.append({**dict.fromkeys(QA.model_fields, ""), "video_id": clip, "type": "clip", **asked})
        contents.qa.append(pa.Table.from_pylist(rows, schema=schema_of(QA)))
        if bare:
            contents.problems.append(f"length of {plural(bare, 'clip')} without a file set to {NOMINAL_S:g} s")

    def _check_labels(self, contents: Contents, labels: Mapping[str, int], names: Mapping[int, str]) -> None:
        """Name the defects of the labels."""
        if header := sorted(clip for clip, label in labels.items() if names.get(label) == "Phase"):
            fact = f"{plural(len(header), 'clip')} of a class Phase, which is the header word of the label files"
            contents.problems.append(f"{fact}: {shorten(header, 2)}; leave them out")
        numbered = [(int(match[2]), labels[clip]) for clip in labels if (match := _POSITION.fullmatch(clip))]
        if numbered and all(position - 1 == label for position, label in numbered):
            fact = f"the labels of all {len(numbered)} clips are the position of the clip in its video, not its phase"
            contents.problems.append(f"{fact}: use the reader of cholec80 for phases")
        phases: dict[int, list[str]] = {}
        for video_id, path in find_files(self.root / "phases", r"(video\d+)\.csv", contents).items():
            try:
                spans = read_second_csv(path, video_id, CHOLEC80_PHASES, first=0).spans
                phases[int(video_id.removeprefix("video"))] = [label for _, _, label in spans]
            except DataError as error:
                contents.unreadable.append(str(error))
        if phases:
            differing, counted = position_labels(labels, phases)
            contents.problems.append(
                f"{differing} of {counted} clip labels differ from the phase of the clip's segment in phases/"
            )
