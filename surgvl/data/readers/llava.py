"""Conversations in LLaVA's JSON (Liu et al., arXiv 2304.08485): `train.json`, `val.json`, `test.json` or any other.

A file is a list of `{"id": ..., "image" | "video": path, "conversations": [{"from": "human" | "gpt", "value": ...}]}`,
human and model alternating, with at most one placeholder `<image>` or `<video>`, in the first question. Paths are
relative to the folder, or to `images/` or `videos/` in it. An image counts as a still video of one second; a question
about a video is about all of it. Several turns become rows of one `conversation`. All answers are free text, of type
`open`. Other keys are ignored. Splits follow the file names, or `splits.json` by path.
"""

import os
import re
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import pyarrow as pa

from surgvl.core.errors import DataError
from surgvl.core.files import read_json
from surgvl.core.plurals import plural, shorten
from surgvl.data.formats.text_files import short_repr
from surgvl.data.readers.base import Contents, VideoDataset
from surgvl.data.spans import Track
from surgvl.data.tables import QA, schema_of

_MARK = re.compile(r"<(image|video)>")
_SPLIT = re.compile(r"(?:^|[^a-z])(train|val|test)(?:[^a-z]|$)")


def read_entry(entry: Any) -> tuple[str, list[tuple[str, str]]]:
    """Path of an entry's image or video (empty if it has none), and its questions with answers.

    Raises:
        ValueError: the entry does not follow LLaVA's form; the message continues "entry 3, ...".
    """
    turns = entry.get("conversations") if isinstance(entry, dict) else None
    if not isinstance(turns, list) or not turns:
        raise ValueError("has no list of conversations")
    media = [kind for kind in ("image", "video") if entry.get(kind) is not None]
    path = entry[media[0]] if media else ""
    # Windows writes backslashes; no data set has one in a folder name.
    path = path.replace("\\", "/") if isinstance(path, str) else path
    if len(media) > 1 or not isinstance(path, str):
        raise ValueError("refers to several images or videos; only one is supported")
    drive = PureWindowsPath(path).drive
    if path and (drive or PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts or "\0" in path):
        raise ValueError(f"has {media[0]} {short_repr(path)}, which is not a path inside the folder")
    whole = all(isinstance(turn, dict) and isinstance(turn.get("value"), str) for turn in turns)
    speakers = [turn.get("from") for turn in turns] if whole else []
    if not speakers or speakers != ["human", "gpt"] * (len(turns) // 2):
        raise ValueError("must alternate human, gpt, human, gpt, with a text each")
    marks = [_MARK.findall(turn["value"]) for turn in turns]
    if sum(map(len, marks)) > 1 or marks[0] not in ([], media) or any(marks[1:]):
        raise ValueError(
            f"has placeholders {[f'<{m}>' for each in marks for m in each]}; one in the first question is supported"
        )
    texts = [_MARK.sub("", turn["value"]).strip() for turn in turns]
    if not all(texts):
        raise ValueError("has a turn without text")
    if any("\ud800" <= letter <= "\udfff" for text in (path, *texts) for letter in text):
        raise ValueError("has half of a surrogate pair, which is not a character")
    return path, list(zip(texts[::2], texts[1::2], strict=True))


class Llava(VideoDataset):
    """Conversations about images and videos of any source."""

    name = "llava"
    LICENCE = "that of the images and videos"
    LICENCE_FROM = "your own records"
    SOURCE = "any set in LLaVA's JSON, arXiv 2304.08485"

    def read(self, contents: Contents) -> None:
        """Read all lists of conversations, then the images and videos that they refer to."""
        rows: dict[str, list[tuple[str, str, str]]] = {}
        silent = 0
        for file in sorted(self.root.glob("*.json")):
            try:
                entries = read_json(file)
            except DataError as error:
                contents.unreadable.append(str(error))
                continue
            if not isinstance(entries, list):
                if file.name != "splits.json":
                    contents.problems.append(f"{file.name} is not a list of conversations, left out")
                continue
            split = match[1] if (match := _SPLIT.search(file.stem.lower())) else ""
            for number, entry in enumerate(entries):
                try:
                    path, turns = read_entry(entry)
                    if path and split and not self.protocol and self.split_of.setdefault(path, split) != split:
                        raise ValueError(f"refers to {path}, which is also in {self.split_of[path]}")
                except ValueError as error:
                    contents.unreadable.append(f"{file}, entry {number}, {error}: correct the entry")
                    continue
                if not path:
                    silent += 1
                    continue
                talk = f"{file.stem}/{number}" if len(turns) > 1 else ""
                rows.setdefault(path, []).extend((question, answer, talk) for question, answer in turns)
        if lines := sorted(path.name for path in self.root.glob("*.jsonl")):
            fact = f"{plural(len(lines), 'JSON Lines file')} left out: {shorten(lines)}"
            contents.problems.append(f"{fact}; convert each to one JSON list")
        if silent:
            contents.problems.append(f"{plural(silent, 'conversation')} without an image or video left out")
        if absent := [path for path in rows if self._find(path) is None]:
            lost = sum(len(rows[path]) for path in absent)
            contents.problems.append(
                f"{plural(lost, 'question')} left out, {plural(len(absent), 'missing file')}: {shorten(absent)}"
            )
        for path in sorted(rows.keys() - set(absent)):
            medium = self._find(path)
            info = self.open_video(contents, path, medium)
            if info is not None:
                self.add_video(contents, path, medium, info, {"question": Track([], 0.0, whole=False)})
                contents.qa.append(self._table(path, info.duration_s, rows[path]))

    def _find(self, path: str) -> Path | None:
        candidates = (self.root / path, self.root / "images" / path, self.root / "videos" / path)
        # Not Path.exists, which raises for names that no file system accepts.
        return next((path for path in candidates if os.path.exists(path)), None)

    def _table(self, video_id: str, end_s: float, turns: list[tuple[str, str, str]]) -> Any:
        rows = [
            {
                "video_id": video_id,
                "start_s": 0.0,
                "end_s": end_s,
                "question": question,
                "answer": answer,
                "type": "open",
                "source": self.name,
                "box": "",
                "conversation": talk,
            }
            for question, answer, talk in turns
        ]
        return pa.Table.from_pylist(rows, schema=schema_of(QA))
