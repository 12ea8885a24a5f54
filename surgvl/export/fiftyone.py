"""FiftyOne's labels of temporal detections (dataset type `FiftyOneTemporalDetectionDataset`).

The range of a detection is its first and last frame, counted from 1. Its other form, times, is not used: FiftyOne turns
them into frames by the average rate, which is wrong where the rate varies.
"""

from pathlib import PurePosixPath

from surgvl.data.formats.fiftyone import FIRST_FRAME, LABELS, SUPPORT, TASK
from surgvl.export.base import Format
from surgvl.export.interval_table import IntervalTable
from surgvl.export.json import about, dumps


class FiftyOne(Format):
    """`labels.json` of one video, which is found by its name without the suffix."""

    name = "fiftyone"
    title = "FiftyOne"
    purpose = "temporal detections"
    suffix = ".fiftyone.json"
    content_type = "application/json"

    def encode(self, table: IntervalTable) -> bytes:
        """The whole file."""
        detections = [
            {
                "label": row.name,
                SUPPORT: [row.first_frame + FIRST_FRAME, row.last_frame + FIRST_FRAME],
                "confidence": row.confidence,
                "attributes": {TASK: row.track, "start_s": row.start_s, "end_s": row.end_s},
            }
            for row in table
        ]
        return dumps({LABELS: {PurePosixPath(table.media).stem: detections}, "info": about(table)})
