"""The `tune` command: an encoder and questions in, a run folder with a `Chat` out."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from surgvl.commands.common import device_name, frame_store, split_source
from surgvl.core.errors import ConfigError, DataError
from surgvl.core.files import command, write_json
from surgvl.core.invocation import recorded
from surgvl.core.run_folder import RunFolder
from surgvl.data.manifest import Manifest
from surgvl.data.tables import is_open
from surgvl.models.model_info import pretraining_video_ids
from surgvl.models.schema import bounded
from surgvl.train.config import Optim, Run
from surgvl.video.clip import Preprocess

# What brings torch is imported where it is used: help and typing errors do without.
if TYPE_CHECKING:
    from torch import nn

    from surgvl.chat.dataset import HeldOutQuestions
    from surgvl.models.chat import Chat
    from surgvl.models.tokenizer import HuggingFaceTokenizer, SentencePieceTokenizer


def language_model(name: str) -> "tuple[nn.Module, SentencePieceTokenizer | HuggingFaceTokenizer]":
    """A causal language model and its tokenizer: `tiny` (untrained, shipped vocabulary), or a folder or hub id."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from surgvl.models.chat import tiny_language_config
    from surgvl.models.foreign import check_finite, foreign
    from surgvl.models.tokenizer import HuggingFaceTokenizer, SentencePieceTokenizer

    if name == "tiny":
        tokenizer = SentencePieceTokenizer()
        config = tiny_language_config(tokenizer)
        empty: Any = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))  # type: ignore[no-untyped-call]
        # The fused kernel's backward pass is the slower one for short texts on a CPU (see models.video_vit.attend).
        if not torch.cuda.is_available():
            empty.set_attn_implementation("eager")
        return empty, tokenizer
    with foreign(f"language model {name!r} cannot be read", "give a folder of safetensors, or a hub id"):
        bounded(AutoConfig.from_pretrained(name, trust_remote_code=False).to_dict())
        model: nn.Module = AutoModelForCausalLM.from_pretrained(name, dtype=torch.float32, trust_remote_code=False)
    check_finite(model.state_dict(), name)
    return model, HuggingFaceTokenizer(name)


