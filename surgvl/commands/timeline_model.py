"""The models that make timelines of files: video-text models, here or behind a server, and trained recognisers."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from surgvl.core.errors import CheckpointError, ConfigError
from surgvl.export.interval_table import IntervalTable
from surgvl.export.zero_shot import TimelineConfig

if TYPE_CHECKING:
    from surgvl.api import DualModel
    from surgvl.probe.recognition import Recognition
    from surgvl.serve.remote import RemoteDual

Make = Callable[[str, Path, Callable[[float], object]], IntervalTable]


def maker(
    loaded: "DualModel | RemoteDual | Recognition",
    prompt_sets: list[str],
    config: TimelineConfig,
    stride_s: float | None,
) -> tuple[Make, list[str]]:
    """How a timeline is made, and the hashes of its classes, which a recogniser has of its own."""
    from surgvl.probe.recognition import Recognition

    if isinstance(loaded, Recognition):
        trained = loaded
        return lambda _, path, tick: trained.timeline(path, **asdict(config), stride_s=stride_s, tick=tick), []
    dual, sets = loaded, [loaded.class_set(name) for name in prompt_sets]
    hashes = [each.prompt_set.hash for each in sets]
    return lambda _, path, tick: dual.timeline(path, sets, **asdict(config), stride_s=stride_s, tick=tick), hashes


def load_any(
    model: Path | None, device: str, server: str, api_key: str, in_flight: int, encoder: Path | None = None
) -> "DualModel | RemoteDual | Recognition":
    """The model in this process, or that of a server, which must equal the one in the folder if both are given."""
    # Imported here because they import torch, which help and usage errors must not wait for.
    if server and encoder is not None:
        raise ConfigError(f"--encoder {encoder}: --server has its models: leave it out")
    if server:
        from surgvl.serve.client import Server
        from surgvl.serve.remote import RemoteDual

        remote = RemoteDual(Server(server, api_key, in_flight=in_flight))
        if model is not None:
            remote.check(model)
        return remote
    if model is None:
        raise ConfigError("give --model, a run folder of `surgvl align`, or --server, the address of `surgvl serve`")
    from surgvl.api import load
    from surgvl.probe.recognition import Recognition

    loaded = load(str(model), device, encoder=encoder)
    return loaded if isinstance(loaded, Recognition) else _video_text(str(model), loaded)


def load_dual(model: str, device: str) -> "DualModel":
    """A video-text model in this process.

    Raises:
        CheckpointError: the folder has none.
    """
    from surgvl.api import load

    return _video_text(model, load(model, device))


def _video_text(model: str, loaded: object) -> "DualModel":
    from surgvl.api import DualModel

    if not isinstance(loaded, DualModel):
        raise CheckpointError(
            f"{model} is not a video-text model: give a run folder of `surgvl align`, or the name of a published one"
        )
    return loaded
