"""Search of an archive: a query becomes a vector, its best moments become hits, and the scores of its clips a curve."""

import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from surgvl.archive.archive import Archive
from surgvl.archive.records import Recording
from surgvl.core.arrays import Float32Array
from surgvl.core.errors import ConfigError, DataError
from surgvl.demo.answering import sentence
from surgvl.demo.schemas import Hit, SearchReply, SearchRequest, Span
from surgvl.retrieval.moments import Moment
from surgvl.retrieval.query import Query, query_vector
from surgvl.retrieval.where import Segment, Where

if TYPE_CHECKING:
    from surgvl.demo.model_loader import ModelLoader

_K = TypeVar("_K")
_V = TypeVar("_V")
# Searches whose curves can still be asked for, and pictures that can still be searched by.
NUM_KEPT = 256
# Clips this close share frames with the moment that others shall resemble.
NEAR_S = 3.0


@dataclass(frozen=True)
class Curve:
    """Scores of the clips of a recording."""

    times_s: list[float]
    scores: list[float]


class Finder:
    """Searches of an archive; thread-safe.

    Args:
        archive: the archive.
        models: its models.
    """

    def __init__(self, archive: Archive, models: "ModelLoader") -> None:
        self._archive, self._models = archive, models
        self._lock = threading.Lock()
        self._sentences: OrderedDict[tuple[str, str], Float32Array] = OrderedDict()
        self._searches: OrderedDict[tuple[str, str], Float32Array] = OrderedDict()
        self._pictures: OrderedDict[str, Path] = OrderedDict()

    def search(self, request: SearchRequest, where: Where) -> SearchReply:
        """The moments that fit a query, best first.

        Raises:
            ConfigError: an empty query, or conditions that no clip meets.
            DataError: an unknown recording or picture.
        """
        begun = time.monotonic()
        query = self._query(request)
        if where.recordings == () or where.spans == ():
            remark = "No part of the archive meets these conditions."
            return SearchReply(id="", hits=[], remark=remark, elapsed_s=time.monotonic() - begun)
        index = self._archive.index()
        vector = query_vector(query, self, index.sample)
        near = [(id, max(0.0, start_s - NEAR_S), end_s + NEAR_S) for id, start_s, end_s in query.like]
        moments = index.search(vector, request.k, where, [*near, *query.good, *query.bad])
        found = self._archive.foreign.marked(moments)
        titles = {each.id: each.title for each in self._archive.recordings()}
        hits = [self._hit(each, titles) for each in found]
        id = secrets.token_urlsafe(9)
        self._keep(self._searches, (self._archive.model_hash, id), vector)
        remark = " ".join(filter(None, (self._left_out(query), found.remark)))
        return SearchReply(id=id, hits=hits, remark=remark, elapsed_s=time.monotonic() - begun)

    def curve(self, recording: Recording, search: str, text: str) -> Curve:
        """Scores of all clips of a recording for a search, or for a sentence.

        Raises:
            DataError: the search is not known any more.
        """
        if search:
            with self._lock:
                vector = self._searches.get((self._archive.model_hash, search))
            if vector is None:
                raise DataError("this search is not known any more: search again")
        else:
            vector = self.text(sentence(text, "sentence"))
        middles, scores = self._archive.index().scores_of(recording.id, vector)
        return Curve(np.round(middles, 3).tolist(), np.round(scores.astype(float), 5).tolist())

    def text(self, text: str) -> Float32Array:
        """Unit vector [E] of a sentence; those of the last sentences are kept."""
        key = (self._archive.model_hash, text)
        with self._lock:
            if key in self._sentences:
                self._sentences.move_to_end(key)
                return self._sentences[key]
        vector: Float32Array = self._models.video_text.encode_text([text])[0]
        self._keep(self._sentences, key, vector)
        return vector

    def add_picture(self, path: Path) -> str:
        """Keep a picture to search by. Returns its id."""
        id = secrets.token_urlsafe(9)
        for old in self._keep(self._pictures, id, path):
            old.unlink(missing_ok=True)
        return id

    def _keep(self, kept: OrderedDict[_K, _V], key: _K, value: _V) -> list[_V]:
        with self._lock:
            kept[key] = value
            return [kept.popitem(last=False)[1] for _ in range(len(kept) - NUM_KEPT)]

    def _query(self, request: SearchRequest) -> Query:
        with self._lock:
            picture = self._pictures.get(request.image)
        if request.image and picture is None:
            raise DataError("this picture is not known any more: send it again")
        is_sentence = request.text.strip() or not (request.like or request.image or request.good)
        return Query(
            text=sentence(request.text, "sentence") if is_sentence else "",
            like=(_segment(request.like),) if request.like else (),
            image=picture,
            minus=sentence(request.minus, "sentence") if request.minus.strip() else "",
            weight=request.weight,
            good=tuple(map(_segment, request.good)),
            bad=tuple(map(_segment, request.bad)),
        )

    def _left_out(self, query: Query) -> str:
        """What was cut off a long sentence, as a sentence that others may follow; a server does not say it."""
        from surgvl.api import DualModel

        texts = [text for text in (query.text, query.minus) if text]
        model = self._models.video_text if texts else None
        said = model.left_out(texts) if isinstance(model, DualModel) else ""
        return f"{said[0].upper()}{said[1:]}." if said else ""

    def image(self, path: Path) -> Float32Array:
        """Unit vector [E] of a picture, as a clip in which nothing moves."""
        found: Float32Array = self._models.video_text.encode_video(path, 0.0)[0]
        return found

    def moment(self, segment: Segment) -> Float32Array:
        """Unit vector [E] of a moment of the archive."""
        return self._archive.index().vector_of(segment)

    def _hit(self, moment: Moment, titles: dict[str, str]) -> Hit:
        return Hit(
            recording=moment.video_id,
            title=titles.get(moment.video_id, moment.video_id),
            start_s=moment.start_s,
            end_s=moment.end_s,
            score=moment.score,
            word=moment.word,
            odds=moment.odds or None,
        )


def _segment(span: Span) -> Segment:
    if span.end_s < span.start_s:
        raise ConfigError(f"a range must end after it starts, got {span.start_s:g} to {span.end_s:g} s")
    return (span.recording, span.start_s, span.end_s)
