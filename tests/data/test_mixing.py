"""Mixing questions of several data sets: the formula against a plain count, and what is drawn in an epoch."""

from collections import Counter

import numpy as np
import pytest

from surgvl.core.errors import ConfigError, DataError
from surgvl.data.mixing import draw_probabilities, earlier_turns
from surgvl.data.sampler import epoch_order

# Source p: 6 counts, 2 phases; source q: 1 phase, 1 open question, 10 of a type that p has not.
ROWS = [("p", "count")] * 6 + [("p", "phase")] * 2 + [("q", "phase"), ("q", "open")] + [("q", "step")] * 10
SOURCES, TYPES = zip(*ROWS, strict=True)


def test_sources_by_weight_then_types_then_rows_alike() -> None:
    weights = {"p": 3.0, "q": 1.0}
    found = draw_probabilities(SOURCES, TYPES, weights)
    types_of = {"p": 2, "q": 3}
    rows_of = Counter(ROWS)
    want = [weights[s] / 4 / types_of[s] / rows_of[(s, t)] for s, t in ROWS]
    assert found == pytest.approx(want, abs=1e-15)
    assert found.sum() == pytest.approx(1)
    # Only ratios of weights count.
    assert draw_probabilities(SOURCES, TYPES, {"p": 0.6, "q": 0.2}) == pytest.approx(want, abs=1e-15)


def test_without_weights_types_are_alike_whatever_their_source() -> None:
    found = draw_probabilities(SOURCES, TYPES)
    num = Counter(TYPES)
    assert found == pytest.approx([1 / 4 / num[kind] for kind in TYPES], abs=1e-15)


def test_rows_move_with_their_probabilities() -> None:
    order = np.random.default_rng(0).permutation(len(ROWS))
    weights = {"q": 2.0, "p": 0.5}
    moved = draw_probabilities([SOURCES[at] for at in order], [TYPES[at] for at in order], weights)
    assert moved == pytest.approx(draw_probabilities(SOURCES, TYPES, weights)[order], abs=1e-15)


def test_epochs_keep_to_the_weights() -> None:
    """With the sampler's epochs, as `tune` draws: shares of sources and types over 50 epochs."""
    expected = len(ROWS) * draw_probabilities(SOURCES, TYPES, {"p": 1, "q": 4})
    drawn = np.concatenate([epoch_order(expected, seed=0, epoch=epoch) for epoch in range(50)])
    shares = {key: count / len(drawn) for key, count in Counter(ROWS[at] for at in drawn).items()}
    assert shares[("p", "count")] == pytest.approx(0.1, abs=0.01)
    assert shares[("p", "phase")] == pytest.approx(0.1, abs=0.01)
    assert all(shares[("q", kind)] == pytest.approx(0.8 / 3, abs=0.01) for kind in ("phase", "open", "step"))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"p": 1.0}, "weights are for p, the questions are of p, q"),
        ({"p": 1.0, "q": 1.0, "pitvqu": 1.0}, "weights are for p, pitvqu, q"),
        ({}, "weights are for nothing"),
        ({"p": 1.0, "q": 0.0}, "the weight of source q must be finite and > 0, got 0.0"),
        ({"p": float("nan"), "q": 1.0}, "the weight of source p must be finite and > 0, got nan"),
    ],
)
def test_weights_that_do_not_fit(weights: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        draw_probabilities(SOURCES, TYPES, weights)


def test_rows_that_do_not_fit() -> None:
    for sources, types in (([], []), (["p"], ["a", "b"])):
        with pytest.raises(DataError, match="each question needs a source and a type"):
            draw_probabilities(sources, types)


def test_earlier_turns_are_of_the_same_talk_about_the_same_video() -> None:
    videos = ["v", "v", "w", "v", "v", "v"]
    talks = ["a", "b", "a", "a", "", "a"]
    assert earlier_turns(videos, talks) == [[], [], [], [0], [], [0, 3]]
