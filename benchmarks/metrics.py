"""Metrics of surgvl next to the packages that define them: largest difference and time, on the same data in one run.

    python benchmarks/metrics.py --peer_python .venv/ivtmetrics/bin/python

`--peer_python` is a Python with ivtmetrics and a scikit-learn with which it is right (see `metrics_peers.py`);
`make bench-metrics` makes one. Times are medians of repeats, and of one run for ivtmetrics.

Shape letters: N frames, V videos.
"""

import argparse
import json
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import sklearn.metrics as sk
from numpy.typing import NDArray
from scipy import stats

from surgvl.core.files import write_text
from surgvl.core.tables import markdown_table
from surgvl.core.version import commit
from surgvl.metrics import agreement, average_precision, calibration, classify, ranks, triplet
from surgvl.metrics.association import association_counts
from surgvl.metrics.detection import Boxes, detection_average_precision

Values = Any
NUM_PHASES = 7


@dataclass(frozen=True)
class Row:
    """One comparison: values and seconds of both sides."""

    what: str
    peer: str
    ours: tuple[Values, float]
    theirs: tuple[Values, float]

    @property
    def difference(self) -> float:
        """Largest difference of a value; one that only one side has is infinite."""
        a, b = (np.asarray(side[0], np.float64) for side in (self.ours, self.theirs))
        one_sided = bool((np.isnan(a) != np.isnan(b)).any())
        return float("inf") if one_sided else float(np.nanmax(np.abs(a - b)))


