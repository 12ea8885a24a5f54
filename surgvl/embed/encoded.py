"""Videos that are encoded one after the other, in this process; `ray_data` does the same on the workers of a cluster.

Shapes: N clips, E width of the space.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from surgvl.core.arrays import Float32Array
from surgvl.core.errors import DataError

if TYPE_CHECKING:
    from surgvl.embed.embedder import Embedder


@dataclass(frozen=True)
class VideoToEncode:
    """A video to encode.

    Attributes:
        video_id: its id.
        path: the file.
        content: hash of its content, see `recordings.identity`.
        place: its place in the list of all videos.
    """

    video_id: str
    path: Path
    content: str
    place: int


Shard = tuple[Float32Array, list[float], list[float], str]
"""Vectors [N, E], starts and ends in seconds, and a line about damaged frames."""


def encoded(
    embedder: "Embedder", videos: Iterable[VideoToEncode], tick: Callable[[float], object]
) -> Iterator[tuple[VideoToEncode, Shard | DataError]]:
    """Each video with its vectors, or with the error where it cannot be read.

    Args:
        embedder: the model.
        videos: what to encode.
        tick: called with the number of seconds that have been read since the last call.
    """
    for each in videos:
        try:
            yield each, embedder.encode_video(each.path, tick)
        except DataError as error:
            yield each, error
