"""HeiChole: 24 public of 33 cholecystectomies with phase, instrument, action and skill (Wagner et al., 2109.14956).

Layout: `Videos/Full/Hei-Chole1.mp4` (or `videos/`, or beside the annotations) and
`Annotations/{Phase,Instrument,Action,Skill}/Hei-Chole1_Annotation_Phase.csv`: no header, a frame number from 0 at the
rate of the video, then a phase 0 to 6, or a 0 or 1 for each instrument category or action. Instrument tables have
further columns (unused categories, single instruments, an undefined shaft), which are not read. A skill table is one
line of five numbers, for the whole video (`skill_efficiency`, ...) or, with `_Calot` or `_Dissection` in its name, for
that part of it (`skill_calot_efficiency`, ...).

Frames outside of the abdomen are white and labelled all the same. The other nine videos are withheld. `surgbenchkit` is
a later split of the public ones, drawn at random by the authors of SurgBenchKit; there is no official one.
"""

import math
from pathlib import Path

from surgvl.core.errors import DataError
from surgvl.core.ontology import CHOLEC80_PHASES
from surgvl.data.formats.frame_rows import FrameRows, by_id, frame_rate, place_rows, read_frame_rows
from surgvl.data.formats.layout import find_files, find_videos
from surgvl.data.formats.number_table import presence_spans, read_number_table
from surgvl.data.formats.qa_tree import first_folder
from surgvl.data.formats.sparse_labels import number_text, whole_tracks
from surgvl.data.formats.text_files import read_fields
from surgvl.data.readers.base import Contents, VideoDataset
from surgvl.data.spans import Track
from surgvl.video import VideoInfo

INSTRUMENTS = (
    "Grasper",
    "Clipper",
    "Coagulation instruments",
    "Scissors",
    "Suction-irrigation",
    "Specimen bag",
    "Stapler",
)
ACTIONS = ("grasp", "hold", "cut", "clip")
SKILLS = ("depth_perception", "bimanual_dexterity", "efficiency", "tissue_handling", "difficulty")
_TASKS = {"phase": CHOLEC80_PHASES, "instrument": INSTRUMENTS, "action": ACTIONS}
# With the frame: categories and undefined shaft (22 or 23), or the single instruments as well (32 or 33).
_WIDTHS = {"instrument": {8, 22, 23, 32, 33}, "action": {5}}
# The parts of a video that skill is rated in, by the phase that they are named after.
_PARTS = {"Calot": "CalotTriangleDissection", "Dissection": "GallbladderDissection"}
_AT_50_FPS = frozenset(f"Hei-Chole{number}" for number in (16, 17, 18, 19, 20, 23, 24))


def read_annotation(path: Path, task: str, info: VideoInfo | None, label_fps: float) -> Track:
    """Read the table of one task.

    Args:
        path: the file.
        task: phase, instrument or action.
        info: the video; None where there is none.
        label_fps: published rate of the frame numbers.

    Raises:
        DataError: a different number of columns, an unknown class, or frames that do not increase.
    """
    if task == "phase":
        return place_rows(read_frame_rows(path, by_id(CHOLEC80_PHASES)), info, label_fps)
    table, names = read_number_table(path, _WIDTHS[task]), _TASKS[task]
    frames, present = table[:, 0], table[:, 1 : len(names) + 1]
    fps, note = frame_rate(FrameRows(frames.tolist(), [], []), info, label_fps)
    spans = presence_spans(path, frames, present, names, fps)
    return Track(spans, (int(frames[-1]) + 1) / fps, [note] if note else [])


def read_skill(path: Path) -> dict[str, str]:
    """Read a skill table: task (`skill_efficiency`, ...) -> score as text.

    Raises:
        DataError: anything but one line of five numbers.
    """
    rows = read_fields(path)
    try:
        (values,) = [[float(field) for field in fields] for _, fields in rows]
        if not all(map(math.isfinite, values)):
            raise ValueError
        return {f"skill_{name}": number_text(value) for name, value in zip(SKILLS, values, strict=True)}
    except ValueError:
        wanted = ", ".join(SKILLS)
        raise DataError(f"{path} must be one line of five numbers ({wanted}): copy it again, or delete it") from None


