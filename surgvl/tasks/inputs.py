"""The inputs of `surgvl eval`: labels of a manifest, a vectors folder and answer files, joined by video id and time.

A clip stands for the second around its centre, and has the labels that cover the centre.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from surgvl.core.errors import ConfigError, DataError
from surgvl.core.plurals import part_of
from surgvl.embed.meta import PromptSetFacts
from surgvl.embed.vectors import Vectors, unit
from surgvl.metrics.answer import LabelledQuestion
from surgvl.metrics.relaxed import Mode
from surgvl.tasks.answer_files import AnswerFile, Key, join, of_split
from surgvl.tasks.answers import Answers
from surgvl.tasks.base import Inputs, LabelledScores, Scores, Unavailable
from surgvl.tasks.boxes import LabelledBoxes
from surgvl.tasks.imported_answers import read_all
from surgvl.tasks.numbers import LabelledNumbers
from surgvl.tasks.predicted import Predicted
from surgvl.tasks.truth import (
    EXCLUSIVE,
    Labels,
    labelled_videos,
    labels_at,
    rater_labels,
    training_seconds,
    undecided_note,
    were_annotated,
)

_SEEN = "pretraining_video_ids"


class EvalInputs(Inputs):
    """Inputs from files.

    Attributes:
        used: the prompt sets behind each kind of label that was scored.

    Args:
        manifest: labels.
        split: of the manifest.
        vectors: vectors folder.
        answers: folder that holds answers.jsonl, that file, or a file of replies that another toolkit wrote.
        controls: answers of controls; see `surgvl.tasks.imported_answers.answers_of`.
        prompt_sets: embedded prompt sets to score with, at most one for each kind of label; other kinds are scored with
            those of the videos' data sets.
        window_s: window for smoothing scores over time, seconds.
        causal: whether to smooth over the past only.
        relaxed: rule of relaxed boundaries to score phases with as well; empty for none.
        seed: of random draws.
        predicted: predictions of clips, in place of vectors.

    Raises:
        DataError: a folder or file cannot be read.
    """

    def __init__(
        self,
        manifest: Labels,
        split: str,
        vectors: Path | None,
        answers: Path | None,
        controls: Sequence[Path],
        prompt_sets: Sequence[str],
        window_s: float,
        causal: bool,
        relaxed: Mode | Literal[""],
        seed: int,
        predicted: Predicted | None = None,
    ) -> None:
        self.test = manifest.split(split)
        self.train = manifest.split("train") if split != "train" and manifest.video_ids("train") else None
        self.split = split
        self.vectors = Vectors.load(vectors) if vectors else None
        self.answer_files = read_all(answers, controls, manifest, split)
        self.chosen = self._by_kind(prompt_sets) if self.vectors else {}
        self.window_s, self.causal, self.relaxed, self.seed = window_s, causal, relaxed, seed
        self.predicted = predicted
        self.by_text = predicted is None
        self._gaps: dict[str, str] = {}
        self._undecided: dict[str, list[str]] = {}
        self.used: dict[str, list[str]] = {}

    # ---- clips

    def clips(self, kind: str) -> list[LabelledScores]:
        """Cosine similarities of the clips of labelled videos with the classes of a kind, and the labels of each clip.

        Videos that share a prompt set are scored together.
        """
        if self.predicted is not None:
            return self.predicted.clips(kind)
        if self.vectors is None:
            raise Unavailable("labels of clips need --vectors or --predictions")
        name = self.chosen.get(kind, "")
        labelled = labelled_videos(self.test, kind)
        if not labelled:
            raise Unavailable(f"no {self.split} video of the manifest has labels of task {kind!r}")
        groups: dict[str, set[str]] = {}
        for row in self.test.videos:
            if row.video_id in labelled:
                groups.setdefault(name or self._set_for(kind, row.data_set), set()).add(row.video_id)
        found = [self._group(kind, each, ids, len(groups) > 1) for each, ids in groups.items()]
        self.used[kind] = list(groups)
        if missing := sorted(labelled - {name for group in found for name in group.scores.video_names}):
            part = part_of(len(missing), len(labelled), "video", "has")
            self._gaps[kind] = f"{part} no vectors: {', '.join(missing)}"
        return found

    def numbers(self, kind: str) -> list[LabelledNumbers]:
        """The numbers of videos that are predicted, with their labels."""
        return self.predicted.numbers(kind) if self.predicted is not None else super().numbers(kind)

    def boxes(self, kind: str) -> list[LabelledBoxes]:
        """The boxes that are predicted, with the true ones."""
        return self.predicted.boxes(kind) if self.predicted is not None else super().boxes(kind)

    def _by_kind(self, prompt_sets: Sequence[str]) -> dict[str, str]:
        """Kind of label -> the prompt set that was chosen for it.

        Raises:
            ConfigError: a set was not embedded, or two are for one kind.
        """
        assert self.vectors is not None
        chosen: dict[str, str] = {}
        for name in prompt_sets:
            if self.vectors.texts is None or name not in self.vectors.texts.prompt_sets:
                raise ConfigError(
                    f"prompt set {name!r} was not embedded into {self.vectors.folder}; embedded are {self._embedded()}"
                )
            facts = self.vectors.meta.prompt_sets.get(name)
            # Older folders lack kinds; the names of the prompt sets shipped then end with the kind.
            kind = facts.task if facts and facts.task else name.rsplit("_", 1)[-1]
            if chosen.setdefault(kind, name) != name:
                raise ConfigError(f"prompt sets {chosen[kind]!r} and {name!r} are both for {kind} labels: choose one")
        return chosen

    def _set_for(self, kind: str, dataset: str) -> str:
        """The embedded prompt set for the labels of a data set.

        Raises:
            Unavailable: none is embedded for this kind of label.
            DataError: none of them fits the data set, or several do.
        """
        assert self.vectors is not None
        facts = self.vectors.meta.prompt_sets
        if all(each.task not in (kind, "") for each in facts.values()):
            raise Unavailable(
                f"no embedded prompt set is for {kind} labels; embedded are {self._embedded()}: give the file of one to"
                " `surgvl embed --prompt_sets`"
            )
        # Older folders lack data sets; the prompt sets shipped then had names of this form.
        old = f"{dataset}_{kind}".casefold()
        fitting = [name for name, each in facts.items() if each.fits(kind, dataset) or (not each.task and name == old)]
        if len(fitting) == 1:
            return fitting[0]
        what = f"prompt sets {', '.join(fitting)} are" if fitting else "no embedded prompt set is"
        raise DataError(
            f"{what} for the {kind} labels of data set {dataset!r}; embedded are {self._embedded()}: name one with "
            "--prompts, or give its file to `surgvl embed --prompt_sets`, or leave the task out with --tasks"
        )

    def _embedded(self) -> str:
        """The embedded prompt sets and their data sets, for messages."""
        facts = self.vectors.meta.prompt_sets if self.vectors else {}
        of = {name: " and ".join(each.datasets) or "data set not recorded" for name, each in facts.items()}
        return ", ".join(f"{name} ({text})" for name, text in of.items()) or "none"

    def _group(self, kind: str, prompt_set: str, labelled: set[str], several: bool) -> LabelledScores:
        """Scores of the videos that share a prompt set."""
        assert self.vectors is not None
        assert self.vectors.texts is not None
        names, class_vectors = self.vectors.texts.classes(prompt_set)
        rows = np.flatnonzero(np.isin(np.asarray(self.vectors.video_ids, np.str_), sorted(labelled)))
        videos = [row for row in self.test.videos if row.video_id in labelled]
        sources = " and ".join(sorted({row.source for row in videos}))
        if not len(rows):
            raise DataError(
                f"{self.vectors.folder} holds no {self.split} video of {sources} with {kind} labels: embed this "
                "manifest"
            )
        ids, times_s = [self.vectors.video_ids[row] for row in rows], self.vectors.times_s[rows]
        scores = unit(self.vectors.vectors[rows]) @ class_vectors.T
        labels = labels_at(self.test, kind, ids, times_s)
        if kind not in EXCLUSIVE:
            known = np.flatnonzero(were_annotated(self.test, kind, ids, times_s, labels))
            if not len(known):
                raise DataError(
                    f"{self.vectors.folder} has no vector at a moment that was annotated for {kind}: embed with a "
                    "smaller step"
                )
            ids, times_s, scores = [ids[at] for at in known], times_s[known], scores[known]
            labels = [labels[at] for at in known]
        elif note := undecided_note(kind, labels):
            self._undecided.setdefault(kind, []).append(note)
            labels = [own if len(own) == 1 else [] for own in labels]
        facts = self.vectors.meta.prompt_sets.get(prompt_set, PromptSetFacts(version=0))
        spelt = {name: name for name in names} | facts.aliases
        if unknown := sorted({label for row in labels for label in row} - set(spelt)):
            raise DataError(
                f"{kind} labels {unknown} of the manifest are not in prompt set {prompt_set!r} "
                f"({', '.join(names[:8])}{', ...' if len(names) > 8 else ''}): choose another set"
            )
        version = f" v{facts.version}" if facts.version else ""
        raters = [
            [None if row is None else [spelt[label] for label in row] for row in own]
            for own in rater_labels(self.test, kind, ids, times_s)
        ]
        return LabelledScores(
            Scores(ids, times_s, scores, names),
            [[spelt[label] for label in row] for row in labels],
            training_seconds(self.train, kind, spelt, {row.data_set for row in videos}),
            f"{self.split} split of {sources}, zero-shot with {prompt_set}{version}, {self.vectors.protocol}",
            sources if several else "",
            1 / self.vectors.meta.stride_s,
            raters=raters,
            by_text=True,
        )

    @property
    def _videos(self) -> str:
        return f"{self.split} split of {' and '.join(sorted({row.source for row in self.test.videos}))}"

    def prompts_note(self) -> str:
        """The prompt sets used for each kind of label, as list items."""
        facts = self.vectors.meta.prompt_sets if self.vectors else {}
        lines = []
        for kind, names in self.used.items():
            named = [
                f"{name} v{facts[name].version} {facts[name].hash}".strip() if name in facts else name for name in names
            ]
            lines.append(f"- sentences of {kind}: {', '.join(named)}\n")
        return "".join(lines)

    # ---- answers

    def answers(self) -> list[tuple[Answers, str]]:
        """Answers of each mode, with those of its controls."""
        if not self.answer_files:
            raise Unavailable("questions need --answers")
        table = self.test.qa_table
        truth: dict[Key, set[str]] = {}
        keys = zip(*(table[name].to_pylist() for name in ("video_id", "start_s", "end_s", "question")), strict=True)
        for key, answer in zip(keys, table["answer"].to_pylist(), strict=True):
            truth.setdefault(key, set()).add(answer)
        files: list[AnswerFile] = []
        for file in self.answer_files:
            files.append(of_split(file, self.test.video_ids(), truth))
            if not files[-1].rows:
                raise DataError(
                    f"{file.path} answers no question of split {self.split!r}: run `surgvl ask` with this split"
                )
        return [
            (answers, f"{self._videos}, {len(answers.answers):,} of its {len(table):,} questions, {answers.protocol}")
            for answers in join(files)
        ]

    def training_questions(self) -> Counter[LabelledQuestion]:
        """How often each question of the training split has each answer."""
        found: Counter[LabelledQuestion] = Counter()
        if self.train:
            # Counted by Arrow: hundreds of thousands of rows ask a few hundred questions.
            columns = ["question", "answer", "type"]
            for row in self.train.qa_table.group_by(columns).aggregate([([], "count_all")]).to_pylist():
                found[LabelledQuestion(row["question"], row["answer"], row["type"] or "all")] += row["count_all"]
        return found

    # ---- facts about what is scored

    @property
    def pretraining_ids(self) -> list[str]:
        """Ids of the videos that the models behind the vectors and answers were trained on."""
        own = self.vectors.meta.pretraining_video_ids if self.vectors else []
        own = [*own, *(self.predicted.pretraining_ids if self.predicted else [])]
        return sorted({*own, *(name for file in self.answer_files for name in file.facts.get(_SEEN, []))})

    def encoder(self, kind: str) -> tuple[str, int]:
        """How the encoder behind scores of a kind of label was made, and how many parameters were trained on labels."""
        if kind and self.predicted is not None:
            return self.predicted.encoder(kind)
        if not kind or self.vectors is None:
            return "not stated", 0  # answers bring their own
        meta = self.vectors.meta
        return {True: "frozen", False: "fine-tuned", None: "not stated"}[meta.frozen], meta.num_trainable

    def gaps(self, kind: str) -> str:
        """What is missing from the vectors behind scores of a kind of label, or damaged in them, in words."""
        missing = self.predicted.gaps(kind) if self.predicted and kind else self._gaps.get(kind, "")
        undecided = self._undecided.get(kind, [])
        damaged = self.vectors.meta.damaged_frames if self.vectors and kind else {}
        own = set(self.test.video_ids())
        return "; ".join(filter(None, (missing, *undecided, *(line for name, line in damaged.items() if name in own))))
