"""Replies of SurgRec's benchmark of vision-language models (Siiichenggg/SurgRec-open-source, `vlm_eval/`).

`run_qwen3_vlm_test.py` and `run_llava_next_test.py` write `predictions.json`, a list of {"video_path", "gt_label",
"pred_label", "raw_output", "error"}, and `meta.json` beside it with `label_map`, the name of each label; a model is
shown these names with letters, in the order of the labels. What it wrote is read again: `pred_label` takes the article
"a" for option A. Questions and clips are those of the reader `surgrec_clips`.
"""

from pathlib import Path
from typing import ClassVar

from surgvl.core.errors import DataError
from surgvl.core.label_map import read_label_map
from surgvl.tasks.replies.base import Reply, ReplyFormat, Row, index_of, text_of


class SurgRec(ReplyFormat):
    """A list of predictions, with the names of the labels beside it."""

    name: ClassVar[str] = "surgrec"
    title: ClassVar[str] = "SurgRec"
    NEEDS: ClassVar[frozenset[str]] = frozenset({"video_path", "gt_label", "raw_output"})

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        names = read_label_map(path.parent / "meta.json", "label_map")
        if not names:
            raise DataError(f"{path.parent / 'meta.json'} has no label_map: copy it with the predictions")
        self.options = {label: names[label] for label in sorted(names)}

    def reply(self, row: Row) -> Reply:
        """Read an entry."""
        label = index_of(row, "gt_label")
        if label not in self.options:
            raise ValueError(f"has gt_label {row['gt_label']!r}, which the label_map of meta.json does not name")
        return Reply(
            text_of(row, "raw_output"),
            video=text_of(row, "video_path"),
            truth=self.options[label],
            options=tuple(self.options.values()),
        )
