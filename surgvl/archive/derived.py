"""What follows from a catalogue: recordings as people see them, and the manifest that training and tests read."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from surgvl.archive.catalogue import Catalogue
from surgvl.archive.label_table import latest
from surgvl.archive.recording_table import ORIGIN, FileRow
from surgvl.archive.records import Details, Recording
from surgvl.core.errors import DataError, first_line
from surgvl.core.files import atomic, read_json
from surgvl.core.parquet import read_parquet
from surgvl.data.manifest import QA, Manifest, Segment, VideoRow
from surgvl.data.tables import schema_of

# Questions that came with a data set; they do not change.
QUESTIONS = "questions.parquet"
SEGMENTS = schema_of(Segment)


def manifest_of(catalogue: Catalogue, root: Path) -> Manifest:
    """All readable recordings, with the labels of everybody as segments.

    Where phases of several people overlap, the one that was set last counts.

    Args:
        catalogue: the catalogue.
        root: folder that its paths are relative to.
    """
    rows = [row for row in catalogue.rows() if row.duration_s > 0]
    details, there = catalogue.all_details(), {row.id for row in rows}
    videos = [
        VideoRow.model_validate(
            {
                "video_id": row.id,
                "procedure": details.get(row.id, Details()).procedure,
                **{name: vars(row)[name] for name in ("path", "fps", "duration_s", *ORIGIN)},
            }
        )
        for row in rows
    ]
    labels = [each for each in latest(catalogue.labels()) if each.recording in there]
    names = {"video_id": "recording", "task": "track", "label": "name"}
    columns = {name: [vars(each)[names.get(name, name)] for each in labels] for name in SEGMENTS.names}
    segments = pa.table(columns, SEGMENTS)
    questions = read_questions(root)
    kept = pc.is_in(questions["video_id"], value_set=pa.array(sorted(there), pa.string()))
    return Manifest(videos, segments, questions.filter(kept), root=root, where=str(root))


def recording_of(row: FileRow, path: Path, details: Details) -> Recording:
    """A row of the catalogue with its details; its state is `missing` if there is no file.

    Args:
        row: the row.
        path: its file, absolute.
        details: its details.
    """
    return Recording(
        id=row.id,
        path=path,
        content=row.content,
        size=row.size,
        fps=row.fps,
        duration_s=row.duration_s,
        width=row.width,
        height=row.height,
        added_s=row.added_s,
        state=row.state if path.exists() else "missing",
        problem=row.problem,
        details=details,
        source=row.source,
        split=row.split,
        licence=row.licence,
        rendered=row.rendered,
    )


def read_questions(folder: Path) -> Any:
    """The questions of an archive, an arrow table with the columns of `QA`.

    Raises:
        DataError: the file cannot be read.
    """
    path = folder / QUESTIONS
    if not path.is_file():
        return schema_of(QA).empty_table()
    try:
        return read_parquet(path)
    except (OSError, pa.ArrowInvalid) as error:
        fact = first_line(error)
        raise DataError(f"{path} cannot be read ({fact}): restore a copy, or delete it to go on without") from error


def write_questions(folder: Path, table: Any) -> None:
    """Write the questions of an archive, if it has any, else delete their file."""
    if not len(table):
        (folder / QUESTIONS).unlink(missing_ok=True)
        return
    with atomic(folder / QUESTIONS) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def save_manifest(manifest: Manifest, folder: Path) -> None:
    """Write a manifest folder, unless it holds the same already."""
    head = folder / "manifest.json"
    if not head.is_file() or read_json(head).get("hash") != manifest.hash:
        manifest.save(folder)
