"""FiftyOne's labels of temporal detections (dataset type `FiftyOneTemporalDetectionDataset`).

The range of a detection is its first and last frame, counted from 1. Its other form, times, is not used: FiftyOne turns
them into frames by the average rate, which is wrong where the rate varies.
"""

from pathlib import PurePosixPath

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
                "support": [row.first_frame + 1, row.last_frame + 1],
                "confidence": row.confidence,
                "attributes": {"track": row.track, "start_s": row.start_s, "end_s": row.end_s},
            }
            for row in table
        ]
        return dumps({"labels": {PurePosixPath(table.media).stem: detections}, "info": about(table)})
