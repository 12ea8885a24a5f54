"""Cholec80-CVS: the critical view of safety in the videos of Cholec80, as scored intervals (Rios et al., 2023).

Layout: `surgeons_annotations.csv` (in the folder or in `data/`), exported from the published workbook
`surgeons_annotations.xlsx`: video, initial_minute, initial_second, final_minute, final_second, and three scores 0 to 2,
two_structures, cystic_plate, hepatocystic_triangle; and `videos/video01.mp4` of Cholec80.

Task `cvs` has the criteria with a score above 0, as in the official code: C1 two structures, C2 hepatocystic triangle,
C3 cystic plate. `cvs_total` is the sum of the scores, 1 to 6; the critical view is reached from 5. Outside of the
intervals all scores are 0. `cvs_score` is the sum as SurgVISTA (arXiv 2506.02692) makes six classes of it: within
intervals alone, 0 to 5, and intervals with a sum of 6 are left out. Rows that end before they start are set aside. Many
intervals begin after the first clip, so the published protocols cut the video there; here, cut with Cholec80's phases.

Splits: `fold_1` to `fold_16` test on one published fold of five videos; `code_50_15_15` is the fixed split of the
official code (known from a third party's copy; 50 is what remains of 80 without them); `surgvista` is 1-40 and 41-80.
"""

from pathlib import Path

from surgvl.core.errors import DataError
from surgvl.core.plurals import plural
from surgvl.data.formats.layout import find_videos
from surgvl.data.formats.text_files import no_rows, parse_int, parse_seconds, read_csv
from surgvl.data.formats.workbook import exported_table
from surgvl.data.readers.base import Contents, VideoDataset
from surgvl.data.spans import Span, Track
from surgvl.data.splits import id_range

CRITERIA = {"C1": "two_structures", "C2": "hepatocystic_triangle", "C3": "cystic_plate"}
SCORES = tuple("012345")
_TIMES = ("initial_minute", "initial_second", "final_minute", "final_second")
# The published folds, five videos each.
_FOLDS = (
    "03 34 63 07 30,04 05 06 42 76,09 10 79 45 75,12 14 74 15 52,16 19 59 64 25,22 24 13 23 58,"
    "28 29 49 35 54,31 36 02 67 39,38 40 61 08 62,44 46 41 55 18,48 56 50 72 27,60 65 57 51 20,"
    "66 68 32 37 21,70 71 53 11 43,73 77 26 01 17,78 80 47 69 33"
)
_VAL = (1, 2, 10, 16, 17, 28, 32, 46, 47, 57, 59, 63, 65, 67, 70)
_TEST = (5, 6, 7, 9, 14, 22, 24, 26, 29, 33, 35, 39, 53, 55, 61)


def folds() -> list[tuple[str, ...]]:
    """The 16 published folds."""
    return [tuple(f"video{number}" for number in fold.split()) for fold in _FOLDS.split(",")]


def _splits() -> dict[str, dict[str, tuple[str, ...]]]:
    every = id_range("video{:02d}", (1, 80))
    val, test = (tuple(f"video{number:02d}" for number in numbers) for numbers in (_VAL, _TEST))
    rest = tuple(name for name in every if name not in {*val, *test})
    return {
        "code_50_15_15": {"train": rest, "val": val, "test": test},
        **{
            f"fold_{at}": {"train": tuple(name for name in every if name not in fold), "test": fold}
            for at, fold in enumerate(folds(), 1)
        },
        "surgvista": {"train": every[:40], "test": every[40:]},
    }


def read_intervals(path: Path) -> tuple[dict[str, dict[str, Track]], list[str]]:
    """Read the exported workbook.

    Returns:
        Video -> `cvs`, `cvs_total` and `cvs_score`, and a line for each row that ends before it starts.

    Raises:
        DataError: a column is missing, a time is not a number, or a score is not 0, 1 or 2.
    """
    columns = read_csv(path, ("video", *_TIMES, *CRITERIA.values()), ignore_others=True)
    if not columns["video"]:
        raise no_rows(path)
    tracks: dict[str, dict[str, Track]] = {}
    reversed_rows: list[str] = []
    for at, line in enumerate(columns["line"]):
        video_id = f"video{parse_int(columns['video'][at], path, line, 'video', least=1):02d}"
        minute, second, last_minute, last_second = (
            parse_seconds(columns[name][at], path, line, name) for name in _TIMES
        )
        start_s, end_s = 60 * minute + second, 60 * last_minute + last_second
        scores = {
            criterion: parse_int(columns[name][at], path, line, name, least=0) for criterion, name in CRITERIA.items()
        }
        if max(scores.values()) > 2:
            raise DataError(f"{path}, line {line}: a score is {max(scores.values())}; allowed are 0, 1, 2: correct it")
        kinds = "cvs", "cvs_total", "cvs_score"
        own = tracks.setdefault(video_id, {kind: Track([], 0.0, whole=False) for kind in kinds})
        if end_s <= start_s:
            fact = f"{video_id} from {start_s:g} s to {end_s:g} s"
            reversed_rows.append(f"{path}, line {line}: {fact} ends before it starts: correct the row")
            continue
        met: list[Span] = [(start_s, end_s, criterion) for criterion, score in scores.items() if score]
        own["cvs"].spans += met
        if met:
            own["cvs_total"].spans.append((start_s, end_s, str(sum(scores.values()))))
        if (total := str(sum(scores.values()))) in SCORES:
            own["cvs_score"].spans.append((start_s, end_s, total))
        for track in own.values():
            track.end_s = max(track.end_s, end_s)
    return tracks, reversed_rows


class Cholec80CVS(VideoDataset):
    """Cholec80-CVS' intervals, and Cholec80's videos if they are at hand."""

    name = "cholec80_cvs"
    LICENCE = "CC BY-NC-SA 4.0 (videos of Cholec80); labels as stated on figshare"
    SOURCE = "Rios et al., Scientific Data 2023; github.com/ManuelRios18/CHOLEC80-CVS-PUBLIC"
    PROCEDURE = "laparoscopic cholecystectomy"
    SPECIALTY = "general surgery"
    CLASSES = {"cvs": tuple(CRITERIA), "cvs_score": SCORES}
    SPLITS = _splits()

    def read(self, contents: Contents) -> None:
        """Read intervals and videos."""
        videos = find_videos(self.root / "videos", r"video\d+", contents)
        tracks: dict[str, dict[str, Track]] = {}
        try:
            stem = "surgeons_annotations"
            table = exported_table(self.root, stem) or exported_table(self.root / "data", stem)
            if table is not None:
                tracks, reversed_rows = read_intervals(table)
                contents.unreadable += reversed_rows
            elif videos:
                contents.problems.append(f"no {stem}.csv: the videos have no labels")
        except DataError as error:
            contents.unreadable.append(str(error))
        if table_only := sorted(tracks.keys() - videos.keys()):
            fact = f"length of {plural(len(table_only), 'video')} without a file"
            contents.problems.append(f"{fact} taken from the end of the last interval")
        for video_id in sorted(videos.keys() | tracks.keys()):
            path = videos.get(video_id)
            info = self.open_video(contents, video_id, path)
            own = tracks.get(video_id, {})
            if info is not None:
                own, _ = self.as_shown(contents, video_id, path, own, first=(0, 1))
            self.add_video(contents, video_id, path, info, own, 25.0)
