"""Scores of ivtmetrics for `metrics.py`, in an environment of its own: `python benchmarks/metrics_peers.py DATA OUT`.

ivtmetrics 0.1.5 knows that a class is absent from a video by an average precision of -0.0, which scikit-learn gives up
to 1.6.0 only; with later versions absent classes count as 0. So it runs with an older one, and imports nothing of ours.

Its association of triplets with boxes has three faults (`surgvl/metrics/association.py`), so it is run as it is and
with these mended.
"""

import json
import sys
import time
import warnings
from importlib.metadata import version
from typing import Any

import ivtmetrics
import numpy as np

COMPONENTS = ("i", "v", "t", "iv", "it", "ivt")
# The counts in the order of ours.
OUTCOMES = ("lm", "plm", "ids", "idm", "mil", "fp", "fn")


class Position(int):
    """A position that is true, also the first."""

    def __bool__(self) -> bool:
        return True


class Mended(ivtmetrics.Detection):  # type: ignore[misc]
    """The same without its faults."""

    def iou(self, bb1: Any, bb2: Any) -> Any:
        """Of copies: it changes the boxes that it is given."""
        return super().iou(list(bb1), list(bb2))

    def is_id_switch(self, *args: Any, **kwargs: Any) -> Any:
        """A position, also where it is the first, which is taken for none."""
        found = super().is_id_switch(*args, **kwargs)
        return found if found is False else Position(found)

    def is_miss_loc(self, *args: Any) -> Any:
        """As `is_id_switch`."""
        found = super().is_miss_loc(*args)
        return found if found is False else Position(found)

    def localized_box_missed_id(self, matched: Any, unmatched: Any, true: Any) -> Any:
        """Boxes of triplets that the frame lacks go on to the next outcome, too."""
        return super().localized_box_missed_id(unmatched + matched, [], true)


def recognition(truth: Any, scores: Any, videos: Any) -> dict[str, float]:
    """Mean AP of all components, video-wise, without null triplets, and over all frames."""
    metric = ivtmetrics.Recognition(num_class=100)
    for video in np.unique(videos):
        metric.update(truth[videos == video], scores[videos == video])
        metric.video_end()
    found = {name: float(metric.compute_video_AP(name)["mAP"]) for name in COMPONENTS}
    found["ivt, no null"] = float(metric.compute_video_AP("ivt", ignore_null=True)["mAP"])
    found["ivt, global"] = float(metric.compute_global_AP("ivt")["mAP"])
    return found


def detection(truth: Any, predicted: Any) -> list[float]:
    """AP of each class, mean over videos; rows of video, frame, class, score, x, y, w, h."""
    metric = ivtmetrics.Detection(num_class=100, num_tool=100)
    for video in np.unique(truth[:, 0]):
        frames: list[dict[float, list[list[float]]]] = [{}, {}]
        for own, rows in zip(frames, (truth, predicted), strict=True):
            for row in rows[rows[:, 0] == video].tolist():
                own.setdefault(row[1], []).append([row[2], row[2], *row[3:]])
        for frame in sorted({*frames[0], *frames[1]}):
            metric.update([frames[0].get(frame, [])], [frames[1].get(frame, [])])
        metric.video_end()
    return list(map(float, metric.compute_video_AP("ivt")["AP"]))


def association(truth: Any, predicted: Any, kind: type) -> list[list[int]]:
    """Boxes of each outcome of each video; rows of video, frame, class, score, x, y, w, h."""
    metric = kind(num_class=100, num_tool=100)
    found = []
    for video in np.unique(truth[:, 0]):
        frames: list[dict[float, list[list[float]]]] = [{}, {}]
        for own, rows in zip(frames, (truth, predicted), strict=True):
            for row in rows[rows[:, 0] == video].tolist():
                own.setdefault(row[1], []).append([row[2], row[2], *row[3:]])
        counts = metric.accumulator[metric.video_count]
        for frame in sorted({*frames[0], *frames[1]}):
            metric.association(*(metric.list2stack(own.get(frame, [])) for own in frames))
        found.append([int(counts[name]) for name in OUTCOMES])
        metric.video_end()
    return found


def main() -> None:
    data = np.load(sys.argv[1])
    warnings.simplefilter("ignore")
    found: dict[str, Any] = {"versions": {name: version(name) for name in ("ivtmetrics", "scikit-learn", "numpy")}}
    for name, call in (
        ("full", lambda: recognition(data["full"], data["scores"], data["videos"])),
        ("sparse", lambda: recognition(data["sparse"], data["scores"], data["videos"])),
        ("boxes", lambda: detection(data["true_boxes"], data["predicted_boxes"])),
        ("association", lambda: association(data["true_triplets"], data["said_triplets"], Mended)),
        (
            "association as it is",
            lambda: association(data["true_triplets"], data["said_triplets"], ivtmetrics.Detection),
        ),
    ):
        start = time.perf_counter()
        values = call()
        print(f"ivtmetrics, {name}: {time.perf_counter() - start:.1f} s", file=sys.stderr, flush=True)
        found[name] = {"seconds": time.perf_counter() - start, "values": values}
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        json.dump(found, file)


if __name__ == "__main__":
    main()
