"""What `eval` reads: a manifest's labels, a vectors folder, an answers file, joined by video id and time.

A clip stands for the second around its centre and has the labels that cover this centre.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow.compute as pc

from surgvl import prompts
from surgvl.errors import DataError
from surgvl.metrics.answer import Asked
from surgvl.tasks.answer_files import AnswerFile, Key, join, of_split, read_answers
from surgvl.tasks.base import Answers, Inputs, Scores, Unavailable
from surgvl.vectors import Vectors, unit

_SEEN = "pretraining_video_ids"


class Labels(Protocol):
    """What is asked of a manifest (`surgvl.data.manifest.Manifest`)."""

    video_table: Any
    segment_table: Any
    qa_table: Any

    def split(self, name: str) -> "Labels":
        """The videos of one split."""

    def video_ids(self, split: str | None = None) -> list[str]:
        """Ids of one split or of all."""

    def second_labels(self, task: str, video_ids: Sequence[str], times_s: Any) -> list[list[str]]:
        """Labels that cover each (video, time)."""

    def __contains__(self, video_id: object) -> bool: ...


class Folders(Inputs):
    """Inputs of the `eval` command.

    Args:
        manifest: labels.
        split: of the manifest.
        vectors: vectors folder.
        answers: folder that holds answers.jsonl, or that file.
        ablated: further such folders, whose answers stand beside these.
        prompt_sets: embedded prompt set for each kind of label.
        window_s: smoothing, seconds.
        causal: smoothing over the past only.
        seed: of draws.

    Raises:
        DataError: a folder or file cannot be read.
    """

    def __init__(
        self,
        manifest: Labels,
        split: str,
        vectors: Path | None,
        answers: Path | None,
        ablated: Sequence[Path],
        prompt_sets: dict[str, str],
        window_s: float,
        causal: bool,
        seed: int,
    ) -> None:
        self.test = manifest.split(split)
        self.train = manifest.split("train") if split != "train" and manifest.video_ids("train") else None
        self.split = split
        self.vectors = Vectors.load(vectors) if vectors else None
        self.answer_files = [read_answers(folder) for folder in (*([answers] if answers else []), *ablated)]
        self.prompt_sets = prompt_sets
        self.window_s = window_s
        self.causal = causal
        self.seed = seed
        self.rate_fps = 1 / self.vectors.meta.stride_s if self.vectors else 1.0
        self._gaps: dict[str, str] = {}

    # ---- clips

    def clips(self, kind: str) -> tuple[Scores, list[list[str]]]:
        """Cosines of each labelled video's clips with the classes of a kind, and the labels of each clip."""
        if self.vectors is None:
            raise Unavailable(f"{kind} needs --vectors")
        if kind not in self.prompt_sets:
            raise Unavailable(f"no prompt set is asked for {kind!r}")
        if self.vectors.texts is None or self.prompt_sets[kind] not in self.vectors.texts.prompt_sets:
            raise Unavailable(f"prompt set {self.prompt_sets[kind]!r} was not embedded into {self.vectors.folder}")
        names, class_vectors = self.vectors.texts.classes(self.prompt_sets[kind])
        labelled = self._labelled(kind)
        if not labelled:
            raise Unavailable(f"no {self.split} video of the manifest has labels of task {kind!r}")
        rows = np.flatnonzero(np.isin(np.asarray(self.vectors.video_ids, np.str_), sorted(labelled)))
        if not len(rows):
            raise DataError(
                f"{self.vectors.folder} holds no {self.split} video with {kind} labels: embed this manifest"
            )
        ids, times_s = [self.vectors.video_ids[row] for row in rows], self.vectors.times_s[rows]
        if missing := sorted(labelled - set(ids)):
            self._gaps[kind] = f"{len(missing)} of {len(labelled)} videos have no vectors: {', '.join(missing)}"
        scores = unit(self.vectors.vectors[rows]) @ class_vectors.T
        labels = self.test.second_labels(kind, ids, times_s)
        spelt = self._spelling(kind, names)
        if unknown := sorted({label for row in labels for label in row} - set(spelt)):
            raise DataError(
                f"{kind} labels {unknown} of the manifest are not in prompt set {self.prompt_sets[kind]!r} "
                f"({', '.join(names[:8])}{', ...' if len(names) > 8 else ''}): choose another set"
            )
        return Scores(ids, times_s, scores, names), [[spelt[label] for label in row] for row in labels]

    def training_seconds(self, kind: str) -> dict[str, float]:
        """Seconds of each class in the training split."""
        if self.train is None or self.vectors is None or self.vectors.texts is None:
            return {}
        names, _ = self.vectors.texts.classes(self.prompt_sets[kind])
        spelt = self._spelling(kind, names)
        table = self.train.segment_table.filter(pc.equal(self.train.segment_table["task"], kind))
        spans = table["end_s"].to_numpy() - table["start_s"].to_numpy()
        found: dict[str, float] = {}
        for label, span in zip(table["label"].to_pylist(), spans.tolist(), strict=True):
            if label in spelt:
                found[spelt[label]] = found.get(spelt[label], 0.0) + span
        return found

    def describe(self, kind: str) -> str:
        """Split and source of the videos, prompt set and its version."""
        name = self.prompt_sets[kind]
        version = self.vectors.meta.prompt_sets.get(name) if self.vectors else None
        return f"{self._videos}, zero-shot with {name}{f' v{version}' if version else ''}"

    @cached_property
    def sources(self) -> list[str]:
        """Data sets that the videos are from."""
        return sorted(set(self.test.video_table["source"].to_pylist()))

    @property
    def _videos(self) -> str:
        return f"{self.split} split of {' and '.join(self.sources)}"

    def _labelled(self, kind: str) -> set[str]:
        table = self.test.segment_table
        return set(table.filter(pc.equal(table["task"], kind))["video_id"].to_pylist())

    def _spelling(self, kind: str, names: list[str]) -> dict[str, str]:
        """Class name of each spelling; a shipped set also knows how other data sets spell its classes."""
        spelt = {name: name for name in names}
        if self.prompt_sets[kind] in prompts.names():
            for row in prompts.load(self.prompt_sets[kind]).classes:
                spelt |= {alias: row.name for alias in row.aliases if row.name in spelt}
        return spelt

    # ---- answers

    def answers(self) -> list[tuple[Answers, str]]:
        """Answers of each mode, with those of its controls."""
        if not self.answer_files:
            raise Unavailable("vqa needs --answers")
        table = self.test.qa_table
        truth: dict[Key, set[str]] = {}
        keys = zip(*(table[name].to_pylist() for name in ("video_id", "start_s", "end_s", "question")), strict=True)
        for key, answer in zip(keys, table["answer"].to_pylist(), strict=True):
            truth.setdefault(key, set()).add(answer)
        files: list[AnswerFile] = []
        for file in self.answer_files:
            files.append(of_split(file, self.test.video_ids(), truth))
            if not files[-1].rows:
                raise DataError(f"{file.path} answers no question of split {self.split!r}: ask again with this split")
        return [
            (answers, f"{self._videos}, {len(answers.answers):,} of its {len(table):,} questions")
            for answers in join(files)
        ]

    def training_questions(self) -> list[Asked]:
        """Questions of the training split."""
        if self.train is None:
            return []
        columns = (self.train.qa_table[name].to_pylist() for name in ("question", "answer", "type"))
        return [Asked(question, answer, type_ or "all") for question, answer, type_ in zip(*columns, strict=True)]

    # ---- facts about what is scored

    @property
    def pretraining_ids(self) -> list[str]:
        """Ids that the models behind the vectors and the answers have seen."""
        own = self.vectors.meta.pretraining_video_ids if self.vectors else []
        return sorted({*own, *(name for file in self.answer_files for name in file.facts.get(_SEEN, []))})

    def encoder(self, task: str) -> tuple[str, int]:
        """How the encoder behind a task was made, and how many of its parameters were trained on labels."""
        if task == "vqa" or self.vectors is None:
            return "not stated", 0  # answers bring their own
        meta = self.vectors.meta
        return {True: "frozen", False: "fine-tuned", None: "not stated"}[meta.frozen], meta.num_trainable

    def gaps(self, task: str) -> str:
        """What is missing from a task's inputs, in words."""
        return self._gaps.get("triplet" if task == "retrieval" else task, "")
