"""The `finetune` command: trains an encoder and a head on labels, and scores both on another split."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from surgvl.commands.common import device_name, frame_store, split_ids, write_scores
from surgvl.commands.probe import overlap_warning
from surgvl.commands.probe_tokens import Work, load_encoder, of_encoder
from surgvl.core.files import command, write_json
from surgvl.core.invocation import command_line, recorded
from surgvl.core.results import Result, add_provenance
from surgvl.core.run_folder import RunFolder
from surgvl.core.version import commit
from surgvl.data.augment_config import AugmentConfig
from surgvl.data.manifest import Manifest
from surgvl.data.tables import rendered_note
from surgvl.models.model_info import pretraining_video_ids
from surgvl.probe.config import ProbeClips
from surgvl.tasks.overlap import not_listed_note
from surgvl.train.config import Optim, Run


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
    random_encoder: bool = False,
    allow_overlap: bool = False,
    resume: bool = False,
) -> list[Result]:
    """Train a whole encoder with a small head on the labels of a split, and score them on another.

    Args:
        manifest: manifest folder with labels; the split `train` is trained on.
        out: run folder to write: the model, result.json, result.md,
            scores by video (videos.json, videos.parquet) and predictions.
        encoder: run folder or model folder of a video encoder.
        split: split to score.
        heads: kinds of labels, such as phase, step, tool or triplet; by default, phase and the parts of triplets.
        frame_cache: folder to cache decoded frames in; by default, no cache.
        clip: which clips are shown.
        regularise: stochastic depth, mixup and label smoothing.
        augmentation: crops, flips, shifts and colours of the training clips.
        optim: optimizer, with layer-wise learning rate decay.
        run: length and devices of the run.
        random_encoder: begin with random weights: the control that shows the gain of pretraining.
        allow_overlap: also score videos that were seen in training, and mark every result.
        resume: continue in an --out folder that is not empty.
    """
    import torch

    from surgvl.data.augment import Augment
    from surgvl.data.clips import collate
    from surgvl.models.vit import VideoViT
    from surgvl.probe.dataset import moments
    from surgvl.probe.finetune import FineTune, LabelledMoments
    from surgvl.probe.fit import predict
    from surgvl.probe.labels import heads_of, truth_of, undecided_notes
    from surgvl.probe.pooled import Pooled
    from surgvl.probe.predicted import write_all
    from surgvl.probe.recogniser import Recogniser, save_recogniser
    from surgvl.probe.score import ProbedClips, majority_of, score
    from surgvl.train.distributed import main_process
    from surgvl.train.loop import fit

    with RunFolder(out, resume, seed=run.seed, device=device_name(), writes=main_process()) as folder:
        table = Manifest.load(manifest)
        before = [] if random_encoder else pretraining_video_ids(encoder)
        warning = overlap_warning(table, split, before, allow_overlap)
        shape, preprocess = load_encoder(encoder, random_encoder, clip, "cpu", run.seed)
        torch.manual_seed(run.seed)
        model = VideoViT(dataclasses.replace(shape.config, drop_path=regularise.drop_path))
        model.load_state_dict(shape.state_dict())
        asked = heads_of(table, heads, set(split_ids(table, "train")))
        undecided = undecided_notes(table.split(split), asked)
        recogniser = Recogniser(model, Pooled(model.dim, asked), clip.frame_step)
        objective = FineTune(recogniser, regularise.mixup, regularise.cutmix, regularise.smoothing)
        num_trainable = sum(parameter.numel() for parameter in objective.parameters())
        read = dataclasses.replace(preprocess, size_px=augmentation.read_px or preprocess.size_px)
        train_ids = split_ids(table, "train")
        store, good = frame_store(table, train_ids, read, frame_cache, augmentation.per_video)
        shown = [(video_id, time_s) for video_id in good for time_s in moments(preprocess, store.durations_s[video_id])]
        ids, times_s = [each[0] for each in shown], [each[1] for each in shown]
        truth = truth_of(table, asked, ids, times_s)
        data = LabelledMoments(store, ids, times_s, truth, run.seed)
        changed = Augment(augmentation, preprocess.size_px)
        seen = list(dict.fromkeys([*before, *table.qualified(good)]))
        store.problems.update(fit(objective, data, collate, out, optim, run, changed, name="finetune"))
        if not main_process():
            return []
        save_recogniser(recogniser, folder.model, preprocess)
        fastest = "cuda" if torch.cuda.is_available() else "cpu"
        recogniser.eval().to(device := fastest if run.accelerator == "auto" else run.accelerator)
        with Work(out / "work") as work:
            given = clip, Pooled, work, frame_cache, 16.0, 64
            tokens = of_encoder(folder, table, [split], asked, (model, preprocess), *given)
            scored = tokens.splits[split]
            logits = predict(recogniser.readout, scored.tokens)
        sources = " and ".join(sorted({row.source for row in table.split(split).videos}))
        how = f"{run.steps} steps of {run.batch} clips, rate {optim.lr:g}, layer decay {optim.layer_decay:g}"
        protocol = f"{split} split of {sources}, {preprocess.protocol}, fine-tuned on {tokens.what}, {how}"
        majority, rate_fps = majority_of(truth, asked), 1 / preprocess.step_s
        clips = ProbedClips(
            scored.video_ids, scored.times_s, scored.truth, asked, majority, protocol, rate_fps, run.seed
        )
        found, by_video = score(clips, logits)
        kind = "random, fine-tuned" if random_encoder else "fine-tuned"
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
            random_encoder=random_encoder,
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
        write_scores(folder, results, rendered_note(table.split(split).videos) + not_listed_note(before))
        folder.next(f"model in {folder.model}", command("timeline", "video.mp4", model=out, out="video.csv"))
    return results
