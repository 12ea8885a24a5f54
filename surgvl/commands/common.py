"""What the stages' commands share: the clips of a manifest's split, the device, the page of scores."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from surgvl.core.errors import ConfigError, DataError
from surgvl.core.files import write_text
from surgvl.core.plurals import none_of
from surgvl.core.results import Result, to_markdown, write_results
from surgvl.core.run_folder import RunFolder
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
    manifest: Manifest, ids: Sequence[str], preprocess: "Preprocess", frame_cache: Path | None
) -> tuple[FrameStore, list[str]]:
    """Prepared source of clips, and the ids that can be read.

    Raises:
        DataError: no video can be read; the message holds the first problem.
    """
    paths = {video_id: manifest.path_of(video_id) for video_id in ids}
    source = FrameStore(paths, preprocess.fps, preprocess.size_px, preprocess.crop, frame_cache)
    ready = set(source.prepare())
    good = [video_id for video_id in ids if video_id in ready]
    for line in source.marks.lines():
        print(line)
    if not good:
        first = next(iter(source.problems.values()), "there is no video")
        raise DataError(none_of(len(paths), "video", "can be read", first))
    return source, good


def split_source(
    folder: RunFolder, manifest: Manifest, split: str, preprocess: "Preprocess", frame_cache: Path | None
) -> tuple[FrameStore, list[str]]:
    """Prepared source of the clips of a split, and the ids that can be read; the folder tells of the others.

    Raises:
        ConfigError: the split has no videos.
        DataError: no video can be read; the message holds the first problem.
    """
    ids = split_ids(manifest, split)
    source, good = frame_store(manifest, ids, preprocess, frame_cache)
    folder.watch(source.problems, len(ids), source.marks.lines, printed=source.marks.lines())
    return source, good


def device_name() -> str:
    """What training runs on, for run.json: the name of the GPU, or `cpu`."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def write_scores(folder: RunFolder, results: list[Result], notes: str) -> None:
    """Write scores as result.md and result.json, and print the page.

    Args:
        folder: what the stage writes.
        results: the scores, stamped.
        notes: what is said below them.
    """
    page = to_markdown(results) + notes
    write_text(folder.path / "result.md", page)
    write_results(folder.path / "result.json", results)
    print(page)


def is_server(model: str) -> bool:
    """Whether an index was made with a model behind a server, whose address stands for its folder."""
    return model.startswith(("http://", "https://"))
