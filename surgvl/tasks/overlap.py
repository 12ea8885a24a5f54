"""Find test videos that were seen in training: the same id, or the same operation under another data set's id.

Cholec80's `video41`, CholecT50's `VID41` and CholecSeg8k's `video41` are one operation (Nwoye and Padoy, arXiv
2204.05235), so a model pretrained on one must not be tested on the other.
"""

import re
from collections.abc import Iterable

_CHOLEC = re.compile(r"(?:.*/)?vid(?:eo)?0*(\d+)", re.IGNORECASE)


def operation(video_id: str) -> str:
    """A key that is equal for ids of one operation.

    >>> operation("video41") == operation("VID41")
    True
    """
    match = _CHOLEC.fullmatch(video_id)
    return f"cholec {match[1]}" if match else video_id


def seen_before(test_ids: Iterable[str], other_ids: Iterable[str]) -> list[str]:
    """Test ids whose operation is also among the other ids, sorted."""
    others = {operation(name) for name in other_ids}
    return sorted({name for name in test_ids if operation(name) in others})
