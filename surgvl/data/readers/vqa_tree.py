"""Your own questions as text files: one per second, with lines `question|answer` or `question|answer|x1,y1,x2,y2`.

Layout: `QA/NAME/00012.txt` with `images/NAME/00012.png` or `videos/NAME.mp4`, for any word NAME; boxes in pixels from
0. `splits.json`, {"train": [names], "val": [names], "test": [names]}, assigns videos to splits.
"""

from pathlib import Path

from surgvl.data.formats.layout import find_videos
from surgvl.data.formats.qa_tree import QuestionTree, text_folders
from surgvl.data.readers.base import Contents

_NAME = r"\w[\w-]*"


class VqaTree(QuestionTree):
    """Question files from any source."""

    name = "vqa_tree"
    LICENCE = "that of your videos"
    LICENCE_FROM = "your own records"
    SOURCE = "your own question|answer or question|answer|box files"

    def folders(self, contents: Contents) -> dict[str, tuple[Path | None, Path | None]]:
        """Video or pictures, and question files, by name."""
        seen = find_videos(self.root / "images", _NAME, contents) | find_videos(self.root / "videos", _NAME, contents)
        texts = text_folders(self.root / "QA", f"({_NAME})", contents)
        return {name: (seen.get(name), texts.get(name)) for name in seen.keys() | texts.keys()}
