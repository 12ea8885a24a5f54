"""The commands `surgvl index` and `surgvl search`."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from surgvl.core.errors import ConfigError, DataError
from surgvl.core.files import command, prepare_out, write_run
from surgvl.core.plurals import plural
from surgvl.core.times import clock, seconds
from surgvl.data.manifest import Manifest
from surgvl.data.report import aligned
from surgvl.embed.vectors import Vectors
from surgvl.retrieval.clip_index import Library
from surgvl.retrieval.moments import Found, Moment, looks_like_a_file, score_texts


def index(
    out: Path,
    vectors: Path | None = None,
    manifest: Path | None = None,
    delete: str | None = None,
    resume: bool = False,
) -> None:
    """Make vectors searchable: add a vectors folder to an index folder, or take a video out of one.

    To let an index grow, `surgvl embed` the new videos into a folder of their own and add that with --resume.

    Args:
        out: index folder; a new one is made.
        vectors: vectors folder (surgvl embed).
        manifest: manifest folder of its videos; gives paths, procedures and sources.
        delete: id of a video to take out of the index.
        resume: add to an index that is there; of its own videos, those that come again are replaced, the others stay.

    Raises:
        ConfigError: neither something to add nor to delete, or both; or another process keeps writing there.
        DataError: vectors of another encoder, or videos that the manifest does not know.
    """
    if delete is not None:
        if vectors is not None:
            raise ConfigError("--delete and --vectors are given: delete first, then add")
        with Library.open(out) as library:
            count = library.delete_video(delete)
            print(f"{plural(count, 'vector')} of {delete} taken out, {len(library):,} left in {out}")
            print(f"next: {_example(out, library.model)}")
        return
    if vectors is None or manifest is None:
        raise ConfigError("--vectors and --manifest are needed to add: give both, or --delete VIDEO")
    found, videos = Vectors.load(vectors), Manifest.load(manifest)
    out = prepare_out(out, resume)
    with Library.create(out, found.meta.model, found.meta.model_hash, found.meta.dim, exist_ok=True) as library:
        with tqdm(total=len(found.video_ids), desc="index", unit="vector", disable=None, leave=False) as bar:
            count = library.add_vectors(found, videos, bar.update)
        config = {"out": out, "vectors": vectors, "manifest": manifest, "resume": resume}
        seen = found.meta.pretraining_video_ids
        write_run(out, config, seed=0, device="cpu", data_hash=videos.hash, pretraining_video_ids=seen)
        for line in found.meta.damaged_frames.values():
            print(line)
        videos_there = plural(len(library.counts("video_id")), "video")
        print(f"{plural(count, 'vector')} added, {len(library):,} of {videos_there} in {out}")
        print(f"next: {_example(out, library.model)}")


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
) -> Found:
    """Find moments that look as a sentence says, or like another moment.

    Args:
        query: a sentence; or give --like.
        index: index folder (surgvl index).
        like: a moment, as VIDEO@TIME: a video of the index by its id (video01@12.5), or any file (clip.mp4@0:12.5); the
            time in seconds, m:ss or h:mm:ss.
        k: number of moments.
        video: only in this video.
        procedure: only in videos of this procedure.
        source: only in videos of this data set.
        model: the model that made the vectors, where it is no longer in the folder that the index names.
        device: where the model runs.
        server: address of `surgvl serve` with that model, which then need not be here.
        api_key: the server's key, or @FILE that holds it; SURGVL_API_KEY, which is better, where it is left out.

    Raises:
        ConfigError: not exactly one of a sentence and --like, a file name for a sentence, or no VIDEO@TIME.
        DataError: not an index folder, or a model other than the one it was made with.
    """
    if bool(query.strip()) == bool(like):
        raise ConfigError("give a sentence or --like VIDEO@TIME, one of them")
    if looks_like_a_file(query):
        raise ConfigError(f"{query!r} is the name of a file, no sentence: search by a clip with --like {query}@TIME")
    with Library.open(index) as library:
        exclude = None
        name, time_s = _moment(like) if like else ("", 0.0)
        if like and name in library.counts("video_id"):
            vector, start_s, end_s = library.vector_at(name, time_s)
            exclude = (name, start_s, end_s)
        else:
            vector = _encode(library, query, name, time_s, model, device, server, api_key)
        is_foreign_clip = bool(like) and exclude is None
        given = (video or None, procedure or None, source or None)
        found = library.search(vector, k, *given, exclude, is_foreign_clip)
        rows: list[list[object]] = [["", "score", "video", "from", "to", "procedure", "source"]]
        scores = score_texts([moment.score for moment in found])
        for place, (moment, score) in enumerate(zip(found, scores, strict=True), 1):
            times = (clock(moment.start_s), clock(moment.end_s))
            rows.append([place, score, moment.video_id, *times, moment.procedure, moment.source])
        print(aligned(rows, indent=""))
        videos = plural(len(library.counts("video_id")), "video")
        print(f"\n{plural(len(found), 'moment')} among {plural(len(library), 'clip')} of {videos}")
        if found.remark:
            print(found.remark)
        if found:
            print(f"next: {command('search', like=f'{found[0].video_id}@{_middle(found[0]):.1f}', index=index)}")
    return found


def _encode(
    library: Library,
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
        raise DataError(f"{name!r} is neither a video of {library.folder} nor a file: check the id or the path")
    if server:
        if model is not None:
            raise ConfigError(f"--server {server} and --model {model} are given: choose where the model runs")
        from surgvl.serve.client import Server
        from surgvl.serve.remote import RemoteDual

        remote = RemoteDual(Server(server, api_key))
        library.check_model(remote.hash, f"the model of {server}")
        there: NDArray[np.float32] = (remote.encode_text([query]) if query else remote.encode_video(name, time_s))[0]
        return there
    if model is None and _is_server(library.model):
        raise DataError(
            f"{library.folder} was made with the model behind {library.model}: give that as --server, or the model's "
            "folder as --model"
        )
    if model is None and not Path(library.model).exists():
        raise DataError(f"{library.folder} was made with model {library.model}, which is not there: give it as --model")
    # Torch and the model are wanted only here: a moment of the index needs neither.
    from surgvl.api import DualModel, load

    loaded = load(model or library.model, device)
    if not isinstance(loaded, DualModel):
        raise DataError(f"{loaded.folder} is not a video-text model: give the one that made the vectors as --model")
    library.check_model(loaded.hash, f"the model in {loaded.folder}")
    vector: NDArray[np.float32] = (loaded.encode_text([query]) if query else loaded.encode_video(name, at_s=time_s))[0]
    return vector


def _moment(text: str) -> tuple[str, float]:
    name, _, time = text.rpartition("@")
    if not name:
        raise ConfigError(f"--like {text!r} is not VIDEO@TIME: write for example video01@12.5 or video01@0:12.5")
    return name, seconds(time, f"--like {text!r}:")


def _middle(moment: Moment) -> float:
    return (moment.start_s + moment.end_s) / 2


def _is_server(model: str) -> bool:
    return model.startswith(("http://", "https://"))


def _example(out: Path, model: str) -> str:
    there = {"server": model} if _is_server(model) else {}
    return command("search", "the hook dissects the gallbladder", index=out, **there)
