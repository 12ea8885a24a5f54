"""Predictors that see no video, as the inputs of `surgvl eval`: a score is worth as much as it exceeds theirs.

Of kinds with one label at a time, the longest class of the training videos is predicted everywhere, of whole videos the
most frequent one; of others, every class has the same score, and there are no boxes; a number is the median of those of
the training videos, which has the least mean absolute error of all constants; a question gets the most frequent
training answer (PitVQA: He et al., arXiv 2405.13949).
"""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pyarrow.compute as pc

from surgvl.core.plurals import plural
from surgvl.metrics.answer import LabelledQuestion, blind_answers
from surgvl.metrics.answer_types.base import is_typed
from surgvl.tasks.answers import Answers
from surgvl.tasks.base import LabelledScores, Scores, Unavailable
from surgvl.tasks.boxes import LabelledBoxes, no_boxes, true_boxes
from surgvl.tasks.inputs import EvalInputs
from surgvl.tasks.numbers import LabelledNumbers, Numbers, number_labels, part_of_kind
from surgvl.tasks.truth import (
    EXCLUSIVE,
    WHOLE,
    ClassesOf,
    Labels,
    class_groups,
    rater_labels,
    seconds_to_score,
    training_seconds,
)

NO_MODEL = "no model"


class BlindInputs(EvalInputs):
    """Predictions without a model, for the labels and questions of a split.

    Args:
        manifest: labels.
        split: of the manifest.
        relaxed: rule of relaxed boundaries; empty for none.
        seed: of random draws.
        published: classes of a data set.
        is_open: whether questions of a type have free-text answers.
    """

    def __init__(
        self,
        manifest: Labels,
        split: str,
        relaxed: str,
        seed: int,
        published: ClassesOf,
        is_open: Callable[[str], bool],
    ) -> None:
        super().__init__(manifest, split, None, None, (), (), 0.0, False, relaxed, seed)  # type: ignore[arg-type]
        self.manifest, self.published, self.is_open = manifest, published, is_open
        self.by_text = False

    def clips(self, kind: str) -> list[LabelledScores]:
        """Equal predictions for each second that has labels."""
        groups = class_groups(self.manifest, self.test, kind, self.published)
        if not groups:
            raise Unavailable(f"no {self.split} video of the manifest has labels of task {kind!r}")
        found = []
        for names, videos in groups.items():
            ids, times_s, labels = seconds_to_score(self.test.select(sorted(videos)), kind)
            there = [row for row in self.test.videos if row.video_id in videos]
            sources = " and ".join(sorted({row.source for row in there}))
            seconds = training_seconds(
                self.train, kind, {name: name for name in names}, {row.data_set for row in there}
            )
            scores, words = np.zeros((len(ids), len(names)), np.float32), "the same score for every class"
            if kind in EXCLUSIVE:
                # The tasks say what it is among the training videos.
                counts, what = dict(seconds), ""
                if not counts:
                    counts = {name: sum(name in own for own in labels) for name in names}
                    what = f" (the {'most frequent' if kind in WHOLE else 'longest'} of the {self.split} videos)"
                constant = max(counts, key=lambda name: (counts[name], name))
                scores[:, names.index(constant)] = 1
                words = f"always {constant}{what}"
            protocol = f"{self.split} split of {sources}, {NO_MODEL}: {words}"
            data = sources if len(groups) > 1 else ""
            raters = rater_labels(self.test, kind, ids, times_s)
            rows = Scores(ids, times_s, scores, names)
            found.append(LabelledScores(rows, labels, seconds, protocol, data, raters=raters))
        return found

    def numbers(self, kind: str) -> list[LabelledNumbers]:
        """The median of the training videos for each labelled video."""
        found = []
        for name in sorted(pc.unique(self.test.segment_table["task"]).to_pylist()):
            if not part_of_kind(name, (kind,)):
                continue
            truth = number_labels(self.test, name)
            training = number_labels(self.train, name) if self.train is not None else {}
            constant = float(np.median(list((training or truth).values())))
            sources = " and ".join(sorted({row.source for row in self.test.videos if row.video_id in truth}))
            words = f"always {constant:g} (the median of the {'training' if training else self.split} videos)"
            ids = sorted(truth)
            found.append(
                LabelledNumbers(
                    name,
                    Numbers(ids, np.full(len(ids), constant)),
                    np.array([truth[each] for each in ids]),
                    np.array([training[each] for each in sorted(training)]),
                    f"{self.split} split of {sources}, {NO_MODEL}: {words}",
                )
            )
        if not found:
            raise Unavailable(f"no {self.split} video of the manifest has labels of task {kind!r}")
        return found

    def boxes(self, kind: str) -> list[LabelledBoxes]:
        """No boxes at all."""
        groups = class_groups(self.manifest, self.test, kind, self.published)
        if not groups:
            raise Unavailable(f"no {self.split} video of the manifest has labels of task {kind!r}")
        found = []
        for names, videos in groups.items():
            true = true_boxes(self.test, kind, names, videos)
            sources = " and ".join(sorted({row.source for row in self.test.videos if row.video_id in videos}))
            protocol = f"{self.split} split of {sources}, {NO_MODEL}: no boxes"
            data = sources if len(groups) > 1 else ""
            rows = len(true.videos)
            found.append(LabelledBoxes(true.boxes, no_boxes(), names, true.video_names, rows, protocol, data))
        return found

    def answers(self) -> list[tuple[Answers, str]]:
        """The most frequent training answer to each question, each mode apart."""
        table = self.test.qa_table
        if not len(table):
            raise Unavailable(f"no {self.split} video of the manifest has questions")
        columns = ("video_id", "question", "answer", "type")
        ids, questions, truths, types = (table[name].to_pylist() for name in columns)
        types = [each or "all" for each in types]
        training = self.training_questions()
        words = "training"
        if not training:
            training, words = Counter(map(LabelledQuestion, questions, truths, types)), self.split
        said = blind_answers(training, questions, types)
        found = []
        # Hundreds of thousands of questions are of a few types.
        mode_of = {
            kind: "typed" if is_typed(kind) else "open" if self.is_open(kind) else "closed" for kind in set(types)
        }
        modes = [mode_of[each] for each in types]
        for mode in ("closed", "open", "typed"):
            rows = [at for at, each in enumerate(modes) if each == mode]
            if rows:
                own = [[column[at] for at in rows] for column in (ids, questions, truths, types)]
                answers = Answers(
                    video_ids=own[0],
                    questions=own[1],
                    answers=own[2],
                    types=own[3],
                    predictions=[said[at].answer for at in rows],
                    confidences=[said[at].share for at in rows],
                    matched=np.ones(len(rows), bool),
                    mode=mode,
                    encoder=NO_MODEL,
                )
                what = f"the most frequent {words} answer of the question"
                labels = f"{self._videos}, {plural(len(rows), 'question')}, {NO_MODEL}: {what}"
                found.append((answers, labels))
        return found

    def encoder(self, kind: str) -> tuple[str, int]:
        """There is none."""
        return NO_MODEL, 0
