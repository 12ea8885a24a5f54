"""Samples of lmms-eval: `DATE_samples_TASK.jsonl`, its log of samples, a line a question (EvolvingLMMs-Lab/lmms-eval).

Fields as `lmms_eval/evaluator.py` and `loggers/evaluation_tracker.py` write them: `doc_id`, the number of the question
in the task's data; `input`, the prompt; `target`, the true answer; `resps`, the reply as the model wrote it, left out
where no filter changed it; `filtered_resps`, the reply after the task's filter. The row of the data set (`doc`) is not
written, so `doc_id` must count the questions of the split in the manifest's order, and the prompt contain the question.
"""

from typing import Any, ClassVar

from surgvl.tasks.replies.base import Reply, ReplyFormat, Row, index_of, number_of, text_of


class LmmsEval(ReplyFormat):
    """A log of samples."""

    name: ClassVar[str] = "lmms_eval"
    title: ClassVar[str] = "lmms-eval"
    NEEDS: ClassVar[frozenset[str]] = frozenset({"doc_id", "target", "filtered_resps"})

    def reply(self, row: Row) -> Reply:
        """Read a line."""
        said = _leaves(row.get("resps") or row["filtered_resps"])
        if len(said) != 1 or not isinstance(said[0], str):
            raise ValueError(f"has {said!r:.60} as its reply, which must be one text: log a task that generates text")
        shown = row.get("input") or row.get("arguments")
        prompt = next((each for each in _leaves(shown) if isinstance(each, str)), "")
        # Where somebody kept it.
        doc = row["doc"] if isinstance(row.get("doc"), dict) else {}
        return Reply(
            said[0],
            video=text_of(doc, "video_id", "video"),
            start_s=number_of(doc, "start_s", "start"),
            end_s=number_of(doc, "end_s", "end"),
            question=text_of(doc, "question") or prompt,
            index=index_of(row, "doc_id"),
            truth=text_of(row, "target"),
        )


def _leaves(value: Any) -> list[Any]:
    """The values of nested lists, in order."""
    return [leaf for each in value for leaf in _leaves(each)] if isinstance(value, list) else [value]
