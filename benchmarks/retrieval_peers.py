"""What `retrieval.py` compares with: each stores vectors in a folder, opens it, and returns the ids of the best.

Needs `pip install --target PEERS --no-deps usearch simsimd numkong hnswlib lancedb lance-namespace
lance-namespace-urllib3-client deprecation overrides`, and for the last `pip install pymilvus milvus-lite`; what is not
there is left out.
"""

import importlib.util
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import faiss
import numpy as np

# Links, candidates while building, and candidates while searching of the graphs.
LINKS, EF_BUILD, EF_SEARCH = 32, 80, 256


class Peer(ABC):
    """A way to search. `search` gives int64 [k] ids of one query [E]."""

    name = ""
    package = ""
    largest = 1_000_000

    @classmethod
    def is_there(cls) -> bool:
        """Whether its package is installed."""
        return not cls.package or importlib.util.find_spec(cls.package) is not None

    @abstractmethod
    def build(self, vectors: Any, folder: Path) -> None:
        """Index vectors [N, E] and write them."""

    @abstractmethod
    def open(self, folder: Path, dim: int) -> None:
        """Read what `build` wrote."""

    @abstractmethod
    def search(self, query: Any, k: int) -> Any:
        """Ids of the k best."""


class NumPy(Peer):
    """All products, and the largest."""

    name = "NumPy, brute force"

    def build(self, vectors: Any, folder: Path) -> None:
        """See Peer."""
        np.save(folder / "vectors.npy", vectors)

    def open(self, folder: Path, dim: int) -> None:
        """See Peer."""
        self._vectors = np.load(folder / "vectors.npy")

    def search(self, query: Any, k: int) -> Any:
        """See Peer."""
        scores = self._vectors @ query
        best = np.argpartition(-scores, k)[:k]
        return best[np.argsort(-scores[best])]


class FaissFlat(Peer):
    """FAISS' own exact search."""

    name = "FAISS, flat"

    def build(self, vectors: Any, folder: Path) -> None:
        """See Peer."""
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(vectors)
        faiss.write_index(index, str(folder / "flat.faiss"))

    def open(self, folder: Path, dim: int) -> None:
        """See Peer."""
        self._index = faiss.read_index(str(folder / "flat.faiss"))

    def search(self, query: Any, k: int) -> Any:
        """See Peer."""
        return self._index.search(query[None], k)[1][0]


class Hnswlib(Peer):
    """A graph of float32 vectors."""

    name = f"hnswlib, M {LINKS}, ef {EF_SEARCH}"
    package = "hnswlib"

    def build(self, vectors: Any, folder: Path) -> None:
        """See Peer."""
        import hnswlib

        index = hnswlib.Index("ip", vectors.shape[1])
        index.init_index(len(vectors), EF_BUILD, LINKS)
        index.add_items(vectors)
        index.save_index(str(folder / "hnswlib.bin"))

    def open(self, folder: Path, dim: int) -> None:
        """See Peer."""
        import hnswlib

        self._index = hnswlib.Index("ip", dim)
        self._index.load_index(str(folder / "hnswlib.bin"))
        self._index.set_ef(EF_SEARCH)

    def search(self, query: Any, k: int) -> Any:
        """See Peer."""
        return self._index.knn_query(query, k, num_threads=1)[0][0].astype(np.int64)


class Usearch(Peer):
    """A graph of int8 vectors, mapped."""

    name = f"usearch, int8, M {LINKS}, ef {EF_SEARCH}"
    package = "usearch"

    def build(self, vectors: Any, folder: Path) -> None:
        """See Peer."""
        from usearch.index import Index

        index = Index(
            ndim=vectors.shape[1], metric="ip", dtype="i8", connectivity=LINKS, expansion_add=EF_BUILD,
            expansion_search=EF_SEARCH,
        )  # fmt: skip
        index.add(np.arange(len(vectors)), vectors)
        index.save(str(folder / "usearch.bin"))

    def open(self, folder: Path, dim: int) -> None:
        """See Peer."""
        from usearch.index import Index

        self._index = Index.restore(str(folder / "usearch.bin"), view=True)
        self._index.expansion_search = EF_SEARCH

    def search(self, query: Any, k: int) -> Any:
        """See Peer."""
        return self._index.search(query, k, threads=1).keys.astype(np.int64)


class LanceDB(Peer):
    """A database on the disk: lists of graphs of 8-bit vectors."""

    name = "LanceDB, IVF_HNSW_SQ"
    package = "lancedb"
    largest = 50_000

    def build(self, vectors: Any, folder: Path) -> None:
        """See Peer."""
        import lancedb
        import pyarrow as pa

        flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
        rows = pa.table({"id": pa.array(np.arange(len(vectors))), "vector": flat})
        table = lancedb.connect(folder).create_table("clips", rows)
        table.create_index(metric="dot", index_type="IVF_HNSW_SQ", m=LINKS, ef_construction=EF_BUILD)
        table.wait_for_index(["vector_idx"])

    def open(self, folder: Path, dim: int) -> None:
        """See Peer."""
        import lancedb

        self._table = lancedb.connect(folder).open_table("clips")

    def search(self, query: Any, k: int) -> Any:
        """See Peer."""
        found = self._table.search(query).distance_type("dot").nprobes(20).ef(EF_SEARCH).limit(k)
        return np.array(found.to_arrow()["id"].to_pylist(), np.int64)


class MilvusLite(Peer):
    """Milvus in this process: all products."""

    name = "milvus-lite, FLAT"
    package = "milvus_lite"
    largest = 50_000

    def build(self, vectors: Any, folder: Path) -> None:
        """See Peer."""
        client = self._client(folder)
        client.create_collection("clips", vectors.shape[1], metric_type="IP")
        for at in range(0, len(vectors), 1000):
            rows = [{"id": at + place, "vector": row} for place, row in enumerate(vectors[at : at + 1000])]
            client.insert("clips", rows)
        client.close()

    def open(self, folder: Path, dim: int) -> None:
        """See Peer."""
        self._opened = self._client(folder)
        self._opened.load_collection("clips")

    def search(self, query: Any, k: int) -> Any:
        """See Peer."""
        (found,) = self._opened.search("clips", [query], limit=k)
        return np.array([hit["id"] for hit in found], np.int64)

    def _client(self, folder: Path) -> Any:
        from pymilvus import MilvusClient

        return MilvusClient(str(folder / "clips.db"))


PEERS: list[type[Peer]] = [NumPy, FaissFlat, Hnswlib, Usearch, LanceDB, MilvusLite]
