"""The labels that `eval` scores against: a manifest folder, or a data set as it was unpacked, without converting it."""

from collections.abc import Sequence
from pathlib import Path

from surgvl.commands.data import dataset_class, datasets
from surgvl.core.errors import ConfigError, DataError
from surgvl.core.files import command
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
    """The classes of a data set in the order of its ids; empty where it publishes no list."""
    known = {name.casefold(): each for name, each in datasets().items()}
    return known[dataset.casefold()].CLASSES.get(kind, ()) if dataset.casefold() in known else ()
