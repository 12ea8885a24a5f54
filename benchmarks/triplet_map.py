"""Mean AP of all six triplet components: surgvl next to ivtmetrics, on the same data in the same run.

    python benchmarks/triplet_map.py --videos 10 --frames 2000 --repeats 5

Every class occurs in every video, because ivtmetrics 0.1.5 with scikit-learn >= 1.6.1 counts an absent class as AP 0.
Each repeat computes every component once, as for the usual table.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import ivtmetrics
import numpy as np
from numpy.typing import NDArray

from surgvl.metrics import triplet

Values = dict[str, float]


def data(
    num_videos: int, num_frames: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    truth = (rng.random((num_videos * num_frames, 100)) < 0.016).astype(np.int64)
    videos = np.repeat(np.arange(num_videos), num_frames)
    # Each class once in each video.
    for video in range(num_videos):
        truth[video * num_frames + rng.permutation(num_frames)[:100], np.arange(100)] = 1
    return truth, rng.normal(size=truth.shape) + truth, videos


def ours(truth: NDArray[np.int64], scores: NDArray[np.float64], videos: NDArray[np.int64]) -> Values:
    return {c: triplet.video_map(truth, scores, videos, c, ignore_null=False) for c in triplet.COMPONENTS}


def theirs(truth: NDArray[np.int64], scores: NDArray[np.float64], videos: NDArray[np.int64]) -> Values:
    recognition = ivtmetrics.Recognition(num_class=100)
    for video in np.unique(videos):
        recognition.update(truth[videos == video], scores[videos == video])
        recognition.video_end()
    return {c: float(recognition.compute_video_AP(c)["mAP"]) for c in triplet.COMPONENTS}


def median_s(call: Callable[[], Values], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=10)
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    truth, scores, videos = data(args.videos, args.frames, args.seed)
    a, b = ours(truth, scores, videos), theirs(truth, scores, videos)
    difference = max(abs(a[c] - b[c]) for c in a)
    mine = median_s(lambda: ours(truth, scores, videos), args.repeats)
    peer = median_s(lambda: theirs(truth, scores, videos), args.repeats)
    print(f"{args.videos} videos of {args.frames} frames, six components, median of {args.repeats}")
    print(f"surgvl      {mine:9.3f} s")
    print(f"ivtmetrics  {peer:9.3f} s   ratio {peer / mine:.0f}   largest difference of mAP {difference:.1e}")


if __name__ == "__main__":
    main()
