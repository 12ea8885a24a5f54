"""SAR-RARP50: 50 robotic prostatectomies, suturing of the dorsal venous complex, eight gestures (arXiv 2401.00496).

Layout: `video_01/action_discrete.txt` beside `video_01/video_left.avi` (or `rgb/`, `images/`), in the folder itself or
in `train/`, `train1/`, `train2/`, `training_set/`, `test/`, `testing_set/`. A line is `frame,gesture` without a header:
a frame number of the video and a gesture 0 to 7, ten lines per second, so the distance of the lines gives the rate of
the frame numbers. Videos 11, 15, 17 and 29 come in two parts (`video_11_1`, `video_11_2`): 44 folders for training and
10 for the test. Masks are not read.
"""

from pathlib import Path

from surgvl.core.errors import DataError
from surgvl.data.formats.frame_rows import by_id, place_rows, read_frame_rows
from surgvl.data.formats.layout import find_files
from surgvl.data.licences import SURGREC_SAYS
from surgvl.data.readers.base import Contents, VideoDataset
from surgvl.data.spans import Track

GESTURES = (
    "other",
    "picking up the needle",
    "positioning the needle tip",
    "pushing the needle through the tissue",
    "pulling the needle out of the tissue",
    "tying a knot",
    "cutting the suture",
    "returning/dropping the needle",
)
ROWS_FPS = 10.0
_IN_PARTS = (11, 15, 17, 29)
_TRAIN = tuple(
    name
    for number in range(1, 41)
    for name in (
        (f"video_{number:02d}_1", f"video_{number:02d}_2") if number in _IN_PARTS else (f"video_{number:02d}",)
    )
)
_FOLDERS = ("", "train", "train1", "train2", "training_set", "test", "test1", "testing_set")
_MEDIA = ("video_left.avi", "video_left.mp4", "rgb", "images")


def read_gestures(path: Path) -> Track:
    """Read `action_discrete.txt`.

    Raises:
        DataError: other columns, an unknown gesture, or frames that do not increase.
    """
    rows = read_frame_rows(path, by_id(GESTURES), "gesture")
    return place_rows(rows, None, ROWS_FPS * rows.stride)


class SARRARP50(VideoDataset):
    """SAR-RARP50's gestures, and its videos if they are at hand."""

    name = "sar_rarp50"
    LICENCE = "CC BY-NC-SA 4.0"
    LICENCE_FROM = SURGREC_SAYS
    SOURCE = "arXiv 2401.00496; DOI 10.5522/04/24932529 and 10.5522/04/24932499"
    PROCEDURE = "robot-assisted radical prostatectomy"
    SPECIALTY = "urology"
    CLASSES = {"gesture": GESTURES}
    SPLITS = {"standard": {"train": _TRAIN, "test": tuple(f"video_{number}" for number in range(41, 51))}}

    def read(self, contents: Contents) -> None:
        """Read the folder of each video."""
        folders: dict[str, Path] = {}
        for name in _FOLDERS:
            for video_id, folder in find_files(self.root / name, r"(video_\d+(?:_\d)?)", contents).items():
                if video_id in folders:
                    contents.problems.append(f"{video_id} occurs twice: {folders[video_id]} is used, {folder} is not")
                folders.setdefault(video_id, folder)
        for video_id, folder in sorted(folders.items()):
            path = next((folder / name for name in _MEDIA if (folder / name).exists()), None)
            info = self.open_video(contents, video_id, path)
            tracks: dict[str, Track] = {}
            labels = folder / "action_discrete.txt"
            try:
                if labels.is_file():
                    tracks["gesture"] = read_gestures(labels)
                else:
                    contents.problems.append(f"{video_id}: no action_discrete.txt")
            except DataError as error:
                contents.unreadable.append(str(error))
            if info is not None:
                tracks, _ = self.as_shown(contents, video_id, path, tracks)
            self.add_video(contents, video_id, path, info, tracks, ROWS_FPS)
