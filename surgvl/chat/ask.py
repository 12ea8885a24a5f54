"""The `ask` command: one question about a video, or all questions of a manifest."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from surgvl.chat.answer import choose, generate
from surgvl.chat.see import Seen
from surgvl.data.manifest import Manifest
from surgvl.errors import CheckpointError, ConfigError
from surgvl.io import atomic, prepare_out, read_json, write_run
from surgvl.models.chat import Chat
from surgvl.models.folder import find_model, load_model
from surgvl.stage import clip_source, report, seen, split_ids


def ask(
    model: Path,
    video: str = "",
    question: str = "",
    at_s: float | None = None,
    answers: list[str] | None = None,
    manifest: Path | None = None,
    out: Path | None = None,
    split: str = "test",
    every_s: int = 1,
    open_ended: bool = False,
    store: Path | None = None,
    device: str = "cpu",
    resume: bool = False,
) -> Path | str:
    """Ask a question about a video, or all questions of a manifest.

    Args:
        model: run folder or model folder of a chat model.
        video: a video file; give a question with it.
        question: in plain language.
        at_s: the moment in the video, seconds; the middle of the video where it is left out.
        answers: allowed answers; without them the model writes freely.
        manifest: manifest folder whose questions are to be answered; give --out with it.
        out: folder for answers.jsonl.
        split: the manifest's split.
        every_s: answer only the questions of every n-th second.
        open_ended: generate instead of choosing among the known answers.
        store: folder for decoded frames; none: decode at each use.
        device: torch device.
        resume: go on in a folder that is not empty.
    """
    if manifest is None:
        if not (video and question):
            raise ConfigError("give a video and a question, or --manifest and --out")
        from surgvl.api import ChatModel, load

        loaded = load(model, device)
        if not isinstance(loaded, ChatModel):
            raise CheckpointError(f"{model} is not a chat model: give a tune run folder")
        reply = loaded.ask(video, question, at_s=at_s, answers=answers)
        print(reply)
        return reply
    if out is None:
        raise ConfigError("--manifest needs --out: the folder for answers.jsonl")
    return answer_manifest(model, manifest, out, split, every_s, open_ended, store, device, resume)


def answer_manifest(
    model: Path,
    manifest: Path,
    out: Path,
    split: str,
    every_s: int,
    open_ended: bool,
    store: Path | None,
    device: str,
    resume: bool,
) -> Path:
    """Answer the questions of a manifest's split and write `answers.jsonl`."""
    if every_s < 1:
        raise ConfigError(f"--every_s {every_s} is below 1: give 1 or more")
    prepare_out(out, resume)
    chat, preprocess = load_model(model, device)
    if not isinstance(chat, Chat):
        raise CheckpointError(f"{model} holds a {type(chat).__name__}, not a chat model: give a tune run folder")
    table = Manifest.load(manifest)
    ids = split_ids(table, split)
    source, good = clip_source(table, ids, preprocess, store)
    rows: list[dict[str, Any]] = [
        row for row in table.select(good).qa_table.to_pylist() if int(row["start_s"]) % every_s == 0
    ]
    if not rows:
        raise ConfigError(f"split {split!r} of {manifest} has no questions: choose another --split")
    stretches = [(row["video_id"], row["start_s"], row["end_s"]) for row in rows]
    look = Seen(chat, source, stretches, preprocess.num_frames, out / "seen.f16", device)
    candidates = list(read_json(find_model(model) / "answers.json")["answers"])
    known = set(candidates)

    order: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        order.setdefault(row["question"], []).append(number)
    torch.manual_seed(0)
    with tqdm(total=len(rows), desc="answering", unit="question", disable=None, leave=False) as bar:
        for question, numbers in order.items():
            for at in range(0, len(numbers), 64):
                part = numbers[at : at + 64]
                pooled = look.stack([stretches[number] for number in part]).to(device)
                replies = generate(chat, pooled, question) if open_ended else choose(chat, pooled, question, candidates)
                for number, reply in zip(part, replies, strict=True):
                    rows[number]["prediction"] = reply
                    rows[number]["matched"] = not open_ended or reply in known or reply.replace(" ", "_") in known
                    rows[number]["mode"] = "open" if open_ended else "closed"
                bar.update(len(part))
    with atomic(out / "answers.jsonl") as path:
        keep = ("video_id", "start_s", "end_s", "question", "answer", "type", "prediction", "matched", "mode")
        path.write_text("".join(json.dumps({key: row[key] for key in keep}) + "\n" for row in rows), encoding="utf-8")
    (out / "seen.f16").unlink()
    record = find_model(model).parent / "run.json"
    facts = read_json(record) if record.is_file() else {}
    write_run(
        out,
        {},
        0,
        device,
        table.hash,
        seen(Path(model)),
        problems=source.problems,
        frozen=bool(facts.get("frozen", True)),
        num_trainable=int(facts.get("num_trainable", 0)),
    )
    right = np.mean([row["prediction"] == row["answer"] for row in rows])
    print(
        f"{len(rows)} answers ({right:.1%} right) in {out}; "
        f"next: surgvl eval --answers {out} --manifest {manifest} --out eval"
    )
    report(list(source.problems.values()), len(ids))
    return out
