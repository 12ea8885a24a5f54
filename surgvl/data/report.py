"""A summary of a manifest as aligned text: videos by split, labels by class, questions by type."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from surgvl.core.tables import plain_table
from surgvl.data.manifest import Manifest

SENTENCE_TASKS = ("narration", "keystep", "abstract")


def _clock(seconds: float) -> str:
    """Seconds as h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def describe(manifest: Manifest, brief: bool = False) -> str:
    """Tables of videos by split, labels by task and class, and questions by type; only the first if `brief`."""
    parts = [_videos(manifest)]
    if len(manifest.segment_table) and not brief:
        parts.append(_labels(manifest))
    if len(manifest.qa_table) and not brief:
        parts.append(_questions(manifest))
    return "\n\n".join(map(plain_table, parts))


def _videos(manifest: Manifest) -> list[list[Any]]:
    rows: list[list[Any]] = [["split", "videos", "with file", "h:mm:ss"]]
    for split in ("train", "val", "test", ""):
        videos = [video for video in manifest.videos if video.split == split]
        if videos:
            time = _clock(sum(video.duration_s for video in videos))
            rows.append([split or "(none)", len(videos), sum(bool(video.path) for video in videos), time])
    return rows


def _labels(manifest: Manifest) -> list[list[Any]]:
    table = manifest.segment_table
    # Nearly all sentences differ: they are counted, not listed.
    sentence = pc.is_in(table["task"], value_set=pa.array(SENTENCE_TASKS))
    columns = {
        "task": table["task"],
        "label": pc.if_else(sentence, "(sentences)", table["label"]),
        "seconds": pc.subtract(table["end_s"], table["start_s"]),
        "video_id": table["video_id"],
    }
    counts = [("seconds", "count"), ("seconds", "sum"), ("video_id", "count_distinct")]
    found = _group(pa.table(columns), ["task", "label"], counts)
    head: list[list[Any]] = [["task", "label", "segments", "h:mm:ss", "videos"]]
    return head + [[task, label, segments, _clock(seconds), videos] for task, label, segments, seconds, videos in found]


def _questions(manifest: Manifest) -> list[list[Any]]:
    counts = [("question", "count"), ("answer", "count_distinct"), ("video_id", "count_distinct")]
    head: list[list[Any]] = [["questions", "type", "count", "answers", "videos"]]
    return head + _group(manifest.qa_table, ["source", "type"], counts)


def _group(table: Any, keys: list[str], counts: list[tuple[str, str]]) -> list[list[Any]]:
    """Sorted rows of keys followed by aggregates."""
    sums = table.group_by(keys).aggregate(counts)
    names = [*keys, *(f"{column}_{function}" for column, function in counts)]
    return sorted(list(row) for row in zip(*(sums[name].to_pylist() for name in names), strict=True))
