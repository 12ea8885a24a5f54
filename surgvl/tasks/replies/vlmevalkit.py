"""Predictions of VLMEvalKit: `MODEL_DATASET.xlsx`, `.tsv` or `.json`, one row a question (open-compass/VLMEvalKit).

Columns as `vlmeval/inference.py` and `inference_video.py` write them: those of the data set (`index`, `question`,
`answer`, options under `A`, `B`, ..., `video` of videos), and `prediction`, the reply. A request that failed has a text
in its place (`INFER_FAIL_MSG` of `vlmeval/smp/file.py`), so its reply is missing. The answer of a question with options
is the letter of one. Segments of video are in `start` and `end`, in seconds.
"""

import string
from typing import ClassVar

from surgvl.tasks.replies.base import Reply, ReplyFormat, Row, index_of, number_of, text_of

_FAILED = "Failed to obtain answer"


class VLMEvalKit(ReplyFormat):
    """A table of predictions."""

    name: ClassVar[str] = "vlmevalkit"
    title: ClassVar[str] = "VLMEvalKit"
    NEEDS: ClassVar[frozenset[str]] = frozenset({"index", "question", "prediction"})

    def reply(self, row: Row) -> Reply:
        """Read a row."""
        options: list[str] = []
        for letter in string.ascii_uppercase:
            if not (option := text_of(row, letter)):
                break
            options.append(option)
        said = text_of(row, "prediction")
        return Reply(
            "" if said.startswith(_FAILED) else said,
            video=text_of(row, "video_id", "video", "video_path"),
            start_s=number_of(row, "start_s", "start"),
            end_s=number_of(row, "end_s", "end"),
            question=text_of(row, "question"),
            index=index_of(row, "index"),
            truth=text_of(row, "answer"),
            options=tuple(options),
        )
