"""Answers to questions, of one mode, with those under controls and to the questions put in other ways.

Shape letters: N rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from surgvl.core.errors import DataError
from surgvl.core.results import UNRECORDED

# See `Answers`.
MODES = ("closed", "head", "open", "typed")


@dataclass(frozen=True)
class Answers:
    """An answer for each question, all of one mode.

    Attributes:
        video_ids: [N].
        questions: [N].
        answers: [N], the truth.
        types: [N], question types.
        predictions: [N].
        matched: bool [N]; whether the prediction is one of the allowed answers (always true if mode is `open`).
        mode: `closed` (one of a list), `head` (one of a list, by a classification head), `open` (free text) or `typed`
            (a number, a time, ..., see `surgvl.metrics.answer_types`).
        controls: by name, such as `black video`, the same model's answers to the same questions without their video,
            [N] each.
        confidences: [N], how sure the answerer says that it is, 0 ... 1, NaN where it does not say; empty: nowhere.
        control_confidences: the same of the controls, by name.
        outcomes: [N], each one of the six of `surgvl.metrics.outcomes`; empty where they are not known.
        control_outcomes: the same of the controls, by name.
        variants: by name, such as `wording 2`, the same model's answers to the same questions put in another way, [N]
            each; None where that changes nothing, such as the order of options where there are none.
        judged: of open answers, what a judge says of each, `correct`, `incorrect` or empty [N]; empty without one.
        control_judged: the same of the controls, by name.
        judge: the judge, and its agreement with a person, in words.
        encoder: `frozen` or `fine-tuned`.
        num_trainable: parameters trained on labels.
        protocol: `online` if the clips show the past only, else `offline`.

    Raises:
        DataError: no rows, different lengths, or an unknown mode.
    """

    video_ids: Sequence[str]
    questions: Sequence[str]
    answers: Sequence[str]
    types: Sequence[str]
    predictions: Sequence[str]
    matched: NDArray[np.bool_]
    mode: str
    controls: Mapping[str, Sequence[str]] = field(default_factory=dict)
    confidences: Sequence[float] = ()
    control_confidences: Mapping[str, Sequence[float]] = field(default_factory=dict)
    outcomes: Sequence[str] = ()
    control_outcomes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    variants: Mapping[str, Sequence[str | None]] = field(default_factory=dict)
    judged: Sequence[str] = ()
    control_judged: Mapping[str, Sequence[str]] = field(default_factory=dict)
    judge: str = ""
    encoder: str = "not stated"
    num_trainable: int = 0
    protocol: str = UNRECORDED

    def __post_init__(self) -> None:
        texts = (self.video_ids, self.questions, self.answers, self.types, self.predictions)
        lengths = [*map(len, texts), len(self.matched), *map(len, (*self.controls.values(), *self.variants.values()))]
        lengths += [len(each) for each in (self.outcomes, self.confidences) if len(each)]
        lengths += map(len, self.control_confidences.values())
        if not len(self.video_ids):
            raise DataError("no answers to score: check the split, and that the answers belong to this manifest")
        if len(set(lengths)) != 1:
            raise DataError(f"all answer columns must have the same length, got {lengths}")
        if self.mode not in MODES:
            raise DataError(f"mode must be one of {', '.join(MODES)}, got {self.mode!r}")

    def take(self, rows: Sequence[int]) -> "Answers":
        """The answers of some rows as they were asked, without controls, variants and marks."""
        return Answers(
            video_ids=[self.video_ids[row] for row in rows],
            questions=[self.questions[row] for row in rows],
            answers=[self.answers[row] for row in rows],
            types=[self.types[row] for row in rows],
            predictions=[self.predictions[row] for row in rows],
            matched=self.matched[list(rows)],
            mode=self.mode,
            outcomes=[self.outcomes[row] for row in rows] if self.outcomes else [],
            encoder=self.encoder,
            num_trainable=self.num_trainable,
            protocol=self.protocol,
        )
