"""Predictions of any model as a file: a score for each moment and class, a class for each moment, or a number.

A Parquet table with one row for each predicted moment: `video_id` (string), `time_s` (double, seconds of the video),
then either one float column for each class, named `score:CLASS`, or a `label` column (string; a moment with several
labels has several rows, and one with none a null), or a `value` column (double, for regression).
The file's metadata has the key `surgvl`: a JSON object with `task` (the kind of label: `phase`, `triplet`, ...) and,
where known, `classes` (their order), `model`, `encoder` (`frozen`, `fine-tuned` or `not stated`), `num_trainable`,
`protocol` (`online`, `offline`, ...), `pretraining_video_ids` and `made_by` (the command).

Shape letters: N rows, C classes.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from surgvl.core.arrays import Float32Array, Float64Array
from surgvl.core.checks import check_choice
from surgvl.core.errors import DataError
from surgvl.core.files import atomic
from surgvl.core.parquet import read_parquet
from surgvl.core.prediction_arrays import read_arrays
from surgvl.core.prediction_ranks import is_rank_file, read_ranks
from surgvl.core.prediction_table import PredictionTable, read_table

ENCODERS = ("frozen", "fine-tuned", "not stated")
_SCORE = "score:"
_KEY = b"surgvl"


@dataclass(frozen=True)
class Predictions:
    """What a model says about moments of videos.

    Attributes:
        kind: kind of label, such as `phase`; empty if the file does not say.
        video_ids: [N].
        times_s: float64 [N], seconds of the video.
        class_names: [C], in the order of the columns; empty for numbers, ids from 0 on if `by_id`.
        scores: float32 [N, C], higher is more likely; None for numbers. Of hard decisions 1 and 0.
        values: float64 [N]; None if there are classes.
        facts: the file's metadata, without `task` and `classes`.
        hard: whether the scores are decisions.
        by_id: whether classes are ids, in the order in which the data set publishes its classes.
        truth: of each row [N] the columns of the true classes, which must be those of the manifest; empty if unknown.
        whole: whether a row is a whole video, named by its file, at 0 s.

    Raises:
        DataError: no rows, different lengths, both or neither of scores and values, a repeated class, a value that is
            not finite, a repeated (video, time), or metadata of a wrong type.
    """

    kind: str
    video_ids: Sequence[str]
    times_s: Float64Array
    class_names: Sequence[str]
    scores: Float32Array | None
    values: Float64Array | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    hard: bool = False
    by_id: bool = False
    truth: Sequence[Sequence[int]] = ()
    whole: bool = False

    def __post_init__(self) -> None:
        num_rows, given = len(self.video_ids), self.values if self.scores is None else self.scores
        if (self.scores is None) == (self.values is None) or given is None:
            raise DataError("predictions are either scores of classes or values: give one of them")
        shape = (num_rows,) if self.scores is None else (num_rows, len(self.class_names))
        if not num_rows or given.shape != shape or self.times_s.shape != (num_rows,):
            raise DataError(
                f"{num_rows} predictions need times [{num_rows}] and {'values' if self.scores is None else 'scores'} "
                f"{list(shape)}, got {list(self.times_s.shape)} and {list(given.shape)}: one row for each moment"
            )
        if len(set(self.class_names)) != len(self.class_names):
            raise DataError(f"class names must be unique, got {', '.join(self.class_names)}: rename a column")
        for what, array in (("times", self.times_s), ("scores" if self.values is None else "values", given)):
            if not np.isfinite(array).all():
                raise DataError(f"{what} of predictions must be finite: check the model behind them")
        check_facts(self.facts)
        order = self.order
        videos, times = np.asarray(self.video_ids, np.str_)[order], self.times_s[order]
        again = (videos[1:] == videos[:-1]) & (times[1:] == times[:-1])
        if again.any():
            at = int(again.argmax())
            raise DataError(f"two predictions for {videos[at]} at {times[at]:g} s: keep one row for each moment")

    @property
    def order(self) -> Any:
        """Order of the rows by video, then time: int64 [N]."""
        return np.lexsort((self.times_s, np.asarray(self.video_ids, np.str_)))

    @property
    def stride_s(self) -> float:
        """Usual distance of the moments of a video in seconds: their median; 1 if no video has two."""
        order = self.order
        videos, times = np.asarray(self.video_ids, np.str_)[order], self.times_s[order]
        steps = np.diff(times)[videos[1:] == videos[:-1]]
        return round(float(np.median(steps)), 4) if len(steps) else 1.0


def check_facts(facts: Mapping[str, Any]) -> None:
    """Check what a file states about itself.

    Raises:
        DataError: a fact is of a wrong type.
    """
    check_choice("encoder of predictions", facts.get("encoder", ENCODERS[-1]), ENCODERS)
    for name, type_ in (("num_trainable", int), ("pretraining_video_ids", list), ("protocol", str), ("model", str)):
        if name in facts and not isinstance(facts[name], type_):
            raise DataError(f"{name} of predictions must be of type {type_.__name__}, got {facts[name]!r}")
    if odd := [each for each in facts.get("pretraining_video_ids", []) if not isinstance(each, str)]:
        raise DataError(f"pretraining_video_ids of predictions must be strings, got {odd[0]!r}: correct the ids")


def write_predictions(path: Path | str, predictions: Predictions) -> None:
    """Write predictions as Parquet, atomically.

    Raises:
        DataError: their kind is not stated.
    """
    if not predictions.kind:
        raise DataError("predictions need the kind of their labels, such as `phase`: set it before they are written")
    table = pa.table(
        {"video_id": pa.array(list(predictions.video_ids), pa.string()), "time_s": pa.array(predictions.times_s)}
    )
    if predictions.scores is None:
        table = table.append_column("value", pa.array(predictions.values))
    elif predictions.hard:
        rows, classes = np.nonzero(predictions.scores)
        none = np.flatnonzero(~predictions.scores.any(axis=1))
        taken = np.concatenate([rows, none])
        labels = [predictions.class_names[at] for at in classes] + [None] * len(none)
        order = np.argsort(taken, kind="stable")
        table = table.take(pa.array(taken[order]))
        table = table.append_column("label", pa.array([labels[at] for at in order], pa.string()))
    else:
        for at, name in enumerate(predictions.class_names):
            table = table.append_column(_SCORE + name, pa.array(predictions.scores[:, at].astype(np.float32)))
    facts = {"task": predictions.kind, "classes": list(predictions.class_names), **predictions.facts}
    table = table.replace_schema_metadata({_KEY: json.dumps(facts, ensure_ascii=False).encode()})
    with atomic(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_predictions(path: Path | str, fps: float | None = None, kind: str = "") -> Predictions:
    """Read predictions: Parquet of the form above, a table as text with a header, or a form of other code.

    Args:
        path: the file; arrays (`prediction_arrays`) end in `.npz` or `.npy`, and a folder holds text files of other
            code (`prediction_ranks`). A file that does not end in `.parquet` either is text: one of those, or a table
            separated by commas, semicolons or tabs. Its columns are `video`, then `time` or `frame`, then `label`,
            `value`, or a column of scores for each class; or `video`, `start`, `end` and `label`, which is read at each
            whole second. Names of the Parquet form (`video_id`, `time_s`, `start_s`, `end_s`, `score:CLASS`) mean the
            same.
        fps: frames per second, for a column `frame` that counts from 0; of text files one a process, 1 by default.
        kind: kind of label, if the file does not say.

    Raises:
        DataError: the file cannot be read or is of another kind, or a column or row does not fit; the message names it.
    """
    path = Path(path)
    facts: dict[str, Any] = {}
    if path.suffix in (".npz", ".npy"):
        found, facts["task"] = read_arrays(path)
    elif path.is_dir() or (path.suffix == ".txt" and is_rank_file(path)):
        found = read_ranks(path, fps)
    elif path.suffix != ".parquet":
        found = read_table(path, fps)
    else:
        try:
            table = read_parquet(path)
        except (OSError, pa.ArrowInvalid) as error:
            raise DataError(f"{path} cannot be read ({error}): write the predictions again") from error
        facts = facts_of(path, table)
        found = _of_parquet(path, table)
    own, classes = str(facts.pop("task", "")), facts.pop("classes", None)
    if kind and own and kind != own:
        raise DataError(f"{path} predicts labels of kind {own!r}, not {kind!r}: leave the kind out")
    try:
        return _joined(found, own or kind, classes, facts)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def facts_of(path: Path, table: Any) -> dict[str, Any]:
    """What the metadata of a Parquet file states."""
    text = (table.schema.metadata or {}).get(_KEY, b"{}")
    try:
        facts = json.loads(text)
    except ValueError as error:
        raise DataError(f"{path}: metadata `surgvl` is not JSON ({error}): write the predictions again") from error
    classes = facts.get("classes", []) if isinstance(facts, dict) else None
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise DataError(f"{path}: metadata `surgvl` must be an object, its `classes` a list of names: write them again")
    return dict(facts)


def _of_parquet(path: Path, table: Any) -> PredictionTable:
    """The columns of a Parquet file."""
    names = table.column_names
    classes = [name for name in names if name.startswith(_SCORE)]
    ways = [way for way in (classes, ["label"], ["value"]) if way and set(way) <= set(names)]
    if len(ways) != 1 or set(names) != {"video_id", "time_s", *ways[0]}:
        raise DataError(
            f"{path}: columns {', '.join(names)} do not fit: allowed are video_id and time_s, then score:CLASS for "
            "each class, or label, or value"
        )
    for name in ("video_id", "time_s", *(way for way in ways[0] if way != "label")):
        if table[name].null_count:
            raise DataError(f"{path}, row {pc.index(pc.is_null(table[name]), True).as_py()}: {name} is missing")
    try:
        videos, times = table["video_id"].cast(pa.string()).to_pylist(), table["time_s"].cast(pa.float64()).to_numpy()
        if classes:
            scores = [table[name].cast(pa.float32()).to_numpy() for name in classes]
            return PredictionTable(videos, times, [n.removeprefix(_SCORE) for n in classes], np.stack(scores, 1))
        if ways[0] == ["value"]:
            return PredictionTable(videos, times, values=table["value"].cast(pa.float64()).to_numpy())
        return PredictionTable(videos, times, labels=table["label"].cast(pa.string()).to_pylist())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(f"{path}: a column has the wrong type ({error}): scores and times are numbers") from error


def _joined(found: PredictionTable, kind: str, classes: Sequence[str] | None, facts: Mapping[str, Any]) -> Predictions:
    """Predictions of a table; several labels of a moment become one row."""
    if found.labels is None:
        width = 0 if found.scores is None else found.scores.shape[1]
        names = found.class_names or list(map(str, range(width)))
        given = found.video_ids, found.times_s, names, found.scores, found.values, facts
        return Predictions(kind, *given, by_id=names != found.class_names, truth=found.truth, whole=found.whole)
    names = list(classes or sorted({label for label in found.labels if label}))
    if unknown := sorted({label for label in found.labels if label} - set(names)):
        raise DataError(f"labels {', '.join(unknown)} are not among its classes {', '.join(names)}: correct them")
    index = {name: at for at, name in enumerate(names)}
    moments: dict[tuple[str, float], int] = {}
    keys = zip(found.video_ids, found.times_s.tolist(), strict=True)
    rows = np.array([moments.setdefault(key, len(moments)) for key in keys], np.int64)
    scores = np.zeros((len(moments), len(names)), np.float32)
    labelled = [at for at, label in enumerate(found.labels) if label]
    scores[rows[labelled], [index[found.labels[at] or ""] for at in labelled]] = 1
    videos, times = zip(*moments, strict=True) if moments else ((), ())
    return Predictions(kind, list(videos), np.array(times, np.float64), names, scores, None, facts, hard=True)
