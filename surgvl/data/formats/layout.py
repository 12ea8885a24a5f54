"""Which files of a data set's folder are its videos and labels, by their names."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from surgvl.video import VIDEO_SUFFIXES

if TYPE_CHECKING:
    from surgvl.data.readers.base import Contents


def shorten(names: Sequence[str], most: int = 6) -> str:
    """The first names of a long list, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def find_files(folder: Path, pattern: str, contents: "Contents") -> dict[str, Path]:
    """Files or folders whose whole name fits a pattern, by the pattern's first group, sorted; doubles are remarked on.

    A name that differs from the pattern by upper and lower case only is remarked on; other names go to
    `contents.unmatched`, unless another pattern takes them.

    Args:
        folder: where to look (not below); an absent folder holds nothing.
        pattern: regular expression of the whole name with one group, the id.
        contents: takes the remarks.
    """
    files: dict[str, Path] = {}
    rest: set[str] = set()
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if match := re.fullmatch(pattern, path.name):
            if match[1] in files:
                contents.problems.append(
                    f"{match[1]} is there twice, {files[match[1]].name} is used and {path.name} is not"
                )
            else:
                files[match[1]] = path
        elif re.fullmatch(pattern, path.name, re.IGNORECASE):
            fact = "differs from the layout's names by upper and lower case only, left out"
            contents.problems.append(f"{path.name} {fact}: write it as in the layout")
        elif not path.name.startswith("."):
            rest.add(path.name)
    contents.unmatched[folder] = contents.unmatched.get(folder, rest) & rest
    return files


def find_videos(folder: Path, pattern: str, contents: "Contents") -> dict[str, Path]:
    """Video files and frame folders whose stem fits a pattern (no group), by stem; of two kinds, the first is used."""
    files: dict[str, Path] = {}
    for suffix in (*VIDEO_SUFFIXES, ""):
        for name, path in find_files(folder, rf"({pattern})(?i:{re.escape(suffix)})", contents).items():
            if name in files:
                contents.problems.append(f"{name} is there twice, {files[name].name} is used and {path.name} is not")
            files.setdefault(name, path)
    return files


def remarks_on_rest(root: Path, contents: "Contents") -> list[str]:
    """One line for each folder below `root` with entries that no pattern took; `root` itself may hold anything."""
    return [
        f"{len(names)} entries of {folder.relative_to(root)} are not in the layout, left out: {shorten(sorted(names))}"
        for folder, names in sorted(contents.unmatched.items())
        if names and folder != root
    ]
