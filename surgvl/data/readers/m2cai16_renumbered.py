"""M2CAI16-workflow under the numbers of SurgVISTA: test videos 28 to 41 after the training videos (arXiv 2506.02692).

Layout, as SurgVISTA's code reads it: `videos/video_01.mp4` (or `frames/video_01/`) and `phases/video_phase_01.txt`, up
to 41, with the header and rows of the published files. Predictions that its code writes name these videos.

The code has no script that renames the files: that 28 is the first test video, 29 the second and so on is inferred, not
verified. It validates on the test videos, which is not done here: `standard` has no validation videos. An operation is
known by the number, so that it is found again in `m2cai16_workflow`.
"""

from pathlib import Path

from surgvl.data.formats.layout import find_files, find_videos
from surgvl.data.readers.base import Contents
from surgvl.data.readers.m2cai16_workflow import M2cai16Workflow
from surgvl.data.splits import id_range


class M2cai16Renumbered(M2cai16Workflow):
    """M2CAI16-workflow in SurgVISTA's files."""

    name = "m2cai16_renumbered"
    FILE = "phases/video_phase_NN.txt"
    SPLITS = {"standard": {"train": id_range("video_{:02d}", (1, 27)), "test": id_range("video_{:02d}", (28, 41))}}

    def files(self, contents: Contents) -> tuple[dict[str, Path], dict[str, Path]]:
        """From folders of videos and of labels, whose names have a word more."""
        videos = find_videos(self.root / "frames", r"video_\d+", contents)
        videos |= find_videos(self.root / "videos", r"video_\d+", contents)
        labels = find_files(self.root / "phases", r"(video_phase_\d+)\.txt", contents)
        return videos, {name.replace("_phase", ""): path for name, path in labels.items()}
