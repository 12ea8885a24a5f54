"""Cholec80: 80 cholecystectomies with phases per frame and tools per second (Twinanda et al., arXiv 1602.03012).

Layouts: `videos/video01.mp4`, `phase_annotations/video01-phase.txt` and `tool_annotations/video01-tool.txt`, with frame
numbers at the rate of the video; CSV files `labels/video01.csv` (see `surgvl.data.formats.second_csv`); phase files as
in TMRNet (one row a second, ids); or lists `gt_*.txt` as in SV-RCNet (see `surgvl.data.formats.picture_list`). Label
files may lie in the folder itself, too. SurgVISTA validates on test videos; SurgRec labels clips by their position.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from surgvl.core.errors import DataError
from surgvl.core.ontology import CHOLEC80_PHASES, CHOLEC80_TOOLS
from surgvl.data.formats.frame_rows import FrameRows, by_id, by_name, frame_rate, label_key, place_rows, read_frame_rows
from surgvl.data.formats.layout import find_files, find_videos
from surgvl.data.formats.picture_list import read_picture_lists
from surgvl.data.formats.second_csv import read_second_csv
from surgvl.data.formats.text_files import no_rows, parse_int, read_fields
from surgvl.data.licences import SURGREC_SAYS
from surgvl.data.readers.base import TOLERANCE_S, Contents, VideoDataset
from surgvl.data.spans import Track, join_runs
from surgvl.data.splits import id_range
from surgvl.video import VideoInfo

LABEL_FPS = 25.0


def read_phase_file(path: Path) -> FrameRows:
    """Read `videoNN-phase.txt`: a header and a row `frame phase` for each frame; phases are matched by name.

    The form of TMRNet is read, too: no header, a row each second, frame numbers at 25 fps and phases by their ids.

    Raises:
        DataError: an unknown phase, frames that are negative or do not increase, or rows without two fields.
    """
    return read_frame_rows(path, by_name(CHOLEC80_PHASES) | by_id(CHOLEC80_PHASES))


def read_tool_file(path: Path, fps: float) -> Track:
    """Read `videoNN-tool.txt`: a header of tool names and, for one frame per second, 0 or 1 for each tool.

    Columns are matched by name. A row applies until the next one is due.

    Args:
        path: the file.
        fps: rate of its frame numbers.

    Raises:
        DataError: unknown tools, values other than 0 and 1, or frames that are negative or do not increase.
    """
    rows = read_fields(path)
    header = rows[0][1]
    known = by_name(CHOLEC80_TOOLS)
    names = [known.get(label_key(name), "") for name in header[1:]]
    if label_key(header[0]) != "frame" or "" in names or len(set(names)) != len(CHOLEC80_TOOLS):
        raise DataError(f"{path}, line 1: header is {' '.join(header)!r}; expected Frame {' '.join(CHOLEC80_TOOLS)}")
    frames: list[int] = []
    values: list[Sequence[str]] = []
    for line, fields in rows[1:]:
        if len(fields) != len(header) or not set(fields[1:]) <= {"0", "1"}:
            raise DataError(
                f"{path}, line {line} must be a frame number and {len(names)} values 0 or 1: correct the row"
            )
        frame = parse_int(fields[0], path, line, "frame", least=0)
        if frames and frame <= frames[-1]:
            raise DataError(f"{path}, line {line}: frame {frame} comes after frame {frames[-1]}: sort the rows")
        frames.append(frame)
        values.append(fields[1:])
    if not frames:
        raise no_rows(path)
    steps = sorted(later - sooner for sooner, later in zip(frames, frames[1:], strict=False))
    stride = steps[len(steps) // 2] if steps else round(fps)
    notes = [f"rows of {path.name} are not evenly spaced"] if steps and steps[0] != steps[-1] else []
    spans = []
    for at, name in enumerate(names):
        spans += join_runs(frames, [name if row[at] == "1" else "" for row in values], 1 / fps, stride)
    return Track(sorted(spans), (frames[-1] + stride) / fps, notes)


class Cholec80(VideoDataset):
    """Cholec80 in the original layout or as CSV."""

    name = "cholec80"
    LICENCE = "CC BY-NC-SA 4.0"
    LICENCE_FROM = SURGREC_SAYS
    SOURCE = "arXiv 1602.03012; by request at camma.unistra.fr/datasets"
    PROCEDURE = "laparoscopic cholecystectomy"
    SPECIALTY = "general surgery"
    CLASSES = {"phase": CHOLEC80_PHASES, "tool": CHOLEC80_TOOLS}
    SPLITS = {
        "standard": {"train": id_range("video{:02d}", (1, 40)), "test": id_range("video{:02d}", (41, 80))},
        "camma": {
            "train": id_range("video{:02d}", (1, 40)),
            "val": id_range("video{:02d}", (41, 48)),
            "test": id_range("video{:02d}", (49, 80)),
        },
    }

    def read(self, contents: Contents) -> None:
        """Read videos, phases and tools."""
        videos = find_videos(self.root / "videos", r"video\d+", contents)
        phases = self._files("phase_annotations", r"(video\d+)-phase\.txt", contents)
        tools = self._files("tool_annotations", r"(video\d+)-tool\.txt", contents)
        tables = self._files("labels", r"(video\d+)\.csv", contents)
        listed = self._listed(contents)
        for video_id in sorted(videos.keys() | phases.keys() | tools.keys() | tables.keys() | listed.keys()):
            path = videos.get(video_id)
            info = self.open_video(contents, video_id, path)
            tracks = read_tracks(contents, info, phases.get(video_id), tools.get(video_id))
            if video_id in tables and "phase" not in tracks:
                try:
                    tracks["phase"] = read_second_csv(tables[video_id], video_id, CHOLEC80_PHASES, first=0)
                except DataError as error:
                    contents.unreadable.append(str(error))
            if video_id in listed and "phase" not in tracks:
                # A list may name a sample of the pictures.
                tracks["phase"] = replace(place_rows(listed[video_id], info, 1.0), whole=False)
            if "phase" not in tracks:
                is_there = any(video_id in files for files in (phases, tables, listed))
                why = "its file cannot be read" if is_there else "phase_annotations/VIDEO-phase.txt is missing"
                contents.problems.append(f"{video_id}: no phase labels: {why}")
            if info is not None:
                # ffmpeg numbers extracted pictures from 1; the CSV files name the pictures themselves.
                first = (0,) if video_id in tables and video_id not in phases else (0, 1)
                tracks, _ = self.as_shown(contents, video_id, path, tracks, first)
            self.add_video(contents, video_id, path, info, tracks, LABEL_FPS if video_id in phases else 1.0)

    def _files(self, folder: str, pattern: str, contents: Contents) -> dict[str, Path]:
        """Label files by video, in a folder within or beside it."""
        return find_files(self.root, pattern, contents) | find_files(self.root / folder, pattern, contents)

    def _listed(self, contents: Contents) -> dict[str, FrameRows]:
        """Phases of listed pictures, by video; a list that cannot be read is set aside with the others."""
        lists = find_files(self.root, r"(gt_\w+)\.txt", contents)
        try:
            return read_picture_lists(list(lists.values()), by_name(CHOLEC80_PHASES) | by_id(CHOLEC80_PHASES))
        except DataError as error:
            contents.unreadable.append(str(error))
            return {}


def read_tracks(contents: Contents, info: VideoInfo | None, phase: Path | None, tool: Path | None) -> dict[str, Track]:
    """Phase and tool tracks of one video; files that cannot be read go to `contents.unreadable`.

    The tool file may be a row shorter or longer than the phases; it is clipped to them.
    """
    tracks: dict[str, Track] = {}
    # Labels of a frame folder are at the rate of the video that it was extracted from.
    fps = LABEL_FPS if info is None or info.path.is_dir() else info.fps
    if phase is not None:
        try:
            rows = read_phase_file(phase)
            fps = frame_rate(rows, info, LABEL_FPS)[0]
            tracks["phase"] = place_rows(rows, info, LABEL_FPS)
        except DataError as error:
            contents.unreadable.append(str(error))
    if tool is not None:
        try:
            tracks["tool"] = read_tool_file(tool, fps)
        except DataError as error:
            contents.unreadable.append(str(error))
    if len(tracks) == 2 and abs(tracks["tool"].end_s - tracks["phase"].end_s) <= TOLERANCE_S:
        end_s = tracks["phase"].end_s
        spans = [(start, min(end, end_s), label) for start, end, label in tracks["tool"].spans if start < end_s]
        tracks["tool"] = Track(spans, end_s, tracks["tool"].notes)
    return tracks
