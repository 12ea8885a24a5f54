"""A loaded recogniser: what it says about a clip, and timelines of videos by its heads.

Shapes: N clips of a video, T frames, S pixels, C outputs of a head.
"""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from surgvl.core.arrays import Float64Array
from surgvl.core.errors import CheckpointError, ConfigError
from surgvl.export.interval_table import IntervalTable
from surgvl.export.zero_shot import SMOOTH_S, THRESHOLD, TimelineConfig, Track, table_of_tracks
from surgvl.metrics.temporal import smooth
from surgvl.models.model_info import model_hash, training_record
from surgvl.probe.predicted import said
from surgvl.probe.recogniser import Recogniser, is_recogniser, load_recogniser
from surgvl.probe.vector_recogniser import load_vector_recogniser, reads_vectors
from surgvl.video.clip import Preprocess


class Recognition:
    """A recogniser with its preprocessing.

    Args:
        model: in evaluation mode.
        preprocess: how clips are cut.
        folder: where it came from.
        device: torch device.
    """

    def __init__(self, model: Recogniser, preprocess: Preprocess, folder: Path, device: str):
        self.model, self.preprocess, self.folder, self.device = model, preprocess, folder, device

    @classmethod
    def load(cls, folder: Path, device: str = "cpu", encoder: Path | None = None) -> "Recognition":
        """The recogniser of a run folder or model folder (`surgvl probe` and `finetune`).

        Args:
            folder: the folder.
            device: torch device.
            encoder: for a readout of stored vectors: where their encoder is now, if it was moved.

        Raises:
            CheckpointError: not such a folder, weights that do not fit, or an encoder of vectors that is not at hand.
            ConfigError: the device is not available, or an encoder is given for a model that holds its own.
        """
        if not is_recogniser(folder):
            raise CheckpointError(
                f"{folder} is not a trained readout: give a run folder of `surgvl probe` or `surgvl finetune`"
            )
        if reads_vectors(folder):
            return cls(*load_vector_recogniser(folder, device, encoder), folder, device)
        if encoder is not None:
            raise ConfigError(f"--encoder {encoder}: {folder} holds an encoder of its own: leave it out")
        return cls(*load_recogniser(folder, device), folder, device)

    @property
    def hash(self) -> str:
        """Hash of the folder's configuration and weights."""
        return model_hash(self.folder)

    def predict(
        self, path: Path, stride_s: float | None = None, tick: Callable[[float], object] = lambda _: None
    ) -> tuple[dict[str, NDArray[np.float32]], Float64Array, Float64Array]:
        """Logits of the clips of a video; streams the file.

        Args:
            path: the file.
            stride_s: seconds between clips; the model's `step_s` by default.
            tick: called with the number of seconds that have been read since the last call.

        Returns:
            float32 [N, C] by head, and the starts and ends of the segments that the clips stand for, seconds.

        Raises:
            ConfigError: the stride is out of range.
            DataError: the file cannot be read, or has no frames.
        """
        features, starts, ends = self.model.read(path, self.preprocess.every(stride_s), self.device, tick)
        with torch.inference_mode():
            logits = self.model.recognise(torch.from_numpy(features))
        return {name: each.numpy() for name, each in logits.items()}, np.array(starts), np.array(ends)

    def facts(self) -> dict[str, Any]:
        """What it says and how it was trained, for programs: values of JSON."""
        readout = self.model.readout
        return {
            "hash": self.hash,
            "readout": readout.name,
            "sees": readout.sees,
            "preprocess": asdict(self.preprocess),
            "heads": {head.name: {"kind": head.kind, "classes": list(head.classes)} for head in readout.asked},
            "num_trainable": readout.num_trainable(),
            "trained": training_record(self.folder),
        }

    def report(
        self, path: Path, stride_s: float | None = None, tick: Callable[[float], object] = lambda _: None
    ) -> dict[str, Any]:
        """What it says of the clips of a video, for programs: values of JSON.

        Args:
            path: the file.
            stride_s: seconds between clips; the model's `step_s` by default.
            tick: called with the number of seconds that have been read since the last call.

        Returns:
            `times_s`, the moments that the N clips stand for, `starts_s` and `ends_s`, [N] each; and `heads`, by kind
            of label its `classes` with `probabilities` [N][C], which add up to 1 where `exclusive`, or `values` [N].

        Raises:
            ConfigError: the stride is out of range.
            DataError: the file cannot be read, or has no frames.
        """
        logits, starts, ends = self.predict(path, stride_s, tick)
        heads: dict[str, Any] = {}
        for head in self.model.readout.asked:
            values = said(head, logits[head.name]).tolist()
            heads[head.name] = {"values": values}
            if head.kind != "number":
                classes = {"classes": list(head.classes), "exclusive": head.kind == "one"}
                heads[head.name] = {**classes, "probabilities": values}
        times_s = self.preprocess.every(stride_s).moments(starts, ends)
        spans = {"times_s": times_s.tolist(), "starts_s": starts.tolist(), "ends_s": ends.tolist()}
        return {**spans, "heads": heads}

    def timeline(
        self,
        source: str | Path,
        *,
        causal: bool = False,
        smooth_s: float = SMOOTH_S,
        threshold: float = THRESHOLD,
        stride_s: float | None = None,
        tick: Callable[[float], object] = lambda _: None,
    ) -> IntervalTable:
        """Intervals of the heads' classes in a video; numbers have none.

        Args:
            source: a video file, or a folder of numbered images.
            causal: use only what an online system could know.
            smooth_s: window of a moving average over the logits, seconds; 0 for none.
            threshold: least probability of a class of a kind of which several hold at once.
            stride_s: seconds between clips; the model's `step_s` by default.
            tick: called with the number of seconds that have been read since the last call.

        Raises:
            ConfigError: a number is out of range, or the model looks ahead where that is not allowed.
            DataError: the video cannot be read.
        """
        config = TimelineConfig(causal=causal, smooth_s=smooth_s, threshold=threshold)
        looks_ahead = self.preprocess.anchor != "last" or self.model.readout.sees == "video"
        if causal and looks_ahead:
            raise ConfigError(
                f"{self.folder} looks ahead: for --causal, give a model whose clips end at their moment and whose "
                "readout sees the past"
            )
        logits, starts, ends = self.predict(Path(source), stride_s, tick)
        times_s, one_video = self.preprocess.every(stride_s).moments(starts, ends), np.zeros(len(starts), np.int64)
        name, tracks = f"{self.folder} ({self.hash})", list[Track]()
        for head in self.model.readout.asked:
            if head.kind != "number":
                even = smooth(logits[head.name].astype(np.float64), times_s, one_video, smooth_s, causal)
                chances = np.asarray(said(head, even.astype(np.float32)), np.float64)
                by = f"readout {self.model.readout.name}"
                tracks.append(Track(head.name, by, list(head.classes), chances, head.kind == "one"))
        step_s = self.preprocess.every(stride_s).step_s
        return table_of_tracks(Path(source), tracks, times_s if causal else starts, step_s, config, name)
