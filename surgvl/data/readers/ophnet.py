"""OphNet2024: 743 operations on the eye with the spans of 52 phases (Hu et al., arXiv 2406.07471).

Layout: `annotation/OphNet2024_loca_challenge_phase.csv` (or in the folder itself): video_id, start and end in seconds,
split, surgery_id and phase_id; and the whole videos, `videos/case_0002.mp4` or `OphNet2024_all/case_0002.mp4`. Spans
overlap and leave gaps, so a moment may have two phases or none. Clips cut from the videos are not read, nor are the
tables of operations, whose names are not in the files; SurgMotion gives the 52 ids the names of another list of 96.
"""

from pathlib import Path

from surgvl.core.errors import DataError
from surgvl.data.formats.layout import find_files, find_videos
from surgvl.data.formats.ophnet import PHASES, TEST, TRAIN, VAL
from surgvl.data.formats.text_files import mark_note, parse_int, parse_seconds, read_csv
from surgvl.data.readers.base import Contents, VideoDataset
from surgvl.data.spans import Span, Track, overlap_notes

_COLUMNS = ("video_id", "start", "end", "split", "phase_id")


def read_spans(path: Path, split_of: dict[str, str]) -> dict[str, list[Span]]:
    """Spans of phases by video, in order of time.

    Args:
        path: the table.
        split_of: the published split of each video; empty where another split is wanted.

    Raises:
        DataError: other columns, an invalid time or phase, or a video in a different split than published.
    """
    columns = read_csv(path, _COLUMNS, ignore_others=True)
    found: dict[str, list[Span]] = {}
    for video_id, start, end, split, phase, line in zip(*(columns[name] for name in (*_COLUMNS, "line")), strict=True):
        start_s, end_s = parse_seconds(start, path, line, "start"), parse_seconds(end, path, line, "end")
        if end_s <= start_s:
            raise DataError(
                f"{path}, line {line}: the end {end_s:g} s is not after the start {start_s:g} s: correct it"
            )
        number = parse_int(phase, path, line, "phase_id")
        if not 0 <= number < len(PHASES):
            last = len(PHASES) - 1
            raise DataError(
                f"{path}, line {line}: phase_id must be 0 to {last}, got {number}: take the table of the challenge"
            )
        if split_of.get(video_id, split) != split:
            raise DataError(f"{path}, line {line}: {video_id} is in {split}, but {split_of[video_id]} is published")
        found.setdefault(video_id, []).append((start_s, end_s, PHASES[number]))
    return {video_id: sorted(spans) for video_id, spans in found.items()}


class OphNet(VideoDataset):
    """OphNet2024's phases, as merged for the challenge."""

    name = "ophnet"
    LICENCE = "MIT (repository with the labels); videos: not stated"
    LICENCE_FROM = "LICENSE of github.com/minghu0830/OphNet-benchmark"
    SOURCE = "arXiv 2406.07471; github.com/minghu0830/OphNet-benchmark"
    PROCEDURE = "ophthalmic surgery"
    SPECIALTY = "ophthalmology"
    CLASSES = {"phase": PHASES}
    # 445, 144 and 154.
    SPLITS = {
        "challenge": {
            split: tuple(f"case_{int(number):04d}" for number in numbers.split())
            for split, numbers in (("train", TRAIN), ("val", VAL), ("test", TEST))
        }
    }

    def read(self, contents: Contents) -> None:
        """Read the table, and find the videos."""
        videos: dict[str, Path] = {}
        for place in ("OphNet2024_all", "videos"):
            videos |= find_videos(self.root / place, r"case_\d+", contents)
        tables: dict[str, Path] = {}
        for folder in (self.root / "annotation", self.root):
            tables = find_files(folder, r"OphNet2024_(loca_challenge_phase)\.csv", contents) | tables
            # The other tables are known, and not strange.
            find_files(folder, r"(OphNet2024_.+)\.csv", contents)
        spans: dict[str, list[Span]] = {}
        for table in tables.values():
            contents.problems += [f"{table.name} {note}" for note in mark_note(table)]
            try:
                spans = read_spans(table, self.split_of if self.protocol == "challenge" else {})
            except DataError as error:
                contents.unreadable.append(str(error))
        if not tables:
            contents.problems.append("no OphNet2024_loca_challenge_phase.csv: copy it from the authors' repository")
        for video_id in sorted(videos.keys() | spans.keys()):
            path = videos.get(video_id)
            info = self.open_video(contents, video_id, path)
            own = spans.get(video_id, [])
            tracks = {"phase": Track(own, max((span[1] for span in own), default=0.0), overlap_notes(own), whole=False)}
            if not own:
                contents.problems.append(f"{video_id}: no phase labels: no row of the table names it")
            self.add_video(contents, video_id, path, info, tracks)
