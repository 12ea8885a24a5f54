"""A Milvus server behind the contract: vectors in a collection of the server, ids in a file of the index folder.

Milvus answers in float32, in an order of its own, and from whatever the collection holds. Here it proposes candidates,
with their vectors; these are scored again in float64 and ordered by id, and more are asked for while one that was left
out could still be among the best. So a `FLAT` collection equals exact search, unless more than 16,384 vectors tie at
the last place. It proposes no more candidates than that, and a search that needs more is refused. Filters are lists of
ids in Milvus' expression, and act in its search.

A removed vector leaves the server with the file that named it: when the next version is in place and the old file is
cleared. Until then, and after a killed write, a collection may hold more than the file says. Who still has the old
version open no longer finds what was removed, and gets an error where it asks for it.
Shape letters: N vectors, Q queries, E dimensions, M ids.
"""

import json
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self
from zipfile import BadZipFile

import numpy as np
from numpy.typing import ArrayLike, NDArray

from surgvl.core.arrays import Float32Array
from surgvl.core.credentials import read_key
from surgvl.core.errors import ConfigError, DataError
from surgvl.core.files import atomic
from surgvl.retrieval.base import DECIMALS, Ids, Selection, dots, top_k
from surgvl.retrieval.bulk_index import BulkIndex
from surgvl.retrieval.index_config import IndexConfig

# Up to here all vectors are compared.
_FLAT = 50_000
# Links of a node, candidates when it is linked.
_BUILD = {"M": 32, "efConstruction": 80}
# Milvus returns no more results than this, and takes about so many vectors in one message.
_MOST, _AT_ONCE = 16_384, 1000
_MARGIN = 16
# Milvus sums in float32: scores this close may be in either order.
_NEAR = 2 * 10.0**-DECIMALS


