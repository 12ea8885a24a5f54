"""AutoLaparo task 1: 21 laparoscopic hysterectomies, one of seven phases per second (Wang et al., arXiv 2208.02049).

Layouts: `videos/01.mp4` and `labels/label_01.txt` (header, then rows `second phase`, both from 1), also below `t1/`; or
CSV files `01.csv` (see `surgvl.data.formats.second_csv`) in the folder or in `labels/`.
"""

from pathlib import Path

from surgvl.core.errors import DataError
from surgvl.data.formats.frame_rows import by_id, by_name, place_rows, read_frame_rows
from surgvl.data.formats.layout import find_files, find_videos
from surgvl.data.formats.second_csv import read_second_csv
from surgvl.data.licences import SURGREC_SAYS
from surgvl.data.readers.base import Contents, VideoDataset
from surgvl.data.spans import Track
from surgvl.data.splits import id_range
from surgvl.video import VideoInfo

PHASES = (
    "Preparation",
    "Dividing Ligament and Peritoneum",
    "Dividing Uterine Vessels and Ligament",
    "Transecting the Vagina",
    "Specimen Removal",
    "Suturing",
    "Washing",
)


def read_label_file(path: Path, info: VideoInfo | None = None) -> Track:
    """Read `label_01.txt`, whose seconds and phases count from 1.

    Args:
        path: the file.
        info: the video, to tell whether the rows are its seconds.

    Raises:
        DataError: rows without two fields, an unknown phase, or seconds that do not increase.
    """
    return place_rows(read_frame_rows(path, by_id(PHASES, 1) | by_name(PHASES)), info, 1.0, first=1)


class AutoLaparo(VideoDataset):
    """AutoLaparo's workflow videos in the original layout or as CSV."""

    name = "autolaparo"
    LICENCE = "CC BY-NC-SA 4.0"
    LICENCE_FROM = SURGREC_SAYS
    SOURCE = "arXiv 2208.02049; by request at autolaparo.github.io"
    PROCEDURE = "laparoscopic hysterectomy"
    SPECIALTY = "gynaecology"
    CLASSES = {"phase": PHASES}
    SPLITS = {
        "standard": {
            "train": id_range("{:02d}", (1, 10)),
            "val": id_range("{:02d}", (11, 14)),
            "test": id_range("{:02d}", (15, 21)),
        }
    }

    def read(self, contents: Contents) -> None:
        """Read videos and phases."""
        base = self.root / "t1" if (self.root / "t1").is_dir() else self.root
        videos = find_videos(base / "videos", r"\d+", contents)
        texts = find_files(base / "labels", r"label_(\d+)\.txt", contents)
        tables = find_files(base, r"(\d+)\.csv", contents) | find_files(base / "labels", r"(\d+)\.csv", contents)
        for video_id in sorted(videos.keys() | texts.keys() | tables.keys()):
            path = videos.get(video_id)
            info = self.open_video(contents, video_id, path)
            tracks: dict[str, Track] = {}
            try:
                if video_id in texts:
                    tracks["phase"] = read_label_file(texts[video_id], info)
                elif video_id in tables:
                    tracks["phase"] = read_second_csv(tables[video_id], video_id, PHASES, first=1)
                else:
                    contents.problems.append(f"{video_id}: no phase labels: labels/label_VIDEO.txt is missing")
            except DataError as error:
                contents.unreadable.append(str(error))
            if info is not None:
                tracks, _ = self.as_shown(contents, video_id, path, tracks, first=(1, 0))
            self.add_video(contents, video_id, path, info, tracks)
