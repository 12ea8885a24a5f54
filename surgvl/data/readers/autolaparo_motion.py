"""AutoLaparo task 2: in which of seven ways the laparoscope moves after a clip of ten seconds (arXiv 2208.02049).

Layout: `clips/001.mp4` and `laparoscope_motion_label.txt` (header, then rows `clip motion phase`, motions from 0,
phases from 1), also below `t2/`. The label stands for the whole clip: the motion happens at its end, and a model sees
what comes before.
"""

from pathlib import Path

from surgvl.core.errors import DataError
from surgvl.data.formats.layout import find_videos
from surgvl.data.formats.text_files import mark_note, no_rows, parse_int, read_fields
from surgvl.data.licences import SURGREC_SAYS
from surgvl.data.readers.autolaparo import PHASES
from surgvl.data.readers.base import Contents, VideoDataset
from surgvl.data.spans import Track
from surgvl.data.splits import id_range

MOTIONS = ("Static", "Up", "Down", "Left", "Right", "Zoom-in", "Zoom-out")
_FILE = "laparoscope_motion_label.txt"
CLIP_S = 10.0


def read_motions(path: Path) -> dict[str, tuple[str, str]]:
    """Motion and phase of each clip.

    Raises:
        DataError: rows without three fields, ids out of range, or a clip that occurs twice.
    """
    found: dict[str, tuple[str, str]] = {}
    for line, fields in read_fields(path):
        if line == 1 and not fields[0].isdigit():
            continue
        if len(fields) != 3:
            raise DataError(f"{path}, line {line} must have clip, motion and phase, got {len(fields)}: correct the row")
        clip = f"{parse_int(fields[0], path, line, 'clip', least=1):03d}"
        motion = parse_int(fields[1], path, line, "motion")
        phase = parse_int(fields[2], path, line, "phase")
        if not 0 <= motion < len(MOTIONS) or not 1 <= phase <= len(PHASES):
            limits = f"motions are 0 to {len(MOTIONS) - 1} and phases 1 to {len(PHASES)}"
            raise DataError(f"{path}, line {line}: {limits}, got {motion} and {phase}: correct the row")
        if clip in found:
            raise DataError(f"{path}, line {line}: clip {clip} occurs twice: keep one row")
        found[clip] = (MOTIONS[motion], PHASES[phase - 1])
    if not found:
        raise no_rows(path)
    return found


class AutoLaparoMotion(VideoDataset):
    """AutoLaparo's clips, each with a motion (task `clip`) and the phase that it comes from."""

    name = "autolaparo_motion"
    LICENCE = "CC BY-NC-SA 4.0"
    LICENCE_FROM = SURGREC_SAYS
    SOURCE = "arXiv 2208.02049; by request at autolaparo.github.io"
    PROCEDURE = "laparoscopic hysterectomy"
    SPECIALTY = "gynaecology"
    CLASSES = {"clip": MOTIONS, "phase": PHASES}
    # 170, 57 and 73.
    SPLITS = {
        "standard": {
            "train": id_range("{:03d}", (1, 170)),
            "val": id_range("{:03d}", (171, 227)),
            "test": id_range("{:03d}", (228, 300)),
        }
    }

    def read(self, contents: Contents) -> None:
        """Read clips and the list of motions."""
        base = self.root / "t2" if (self.root / "t2").is_dir() else self.root
        videos = find_videos(base / "clips", r"\d{3}", contents)
        labels: dict[str, tuple[str, str]] = {}
        path = base / _FILE
        if path.is_file():
            contents.problems += [f"{_FILE} {note}" for note in mark_note(path)]
            try:
                labels = read_motions(path)
            except DataError as error:
                contents.unreadable.append(str(error))
        else:
            contents.problems.append(f"no {_FILE}: copy it from the data set")
        for clip in sorted(videos.keys() | labels.keys()):
            info = self.open_video(contents, clip, videos.get(clip))
            end_s = info.duration_s if info else CLIP_S
            tracks: dict[str, Track] = {}
            if clip in labels:
                motion, phase = labels[clip]
                tracks = {"clip": Track([(0.0, end_s, motion)], end_s), "phase": Track([(0.0, end_s, phase)], end_s)}
            else:
                contents.problems.append(f"{clip}: no motion")
            self.add_video(contents, clip, videos.get(clip), info, tracks, 25.0)
