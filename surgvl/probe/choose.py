"""Which readout of a grid is kept, by validation videos alone, and which training clips a few-shot probe may see.

Few-shot as in linear probes of video models: k videos, or k clips of each class, drawn several times.
Shapes: N clips, C classes of a head.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from surgvl.core.errors import ConfigError
from surgvl.metrics import classify
from surgvl.metrics.average_precision import video_average_precision, videos_then_classes
from surgvl.probe.dataset import ProbeData
from surgvl.probe.labels import Head, known

# Without a validation split, one training video of this many is held out of the training of a grid.
HELD_OUT = 5


def validation_score(data: ProbeData, heads: Sequence[Head], scores: Mapping[str, NDArray[np.float32]]) -> float:
    """Mean over heads: of one class macro F1, of many mAP_video, of a number minus the error in standard deviations.

    Args:
        data: validation clips.
        heads: the heads.
        scores: logits [N, C] by head.

    Raises:
        ConfigError: no clip has a label.
    """
    found = []
    for head in heads:
        rows = known(data.truth[head.name])
        truth, said = data.truth[head.name][rows], scores[head.name][rows]
        if not len(truth) or (head.kind == "many" and not truth.any()):
            continue
        _, videos = np.unique(np.asarray(data.video_ids, np.str_)[rows], return_inverse=True)
        if head.kind == "one":
            counts = classify.count(truth, said.argmax(1), videos, head.size).pooled(np.ones((1, videos.max() + 1)))
            found.append(float(classify.macro_f1(counts, "truth")[0]))
        elif head.kind == "many":
            found.append(float(videos_then_classes(video_average_precision(truth, said, videos))[0]))
        else:
            found.append(-float(np.abs(truth - said[:, 0]).mean()))
    if not found:
        raise ConfigError("no validation clip has a label, so no head of a grid can be chosen: give one rate and decay")
    return float(np.mean(found))


def held_out(video_ids: Sequence[str]) -> list[str]:
    """The training videos to choose by where there is no validation split: each fifth, or the last of fewer.

    Raises:
        ConfigError: there is only one.
    """
    names = sorted(set(video_ids))
    if len(names) < 2:
        raise ConfigError("a grid of heads needs a second training video to choose by: give one --fit.lr and decay")
    return names[HELD_OUT - 1 :: HELD_OUT] or names[-1:]


def few_shot(data: ProbeData, heads: Sequence[Head], videos: int, clips: int, seed: int) -> NDArray[np.int64]:
    """Rows of the training clips of one draw, ascending.

    Args:
        data: all training clips.
        heads: the heads.
        videos: draw this many videos, and take all their clips; 0: take them from all videos.
        clips: of these, draw this many clips of each class of each head (all, where there are fewer); 0: take all.
        seed: of the draw.

    Raises:
        ConfigError: more videos than there are, or clips of classes where a head has none.
    """
    generator = np.random.default_rng(seed)
    names = np.unique(np.asarray(data.video_ids, np.str_))
    if videos > len(names):
        raise ConfigError(f"--few_shot.videos must be at most the {len(names)} training videos, got {videos}")
    if videos:
        names = generator.choice(names, videos, replace=False)
    rows = np.flatnonzero(np.isin(np.asarray(data.video_ids, np.str_), names))
    if not clips:
        return rows
    taken: list[NDArray[np.int64]] = []
    for head in heads:
        if head.kind == "number":
            raise ConfigError(f"--few_shot.clips is for classes, and {head.name} is a number: give --few_shot.videos")
        truth = data.truth[head.name][rows]
        for number in range(head.size):
            own = rows[truth == number] if head.kind == "one" else rows[truth[:, number] == 1]
            taken.append(generator.choice(own, min(clips, len(own)), replace=False))
    return np.unique(np.concatenate(taken))
