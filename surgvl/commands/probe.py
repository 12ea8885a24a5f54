"""The `probe` command: trains a small readout of a frozen encoder's tokens on one split and scores it on another.

Every encoder gets the same clips, readout, steps and seed, so differences are the encoder's. Nothing is tuned on the
videos that are scored: steps, learning rate and weight decay are set in the readouts' files, tuned on the validation
videos of a phantom of another seed, or chosen among several by the validation videos of the manifest.
"""

from pathlib import Path

import surgvl.probe
from surgvl.commands.common import split_ids
from surgvl.commands.probe_tokens import Work, load_encoder, of_encoder, of_stored_vectors
from surgvl.core.errors import ConfigError
from surgvl.core.files import command, write_json
from surgvl.core.invocation import command_line, recorded
from surgvl.core.plurals import plural
from surgvl.core.registry import choose
from surgvl.core.result_page import write_scores
from surgvl.core.results import Result, add_provenance, finite_or_null
from surgvl.core.run_folder import RunFolder
from surgvl.core.version import commit
from surgvl.data.manifest import Manifest
from surgvl.data.tables import rendered_note
from surgvl.models.model_info import pretraining_video_ids
from surgvl.probe.config import FewShot, ProbeClips, ReadoutTraining
from surgvl.tasks.overlap import check_overlap, not_listed_note


