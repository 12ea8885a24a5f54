"""AIxSuture: 314 videos of one suturing exercise in open surgery, rated by several raters (Hoffmann et al., 2024).

Layout: `OSATS.csv`, exported from the published workbook `OSATS.xlsx`, with a row for each video and rater: VIDEO,
INVESTIGATOR (optional), the total GLOBA_RATING_SCORE (sic; GLOBAL_RATING_SCORE is accepted), 8 to 40, and its eight
parts OSATS_RESPECT, ..., OSATS_FINAL_QUALITY, each 1 to 5; `videos/A31H.mp4` (or beside the table); and `splits.json`,
{"train": ["A31H", ...], "val": [...], "test": [...]}, with the ids of column VIDEO.

`skill_total` and `skill_PART` are means over the raters of a video, `skill_total_rater_1`, ... the totals of each,
`skill_class` the class of the mean: novice below 16, intermediate below 24, proficient from there on. There is no
official split, and that of SurgRec (220/48/46), `splits/AlxSuture/` of its repository, may not be redistributed under
the data's licence: without a `splits.json` no video has a split.
"""

from pathlib import Path
from statistics import fmean

from surgvl.core.errors import DataError
from surgvl.core.plurals import shorten
from surgvl.data.formats.layout import find_videos
from surgvl.data.formats.qa_tree import first_folder
from surgvl.data.formats.sparse_labels import NOMINAL_S, number_text, whole_tracks
from surgvl.data.formats.text_files import no_rows, parse_int, read_csv
from surgvl.data.formats.workbook import exported_table
from surgvl.data.licences import SURGREC_SAYS
from surgvl.data.readers.base import Contents, VideoDataset
from surgvl.data.splits import unsplit_note

PARTS = ("RESPECT", "MOTION", "INSTRUMENT", "SUTURE", "FLOW", "KNOWLEDGE", "PERFORMANCE", "FINAL_QUALITY")
CLASS_NAMES = ("novice", "intermediate", "proficient")
_TOTALS = ("GLOBA_RATING_SCORE", "GLOBAL_RATING_SCORE")
_BOUNDS = (16, 24)


def read_ratings(path: Path) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Read the exported workbook.

    Returns:
        Video -> task -> label, and notes for the user.

    Raises:
        DataError: a column is missing, or a score is not a whole number in its range.
    """
    columns = read_csv(path, ("VIDEO",), (*_TOTALS, *(f"OSATS_{part}" for part in PARTS)), ignore_others=True)
    total = next((name for name in _TOTALS if name in columns), "")
    absent = [f"OSATS_{part}" for part in PARTS if f"OSATS_{part}" not in columns]
    if not total or absent:
        raise DataError(f"{path} has no column {(absent or _TOTALS)[0]}: export the whole sheet")
    if not columns["VIDEO"]:
        raise no_rows(path)
    ratings: dict[str, list[list[int]]] = {}
    notes: list[str] = []
    for at, line in enumerate(columns["line"]):
        if not columns["VIDEO"][at]:
            raise DataError(f"{path}, line {line}: VIDEO is empty: fill it or drop the row")
        row = [parse_int(columns[f"OSATS_{part}"][at], path, line, f"OSATS_{part}", least=1) for part in PARTS]
        score = parse_int(columns[total][at], path, line, total, least=len(PARTS))
        if max(row) > 5:
            raise DataError(f"{path}, line {line}: a score is {max(row)}; it must be 1 to 5: correct the row")
        if score != sum(row):
            fact = f"the scores of {columns['VIDEO'][at]} add up to {sum(row)}, not to {score}"
            notes.append(f"{path.name}, line {line}: {fact}; all are kept")
        ratings.setdefault(columns["VIDEO"][at], []).append([score, *row])
    labels: dict[str, dict[str, str]] = {}
    for video_id, rows in ratings.items():
        means = [fmean(column) for column in zip(*rows, strict=True)]
        names = ("skill_total", *(f"skill_{part.lower()}" for part in PARTS))
        labels[video_id] = {name: number_text(mean) for name, mean in zip(names, means, strict=True)}
        labels[video_id]["skill_class"] = CLASS_NAMES[sum(means[0] >= bound for bound in _BOUNDS)]
        labels[video_id] |= {f"skill_total_rater_{at}": str(row[0]) for at, row in enumerate(rows, 1)}
    return labels, notes


class AIxSuture(VideoDataset):
    """AIxSuture's ratings, and its videos if they are at hand."""

    name = "aixsuture"
    LICENCE = "CC BY-NC-ND 4.0"
    LICENCE_FROM = SURGREC_SAYS
    SOURCE = "Hoffmann et al., IJCARS 2024; DOI 10.5281/zenodo.7940583"
    PROCEDURE = "open suturing exercise"
    SPECIALTY = "training"
    CLASSES = {"skill_class": CLASS_NAMES}

    def read(self, contents: Contents) -> None:
        """Read ratings and videos."""
        folder = first_folder(self.root / "videos", self.root) or self.root
        videos = find_videos(folder, r"[A-Za-z]\d\d[A-Za-z]", contents)
        labels: dict[str, dict[str, str]] = {}
        try:
            if table := exported_table(self.root, "OSATS"):
                labels, notes = read_ratings(table)
                contents.problems += notes
            elif videos:
                contents.problems.append(
                    f"no OSATS.csv in {self.root}, so no skill labels: export the sheet of OSATS.xlsx to it"
                )
        except DataError as error:
            contents.unreadable.append(str(error))
        if counts := {sum(task.startswith("skill_total_rater") for task in each) for each in labels.values()} - {3}:
            contents.problems.append(f"not every video has three raters: some have {shorten(sorted(map(str, counts)))}")
        if bare := labels.keys() - videos.keys():
            contents.problems.append(f"{len(bare)} videos without a file: their length is set to {NOMINAL_S:g} s")
        ids = sorted(videos.keys() | labels.keys())
        if ids and not self.split_of:
            contents.problems.append(unsplit_note(self.root, ids))
        for video_id in ids:
            path = videos.get(video_id)
            info = self.open_video(contents, video_id, path)
            self.add_video(contents, video_id, path, info, whole_tracks(labels.get(video_id, {}), info))
