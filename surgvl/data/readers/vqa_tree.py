"""Your own questions as text files: one for each second, lines `question|answer` or `question|answer|x1,y1,x2,y2`.

Layout: `QA/NAME/00012.txt` with `images/NAME/00012.png` or `videos/NAME.mp4`, NAME any word; boxes in pixels from 0.
`splits.json` {"train": [names], "val": [names], "test": [names]} puts videos into splits.
"""

from pathlib import Path
from typing import ClassVar

from surgvl.data.readers.base import Found, find_videos
from surgvl.data.readers.qa_tree import QuestionTree, text_folders

_NAME = r"\w[\w-]*"


class VqaTree(QuestionTree):
    """Question files of any source."""

    name: ClassVar[str] = "vqa_tree"
    LICENCE: ClassVar[str] = "that of your videos"
    SOURCE: ClassVar[str] = "your own question|answer or question|answer|box files"

    def folders(self, found: Found) -> dict[str, tuple[Path | None, Path | None]]:
        """Film or pictures, and text, by name."""
        seen = find_videos(self.root / "images", _NAME, found) | find_videos(self.root / "videos", _NAME, found)
        texts = text_folders(self.root / "QA", f"({_NAME})", found)
        return {name: (seen.get(name), texts.get(name)) for name in seen.keys() | texts.keys()}
