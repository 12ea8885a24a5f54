"""How an index folder stores its vectors: chosen when it is created, kept in `index.json`."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Backend = Literal["auto", "flat", "hnsw", "ivf"]


class IndexConfig(BaseModel):
    """Options of an index folder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    backend: Backend = Field(default="auto", description="flat is exact; auto chooses by size, memory and recall")
    recall: float = Field(default=0.95, gt=0, le=1, description="recall@10 that a build must reach, or it falls back")
    memory_mb: int = Field(default=0, ge=0, description="what the vectors may take in memory; 0: half of the machine's")


DEFAULT = IndexConfig()
