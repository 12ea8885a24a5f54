"""The `search` command: finds moments that match a sentence, or that look like another moment."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from surgvl.commands.common import is_server
from surgvl.core.errors import ConfigError, DataError
from surgvl.core.files import command
from surgvl.core.plurals import plural
from surgvl.core.tables import plain_table
from surgvl.core.times import clock, seconds
from surgvl.retrieval.clip_index import ClipIndex
from surgvl.retrieval.moments import Moment, SearchResults, looks_like_a_file, score_texts
from surgvl.retrieval.where import Segment, Where


def search(
    query: str = "",
    *,
    index: Path,
    like: str = "",
    k: int = 5,
    video: str = "",
    procedure: str = "",
    source: str = "",
    model: Path | None = None,
    device: str = "cpu",
    server: str = "",
    api_key: str = "",
) -> SearchResults:
    """Find moments that match a sentence, or that look like another moment.

    Args:
        query: a sentence; or give --like.
        index: index folder (surgvl index).
        like: a moment, as VIDEO@TIME, of a video in the index (video01@12.5) or of any file (clip.mp4@0:12.5); the time
            is in seconds, m:ss or h:mm:ss.
        k: number of moments.
        video: only in this video.
        procedure: only in videos of this procedure.
        source: only in videos of this data set.
        model: the model that made the vectors; needed only if its folder was moved.
        device: torch device, such as cpu or cuda.
        server: address of `surgvl serve` with that model, which encodes instead of this process.
        api_key: the server's key, or @FILE that contains it; SURGVL_API_KEY by default, which is safer.

    Raises:
        ConfigError: not exactly one of a sentence and --like, a file name as a sentence, or an invalid VIDEO@TIME.
        DataError: not an index folder, or not the model that made its vectors.
    """
    if bool(query.strip()) == bool(like):
        raise ConfigError("give either a sentence or --like VIDEO@TIME")
    if looks_like_a_file(query):
        raise ConfigError(f"{query!r} is a file, not a sentence: search by a clip with --like {query}@TIME")
    with ClipIndex.open(index) as clip_index:
        exclude: tuple[Segment, ...] = ()
        name, time_s = _moment(like) if like else ("", 0.0)
        if like and name in clip_index.counts("video_id"):
            vector, start_s, end_s = clip_index.vector_at(name, time_s)
            exclude = ((name, start_s, end_s),)
        else:
            vector = _encode(clip_index, query, name, time_s, model, device, server, api_key)
        is_foreign_clip = bool(like) and not exclude
        where = Where.chosen(video, procedure, source)
        found = clip_index.search(vector, k, where, exclude, is_foreign_clip)
        rows: list[list[object]] = [["", "score", "video", "from", "to", "procedure", "source"]]
        scores = score_texts([moment.score for moment in found])
        for place, (moment, score) in enumerate(zip(found, scores, strict=True), 1):
            times = (clock(moment.start_s), clock(moment.end_s))
            rows.append([place, score, moment.video_id, *times, moment.procedure, moment.source])
        print(plain_table(rows, indent=""))
        videos = plural(len(clip_index.counts("video_id")), "video")
        print(f"\n{plural(len(found), 'moment')} among {plural(len(clip_index), 'clip')} of {videos}")
        if found.remark:
            print(found.remark)
        if found:
            print(f"next: {command('search', like=f'{found[0].video_id}@{_middle(found[0]):.1f}', index=index)}")
    return found


def _encode(
    clip_index: ClipIndex,
    query: str,
    name: str,
    time_s: float,
    model: Path | None,
    device: str,
    server: str,
    api_key: str,
) -> NDArray[np.float32]:
    """Vector [E] of a sentence, or of a moment of a file."""
    if not query and not os.path.exists(name):
        raise DataError(f"{name!r} is neither a video of {clip_index.folder} nor a file: check the id or the path")
    if server:
        if model is not None:
            raise ConfigError("--server and --model must not be given together: choose where the model runs")
        from surgvl.serve.client import Server
        from surgvl.serve.remote import RemoteDual

        remote = RemoteDual(Server(server, api_key))
        clip_index.check_model(remote.hash, f"the model of {server}")
        there: NDArray[np.float32] = (remote.encode_text([query]) if query else remote.encode_video(name, time_s))[0]
        return there
    if model is None and is_server(clip_index.model):
        raise DataError(
            f"{clip_index.folder} was made with the model behind {clip_index.model}: give it as --server, or its "
            "folder as --model"
        )
    if model is None and not Path(clip_index.model).exists():
        raise DataError(
            f"{clip_index.folder} was made with model {clip_index.model}, which does not exist: give its new folder "
            "as --model"
        )
    # Torch and the model are wanted only here: a moment of the index needs neither.
    from surgvl.api import DualModel, load

    loaded = load(model or clip_index.model, device)
    if not isinstance(loaded, DualModel):
        raise DataError(f"{loaded.folder} is not a video-text model: give the one that made the vectors as --model")
    clip_index.check_model(loaded.hash, f"the model in {loaded.folder}")
    vector: NDArray[np.float32] = (loaded.encode_text([query]) if query else loaded.encode_video(name, at_s=time_s))[0]
    return vector


def _moment(text: str) -> tuple[str, float]:
    name, _, time = text.rpartition("@")
    if not name:
        raise ConfigError(f"--like must be VIDEO@TIME, such as video01@12.5 or video01@0:12.5, got {text!r}")
    return name, seconds(time, f"--like {text!r}:")


def _middle(moment: Moment) -> float:
    return (moment.start_s + moment.end_s) / 2
