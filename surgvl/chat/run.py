"""The `tune` command: an encoder and questions in, a run folder with a `Chat` out."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from surgvl.chat.see import Seen
from surgvl.chat.tune import Tune, merge_lora
from surgvl.data.clips import Permuted
from surgvl.data.manifest import Manifest
from surgvl.errors import CheckpointError, DataError
from surgvl.io import prepare_out, write_json, write_run
from surgvl.models.chat import Chat, tiny_language_config
from surgvl.models.dual import Dual
from surgvl.models.folder import load_model, save_model
from surgvl.models.tokenizer import load_tokenizer
from surgvl.models.video_vit import VideoViT
from surgvl.parallel import main_process
from surgvl.settings import Optim, Run
from surgvl.stage import clip_source, device_name, report, seen, split_ids
from surgvl.train import fit

DESCRIBE = "What is happening in this clip?"


class Questions(Permuted):
    """Questions with their answers and the pooled tokens of their stretch; sample i is a function of (seed, i).

    Each type of question is drawn equally often, so that a type with many rows does not crowd out the others.
    """

    def __init__(self, look: Seen, rows: list[dict[str, Any]], seed: int):
        super().__init__(len(rows), seed)
        self.look = look
        self.types: dict[str, list[int]] = {}
        for number, row in enumerate(rows):
            self.types.setdefault(row["type"], []).append(number)
        self.names = sorted(self.types)
        self.rows = rows

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Sample `index`: `pooled` [V, D], `question`, `answer` and where they come from."""
        _, rng = self.draw(index)
        of_type = self.types[self.names[int(rng.integers(len(self.names)))]]
        row = self.rows[of_type[int(rng.integers(len(of_type)))]]
        return {**row, "pooled": self.look[(row["video_id"], row["start_s"], row["end_s"])]}


def collate(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Stack the pooled tokens; keep the rest as lists."""
    batch: dict[str, Any] = {key: [sample[key] for sample in samples] for key in samples[0]}
    batch["pooled"] = torch.stack(batch["pooled"])
    return batch


def language_model(name: str) -> tuple[nn.Module, Any]:
    """A causal language model and its tokenizer: `tiny` (untrained, shipped vocabulary), or a folder or hub id."""
    from transformers import AutoConfig, AutoModelForCausalLM

    if name == "tiny":
        tokenizer = load_tokenizer()
        config = tiny_language_config(tokenizer)
        empty: Any = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))  # type: ignore[no-untyped-call]
        # The fused kernel's backward pass is the slower one for short texts on a CPU (see models.video_vit.attend).
        if not torch.cuda.is_available():
            empty.set_attn_implementation("eager")
        return empty, tokenizer
    try:
        model: nn.Module = AutoModelForCausalLM.from_pretrained(name, dtype=torch.float32)
    except OSError as error:
        first = str(error).splitlines()[0]
        raise CheckpointError(f"language model {name!r} cannot be read ({first}): give a folder or a hub id") from error
    return model, load_tokenizer(name)


def training_rows(table: Manifest, ids: list[str], narration: bool) -> list[dict[str, Any]]:
    """Questions of some videos as rows; narrated sentences become answers to one open question.

    Raises:
        DataError: there are none.
    """
    rows = [
        {key: row[key] for key in ("video_id", "start_s", "end_s", "question", "answer", "type")}
        for row in table.select(ids).qa_table.to_pylist()
    ]
    if narration:
        rows += [
            {
                "video_id": row.video_id,
                # The second in its middle: closed questions look there too, and a second is looked at once.
                "start_s": float(int((row.start_s + row.end_s) / 2)),
                "end_s": float(int((row.start_s + row.end_s) / 2) + 1),
                "question": DESCRIBE,
                "answer": row.label,
                "type": "describe",
            }
            for row in table.select(ids).segments
            if row.task == "narration"
        ]
    if not rows:
        raise DataError(
            "there are no questions in this split: convert a data set with questions, or choose another --split"
        )
    return rows


def tune(
    manifest: Path,
    encoder: Path,
    out: Path,
    language: str = "tiny",
    grid: tuple[int, int, int] = (2, 4, 4),
    random_encoder: bool = False,
    projector_steps: int = 100,
    second: str = "full",
    lora_rank: int = 8,
    narration: bool = True,
    split: str = "train",
    store: Path | None = None,
    optim: Optim = Optim(lr=1e-3),  # noqa: B008 (frozen)
    run: Run = Run(batch=64),  # noqa: B008 (frozen)
    resume: bool = False,
) -> Path:
    """Teach a language model to answer questions about video.

    Args:
        manifest: manifest folder with questions.
        encoder: run folder of an aligned model or of a bare encoder; it stays frozen.
        out: run folder to write.
        language: tiny, or folder or hub id of a transformers causal language model.
        grid: visual tokens in time, height and width.
        random_encoder: random weights in the encoder's shape: the control.
        projector_steps: steps of stage 1, which trains the projector alone; run.steps counts stage 2.
        second: what stage 2 trains: full or lora (both with the projector).
        lora_rank: rank of the adapters.
        narration: narrated sentences teach the open question "What is happening in this clip?".
        split: the split to train on.
        store: folder for decoded frames; none: decode at each use.
        optim: optimiser of both stages.
        run: length and place of stage 2.
        resume: go on in a folder that is not empty.
    """
    prepare_out(out, resume or not main_process())
    table = Manifest.load(manifest)
    model, preprocess = load_model(encoder)
    tower = model.encoder if isinstance(model, Dual | Chat) else model
    torch.manual_seed(run.seed)
    if random_encoder:
        tower = VideoViT(**tower.config)  # type: ignore[arg-type]
    lm, tokenizer = language_model(language)
    chat = Chat(tower, lm, tokenizer, grid).eval()
    ids = split_ids(table, split)
    source, good = clip_source(table, ids, preprocess, store)
    rows = training_rows(table, good, narration)
    write_run(
        out,
        {},
        run.seed,
        device_name(),
        table.hash,
        [*seen(encoder), *good],
        problems=source.problems,
        second=second,
        frozen=True,
        num_trainable=sum(p.numel() for p in [*lm.parameters(), *chat.projector.parameters()]),
    )
    stretches = [(row["video_id"], row["start_s"], row["end_s"]) for row in rows]
    data = Questions(Seen(chat, source, stretches, preprocess.num_frames, out / "seen.f16"), rows, run.seed)

    if projector_steps:
        first = Run(steps=projector_steps, batch=run.batch, seed=run.seed, log_every=run.log_every)
        fit(Tune(chat, "projector"), data, collate, out / "projector", optim, first, name="tune 1/2")
    fit(Tune(chat, second, lora_rank), data, collate, out, optim, run, name="tune 2/2")
    if not main_process():
        return out
    chat.language = merge_lora(chat.language)
    save_model(chat, out / "model", preprocess)
    closed = sorted({row["answer"] for row in rows if row["type"] != "describe"})
    types = {row["question"]: row["type"] for row in rows if row["type"] != "describe"}
    write_json(out / "model" / "answers.json", {"answers": closed, "questions": types})
    (out / "seen.f16").unlink()
    print(f"chat model in {out / 'model'}; next: surgvl ask --model {out} --manifest {manifest} --out answers")
    report(list(source.problems.values()), len(ids))
    return out