@recorded
def probe(
    manifest: Path,
    out: Path,
    encoder: Path | None = None,
    readout: str = "attentive",
    split: str = "test",
    vectors: Path | None = None,
    heads: list[str] = [],  # noqa: B006 (never changed)
    frame_cache: Path | None = None,
    clip: ProbeClips = ProbeClips(),  # noqa: B008 (frozen)
    fit: ReadoutTraining = ReadoutTraining(),  # noqa: B008 (frozen)
    few_shot: FewShot = FewShot(),  # noqa: B008 (frozen)
    random_encoder: bool = False,
    allow_overlap: bool = False,
    tokens_gb: float = 16.0,
    device: str = "cpu",
    seed: int = 0,
    resume: bool = False,
) -> list[Result]:
    """Measure what a frozen encoder represents: phase, instrument, verb and target, read out by a small trained head.

    Args:
        manifest: manifest folder with labels; the readout is trained on its split `train`, and the best of several
            rates and decays is chosen on its split `val`.
        out: run folder to write: result.json, result.md, scores by video (videos.json, videos.parquet), predictions,
            and the readout as a model.
        encoder: run folder or model folder of a video encoder; or give --vectors.
        readout: attentive (a learned query per head), attentive_blocks (V-JEPA 2's four blocks), linear or knn (of the
            mean token); of the mean tokens of whole videos, ms_tcn or asformer (offline), tecno or causal_transformer
            (online); or a dotted path.
        split: split to score.
        vectors: vectors folder (surgvl embed) to read out instead of an encoder's tokens, one vector a clip.
        heads: kinds of labels, such as phase, step, tool, triplet, cvs or skill; by default, phase and the parts of
            triplets.
        frame_cache: folder to cache decoded frames and the encoder's tokens in; by default, no cache.
        clip: which clips are encoded.
        fit: training of the readout.
        few_shot: train on few clips.
        random_encoder: use the encoder's shape with random weights: the control that shows the gain of pretraining.
        allow_overlap: also score videos that were seen in training, and mark every result.
        tokens_gb: maximum size of a split's tokens on disk, GB.
        device: torch device, such as cpu or cuda.
        seed: random seed of the readout, the order of clips, random weights and the bootstrap.
        resume: write to an --out folder that is not empty.
    """
    from surgvl.embed.meta import read_meta
    from surgvl.probe.base import Readout
    from surgvl.probe.labels import heads_of, undecided_notes
    from surgvl.probe.predicted import write_all
    from surgvl.probe.recogniser import Recogniser, save_recogniser
    from surgvl.probe.study import Study
    from surgvl.probe.vector_recogniser import save_vector_readout

    kind = choose(surgvl.probe, Readout, readout)
    fit = fit.of(kind)
    if (encoder is None) == (vectors is None):
        raise ConfigError("give --encoder, a run folder of `surgvl pretrain`, or --vectors, a folder of `surgvl embed`")
    if encoder is None and (random_encoder or not kind.averages):
        fact = "a random encoder" if random_encoder else f"readout {readout} reads every token and"
        raise ConfigError(f"{fact} needs --encoder: --vectors has one vector a clip")
    with RunFolder(out, resume, seed=seed, device=device) as folder:
        table = Manifest.load(manifest)
        before = [] if random_encoder else _seen(encoder, vectors)
        warning = overlap_warning(table, split, before, allow_overlap)
        asked = heads_of(table, heads, set(split_ids(table, "train")))
        undecided = undecided_notes(table.split(split), asked)
        has_grid = bool(kind.steps) and len(fit.lr) * len(fit.weight_decay) > 1
        splits = ["train", split, *(["val"] if has_grid and split != "val" and table.video_ids("val") else [])]
        with Work(out / "work") as work:
            if encoder is not None:
                model = load_encoder(encoder, random_encoder, clip, device, seed)
                given = clip, kind, work, frame_cache, tokens_gb, fit.batch
                tokens = of_encoder(folder, table, splits, asked, model, *given)
            else:
                assert vectors is not None
                tokens = of_stored_vectors(vectors, table, splits, asked)
                folder.watch(tokens.problems, len(table.videos))
            work.tick("encode")
            sources = " and ".join(sorted({row.source for row in table.split(split).videos}))
            protocol = f"{split} split of {sources}, {tokens.protocol(kind)}, {readout} readout of {tokens.what}"
            study = Study(kind, asked, fit, few_shot, protocol, 1 / tokens.step_s, device, seed)
            train_set, eval_set = tokens.splits["train"], tokens.splits[split]
            outcome = study.run(train_set, tokens.splits.get("val"), eval_set, work.folder)
            work.tick("train")

        head = outcome.fitted[0].readout
        frozen = vectors is None or read_meta(vectors).frozen is not False
        results = add_provenance(
            outcome.results,
            encoder="random, frozen" if random_encoder else "frozen" if frozen else "fine-tuned",
            num_trainable=head.num_trainable(),
            command=command_line(),
            commit=commit(),
            warning="; ".join(filter(None, (warning, *undecided, *tokens.problems.values()))),
        )
        seen = list(dict.fromkeys([*before, *table.qualified(sorted(set(train_set.video_ids)))]))
        folder.record(
            table.hash,
            seen,
            frozen=frozen,
            random_encoder=random_encoder,
            num_parameters=tokens.num_parameters,
            num_trainable=head.num_trainable(),
            num_clips=[outcome.fitted[0].num_clips, len(eval_set.video_ids)],
            readout_loss=finite_or_null(outcome.fitted[0].loss),
            seconds=work.seconds,
        )
        # Of several draws, the first one's.
        if encoder is not None:
            save_recogniser(Recogniser(model[0], head, clip.frame_step), folder.model, model[1])
        else:
            assert vectors is not None
            save_vector_readout(head, folder.model, read_meta(vectors))
        write_json(out / "videos.json", outcome.tables[0])
        facts = {
            "model": str(encoder or vectors),
            "encoder": results[0].encoder.rpartition(", ")[2],
            "num_trainable": head.num_trainable(),
            "protocol": tokens.protocol(kind),
            "pretraining_video_ids": seen,
            "made_by": command_line(),
        }
        for number, logits in enumerate(outcome.logits):
            place = out / "predictions" / (f"draw{number}" if few_shot.is_asked else "")
            write_all(place, head.asked, eval_set.video_ids, eval_set.times_s, logits, facts)
        print(write_scores(folder.path, results, rendered_note(table.split(split).videos) + not_listed_note(before)))
        after = command("timeline", "video.mp4", model=out, out="video.csv")
        folder.next(f"{plural(len(results), 'score')} in {out}", after)
    return results


def _seen(encoder: Path | None, vectors: Path | None) -> list[str]:
    """Ids of the videos that the encoder, or that of the vectors, was trained on."""
    from surgvl.embed.meta import read_meta

    if encoder is not None:
        return pretraining_video_ids(encoder)
    assert vectors is not None
    return read_meta(vectors).pretraining_video_ids


def overlap_warning(table: Manifest, split: str, pretraining_ids: list[str], allowed: bool) -> str:
    """A warning for the results if scored videos were seen in pretraining or train the readout.

    Raises:
        DataError: they were, and that is not allowed.
    """
    own = {"training of the readout": table.video_ids("train")}
    return check_overlap(table, split, pretraining_ids, allowed, own, split_ids(table, split))
