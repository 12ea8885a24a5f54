"""How an index folder stores its vectors: chosen when it is created, kept in `index.json`."""

from dataclasses import dataclass
from typing import Literal

from surgvl.core.checks import check_range

Backend = Literal["auto", "flat", "hnsw", "ivf"]


@dataclass(frozen=True, kw_only=True)
class IndexConfig:
    """How vectors are stored and searched.

    Args:
        backend: flat compares all vectors (exact); hnsw is a graph in memory, ivf are lists mapped from the disk, in a
            quarter of the space; auto chooses by the number of vectors, memory and measured recall.
        recall: recall@10 that a build must reach on clips and sentences, or auto falls back.
        memory_mb: what the vectors may take in memory, in MB; 0: half of the machine's.
    """

    backend: Backend = "auto"
    recall: float = 0.95
    memory_mb: int = 0

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: a number is out of range.
        """
        check_range("--recall", self.recall, 0, 1)
        check_range("--memory_mb", self.memory_mb, 0)

    def __str__(self) -> str:
        """The flags that say the same."""
        return f"--backend {self.backend} --recall {self.recall:g} --memory_mb {self.memory_mb}"


DEFAULT = IndexConfig()
