"""The commands `data list`, `data splits`, `data check`, `data convert` and `data cluster`."""

from pathlib import Path

import surgvl.data.readers
from surgvl.core.errors import DataError
from surgvl.core.files import command
from surgvl.core.invocation import recorded
from surgvl.core.operations import seen_before
from surgvl.core.plurals import part_of, plural
from surgvl.core.registry import choose, discover
from surgvl.core.run_folder import RunFolder
from surgvl.core.tables import plain_table
from surgvl.data.formats.layout import layout_text
from surgvl.data.licences import licence_line
from surgvl.data.readers.base import VideoDataset
from surgvl.data.report import describe

SPLITS_FILE = 'a splits.json, {"train": [ids], "val": [ids], "test": [ids]},'


def datasets() -> dict[str, type[VideoDataset]]:
    """All data sets, by name."""
    return discover(surgvl.data.readers, VideoDataset)  # type: ignore[type-abstract]


def dataset_class(name: str) -> type[VideoDataset]:
    """The data set of a name.

    Raises:
        ConfigError: there is none.
    """
    return choose(surgvl.data.readers, VideoDataset, name)  # type: ignore[type-abstract]


def data_list() -> None:
    """List the supported data sets, with their classes by task, split protocols, licences and sources."""
    head: list[object] = ["name", "classes", "split protocols (train/val/test)", "licence", "licence read in", "source"]
    rows = [head]
    for name, kind in datasets().items():
        protocols = [
            f"{protocol} {'/'.join(str(len(ids.get(split, ()))) for split in ('train', 'val', 'test'))}"
            for protocol, ids in kind.SPLITS.items()
        ]
        classes = ", ".join(f"{task} {len(names)}" for task, names in kind.CLASSES.items())
        read_in = kind.LICENCE_FROM or "not verified"
        rows.append([name, classes or "-", ", ".join(protocols) or "-", kind.LICENCE, read_in, kind.SOURCE])
    print(plain_table(rows, indent=""))
    print("\nnext: surgvl data check NAME ROOT")


def data_splits(name: str) -> None:
    """Print the published splits of a data set, id by id, and which videos other data sets show too.

    Args:
        name: name of the data set; `surgvl data list` lists them.
    """
    dataset = dataset_class(name)
    for protocol, splits in dataset.SPLITS.items():
        print(protocol)
        for split, ids in splits.items():
            print(f"  {split}, {plural(len(ids), 'video')}: {', '.join(ids)}")
    own = {each for splits in dataset.SPLITS.values() for ids in splits.values() for each in ids}
    if not own:
        print(f"{name} has no published splits by video: put {SPLITS_FILE} in its folder")
    others = {other: kind.SPLITS for other, kind in datasets().items() if other != name}
    for other, protocols in others.items():
        theirs = {each for splits in protocols.values() for ids in splits.values() for each in ids}
        both = seen_before(own, theirs, dict.fromkeys(own, name), dict.fromkeys(theirs, other))
        if both:
            print(f"{part_of(len(both), len(own), 'video', 'is')} or may be in {other} too: {', '.join(both)}")
    print(f"\nnext: {command('data check', name, 'ROOT')}")


def data_check(name: str, root: Path, split_protocol: str = "") -> None:
    """Inspect a data set on disk: videos, hours, labels per class, missing and inconsistent files.

    Args:
        name: name of the data set; `surgvl data list` lists them.
        root: folder that it was unpacked to.
        split_protocol: name of the split protocol; empty for the first one.
    """
    dataset = dataset_class(name)(root, split_protocol)
    _show(dataset)
    _stop_if_set_aside(dataset)
    print(f"\nnext: {command('data convert', name, root, 'manifest')}")


@recorded
def data_convert(name: str, root: Path, out: Path, split_protocol: str = "", resume: bool = False) -> None:
    """Convert a data set to a manifest folder, which every later stage reads.

    Args:
        name: name of the data set; `surgvl data list` lists them.
        root: folder that it was unpacked to; videos stay there.
        out: manifest folder to write.
        split_protocol: name of the split protocol; empty for the first one.
        resume: write to an --out folder that is not empty.
    """
    dataset = dataset_class(name)(root, split_protocol)
    with RunFolder(out, resume) as folder:
        manifest = dataset.to_manifest()
        manifest.save(out)
        folder.record(manifest.hash, split_protocol=dataset.protocol, problems=dataset.problems())
        _show(dataset, brief=True)
        tables = {"video": manifest, "segment": manifest.segment_table, "question": manifest.qa_table}
        counts = ", ".join(plural(len(table), one) for one, table in tables.items())
        folder.next(f"\n{counts} in {out}", command("embed", model="dual", manifest=out, out="vectors"))
    _stop_if_set_aside(dataset)


@recorded
def data_cluster(vectors: Path, out: Path, levels: tuple[int, ...] = (8, 4), seed: int = 0) -> None:
    """Cluster clips hierarchically by their vectors, for balanced sampling in pretraining.

    Args:
        vectors: vectors folder (surgvl embed).
        out: .parquet file to write.
        levels: average number of clusters in each cluster of the level above, from coarse to fine.
        seed: random seed; the same seed gives the same clusters.
    """
    # Imported here because it needs FAISS, which the other commands of this file do not.
    from surgvl.embed.cluster import cluster

    groups = cluster(vectors, out, levels, seed).groups
    counts = ", then ".join(f"{numbers.max() + 1}" for numbers in groups.T)
    print(f"{len(groups):,} vectors in {counts} clusters in {out}")
    after = command("pretrain", recipe="surgrec_mae", clusters=out, manifest="manifest", out="mae")
    print(f"next: {after}")


def _show(dataset: VideoDataset, brief: bool = False) -> None:
    """Print the contents; problems come last, so that they do not scroll away."""
    licence = licence_line(dataset.LICENCE, dataset.LICENCE_FROM)
    splits = dataset.protocol or f"none; to train on some videos and score others, put {SPLITS_FILE} in the folder"
    print(f"{dataset.name}: {dataset.SOURCE}\nlicence: {licence}\nsplits: {splits}\n")
    if dataset.videos:
        print(describe(dataset.to_manifest(), brief))
    problems = dataset.problems()
    print(f"\nproblems: {len(problems)}" + "".join(f"\n  - {line}" for line in problems))
    labelled = {each.video_id for each in dataset.contents.segments}
    labelled |= {name for table in dataset.contents.qa for name in table["video_id"].unique().to_pylist()}
    if any(not row.path or row.video_id not in labelled for row in dataset.videos):
        print(f"\nexpected in {dataset.root}: {layout_text(type(dataset)).removeprefix('Layout: ')}")


def _stop_if_set_aside(dataset: VideoDataset) -> None:
    """Let the exit status report files that could not be read.

    Raises:
        DataError: there are such files.
    """
    if lines := dataset.contents.unreadable:
        raise DataError(f"{dataset.root}: {len(lines)} unreadable, set aside and listed above, the first: {lines[0]}")
