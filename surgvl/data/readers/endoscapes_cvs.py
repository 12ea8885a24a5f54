"""Endoscapes-CVS: the critical view of safety in 201 cholecystectomies, rated by three raters (arXiv 2312.12429).

Layout: `all_metadata.csv` with columns vid, frame (at 25 fps), C1, C2, C3 (means of three raters) and cvs_annotator_1
to cvs_annotator_3 (`[0.0, 1.0, 0.0]`); `train_vids.txt`, `val_vids.txt`, `test_vids.txt` with ids in scientific
notation. Pictures lie together in `train/`, `val/`, `test/` as `VIDEO_FRAME.jpg`; to read pixels, sort those of each
video into a folder `frames/VIDEO/`, or put the videos into `videos/`.

Frames are rated every 5 s, and a rating counts until the next one. Rows between them are interpolated, have no raters,
and are not read. Task `cvs` has the criteria that most raters saw met: C1 two structures, C2 hepatocystic triangle, C3
cystic plate; `cvs_rater_1`, ... those of each rater; `cvs_rated` is `rated` wherever there is a rating, also one of no
criterion. The criteria differ in detail from the SAGES text. Boxes and masks are not read.

`cvs_score` is how many criteria most raters saw met, 0 to 3. SurgVISTA (arXiv 2506.02692) trains on one of four classes
a frame, which its code reads from files that it does not make: that the class is this number is inferred, not verified.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from surgvl.core.errors import DataError
from surgvl.core.ontology import RATED, rated_kind
from surgvl.core.plurals import plural, shorten
from surgvl.data.formats.layout import find_videos
from surgvl.data.formats.sparse_labels import moment_track
from surgvl.data.formats.text_files import no_rows, parse_int, read_csv, read_fields, short_repr
from surgvl.data.readers.base import Contents, VideoDataset
from surgvl.data.spans import Track
from surgvl.data.splits import id_range

CRITERIA = ("C1", "C2", "C3")
SCORES = ("0", "1", "2", "3")
NUM_RATERS = 3
LABEL_FPS = 25.0
RATING_S = 5.0
_RATERS = tuple(f"cvs_annotator_{number}" for number in range(1, NUM_RATERS + 1))

Votes = list[frozenset[str]]
"""The criteria that each rater saw met."""


def read_ratings(path: Path) -> tuple[dict[str, dict[float, Votes]], list[str]]:
    """Read `all_metadata.csv`.

    Returns:
        Video -> second -> votes, and notes for the user.

    Raises:
        DataError: a column is missing, or a value is not a number or, for a rater, not three times 0 or 1.
    """
    columns = read_csv(path, ("vid", "frame", *CRITERIA, *_RATERS), ignore_others=True)
    if not columns["vid"]:
        raise no_rows(path)
    rated: dict[str, dict[float, Votes]] = {}
    interpolated, different = 0, []
    for at, line in enumerate(columns["line"]):
        cells = [columns[name][at] for name in _RATERS]
        if all(cell.lower() in ("", "nan") for cell in cells):
            interpolated += 1
            continue
        votes = [_vote(cell, path, line, name) for cell, name in zip(cells, _RATERS, strict=True)]
        vid, frame = (parse_int(columns[name][at], path, line, name, least=0) for name in ("vid", "frame"))
        for criterion in CRITERIA:
            share = sum(criterion in vote for vote in votes) / NUM_RATERS
            try:
                mean = float(columns[criterion][at])
            except ValueError:
                fact = f"{criterion} is {short_repr(columns[criterion][at])}; it must be a number"
                raise DataError(f"{path}, line {line}: {fact}: correct the row") from None
            if abs(mean - share) > 0.01:
                different.append(f"{vid}_{frame}")
        rated.setdefault(str(vid), {})[frame / LABEL_FPS] = votes
    notes = []
    if interpolated:
        notes.append(f"{plural(interpolated, 'row')} without raters (interpolated) left out")
    if different:
        fact = f"{plural(len(different), 'mean')} in {path.name} that the raters' values do not give"
        notes.append(f"{fact}: {shorten(different)}; the raters' values are used")
    return rated, notes


def _vote(cell: str, path: Path, line: str, name: str) -> frozenset[str]:
    values = re.findall(r"\d+(?:\.\d*)?", cell)
    if len(values) != len(CRITERIA) or not {float(value) for value in values} <= {0.0, 1.0}:
        raise DataError(f"{path}, line {line}: {name} is {short_repr(cell)}; it must be three times 0 or 1: correct it")
    return frozenset(name for name, value in zip(CRITERIA, values, strict=True) if float(value))


def read_ids(path: Path) -> set[str]:
    """Video ids of a list, which are written as floats in scientific notation.

    Raises:
        DataError: a line is not a whole number.
    """
    return {str(parse_int(fields[0], path, line, "video id", least=0)) for line, fields in read_fields(path)}


def rating_tracks(rated: Mapping[float, Votes]) -> dict[str, Track]:
    """The tasks of one video; see the top of this file."""
    majority = {
        second: {name for name in CRITERIA if 2 * sum(name in vote for vote in votes) > len(votes)}
        for second, votes in rated.items()
    }
    tracks = {
        "cvs": moment_track(majority, RATING_S, CRITERIA),
        "cvs_score": moment_track({at: (str(len(met)),) for at, met in majority.items()}, RATING_S, SCORES),
        rated_kind("cvs"): moment_track(dict.fromkeys(rated, (RATED,)), RATING_S, (RATED,)),
    }
    for at in range(NUM_RATERS):
        own = {second: votes[at] for second, votes in rated.items()}
        tracks[f"cvs_rater_{at + 1}"] = moment_track(own, RATING_S, CRITERIA)
    return tracks


class EndoscapesCVS(VideoDataset):
    """Endoscapes' ratings of the critical view of safety."""

    name = "endoscapes_cvs"
    LICENCE = "CC BY-NC-SA 4.0"
    LICENCE_FROM = "README of github.com/CAMMA-public/Endoscapes; PhysioNet's copy has restricted access"
    SOURCE = "arXiv 2312.12429; github.com/CAMMA-public/Endoscapes"
    PROCEDURE = "laparoscopic cholecystectomy"
    SPECIALTY = "general surgery"
    CLASSES = {
        "cvs": CRITERIA,
        "cvs_score": SCORES,
        **{f"cvs_rater_{number}": CRITERIA for number in range(1, NUM_RATERS + 1)},
    }
    SPLITS = {
        "standard": {
            "train": id_range("{}", (1, 120)),
            "val": id_range("{}", (121, 161)),
            "test": id_range("{}", (162, 201)),
        }
    }

    def read(self, contents: Contents) -> None:
        """Read the ratings, and check the lists of ids against the split."""
        for split in ("train", "val", "test"):
            ids = self.root / f"{split}_vids.txt"
            try:
                if not ids.is_file():
                    continue
                listed, known = read_ids(ids), {name for name, each in self.split_of.items() if each == split}
                if strange := listed ^ known:
                    names = shorten(sorted(strange))
                    fact = f"{ids.name} and the {split} split of protocol {self.protocol} differ in {names}"
                    contents.problems.append(f"{fact}: put a splits.json beside it to follow the file")
            except DataError as error:
                contents.unreadable.append(str(error))
        rated: dict[str, dict[float, Votes]] = {}
        try:
            if (table := self.root / "all_metadata.csv").is_file():
                rated, notes = read_ratings(table)
                contents.problems += notes
            else:
                contents.problems.append(f"no {table.name} in {self.root}, so no ratings: copy it from the data set")
        except DataError as error:
            contents.unreadable.append(str(error))
        videos = find_videos(self.root / "frames", r"\d+", contents) | find_videos(
            self.root / "videos", r"\d+", contents
        )
        for video_id in sorted(rated.keys() | videos.keys(), key=int):
            path = videos.get(video_id)
            info = self.open_video(contents, video_id, path)
            tracks = rating_tracks(rated[video_id]) if video_id in rated else {}
            if rated and not tracks:
                contents.problems.append(f"{video_id}: no rated frame: all_metadata.csv has no row of it with raters")
            if info is not None:
                tracks, _ = self.as_shown(contents, video_id, path, tracks)
            self.add_video(contents, video_id, path, info, tracks, LABEL_FPS)
