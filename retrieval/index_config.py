"""How an index folder stores its vectors: chosen when it is created, kept in `index.json`."""

import re
from dataclasses import dataclass
from typing import Literal

from surgvl.core.checks import check_range
from surgvl.core.credentials import mask
from surgvl.core.errors import ConfigError

Backend = Literal["auto", "flat", "hnsw", "ivf", "ivf_pq", "milvus"]
Device = Literal["auto", "cpu", "gpu"]


@dataclass(frozen=True, kw_only=True)
class IndexConfig:
    """How vectors are stored and searched.

    Args:
        backend: flat compares all vectors (exact); hnsw is a graph in memory, ivf are lists mapped from the disk, in a
            quarter of the space, ivf_pq in an eighth; milvus is a server; auto chooses by the number of vectors, memory
            and measured recall, and never a server.
        recall: recall@10 that a build must reach on clips and sentences, or auto falls back.
        memory_mb: what the vectors may take in memory, in MB; 0: half of the machine's.
        address: of the Milvus server, http://HOST:PORT.
        refine: lists keep full vectors on disk, too, and rank what they find with them; auto does so where much recall
            is wanted.
        device: where flat and ivf are searched: auto uses a GPU for many vectors where FAISS sees one.
    """

    backend: Backend = "auto"
    recall: float = 0.95
    memory_mb: int = 0
    address: str = ""
    refine: bool = False
    device: Device = "auto"

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: a number is out of range.
        """
        check_range("--recall", self.recall, 0, 1)
        check_range("--memory_mb", self.memory_mb, 0)
        if (self.backend == "milvus") != bool(self.address):
            raise ConfigError("--backend milvus and --address must be given together, such as http://localhost:19530")
        # pymilvus would take a path as a database in this process; and a password does not belong in a file.
        if self.address and not re.fullmatch(r"https?://[^/@\s]+/?", self.address):
            raise ConfigError(f"--address must be http://HOST:PORT or https://HOST:PORT, got {mask(self.address)}")
        if self.refine and self.backend not in ("auto", "ivf", "ivf_pq"):
            raise ConfigError(f"--backend {self.backend} has full vectors or a graph: give --refine with ivf or ivf_pq")
        if self.device == "gpu" and self.backend in ("hnsw", "milvus"):
            raise ConfigError(f"--backend {self.backend} is not searched on a GPU: give flat or ivf, or --device auto")

    def __str__(self) -> str:
        """The flags that say the same."""
        words = f"--backend {self.backend} --recall {self.recall:g} --memory_mb {self.memory_mb}"
        words += f" --address {self.address}" if self.address else ""
        words += " --refine true" if self.refine else ""
        return words + (f" --device {self.device}" if self.device != "auto" else "")


DEFAULT = IndexConfig()
