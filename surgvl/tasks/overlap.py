"""Stop an evaluation on videos that were seen in training or chosen on in validation, under any data set's id.

Which ids of different data sets are one operation is known from `surgvl.core.operations`.
"""

from collections.abc import Mapping, Sequence

from surgvl.core.errors import DataError
from surgvl.core.operations import seen_before
from surgvl.core.plurals import part_of
from surgvl.tasks.truth import Labels

__all__ = ["check_overlap", "seen_before"]


def check_overlap(
    labels: Labels, split: str, pretraining_ids: Sequence[str], allowed: bool, own: Mapping[str, str] | None = None
) -> str:
    """A warning for the results if videos of a split were seen before; empty if none was.

    Args:
        labels: of all splits.
        split: that is scored.
        pretraining_ids: ids that the model has seen.
        allowed: whether they are scored nevertheless.
        own: further splits of the labels whose videos must not be scored, with what they are for (`validation`).

    Raises:
        DataError: there are such videos, and that is not allowed; the message has their ids.
    """
    data_sets = {row.video_id: row.data_set for row in labels.videos}
    scored = labels.video_ids(split)
    facts = []
    if seen := seen_before(scored, pretraining_ids, data_sets):
        facts.append(
            f"{part_of(len(seen), len(scored), f'{split} video', 'was')} seen in pretraining: {', '.join(seen)}"
        )
    for other, purpose in (own or {}).items():
        if other != split and (both := seen_before(scored, labels.video_ids(other), data_sets, data_sets)):
            part = part_of(len(both), len(scored), f"{split} video", "is")
            facts.append(f"{part} also in {purpose}: {', '.join(both)}")
    if facts and not allowed:
        raise DataError(f"{'; '.join(facts)}: use a model that has not seen them, or --allow_overlap")
    return "; ".join(facts)
