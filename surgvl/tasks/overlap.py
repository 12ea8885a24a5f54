"""Stop an evaluation on videos that were seen in training or chosen on in validation, under any data set's id.

Which ids of different data sets are one operation is known from `surgvl.core.operations`.
"""

from collections.abc import Mapping, Sequence

from surgvl.core.errors import DataError
from surgvl.core.operations import is_any, not_listed, seen_before
from surgvl.core.plurals import part_of
from surgvl.tasks.truth import Labels


def check_overlap(
    labels: Labels,
    split: str,
    pretraining_ids: Sequence[str],
    allowed: bool,
    own: Mapping[str, Sequence[str]] | None = None,
    scored: Sequence[str] | None = None,
) -> str:
    """A warning for the results if videos of a split were seen before, or may have been; empty if none was.

    Args:
        labels: of all splits.
        split: that is scored.
        pretraining_ids: ids that the model has seen; `cholect50:*` stands for videos of a data set that nobody lists.
        allowed: whether they are scored nevertheless.
        own: further videos of the labels that must not be scored: what they are for (`validation`) -> their ids.
        scored: the videos that are scored; by default, those of the split.

    Raises:
        DataError: there are such videos, and that is not allowed; the message has their ids.
    """
    data_sets = {row.video_id: row.data_set for row in labels.videos}
    scored = labels.video_ids(split) if scored is None else scored
    video = f"{split} video".strip()
    facts = []
    if seen := seen_before(scored, [name for name in pretraining_ids if not is_any(name)], data_sets):
        facts.append(f"{part_of(len(seen), len(scored), video, 'was')} seen in pretraining: {', '.join(seen)}")
    perhaps = seen_before(scored, [name for name in pretraining_ids if is_any(name)], data_sets)
    if perhaps := [name for name in perhaps if name not in seen]:
        part = part_of(len(perhaps), len(scored), video, "was")
        why = "for which nobody lists the videos of their data set"
        facts.append(f"{part} perhaps seen in pretraining, {why}: {', '.join(perhaps)}")
    for purpose, ids in (own or {}).items():
        if both := seen_before(scored, ids, data_sets, data_sets):
            part = part_of(len(both), len(scored), video, "is")
            facts.append(f"{part} also in {purpose}: {', '.join(both)}")
    if facts and not allowed:
        raise DataError(f"{'; '.join(facts)}: use a model that has not seen them, or --allow_overlap")
    return "; ".join(facts)


def not_listed_note(pretraining_ids: Sequence[str]) -> str:
    """What of the training data cannot be compared with the test videos, as a list item; empty if all can."""
    names = not_listed(pretraining_ids)
    if not names:
        return ""
    listed = ", ".join("data that nobody names" if name == "unknown" else name for name in names)
    return f"- trained on videos that nobody lists, so test videos may be among them: {listed}\n"