@recorded
def tune(
    manifest: Path,
    encoder: Path,
    out: Path,
    language: str = "tiny",
    projector: Literal["grid", "mlp", "perceiver"] = "grid",
    grid: tuple[int, int, int] = (2, 4, 4),
    queries: int = 16,
    random_encoder: bool = False,
    projector_steps: int = 100,
    finetune: Literal["full", "lora", "head"] = "full",
    encoder_steps: int = 0,
    lora_rank: int = 8,
    pack: bool = False,
    max_tokens: int = 512,
    narration: bool = True,
    weights: dict[str, float] | None = None,
    split: str = "train",
    held_out: str = "val",
    frame_cache: Path | None = None,
    optim: Optim = Optim(lr=1e-3),  # noqa: B008 (frozen)
    run: Run = Run(batch=64),  # noqa: B008 (frozen)
    resume: bool = False,
) -> Path:
    """Teach a language model to answer questions about video.

    Args:
        manifest: manifest folder with questions.
        encoder: run folder of an aligned model or of a bare encoder; it stays frozen but for stage 3.
        out: run folder to write.
        language: tiny, or folder or hub id of a transformers causal language model.
        projector: how the encoder's tokens become visual ones: means over a grid, all of them, or read by queries.
        grid: visual tokens in time, height and width; for mlp all there are, for perceiver the first number counts.
        queries: visual tokens of each time group, for perceiver.
        random_encoder: random weights in the encoder's shape: the control.
        projector_steps: steps of stage 1, which trains the projector alone; run.steps counts stage 2.
        finetune: what stage 2 trains: full or lora (both with the projector), or head: a classifier over the known
            answers on the same trunk, as a baseline that cannot write.
        encoder_steps: steps of stage 3, which trains everything, the encoder too, on clips.
        lora_rank: rank of the adapters.
        pack: several short conversations in a row of the batch.
        max_tokens: longest question with its visual tokens and its answer, and longest packed row.
        narration: narrated sentences teach the open question "What is happening in this clip?".
        weights: share of the draws of each source of questions; without them each type of question is drawn alike.
        split: the split to train on.
        held_out: the split whose questions are looked at while training, where it has any.
        frame_cache: folder for decoded frames and the encoder's tokens of clips; none: decode at each use.
        optim: optimizer of all stages.
        run: length and place of stage 2.
        resume: continue in an --out folder that already holds results.
    """
    if finetune == "head" and encoder_steps:
        raise ConfigError(
            f"--finetune head has no stage 3, and --encoder_steps is {encoder_steps}: leave one of them out"
        )
    import torch

    from surgvl.chat.dataset import QuestionDataset, collate, training_rows
    from surgvl.chat.feature_cache import FeatureCache, readable_rows, window_of
    from surgvl.chat.head import AnswerHead, HeadTune, save_head
    from surgvl.chat.template import end_of_turn
    from surgvl.chat.tune import Tune, merge_lora
    from surgvl.models.chat import Chat
    from surgvl.models.checkpoint import load_model, save_model
    from surgvl.models.dual_encoder import DualEncoder
    from surgvl.models.vit import VideoViT
    from surgvl.train.distributed import main_process
    from surgvl.train.loop import fit

    with RunFolder(out, resume, seed=run.seed, device=device_name(), writes=main_process()) as folder:
        table = Manifest.load(manifest)
        model, preprocess = load_model(encoder)
        tower = model.encoder if isinstance(model, DualEncoder | Chat) else model
        torch.manual_seed(run.seed)
        if random_encoder:
            tower = VideoViT(tower.config)
        lm, tokenizer = language_model(language)
        tokens = {"kind": projector, "grid": list(grid), "num_queries": queries}
        chat = Chat.of(tower, lm, tokenizer, tokens, preprocess.fps, preprocess.crop)
        chat.train(False)
        source, good = split_source(folder, table, split, preprocess, frame_cache)
        rows = training_rows(table, good, narration)
        closed = [row for row in rows if not is_open(row["type"])]
        head = AnswerHead.of(chat, sorted({row["answer"] for row in closed})) if finetune == "head" else None
        trained: list[nn.Module] = [lm, chat.projector, *([tower] if encoder_steps else []), *([head] if head else [])]
        folder.record(
            table.hash,
            [*pretraining_video_ids(encoder), *good],
            second=finetune,
            frozen=not encoder_steps,
            num_trainable=sum(p.numel() for module in trained for p in module.parameters()),
        )
        windows = [window_of(row) for row in rows]
        features = FeatureCache(chat, source, windows, preprocess.num_frames, (frame_cache or out) / "features")
        source.problems |= features.problems
        readable = readable_rows(rows, features, features.problems)
        data = QuestionDataset(features, source, preprocess.num_frames, readable, run.seed, weights)
        monitor = (
            _held_out(chat, table, held_out, narration, preprocess, frame_cache, out) if held_out != split else None
        )

        def train(
            what: str, at: Path, steps: int, name: str, of: QuestionDataset, monitor: "HeldOutQuestions | None"
        ) -> None:
            settings = replace(run, steps=steps) if steps != run.steps else run
            tuned = Tune(chat, what, lora_rank, max_tokens, pack, monitor)
            source.problems.update(fit(tuned, of, collate, at, optim, settings, name=name))

        num_stages = 3 if encoder_steps else 2
        if projector_steps:
            train("projector", out / "projector", projector_steps, f"tune 1/{num_stages}", data, None)
        if head is not None:
            known = [row for row in readable if not is_open(row["type"])]
            choices = QuestionDataset(features, source, preprocess.num_frames, known, run.seed, weights)
            fit(HeadTune(chat, head), choices, collate, out, optim, run, name=f"tune 2/{num_stages}")
        else:
            train(finetune, out, run.steps, f"tune 2/{num_stages}", data, monitor)
        chat.language = merge_lora(chat.language)
        if encoder_steps:
            clips = QuestionDataset(None, source, preprocess.num_frames, readable, run.seed, weights)
            train("encoder", out / "encoder", encoder_steps, "tune 3/3", clips, None)
        if main_process():
            chat.train(False)
            save_model(chat, folder.model, preprocess)
            if head is not None:
                save_head(head, folder.model)
            types = {row["question"]: row["type"] for row in closed}
            answers = sorted({row["answer"] for row in closed})
            end_id = end_of_turn(chat.ready)
            write_json(folder.model / "answers.json", {"answers": answers, "questions": types, "end_id": end_id})
            if frame_cache is None:
                shutil.rmtree(out / "features", ignore_errors=True)
            folder.next(f"chat model in {folder.model}", command("ask", model=out, manifest=manifest, out="answers"))
    return out


def _held_out(
    chat: "Chat",
    table: Manifest,
    split: str,
    narration: bool,
    preprocess: Preprocess,
    frame_cache: Path | None,
    out: Path,
) -> "HeldOutQuestions | None":
    """A look at the questions of a split; None where it has none or its videos cannot be read."""
    from surgvl.chat.dataset import HeldOutQuestions, held_out_rows, training_rows
    from surgvl.chat.feature_cache import FeatureCache, readable_rows, window_of
    from surgvl.train.distributed import main_process

    ids = table.video_ids(split) if split else []
    if not ids or not main_process():
        return None
    try:
        source, good = frame_store(table, ids, preprocess, frame_cache)
        rows = held_out_rows(training_rows(table, good, narration))
        windows = [window_of(row) for row in rows]
        features = FeatureCache(chat, source, windows, preprocess.num_frames, (frame_cache or out) / "features")
        rows = readable_rows(rows, features, features.problems)
    except DataError:
        return None
    for fact in [*source.problems.values(), *features.problems.values()]:
        print(f"not looked at while training: {fact}")
    return HeldOutQuestions(features, rows, out / "answers_while_training.jsonl")
