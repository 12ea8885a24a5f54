"""The command `surgvl data merge`: several manifests become one, each a source of its own."""

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
    """Join manifests into one; videos stay where they are.

    Args:
        manifests: manifest folders, one or more.
        out: new folder for the manifest.
        names: a name for each, which becomes its source and stands before its video ids, as in `lap/video01`; needed
            where ids are the same.
        specialties: a specialty for each; as they are where it is left out.
        train: how many training videos of each to keep, the first ones; all where it is left out.
        resume: write into a folder that is not empty.
    """
    for flag, given in (("names", names), ("specialties", specialties), ("train", train)):
        if given and len(given) != len(manifests):
            raise ConfigError(f"--{flag} has {len(given)} values for {len(manifests)} manifests: give one for each")
    if names and (len(set(names)) != len(names) or "" in names):
        raise ConfigError(f"--names {' '.join(names)}: give each manifest a name of its own")
    if min(train, default=1) < 1:
        raise ConfigError(f"--train {' '.join(map(str, train))}: give 1 or more for each manifest")
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
        raise ConfigError(f"--train {count}: the manifest has {len(ids)} training videos: give as many or fewer")
    left_out = set(ids[count:])
    return manifest.select(video_id for video_id in manifest.video_ids() if video_id not in left_out)


def renamed(manifest: Manifest, name: str) -> Manifest:
    """The same manifest as source `name`, video ids with `name/` in front; its data set is known as before.

    The rule of `tasks.overlap` looks behind the last slash, so a renamed operation is still known as the same one.
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
