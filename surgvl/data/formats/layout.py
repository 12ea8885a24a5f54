"""Find the videos and label files in a data set's folder, by name."""

import re
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from surgvl.core.errors import DataError
from surgvl.core.plurals import plural, shorten
from surgvl.video import VIDEO_SUFFIXES

if TYPE_CHECKING:
    from surgvl.data.readers.base import Contents, VideoDataset

# Folders within one that holds nothing, at most so many of which are looked into.
_FOLDERS = 20


def layout_text(kind: type) -> str:
    """The layout that a reader expects, from the docstring of its module, in one line; empty where it has none."""
    paragraphs = (sys.modules[kind.__module__].__doc__ or "").split("\n\n")
    return " ".join(next((text for text in paragraphs if text.startswith("Layout")), "").split())


def why_nothing(dataset: "VideoDataset", contents: "Contents") -> str:
    """Why nothing of a data set was read: a folder within has it; or what the folder holds, and the layout.

    Args:
        dataset: its reader.
        contents: of its folder; no videos.
    """
    fact = f"{dataset.root} holds nothing in the layout of {dataset.name}"
    there = sorted(path for path in dataset.root.iterdir() if not path.name.startswith("."))
    for inside in [path for path in there if path.is_dir()][:_FOLDERS]:
        found = type(contents)()
        try:
            type(dataset)(inside).read(found)
        except DataError:
            continue
        if found.videos:
            return f"{fact}, but {inside} does: give that folder"
    holds = f"it holds {shorten([path.name for path in there])}" if there else "it is empty"
    advice = dataset.ABSENT or layout_text(type(dataset))
    return f"{fact}: {'; '.join(part for part in (*contents.problems[:1], holds, advice) if part)}"


def find_files(folder: Path, pattern: str, contents: "Contents") -> dict[str, Path]:
    """Files or folders whose full name matches a pattern, sorted, by the first group of the match.

    Duplicates, and names that differ from the pattern only in case, are added to `contents.problems`; other names to
    `contents.unmatched`, unless another pattern matches them.

    Args:
        folder: where to look, not recursively; a missing folder counts as empty.
        pattern: regular expression for the full name, with one group, the id.
        contents: takes the problems.
    """
    return _find(_entries(folder), folder, pattern, contents)


def find_videos(folder: Path, pattern: str, contents: "Contents") -> dict[str, Path]:
    """Video files and frame folders whose stem matches a pattern (without a group), by stem; files take precedence."""
    files: dict[str, Path] = {}
    entries = _entries(folder)
    there = {f".{path.name.rpartition('.')[2].lower()}" for path in entries}
    for suffix in (*(each for each in VIDEO_SUFFIXES if each in there), ""):
        for name, path in _find(entries, folder, rf"({pattern})(?i:{re.escape(suffix)})", contents).items():
            if name in files:
                contents.problems.append(f"{name} occurs twice: {files[name].name} is used, {path.name} is not")
            files.setdefault(name, path)
    return files


def _entries(folder: Path) -> list[Path]:
    """What is in a folder, sorted."""
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _find(entries: Sequence[Path], folder: Path, pattern: str, contents: "Contents") -> dict[str, Path]:
    """`find_files` among the entries of a folder."""
    files: dict[str, Path] = {}
    rest: set[str] = set()
    for path in entries:
        if match := re.fullmatch(pattern, path.name):
            if match[1] in files:
                contents.problems.append(f"{match[1]} occurs twice: {files[match[1]].name} is used, {path.name} is not")
            else:
                files[match[1]] = path
        elif re.fullmatch(pattern, path.name, re.IGNORECASE):
            contents.problems.append(f"{path.name} differs from the layout's names only in case, left out: rename it")
        elif not path.name.startswith("."):
            rest.add(path.name)
    contents.unmatched[folder] = contents.unmatched.get(folder, rest) & rest
    return files


def merge_alike(lines: Sequence[str], ids: Collection[str], least: int = 4) -> list[str]:
    """Join lines `VIDEO: fact` that tell the same of several videos, at the place of the first.

    Args:
        lines: problems.
        ids: the videos.
        least: from how many videos on.
    """
    videos: dict[str, list[str]] = {}
    for line in lines:
        video_id, _, fact = line.partition(": ")
        if video_id in ids:
            videos.setdefault(fact, []).append(video_id)
    merged: dict[str, None] = {}
    for line in lines:
        video_id, _, fact = line.partition(": ")
        alike = videos.get(fact, []) if video_id in ids else []
        merged[f"{plural(len(alike), 'video')} ({shorten(alike)}): {fact}" if len(alike) >= least else line] = None
    return list(merged)


def unmatched_entries(root: Path, contents: "Contents") -> list[str]:
    """One line for each folder below `root` with entries that no pattern matched; `root` itself may hold anything."""
    return [
        f"{plural(len(names), 'name')} in {folder.relative_to(root)} outside of the layout: {shorten(sorted(names))}"
        for folder, names in sorted(contents.unmatched.items())
        if names and folder != root
    ]
