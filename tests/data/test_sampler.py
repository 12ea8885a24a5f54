"""Balanced sampling: the formula by loops and by hand, the cap by stepwise filling, epochs by counting."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from surgvl.core.arrays import Float64Array
from surgvl.core.errors import ConfigError, DataError
from surgvl.data.clips import PretrainClips
from surgvl.data.frame_store import FrameStore
from surgvl.data.manifest import Manifest, VideoRow
from surgvl.data.sampler import (
    ClipConfig,
    Level,
    balanced,
    capped,
    epoch_order,
    expected_draws,
    group_sizes,
)
from surgvl.video.clip import Preprocess

# ---- the formula


def test_group_sizes_are_those_of_counting_by_hand() -> None:
    dice = np.random.default_rng(0)
    columns = [dice.integers(0, size, 200) * 7 for size in (3, 6, 11)]
    found = group_sizes([Level(column) for column in columns])
    for clip in range(200):
        for at, column in enumerate(columns):
            mine = [other for other in range(200) if column[other] == column[clip]]
            members = {columns[at + 1][other] for other in mine} if at < 2 else set(mine)
            assert found[at][clip] == len(members)


def test_the_formula_is_the_product_of_powers_of_sizes() -> None:
    dice = np.random.default_rng(1)
    levels = [Level(dice.integers(0, 3, 50), 0.7), Level(dice.integers(0, 9, 50), -0.2)]
    weights = dice.uniform(0.5, 2, 50)
    coarse, fine = group_sizes(levels)
    shares = [w * a**-0.7 * b**0.2 for w, a, b in zip(weights, coarse, fine, strict=True)]
    expected = np.array(shares) / sum(shares) * 50
    np.testing.assert_allclose(expected_draws(levels, 50, weights), expected, rtol=1e-12)


def shares(expected: Float64Array) -> list[Fraction]:
    return [Fraction(value).limit_denominator(1000) for value in (expected / expected.sum()).tolist()]


SOURCES = ["chole"] * 3 + ["cysts"] + ["lens"] * 6
SPECIALTIES = ["abdomen"] * 4 + ["eye"] * 6


def test_frames_are_uniform_to_the_bit() -> None:
    for number in (1, 7, 49, 1000):
        assert (balanced("frames", {}, number) == 1).all()


def test_specialties_then_data_sets_have_equal_mass() -> None:
    found = shares(balanced("specialty", {"source": SOURCES, "specialty": SPECIALTIES}, 10))
    # 1 / (N_d |D_s|) up to a constant: chole 1 / (3 * 2), cysts 1 / (1 * 2), lens 1 / (6 * 1).
    assert found == [Fraction(1, 12)] * 3 + [Fraction(1, 4)] + [Fraction(1, 12)] * 6


def test_weights_are_the_mass_of_data_sets() -> None:
    weights = {"chole": 0.5, "cysts": 0.2, "lens": 0.3, "not here": 9.0}
    found = balanced("dataset_weight", {"source": SOURCES}, 10, weights)
    np.testing.assert_allclose(found, np.array([0.5 / 3] * 3 + [0.2] + [0.05] * 6) * 10, rtol=1e-12)


def test_clusters_of_each_level_have_equal_mass() -> None:
    columns = {"cluster_0": [0] * 3 + [1] * 5, "cluster_1": [0, 0, 1, 2, 2, 2, 2, 2]}
    found = shares(balanced("cluster", columns, 8))
    # 1/K_top 1/K_sub 1/n_leaf: two of the first leaf, one of the second, and a top that is one leaf of five.
    assert found == [Fraction(1, 8)] * 2 + [Fraction(1, 4)] + [Fraction(1, 10)] * 5


def test_temperature_goes_from_clusters_to_clips() -> None:
    columns = {"cluster_0": [0] * 16 + [1] * 4}
    assert balanced("cluster", columns, 20, temperature=0.0)[:16].sum() == pytest.approx(10)
    assert balanced("cluster", columns, 20, temperature=0.5)[:16].sum() == pytest.approx(20 * 4 / (4 + 2))
    np.testing.assert_allclose(balanced("cluster", columns, 20, temperature=1.0), 1.0)


# ---- the cap


def test_the_cap_hands_on_what_it_cuts() -> None:
    # 3 of the first go to 2, 1, 1 in proportion: 3.5, 1.75, 1.75; the half above 3 goes to the last two.
    np.testing.assert_allclose(capped(np.array([1.0, 6.0, 1.0, 2.0]), 3.0), [2, 3, 2, 3])


def test_the_cap_is_what_filling_drop_by_drop_comes_to() -> None:
    dice = np.random.default_rng(2)
    for most in (1.0, 1.2, 2.0, 5.0, 1e9):
        expected = dice.lognormal(0, 2, 40)
        expected *= 40 / expected.sum()
        found = capped(expected, most)
        filled = expected.copy()
        for _ in range(1000):
            over = filled >= most
            spare = (filled - most)[over].sum()
            filled[over] = most
            if over.all() or spare < 1e-13:
                break
            filled[~over] *= 1 + spare / filled[~over].sum()
        np.testing.assert_allclose(found, filled, rtol=1e-9)
        assert found.sum() == pytest.approx(40)
        assert found.max() <= most


def test_a_small_source_alone_in_its_specialty_is_not_repeated_without_end() -> None:
    columns = {"source": ["big"] * 990 + ["small"] * 10, "specialty": ["a"] * 990 + ["b"] * 10}
    assert balanced("specialty", columns, 1000)[990:].sum() == pytest.approx(500)
    found = balanced("specialty", columns, 1000, max_repeats=4)
    np.testing.assert_allclose(found[990:], 4)
    np.testing.assert_allclose(found[:990], 960 / 990)


# ---- epochs


def test_an_even_epoch_is_a_permutation() -> None:
    for epoch in range(5):
        # As before there was any balance: runs from then repeat.
        mine = np.random.default_rng([7, epoch]).permutation(1001)
        assert np.array_equal(epoch_order(np.ones(1001), 7, epoch), mine)


def test_counts_of_an_epoch_are_within_one_of_what_is_expected() -> None:
    dice = np.random.default_rng(3)
    expected = dice.lognormal(0, 2, 500)
    expected *= 500 / expected.sum()
    for epoch in range(20):
        order = epoch_order(expected, 11, epoch)
        assert len(order) == 500
        assert np.abs(np.bincount(order, minlength=500) - expected).max() < 1
        assert np.array_equal(order, epoch_order(expected, 11, epoch))
    assert not np.array_equal(epoch_order(expected, 11, 0), epoch_order(expected, 12, 0))
    # Copies of a clip are spread over the epoch, not one after the other.
    order = epoch_order(np.array([250.0] + [250 / 499] * 499), 0, 0)
    where = np.flatnonzero(order == 0)
    assert where[0] < 20
    assert where[-1] > 480


def test_counts_of_many_epochs_keep_close_too() -> None:
    dice = np.random.default_rng(4)
    expected = dice.lognormal(0, 2, 300)
    expected *= 300 / expected.sum()
    counts = sum(np.bincount(epoch_order(expected, 5, epoch), minlength=300) for epoch in range(200))
    # Draws with replacement would be off by the root of 200 x expected: 14 for a clip expected once.
    assert np.abs(counts - 200 * expected).max() < 4


# ---- errors


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"preset": "speciality"}, r"balance must be one of .*, got 'speciality': did you mean specialty\?"),
        ({"preset": "dataset_weight"}, r"no weight for source chole, cysts, lens; given are none: add"),
        ({"preset": "dataset_weight", "weights": {"chole": 1.0, "lens": 2.0}}, r"no weight for source cysts; .* lens:"),
        (
            {"preset": "dataset_weight", "weights": {"chole": 1, "lens": 0, "cysts": 1}},
            "weight of source lens must be finite and > 0, got 0",
        ),
        ({"preset": "frames", "weights": {"chole": 1.0}}, "for balance dataset_weight only, not for frames"),
        ({"preset": "cluster"}, "needs the column 'cluster_0' for every clip"),
        ({"preset": "specialty"}, "needs the column 'specialty' for every clip"),
        ({"preset": "frames", "max_repeats": 0.5}, r"max_repeats must be >= 1, got 0\.5"),
        ({"preset": "frames", "temperature": 2.0}, r"temperature must be from 0 .*, got 2\.0"),
    ],
)  # fmt: skip
def test_what_does_not_fit_gives_one_line(words: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        balanced(columns={"source": SOURCES}, num_clips=10, **words)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


# ---- clips


def made(counts: dict[str, tuple[str, str, int]]) -> tuple[FrameStore, Manifest]:
    """Videos as {id: (source, specialty, seconds)}, with no files behind them."""
    store = FrameStore({}, Preprocess(num_frames=4, fps=2.0, size_px=8))
    store.durations_s = {name: float(seconds) for name, (_, _, seconds) in counts.items()}
    rows = [
        VideoRow(video_id=name, path="", source=kind, specialty=field, fps=25, duration_s=seconds)
        for name, (kind, field, seconds) in counts.items()
    ]
    return store, Manifest(rows)


VIDEOS = {"a0": ("lap", "abdomen", 1200), "a1": ("lap", "abdomen", 800), "b": ("eye", "eyes", 100)}


@pytest.mark.slow
def test_skewed_sources_are_seen_as_the_balance_says() -> None:
    store, manifest = made(VIDEOS)
    seen = {}
    for balance, weights in (("frames", None), ("specialty", None), ("dataset_weight", {"lap": 1.0, "eye": 3.0})):
        data = PretrainClips(store, list(VIDEOS), 0, manifest, ClipConfig(balance=balance, weights=weights))
        assert len(data.rows) == 1050
        drawn = [data.numbers(index)[0] for index in range(1050)]
        seen[balance] = {name: drawn.count(name) for name in VIDEOS}
    assert seen["frames"] == {"a0": 600, "a1": 400, "b": 50}
    # 525 for each specialty and, within the first, time counts: 315 and 210.
    for balance, counts in (("specialty", (315, 210, 525)), ("dataset_weight", (157.5, 105, 787.5))):
        assert np.abs(np.array(list(seen[balance].values())) - counts).max() < 1


@pytest.mark.slow
def test_samples_follow_from_seed_and_index_alone() -> None:
    store, manifest = made(VIDEOS)

    def clips(seed: int) -> PretrainClips:
        config = ClipConfig(balance="specialty", stride="random", max_repeats=8)
        return PretrainClips(store, list(VIDEOS), seed, manifest, config)

    straight = clips(3)
    samples = [straight.numbers(index) for index in range(2500)]
    fresh = clips(3)
    for index in (2400, 17, 1300, 1050, 1049, 0):
        video_id, frames = fresh.numbers(index)
        assert video_id == samples[index][0]
        assert np.array_equal(frames, samples[index][1])
    other = clips(4)
    assert [sample[0] for sample in samples[:50]] != [other.numbers(index)[0] for index in range(50)]


def test_samples_that_repeat_share_a_clip() -> None:
    store, manifest = made(VIDEOS)
    plain, four = (
        PretrainClips(
            store,
            list(VIDEOS),
            0,
            manifest,
            ClipConfig(balance="specialty", stride="random", repeats=repeats),
        )
        for repeats in (1, 4)
    )
    batch = [four.numbers(index) for index in range(64, 96)]
    assert len({(video_id, *frames.tolist()) for video_id, frames in batch}) == 32 // 4
    for index, (video_id, frames) in enumerate(batch, start=64):
        same_id, same = plain.numbers(index // 4)
        assert video_id == same_id
        assert np.array_equal(frames, same)


def test_what_a_balance_lacks_is_said(tmp_path: Path) -> None:
    videos = {**VIDEOS, "c": ("lap", "", 50)}
    store, manifest = made(videos)
    specialty = ClipConfig(balance="specialty")
    no_file = ClipConfig(balance="cluster", clusters=tmp_path / "none.parquet")
    with pytest.raises(DataError, match="'c' has no specialty in the manifest"):
        PretrainClips(store, list(videos), 0, manifest, specialty)
    PretrainClips(store, list(VIDEOS), 0, manifest, specialty)
    with pytest.raises(ConfigError, match="balance specialty needs the specialty and source of each video"):
        PretrainClips(store, list(VIDEOS), 0, config=specialty)
    with pytest.raises(ConfigError, match="--clip.balance cluster needs --clip.clusters"):
        PretrainClips(store, list(VIDEOS), 0, manifest, ClipConfig(balance="cluster"))
    with pytest.raises(DataError, match=r"none\.parquet is not a file of clusters"):
        PretrainClips(store, list(VIDEOS), 0, manifest, no_file)
    with pytest.raises(DataError, match="nothing to train on"):
        PretrainClips(store, [], 0, manifest, specialty)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"balance": "frame"}, "--clip.balance must be one of frames, .*, got 'frame': did you mean frames?"),
        ({"stride": "fast"}, "--clip.stride must be one of fixed, random, exponential, incremental, got 'fast'"),
        ({"repeats": 0}, "--clip.repeats must be >= 1, got 0"),
        ({"temperature": 1.5}, "--clip.temperature must be between 0 and 1, got 1.5"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        ClipConfig(**given)
