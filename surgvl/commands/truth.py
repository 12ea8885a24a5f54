"""The labels that `eval` scores against: a manifest folder, or a data set as it was unpacked, without converting it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from surgvl.commands.data import dataset_class, datasets
from surgvl.core.errors import ConfigError, DataError
from surgvl.core.files import command
from surgvl.core.ontology import PARTS, rated_kind
from surgvl.core.plurals import plural
from surgvl.data.manifest import Manifest


def load_truth(manifest: Path, split_protocol: str = "") -> tuple[Manifest, str]:
    """Read a manifest folder, or a data set given as NAME:ROOT.

    Args:
        manifest: the folder, or such as `cholec80:downloads/cholec80`.
        split_protocol: of a data set; empty for its first one. A manifest has one already.

    Returns:
        The manifest, and what of the data set does not fit, in one line; it has lines of its own in `data check`.

    Raises:
        ConfigError: an unknown data set or protocol, or a protocol for a manifest folder.
        DataError: the folder cannot be read.
    """
    name, colon, root = str(manifest).partition(":")
    if not colon or manifest.exists():
        if split_protocol:
            raise ConfigError(
                f"--split_protocol {split_protocol}: {manifest} is a manifest, which has its splits already: give "
                "NAME:ROOT of a data set, or convert it with this protocol"
            )
        if manifest.is_dir() and not (manifest / "manifest.json").exists():
            raise DataError(
                f"{manifest} holds no manifest: for a data set as it was unpacked, put its name in front, such as "
                f"cholec80:{manifest} (`surgvl data list` has the names), or convert it by `surgvl data convert`"
            )
        return Manifest.load(manifest), ""
    dataset = dataset_class(name)(Path(root), split_protocol)
    found = dataset.problems()
    remark = f"{plural(len(found), 'remark')} on {name}: `{command('data check', name, root)}`" if found else ""
    return dataset.to_manifest(), remark


def published_classes(kind: str, dataset: str) -> Sequence[str]:
    """The classes of a data set in the order of its ids; empty where it publishes no list.

    Parts of triplets are in CholecT50's words unless it says otherwise.
    """
    known = {name.casefold(): each for name, each in datasets().items()}
    own = known[dataset.casefold()].CLASSES if dataset.casefold() in known else {}
    return own.get(kind, PARTS.get(kind, ()))


def with_parts(table: Manifest) -> Manifest:
    """The same with labels of instruments, verbs and targets from the triplets, where it has triplets but not these."""
    segments = table.segment_table
    there = set(pc.unique(segments["task"]).to_pylist())
    missing = [kind for kind in PARTS if kind not in there]
    labels = segments.filter(pc.equal(segments["task"], "triplet"))
    rated = segments.filter(pc.equal(segments["task"], rated_kind("triplet")))
    words = [label.split(",") for label in labels["label"].to_pylist()]
    if not words or not missing or any(len(parts) != len(PARTS) for parts in words):
        return table
    found = [segments]
    for kind in missing:
        at = list(PARTS).index(kind)
        found += [
            _as(labels, kind, [parts[at] for parts in words]),
            _as(rated, rated_kind(kind), rated["label"].to_pylist()),
        ]
    return Manifest(table.video_table, pa.concat_tables(found), table.qa_table, table.root)


def _as(rows: Any, task: str, labels: list[str]) -> Any:
    """The segments with another task and other labels."""
    for name, values in (("task", [task] * len(labels)), ("label", labels)):
        column = pa.array(values, pa.string()).cast(rows.schema.field(name).type)
        rows = rows.set_column(rows.column_names.index(name), name, column)
    return rows
