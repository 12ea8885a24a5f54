"""The `tune` command: from an encoder and questions to a run folder with a chat model."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from surgvl.chat.config import TuningStages, VisualTokens
from surgvl.chat.vision_language_config import ClipInput
from surgvl.commands.common import device_name, frame_store, split_store
from surgvl.commands.tune_vision_language import tune_vision_language
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

# Modules that import torch are imported where they are used, so that help and usage errors need none.
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
    from surgvl.models.store import stored_hub
    from surgvl.models.tokenizer import HuggingFaceTokenizer, SentencePieceTokenizer

    if name == "tiny":
        tokenizer = SentencePieceTokenizer()
        config = tiny_language_config(tokenizer)
        empty: Any = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))
        # The fused kernel's backward pass is the slower one for short texts on a CPU (see `models.vit.attend`).
        if not torch.cuda.is_available():
            empty.set_attn_implementation("eager")
        return empty, tokenizer
    place = stored_hub(name)
    with foreign(f"language model {name!r} cannot be read", "give a folder of safetensors, or a hub id"):
        bounded(AutoConfig.from_pretrained(place, trust_remote_code=False).to_dict())
        model: nn.Module = AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32, trust_remote_code=False)
    check_finite(model.state_dict(), name)
    return model, HuggingFaceTokenizer(str(place))


@recorded
def tune(
    manifest: Path,
    out: Path,
    encoder: Path | None = None,
    language: str = "tiny",
    tokens: VisualTokens = VisualTokens(),  # noqa: B008 (frozen)
    stages: TuningStages = TuningStages(),  # noqa: B008 (frozen)
    random_encoder: bool = False,
    narration: bool = True,
    weights: dict[str, float] | None = None,
    split: str = "train",
    held_out: str = "val",
    frame_cache: Path | None = None,
    optim: Optim = Optim(lr=1e-3),  # noqa: B008 (frozen)
    run: Run = Run(batch=64),  # noqa: B008 (frozen)
    resume: bool = False,
    model: str = "",
    clip: ClipInput = ClipInput(),  # noqa: B008 (frozen)
) -> Path:
    """Teach a language model to answer questions about video.

    Args:
        manifest: manifest folder with questions.
        out: run folder to write.
        encoder: run folder of a video-text model or of a video encoder; the encoder is frozen except in stage 3.
        language: tiny, or the folder or hub id of a causal language model of transformers.
        tokens: how the encoder's tokens become visual tokens of the language model.
        stages: stages of tuning: the projector, then the language model (run.steps), then all.
        random_encoder: use the encoder's shape with random weights: the control that shows the gain of pretraining.
        narration: use narrated sentences as answers to the open question "What is happening in this clip?".
        weights: share of the draws of each source of questions; by default, all types of questions are drawn equally.
        split: split to train on.
        held_out: split whose questions are answered during training, to monitor it; empty for none.
        frame_cache: folder to cache decoded frames and the encoder's tokens in; by default, no cache.
        optim: optimizer of all stages.
        run: length of stage 2, and devices.
        resume: continue in an --out folder that is not empty.
        model: hf: and the folder or hub id of a vision-language model of transformers, in place of --encoder and
            --language: LoRA adapters of its language model (--lora_rank) are trained for run.steps; its vision tower
            and projector are frozen.
        clip: what such a model is shown.
    """
    if bool(model) == (encoder is not None):
        raise ConfigError("give --encoder, a run folder of `surgvl align` or `pretrain`, or --model hf:ID: one of them")
    if encoder is None:
        own = {
            "--random_encoder": random_encoder,
            "--language": language != "tiny",
            "--stages.finetune": stages.finetune == "head",
            "--stages.encoder_steps": stages.encoder_steps > 0,
        }
        if wrong := [flag for flag, is_given in own.items() if is_given]:
            raise ConfigError(
                f"{' and '.join(wrong)} cannot be given with --model {model}, of which only LoRA adapters are trained: "
                "leave it out, or give --encoder"
            )
        given = manifest, model, out, clip, stages, narration, weights, split, frame_cache, optim, run, resume
        return tune_vision_language(*given)
    import torch

    from surgvl.chat.dataset import QuestionDataset, collate, training_rows
    from surgvl.chat.feature_cache import FeatureCache
    from surgvl.chat.head import AnswerHead, HeadTune, save_head
    from surgvl.chat.question_rows import readable_rows, window_of
    from surgvl.chat.template import end_of_turn
    from surgvl.chat.tune import Tune, merge_lora
    from surgvl.models.chat import Chat
    from surgvl.models.checkpoint import load_model, save_model, video_encoder
    from surgvl.models.vit import VideoViT
    from surgvl.train.distributed import main_process
    from surgvl.train.loop import fit

    with RunFolder(out, resume, seed=run.seed, device=device_name(), writes=main_process()) as folder:
        table = Manifest.load(manifest)
        given_model, preprocess = load_model(encoder)
        tower = video_encoder(given_model, encoder)
        torch.manual_seed(run.seed)
        if random_encoder:
            tower = VideoViT(tower.config)
        lm, tokenizer = language_model(language)
        chat = Chat.of(tower, lm, tokenizer, tokens.projector_config(), preprocess)
        chat.train(False)
        store, good = split_store(folder, table, split, preprocess, frame_cache)
        rows = training_rows(table, good, narration)
        closed = [row for row in rows if not is_open(row["type"])]
        head = AnswerHead.of(chat, sorted({row["answer"] for row in closed})) if stages.finetune == "head" else None
        trained: list[nn.Module] = [
            lm,
            chat.projector,
            *([tower] if stages.encoder_steps else []),
            *([head] if head else []),
        ]
        folder.record(
            table.hash,
            [*([] if random_encoder else pretraining_video_ids(encoder)), *table.qualified(good)],
            second=stages.finetune,
            frozen=not stages.encoder_steps,
            random_encoder=random_encoder,
            num_trainable=sum(p.numel() for module in trained for p in module.parameters()),
        )
        windows = [window_of(row) for row in rows]
        features = FeatureCache(chat, store, windows, (frame_cache or out) / "features")
        store.problems |= features.problems
        readable = readable_rows(rows, features, features.problems)
        data = QuestionDataset(features, store, readable, run.seed, weights)
        monitor = (
            _held_out(chat, table, held_out, narration, preprocess, frame_cache, out) if held_out != split else None
        )

        def train(
            what: str, at: Path, steps: int, name: str, of: QuestionDataset, monitor: "HeldOutQuestions | None"
        ) -> None:
            settings = replace(run, steps=steps) if steps != run.steps else run
            tuned = Tune(chat, what, stages.lora_rank, stages.max_tokens, stages.pack, monitor)
            store.problems.update(fit(tuned, of, collate, at, optim, settings, name=name))

        num_stages = 3 if stages.encoder_steps else 2
        if stages.projector_steps:
            train("projector", out / "projector", stages.projector_steps, f"tune 1/{num_stages}", data, None)
        if head is not None:
            known = [row for row in readable if not is_open(row["type"])]
            choices = QuestionDataset(features, store, known, run.seed, weights)
            fit(HeadTune(chat, head), choices, collate, out, optim, run, name=f"tune 2/{num_stages}")
        else:
            train(stages.finetune, out, run.steps, f"tune 2/{num_stages}", data, monitor)
        chat.language = merge_lora(chat.language)
        if stages.encoder_steps:
            clips = QuestionDataset(None, store, readable, run.seed, weights)
            train("encoder", out / "encoder", stages.encoder_steps, "tune 3/3", clips, None)
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
    """Questions of a split to monitor training with; None if there are none or the videos cannot be read."""
    from surgvl.chat.dataset import HeldOutQuestions, held_out_rows, training_rows
    from surgvl.chat.feature_cache import FeatureCache
    from surgvl.chat.question_rows import readable_rows, window_of
    from surgvl.train.distributed import main_process

    ids = table.video_ids(split) if split else []
    if not ids or not main_process():
        return None
    try:
        store, good = frame_store(table, ids, preprocess, frame_cache)
        rows = held_out_rows(training_rows(table, good, narration))
        windows = [window_of(row) for row in rows]
        features = FeatureCache(chat, store, windows, (frame_cache or out) / "features")
        rows = readable_rows(rows, features, features.problems)
    except DataError:
        return None
    for fact in [*store.problems.values(), *features.problems.values()]:
        print(f"not used to monitor training: {fact}")
    return HeldOutQuestions(features, rows, out / "answers_while_training.jsonl")
