"""The back-ends that an index folder can hold, by the word that chooses them."""

from surgvl.retrieval.faiss_flat import FaissFlat
from surgvl.retrieval.faiss_hnsw import FaissHnsw
from surgvl.retrieval.faiss_index import FaissIndex
from surgvl.retrieval.faiss_ivf import FaissIvf

BACKENDS: dict[str, type[FaissIndex]] = {"flat": FaissFlat, "hnsw": FaissHnsw, "ivf": FaissIvf}
