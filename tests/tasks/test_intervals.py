"""An interval of any metric of any task holds its score: on random, tied and constant predictions, and one video."""

import math
import sys
from collections.abc import Callable, Sequence
from itertools import cycle

import numpy as np
import pytest
from numpy.typing import NDArray

import surgvl.tasks
from surgvl.core.ontology import TRIPLET_NAMES
from surgvl.core.registry import discover
from surgvl.core.results import Result
from surgvl.metrics.answer import LabelledQuestion
from surgvl.metrics.detection import Boxes
from surgvl.tasks.answers import Answers
from surgvl.tasks.base import Scores, Task
from surgvl.tasks.detection import InstrumentDetection, TripletDetection
from surgvl.tasks.multi_label import MultiLabel
from surgvl.tasks.numbers import Numbers
from surgvl.tasks.phase import Phase
from surgvl.tasks.prompt_sensitivity import PromptSensitivity
from surgvl.tasks.retrieval import Retrieval
from surgvl.tasks.skill import Skill
from surgvl.tasks.triplet import Triplet
from surgvl.tasks.typed_answers import TypedAnswers
from surgvl.tasks.video_class import VideoClass
from surgvl.tasks.vqa import Vqa


@pytest.fixture(autouse=True)
def _one_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of random baselines, which have no interval: five take half of the time."""
    for name, module in [*sys.modules.items()]:
        if name.startswith("surgvl.tasks.") and hasattr(module, "NUM_RANDOM"):
            monkeypatch.setattr(module, "NUM_RANDOM", 1)


# What a model says; each takes the shape of its scores.
Model = Callable[[np.random.Generator, tuple[int, ...]], NDArray[np.float64]]
MODELS: dict[str, Model] = {
    "random": lambda rng, shape: rng.random(shape),
    "tied": lambda rng, shape: np.round(rng.random(shape) * 2) / 2,
    "constant": lambda rng, shape: np.broadcast_to(np.arange(shape[-1]) / shape[-1], shape).copy(),
    "distributions": lambda rng, shape: rng.dirichlet(np.full(shape[-1], 0.3), shape[:-1]),
    "decisions": lambda rng, shape: np.eye(shape[-1])[rng.integers(0, shape[-1], shape[:-1])],
}
ROWS = 12
Scored = Callable[[int, np.random.Generator, Model], list[Result]]


def rows_of(num_videos: int) -> tuple[list[str], NDArray[np.float64]]:
    return [f"v{at:02d}" for at in range(num_videos) for _ in range(ROWS)], np.tile(np.arange(float(ROWS)), num_videos)


def scores(num_videos: int, rng: np.random.Generator, model: Model, names: Sequence[str]) -> Scores:
    return Scores(*rows_of(num_videos), model(rng, (num_videos * ROWS, len(names))), names)


def rare(num_videos: int, rng: np.random.Generator, num_classes: int) -> NDArray[np.int64]:
    """A class of each row; the last ones are in the first videos alone."""
    found = np.sort(rng.integers(0, num_classes - 2, (num_videos, ROWS)), axis=1)
    found[0, -4:] = num_classes - 1
    found[: max(1, num_videos // 3), -1] = num_classes - 2
    return found.ravel()


def one_class(kind: type[Phase]) -> Scored:
    def scored(num_videos: int, rng: np.random.Generator, model: Model) -> list[Result]:
        truth = rare(num_videos, rng, 7)
        relaxed = "symmetric" if kind is Phase else ""
        task = kind(truth, 0, relaxed=relaxed, prior=[1.0] * 7)  # type: ignore[arg-type]
        return task.score(scores(num_videos, rng, model, "abcdefg"))

    return scored


def whole(kind: type[VideoClass]) -> Scored:
    def scored(num_videos: int, rng: np.random.Generator, model: Model) -> list[Result]:
        truth = np.minimum(np.arange(num_videos), 2)
        ids = [f"v{at}" for at in range(num_videos)]
        return kind(truth, 1).score(Scores(ids, np.zeros(num_videos), model(rng, (num_videos, 3)), "abc"))

    return scored


def many(kind: type[MultiLabel]) -> Scored:
    def scored(num_videos: int, rng: np.random.Generator, model: Model) -> list[Result]:
        truth = np.eye(5, dtype=np.int64)[rare(num_videos, rng, 5)]
        # Two raters, who differ in every third row.
        said = [["abcde"[at]] for at in truth.argmax(axis=1)]
        other = [[] if at % 3 == 0 else own for at, own in enumerate(said)]
        return kind(truth, raters=[said, other]).score(scores(num_videos, rng, model, "abcde"))

    return scored


def triplets(num_videos: int, rng: np.random.Generator, model: Model) -> list[Result]:
    names = [TRIPLET_NAMES[at] for at in (0, 20, 60, 94, 99)]
    truth = np.eye(5, dtype=np.int64)[rare(num_videos, rng, 5)]
    return Triplet(truth, names=names).score(scores(num_videos, rng, model, names))


def moments(num_videos: int, rng: np.random.Generator, model: Model) -> list[Result]:
    names = [TRIPLET_NAMES[at] for at in (0, 10, 20, 40, 60)]
    truth = np.eye(5, dtype=np.int64)[rare(num_videos, rng, 5)]
    return Retrieval(truth, names=names).score(scores(num_videos, rng, model, names))


def skills(num_videos: int, rng: np.random.Generator, model: Model) -> list[Result]:
    said = 6 + 24 * model(rng, (num_videos, 1))[:, 0]
    ids = [f"v{at}" for at in range(num_videos)]
    return Skill(rng.integers(6, 31, num_videos), [10.0, 14.0, 29.0]).score(Numbers(ids, said))


def answers(num_videos: int, rng: np.random.Generator, model: Model, mode: str, words: Sequence[str]) -> Answers:
    ids = rows_of(num_videos)[0]
    said = [words[at] for at in model(rng, (len(ids), len(words))).argmax(axis=1)]
    truth = [words[at] for at in rare(num_videos, rng, len(words))]
    types = ["number" if mode == "typed" else "ab"[at % 2] for at in range(len(ids))]
    other = [words[at] for at in rng.integers(0, len(words), len(ids))]
    more = {"controls": {"black video": other}} if mode == "closed" else {}
    variants = {"variants": {"wording 2": other, "order 2": said, "example": other}} if mode == "closed" else {}
    return Answers(ids, ["what?"] * len(ids), truth, types, said, np.ones(len(ids), bool), mode, **more, **variants)  # type: ignore[arg-type]


TRAINING = [LabelledQuestion("what?", "hook", "a"), LabelledQuestion("what?", "2", "number")]
CLOSED = ("hook", "grasper", "clip", "none", "other")
OPEN = ("a hook is seen", "a hook", "nothing of note is seen here", "two clips on the duct", "smoke")


def closed(num_videos: int, rng: np.random.Generator, model: Model) -> list[Result]:
    found = Vqa(TRAINING).score(answers(num_videos, rng, model, "closed", CLOSED))
    return found + Vqa(TRAINING).score(answers(num_videos, rng, model, "open", OPEN))


def typed(num_videos: int, rng: np.random.Generator, model: Model) -> list[Result]:
    return TypedAnswers(TRAINING).score(answers(num_videos, rng, model, "typed", tuple("12345")))


def sensitivity(num_videos: int, rng: np.random.Generator, model: Model) -> list[Result]:
    return PromptSensitivity().score(answers(num_videos, rng, model, "closed", CLOSED))


def detection(kind: type[InstrumentDetection] | type[TripletDetection]) -> Scored:
    def scored(num_videos: int, rng: np.random.Generator, model: Model) -> list[Result]:
        num = num_videos * ROWS
        names = [TRIPLET_NAMES[at] for at in (0, 20, 60, 94, 99)]
        frames, videos = np.arange(num), np.repeat(np.arange(num_videos), ROWS)
        labels, xywh = rare(num_videos, rng, 5), np.tile([0.2, 0.2, 0.4, 0.4], (num, 1))
        truth = Boxes(frames, videos, labels, xywh, np.ones(num))
        confidence = model(rng, (num, 5))
        said = np.where(rng.random(num) < 0.7, labels, confidence.argmax(axis=1))
        moved = np.abs(xywh + 0.3 * (confidence[:, :1] - 0.5))
        predicted = Boxes(frames, videos, said, moved, confidence.max(axis=1))
        return kind(truth, names, [f"v{at}" for at in range(num_videos)], num).score(predicted)

    return scored


KINDS: dict[str, type[Task]] = discover(surgvl.tasks, Task)  # type: ignore[type-arg, type-abstract]
SCORED: dict[str, Scored] = {
    **{name: whole(kind) for name, kind in KINDS.items() if issubclass(kind, VideoClass)},
    **{
        name: one_class(kind)
        for name, kind in KINDS.items()
        if issubclass(kind, Phase) and not issubclass(kind, VideoClass)
    },
    **{name: many(kind) for name, kind in KINDS.items() if issubclass(kind, MultiLabel) and kind is not Triplet},
    "triplet": triplets,
    "retrieval": moments,
    "skill": skills,
    "vqa": closed,
    "typed_answers": typed,
    "prompt_sensitivity": sensitivity,
    "instrument_detection": detection(InstrumentDetection),
    "triplet_detection": detection(TripletDetection),
}


def settings(name: str) -> dict[str, object]:
    """What a task does in a way of its own: all that its classes define, without the words for it."""
    merged: dict[str, object] = {"relaxed": name == "phase"}
    for each in reversed(KINDS[name].__mro__):
        merged |= {key: value for key, value in vars(each).items() if key == "__init__" or not key.startswith("__")}
    return {key: value for key, value in merged.items() if key not in ("name", "kind", "_abc_impl")}


def cases() -> list[tuple[str, str]]:
    """Every task with every model; tasks that differ in their names alone share the models among them."""
    alike: list[list[str]] = []
    for name in SCORED:
        if found := [names for names in alike if settings(names[0]) == settings(name)]:
            found[0].append(name)
        else:
            alike.append([name])
    return [
        (names[at % len(names)], model)
        for names in alike
        for at, model in zip(range(max(len(names), len(MODELS))), cycle(MODELS), strict=False)
    ]


def test_every_task_is_checked_here() -> None:
    assert set(SCORED) == set(KINDS)
    assert {name for name, _ in cases()} == set(KINDS)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "model"), cases())
def test_the_interval_of_every_score_holds_it(name: str, model: str) -> None:
    found = 0
    for num_videos in (6, 14):
        for result in SCORED[name](num_videos, np.random.default_rng(num_videos), MODELS[model]):
            where = f"{result.metric} of {num_videos} videos: {result.value} in [{result.low}, {result.high}]"
            if math.isnan(result.value) or math.isnan(result.low):
                assert math.isnan(result.low), where
                assert math.isnan(result.high), where
            else:
                found += 1
                assert result.low <= result.value <= result.high, where
    assert found > 2, "hardly a score has an interval, so that the test shows little"


@pytest.mark.parametrize("name", SCORED)
def test_one_video_gives_no_interval_of_no_width(name: str) -> None:
    results = SCORED[name](1, np.random.default_rng(0), MODELS["random"])
    assert results
    for result in results:
        assert math.isnan(result.low), result.metric
        assert math.isnan(result.high), result.metric
        assert not result.drawn, result.metric


def test_a_class_that_one_video_shows_leaves_its_own_score_without_an_interval() -> None:
    """Of the mean over classes there is one still."""
    truth = np.zeros((40, 1), np.int64)
    truth[3:6] = 1
    ids, times_s = [f"v{at // 10}" for at in range(40)], np.tile(np.arange(10.0), 4)
    said = Scores(ids, times_s, np.random.default_rng(0).random((40, 1)), ("clip",))
    found = {result.metric: result for result in KINDS["tool"](truth).score(said)}  # type: ignore[call-arg]
    assert math.isnan(found["mAP"].low)
    assert math.isnan(found["mAP_video"].low)
    assert found["brier"].low < found["brier"].value < found["brier"].high
