"""The training set of `surgvl tune`: questions with answers and clips, and held-out questions to monitor training.

Shapes: V stored tokens of a clip, D encoder width, T frames, S side in pixels.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from surgvl.chat.answerer import DESCRIBE
from surgvl.chat.answerers import generate
from surgvl.chat.feature_cache import FeatureCache
from surgvl.chat.question_rows import QuestionRow, window_frames, window_of
from surgvl.chat.template import IGNORE, training_batch
from surgvl.core.errors import DataError
from surgvl.core.files import trim_jsonl
from surgvl.data.clips import EndlessDataset
from surgvl.data.frame_store import FrameStore
from surgvl.data.manifest import Manifest
from surgvl.data.mixing import draw_probabilities, earlier_turns
from surgvl.models.chat import Chat

COLUMNS = ("video_id", "start_s", "end_s", "question", "answer", "type", "source", "conversation")


class QuestionDataset(EndlessDataset):
    """Questions with their answers and the clips they are about; sample i is a function of (seed, i).

    Each type of question is drawn equally often, so that a type with many rows does not dominate the others.

    Args:
        features: of a frozen encoder; None for samples with clips.
        store: of clips.
        rows: questions.
        seed: of the draws.
        weights: fraction of the samples drawn from each source, see `data.mixing`.
    """

    def __init__(
        self,
        features: FeatureCache | None,
        store: FrameStore,
        rows: list[QuestionRow],
        seed: int,
        weights: dict[str, float] | None = None,
    ):
        chances = draw_probabilities([row["source"] for row in rows], [row["type"] for row in rows], weights)
        super().__init__(len(rows), seed, len(rows) * chances)
        self.features, self.store = features, store
        said = earlier_turns([row["video_id"] for row in rows], [row["conversation"] for row in rows])
        self.rows = [
            {**row, "earlier": [(rows[at]["question"], rows[at]["answer"]) for at in before]}
            for row, before in zip(rows, said, strict=True)
        ]

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Sample `index`: `pooled` [V, D] or `video` [3, T, S, S], `question`, `answer` and where they come from."""
        row = self.rows[self.draw(index)[0]]
        window = window_of(row)
        if self.features is not None:
            return {**row, "pooled": self.features[window]}
        clip = window_frames(self.store, window)
        return {**row, "video": torch.from_numpy(np.ascontiguousarray(clip)).permute(3, 0, 1, 2)}


def collate(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Stack tensors; keep the rest as lists."""
    batch: dict[str, Any] = {key: [sample[key] for sample in samples] for key in samples[0]}
    return {key: torch.stack(each) if isinstance(each[0], torch.Tensor) else each for key, each in batch.items()}


class HeldOutQuestions:
    """Evaluates questions of videos that are not trained on: token accuracy, and a few written answers.

    Runs once in each tenth of the training, at its first logging step; `begin` comes first.

    Args:
        features: of the windows of all rows.
        rows: the questions, a few of each type.
        path: file for the answers, one JSON object a line.
        num_written: answers written at each evaluation.
    """

    def __init__(self, features: FeatureCache, rows: list[QuestionRow], path: Path, num_written: int = 8):
        self.features, self.rows, self.path = features, rows, path
        self.written = rows[:: max(1, len(rows) // num_written)][:num_written]
        self.due = 0.0

    def begin(self, progress: float) -> None:
        """Called where training starts or resumes; drops rows that a killed run wrote beyond this point."""
        rows = trim_jsonl(self.path, lambda row: row["progress"] < progress)
        self.due = _next_tenth(rows[-1]["progress"]) if rows else 0.0

    def __call__(self, chat: Chat, progress: float) -> dict[str, torch.Tensor]:
        """Token accuracy on all rows, if an evaluation is due; a few answers go to the file with the progress."""
        if progress < self.due:
            return {}
        self.due = _next_tenth(progress)
        batch, order = training_batch(
            chat.ready, [row["question"] for row in self.rows], [row["answer"] for row in self.rows], 1 << 20
        )
        batch = batch.to(chat.device)
        pooled = self.features.stack([window_of(self.rows[number]) for number in order]).to(chat.device)
        logits = chat(batch.ids, pooled=pooled).logits[:, :-1]
        expected = batch.labels[:, 1:]
        right = (logits.argmax(-1) == expected) & (expected != IGNORE)
        pooled = self.features.stack([window_of(row) for row in self.written]).to(chat.device)
        replies = generate(chat, pooled, [row["question"] for row in self.written])
        with open(self.path, "a", encoding="utf-8") as file:
            for row, reply in zip(self.written, replies, strict=True):
                asked = {key: row[key] for key in ("video_id", "start_s", "question", "answer")}
                file.write(json.dumps({"progress": progress, **asked, "reply": reply}) + "\n")
        return {"held_out_token_accuracy": right.sum() / (expected != IGNORE).sum()}


def _next_tenth(progress: float) -> float:
    return int(progress * 10 + 1) / 10


def held_out_rows(rows: list[QuestionRow], each: int = 16) -> list[QuestionRow]:
    """At most `each` rows of each type of question, spread evenly."""
    types: dict[str, list[QuestionRow]] = {}
    for row in rows:
        types.setdefault(row["type"], []).append(row)
    return [row for found in types.values() for row in found[:: max(1, len(found) // each)][:each]]


def training_rows(table: Manifest, ids: list[str], narration: bool) -> list[QuestionRow]:
    """Question rows of some videos; with `narration`, narrated sentences are answers to one open question.

    Raises:
        DataError: there are none.
    """
    rows = [{key: row[key] for key in COLUMNS} for row in table.select(ids).qa_table.to_pylist()]
    if narration:
        rows += [
            {
                "video_id": row.video_id,
                # Its middle second, which closed questions are about too: its features are computed once.
                "start_s": float(int((row.start_s + row.end_s) / 2)),
                "end_s": float(int((row.start_s + row.end_s) / 2) + 1),
                "question": DESCRIBE,
                "answer": row.label,
                "type": "describe",
                "source": table.video(row.video_id).source,
                "conversation": "",
            }
            for row in table.select(ids).segments
            if row.task == "narration"
        ]
    if not rows:
        raise DataError(
            "there are no questions in this split: convert a data set with questions, or choose another --split"
        )
    return rows
