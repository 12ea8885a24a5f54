"""The `eval` command: joins predictions, vectors and answers with labels, scores every task and writes one table."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import surgvl.tasks
from surgvl.commands.eval_model import predict_split
from surgvl.commands.eval_server import serve_inputs
from surgvl.commands.suite_config import SuiteConfig
from surgvl.commands.truth import load_truth, published_classes, with_parts
from surgvl.core.box_predictions import read_file
from surgvl.core.checks import check_above, check_choice, check_range
from surgvl.core.errors import ConfigError, DataError
from surgvl.core.files import command
from surgvl.core.invocation import command_line, recorded
from surgvl.core.plurals import plural
from surgvl.core.registry import choose, discover
from surgvl.core.result_page import write_scores
from surgvl.core.results import Result, add_provenance
from surgvl.core.run_folder import RunFolder
from surgvl.core.version import commit
from surgvl.data.manifest import Manifest
from surgvl.data.tables import is_open, rendered_note
from surgvl.metrics.relaxed import MODES
from surgvl.tasks.answer_calibration import not_measured_note
from surgvl.tasks.answer_files import outcome_counts, outcome_table
from surgvl.tasks.base import Inputs, Task, Unavailable
from surgvl.tasks.blind import BlindInputs
from surgvl.tasks.inputs import EvalInputs
from surgvl.tasks.overlap import check_overlap, not_listed_note
from surgvl.tasks.predicted import Predicted
from surgvl.tasks.rescore import scored_again


@dataclass(frozen=True, kw_only=True)
class EvalConfig:
    """How vectors become predictions, and what may be scored.

    Args:
        prompts: embedded prompt sets to score with, at most one per kind of label (phase, triplet, ...); by default,
            those of the videos' data sets.
        phase_prompts: old name of --prompts, for one set.
        triplet_prompts: old name of --prompts, for one set.
        smooth_s: average phase scores over this many seconds; 0: no smoothing.
        causal: smooth over the past only; scores are online only if the clips, too, show nothing later than the label.
        relaxed: also score phases with relaxed boundaries, which forgive errors within 10 s of a transition: by the
            rule of the M2CAI16 challenge (`symmetric`), or by its script, which contains an error (`m2cai_matlab`);
            published tables used the script.
        allow_overlap: also score test videos that were seen in training, and mark every result.
        late_after_s: count a reply of a general model that took longer than these seconds as late, and so as wrong, and
            print how long replies took; 0: neither. Files of other toolkits need a column `seconds` for it.
    """

    prompts: list[str] | None = None
    phase_prompts: str = ""
    triplet_prompts: str = ""
    smooth_s: float = 0.0
    causal: bool = False
    relaxed: Literal["", "symmetric", "m2cai_matlab"] = ""
    allow_overlap: bool = False
    late_after_s: float = 0.0

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: one is out of range.
        """
        check_range("--protocol.smooth_s", self.smooth_s, 0)
        check_range("--protocol.late_after_s", self.late_after_s, 0)
        if self.relaxed:
            check_choice("--protocol.relaxed", self.relaxed, MODES)

    @property
    def prompt_sets(self) -> list[str]:
        """Names of the prompt sets that were asked for."""
        return [name for name in (*(self.prompts or ()), self.phase_prompts, self.triplet_prompts) if name]


