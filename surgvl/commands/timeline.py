"""The `timeline` command: phases, triplets and tools of videos as files that other tools open."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from surgvl.commands.common import VIDEO_BAR
from surgvl.commands.conditions import chosen, needs_archive, parts
from surgvl.commands.timeline_model import Make, load_any, load_dual, maker
from surgvl.core.checks import check_above
from surgvl.core.errors import ConfigError, DataError
from surgvl.core.files import below, command, read_json, text_hash, write_json
from surgvl.core.invocation import recorded
from surgvl.core.locks import locked
from surgvl.core.plurals import none_of, plural
from surgvl.core.run_folder import RunFolder
from surgvl.core.version import __version__
from surgvl.data.manifest import Manifest
from surgvl.embed import recordings
from surgvl.export.base import Format, choose_format, write_table
from surgvl.export.interval_table import IntervalTable
from surgvl.export.zero_shot import SMOOTH_S, THRESHOLD, ClipVectors, TimelineConfig, interval_table
from surgvl.retrieval.where import EVERYWHERE, Where
from surgvl.video.clip import Preprocess
from surgvl.video.marks import counted

if TYPE_CHECKING:
    from surgvl.archive.archive import Archive

PROMPT_SETS = ("cholec80_phase", "cholect50_triplet")
# Of a folder: by video, the file and what it was made of.
DONE = "timelines.json"


@dataclass(frozen=True)
class Work:
    """Timelines to make.

    Attributes:
        make: maps a video's id, its file and a callback for the seconds that were read to its timeline.
        made_of: what the timelines follow from, apart from the files.
        table: the videos.
        problems: a line for each that is left out.
        following: the next command.
    """

    make: Make
    made_of: str
    table: Manifest
    problems: list[str]
    following: str


@recorded
def timeline(
    videos: list[Path] = [],  # noqa: B006 (never changed)
    *,
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
    archive: Path | None = None,
    procedure: str = "",
    source: str = "",
    where: Where = EVERYWHERE,
    encoder: Path | None = None,
) -> Path:
    """Write phases, triplets and tools of videos as files, zero-shot.

    Each interval begins and ends with a frame of the file, with a variable rate as well. One video gives a file;
    several, or a folder of them, give a folder with a file each. Videos that cannot be read are set aside and listed at
    the end, and the exit status is 1.

    Args:
        videos: video files, or folders that are searched for them at any depth; or, of an archive, ids of recordings.
        out: file to write, whose suffix names the format; of several videos, the folder.
        model: run folder, model folder or name of a video-text model, or run folder of `surgvl probe` or `finetune`,
            which has classes of its own; or give --server, or both to check that they have the same model.
        format: csv, json, parquet, vtt, srt, eaf (ELAN), cvat, label_studio or fiftyone; by default, that of the suffix
            of --out, and csv in a folder.
        prompt_sets: names or files of prompt sets. One phase or step holds at a time; of other kinds, all classes above
            the threshold; triplets give tools as well.
        causal: use only what an online system could know at the time: clips and smoothing do not look ahead.
        smooth_s: window of a moving average over the scores, seconds; 0 for none.
        threshold: lowest probability of a triplet or tool that is written.
        stride_s: seconds between clips; by default, the model's step between clips.
        device: torch device, such as cpu or cuda.
        resume: in a folder that is not empty, make only timelines of new and changed videos; replace an existing file.
        server: address of `surgvl serve` with a video-text model, which encodes instead of this process.
        api_key: the server's key, or @FILE that contains it; SURGVL_API_KEY by default, which is safer.
        in_flight: maximum number of concurrent requests to the server.
        archive: archive (surgvl archive create) whose vectors are used, of the given recordings or of all.
        procedure: with --archive, only recordings of this procedure.
        source: with --archive, only recordings from this folder or data set.
        where: further conditions, as of `surgvl search`; intervals are cut to what meets those on times.
        encoder: for a --model that reads out stored vectors: where the model that made them is now, if it was moved; it
            must be the same one.
    """
    where = chosen(where, [], procedure, source)
    config = TimelineConfig(causal=causal, smooth_s=smooth_s, threshold=threshold)
    if stride_s is not None:
        check_above("--stride_s", stride_s)
    if not prompt_sets or not (videos or archive):
        raise ConfigError(f"--{'videos' if prompt_sets else 'prompt_sets'} must not be empty: give at least one")
    is_file = len(videos) == 1 and not (archive is None and videos[0].is_dir()) and bool(out.suffix)
    is_file = is_file and not out.is_dir()
    kind = choose_format(format if is_file else format or "csv", out)
    if is_file and out.exists() and not resume:
        raise ConfigError(f"--out {out} exists: give another file, or --resume to replace it")
    if not is_file and out.suffix and not out.is_dir():
        raise ConfigError(f"--out {out} must be a folder for several videos: leave its suffix out, and give --format")
    if archive is not None:
        if model is not None or server or stride_s is not None or encoder is not None:
            raise ConfigError("--archive has vectors: leave --model, --server, --encoder and --stride_s out")
        # Imports faiss, which timelines of files do without.
        from surgvl.archive.archive import Archive

        with Archive.open(archive) as opened:
            work = _of_archive(opened, [str(id) for id in videos], where, prompt_sets, config, device)
            _write(out, is_file, kind, work, resume, device)
        return out
    needs_archive(where)
    table, problems = recordings.manifest_of(videos)
    loaded = load_any(model, device, server, api_key, in_flight, encoder)
    make, classes = maker(loaded, prompt_sets, config, stride_s)
    which = {"server": server} if server else {"model": model}
    made_of = repr((loaded.hash, classes, config, stride_s, __version__))
    following = command("embed", **which, videos=videos[0], out="vectors")
    if not classes:
        # A recogniser has no vectors; these are subtitles of its classes.
        following = command("timeline", videos[0], model=model, out=f"{videos[0].stem}.vtt")
    _write(out, is_file, kind, Work(make, made_of, table, problems, following), resume, server or device)
    return out


def _write(out: Path, is_file: bool, kind: Format, work: Work, resume: bool, device: str) -> None:
    if is_file:
        _write_one(out, kind, work)
        return
    with locked(out), RunFolder(out, resume, device=device) as folder:
        _write_all(folder, kind, work)


def _of_archive(
    archive: "Archive", ids: list[str], where: Where, prompt_sets: list[str], config: TimelineConfig, device: str
) -> Work:
    """Timelines of an archive's recordings, from their vectors.

    Raises:
        ConfigError: the vectors are of clips that look ahead, but a causal timeline is wanted; or nothing meets the
            conditions.
    """
    preprocess = archive.preprocess
    if preprocess is None or (config.causal and preprocess.anchor != "last"):
        raise ConfigError(f"the clips of {archive.folder} look ahead: for --causal, give the files and --model")
    clips_of = partial(_clips, archive, preprocess, config.causal)
    spans = parts(archive, chosen(where, [archive.recording(id).id for id in ids], "", ""))
    table, problems = _recordings(archive, spans, bool(ids))
    is_cut = archive.resolve(where).of_times
    loaded = load_dual(archive.model, device)
    sets = [loaded.class_set(each) for each in prompt_sets]
    scale, name = float(loaded.model.logit_scale.detach().exp()), f"{loaded.folder} ({loaded.hash})"

    def make(video_id: str, path: Path, tick: Callable[[float], object]) -> IntervalTable:
        whole = interval_table(path, clips_of(video_id), sets, scale, config, name)
        return whole.within(spans[video_id]) if is_cut else whole

    made_of = repr((loaded.hash, [each.prompt_set.hash for each in sets], config, "archive", __version__))
    made_of += repr(spans) if is_cut else ""
    return Work(make, made_of, table, problems, command("archive list", archive.folder))


def _clips(archive: "Archive", preprocess: Preprocess, causal: bool, id: str) -> ClipVectors:
    return ClipVectors.of_segments(*archive.vectors_of(id), preprocess, causal)


def _recordings(archive: "Archive", found: Iterable[str], are_named: bool) -> tuple[Manifest, list[str]]:
    """Those of the recordings that are embedded, and if they were named, a line for each that has no vectors yet.

    Raises:
        DataError: none has vectors.
    """
    there = set(archive.index().counts("video_id"))
    found = list(found)
    kept = [id for id in found if id in there]
    lines = [f"recording {id!r} has no vectors yet: run `surgvl archive update`" for id in found if id not in there]
    if not kept:
        raise DataError(lines[0] if lines else f"{archive.folder} has no recordings: add some")
    if lines and not are_named:
        print(f"{plural(len(lines), 'recording')} without vectors left out")
        lines = []
    return archive.manifest().select(kept), lines


def progress(table: Manifest, what: str = "timeline") -> Iterator[tuple[str, Path, Callable[[float], object]]]:
    """Each video, its file, and a function that takes the seconds of it that were read, below a progress bar."""
    with tqdm(total=0.0, desc=what, unit="h", disable=None, leave=False, bar_format=VIDEO_BAR) as bar:
        bar.total, done_h = sum(row.duration_s for row in table.videos) / 3600, 0.0
        for row in table.videos:
            bar.set_postfix_str(row.video_id, refresh=False)
            yield row.video_id, table.path_of(row.video_id), lambda read_s: bar.update(read_s / 3600)
            done_h += row.duration_s / 3600
            bar.update(done_h - bar.n)


def _write_one(out: Path, kind: Format, work: Work) -> None:
    for video_id, path, tick in progress(work.table):
        with counted() as marks:
            found = work.make(video_id, path, tick)
        write_table(found, out, kind.name)
    for line in marks.lines():
        print(line)
    rows = Counter(row.track for row in found)
    counts = ", ".join(f"{rows[track]:,} of {track}" for track in found.classes)
    print(f"{plural(len(found), 'interval')} in {out}: {counts}; next: {work.following}")


def _write_all(folder: RunFolder, kind: Format, work: Work) -> None:
    """A file for each video of a table; those that are there and made of the same are left as they are."""
    listed, aside, finished = folder.path / DONE, list(work.problems), list[str]()
    done: dict[str, dict[str, str]] = read_json(listed) if listed.is_file() else {}
    folder.record(work.table.hash, problems=[])
    for video_id, path, tick in progress(work.table):
        file = f"{below(video_id)}{kind.suffix}"
        try:
            key = text_hash(f"{recordings.identity(path)} {work.made_of} {kind.name}")
            if done.get(video_id, {}).get("made_of") != key or not (folder.path / file).is_file():
                with counted() as marks:
                    found = replace(work.make(video_id, path, tick), video_id=video_id)
                write_table(found, folder.path / file, kind.name)
                done[video_id] = {"file": file, "made_of": key, "damaged_frames": marks.line(path)}
                write_json(listed, done)
            finished.append(video_id)
        except DataError as error:
            aside.append(str(error))
    num_videos = len(work.table.videos) + len(work.problems)
    if not finished:
        raise DataError(none_of(num_videos, "video", "can be read", aside[0]))
    damaged = [line for video_id in finished if (line := done[video_id]["damaged_frames"])]
    folder.watch(aside, num_videos, lambda: damaged)
    folder.next(f"timelines of {plural(len(finished), 'video')} in {folder.path}", work.following)
