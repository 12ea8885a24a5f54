"""Videos encoded by the workers of a Ray cluster, by Ray Data's pool of actors: each loads the model once.

Workers read the videos and the model from paths, which must be the same on all machines. This process alone writes.
Shapes: N clips, E width of the space.
"""

import importlib.util
import logging
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from surgvl.core.errors import ConfigError, DataError, first_line
from surgvl.embed.embedder import local_embedder
from surgvl.embed.encoded import Shard, VideoToEncode
from surgvl.models.device import Precision


class VideoEncoder:
    """An actor: a model in a process of its own, which maps rows with a path to rows with vectors."""

    def __init__(self, model: str, stride_s: float, batch: int | None, device: str, precision: Precision) -> None:
        self.embedder = local_embedder(Path(model), stride_s, batch, device, precision)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Vectors as bytes of float32, which Arrow does not reshape; `problem` says why there are none."""
        done = {"place": row["place"], "problem": "", "vectors": b"", "starts": [], "ends": [], "damaged": ""}
        try:
            vectors, starts, ends, damaged = self.embedder.encode_video(Path(row["path"]), lambda read_s: None)
        except DataError as error:
            return {**done, "problem": str(error)}
        found = np.ascontiguousarray(vectors, np.float32).tobytes()
        return {**done, "vectors": found, "starts": starts, "ends": ends, "damaged": damaged}


@dataclass(frozen=True)
class RayWorkers:
    """The actors of a cluster.

    Attributes:
        address: of a running cluster, such as `auto`, `10.0.0.1:6379` or `ray://10.0.0.1:10001`; `local` starts one on
            this machine.
        num: how many actors; each takes a core, or a GPU where `device` is one.
        model: run folder, model folder or name, which all workers can read.
        dim: E.
        stride_s: seconds between vectors.
        batch: see `local_embedder`, as are device and precision.
        device: torch device.
        precision: in which vectors are computed.

    Raises:
        ConfigError: Ray is not installed.
    """

    address: str
    num: int
    model: Path
    dim: int
    stride_s: float | None
    batch: int | None
    device: str
    precision: Precision

    def __post_init__(self) -> None:
        """Check that Ray is there, before anything is written."""
        if not importlib.util.find_spec("ray"):
            raise ConfigError("--ray needs Ray Data: pip install 'surgvl[scale]'")

    def encoded(
        self, videos: Iterable[VideoToEncode], tick: Callable[[float], object]
    ) -> Iterator[tuple[VideoToEncode, Shard | DataError]]:
        """As `encoded.encoded`, in the order in which the workers are done; they do not report seconds.

        Raises:
            ConfigError: there is no cluster at the address.
        """
        # Before it is imported: Ray would report its use to its makers.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray
        import ray.data

        asked = {video.place: video for video in videos}
        if not asked:
            return
        own = {"num_cpus": self.num, "include_dashboard": False} if self.address == "local" else {}
        try:
            ray.init(address=self.address, log_to_driver=False, logging_level=logging.ERROR, **own)
        except ConnectionError as error:
            fact = first_line(error)
            raise ConfigError(f"--ray {self.address}: no cluster answers ({fact}): run `ray start --head`") from error
        try:
            for row in self._rows(ray.data, asked.values()):
                if row["problem"]:
                    yield asked[row["place"]], DataError(row["problem"])
                else:
                    vectors = np.frombuffer(row["vectors"], np.float32).reshape(-1, self.dim)
                    yield asked[row["place"]], (vectors, row["starts"], row["ends"], row["damaged"])
        finally:
            ray.shutdown()

    def _rows(self, data: Any, videos: Collection[VideoToEncode]) -> Iterator[dict[str, Any]]:
        """What the actors return, a row a video."""
        data.DataContext.get_current().enable_progress_bars = False
        rows = [{"place": video.place, "path": str(video.path.resolve())} for video in videos]
        # A name of a published model is not a path.
        model = str(self.model.resolve() if self.model.exists() else self.model)
        tasks = data.from_items(rows, override_num_blocks=len(rows)).map(
            VideoEncoder,
            fn_constructor_args=(model, self.stride_s, self.batch, self.device, self.precision),
            compute=data.ActorPoolStrategy(min_size=1, max_size=self.num),
            num_cpus=1,
            num_gpus=1 if self.device.startswith("cuda") else 0,
        )
        for row in tasks.iter_rows():
            yield {**row, "place": int(row["place"]), "starts": list(row["starts"]), "ends": list(row["ends"])}