@recorded
def evaluate(
    manifest: Path | None = None,
    out: Path | None = None,
    vectors: Path | None = None,
    answers: Path | None = None,
    rescore: Path | None = None,
    controls: list[Path] | None = None,
    tasks: list[str] | None = None,
    split: str = "test",
    protocol: EvalConfig = EvalConfig(),  # noqa: B008 (frozen)
    seed: int = 0,
    resume: bool = False,
    server: str = "",
    api_key: str = "",
    in_flight: int = 8,
    model: str = "",
    predictions: list[Path] | None = None,
    predictions_kind: str = "",
    predictions_fps: float | None = None,
    split_protocol: str = "",
    baselines: bool = False,
    suite: str = "",
    suites: SuiteConfig = SuiteConfig(),  # noqa: B008 (frozen)
    device: str = "cpu",
    encoder: Path | None = None,
) -> list[Result]:
    """Score predictions, vectors and answers, with baselines and 95 % intervals.

    Args:
        manifest: manifest folder with the labels, or NAME:ROOT: a data set (`surgvl data list`) and its folder.
        out: folder for result.json and result.md.
        vectors: vectors folder of `surgvl embed`, for zero-shot phases, triplets and text-to-moment retrieval; or for
            a readout of such vectors (--model).
        answers: folder of `surgvl ask --manifest`, or its answers.jsonl; or replies that VLMEvalKit, lmms-eval or
            MedVidBench's code wrote, as they are.
        rescore: the same, in place of --answers: what a general model wrote is read again by this version's rules,
            without the model.
        controls: folders with answers to the same questions under a control: about another video (`surgvl ask
            --only_control`), or by a classification head. Of replies that another toolkit wrote, say what the model
            was shown in place of the video: no_video:FILE, black:FILE or other:FILE.
        tasks: names of tasks; by default, all that the inputs allow.
        split: split to score.
        protocol: how vectors become predictions, and what may be scored.
        seed: random seed of the bootstrap and the random baselines.
        resume: write to an --out folder that is not empty.
        server: address of `surgvl serve`, whose models embed the split's videos if --vectors is not given and answer
            its questions if --answers is not given; both are written to --out. Any other OpenAI-compatible address
            answers the questions (`surgvl ask` has more arguments for it).
        api_key: the server's key, or @FILE that contains it; SURGVL_API_KEY by default, which is safer.
        in_flight: maximum number of concurrent requests to the server.
        model: run folder of `surgvl probe` or `finetune`, whose model predicts the split's videos; predictions are
            written to --out. With --server, the name of one of its models, if it has several.
        predictions: files with the predictions of any model, as Parquet or CSV with the columns video,time,label, or
            video,start,end,label, or video,time and a column of scores for each class; of boxes,
            video,time,label,score,x,y,w,h in parts of the picture; arrays of ivtmetrics; or folders of text files that
            SurgVISTA's or SurgRec's evaluation wrote.
        predictions_kind: kind of label that they predict, such as phase; by default, that whose classes they name.
        predictions_fps: rate of the frames of a CSV (column `frame`, in place of `time`) or of SurgVISTA, from 0.
        split_protocol: splits of a data set NAME:ROOT, see `surgvl data splits NAME`; by default, its first ones.
        baselines: score predictors that see no video: the longest class of the training videos (of whole videos, the
            most frequent), a constant score for every triplet, no boxes, the median skill, the most frequent training
            answer.
        suite: run a suite of data sets in place of scoring one: surgvista13, surgrec16, surgrec16_clips, unisurg17,
            zen20, zero_shot, vqa, phantom, or a YAML file of that form. Finished runs in --out are kept.
        suites: data and models of a suite.
        device: torch device of --model.
        encoder: for a --model that reads out stored vectors: where the model that made them is now, if it was moved; it
            must be the same one.
    """
    if out is None or (manifest is None and not suite):
        raise ConfigError("give --out and --manifest, or --out and --suite")
    if suite:
        given: dict[str, object] = {
            "manifest": manifest,
            "predictions": predictions,
            "vectors": vectors,
            "answers": answers,
        }
        given |= {"rescore": rescore, "controls": controls, "tasks": tasks, "model": model, "server": server}
        given |= {"split_protocol": split_protocol, "baselines": baselines, "encoder": encoder}
        given |= {"split": split != "test", "device": device != "cpu"}
        # A suite that only seems to be scored in another way, or on another device, would be found out days later.
        given |= {each.name: vars(protocol)[each.name] for each in fields(protocol) if each.name != "allow_overlap"}
        if wrong := [f"--{name}" for name, value in given.items() if value]:
            hint = "; --suite_device is the device of a suite" if "--device" in wrong else ""
            hint += "; --encoders are its models" if "--model" in wrong or "--encoder" in wrong else ""
            raise ConfigError(f"--suite {suite} has its own data and protocols: leave {' and '.join(wrong)} out{hint}")
        from surgvl.commands.suite import run_suite

        return run_suite(suite, suites, out, seed, allow_overlap=protocol.allow_overlap)
    assert manifest is not None
    if rescore is not None and answers is not None:
        raise ConfigError(f"--answers {answers} and --rescore {rescore}: give one of them")
    answers = rescore or answers
    if baselines and (vectors or answers or server or predictions or model):
        raise ConfigError("--baselines scores no model: leave all that predicts or answers out")
    if not (vectors or answers or server or predictions or baselines or model):
        raise ConfigError("nothing to score: give --predictions, --vectors or --answers, or --model or --server")
    if predictions and (vectors or server or model):
        raise ConfigError("--predictions and --vectors, --model or --server both predict: score them in two runs")
    if protocol.prompt_sets and not (vectors or server):
        names = " ".join(protocol.prompt_sets)
        raise ConfigError(f"--prompts {names}: only --vectors or --server are scored by sentences: leave it out")
    if predictions_fps is not None:
        check_above("--predictions_fps", predictions_fps)
    if encoder and (not model or server or vectors):
        raise ConfigError(f"--encoder {encoder} is for a --model that reads files here: leave it out")
    if controls and answers is None:
        raise ConfigError("--controls needs --answers: the answers about the right video")
    known: dict[str, type[Task]] = discover(surgvl.tasks, Task)  # type: ignore[type-arg, type-abstract]
    chosen = {name: choose(surgvl.tasks, Task, name) for name in tasks} if tasks else known  # type: ignore[type-abstract]
    with RunFolder(out, resume, seed=seed) as folder:
        table, remark = load_truth(manifest, split_protocol)
        kinds = list(dict.fromkeys(task.kind for task in chosen.values() if task.kind))
        if server:
            wanted = vectors is None and any(kinds), answers is None and "" in {each.kind for each in chosen.values()}
            address, others = (server, api_key, in_flight, model), _others(table, split)
            served = serve_inputs(table, manifest, out, wanted, split, address, protocol.allow_overlap, others, seed)
            vectors, answers = served[0] or vectors, served[1] or answers
        scored = table
        if model and not server:
            readout = Path(model), vectors, table, split, folder, kinds, device, protocol.allow_overlap, encoder
            predictions, vectors, scored = predict_split(*readout), None, with_parts(table)
        files = [(path, read_file(path, predictions_fps, predictions_kind)) for path in predictions or ()]
        predicted = Predicted(files, scored, split, kinds, published_classes) if files else None
        inputs = (
            BlindInputs(table, split, protocol.relaxed, seed, published_classes, is_open)
            if baselines
            else EvalInputs(
                scored,
                split,
                vectors,
                answers,
                controls or [],
                protocol.prompt_sets,
                protocol.smooth_s,
                protocol.causal,
                protocol.relaxed,
                seed,
                predicted,
            )
        )
        again_of = rescore is not None, protocol.late_after_s, table, split
        inputs.answer_files, again = scored_again(inputs.answer_files, *again_of)
        for kind, name in inputs.chosen.items():
            if kind not in {task.kind for task in chosen.values()}:
                raise ConfigError(
                    f"--prompts {name}: its labels are of kind {kind!r}, which no task scores: leave it out"
                )
        warning = check_overlap(table, split, inputs.pretraining_ids, protocol.allow_overlap, _others(table, split))

        results: list[Result] = []
        reasons: dict[str, list[str]] = {}
        for name, task in chosen.items():
            try:
                found = _score(task, inputs)
            except Unavailable as reason:
                if tasks:
                    raise
                reasons.setdefault(str(reason), []).append(name)
                continue
            made = {
                "command": command_line(),
                "commit": commit(),
                "warning": "; ".join(filter(None, (warning, inputs.gaps(task.kind)))),
            }
            for result in found:
                # Answers of several models share a table, so they tell how their own model was trained.
                own = result.encoder, result.num_trainable
                trained, num_trainable = inputs.encoder(task.kind) if own[0] == "not stated" else own
                results += add_provenance([result], encoder=trained, num_trainable=num_trainable, **made)
        left_out = [
            f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} left out: {why}" for why, names in reasons.items()
        ]
        if not results:
            raise DataError(f"no task could be scored: {'; '.join(left_out)}")
        said = [rows for rows, _ in inputs.answers()] if inputs.answer_files else []
        counts = outcome_counts(said)
        facts = {"versions": _versions(chosen), "prompt_sets": inputs.used, "outcomes": counts}
        folder.record(table.hash, inputs.pretraining_ids, **facts)
        notes = inputs.prompts_note() + outcome_table(counts) + again + rendered_note(inputs.test.videos)
        notes += not_measured_note(said) + not_listed_note(inputs.pretraining_ids)
        print(write_scores(folder.path, results, notes))
        for line in (*left_out, *(predicted.notes if predicted else ()), *filter(None, [remark])):
            print(line)
        after = command("compare", out, "OTHER_RUN", out="compared")
        if baselines:
            after = command("eval", manifest=manifest, predictions="predictions.csv", out=f"{out}-next")
        elif vectors is not None:
            after = command("index", vectors=vectors, manifest=manifest, out="index")
        folder.next(f"{plural(len(results), 'score')} in {out}", after)
    return results


def _score(task: type[Task], inputs: Inputs) -> list[Result]:  # type: ignore[type-arg]
    return [result for prepared, predictions in task.prepare(inputs) for result in prepared.score(predictions)]


def _versions(chosen: dict[str, type[Task]]) -> dict[str, int]:  # type: ignore[type-arg]
    return {name: task.version for name, task in chosen.items()}


def _others(table: Manifest, split: str) -> dict[str, list[str]]:
    """Videos that must not be in the split that is scored, by what they are for."""
    return {"validation": table.video_ids("val")} if split == "test" else {}
