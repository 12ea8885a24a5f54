"""Narrated lectures: sentences with times, a CSV file for each video (the layout of PeskaVLP, arXiv 2410.00263).

Layouts: `video01.csv` with columns start, end, text and optionally step; or the same files named
`<kind>_texts_<video>.csv` or in folders `<kind>_texts/`, kind being aws_narration, whisper_narration, keystep or
abstract. Lists `splits*_train*.csv` (column video_path) assign videos to a split. Videos are in the same folder or in
`videos/`.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from surgvl.core.errors import DataError
from surgvl.core.plurals import part_of, plural, shorten
from surgvl.data.formats.layout import find_files
from surgvl.data.formats.text_files import MAX_S, parse_seconds, read_csv
from surgvl.data.readers.base import TOLERANCE_S, Contents, VideoDataset
from surgvl.data.spans import Span, Track
from surgvl.video import VIDEO_SUFFIXES

_LONGEST_SENTENCE_S = 500
_OTHER_TEXTS = (".srt", ".vtt", ".txt", ".tsv", ".json")
# Two speech recognisers for the same speech: their sentences are two transcripts of one narration.
TASKS = {
    "aws_narration": "narration",
    "whisper_narration": "narration",
    "narration": "narration",
    "keystep": "keystep",
    "abstract": "abstract",
}


def read_narration(path: Path, task: str = "narration", duration_s: float = 0.0) -> dict[str, Track]:
    """Read a CSV file of sentences.

    Args:
        path: columns start, end (seconds), text and optionally step. Integers are milliseconds, as whisper writes them,
            if the duration of the video implies it or, without a video, if the median sentence is over eight minutes.
        task: task of the sentences; a step column becomes task `step`.
        duration_s: duration of the video; 0 if unknown.

    Returns:
        Task -> track. Rows without duration or text are left out with a note, rows that end before they start are
        listed as unreadable.

    Raises:
        DataError: wrong columns, or an invalid time.
    """
    columns = read_csv(path, ("start", "end", "text"), ("step",))
    tracks = {task: Track([], 0.0, whole=False)}
    steps: list[Span] = []
    # Without its video, an abstract may span minutes.
    can_tell = duration_s or task == "narration"
    unit_s = _unit(columns["start"], columns["end"], duration_s) if can_tell else 1.0
    if unit_s != 1:
        tracks[task].notes.append(f"times in {path.name} are in milliseconds and read as such")
    for at, line in enumerate(columns["line"]):
        start, end = (
            parse_seconds(columns[name][at], path, line, name, MAX_S / unit_s) * unit_s for name in ("start", "end")
        )
        text = columns["text"][at]
        if end < start:
            fact = f"ends at {end:g} s, before it starts at {start:g} s"
            tracks[task].unreadable.append(f"{path}, line {line} {fact}: correct the row")
            continue
        if end <= start or not text:
            fact = f"ends at {end:g} s and starts at {start:g} s" if text else "has no text"
            tracks[task].notes.append(f"{path.name}, line {line} {fact}, left out")
            continue
        tracks[task].spans.append((start, end, text))
        tracks[task].end_s = max(tracks[task].end_s, end)
        if "step" in columns and columns["step"][at]:
            steps.append((start, end, columns["step"][at]))
    if steps:
        tracks["step"] = Track(steps, 0.0, whole=False)
    return tracks


def _unit(starts: Sequence[str], ends: Sequence[str], duration_s: float) -> float:
    """Seconds per unit of the times: 1, or 0.001 if they can only be milliseconds."""
    if not ends or not all(re.fullmatch(r"\d{1,12}", text, re.ASCII) for text in (*starts, *ends)):
        return 1.0
    end = max(map(int, ends))
    if duration_s:
        return 0.001 if end > 20 * duration_s and end / 1000 <= duration_s + TOLERANCE_S else 1.0
    lengths = [int(end) - int(start) for start, end in zip(starts, ends, strict=True)]
    return 0.001 if median(lengths) > _LONGEST_SENTENCE_S else 1.0


def read_split_list(path: Path) -> list[str]:
    """Video ids from a list with the single column video_path.

    Raises:
        DataError: other columns.
    """
    return [Path(name).stem for name in read_csv(path, ("video_path",))["video_path"]]


class Narration(VideoDataset):
    """Narrated videos from any source."""

    name = "narration"
    LICENCE = "that of the videos' publisher"
    LICENCE_FROM = "your own records"
    SOURCE = "your own lectures, or arXiv 2410.00263"

    def read(self, contents: Contents) -> None:
        """Read split lists, sentences and videos."""
        for path in sorted([*self.root.glob("splits*.csv"), *self.root.glob("splits/*.csv")]):
            split = next((name for name in ("train", "val", "test") if name in path.stem), "")
            try:
                for video_id in read_split_list(path) if split else []:
                    if self.split_of.setdefault(video_id, split) != split:
                        raise DataError(
                            f"{path}: {video_id} is also in {self.split_of[video_id]}: each video has one split"
                        )
            except DataError as error:
                contents.unreadable.append(str(error))
        suffixes = "|".join(re.escape(suffix) for suffix in VIDEO_SUFFIXES)
        videos = find_files(self.root, rf"(.+)(?i:{suffixes})", contents)
        videos |= find_files(self.root / "videos", rf"(.+)(?i:{suffixes})", contents)
        files: dict[str, list[tuple[str, Path]]] = {}
        for path in sorted([*self.root.glob("*.csv"), *self.root.glob("*_texts/*.csv")]):
            if path.name.startswith("splits"):
                continue
            inside = re.fullmatch(r"(\w+?)_texts", path.parent.name) if path.parent != self.root else None
            prefix = re.fullmatch(r"(\w+?)_texts_(.+)", path.stem)
            kind = inside[1] if inside else prefix[1] if prefix else "narration"
            video_id = path.stem if inside or not prefix else prefix[2]
            if kind not in TASKS:
                contents.problems.append(
                    f"{path.name}: kind must be one of {', '.join(TASKS)}, got {kind!r}: the file is left out"
                )
                continue
            files.setdefault(video_id, []).append((TASKS[kind], path))
        contents.problems += self._left_out()
        if silent := sorted(videos.keys() - files.keys()):
            part = part_of(len(silent), len(videos), "video", "has")
            contents.problems.append(f"{part} no sentences: {shorten(silent)}")
        for video_id in sorted(videos.keys() | files.keys()):
            video = videos.get(video_id)
            info = self.open_video(contents, video_id, video)
            tracks: dict[str, Track] = {}
            for task, path in files.get(video_id, []):
                try:
                    for name, track in read_narration(path, task, info.duration_s if info else 0.0).items():
                        contents.unreadable += track.unreadable
                        own = tracks.setdefault(name, Track([], 0.0, whole=False))
                        own.spans += track.spans
                        own.notes += track.notes
                        own.end_s = max(own.end_s, track.end_s)
                except DataError as error:
                    contents.unreadable.append(str(error))
            self.add_video(contents, video_id, video, info, tracks)

    def _left_out(self) -> list[str]:
        """Problems with sentences in other formats, and with subfolders that hold videos or sentences."""
        problems = []
        folders = (self.root, self.root / "videos", *self.root.glob("*_texts"))
        there = [path for folder in folders if folder.is_dir() for path in folder.iterdir()]
        # Files about the data set, by people or by the conversion, are not narration.
        names = sorted(path.name for path in there if path.suffix.lower() in _OTHER_TEXTS and path.is_file())
        names = [name for name in names if not re.match(r"splits|readme|licen[cs]e", name, re.IGNORECASE)]
        if names:
            fact = f"{plural(len(names), 'text file')} that are not CSV left out: {shorten(names)}"
            problems.append(f"{fact}; convert them to columns start, end, text")
        wanted = {*VIDEO_SUFFIXES, ".csv"}
        known = {*folders, self.root / "splits"}
        inside = sorted(
            str(path.relative_to(self.root))
            for folder in there
            if folder.is_dir() and folder not in known
            for path in folder.rglob("*")
            if path.suffix.lower() in wanted
        )
        if inside:
            problems.append(
                f"{plural(len(inside), 'file')} in subfolders left out: {shorten(inside)}; move them next to the others"
            )
        return problems
