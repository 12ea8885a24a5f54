"""Queries of several parts, on clusters of known direction; the linear probe equals scikit-learn's ridge regression."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from surgvl.core.arrays import Float32Array
from surgvl.core.errors import ConfigError
from surgvl.embed.vectors import unit
from surgvl.retrieval.query import Query, feedback, linear_probe, query_vector
from surgvl.retrieval.where import Segment

WIDTH, NUM = 24, 40
# Which recording shows what: two properties of four clusters.
HOOK_BLOOD, HOOK_DRY, CLIP_BLOOD, CLIP_DRY = range(4)
RANDOM = np.random.default_rng(0)
AXES = np.linalg.qr(RANDOM.normal(size=(WIDTH, WIDTH)))[0].astype(np.float32)
HOOK, BLOOD, OTHER = AXES[0], AXES[1], AXES[2]


def clips(hook: float, blood: float) -> Float32Array:
    noise = RANDOM.normal(size=(NUM, WIDTH)).astype(np.float32) * 0.1
    return unit(hook * HOOK + blood * BLOOD + OTHER + noise)


CLIPS = np.stack([clips(1, 1), clips(1, -1), clips(-1, 1), clips(-1, -1)])
SAMPLE = CLIPS.reshape(-1, WIDTH)
CLUSTER = np.repeat(np.arange(4), NUM)


def moment(segment: Segment) -> Float32Array:
    name, start_s, _ = segment
    found: Float32Array = CLIPS[int(name), int(start_s)]
    return found


# Sentences lie far from all clips, so their cosines with them are small.
SENTENCES = {"hook": unit(0.3 * HOOK + AXES[10]), "blood": unit(0.3 * BLOOD + AXES[10])}


class Told:
    """Knows the vectors of all sentences, pictures and moments."""

    text = staticmethod(SENTENCES.__getitem__)
    moment = staticmethod(moment)

    def image(self, path: Path) -> Float32Array:
        return unit(BLOOD + OTHER)


class Same(Told):
    """Knows one vector only, and moments that are nothing."""

    text = staticmethod(lambda sentence: AXES[0])
    moment = staticmethod(lambda segment: AXES[0] * 0)


ENCODERS = Told()


def shares(query: Query) -> list[float]:
    """Share of each cluster among the best results, as many as a cluster has clips."""
    best = np.argsort(-(SAMPLE @ query_vector(query, ENCODERS, SAMPLE)))[:NUM]
    return [float((CLUSTER[best] == each).mean()) for each in range(4)]


def at(cluster: int, *places: int) -> tuple[Segment, ...]:
    return tuple((str(cluster), float(place), place + 1.0) for place in places)


def test_a_sentence_and_a_moment_both_count_whatever_their_ranges_of_scores_are() -> None:
    both = shares(Query(text="hook", like=at(CLIP_BLOOD, 0)))
    assert both[HOOK_BLOOD] > 0.5
    text, like = (
        query_vector(Query(text="hook", like=at(CLIP_BLOOD, 0), weight=weight), ENCODERS, SAMPLE) for weight in (1, 0)
    )
    assert text @ SENTENCES["hook"] == pytest.approx(1, abs=1e-6)
    assert like @ moment(("2", 0, 1)) == pytest.approx(1, abs=1e-6)


def test_several_examples_a_picture_and_what_is_not_wanted() -> None:
    assert shares(Query(like=at(HOOK_BLOOD, 0, 1, 2)))[HOOK_BLOOD] > 0.9
    wet = shares(Query(image=Path("blood.png")))
    assert wet[HOOK_BLOOD] + wet[CLIP_BLOOD] == 1
    dry = shares(Query(like=at(HOOK_BLOOD, 0), minus="blood"))
    assert dry[HOOK_DRY] > shares(Query(like=at(HOOK_BLOOD, 0)))[HOOK_DRY] + 0.3
    assert shares(Query(text="hook", unlike=at(HOOK_BLOOD, 0, 1)))[HOOK_DRY] > 0.6


def test_marks_move_a_query_to_what_was_good() -> None:
    few = shares(Query(text="hook", good=at(HOOK_DRY, 0), bad=at(HOOK_BLOOD, 0)))
    many = shares(Query(text="hook", good=at(HOOK_DRY, 0, 1, 2), bad=at(HOOK_BLOOD, 0, 1, 2)))
    assert few[HOOK_DRY] > shares(Query(text="hook"))[HOOK_DRY]
    assert many[HOOK_DRY] > 0.95
    assert shares(Query(good=at(CLIP_DRY, 0)))[CLIP_DRY] > 0.9


def test_rocchio_is_its_formula_and_a_probe_takes_over_at_six_marks_of_both_kinds() -> None:
    good, bad = list(CLIPS[1, :2]), list(CLIPS[0, :3])
    (first, mean), (second, other) = feedback(good, bad, SAMPLE)
    assert (first, second) == (0.75, -0.15)
    assert np.allclose(mean, np.mean(good, 0) / np.linalg.norm(np.mean(good, 0)), atol=1e-6)
    assert np.allclose(other, np.mean(bad, 0) / np.linalg.norm(np.mean(bad, 0)), atol=1e-6)
    assert len(feedback(good, [*bad, CLIPS[0, 4]], SAMPLE)) == 1
    # Without bad marks there is nothing to separate.
    assert [weight for weight, _ in feedback([*good, *bad, *bad], [], SAMPLE)] == [0.75]


def test_the_probe_equals_ridge_regression() -> None:
    marked = np.concatenate([CLIPS[1, :5], CLIPS[0, :2]])
    weights = np.array([1 / 5] * 5 + [1 / 2] * 2)
    oracle = Ridge(alpha=1.0, fit_intercept=False)
    oracle.fit(marked.astype(np.float64) - SAMPLE.mean(0), [1] * 5 + [-1] * 2, sample_weight=weights)
    assert np.allclose(linear_probe(marked, 5, SAMPLE), oracle.coef_, atol=1e-5)


@pytest.mark.parametrize("query", [{}, {"text": "  "}, {"minus": "hook"}, {"bad": (("0", 0.0, 1.0),)}])
def test_a_query_that_asks_for_nothing_is_refused(query: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="give a sentence, a moment or a picture"):
        Query(**query)  # type: ignore[arg-type]


def test_a_weight_that_is_no_share_and_parts_that_cancel_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"weight must be between 0 and 1, got 1.5"):
        Query(text="hook", weight=1.5)
    with pytest.raises(ConfigError, match="cancel out"):
        query_vector(Query(like=at(0, 0)), Same(), SAMPLE)


def test_an_index_too_small_for_a_sample_can_be_searched() -> None:
    nothing = np.zeros((0, WIDTH), np.float32)
    found = query_vector(Query(text="hook", like=at(0, 0)), ENCODERS, nothing)
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-6)
