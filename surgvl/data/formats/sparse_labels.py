"""Labels of single moments, and labels of a whole video, as spans."""

from collections.abc import Collection, Mapping, Sequence

from surgvl.data.spans import Span, Track, round_time
from surgvl.video import VideoInfo

# The length of a video of which only whole-video labels are at hand: no label file states it.
NOMINAL_S = 1.0


def moment_track(present: Mapping[float, Collection[str]], length_s: float, names: Sequence[str]) -> Track:
    """Labels of moments as spans; those of moments that follow one another at `length_s` are joined.

    Args:
        present: start in seconds -> labels of that moment, in any order.
        length_s: how long each moment lasts; it ends earlier where the next one begins.
        names: class names; their order settles that of spans which start together.
    """
    times_s = sorted(present)
    ends_s = [min(start + length_s, after) for start, after in zip(times_s, [*times_s[1:], float("inf")], strict=True)]
    spans: list[tuple[float, int, Span]] = []
    for rank, name in enumerate(names):
        open_s: float | None = None
        last_s = 0.0
        for start, end in zip(times_s, ends_s, strict=True):
            here = name in present[start]
            if open_s is not None and (not here or start - last_s > 1e-6):
                spans.append((open_s, rank, (round_time(open_s), round_time(last_s), name)))
                open_s = None
            if here:
                open_s, last_s = start if open_s is None else open_s, end
        if open_s is not None:
            spans.append((open_s, rank, (round_time(open_s), round_time(last_s), name)))
    found = [span for _, _, span in sorted(spans, key=lambda part: part[:2])]
    return Track(found, ends_s[-1] if ends_s else 0.0, whole=False)


def whole_tracks(labels: Mapping[str, str], info: VideoInfo | None, end_s: float = 0.0) -> dict[str, Track]:
    """One segment over the whole video for each task.

    Args:
        labels: task -> label.
        info: the video; None if it is not at hand.
        end_s: end of other labels of the video, for its length if it is not at hand; 0 gives `NOMINAL_S`.
    """
    length_s = info.duration_s if info else end_s or NOMINAL_S
    return {task: Track([(0.0, length_s, label)], length_s, whole=False) for task, label in labels.items()}


def number_text(value: float) -> str:
    """A score as a label: `22`, or `17.67` for a mean of raters."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
