"""The `embed` command: videos to vectors, one a second, and every prompt set to vectors beside them.

A reader cuts windows from a stream of frames, a mapper encodes batches, a writer leaves one shard a video; a run that
was stopped goes on at the next video. Memory is flat in the length of a video.
Shapes: T frames, S pixels, E width of the space.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from tqdm import tqdm

from surgvl import prompts, vectors, video
from surgvl.data.manifest import Manifest, VideoRow
from surgvl.errors import CheckpointError, ConfigError, DataError
from surgvl.io import command, prepare_out, read_json, write_run
from surgvl.models.dual import Dual
from surgvl.models.files import trained
from surgvl.models.folder import Preprocess, find_model, load_model, model_hash
from surgvl.recorded import recorded
from surgvl.stage import report, split_ids
from surgvl.windows import Floats, encode_windows, read_windows


def manifest_of(paths: list[Path]) -> Manifest:
    """A manifest of bare video files, or of those in folders; ids are file names without their endings.

    Raises:
        ConfigError: nothing is there, or two files share a name.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += sorted(file for file in path.iterdir() if file.suffix.lower() in video.VIDEO_SUFFIXES)
        else:
            files.append(path)
    if not files:
        raise ConfigError(f"no video below {', '.join(map(str, paths)) or '(nothing)'}: give files or a folder of them")
    rows = []
    for file in files:
        try:
            info = video.probe(file)
            fps, duration_s = info.fps, info.duration_s
        except DataError:
            # The embedding itself meets the error again, sets the file aside and lists it.
            fps, duration_s = 1.0, 1.0
        rows.append(
            VideoRow(
                video_id=file.stem,
                path=str(file.resolve()),
                source=file.resolve().parent.name,
                fps=fps,
                duration_s=duration_s,
            )
        )
    return Manifest(rows)


@dataclass(frozen=True)
class Encoder:
    """A video-text model, in this process or behind a server.

    Attributes:
        name: folder or address.
        hash: of the model.
        dim: E.
        preprocess: how its clips are cut.
        trained: what it was trained on, see `models.files.trained`; empty where that is not known.
        seconds: a video file to unit vectors float32 [N, E], starts and ends in seconds.
        texts: sentences to unit vectors float32 [M, E].
    """

    name: str
    hash: str
    dim: int
    preprocess: Preprocess
    trained: dict[str, Any]
    seconds: Callable[[Path], tuple[Floats, list[float], list[float]]]
    texts: Callable[[list[str]], Floats]


def _local(model: Path, stride_s: float, batch: int, device: str) -> Encoder:
    dual, preprocess = load_model(model, device)
    if not isinstance(dual, Dual):
        raise CheckpointError(
            f"{model} holds a {type(dual).__name__}, not a video-text model: give an align run folder"
        )

    def seconds(path: Path) -> tuple[Floats, list[float], list[float]]:
        return encode_windows(dual, read_windows(path, preprocess, stride_s), batch, device)

    def texts(sentences: list[str]) -> Floats:
        parts = [sentences[at : at + 128] for at in range(0, len(sentences), 128)]
        with torch.inference_mode():
            return torch.cat([dual.encode_text(part).cpu() for part in parts]).numpy()

    folder = find_model(model)
    return Encoder(str(folder.resolve()), model_hash(model), dual.dim, preprocess, trained(model), seconds, texts)


def _remote(model: Path | None, stride_s: float, server: str, api_key: str, in_flight: int) -> Encoder:
    from surgvl.serve.client import Server
    from surgvl.serve.remote import RemoteDual

    remote = RemoteDual(Server(server, api_key, in_flight=in_flight))
    if model is not None:
        remote.check(model)
    facts = remote.trained if model is None else trained(model)
    dim = remote.encode_text(["a"]).shape[1]

    def seconds(path: Path) -> tuple[Floats, list[float], list[float]]:
        return remote.encode_seconds(path, stride_s)

    name = server if model is None else str(find_model(model).resolve())
    return Encoder(name, remote.hash, dim, remote.preprocess, facts, seconds, remote.encode_text)


