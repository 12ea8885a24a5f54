"""MedVidBench and lists in its form: questions about clips of eight surgical data sets (Su et al., arXiv 2512.06581).

Layout: any `*.json` in the folder, a list of {"conversations": [{"from": "human", "value": "<video>Question"}, and
where it is given {"from": "gpt", "value": answer}], "video": [frame files], "metadata": {"video_id", "fps",
"input_video_start_frame", "input_video_end_frame"}, "qa_type", "data_source"}. Frame numbers count at that rate from
the start of the source video. Splits follow the file names (train, val, test).

A video is a source video, `AVOS/video_id`; the frames, where they are there, are read from the folder of the first one,
and a question is about the pictures from its first to its last frame. The answers of the test are kept on the
leaderboard's server, so its questions are counted and left out.
"""

import os
import re
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import pyarrow as pa

from surgvl.core.errors import DataError
from surgvl.core.files import read_json
from surgvl.core.plurals import plural
from surgvl.data.formats.text_files import is_whole, short_repr
from surgvl.data.readers.base import Contents, VideoDataset
from surgvl.data.spans import Track
from surgvl.data.tables import QA, schema_of
from surgvl.video.frame_folder import sorted_images

_SPLIT = re.compile(r"(?:^|[^a-z])(train|val|test)(?:[^a-z]|$)")
_MARK = re.compile(r"<(?:image|video)>")


class Asked(NamedTuple):
    """One entry; `answer` is empty where it is held back."""

    video_id: str
    start_s: float
    end_s: float
    question: str
    answer: str
    type: str
    frames: tuple[str, ...]


def read_entry(entry: Any) -> Asked:
    """Read one entry of a list.

    Raises:
        ValueError: the entry has a different form; the message continues "entry 3, ...".
    """
    try:
        turns, facts = entry["conversations"], entry["metadata"]
        speakers = [turn["from"] for turn in turns]
        texts = [_MARK.sub("", turn["value"]).strip() for turn in turns]
        rate_fps, start, end = (
            float(facts[name]) for name in ("fps", "input_video_start_frame", "input_video_end_frame")
        )
        source = str(entry.get("data_source", "")).strip()
        video_id, kind = str(facts["video_id"]), str(entry["qa_type"])
        frames = tuple(str(name).replace("\\", "/") for name in entry.get("video", ()))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"lacks a part of the form ({error!r})") from None
    if speakers not in (["human"], ["human", "gpt"]) or not all(texts) or not video_id or not kind:
        raise ValueError("must have a question, at most one answer, a video id and a qa_type")
    if not all(map(is_whole, (*texts, video_id, kind, source, *frames))):
        raise ValueError("has half of a surrogate pair, which is not a character")
    if not (0 < rate_fps < 1e3 and 0 <= start <= end < 1e9):
        raise ValueError(f"has frames {start:g} to {end:g} at {rate_fps:g} fps; they must increase from 0, above 0 fps")
    if any(PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts for name in frames):
        raise ValueError(f"has frame {short_repr(frames[0])}, which is not a path inside the folder")
    return Asked(
        f"{source}/{video_id}" if source else video_id,
        start / rate_fps,
        (end + 1) / rate_fps,
        texts[0],
        texts[1] if len(texts) == 2 else "",
        f"open_{kind}",
        frames,
    )


class MedVidBench(VideoDataset):
    """MedVidBench's lists of questions, and their frames if they are at hand."""

    name = "medvidbench"
    LICENCE = "CC BY-NC-SA 4.0"
    LICENCE_FROM = "card of the data set UII-AI/MedVidBench"
    SOURCE = "arXiv 2512.06581; github.com/UII-AI/MedGRPO-Code; layout of its README, not verified on the files"

    def read(self, contents: Contents) -> None:
        """Read all lists, then the frames."""
        asked: dict[str, list[Asked]] = {}
        held_back = 0
        for file in sorted(self.root.glob("*.json")):
            if file.name == "splits.json":
                continue
            try:
                entries = read_json(file)
            except DataError as error:
                contents.unreadable.append(str(error))
                continue
            if not isinstance(entries, list):
                contents.problems.append(f"{file.name} is not a list of entries, left out")
                continue
            split = match[1] if (match := _SPLIT.search(file.stem.lower())) else ""
            for number, entry in enumerate(entries):
                try:
                    row = read_entry(entry)
                    known = (
                        row.video_id if self.protocol or not split else self.split_of.setdefault(row.video_id, split)
                    )
                    if split and not self.protocol and known != split:
                        raise ValueError(f"refers to {row.video_id}, which is also in {known}")
                except ValueError as error:
                    contents.unreadable.append(f"{file}, entry {number}, {error}: correct the entry")
                    continue
                held_back += not row.answer
                asked.setdefault(row.video_id, []).append(row)
        if held_back:
            fact = f"{plural(held_back, 'question')} without an answer left out"
            contents.problems.append(f"{fact}: answers of the test are held back by its leaderboard")
        for video_id, rows in sorted(asked.items()):
            self._add(contents, video_id, rows)

    def _add(self, contents: Contents, video_id: str, rows: list[Asked]) -> None:
        """Add a video with its questions, in seconds of the source video or, with pictures, of the pictures."""
        first = next((row.frames[0] for row in rows if row.frames), "")
        folder = (self.root / first).parent if first else self.root
        there = first != "" and os.path.isfile(self.root / first)
        info = self.open_video(contents, video_id, folder if there else None)
        if there and info is None:
            return
        at = {path.name: number for number, path in enumerate(sorted_images(folder))} if there else {}
        answered = [row for row in rows if row.answer]
        absent = 0
        table = []
        for row in answered:
            start_s, end_s = row.start_s, row.end_s
            if there:
                places = [at[PurePosixPath(name).name] for name in row.frames if PurePosixPath(name).name in at]
                if len(places) < len(row.frames) or not places:
                    absent += 1
                    continue
                start_s, end_s = float(min(places)), float(max(places) + 1)
            table.append(
                {
                    "video_id": video_id,
                    "start_s": start_s,
                    "end_s": end_s,
                    "question": row.question,
                    "answer": row.answer,
                    "type": row.type,
                    "source": self.name,
                    "box": "",
                    "conversation": "",
                }
            )
        if absent:
            contents.problems.append(
                f"{video_id}: {plural(absent, 'question')} about frames that are not there left out"
            )
        end_s = max(row.end_s for row in rows)
        self.add_video(contents, video_id, folder if there else None, info, {"question": Track([], end_s, whole=False)})
        contents.qa.append(pa.Table.from_pylist(table, schema=schema_of(QA)))
