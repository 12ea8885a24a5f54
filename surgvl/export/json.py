"""JSON: how the timeline was made, facts about the video, and the intervals."""

import json
from dataclasses import asdict

from surgvl.export.base import Format
from surgvl.export.interval_table import IntervalTable


class Json(Format):
    """An object with `notes`, `origin`, `video` and `intervals`."""

    name = "json"
    title = "JSON"
    purpose = "any program"
    suffix = ".json"
    content_type = "application/json"

    def encode(self, table: IntervalTable) -> bytes:
        """The whole file."""
        rows = [{name: value for name, value in asdict(row).items() if value != ""} for row in table]
        return dumps({**about(table), "intervals": rows})


def about(table: IntervalTable) -> dict[str, object]:
    """How a timeline was made, and facts about its video."""
    video = {
        "video_id": table.video_id,
        "media": table.media,
        "duration_s": table.frames.end_s,
        "num_frames": len(table.frames),
        "even_fps": table.frames.even_fps,
        "width_px": table.width_px,
        "height_px": table.height_px,
    }
    return {"notes": table.origin.lines(), "origin": asdict(table.origin), "video": video}


def dumps(value: object) -> bytes:
    """Indented JSON in UTF-8."""
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
