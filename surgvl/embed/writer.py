"""What an embedder makes of video files, written into a vectors folder."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from surgvl.embed.prompt_sets import facts_of
from surgvl.embed.recordings import Shards
from surgvl.embed.vectors import Meta
from surgvl.prompts import PromptSet
from surgvl.video.marks import counted

if TYPE_CHECKING:
    from surgvl.embed.embedder import Embedder


def embed_file(
    embedder: "Embedder", shards: Shards, video_id: str, path: Path, content: str, tick: Callable[[float], object]
) -> None:
    """Replace the shard of a video.

    Args:
        embedder: the model.
        shards: of its vectors folder.
        video_id: the video.
        path: its file.
        content: content hash of the file.
        tick: called with the number of seconds that have been read since the last call; what it raises ends the work.

    Raises:
        DataError: the file cannot be read.
    """
    shards.drop(video_id)
    with counted() as marks:
        found = embedder.seconds(path, tick)
    shards.write(video_id, content, *found, marks.line(path))


def meta_of(embedder: "Embedder", shards: Shards, sets: Sequence[PromptSet]) -> Meta:
    """`vectors.json` of a folder with these shards and prompt sets."""
    return Meta(
        model=embedder.name,
        model_hash=embedder.hash,
        dim=embedder.dim,
        clip_s=embedder.preprocess.clip_s,
        stride_s=embedder.preprocess.step_s,
        preprocess=embedder.preprocess,
        num_vectors=shards.count,
        frozen=embedder.trained.get("frozen"),
        num_trainable=int(embedder.trained.get("num_trainable", 0)),
        pretraining_video_ids=embedder.trained.get("pretraining_video_ids", []),
        damaged_frames=shards.damaged,
        prompt_sets={each.name: facts_of(each) for each in sets},
    )