def triplets(num_videos: int, num_frames: int, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    """Triplet labels of frames: `full`, every class in every video, and `sparse`, a third of the classes in each."""
    shape = num_videos * num_frames, 100
    videos = np.repeat(np.arange(num_videos), num_frames)
    full = (rng.random(shape) < 0.016).astype(np.int64)
    for video in range(num_videos):
        full[video * num_frames + rng.permutation(num_frames)[:100], np.arange(100)] = 1
    sparse = full * (rng.random((num_videos, 100)) < 0.33)[videos]
    # A constant for one frame in four: ties.
    scores = np.where(rng.random(shape) < 0.25, 0.5, rng.normal(size=shape) + full)
    return {"full": full, "sparse": sparse, "scores": scores, "videos": videos}


def boxes(num_videos: int, num_frames: int, rng: np.random.Generator) -> list[NDArray[np.float64]]:
    """True and predicted boxes, at most one of a class in a frame: rows of video, frame, class, score, x, y, w, h."""
    rows: list[list[list[float]]] = [[], []]
    for number in range(num_videos * num_frames):
        for label in rng.choice(8, rng.integers(0, 4), replace=False):
            box = rng.uniform([0, 0, 0.2, 0.2], [0.5, 0.5, 0.5, 0.5])
            head = [float(number // num_frames), float(number), float(label)]
            rows[0].append([*head, 1.0, *box])
            if rng.random() < 0.9:
                rows[1].append([*head, rng.random(), *np.abs(rng.normal(box, 0.05))])
    return [np.array(each) for each in rows]


def triplet_boxes(num_videos: int, num_frames: int, rng: np.random.Generator) -> list[NDArray[np.float64]]:
    """True and predicted boxes of triplets, each in a corner of a frame; of half of the frames some are mixed up."""
    rows: list[list[list[float]]] = [[], []]
    for number in range(num_videos * num_frames):
        many = int(rng.integers(1, 4))
        labels, corners = rng.permutation(8)[:many], rng.permutation(4)[:many]
        places = np.stack([corners % 2 * 0.5, corners // 2 * 0.5, *np.full((2, many), 0.4)], axis=1)
        said = labels if rng.random() < 0.5 else rng.permutation(labels if rng.random() < 0.5 else 8)[:many]
        for label, other, box in zip(labels.tolist(), said.tolist(), places, strict=True):
            video, frame = float(number // num_frames), float(number)
            rows[0].append([video, frame, float(label), 1.0, *box])
            if rng.random() < 0.9:
                rows[1].append([video, frame, float(other), rng.random(), *np.abs(rng.normal(box, 0.06))])
    return [np.array(each) for each in rows]


def as_boxes(rows: NDArray[np.float64]) -> Boxes:
    videos, frames, classes = rows[:, :3].T.astype(np.int64)
    return Boxes(frames, videos, classes, rows[:, 4:], rows[:, 3])


def ours_triplets(truth: NDArray[np.int64], scores: NDArray[np.float64], videos: NDArray[np.int64]) -> list[float]:
    found = [triplet.video_map(truth, scores, videos, name, ignore_null=False) for name in triplet.COMPONENTS]
    found.append(triplet.video_map(truth, scores, videos, "ivt", ignore_null=True))
    return [*found, triplet.global_map(truth, scores, "ivt", ignore_null=False)]


def timed(call: Callable[[], Values], repeats: int) -> tuple[Values, float]:
    times, found = [], None
    for _ in range(repeats):
        start = time.perf_counter()
        found = call()
        times.append(time.perf_counter() - start)
    return found, statistics.median(times)


def ivtmetrics_rows(
    python: str, num_videos: int, num_frames: int, repeats: int, rng: np.random.Generator
) -> tuple[list[Row], dict[str, str]]:
    """Rows whose peer is ivtmetrics, and the versions in its environment."""
    data = triplets(num_videos, num_frames, rng)
    true_boxes, predicted_boxes = boxes(num_videos, num_frames, rng)
    true_triplets, said_triplets = triplet_boxes(num_videos, num_frames, rng)
    with tempfile.TemporaryDirectory() as folder:
        given, out = Path(folder, "data.npz"), Path(folder, "found.json")
        data |= {"true_boxes": true_boxes, "predicted_boxes": predicted_boxes}
        data |= {"true_triplets": true_triplets, "said_triplets": said_triplets}
        np.savez(given, **data)  # type: ignore[arg-type]
        script = Path(__file__).with_name("metrics_peers.py")
        subprocess.run([python, "-I", str(script), str(given), str(out)], check=True)
        found = json.loads(out.read_text(encoding="utf-8"))
    rows = []
    for name, what in (("full", "every class in every video"), ("sparse", "classes absent from videos")):
        mine = timed(lambda name=name: ours_triplets(data[name], data["scores"], data["videos"]), repeats)  # type: ignore[misc]
        theirs = list(found[name]["values"].values()), found[name]["seconds"]
        rows.append(Row(f"triplet mAP, 8 figures, {what}", "ivtmetrics", mine, theirs))

    def detection() -> Values:
        table = detection_average_precision(as_boxes(true_boxes), as_boxes(predicted_boxes), 8, ranked_by="frame")
        return table.mean(axis=0)

    theirs = found["boxes"]["values"][:8], found["boxes"]["seconds"]
    rows.append(Row("AP of boxes, 8 classes", "ivtmetrics", timed(detection, repeats), theirs))
    pair = as_boxes(true_triplets), as_boxes(said_triplets)
    what = "association of triplets, 7 counts by video"
    for peer, key in (("ivtmetrics, mended", "association"), ("ivtmetrics as it is", "association as it is")):
        theirs = found[key]["values"], found[key]["seconds"]
        rows.append(Row(what, peer, timed(lambda: association_counts(*pair), repeats), theirs))
    return rows, found["versions"]


def sklearn_rows(num_videos: int, num_frames: int, repeats: int, rng: np.random.Generator) -> list[Row]:
    """Rows whose peers are scikit-learn and scipy."""
    size = num_videos * num_frames
    videos = np.repeat(np.arange(num_videos), num_frames)
    truth = np.sort(rng.integers(0, NUM_PHASES - 1, size).reshape(num_videos, -1), axis=1).ravel()
    guess = np.where(rng.random(size) < 0.8, truth, rng.integers(0, NUM_PHASES, size))
    logits = rng.normal(size=(size, NUM_PHASES)) + 2 * np.eye(NUM_PHASES)[truth]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    tools = (rng.random((size, 7)) < 0.2).astype(np.int64)
    tools[:, 6] = 0
    scores = np.round(rng.normal(size=tools.shape) + tools, 2)
    marks = rng.integers(6, 31, 300)
    given = np.clip(marks + rng.integers(-6, 7, 300), 6, 30)

    def phases() -> Values:
        counts = classify.count(truth, guess, videos, NUM_PHASES)
        tables = classify.precision(counts), classify.recall(counts), classify.f1(counts)
        return [classify.class_mean(table, counts, "union") for table in tables]

    def phases_sk() -> Values:
        own = [(truth[videos == video], guess[videos == video]) for video in range(num_videos)]
        found = [sk.precision_recall_fscore_support(*each, average="macro", zero_division=0)[:3] for each in own]
        return np.array(found).T

    def pooled_sk() -> Values:
        return [
            sk.average_precision_score(tools[:, k], scores[:, k]) if tools[:, k].any() else np.nan for k in range(7)
        ]

    def kappa() -> Values:
        return agreement.quadratic_kappa(agreement.confusion(marks, given, np.zeros(300, np.int64), 31).sum(axis=0))

    def binary_error() -> Values:
        zeros = np.zeros(size, np.int64)
        table = calibration.reliability(probabilities[:, 1], truth == 1, zeros, 10, "mass").pooled()
        return (table.right / table.rows)[0]

    def binary_error_sk() -> Values:
        from sklearn.calibration import calibration_curve

        return calibration_curve(truth == 1, probabilities[:, 1], n_bins=10, strategy="quantile")[0]

    labels = range(31)
    pairs: list[tuple[str, str, Callable[[], Values], Callable[[], Values]]] = [
        ("phases: precision, recall, F1 of each video", "scikit-learn", phases, phases_sk),
        (
            "tools: AP of 7 classes, one absent",
            "scikit-learn",
            lambda: average_precision.average_precision(tools, scores),
            pooled_sk,
        ),
        (
            "Brier score, 7 classes",
            "scikit-learn",
            lambda: calibration.brier(probabilities, truth).mean(),
            lambda: sk.brier_score_loss(truth, probabilities, labels=range(NUM_PHASES)),
        ),
        ("reliability in ten bins of equal mass", "scikit-learn", binary_error, binary_error_sk),
        (
            "skill: quadratic kappa of 300",
            "scikit-learn",
            kappa,
            lambda: sk.cohen_kappa_score(marks, given, labels=labels, weights="quadratic"),
        ),
        (
            "skill: Spearman of 300, ties",
            "scipy",
            lambda: ranks.spearman(marks, given)[0],
            lambda: stats.spearmanr(marks, given)[0],
        ),
    ]
    return [Row(what, peer, timed(mine, repeats), timed(theirs, repeats)) for what, peer, mine, theirs in pairs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer_python", default=sys.executable)
    parser.add_argument("--videos", type=int, default=10)
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/metrics.md"))
    given = parser.parse_args()
    warnings.simplefilter("ignore")  # of the peers, about absent classes
    rng = np.random.default_rng(given.seed)
    rows, versions = ivtmetrics_rows(given.peer_python, given.videos, given.frames, given.repeats, rng)
    rows += sklearn_rows(given.videos, given.frames, given.repeats, rng)
    places = ("--peer_python", given.peer_python, "--out", str(given.out))
    shown = [argument for argument in sys.argv[1:] if argument not in places]
    head = ["metric", "peer", "largest difference", "peer s", "surgvl s", "times as fast"]
    table = [
        [
            row.what,
            row.peer,
            f"{row.difference:.1e}",
            f"{row.theirs[1]:.4f}",
            f"{row.ours[1]:.4f}",
            f"{row.theirs[1] / row.ours[1]:,.1f}",
        ]
        for row in rows
    ]
    peers = ", ".join(f"{name} {number}" for name, number in versions.items())
    own = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scikit-learn", "scipy"))
    text = "\n".join(
        [
            "# Metrics next to the packages that define them\n",
            f"- command: `{shlex.join(['python', 'benchmarks/metrics.py', *shown])}`",
            f"- commit: {commit()}",
            f"- data: {given.videos} videos of {given.frames:,} frames, made; one score in four tied",
            f"- time: median of {given.repeats}, ivtmetrics once; its environment: {peers}",
            "- ivtmetrics, mended: without three faults of its association (`surgvl/metrics/association.py`)",
            f"- versions: Python {sys.version.split()[0]}, {own}\n",
            *markdown_table(head, table, right=head[2:]),
            "",
        ]
    )
    write_text(given.out, text)
    print(text)


if __name__ == "__main__":
    main()
