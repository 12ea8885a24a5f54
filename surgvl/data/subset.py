"""A part of a manifest's training videos, drawn so that a smaller part is always contained in a larger one.

Curves of data scale compare nested parts: then a step adds videos and takes none away.
"""

import math
import random

from surgvl.core.checks import check_above, check_range
from surgvl.core.errors import DataError
from surgvl.data.manifest import Manifest


def subset(table: Manifest, fraction: float, seed: int = 0, split: str = "train") -> Manifest:
    """Keep a part of the videos of one split, and all others.

    The videos are put in one random order for each source, and each source gives the first of them, rounded up: the
    proportions of sources stay, and for one seed the parts are nested.

    Args:
        table: the manifest.
        fraction: of the videos of each source, above 0, at most 1.
        seed: of the order.
        split: the split that is cut; empty for all videos.

    Raises:
        ConfigError: the fraction is out of range.
        DataError: no video is in the split.
    """
    check_above("--fraction", fraction)
    check_range("--fraction", fraction, 0, 1)
    sources: dict[str, list[str]] = {}
    for row in table.videos:
        if not split or row.split == split:
            sources.setdefault(row.source, []).append(row.video_id)
    if not sources:
        raise DataError(f"no video is in split {split!r}: choose another --split, or '' for all videos")
    kept = {row.video_id for row in table.videos if split and row.split != split}
    for source, ids in sources.items():
        # Text seeds are hashed by the same function on every machine.
        random.Random(f"{seed} {source}").shuffle(ids)
        # Less than what a product of floats is off by: 0.7 of 10 videos are 7.
        kept.update(ids[: math.ceil(len(ids) * fraction - 1e-9)])
    return table.select(kept)
