"""The `finetune` command: trains an encoder and a head on labels, and scores both on another split.

It begins with a head of zeros, or where `surgvl probe` ended: linear probing, then fine-tuning (Kumar, Raghunathan,
Jones, Ma and Liang, arXiv 2202.10054).
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from surgvl.commands.common import device_name, frame_store, split_ids
from surgvl.commands.probe import overlap_warning
from surgvl.commands.probe_tokens import Work, cut, load_encoder, of_encoder
from surgvl.core.checks import check_range
from surgvl.core.errors import ConfigError, DataError
from surgvl.core.files import command, write_json
from surgvl.core.invocation import command_line, recorded
from surgvl.core.result_page import write_scores
from surgvl.core.results import Result, add_provenance
from surgvl.core.run_folder import RunFolder
from surgvl.core.version import commit
from surgvl.data.augment_config import AugmentConfig
from surgvl.data.manifest import Manifest
from surgvl.data.tables import rendered_note
from surgvl.models.model_info import training_record
from surgvl.probe.config import ProbeClips
from surgvl.tasks.overlap import not_listed_note
from surgvl.train.config import Optim, Run
from surgvl.video.clip import Preprocess

# Modules that import torch are imported where they are used, so that help and usage errors need none.
if TYPE_CHECKING:
    from surgvl.models.vit import VideoViT
    from surgvl.probe.base import Readout


@dataclass(frozen=True, kw_only=True)
class Regularise:
    """What keeps the encoder from fitting the training clips too closely; the defaults are SurgVISTA's.

    Args:
        drop_path: probability that a clip skips a residual branch of the last block; it rises linearly from 0.
        mixup: parameter of the beta distribution of mixup; 0: none. Left out where several labels hold at once.
        cutmix: the same of CutMix.
        smoothing: label smoothing.
    """

    drop_path: float = 0.1
    mixup: float = 0.8
    cutmix: float = 1.0
    smoothing: float = 0.1


@recorded
def finetune(
    manifest: Path,
    out: Path,
    encoder: Path,
    split: str = "test",
    heads: list[str] = [],  # noqa: B006 (never changed)
    frame_cache: Path | None = None,
    clip: ProbeClips = ProbeClips(),  # noqa: B008 (frozen)
    regularise: Regularise = Regularise(),  # noqa: B008 (frozen)
    augmentation: AugmentConfig = AugmentConfig(),  # noqa: B008 (frozen)
    optim: Optim = Optim(lr=5e-4, layer_decay=0.75, beta2=0.999),  # noqa: B008 (frozen)
    run: Run = Run(),  # noqa: B008 (frozen)
    epochs: float = 0.0,
    random_encoder: bool = False,
    allow_overlap: bool = False,
    resume: bool = False,
) -> list[Result]:
    """Train a whole encoder with a small head on the labels of a split, and score them on another.

    Where labels are few, probe first: while a new head is being fitted, it distorts the features of the encoder.

    Args:
        manifest: manifest folder with labels; the split `train` is trained on.
        out: run folder to write: the model, result.json, result.md,
            scores by video (videos.json, videos.parquet) and predictions.
        encoder: run folder or model folder of a video encoder, which gets a linear head of zeros; or of `surgvl probe`
            or `finetune`, whose encoder and readout are trained further, from its predictions on.
        split: split to score.
        heads: kinds of labels, such as phase, step, tool or triplet; by default, phase and the parts of triplets, or
            those of the readout that is trained further.
        frame_cache: folder to cache decoded frames in; by default, no cache.
        clip: which clips are shown.
        regularise: stochastic depth, mixup and label smoothing.
        augmentation: crops, flips, shifts and colours of the training clips.
        optim: optimizer, with layer-wise learning rate decay.
        run: length and devices of the run.
        epochs: passes over the training clips that have labels, instead of --run.steps; 0: as --run.steps says.
        random_encoder: begin with random weights: the control that shows the gain of pretraining.
        allow_overlap: also score videos that were seen in training, and mark every result.
        resume: continue in an --out folder that is not empty.
    """
    check_range("--epochs", epochs, 0)
    import torch

    from surgvl.data.augment import Augment
    from surgvl.data.clips import collate
    from surgvl.models.vit import VideoViT
    from surgvl.probe.dataset import moments
    from surgvl.probe.finetune import FineTune, LabelledMoments
    from surgvl.probe.fit import predict
    from surgvl.probe.labels import heads_of, labelled, truth_of, undecided_notes
    from surgvl.probe.pooled import Pooled
    from surgvl.probe.predicted import write_all
    from surgvl.probe.recogniser import Recogniser, save_recogniser
    from surgvl.probe.score import ProbedClips, score, training_of
    from surgvl.train.distributed import main_process
    from surgvl.train.loop import fit

    with RunFolder(out, resume, seed=run.seed, device=device_name(), writes=main_process()) as folder:
        table = Manifest.load(manifest)
        record = {} if random_encoder else training_record(encoder)
        before = record.get("pretraining_video_ids", [])
        warning = overlap_warning(table, split, before, allow_overlap)
        shape, preprocess, readout, clip = _begin(encoder, random_encoder, clip, heads, run.seed)
        torch.manual_seed(run.seed)
        model = VideoViT(dataclasses.replace(shape.config, drop_path=regularise.drop_path))
        model.load_state_dict(shape.state_dict())
        names = heads if readout is None else [head.name for head in readout.asked]
        asked = heads_of(table, names, set(split_ids(table, "train")))
        begun = "" if readout is None else f", begun with a trained {readout.name} readout"
        readout = Pooled(model.dim, asked) if readout is None else readout
        # Those of a trained readout are its own, of other labels perhaps.
        asked = list(readout.asked)
        undecided = undecided_notes(table.split(split), asked)
        recogniser = Recogniser(model, readout, clip.frame_step).train()
        objective = FineTune(recogniser, regularise.mixup, regularise.cutmix, regularise.smoothing)
        num_trainable = sum(parameter.numel() for parameter in objective.parameters())
        read = dataclasses.replace(preprocess, size_px=augmentation.read_px or preprocess.size_px)
        train_ids = split_ids(table, "train")
        store, good = frame_store(table, train_ids, read, frame_cache, augmentation.per_video)
        shown = [(video_id, time_s) for video_id in good for time_s in moments(preprocess, store.durations_s[video_id])]
        truth = truth_of(table, asked, [each[0] for each in shown], [each[1] for each in shown])
        rows = labelled(truth).nonzero()[0]
        if not len(rows):
            raise DataError("no training clip has a label of these kinds: check the manifest and --heads")
        ids, times_s = [shown[row][0] for row in rows], [shown[row][1] for row in rows]
        truth = {head: labels[rows] for head, labels in truth.items()}
        if epochs:
            run = dataclasses.replace(run, steps=max(1, round(epochs * len(ids) / run.batch)))
        data = LabelledMoments(store, ids, times_s, truth, run.seed)
        changed = Augment(augmentation, preprocess.size_px)
        seen = list(dict.fromkeys([*before, *table.qualified(list(dict.fromkeys(ids)))]))
        store.problems.update(fit(objective, data, collate, out, optim, run, changed, name="finetune"))
        if not main_process():
            return []
        save_recogniser(recogniser, folder.model, preprocess)
        fastest = "cuda" if torch.cuda.is_available() else "cpu"
        recogniser.eval().to(device := fastest if run.accelerator == "auto" else run.accelerator)
        with Work(out / "work") as work:
            given = clip, type(readout), work, frame_cache, 16.0, 64
            tokens = of_encoder(folder, table, [split], asked, (model, preprocess), *given)
            scored = tokens.splits[split]
            logits = predict(readout, scored.tokens)
        sources = " and ".join(sorted({row.source for row in table.split(split).videos}))
        how = f"{run.steps} steps of {run.batch} clips, rate {optim.lr:g}, layer decay {optim.layer_decay:g}"
        how += f", mixup {regularise.mixup:g}, CutMix {regularise.cutmix:g}, smoothing {regularise.smoothing:g}"
        protocol = f"{split} split of {sources}, {preprocess.protocol}, fine-tuned on {tokens.what}{begun}, {how}"
        known, rate_fps = training_of(truth, asked, ids), 1 / preprocess.step_s
        clips = ProbedClips(scored.video_ids, scored.times_s, scored.truth, asked, known, protocol, rate_fps, run.seed)
        found, by_video = score(clips, logits)
        was_random = random_encoder or record.get("random_encoder", False)
        kind = "random, fine-tuned" if was_random else "fine-tuned"
        problems = {**store.problems, **tokens.problems}
        results = add_provenance(
            found,
            encoder=kind,
            num_trainable=num_trainable,
            command=command_line(),
            commit=commit(),
            warning="; ".join(filter(None, (warning, *undecided, *problems.values()))),
        )
        folder.watch(problems, len({*train_ids, *split_ids(table, split)}), store.marks.lines)
        folder.record(
            table.hash,
            seen,
            frozen=False,
            random_encoder=was_random,
            num_trainable=num_trainable,
            num_clips=[len(ids), len(scored.video_ids)],
            scored_on=device,
        )
        facts = {
            "model": str(out),
            "encoder": "fine-tuned",
            "num_trainable": num_trainable,
            "protocol": preprocess.protocol,
            "pretraining_video_ids": seen,
            "made_by": command_line(),
        }
        write_all(out / "predictions", asked, scored.video_ids, scored.times_s, logits, facts)
        write_json(out / "videos.json", by_video)
        print(write_scores(folder.path, results, rendered_note(table.split(split).videos) + not_listed_note(before)))
        folder.next(f"model in {folder.model}", command("timeline", "video.mp4", model=out, out="video.csv"))
    return results


def _begin(
    encoder: Path, random: bool, clip: ProbeClips, heads: list[str], seed: int
) -> "tuple[VideoViT, Preprocess, Readout | None, ProbeClips]":
    """What is trained: the encoder, how its clips are cut, its trained readout if it has one, and which clips.

    Raises:
        CheckpointError: the folder's model has no video encoder of ours.
        ConfigError: the readout cannot be trained further as asked, or the clips do not fit the encoder.
    """
    from surgvl.probe.recogniser import is_recogniser, load_recogniser
    from surgvl.probe.vector_recogniser import reads_vectors

    if not is_recogniser(encoder):
        return *load_encoder(encoder, random, clip, "cpu", seed), None, clip
    if random:
        raise ConfigError(
            f"--random_encoder needs an encoder without a readout, and {encoder} has one: give that encoder, or a "
            "probe of random weights"
        )
    if reads_vectors(encoder):
        raise ConfigError(f"{encoder} reads stored vectors and has no encoder to train: probe an --encoder")
    start, preprocess = load_recogniser(encoder)
    readout = start.readout
    own = [head.name for head in readout.asked]
    if heads and set(heads) != set(own):
        raise ConfigError(f"--heads must be those of the readout in {encoder}, {' '.join(own)}, got {' '.join(heads)}")
    if readout.sees != "clip" or not readout.steps:
        raise ConfigError(
            f"{encoder} has a readout {readout.name}, through which no encoder is trained: give a probe with --readout "
            "linear, attentive or attentive_blocks"
        )
    clip = dataclasses.replace(clip, frame_step=start.frame_step if clip.frame_step == 1 else clip.frame_step)
    return start.encoder, cut(start.encoder, preprocess, clip), readout, clip
