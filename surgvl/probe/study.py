"""One probe from tokens to scores: train a readout or a grid of them, choose by validation videos, predict, score.

With few shots, each draw of training clips is a probe of its own, and the result is their mean with its spread.
Shapes: N clips, K tokens, D width, C classes of a head.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from surgvl.core.errors import DataError
from surgvl.core.results import Result
from surgvl.probe.base import Readout
from surgvl.probe.choose import few_shot, held_out, validation_score
from surgvl.probe.config import FewShot, ReadoutTraining
from surgvl.probe.dataset import ProbeData
from surgvl.probe.fit import predict, train
from surgvl.probe.labels import Head, known, labelled
from surgvl.probe.score import ProbedClips, score, training_of


@dataclass(frozen=True)
class Fitted:
    """A trained readout, the one of its grid that scores best on validation videos.

    Attributes:
        readout: in evaluation mode.
        how: its training, in words.
        loss: of its grid at the last step, the sum over the readouts; None where nothing is trained.
        num_clips: clips with labels, which it was trained on.
    """

    readout: Readout
    how: str
    loss: float | None
    num_clips: int


@dataclass(frozen=True)
class Outcome:
    """What a probe found.

    Attributes:
        results: the scores; over several draws of training clips, their means.
        tables: of each draw, the values by video behind the scores (`surgvl.probe.score.score`).
        fitted: the readout of each draw.
        logits: of each draw, those of the scored clips, float32 [N, C] by head.
    """

    results: list[Result]
    tables: list[dict[str, Any]]
    fitted: list[Fitted]
    logits: list[dict[str, NDArray[np.float32]]]


@dataclass(frozen=True)
class Study:
    """A probe of one kind of readout.

    Attributes:
        kind: of the readout.
        heads: the kinds of labels.
        training: with the readout's defaults filled in.
        shots: of how few clips.
        protocol: videos, online or offline, and what is read out, in words.
        rate_fps: clips per second.
        device: torch device.
        seed: of weights, orders, draws and bootstrap.
    """

    kind: type[Readout]
    heads: Sequence[Head]
    training: ReadoutTraining
    shots: FewShot
    protocol: str
    rate_fps: float
    device: str
    seed: int

    def run(self, data: ProbeData, validation: ProbeData | None, scored: ProbeData, out: Path) -> Outcome:
        """Train, choose, predict and score, once for each draw of training clips.

        Args:
            data: training clips.
            validation: clips to choose among a grid by; None for held-out training videos.
            scored: clips to score.
            out: folder for the training's files.

        Raises:
            ConfigError: there is nothing to choose by, or there are not so many videos to draw.
            DataError: no training clip, or no scored one, has a label; or the loss is not finite.
        """
        outcome = Outcome([], [], [], [])
        results = []
        for number, rows in enumerate(draws_of(self.shots, self.heads, data, self.seed)):
            shown = data if rows is None else data.take(rows)
            heads = with_labels(self.heads, shown)
            if not heads:
                raise DataError("no training clip has a label of these kinds: check the manifest and --heads")
            given = self.training, out / f"draw{number}", self.device, self.seed
            fitted = fit_readout(self.kind, heads, shown, validation, *given)
            logits = predict(fitted.readout, scored.tokens, scored.videos)
            shots = f", {self.shots}" if self.shots.is_asked else ""
            clips = ProbedClips(
                video_ids=scored.video_ids,
                times_s=scored.times_s,
                truth=scored.truth,
                heads=heads,
                training=training_of(data.truth, heads, data.video_ids),
                protocol=f"{self.protocol}{shots}, {fitted.how}",
                rate_fps=self.rate_fps,
                seed=self.seed,
            )
            found, tables = score(clips, logits)
            results.append(found)
            outcome.tables.append(tables)
            outcome.fitted.append(fitted)
            outcome.logits.append(logits)
        outcome.results.extend(mean_of_draws(results) if len(results) > 1 else results[0])
        return outcome


def with_labels(heads: Sequence[Head], data: ProbeData) -> list[Head]:
    """The heads that have a label among some clips."""
    return [head for head in heads if known(data.truth[head.name]).any()]


def fit_readout(
    kind: type[Readout],
    heads: Sequence[Head],
    data: ProbeData,
    validation: ProbeData | None,
    training: ReadoutTraining,
    out: Path,
    device: str,
    seed: int,
) -> Fitted:
    """Train one kind of readout.

    Args:
        kind: of the readout.
        heads: its heads.
        data: training clips.
        validation: clips to choose the readout of a grid by; None: training videos are held out for that.
        training: steps, and the grid; with the readout's defaults filled in.
        out: run folder of the training.
        device: torch device.
        seed: of the weights and of the order of clips.

    Raises:
        ConfigError: nothing to choose by.
        DataError: the loss is not finite.
    """
    cells = [(lr, decay) for lr in training.lr for decay in training.weight_decay] if kind.steps else []
    chosen_by = "validation videos"
    if len(cells) > 1 and validation is None:
        names = held_out(data.video_ids)
        aside = np.isin(np.asarray(data.video_ids, np.str_), names)
        data, validation = data.take(np.flatnonzero(~aside)), data.take(np.flatnonzero(aside))
        chosen_by = f"training videos held out ({', '.join(names)})"
    torch.manual_seed(seed)
    readout = kind(data.tokens.shape[2], heads).to(device)
    whole = kind.sees != "clip"
    is_labelled = labelled(data.truth)
    num_clips, num_videos = int(is_labelled.sum()), sum(bool(is_labelled[own].any()) for own in data.videos)
    steps = training.num_steps(*(num_videos, 1) if whole else (num_clips, training.batch))
    given = steps, training.batch, training.lr, training.weight_decay, seed
    readouts, losses = train(readout, data.tokens, data.truth, out, *given, data.videos)
    best, how = 0, "not trained"
    if len(cells) > 1:
        assert validation is not None
        scores = [
            validation_score(validation, heads, predict(each, validation.tokens, validation.videos))
            for each in readouts
        ]
        best = int(np.argmax(scores))
    if cells:
        batch = "one video" if whole else f"{training.batch} clips"
        lr, decay = cells[best]
        how = f"{steps} steps of {batch}, rate {lr:g}, decay {decay:g}"
        how += f", best of {len(cells)} by {chosen_by}" if len(cells) > 1 else ""
    return Fitted(readouts[best], how, losses[-1] if losses else None, num_clips)


def draws_of(shots: FewShot, heads: Sequence[Head], data: ProbeData, seed: int) -> list[NDArray[np.int64] | None]:
    """Rows of the training clips of each draw; a single None for all clips.

    Raises:
        ConfigError: there are not so many videos.
    """
    if not shots.is_asked:
        return [None]
    return [few_shot(data, heads, shots.videos, shots.clips, seed + number) for number in range(shots.draws)]


def mean_of_draws(draws: Sequence[Sequence[Result]]) -> list[Result]:
    """The mean of each score over draws of training clips, with the standard deviation over them in its protocol.

    Ends of intervals are means as well; each is over videos, so they do not cover the choice of training clips, which
    the deviation shows. So are the scores by video and over draws of videos, from which runs are compared.

    Args:
        draws: the results of each draw; scores that one of them lacks are left out.
    """
    found = []
    keys = [{(result.task, result.metric): result for result in results} for results in draws]
    for key in (key for key in keys[0] if all(key in each for each in keys)):
        same = [each[key] for each in keys]
        values = [result.value for result in same]
        spread = np.std(values, ddof=1) if len(values) > 1 else np.nan
        listed = ", ".join(f"{value:.3f}" for value in values)
        mean: dict[str, Any] = {name: float(np.mean([vars(each)[name] for each in same])) for name in ("low", "high")}
        per_class = [result.per_class or {} for result in same]
        common = set.intersection(*map(set, per_class))
        # All draws are scored on the same videos.
        videos = list(same[0].by_video)
        found.append(
            dataclasses.replace(
                same[0],
                value=float(np.mean(values)),
                **mean,
                protocol=f"{same[0].protocol}; mean of {len(values)} draws, sd {spread:.3f} ({listed})",
                per_class={
                    name: float(np.mean([each[name] for each in per_class])) for name in per_class[0] if name in common
                }
                or None,
                by_video={name: float(np.mean([each.by_video[name] for each in same])) for name in videos},
                # A score may lack an interval in some draws only.
                drawn=tuple(np.mean([each.drawn for each in same], axis=0).tolist())
                if len({len(each.drawn) for each in same}) == 1
                else (),
                sd_videos=float("nan"),
                sd_classes=float("nan"),
            )
        )
    return found
