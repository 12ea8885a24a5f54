"""Predictions of a saved readout for `surgvl eval --model`: of the files of a split, or of stored vectors of them."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from surgvl.commands.common import split_ids
from surgvl.commands.timeline import progress
from surgvl.core.arrays import Float32Array, Float64Array
from surgvl.core.errors import CheckpointError, ConfigError, DataError
from surgvl.core.invocation import command_line
from surgvl.core.plurals import none_of
from surgvl.core.results import UNRECORDED
from surgvl.core.run_folder import RunFolder
from surgvl.data.manifest import Manifest
from surgvl.models.model_info import resolve_model, training_record
from surgvl.tasks.numbers import part_of_kind
from surgvl.tasks.overlap import check_overlap

# Modules that import torch are imported where they are used, so that help and usage errors need none.
if TYPE_CHECKING:
    from surgvl.probe.base import Readout
    from surgvl.video.clip import Preprocess

Logits = dict[str, Float32Array]


def predict_split(
    model: Path,
    vectors: Path | None,
    table: Manifest,
    split: str,
    folder: RunFolder,
    kinds: Collection[str],
    device: str,
    allow_overlap: bool,
    encoder: Path | None = None,
) -> list[Path]:
    """Let a saved readout predict the videos of a split, and write its predictions to `predictions/`.

    Args:
        model: run folder or model folder of `surgvl probe` or `finetune`.
        vectors: vectors folder, for a readout of such vectors; None to read the files.
        table: the videos.
        split: of the table.
        folder: reports the videos that cannot be read.
        kinds: kinds of label that can be scored.
        device: torch device.
        allow_overlap: also predict videos that were seen in training.
        encoder: see `surgvl.probe.recognition.Recognition.load`.

    Returns:
        The files of the heads of these kinds.

    Raises:
        CheckpointError: the folder's model is not a readout, or the model of its vectors is not at hand.
        ConfigError: the vectors are not those that the readout was trained on, no head is of these kinds, or an encoder
            is given where none is needed.
        DataError: no video can be read, or some were seen in training.
    """
    from surgvl.probe.predicted import write_all
    from surgvl.probe.recogniser import is_recogniser

    model = resolve_model(model)
    if not is_recogniser(model):
        raise CheckpointError(
            f"--model {model} is not a trained readout: give a run folder of `surgvl probe` or `finetune`, or embed "
            "the videos with this model, and give --vectors"
        )
    known = training_record(model)
    # Before anything is computed.
    check_overlap(table, split, known.get("pretraining_video_ids", []), allow_overlap)
    part = table.select(split_ids(table, split))
    readout, preprocess, ids, times_s, logits = (
        _of_files(model, part, folder, device, encoder) if vectors is None else _of_vectors(model, vectors, part)
    )
    facts = {
        "model": str(model),
        "encoder": {True: "frozen", False: "fine-tuned", None: "not stated"}[known.get("frozen")],
        "num_trainable": known.get("num_trainable", readout.num_trainable()),
        "protocol": UNRECORDED if preprocess is None else preprocess.protocol,
        "pretraining_video_ids": known.get("pretraining_video_ids", []),
        "made_by": command_line(),
    }
    if preprocess is not None and readout.sees == "video":
        facts["protocol"] = "offline"
    place = folder.path / "predictions"
    write_all(place, readout.asked, ids, times_s, logits, facts)
    names = [head.name for head in readout.asked if head.name in kinds or part_of_kind(head.name, list(kinds))]
    if not names:
        own = ", ".join(head.name for head in readout.asked)
        raise ConfigError(f"--model {model} predicts {own}; kinds with a task are {', '.join(kinds)}: change --tasks")
    return [place / f"{name}.parquet" for name in names]


Predicted = tuple["Readout", "Preprocess | None", list[str], Float64Array, Logits]


def _of_files(model: Path, part: Manifest, folder: RunFolder, device: str, encoder: Path | None) -> Predicted:
    from surgvl.probe.recognition import Recognition

    loaded = Recognition.load(model, device, encoder and resolve_model(encoder))
    ids: list[str] = []
    times: list[Float64Array] = []
    found: list[Logits] = []
    problems: dict[str, str] = {}
    for video_id, path, tick in progress(part, "eval"):
        try:
            logits, starts, ends = loaded.predict(path, tick=tick)
        except DataError as error:
            problems[video_id] = str(error)
            continue
        ids += [video_id] * len(starts)
        times.append(loaded.preprocess.moments(starts, ends))
        found.append(logits)
    num_videos = len(part.videos)
    if not found:
        raise DataError(none_of(num_videos, "video", "can be read", next(iter(problems.values()), "there is none")))
    folder.watch(problems, num_videos)
    joined = {name: np.concatenate([each[name] for each in found]) for name in found[0]}
    return loaded.model.readout, loaded.preprocess, ids, np.concatenate(times), joined


def _of_vectors(model: Path, folder: Path, part: Manifest) -> Predicted:
    from surgvl.embed.vectors import Vectors
    from surgvl.probe.dataset import of_vectors
    from surgvl.probe.fit import predict
    from surgvl.probe.vector_recogniser import load_vector_readout, reads_vectors

    if not reads_vectors(model):
        raise ConfigError(f"--model {model} reads clips, not vectors: leave --vectors out")
    readout, fields = load_vector_readout(model)
    vectors = Vectors.load(folder)
    if vectors.meta.model_hash != fields.encoder_hash:
        raise ConfigError(
            f"--model {model} reads vectors of {fields.encoder} ({fields.encoder_hash}), those of {folder} are of "
            f"{vectors.meta.model} ({vectors.meta.model_hash}): embed the videos with the former"
        )
    data = of_vectors(vectors, part, ())
    logits = predict(readout, data.tokens, data.videos)
    return readout, vectors.meta.preprocess, data.video_ids, data.times_s, logits
