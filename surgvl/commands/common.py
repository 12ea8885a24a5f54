"""What the commands share: the frames of a manifest's split, and the device name."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from surgvl.core.errors import ConfigError, DataError
from surgvl.core.plurals import none_of
from surgvl.core.run_folder import RunFolder
from surgvl.data.frame_store import FrameStore
from surgvl.data.manifest import Manifest

if TYPE_CHECKING:
    from surgvl.video.clip import Preprocess

VIDEO_BAR = "{l_bar}{bar}| {n:.2f}/{total:.2f} h of video [{elapsed}<{remaining}, {rate_fmt}{postfix}]"
"""How a progress bar counts hours of video, in the format of tqdm."""


def split_ids(manifest: Manifest, split: str) -> list[str]:
    """Video ids of a split, or all if `split` is empty; if no video has a split, `train` is all of them.

    Raises:
        ConfigError: the split has no videos.
    """
    unsplit = not any(row.split for row in manifest.videos)
    ids = manifest.video_ids(None if unsplit and split == "train" else split or None)
    if not ids:
        raise ConfigError(manifest.no_split(split))
    return ids


def frame_store(
    manifest: Manifest, ids: Sequence[str], preprocess: "Preprocess", frame_cache: Path | None, aspects: bool = False
) -> tuple[FrameStore, list[str]]:
    """A prepared frame store, which knows the videos' `aspects` if asked to, and the ids of those that can be read.

    Raises:
        DataError: no video can be read; the message gives the first problem.
    """
    paths: dict[str, Path] = {}
    lost: dict[str, str] = {}
    for video_id in ids:
        try:
            paths[video_id] = manifest.path_of(video_id)
        except DataError as error:
            lost[video_id] = str(error)
    store = FrameStore(paths, preprocess, frame_cache)
    store.problems.update(lost)
    ready = set(store.prepare())
    ready = set(store.measure_aspects(sorted(ready))) if aspects else ready
    good = [video_id for video_id in ids if video_id in ready]
    for line in store.marks.lines():
        print(line)
    if not good:
        first = next(iter(store.problems.values()), "there is no video")
        raise DataError(none_of(len(ids), "video", "can be read", first))
    return store, good


def split_store(
    folder: RunFolder,
    manifest: Manifest,
    split: str,
    preprocess: "Preprocess",
    frame_cache: Path | None,
    aspects: bool = False,
) -> tuple[FrameStore, list[str]]:
    """A `frame_store` of a split, and the ids of the videos that can be read; the folder reports the others.

    Raises:
        ConfigError: the split has no videos.
        DataError: no video can be read; the message gives the first problem.
    """
    ids = split_ids(manifest, split)
    store, good = frame_store(manifest, ids, preprocess, frame_cache, aspects)
    folder.watch(store.problems, len(ids), store.marks.lines, printed=store.marks.lines())
    return store, good


def device_name() -> str:
    """The training device, for run.json: the name of the GPU, or `cpu`."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def is_server(model: str) -> bool:
    """Whether the model of an index is a server's, given by its address."""
    return model.startswith(("http://", "https://"))
