"""The `embed` command: one vector per second of video, and the vectors of prompt sets.

A reader cuts windows from a stream of frames, a mapper encodes batches, and a writer writes one shard per video; an
interrupted run continues with the next video. Memory does not grow with the length of a video. On a cluster, either
every job embeds a part of the videos, or this process gives them to the workers of Ray.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from surgvl import prompts
from surgvl.commands.common import VIDEO_BAR, split_ids
from surgvl.core.checks import check_above, check_range
from surgvl.core.errors import ConfigError, DataError
from surgvl.core.files import command, read_json
from surgvl.core.invocation import recorded
from surgvl.core.locks import locked
from surgvl.core.operations import UNKNOWN
from surgvl.core.plurals import none_of, plural
from surgvl.core.run_folder import RunFolder
from surgvl.data.manifest import Manifest
from surgvl.embed import recordings
from surgvl.embed.encoded import Shard, VideoToEncode, encoded
from surgvl.embed.meta import Meta, write_meta
from surgvl.embed.part import Part
from surgvl.embed.vectors import embed_sets
from surgvl.models.device import Precision
from surgvl.prompts import load_sets

if TYPE_CHECKING:
    from surgvl.embed.embedder import Embedder

Encode = Callable[
    [Iterable[VideoToEncode], Callable[[float], object]], Iterator[tuple[VideoToEncode, Shard | DataError]]
]


@recorded
def embed(
    out: Path,
    model: Path | None = None,
    manifest: Path | None = None,
    videos: list[Path] | None = None,
    split: str = "",
    prompt_sets: list[str] | None = None,
    stride_s: float | None = None,
    batch: int | None = None,
    precision: Precision = "float32",
    device: str = "cpu",
    resume: bool = False,
    server: str = "",
    api_key: str = "",
    in_flight: int = 8,
    shard: str = "",
    ray: str = "",
    workers: int = 1,
) -> Path:
    """Embed videos, one vector per second, and prompts.

    Videos that cannot be read are set aside: they are listed at the end and in run.json, have no vectors and, with
    --videos, no row in the manifest that is written, and the exit status is 1. The vectors of the other videos are
    complete: use them, or repair the files and run again with --resume.

    Args:
        out: vectors folder to write.
        model: run folder or model folder of a video-text model, or of a video encoder, whose vectors are its mean
            tokens and which takes no prompts; or give --server, or both to check that they have the same model.
        manifest: manifest folder; or give --videos.
        videos: video files, or folders that are searched for them at any depth.
        split: embed only this split of the manifest; by default, all videos.
        prompt_sets: names or files of prompt sets; by default, all that ship with surgvl.
        stride_s: seconds between vectors; by default, the model's step between clips, which is 1 s unless the model was
            trained otherwise.
        batch: number of windows, or of frames of a model that sees these, encoded at once; by default 32, or 8 frames
            on a CPU.
        precision: bfloat16 takes about half the time where the device computes in it; cosines change in the fourth
            digit.
        device: torch device, such as cpu or cuda.
        resume: continue in an --out folder that is not empty: embed only new and changed videos.
        server: address of `surgvl serve` with a video-text model, which encodes instead of this process.
        api_key: the server's key, or @FILE that contains it; SURGVL_API_KEY by default, which is safer.
        in_flight: maximum number of concurrent requests to the server.
        shard: embed part i of n, such as 2/8, so that n jobs of a cluster share the work; each has an --out folder of
            its own, and `surgvl data gather` makes one of them.
        ray: address of a Ray cluster whose workers embed, such as auto, or local to start one on this machine; needs
            the extra `scale`. Model and videos must have the same paths on all machines.
        workers: number of Ray workers, each on a core, or on a GPU with --device cuda.
    """
    if (manifest is None) == (not videos):
        raise ConfigError("give either --manifest or --videos")
    part = Part.parse(shard)
    if ray and server:
        raise ConfigError("--ray and --server must not be given together: choose who encodes")
    check_range("--workers", workers, 1)
    if stride_s is not None:
        check_above("--stride_s", stride_s)
    if batch is not None:
        check_range("--batch", batch, 1)
    # Imported here because it imports torch, which help and usage errors must not wait for.
    from surgvl.embed.embedder import local_embedder

    if manifest is None:
        table, problems = recordings.manifest_of(videos or [], out / "manifest" if resume else None)
    else:
        table, problems = Manifest.load(manifest), []
    ids, sets = split_ids(table, split), load_sets(prompt_sets)
    if server:
        from surgvl.serve.remote_encoder import remote_encoder

        embedder = remote_encoder(model, stride_s, server, api_key, in_flight)
    elif model is not None:
        embedder = local_embedder(model, stride_s, batch, device, precision)
    else:
        raise ConfigError("give --model, a run folder of `surgvl align`, or --server, the address of `surgvl serve`")
    if embedder.texts is None:
        if prompt_sets:
            raise ConfigError(f"--prompt_sets needs a text tower, and {model} is a video encoder: leave it out")
        print(f"{model} is a video encoder without a text tower: prompts are not embedded")
        sets = []
    encode: Encode = partial(encoded, embedder)
    if ray and model is not None:
        from surgvl.embed.ray_data import RayWorkers

        encode = RayWorkers(ray, workers, model, embedder.dim, stride_s, batch, device, precision).encoded
    with locked(out), RunFolder(out, resume, device=server or device) as folder:
        _write(folder, embedder, encode, table, ids, part, sets, manifest, problems)
    return out


def _write(
    folder: RunFolder,
    embedder: "Embedder",
    encode: Encode,
    table: Manifest,
    ids: list[str],
    part: Part,
    sets: list[prompts.PromptSet],
    manifest: Path | None,
    problems: list[str],
) -> None:
    out = folder.path
    made_of = {"model_hash": embedder.hash, "stride_s": embedder.preprocess.step_s, "precision": embedder.precision}
    made_of["shard"] = str(part)
    new = not (out / "run.json").is_file()
    _check_begun(out, made_of)
    seen = embedder.trained.get("pretraining_video_ids", [UNKNOWN])
    if UNKNOWN in seen:
        print("the model does not record its training videos: test videos may be among them")
    folder.record(table.hash, seen, problems=[], **made_of)
    if embedder.texts is not None:
        embed_sets(embedder.texts, sets, out)
    shards, aside = recordings.Shards(out), list(problems)
    hours = [table.video(video_id).duration_s / 3600 for video_id in ids]
    places = part.of(hours)
    with tqdm(total=0.0, desc="embed", unit="h", disable=None, leave=False, bar_format=VIDEO_BAR) as bar:
        bar.total = sum(hours[place] for place in places)
        done_h = 0.0

        def done(place: int) -> None:
            nonlocal done_h
            done_h += hours[place]
            bar.update(done_h - bar.n)

        def waiting() -> Iterator[VideoToEncode]:
            """The videos without vectors of their present content."""
            for place in places:
                bar.set_postfix_str(ids[place], refresh=False)
                try:
                    path = table.path_of(ids[place])
                    content = recordings.identity(path)
                except DataError as error:
                    aside.append(str(error))
                else:
                    if not shards.has(ids[place], content):
                        yield VideoToEncode(ids[place], path, content, place)
                        continue
                done(place)

        for video, found in encode(waiting(), lambda read_s: bar.update(read_s / 3600)):
            shards.drop(video.video_id)
            if isinstance(found, DataError):
                aside.append(str(found))
            else:
                # In the order of all videos, whoever is done first.
                shards.write(video.video_id, video.content, *found, least=video.place)
            done(video.place)
    if not shards.count and part.is_all:
        if new:
            for name in ("run.json", "config.yaml", "texts.parquet", "texts.safetensors"):
                (out / name).unlink(missing_ok=True)
        raise DataError(none_of(len(ids) + len(problems), "video", "can be embedded", aside[0]))
    if manifest is None:
        # Videos that were set aside have no vectors, so later commands must not read them.
        table = recordings.with_earlier(table, out / "manifest", shards.ids)
        table.save(out / "manifest")
    write_meta(out, Meta.of(embedder, shards, sets))
    folder.watch(aside, len(places) + len(problems), lambda: list(shards.damaged.values()))
    folder.record(table.hash, seen, **made_of)
    where = manifest if manifest is not None else out / "manifest"
    made = f"{plural(shards.count, 'vector')} of {plural(len(shards.ids), 'video')} in {out}"
    following = command("index", vectors=out, manifest=where, out="index")
    if not part.is_all:
        following = f"{command('data gather', out)} OTHER_SHARDS --out vectors"
    folder.next(made, following)


def _check_begun(out: Path, made_of: dict[str, Any]) -> None:
    """Check that an earlier run in this folder had the same model and stride.

    Raises:
        DataError: it had not.
    """
    before = read_json(out / "run.json") if (out / "run.json").is_file() else {}
    for name, value in made_of.items():
        if before.get(name, value) != value:
            raise DataError(
                f"{out} was started with {name} {before[name]}, not {value}: continue with the same one, or "
                "give another --out"
            )
