"""What an embedder makes of video files, written into a vectors folder."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from surgvl.core.arrays import Float32Array
from surgvl.core.operations import UNKNOWN
from surgvl.embed.meta import Meta
from surgvl.embed.model_facts import ModelFacts
from surgvl.embed.prompt_sets import facts_of
from surgvl.embed.recordings import Shards
from surgvl.prompts import PromptSet
from surgvl.video.marks import counted

if TYPE_CHECKING:
    from surgvl.embed.embedder import Embedder


def encode_video(
    embedder: "Embedder", path: Path, tick: Callable[[float], object]
) -> tuple[Float32Array, list[float], list[float], str]:
    """What a shard holds of a video: vectors [N, E], starts and ends in seconds, and a line about damaged frames.

    Args:
        embedder: the model.
        path: the file.
        tick: called with the number of seconds that have been read since the last call; what it raises ends the work.

    Raises:
        DataError: the file cannot be read.
    """
    with counted() as marks:
        found, starts, ends = embedder.seconds(path, tick)
    return found, starts, ends, marks.line(path)


def meta_of(model: ModelFacts, shards: Shards, sets: Sequence[PromptSet]) -> Meta:
    """`vectors.json` of a folder with these shards and prompt sets."""
    return Meta(
        model=model.name,
        model_hash=model.hash,
        dim=model.dim,
        clip_s=model.preprocess.clip_s,
        stride_s=model.preprocess.step_s,
        preprocess=model.preprocess,
        num_vectors=shards.count,
        frozen=model.trained.get("frozen"),
        num_trainable=int(model.trained.get("num_trainable", 0)),
        pretraining_video_ids=model.trained.get("pretraining_video_ids", [UNKNOWN]),
        damaged_frames=shards.damaged,
        prompt_sets={each.name: facts_of(each) for each in sets},
    )
