"""Recordings that share footage: made ones with a known cut."""

import numpy as np
import pytest

from surgvl.core.arrays import Float32Array
from surgvl.core.errors import ConfigError
from surgvl.embed.vectors import unit
from surgvl.retrieval.duplicates import near_duplicates

WIDTH = 32


def footage(length: int, seed: int) -> Float32Array:
    """Unit vectors that wander, as those of a recording do: consecutive ones are alike, distant ones are not."""
    random = np.random.default_rng(seed)
    steps = random.normal(size=(length, WIDTH))
    walk = np.zeros_like(steps)
    for at in range(length):
        walk[at] = steps[at] + (0.95 * walk[at - 1] if at else 0)
    return unit(walk)


def encoded_again(vectors: Float32Array, seed: int) -> Float32Array:
    noisy = vectors + np.random.default_rng(seed).normal(size=vectors.shape).astype(np.float32) * 0.01
    return unit(noisy)


def test_a_cut_of_a_recording_is_found_with_its_times() -> None:
    whole = footage(300, 1)
    recordings = {"whole": whole, "cut": encoded_again(whole[120:180], 2), "apart": footage(200, 3)}
    (found,) = near_duplicates(recordings, step_s=2.0)
    assert (found.recording, found.other) == ("cut", "whole")
    assert (found.start_s, found.end_s, found.offset_s) == (0.0, 120.0, 240.0)
    assert found.cosine > 0.99


def test_two_shared_stretches_are_two_and_the_longest_is_first() -> None:
    one, other = footage(200, 4), footage(240, 5)
    other[20:60], other[150:175] = one[10:50], one[100:125]
    found = near_duplicates({"a": one, "b": other}, step_s=1.0)
    # One step more or less: the next second may be like that of the other recording by chance.
    spans = [(each.start_s, each.end_s, each.offset_s) for each in found]
    assert np.allclose(spans, [(10, 50, 10), (100, 125, 50)], atol=1)


@pytest.mark.parametrize("length", [1, 9, 400])
def test_still_pictures_and_other_footage_match_nothing(length: int) -> None:
    still = np.repeat(footage(1, 6), 60, 0)
    recordings = {"still": still, "also still": still.copy(), "one": footage(length, 7), "two": footage(300, 8)}
    assert near_duplicates(recordings, step_s=1.0) == []


def test_shorter_footage_than_asked_for_does_not_count() -> None:
    one, other = footage(100, 9), footage(100, 10)
    other[40:55] = one[40:55]
    assert near_duplicates({"a": one, "b": other}, step_s=1.0, least_s=10.0)
    assert not near_duplicates({"a": one, "b": other}, step_s=1.0, least_s=30.0)
    with pytest.raises(ConfigError, match="least_s must be > 0"):
        near_duplicates({}, step_s=1.0, least_s=0.0)
