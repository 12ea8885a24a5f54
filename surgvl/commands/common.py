"""What the stages' commands share: the clips of a manifest's split, the device, videos that were set aside."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from surgvl.core.errors import ConfigError, DataError
from surgvl.core.files import read_json, write_json
from surgvl.core.plurals import none_of
from surgvl.data.frame_store import FrameStore
from surgvl.data.manifest import Manifest

if TYPE_CHECKING:
    from surgvl.video.clip import Preprocess


def split_ids(manifest: Manifest, split: str) -> list[str]:
    """Video ids of a split, or of all where it is empty; where no video has a split, all are there to train on.

    Raises:
        ConfigError: there are none.
    """
    unsplit = not any(row.split for row in manifest.videos)
    ids = manifest.video_ids(None if unsplit and split == "train" else split or None)
    if not ids and unsplit and manifest.videos:
        raise ConfigError(f"no video of the manifest has a split, so none is in {split!r}: --split '' takes them all")
    if not ids:
        there = ", ".join(sorted({row.split or "(none)" for row in manifest.videos})) or "(no videos)"
        raise ConfigError(f"no video is in split {split!r}; the manifest has {there}: choose another --split")
    return ids


def frame_store(
    manifest: Manifest, ids: Sequence[str], preprocess: "Preprocess", store: Path | None
) -> tuple[FrameStore, list[str]]:
    """Prepared source of clips, and the ids that can be read.

    Raises:
        DataError: no video can be read; the message holds the first problem.
    """
    paths = {video_id: manifest.path_of(video_id) for video_id in ids}
    source = FrameStore(paths, preprocess.fps, preprocess.size_px, preprocess.crop, store)
    ready = set(source.prepare())
    good = [video_id for video_id in ids if video_id in ready]
    for line in source.marks.lines():
        print(line)
    if not good:
        first = next(iter(source.problems.values()), "there is no video")
        raise DataError(none_of(len(paths), "video", "can be read", first))
    return source, good


def device_name() -> str:
    """What training runs on, for run.json: the name of the GPU, or `cpu`."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def report_run(out: Path, source: FrameStore, num_videos: int) -> None:
    """Record in a run folder which videos training found damaged, and say so.

    Args:
        out: the run folder.
        source: of the clips: what was wrong with which video, and damaged frames that this process decoded.
        num_videos: that were to be trained on.

    Raises:
        DataError: some could not be read.
    """
    damaged = source.marks.lines()
    facts = {"problems": dict(source.problems), **({"damaged_frames": damaged} if damaged else {})}
    write_json(out / "run.json", {**read_json(out / "run.json"), **facts})
    for line in damaged if source.cache is None else []:
        print(line)  # of a store it was said when that was filled
    report(list(source.problems.values()), num_videos)


def report(problems: Sequence[str], num_videos: int) -> None:
    """Say at the end which videos were set aside.

    Raises:
        DataError: some were; what the stage wrote from the others stays.
    """
    if problems:
        lines = "".join(f"{os.linesep}  {problem}" for problem in problems)
        raise DataError(f"{len(problems)} of {num_videos} videos were set aside, the others are done:{lines}")


def is_server(model: str) -> bool:
    """Whether an index was made with a model behind a server, whose address stands for its folder."""
    return model.startswith(("http://", "https://"))
