"""Prediction lists in the form of MedVidBench (Su et al., arXiv 2512.06581; UII-AI/MedGRPO-Code).

Either what `inference/vllm_infer.py` writes, an object of {"metadata": {"video_id", "fps", "input_video_start_frame",
"input_video_end_frame"}, "qa_type", "question", "gnd" (the true answer), "answer" (the reply), "data_source"}, or the
list that `utils/convert_to_submission.py` makes of it, {"id", "qa_type", "prediction"}. An id may state its clip, as
`video&&start&&end&&fps`; frames are counted as in the metadata. Videos and types are those of the reader `medvidbench`.
"""

from typing import ClassVar

from surgvl.tasks.replies.base import Reply, ReplyFormat, Row, number_of, text_of

_FACTS = ("fps", "input_video_start_frame", "input_video_end_frame")


class MedVidBench(ReplyFormat):
    """A list of predictions."""

    name: ClassVar[str] = "medvidbench"
    title: ClassVar[str] = "MedVidBench"
    NEEDS: ClassVar[frozenset[str]] = frozenset({"qa_type"})

    def reply(self, row: Row) -> Reply:
        """Read an entry."""
        if "answer" not in row and "prediction" not in row:
            raise ValueError("has neither an answer nor a prediction")
        facts = row["metadata"] if isinstance(row.get("metadata"), dict) else {}
        video = text_of(facts, "video_id") or text_of(row, "id")
        rate_fps, start, end = (number_of(facts, name) for name in _FACTS)
        parts = video.split("&&")
        if len(parts) == 4 and rate_fps is None:
            named = dict(zip(("id", "start", "end", "fps"), parts, strict=True))
            video, rate_fps = parts[0], number_of(named, "fps")
            start, end = number_of(named, "start"), number_of(named, "end")
        if rate_fps is not None and rate_fps <= 0:
            raise ValueError(f"has {rate_fps:g} frames per second, which must be above 0")
        source = text_of(row, "data_source")
        return Reply(
            text_of(row, "answer", "prediction"),
            video=f"{source}/{video}" if source else video,
            start_s=start / rate_fps if rate_fps and start is not None else None,
            # The last frame is shown, too.
            end_s=(end + 1) / rate_fps if rate_fps and end is not None else None,
            question=text_of(row, "question"),
            type=f"open_{text_of(row, 'qa_type')}",
            truth=text_of(row, "gnd"),
        )
