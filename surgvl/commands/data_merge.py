"""The `data merge` command: merges manifests into one, each as a source of its own."""

from pathlib import Path

import pyarrow as pa

from surgvl.core.errors import ConfigError
from surgvl.core.files import command
from surgvl.core.invocation import recorded
from surgvl.core.plurals import plural
from surgvl.core.run_folder import RunFolder
from surgvl.data.manifest import Manifest


@recorded
def data_merge(
    manifests: list[Path],
    out: Path,
    names: list[str] | None = None,
    specialties: list[str] | None = None,
    train: tuple[int, ...] = (),
    resume: bool = False,
) -> None:
    """Merge manifests into one; videos stay where they are.

    Args:
        manifests: manifest folders.
        out: manifest folder to write.
        names: a name for each manifest, which becomes its source and the prefix of its video ids, as in `lap/video01`;
            required if manifests share ids.
        specialties: a specialty for each manifest; by default, unchanged.
        train: number of training videos to keep of each manifest, the first ones; by default, all.
        resume: write to an --out folder that is not empty.
    """
    for flag, given in (("names", names), ("specialties", specialties), ("train", train)):
        if given and len(given) != len(manifests):
            raise ConfigError(f"--{flag} must have one value per manifest, {len(manifests)}, got {len(given)}")
    if names and (len(set(names)) != len(names) or "" in names):
        raise ConfigError(f"--names must be distinct and not empty, got {' '.join(names)}")
    if min(train, default=1) < 1:
        raise ConfigError(f"--train must be >= 1 for each manifest, got {' '.join(map(str, train))}")
    with RunFolder(out, resume) as folder:
        parts = [Manifest.load(folder) for folder in manifests]
        parts = [first_train(part, count) for part, count in zip(parts, train, strict=True)] if train else parts
        parts = [renamed(part, name) for part, name in zip(parts, names, strict=True)] if names else parts
        if specialties:
            parts = [in_specialty(part, name) for part, name in zip(parts, specialties, strict=True)]
        merged = Manifest.merge(parts)
        merged.save(out)
        folder.record(merged.hash)
        counts = ", ".join(
            f"{len(part.video_ids('train'))} of {folder}" for part, folder in zip(parts, manifests, strict=True)
        )
        made = f"{plural(len(merged), 'video')} in {out}, for training {counts}"
        folder.next(made, command("pretrain", manifest=out, out="encoder"))


def first_train(manifest: Manifest, count: int) -> Manifest:
    """The same manifest with its first `count` training videos and all videos of other splits.

    Raises:
        ConfigError: it has fewer.
    """
    ids = manifest.video_ids("train")
    if len(ids) < count:
        raise ConfigError(f"--train must be at most the {len(ids)} training videos of the manifest, got {count}")
    left_out = set(ids[count:])
    return manifest.select(video_id for video_id in manifest.video_ids() if video_id not in left_out)


def renamed(manifest: Manifest, name: str) -> Manifest:
    """The same manifest as source `name`, with `name/` before its video ids; its data set stays the same.

    `core.operations` ignores everything up to the last slash, so a renamed operation is still recognised.
    """
    videos = [
        row.model_copy(update={"video_id": f"{name}/{row.video_id}", "source": name, "dataset": row.data_set})
        for row in manifest.videos
    ]
    tables = []
    for table in (manifest.segment_table, manifest.qa_table):
        ids = pa.array([f"{name}/{video_id}" for video_id in table["video_id"].to_pylist()], pa.string())
        tables.append(table.set_column(table.column_names.index("video_id"), "video_id", ids))
    return Manifest(videos, tables[0], tables[1], root=manifest.root)


def in_specialty(manifest: Manifest, name: str) -> Manifest:
    """The same manifest with all videos in one specialty."""
    videos = [row.model_copy(update={"specialty": name}) for row in manifest.videos]
    return Manifest(videos, manifest.segment_table, manifest.qa_table, root=manifest.root)
