"""The `timeline` command: phases, triplets and tools of videos as files that other tools open."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from surgvl.commands.common import VIDEO_BAR
from surgvl.core.checks import check_above
from surgvl.core.errors import CheckpointError, ConfigError, DataError
from surgvl.core.files import command, read_json, text_hash, write_json
from surgvl.core.invocation import recorded
from surgvl.core.locks import locked
from surgvl.core.plurals import none_of, plural
from surgvl.core.run_folder import RunFolder
from surgvl.core.version import __version__
from surgvl.data.manifest import Manifest
from surgvl.embed import recordings
from surgvl.export.base import Format, choose_format, write_table
from surgvl.export.interval_table import IntervalTable
from surgvl.export.zero_shot import SMOOTH_S, THRESHOLD, TimelineConfig
from surgvl.video.marks import counted

if TYPE_CHECKING:
    from surgvl.api import DualModel
    from surgvl.serve.remote import RemoteDual

PROMPT_SETS = ("cholec80_phase", "cholect50_triplet")
# Of a folder: by video, the file and what it was made of.
DONE = "timelines.json"
Make = Callable[[Path, Callable[[float], object]], IntervalTable]


@recorded
def timeline(
    videos: list[Path],
    out: Path,
    model: Path | None = None,
    format: str = "",
    prompt_sets: list[str] = list(PROMPT_SETS),  # noqa: B006, B008 (never changed)
    causal: bool = False,
    smooth_s: float = SMOOTH_S,
    threshold: float = THRESHOLD,
    stride_s: float | None = None,
    device: str = "cpu",
    resume: bool = False,
    server: str = "",
    api_key: str = "",
    in_flight: int = 8,
) -> Path:
    """Write phases, triplets and tools of videos as files, zero-shot.

    Each interval begins and ends with a frame of the file, with a variable rate as well. One video gives a file;
    several, or a folder of them, give a folder with a file each. Videos that cannot be read are set aside and listed at
    the end, and the exit status is 1.

    Args:
        videos: video files, or folders that are searched for them at any depth.
        out: file to write, whose suffix names the format; of several videos, the folder.
        model: run folder or model folder of a video-text model, or a model's name; or give --server, or both to check
            that they have the same model.
        format: csv, json, parquet, vtt, srt, eaf (ELAN), cvat, label_studio or fiftyone; by default, that of the suffix
            of --out, and csv in a folder.
        prompt_sets: names or files of prompt sets. Of phases and steps, one class holds at a time; of other kinds, all
            above the threshold; triplets give tools as well.
        causal: use only what an online system could know at the time: clips and smoothing do not look ahead.
        smooth_s: window of a moving average over the scores, seconds; 0 for none.
        threshold: least probability of a triplet or tool.
        stride_s: seconds between clips; by default, the model's step between clips.
        device: torch device, such as cpu or cuda.
        resume: in a folder that is not empty, make only timelines of new and changed videos; replace an existing file.
        server: address of `surgvl serve` with a video-text model, which encodes instead of this process.
        api_key: the server's key, or @FILE that contains it; SURGVL_API_KEY by default, which is safer.
        in_flight: maximum number of concurrent requests to the server.
    """
    config = TimelineConfig(causal=causal, smooth_s=smooth_s, threshold=threshold)
    if stride_s is not None:
        check_above("--stride_s", stride_s)
    if not videos or not prompt_sets:
        raise ConfigError(f"--{'prompt_sets' if videos else 'videos'} must not be empty: give at least one")
    is_file = len(videos) == 1 and not videos[0].is_dir() and bool(out.suffix) and not out.is_dir()
    kind = choose_format(format if is_file else format or "csv", out)
    if is_file and out.exists() and not resume:
        raise ConfigError(f"--out {out} exists: give another file, or --resume to replace it")
    if not is_file and out.suffix and not out.is_dir():
        raise ConfigError(f"--out {out} must be a folder for several videos: leave its suffix out, and give --format")
    table, problems = recordings.manifest_of(videos)
    loaded = _load(model, device, server, api_key, in_flight)
    sets = [loaded.class_set(name) for name in prompt_sets]

    def make(path: Path, tick: Callable[[float], object]) -> IntervalTable:
        return loaded.timeline(path, sets, **asdict(config), stride_s=stride_s, tick=tick)

    which = {"server": server} if server else {"model": model}
    following = command("embed", **which, videos=videos[0], out="vectors")
    if is_file:
        _write_one(out, make, kind, table, following)
        return out
    with locked(out), RunFolder(out, resume, device=server or device) as folder:
        made_of = repr((loaded.hash, [each.prompt_set.hash for each in sets], config, stride_s, kind.name, __version__))
        _write_all(folder, make, made_of, kind, table, problems, following)
    return out


def _load(model: Path | None, device: str, server: str, api_key: str, in_flight: int) -> "DualModel | RemoteDual":
    """The model in this process, or that of a server, which must equal the one in the folder if both are given."""
    # Imported here because they import torch, which help and usage errors must not wait for.
    if server:
        from surgvl.serve.client import Server
        from surgvl.serve.remote import RemoteDual

        remote = RemoteDual(Server(server, api_key, in_flight=in_flight))
        if model is not None:
            remote.check(model)
        return remote
    if model is None:
        raise ConfigError("give --model, a run folder of `surgvl align`, or --server, the address of `surgvl serve`")
    from surgvl.api import DualModel, load

    loaded = load(model, device)
    if not isinstance(loaded, DualModel):
        raise CheckpointError(
            f"{model} is not a video-text model: give a run folder of `surgvl align`, or such a model"
        )
    return loaded


def _progress(table: Manifest) -> Iterator[tuple[Path, Callable[[float], object]]]:
    """Each video, and a function that takes the seconds of it that were read, below a progress bar."""
    with tqdm(total=0.0, desc="timeline", unit="h", disable=None, leave=False, bar_format=VIDEO_BAR) as bar:
        bar.total, done_h = sum(row.duration_s for row in table.videos) / 3600, 0.0
        for row in table.videos:
            bar.set_postfix_str(row.video_id, refresh=False)
            yield table.path_of(row.video_id), lambda read_s: bar.update(read_s / 3600)
            done_h += row.duration_s / 3600
            bar.update(done_h - bar.n)


def _write_one(out: Path, make: Make, kind: Format, table: Manifest, following: str) -> None:
    for path, tick in _progress(table):
        with counted() as marks:
            found = make(path, tick)
        write_table(found, out, kind.name)
    for line in marks.lines():
        print(line)
    rows = Counter(row.track for row in found)
    counts = ", ".join(f"{rows[track]:,} of {track}" for track in found.classes)
    print(f"{plural(len(found), 'interval')} in {out}: {counts}; next: {following}")


def _write_all(
    folder: RunFolder, make: Make, made_of: str, kind: Format, table: Manifest, problems: list[str], following: str
) -> None:
    """A file for each video of a table; those that are there and made of the same are left as they are."""
    listed, aside, finished = folder.path / DONE, list(problems), list[str]()
    done: dict[str, dict[str, str]] = read_json(listed) if listed.is_file() else {}
    folder.record(table.hash, problems=[])
    for row, (path, tick) in zip(table.videos, _progress(table), strict=True):
        file = f"{row.video_id}{kind.suffix}"
        try:
            key = text_hash(f"{recordings.identity(path)} {made_of}")
            if done.get(row.video_id, {}).get("made_of") != key or not (folder.path / file).is_file():
                with counted() as marks:
                    found = replace(make(path, tick), video_id=row.video_id)
                write_table(found, folder.path / file, kind.name)
                done[row.video_id] = {"file": file, "made_of": key, "damaged_frames": marks.line(path)}
                write_json(listed, done)
            finished.append(row.video_id)
        except DataError as error:
            aside.append(str(error))
    num_videos = len(table.videos) + len(problems)
    if not finished:
        raise DataError(none_of(num_videos, "video", "can be read", aside[0]))
    damaged = [line for video_id in finished if (line := done[video_id]["damaged_frames"])]
    folder.watch(aside, num_videos, lambda: damaged)
    folder.next(f"timelines of {plural(len(finished), 'video')} in {folder.path}", following)