@recorded
def embed(
    out: Path,
    model: Path | None = None,
    manifest: Path | None = None,
    videos: list[Path] | None = None,
    split: str = "",
    prompt_sets: list[str] | None = None,
    stride_s: float = 1.0,
    batch: int = 32,
    device: str = "cpu",
    resume: bool = False,
    server: str = "",
    api_key: str = "",
    in_flight: int = 8,
) -> Path:
    """Turn videos into vectors, one a second, and prompts into vectors beside them.

    Args:
        out: vectors folder to write.
        model: run folder or model folder of a video-text model; or give --server, or both to have them compared.
        manifest: manifest folder; or give --videos.
        videos: video files, or folders of them.
        split: only this split of the manifest; all videos where it is empty.
        prompt_sets: names or files of prompt sets; all that ship with surgvl where it is left out.
        stride_s: seconds between vectors.
        batch: windows encoded at once.
        device: torch device, such as cpu or cuda.
        resume: continue in an --out folder that already holds results, at the next video.
        server: address of `surgvl serve` with a video-text model, which encodes in place of this process.
        api_key: the server's key, or @FILE that holds it; SURGVL_API_KEY, which is better, where it is left out.
        in_flight: most requests to the server at a time.
    """
    if (manifest is None) == (not videos):
        raise ConfigError("give either --manifest or --videos, one of the two")
    if not stride_s > 0 or batch < 1:
        raise ConfigError(f"--stride_s {stride_s}, --batch {batch}: give a stride above 0 s and a batch of 1 or more")
    if server:
        encoder = _remote(model, stride_s, server, api_key, in_flight)
    elif model is not None:
        encoder = _local(model, stride_s, batch, device)
    else:
        raise ConfigError("give --model, a run folder of `surgvl align`, or --server, the address of `surgvl serve`")
    prepare_out(out, resume)
    if manifest is None:
        table = manifest_of(videos or [])
        table.save(out / "manifest")
    else:
        table = Manifest.load(manifest)
    made_of = {"model_hash": encoder.hash, "stride_s": stride_s, "data_hash": table.hash}
    _begin(out, made_of, server or device, encoder.trained)
    ids = split_ids(table, split)
    sets = load_sets(prompt_sets)
    write_texts(encoder.texts, sets, out)

    problems: list[str] = []
    count = 0
    for number, video_id in enumerate(tqdm(ids, desc="embed", unit="video", disable=None, leave=False)):
        shard = out / f"shard-{number:05d}.safetensors"
        if not (shard.is_file() and shard.with_suffix(".parquet").is_file()):
            try:
                found, starts, ends = encoder.seconds(table.path_of(video_id))
            except DataError as error:
                problems.append(str(error))
                continue
            vectors.write_shard(out, number, found, [video_id] * len(found), starts, ends)
        count += pq.read_metadata(shard.with_suffix(".parquet")).num_rows
    if not count:
        raise DataError(f"none of {len(ids)} videos can be embedded; the first: {problems[0]}")
    meta = vectors.Meta(
        model=encoder.name,
        model_hash=encoder.hash,
        dim=encoder.dim,
        clip_s=encoder.preprocess.clip_s,
        stride_s=stride_s,
        num_vectors=count,
        frozen=encoder.trained.get("frozen"),
        num_trainable=int(encoder.trained.get("num_trainable", 0)),
        pretraining_video_ids=encoder.trained.get("pretraining_video_ids", []),
        prompt_sets={each.name: facts_of(each) for each in sets},
    )
    vectors.write_meta(out, meta)
    _record(out, made_of, server or device, encoder.trained, problems)
    where = manifest if manifest is not None else out / "manifest"
    print(
        f"{count} vectors of {len(ids) - len(problems)} videos in {out}; "
        f"next: {command('index', vectors=out, manifest=where, out='index')}"
    )
    report(problems, len(ids))
    return out


def _begin(out: Path, made_of: dict[str, Any], device: str, facts: dict[str, Any]) -> None:
    """Say what vectors are made of before the first; what an earlier run left must be of the same."""
    if (out / "run.json").is_file():
        before = read_json(out / "run.json")
        for name, value in made_of.items():
            if before.get(name, value) != value:
                raise DataError(
                    f"{out} was begun with {name} {before[name]}, not {value}: go on with what it was begun with, or "
                    "give another --out"
                )
    if not facts:
        print("what the model was trained on is not recorded: a video of a test split may have been among it")
    _record(out, made_of, device, facts, [])


def _record(out: Path, made_of: dict[str, Any], device: str, facts: dict[str, Any], problems: list[str]) -> None:
    more = {name: value for name, value in made_of.items() if name != "data_hash"}
    ids = facts.get("pretraining_video_ids", [])
    write_run(out, {}, 0, device, made_of["data_hash"], ids, problems=problems, **more)


def load_sets(names: list[str] | None) -> list[prompts.PromptSet]:
    """Prompt sets by name or path; all that ship with surgvl where nothing is named.

    Raises:
        ConfigError: two of them have one name.
    """
    sets = [prompts.load(name) for name in (prompts.names() if names is None else names)]
    for at, each in enumerate(sets):
        if each.name in {other.name for other in sets[:at]}:
            raise ConfigError(f"--prompt_sets: two are called {each.name!r}: give one of them another name in its file")
    return sets


def facts_of(each: prompts.PromptSet) -> vectors.PromptSetFacts:
    """What goes with the vectors of a set."""
    return vectors.PromptSetFacts(
        version=each.version,
        task=each.task,
        datasets=[each.dataset, *each.also_for],
        aliases={alias: row.name for row in each.classes for alias in row.aliases},
        hash=each.hash,
    )


def write_texts(encode: Callable[[list[str]], Floats], sets: list[prompts.PromptSet], out: Path) -> None:
    """Encode every prompt of the sets and write the texts of a vectors folder."""
    rows = [(each.name, number, name, text) for each in sets for number, name, text in each.texts()]
    if not rows:
        return
    found = encode([row[3] for row in rows])
    names, ids, classes, texts = (list(column) for column in zip(*rows, strict=True))
    vectors.write_texts(out, vectors.Texts(found, names, ids, classes, texts))
