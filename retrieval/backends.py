"""The backends that an index folder can hold, by the word that chooses them."""

from surgvl.retrieval.bulk_index import BulkIndex
from surgvl.retrieval.faiss_flat import FaissFlat
from surgvl.retrieval.faiss_hnsw import FaissHnsw
from surgvl.retrieval.faiss_ivf import FaissIvf
from surgvl.retrieval.faiss_ivf_pq import FaissIvfPq
from surgvl.retrieval.milvus import MilvusIndex

BACKENDS: dict[str, type[BulkIndex]] = {
    "flat": FaissFlat,
    "hnsw": FaissHnsw,
    "ivf": FaissIvf,
    "ivf_pq": FaissIvfPq,
    "milvus": MilvusIndex,
}
