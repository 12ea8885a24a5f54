"""SurgicalActions160: 160 clips of gynaecologic laparoscopy, ten of each of 16 actions (Schoeffmann et al., 2018).

Layout: `01_abdominal_access/01_02.mp4`, or the same files in one folder: the first number of the name is the class,
from 1, the second one the clip, from 1 to 10. Clips last 2 to 5 s.

There is no official split. `surgrec` is the published list of SurgRec, 112/32/16 with one clip of each class in its
test: one clip is six points of accuracy. Clips of one class may come from one operation, in any split.
SurgVISTA's split (70/30, drawn without a seed) cannot be reproduced, and is not here.
"""

import re
from pathlib import Path

from surgvl.core.plurals import plural, shorten
from surgvl.data.formats.layout import find_videos
from surgvl.data.formats.sparse_labels import whole_tracks
from surgvl.data.licences import SURGREC_SAYS
from surgvl.data.readers.base import Contents, VideoDataset

ACTIONS = (
    "Abdominal access",
    "Injection",
    "Cutting",
    "Blunt dissection",
    "Dissection (thermal)",
    "Irrigation",
    "Coagulation",
    "Suction",
    "Needle positioning",
    "Needle puncture",
    "Knot pushing",
    "Knotting",
    "Thread cut",
    "Sling-In",
    "Endobag-In",
    "Endobag-Out",
)
_CLIPS = 10
# The numbers of SurgRec's clips, a word for each class; the other clips of a class are its training set.
_TEST = "2 10 9 7 2 7 2 5 2 6 4 3 3 7 2 3"
_VAL = "1+5 1+7 4+7 5+6 6+9 2+5 1+4 6+8 3+4 1+4 6+10 4+5 8+9 2+10 5+9 1+8"


def _surgrec() -> dict[str, tuple[str, ...]]:
    test = [f"{number:02d}_{int(clip):02d}" for number, clip in enumerate(_TEST.split(), 1)]
    val = [f"{number:02d}_{int(clip):02d}" for number, clips in enumerate(_VAL.split(), 1) for clip in clips.split("+")]
    every = [f"{number:02d}_{clip:02d}" for number in range(1, len(ACTIONS) + 1) for clip in range(1, _CLIPS + 1)]
    train = [name for name in every if name not in {*test, *val}]
    return {"train": tuple(train), "val": tuple(val), "test": tuple(test)}


class SurgicalActions160(VideoDataset):
    """SurgicalActions160's clips; the class of a clip is in its name."""

    name = "surgical_actions160"
    LICENCE = "CC BY-NC-SA 4.0"
    LICENCE_FROM = SURGREC_SAYS
    SOURCE = "Schoeffmann et al., Multimedia Tools and Applications 2018; ftp.itec.aau.at/datasets/SurgicalActions160"
    PROCEDURE = "gynaecologic laparoscopy"
    SPECIALTY = "gynaecology"
    CLASSES = {"clip": ACTIONS}
    SPLITS = {"surgrec": _surgrec()}

    def read(self, contents: Contents) -> None:
        """Read the clips of all folders."""
        folders = [self.root, *sorted(path for path in self.root.iterdir() if re.match(r"\d\d_", path.name))]
        clips: dict[str, Path] = {}
        strange: list[str] = []
        for folder in folders:
            for video_id, path in find_videos(folder, r"\d\d_\d\d", contents).items():
                misplaced = folder != self.root and folder.name[:2] != video_id[:2]
                if misplaced or not 1 <= int(video_id[:2]) <= len(ACTIONS) or video_id in clips:
                    strange.append(str(path.relative_to(self.root)))
                    continue
                clips[video_id] = path
        if strange:
            fact = (
                f"{plural(len(strange), 'clip')} of a different class than their folder, without a class, or repeated"
            )
            contents.problems.append(f"{fact}, left out: {shorten(strange)}; correct the names")
        for video_id, path in sorted(clips.items()):
            info = self.open_video(contents, video_id, path)
            if info is not None:
                label = ACTIONS[int(video_id[:2]) - 1]
                self.add_video(contents, video_id, path, info, whole_tracks({"clip": label}, info))