class HeiChole(VideoDataset):
    """HeiChole's annotations, and its videos if they are at hand."""

    name = "heichole"
    LICENCE = "CC BY-NC"
    SOURCE = "arXiv 2109.14956; by request at synapse.org (syn18824884)"
    PROCEDURE = "laparoscopic cholecystectomy"
    SPECIALTY = "general surgery"
    CLASSES = _TASKS
    SPLITS = {
        "surgbenchkit": {
            split: tuple(f"Hei-Chole{number}" for number in numbers)
            for split, numbers in {
                "train": (12, 11, 23, 15, 21, 2, 14, 24, 17, 9, 7, 18, 5, 3),
                "val": (6, 19, 10, 8, 20),
                "test": (4, 1, 22, 16, 13),
            }.items()
        }
    }

    def read(self, contents: Contents) -> None:
        """Read videos and annotations."""
        places = (self.root / "Videos" / "Full", self.root / "Videos", self.root / "videos", self.root)
        videos = find_videos(first_folder(*places) or self.root, r"Hei-Chole\d+", contents)
        base = first_folder(self.root / "Annotations", self.root) or self.root
        files = {
            task: find_files(base / task.title(), rf"(Hei-Chole\d+)_Annotation_{task.title()}\.csv", contents)
            for task in _TASKS
        }
        skills = find_files(base / "Skill", r"(Hei-Chole\d+(?:_(?:Annotation|Calot|Dissection))*)_Skill\.csv", contents)
        rated = {stem.partition("_")[0] for stem in skills}
        names = videos.keys() | rated | {name for found in files.values() for name in found}
        for video_id in sorted(names, key=lambda name: int(name.removeprefix("Hei-Chole"))):
            path = videos.get(video_id)
            info = self.open_video(contents, video_id, path)
            tracks: dict[str, Track] = {}
            for task, found in files.items():
                if video_id not in found:
                    file = f"{task.title()}/VIDEO_Annotation_{task.title()}.csv"
                    contents.problems.append(f"{video_id}: no {task} labels: {file} is missing")
                    continue
                try:
                    tracks[task] = read_annotation(found[video_id], task, info, _rate(video_id))
                except DataError as error:
                    contents.unreadable.append(str(error))
            if info is not None:
                tracks, _ = self.as_shown(contents, video_id, path, tracks, first=(0, 1))
            for stem, skill in sorted(skills.items()):
                if stem.partition("_")[0] == video_id:
                    self._add_skill(contents, video_id, skill, tracks, info)
            self.add_video(contents, video_id, path, info, tracks, _rate(video_id))

    def _add_skill(
        self, contents: Contents, video_id: str, path: Path, tracks: dict[str, Track], info: VideoInfo | None
    ) -> None:
        """Add scores over the video, or over the phase that the file's part is named after."""
        try:
            scores = read_skill(path)
        except DataError as error:
            contents.unreadable.append(str(error))
            return
        name = next((name for name in _PARTS if f"_{name}" in path.name), "")
        part = _PARTS.get(name, "")
        if name:
            scores = {task.replace("skill", f"skill_{name.lower()}", 1): score for task, score in scores.items()}
        phases = tracks["phase"].spans if "phase" in tracks else []
        within = [span for span in phases if span[2] == part]
        if part and not within:
            contents.problems.append(f"{path.name} rates {part}, which no phase label of {video_id} shows: left out")
            return
        end_s = max((track.end_s for track in tracks.values()), default=0.0)
        for task, track in whole_tracks(scores, info, end_s).items():
            (whole,) = track.spans
            span = (within[0][0], within[-1][1], whole[2]) if part else whole
            tracks.setdefault(task, Track([], track.end_s, whole=False)).spans.append(span)


def _rate(video_id: str) -> float:
    return 50.0 if video_id in _AT_50_FPS else 25.0
