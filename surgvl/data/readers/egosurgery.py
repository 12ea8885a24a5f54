"""EgoSurgery-Phase: open operations from the surgeon's view, one of nine phases (Fujii et al., arXiv 2405.19644).

Layout: `annotations/phase/01_1.csv` for each part of a video (header, then rows `image,phase`) and `images/01/` with
the pictures of all parts, one every two seconds, named as in the first column; the last number of a name counts.
Pictures are shown one per second, so times are half of those of the operation. Video 16 does not exist, labels start
late and have gaps. The layout of the pictures is not verified on the real data, which are distributed on request.
"""

from pathlib import Path

from surgvl.core.errors import DataError
from surgvl.data.formats.frame_rows import FrameRows, by_name, place_rows, read_frame_rows
from surgvl.data.formats.layout import find_files, find_videos
from surgvl.data.readers.base import Contents, VideoDataset
from surgvl.data.spans import Track

PHASES = (
    "disinfection",
    "design",
    "anesthesia",
    "incision",
    "dissection",
    "hemostasis",
    "irrigation",
    "closure",
    "dressing",
)


class EgoSurgery(VideoDataset):
    """EgoSurgery-Phase."""

    name = "egosurgery"
    LICENCE = "CC BY-NC-SA 4.0"
    LICENCE_FROM = "README and LICENSE.txt of github.com/Fujiry0/EgoSurgery"
    SOURCE = "arXiv 2405.19644; by request at github.com/Fujiry0/EgoSurgery"
    PROCEDURE = "open surgery"
    SPECIALTY = "plastic surgery"
    CLASSES = {"phase": PHASES}
    # 13, 2 and 5.
    SPLITS = {
        "standard": {
            "train": ("01", "02", "03", "04", "08", "09", "11", "13", "14", "15", "17", "20", "21"),
            "val": ("05", "19"),
            "test": ("06", "07", "10", "12", "18"),
        }
    }

    def read(self, contents: Contents) -> None:
        """Read picture folders, and join the parts of each video."""
        videos = find_videos(self.root / "images", r"\d\d", contents)
        parts = find_files(self.root / "annotations" / "phase", r"(\d\d_\d+)\.csv", contents)
        for video_id in sorted(videos.keys() | {part[:2] for part in parts}):
            path = videos.get(video_id)
            info = self.open_video(contents, video_id, path)
            own = [parts[part] for part in sorted(parts, key=lambda name: (len(name), name)) if part[:2] == video_id]
            tracks: dict[str, Track] = {}
            try:
                if own:
                    tracks["phase"] = place_rows(_join(own), info, 1.0)
                else:
                    contents.problems.append(f"{video_id}: no phase labels: annotations/phase/VIDEO_1.csv is missing")
            except DataError as error:
                contents.unreadable.append(str(error))
            if info is not None:
                tracks, _ = self.as_shown(contents, video_id, path, tracks, (0, 1))
            self.add_video(contents, video_id, path, info, tracks)


def _join(paths: list[Path]) -> FrameRows:
    """The rows of all parts of a video.

    Raises:
        DataError: the numbers of a part do not continue those of the part before.
    """
    joined = FrameRows([], [], [])
    for path in paths:
        rows = read_frame_rows(path, by_name(PHASES), number_last=True)
        if joined.numbers and rows.numbers[0] <= joined.numbers[-1]:
            fact = f"starts at picture {rows.numbers[0]}, but the part before ends at {joined.numbers[-1]}"
            raise DataError(f"{path} {fact}: number the pictures of a video in one sequence")
        joined = FrameRows(joined.numbers + rows.numbers, joined.labels + rows.labels, joined.notes + rows.notes)
    return joined
