"""FAISS on a GPU: a copy of an index there answers searches without a filter; the index itself answers all others.

Flat indexes and lists have a counterpart there, and graphs stay on the processor; a GPU takes no filter, and returns
2,048 results at most. What it finds are candidates, which are scored and ordered as those of the processor.

Never run on a GPU: written after FAISS' headers and its wiki ("Faiss on the GPU"), and tested with a stand-in that
copies to memory. `benchmarks/gpu.py` compares both sides where FAISS sees a GPU.
"""

import threading
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from surgvl.core.errors import ConfigError
from surgvl.retrieval.index_config import Device

# With CUDA it has more names than its type stubs know.
_FAISS: Any = faiss
# The most results, and lists, that FAISS takes on a GPU.
MOST = 2048
# Fewer vectors are searched faster than they are sent for.
_LEAST = 50_000


def last_line(error: Exception) -> str:
    """The fact in an error of FAISS, whose earlier lines are C++ signatures."""
    return str(error).splitlines()[-1].strip()


def is_used(device: Device, num: int) -> bool:
    """Whether an index of `num` vectors is to be copied to a GPU.

    Raises:
        ConfigError: a GPU is asked for, and FAISS cannot use one.
    """
    # FAISS without CUDA has the count, which is 0, and not the rest.
    has_support = hasattr(_FAISS, "StandardGpuResources")
    if device == "gpu" and not has_support:
        raise ConfigError(
            "--device gpu needs FAISS with CUDA, of which only one may be installed: pip uninstall faiss-cpu, then "
            "pip install 'surgvl[gpu]'"
        )
    if device == "gpu" and not _FAISS.get_num_gpus():
        raise ConfigError("--device gpu: FAISS sees no GPU: check nvidia-smi and CUDA_VISIBLE_DEVICES")
    is_there = has_support and bool(_FAISS.get_num_gpus())
    return is_there and device != "cpu" and (device == "gpu" or num >= _LEAST)


class GpuCopy:
    """A copy of a FAISS index on the first GPU; its searches take turns, because FAISS' do not run side by side there.

    Args:
        index: a flat index or lists.

    Raises:
        ConfigError: it does not fit.
    """

    def __init__(self, index: Any) -> None:
        self._lock = threading.Lock()
        try:
            self._resources = _FAISS.StandardGpuResources()
            self._index = _FAISS.index_cpu_to_gpu(self._resources, 0, index)
        except RuntimeError as error:
            raise ConfigError(
                f"FAISS cannot copy {index.ntotal:,} vectors to the GPU ({last_line(error)}): free memory there, or "
                "rebuild with --device cpu"
            ) from error

    def search(
        self, queries: NDArray[np.float32], k: int, parameters: Any
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Scores float32 [Q, k] and rows int64 [Q, k] of queries [Q, E]; k and lists are at most `MOST`."""
        with self._lock:
            scores, rows = self._index.search(queries, k, params=parameters)
        return scores, rows