class MilvusIndex(BulkIndex):
    """Vectors on a server, for more of them than one machine holds."""

    name: ClassVar[str] = "milvus"
    is_exact: ClassVar[bool] = False
    SUFFIX: ClassVar[str] = "milvus"
    FORGETS: ClassVar[bool] = True

    def __init__(self, dim: int, address: str = "", collection: str = "", kind: str = "FLAT") -> None:
        super().__init__(dim)
        self.address, self.collection, self.kind = address, collection, kind
        self._ids: Ids = np.zeros(0, np.int64)
        self._client: Any = None

    @classmethod
    def create(cls, dim: int, config: IndexConfig) -> Self:
        """See BulkIndex."""
        return cls(dim, config.address)

    @classmethod
    def bytes_per_vector(cls, dim: int) -> int:
        """See BulkIndex: on the server."""
        return 4 * dim + 8

    def efforts(self) -> Sequence[int]:
        """Candidates that a search in the graph visits; one value where all vectors are compared."""
        return (0,) if self.kind == "FLAT" else (64, 128, 256, 512)

    @property
    def ids(self) -> Ids:
        """All ids, int64 [N], in the order in which they were added."""
        return self._ids

    def train(self, vectors: NDArray[np.float32]) -> None:
        """See BulkIndex: chooses between comparing all vectors and a graph."""
        if self.collection:
            raise DataError("the index already holds vectors: train before adding them")
        self.kind = "FLAT" if len(vectors) <= _FLAT else "HNSW"

    def _add(self, vectors: NDArray[np.float32], ids: Ids) -> None:
        with self._asking() as client:
            if not self.collection:
                self.collection = self._new(client)
            for at in range(0, len(ids), _AT_ONCE):
                pairs = zip(ids[at : at + _AT_ONCE].tolist(), vectors[at : at + _AT_ONCE], strict=True)
                # A killed write, or a removal, may have left the same id.
                client.upsert(self.collection, [{"id": name, "vector": vector} for name, vector in pairs])
        self._ids = np.concatenate([self._ids, ids])

    def _new(self, client: Any) -> str:
        """An empty collection, which reads see as writes left it."""
        from pymilvus import DataType, MilvusClient

        schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=self.dim)
        parameters = MilvusClient.prepare_index_params()
        build = {} if self.kind == "FLAT" else _BUILD
        parameters.add_index("vector", index_type=self.kind, metric_type="IP", params=build)
        name = f"surgvl_{uuid.uuid4().hex[:16]}"
        client.create_collection(name, schema=schema, index_params=parameters, consistency_level="Strong")
        return name

    def _remove(self, ids: Ids) -> None:
        self._ids = self._ids[~np.isin(self._ids, ids)]

    def _prepare(self, ids: Ids) -> str:
        if 2 * len(ids) <= len(self):
            return f"id in {ids.tolist()}"
        left_out = np.setdiff1d(self._ids, ids).tolist()
        return f"id not in {left_out}" if left_out else ""

    def _search(self, queries: NDArray[np.float32], k: int, where: Selection | None) -> tuple[Float32Array, Ids]:
        scores, ids = np.full((len(queries), k), -np.inf, np.float32), np.full((len(queries), k), -1, np.int64)
        chosen = self._ids if where is None else where.ids
        if k > _MOST:
            raise ConfigError(
                f"Milvus returns at most {_MOST:,} candidates and this search needs {k:,} of {len(chosen):,} vectors: "
                "ask for fewer moments, or search fewer recordings"
            )
        limit, open_ = min(k + _MARGIN, _MOST), np.arange(len(queries))
        while len(open_):
            for row, found in zip(open_.tolist(), self._found(queries[open_], limit, where), strict=True):
                names, rough, vectors = found
                # What was removed, or left by a killed write, is not in the index.
                mine = np.isin(names, chosen)
                # Worse than the least of these is what was left out.
                last = rough[-1] if len(rough) >= limit else -np.inf
                best, order = top_k(dots(queries[row : row + 1], vectors[mine]), names[mine], k)
                scores[row, : best.shape[1]], ids[row, : best.shape[1]] = best[0], order[0]
                if best.shape[1] == k and best[0, -1] > last + _NEAR * max(1.0, abs(last)) or not np.isfinite(last):
                    open_ = open_[open_ != row]
            if limit == _MOST:
                break
            limit = min(4 * limit, _MOST)
        if (ids < 0).any():
            raise DataError(f"{self._place} returned fewer than {k} of {len(chosen)} vectors: {_LOST}")
        return scores, ids

    def _found(
        self, queries: NDArray[np.float32], limit: int, where: Selection | None
    ) -> Iterator[tuple[Ids, NDArray[np.float64], NDArray[np.float32]]]:
        """For each query: ids, Milvus' scores, descending, and vectors of what it found."""
        searching = {"metric_type": "IP", "params": {"ef": max(self.effort, limit)} if self.kind == "HNSW" else {}}
        chosen = "" if where is None else where.prepared
        for at in range(0, len(queries), max(1, _MOST // limit)):
            batch = [row for row in queries[at : at + max(1, _MOST // limit)]]
            with self._asking() as client:
                found = client.search(
                    self.collection,
                    batch,
                    filter=chosen,
                    limit=limit,
                    output_fields=["vector"],
                    search_params=searching,
                )
            for hits in found:
                vectors = np.array([hit["entity"]["vector"] for hit in hits], np.float32).reshape(-1, self.dim)
                yield np.array([hit["id"] for hit in hits], np.int64), np.array([h["distance"] for h in hits]), vectors

    def vectors_of(self, ids: ArrayLike) -> NDArray[np.float32]:
        """See Index."""
        keys = self._keys(ids)
        if not (there := self.has(keys)).all():
            raise DataError(f"id {keys[~there][0]} is not in the index: add it first")
        found = np.empty((len(keys), self.dim), np.float32)
        for at in range(0, len(keys), _AT_ONCE):
            batch = keys[at : at + _AT_ONCE].tolist()
            with self._asking() as client:
                rows = client.get(self.collection, ids=list(dict.fromkeys(batch)), output_fields=["vector"])
            by_id = {row["id"]: row["vector"] for row in rows}
            if lost := [name for name in batch if name not in by_id]:
                raise DataError(f"{self._place} has no vector {lost[0]}: {_LOST}")
            found[at : at + len(batch)] = [by_id[name] for name in batch]
        return found

    def save(self, path: Path | str) -> None:
        """See Index: the ids, and where the vectors are."""
        about = {"address": self.address, "collection": self.collection, "kind": self.kind, "effort": self.effort}
        with atomic(path) as temporary, temporary.open("wb") as file:
            np.savez(file, ids=self._ids, about=np.array(json.dumps({**about, "dim": self.dim})))

    @classmethod
    def load(cls, path: Path | str, is_mapped: bool = False) -> Self:
        """See BulkIndex; the server is asked when its vectors are needed."""
        ids, about = _read(Path(path))
        index = cls(about["dim"], about["address"], about["collection"], about["kind"])
        index._ids, index.effort = ids, about["effort"]
        return index

    @classmethod
    def clear(cls, path: Path, kept: Sequence[Path]) -> None:
        """See BulkIndex: drops the collection of a file that is the last to name it, or what only this file names."""
        try:
            ids, about = _read(path)
        except DataError:
            # Half-written, by a process that was killed.
            path.unlink(missing_ok=True)
            return
        if name := about["collection"]:
            others = [ids for ids, other in map(_read, kept) if other["collection"] == name]
            with cls(about["dim"], about["address"], name)._asking() as client:
                if not others:
                    client.drop_collection(name)
                gone = np.setdiff1d(ids, np.concatenate(others)).tolist() if others else []
                for at in range(0, len(gone), _AT_ONCE):
                    client.delete(name, ids=gone[at : at + _AT_ONCE])
        path.unlink(missing_ok=True)

    @property
    def _place(self) -> str:
        return f"collection {self.collection} at {self.address}"

    @contextmanager
    def _asking(self) -> Iterator[Any]:
        """The client.

        Raises:
            ConfigError: pymilvus is not installed, or no address is known.
            DataError: the server does not answer, or refuses.
        """
        try:
            from pymilvus import MilvusClient, MilvusException
        except ImportError:
            raise ConfigError("--backend milvus needs pymilvus: pip install 'surgvl[milvus]'") from None
        if not self.address:
            raise ConfigError("--backend milvus needs --address, such as http://localhost:19530")
        try:
            if self._client is None:
                self._client = MilvusClient(self.address, token=read_key(None))
            yield self._client
        except MilvusException as error:
            fact = " ".join(error.message.split())[:200]
            raise DataError(f"{self._place}: {fact}: check the server, or rebuild the index") from error


_LOST = "another process built it again, or it was changed there; open the index again, or rebuild it"


def _read(path: Path) -> tuple[Ids, dict[str, Any]]:
    """Ids and the rest of a file that `save` wrote."""
    try:
        # NumPy leaves a file open that ends early.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return arrays["ids"], json.loads(str(arrays["about"]))
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise DataError(f"{path} is not an index on Milvus ({error}): rebuild it") from error
