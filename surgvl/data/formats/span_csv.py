"""Tables of labels: `video,start,end,label` or `video,time,label`, optionally with a column `task`.

Times are seconds or h:mm:ss. A row of the second form lasts until the next of its video and task; where rows are evenly
spaced, as samples are, it lasts no longer than that. The columns that surgvl writes, such as `start_s`, are read too.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from statistics import median_low

from surgvl.core.errors import DataError
from surgvl.data.formats.annotations import Annotation, Export, VideoNames
from surgvl.data.formats.text_files import mark_note, no_rows, parse_seconds, read_csv, read_text
from surgvl.data.spans import round_time

# Columns of a timeline's CSV (`surgvl.export.interval_table`) -> columns of the simple form.
WRITTEN = {"video_id": "video", "track": "task", "name": "label", "start_s": "start", "end_s": "end"}
DEFAULT_TASK = "phase"
_EVEN = 0.6


def read_span_csv(path: Path, videos: VideoNames, ends_s: Mapping[str, float]) -> Export:
    """Read a table.

    Args:
        path: the file.
        videos: the videos at hand.
        ends_s: duration of each, for the last row of the second form.

    Raises:
        DataError: other columns, or an invalid time.
    """
    head = re.split(r"[,;\t\s\"]+", read_text(path, "replace").lstrip().partition("\n")[0])
    if "start_s" in head:
        columns = {WRITTEN.get(name, name): values for name, values in read_csv(path, tuple(WRITTEN), (), True).items()}
    elif "start" in head:
        columns = read_csv(path, ("video", "start", "end", "label"), ("task",), ignore_others=True)
    else:
        columns = read_csv(path, ("video", "time", "label"), ("task",), ignore_others=True)
    if not columns["line"]:
        raise no_rows(path)
    tasks = [task or DEFAULT_TASK for task in columns.get("task", [""] * len(columns["line"]))]
    keys = [(videos.find(name), task) for name, task in zip(columns["video"], tasks, strict=True)]
    export = Export(notes=[f"{path.name} {note}" for note in mark_note(path)])
    if "start" in columns:
        rows = zip(keys, *(columns[name] for name in ("start", "end", "label", "line")), strict=True)
        for (video_id, task), start, end, label, line in rows:
            start_s, end_s = parse_seconds(start, path, line, "start"), parse_seconds(end, path, line, "end")
            if end_s <= start_s:
                raise DataError(f"{path}, line {line}: the end {end_s:g} s is not after the start {start_s:g} s")
            if label:
                export.annotations.append(Annotation(video_id, task, label, start_s, end_s))
        return export
    moments: dict[tuple[str, str], list[tuple[float, str]]] = {}
    for key, time, label, line in zip(keys, *(columns[name] for name in ("time", "label", "line")), strict=True):
        moments.setdefault(key, []).append((parse_seconds(time, path, line, "time"), label))
    for key, rows_of in moments.items():
        export.annotations += _between(key, sorted(rows_of, key=lambda row: row[0]), ends_s.get(key[0], 0.0))
    return export


def _between(key: tuple[str, str], rows: list[tuple[float, str]], end_s: float) -> list[Annotation]:
    """Spans from each moment to the next."""
    steps = [later[0] - sooner[0] for sooner, later in zip(rows, rows[1:], strict=False)]
    step_s = median_low(steps) if steps else 0.0
    even = len(steps) > 1 and sum(abs(step - step_s) < 1e-6 for step in steps) >= _EVEN * len(steps)
    edges = [row[0] for row in rows[1:]] + [rows[-1][0] + step_s if even else max(end_s, rows[-1][0] + step_s)]
    spans: list[Annotation] = []
    for (start_s, label), next_s in zip(rows, edges, strict=True):
        stop_s = round_time(min(next_s, start_s + step_s) if even else next_s)
        if spans and label and spans[-1].label == label and abs(spans[-1].end_s - start_s) < 1e-4:
            spans[-1] = Annotation(*key, label, spans[-1].start_s, stop_s)
        elif label and stop_s > start_s:
            spans.append(Annotation(*key, label, start_s, stop_s))
    return spans
