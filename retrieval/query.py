"""What is searched for: a sentence, a picture, moments, or several of these, with marks on earlier results.

Every part becomes a vector, and parts are added after dividing each by the standard deviation of its scores on a
sample of the index: a sentence's cosines lie much closer together than a clip's, and would otherwise not count.
Marks: Rocchio's feedback (Manning, Raghavan and Schuetze, Introduction to Information Retrieval, 2008, 9.1.1), and from
six of both kinds on a linear probe in closed form (ridge regression).

Shape letters: E width of the space, S clips of the sample, M marks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from surgvl.core.arrays import Float32Array
from surgvl.core.checks import check_range
from surgvl.core.errors import ConfigError
from surgvl.embed.vectors import unit
from surgvl.retrieval.clip_index import ClipIndex
from surgvl.retrieval.moments import SearchResults
from surgvl.retrieval.where import EVERYWHERE, Segment, Where

# Rocchio's weights of the query, the good and the bad marks, as the book recommends them.
ALPHA, BETA, GAMMA = 1.0, 0.75, 0.15
# What is not wanted counts as much as what is: with half, "like this but not that" still finds that, because a moment
# resembles itself in all respects.
MINUS = 1.0
# From this many marks on, of both kinds, a linear probe is fitted.
NUM_PROBED = 6
# Ridge regression's penalty: as much as one unit vector.
RIDGE = 1.0
# A part whose scores do not differ has no standard deviation.
_LEAST = 1e-6


@dataclass(frozen=True, kw_only=True)
class Query:
    """A search; at least one of its first three parts, or a good mark, is given.

    Args:
        text: a sentence.
        like: moments that results resemble, each (recording, start_s, end_s).
        image: a picture that results resemble.
        minus: a sentence about what results do not show.
        unlike: moments that results do not resemble.
        weight: share of the sentence where moments or a picture are given, too, 0 to 1.
        good: results that were marked as good.
        bad: results that were marked as bad.
    """

    text: str = ""
    like: tuple[Segment, ...] = ()
    image: Path | None = None
    minus: str = ""
    unlike: tuple[Segment, ...] = ()
    weight: float = 0.5
    good: tuple[Segment, ...] = ()
    bad: tuple[Segment, ...] = ()

    def __post_init__(self) -> None:
        """Check the parts.

        Raises:
            ConfigError: nothing to search for, or a weight that is not a share.
        """
        check_range("weight", self.weight, 0, 1)
        if not (self.text.strip() or self.like or self.image or self.good):
            raise ConfigError("the query is empty: give a sentence, a moment or a picture")

    @property
    def moments(self) -> tuple[Segment, ...]:
        """The moments that results resemble or that were marked: they are known, and left out of the results."""
        return self.like + self.good + self.bad


class Encoder(Protocol):
    """What turns the parts of a query into unit vectors [E]."""

    def text(self, sentence: str, /) -> Float32Array:
        """Of a sentence."""

    def image(self, path: Path, /) -> Float32Array:
        """Of a picture."""

    def moment(self, segment: Segment, /) -> Float32Array:
        """Of a moment."""


def query_vector(query: Query, encoder: Encoder, sample: Float32Array) -> Float32Array:
    """The unit vector [E] of a query.

    Args:
        query: the query.
        encoder: of its parts.
        sample: unit vectors [S, E] of clips of the index; may be empty.

    Raises:
        ConfigError: its parts cancel out.
    """
    examples = [encoder.moment(each) for each in query.like]
    if query.image is not None:
        examples.append(encoder.image(query.image))
    parts: list[tuple[float, Float32Array]] = []
    if query.text.strip():
        parts.append((query.weight if examples else 1.0, encoder.text(query.text)))
    if examples:
        parts.append((1.0 - query.weight if query.text.strip() else 1.0, _mean(examples)))
    if query.minus.strip():
        parts.append((-MINUS, encoder.text(query.minus)))
    if query.unlike:
        parts.append((-MINUS, _mean([encoder.moment(each) for each in query.unlike])))
    asked = _sum(parts, sample)
    good, bad = ([encoder.moment(each) for each in marks] for marks in (query.good, query.bad))
    if good or bad:
        asked = _sum([(ALPHA, asked)] * bool(parts) + feedback(good, bad, sample), sample)
    if not np.linalg.norm(asked) > _LEAST:
        raise ConfigError("the parts of the query cancel out: leave one out")
    return unit(asked)


def find(
    index: ClipIndex,
    query: Query,
    encoder: Encoder,
    k: int,
    where: Where = EVERYWHERE,
) -> tuple[SearchResults, Float32Array]:
    """The k moments of an index that fit a query best, without those that it names, and the query's vector.

    Args:
        index: the index.
        query: the query.
        encoder: of its parts.
        k: number of moments.
        where: search only these clips.

    Raises:
        ConfigError: parts that cancel out, k below 1, or conditions that no clip meets.
        DataError: a moment that is not in the index.
    """
    vector = query_vector(query, encoder, index.sample)
    known = index.counts("video_id")
    examples = [each[0] in known for each in query.like]
    is_foreign_clip = not query.text and (query.image is not None or bool(examples)) and not any(examples)
    return index.search(vector, k, where, query.moments, is_foreign_clip), vector


def feedback(
    good: Sequence[Float32Array], bad: Sequence[Float32Array], sample: Float32Array
) -> list[tuple[float, Float32Array]]:
    """Weights and vectors that marks add to a query.

    Args:
        good: unit vectors [E] of good results.
        bad: of bad ones.
        sample: [S, E], whose mean is what is neither.
    """
    if len(good) + len(bad) >= NUM_PROBED and good and bad:
        return [(ALPHA, linear_probe(np.stack([*good, *bad]), len(good), sample))]
    kinds = ((BETA, good), (-GAMMA, bad))
    return [(weight, _mean(marks)) for weight, marks in kinds if marks]


def linear_probe(marked: Float32Array, num_good: int, sample: Float32Array) -> Float32Array:
    """Direction [E] that separates good from bad marks: ridge regression on their difference from the sample's mean.

    Both kinds count alike, however many there are of each.

    Args:
        marked: [M, E], the good ones first.
        num_good: how many of them are good.
        sample: [S, E].
    """
    centre = sample.mean(0) if len(sample) else marked.mean(0)
    rows = (marked - centre).astype(np.float64)
    is_good = np.arange(len(marked)) < num_good
    shares = np.where(is_good, 1 / num_good, 1 / max(1, len(marked) - num_good))
    # Weighted ridge in its dual form: M is far below E.
    scaled = rows * np.sqrt(shares)[:, None]
    target = np.where(is_good, 1.0, -1.0) * np.sqrt(shares)
    found: Float32Array = (scaled.T @ np.linalg.solve(scaled @ scaled.T + RIDGE * np.eye(len(rows)), target)).astype(
        np.float32
    )
    return found


def _mean(vectors: Sequence[Float32Array]) -> Float32Array:
    return unit(np.mean(np.stack(vectors), 0, dtype=np.float32))


def _sum(parts: Sequence[tuple[float, Float32Array]], sample: Float32Array) -> Float32Array:
    """Sum of weighted vectors, each divided by the standard deviation of its scores on the sample."""
    if len(parts) == 1 and parts[0][0] > 0:
        return parts[0][1]
    total = np.zeros(len(parts[0][1]) if parts else 0, np.float32)
    for weight, vector in parts:
        deviation = float((sample @ vector).std()) if len(sample) > 1 else 1.0
        total += np.float32(weight / max(deviation, _LEAST)) * vector
    return total
