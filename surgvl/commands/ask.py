"""The `ask` command: one question about a video, or all questions of a manifest."""

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from surgvl.commands.common import split_source
from surgvl.core.errors import CheckpointError, ConfigError
from surgvl.core.files import atomic, command
from surgvl.core.invocation import recorded
from surgvl.core.plurals import plural
from surgvl.core.run_folder import RunFolder
from surgvl.core.times import clock, seconds
from surgvl.data.manifest import Manifest
from surgvl.data.tables import is_open
from surgvl.metrics.answer import exact_match
from surgvl.models.model_info import find_model, load_answers, training_record
from surgvl.video import probe
from surgvl.video.clip import Preprocess, clip_start
from surgvl.video.marks import counted

# What brings torch is imported where it is used: help and typing errors do without.
if TYPE_CHECKING:
    from surgvl.api import ChatModel
    from surgvl.chat.answerers import Engine, Row
    from surgvl.models.chat import Chat
    from surgvl.serve.remote import RemoteChat


@recorded
def ask(
    model: Path | None = None,
    video: str = "",
    question: str = "",
    at_s: str | float | None = None,
    answers: list[str] | None = None,
    manifest: Path | None = None,
    out: Path | None = None,
    split: str = "test",
    every_s: int = 1,
    open_ended: bool = False,
    controls: bool = False,
    ablate: Literal["none", "black", "other"] = "none",
    frame_cache: Path | None = None,
    device: str = "cpu",
    seed: int = 0,
    resume: bool = False,
    server: str = "",
    api_key: str = "",
    in_flight: int = 8,
) -> Path | str:
    """Ask a question about a video, or all questions of a manifest.

    Args:
        model: run folder or model folder of a chat model; or give --server, or both to have them compared.
        video: a video file; give a question with it.
        question: in plain language.
        at_s: the moment in the video, as seconds, m:ss or h:mm:ss; the middle of the video where it is left out.
        answers: allowed answers; without them the model writes freely.
        manifest: manifest folder whose questions are to be answered; give --out with it.
        out: folder for answers.jsonl.
        split: the manifest's split.
        every_s: answer only the questions of every n-th second.
        open_ended: generate instead of choosing among the known answers.
        controls: answer each question twice more, with a black video and with another video of the split; eval prints
            these scores beside the others, so that a model that ignores the picture is seen.
        ablate: answer with that other video only.
        frame_cache: folder for decoded frames and the encoder's tokens of clips; none: decode at each use.
        device: torch device.
        seed: of the draws of other videos.
        resume: continue in an --out folder that already holds results.
        server: address of `surgvl serve` with a chat model, which answers in place of this process.
        api_key: the server's key, or @FILE that holds it; SURGVL_API_KEY, which is better, where it is left out.
        in_flight: most requests to the server at a time.
    """
    remote = None
    if server:
        from surgvl.serve.client import Server
        from surgvl.serve.remote import RemoteChat

        remote = RemoteChat(Server(server, api_key, in_flight=in_flight))
        if model is not None:
            remote.check(model)
    elif model is None:
        raise ConfigError("give --model, a run folder of `surgvl tune`, or --server, the address of `surgvl serve`")
    if manifest is None:
        if not (video and question):
            raise ConfigError("give a video and a question, or --manifest and --out")
        if out is not None:
            raise ConfigError(f"--out {out} is for the answers to a manifest's questions: leave it out, or --manifest")
        moment_s = None if at_s is None else seconds(at_s, "--at_s")
        answerer = remote or _loaded(model, device)
        with counted() as marks:
            reply = answerer.ask(video, question, at_s=moment_s, answers=answers)
        print(reply)
        # Beside the answer, which alone is what a script reads.
        print(_looked_at(video, moment_s, answerer.preprocess), *marks.lines(), sep="\n", file=sys.stderr)
        if not reply.strip():
            print("the model answered with an empty text: give allowed answers with --answers", file=sys.stderr)
        return reply
    if out is None:
        raise ConfigError("--manifest needs --out: the folder for answers.jsonl")
    if controls and ablate != "none":
        raise ConfigError(
            f"--controls true answers with every other video, and with its own: leave out --ablate {ablate}"
        )
    from surgvl.chat.controls import KINDS

    kinds = ("", *KINDS) if controls else ("" if ablate == "none" else ablate,)
    return answer_manifest(
        model, manifest, out, split, every_s, open_ended, kinds, frame_cache, device, seed, resume, remote
    )


def _looked_at(video: str, moment_s: float | None, preprocess: Preprocess) -> str:
    """Which part of a video an answer is about."""
    duration_s = probe(video).duration_s
    centre_s = duration_s / 2 if moment_s is None else moment_s
    start_s = clip_start(centre_s, preprocess.clip_s, duration_s)
    end_s = min(start_s + preprocess.clip_s, duration_s)
    middle = ", the middle of the video; --at_s chooses another moment" if moment_s is None else ""
    return f"looked at {clock(start_s)} to {clock(end_s)}{middle}"


def _loaded(model: Path | None, device: str) -> "ChatModel":
    from surgvl.api import ChatModel, load

    assert model is not None
    loaded = load(model, device)
    if not isinstance(loaded, ChatModel):
        raise CheckpointError(f"{model} is not a chat model: give a tune run folder")
    return loaded


def answer_manifest(
    model: Path | None,
    manifest: Path,
    out: Path,
    split: str,
    every_s: int,
    open_ended: bool,
    kinds: Sequence[str],
    frame_cache: Path | None,
    device: str,
    seed: int,
    resume: bool,
    remote: "RemoteChat | None" = None,
) -> Path:
    """Answer the questions of a manifest's split and write `answers.jsonl`.

    A model that was tuned with a classification head answers by it, and only closed questions. A server answers by its
    chat model, and tells what that was trained on where its folder says so.
    """
    if every_s < 1:
        raise ConfigError(f"--every_s {every_s} is below 1: give 1 or more")
    import torch

    from surgvl.chat.answerers import HeadEngine, LocalEngine, answer_rows
    from surgvl.chat.controls import BLACK, WithBlack
    from surgvl.chat.feature_cache import Seen
    from surgvl.chat.head import has_head, load_head

    at = device if remote is None else remote.server.url
    with RunFolder(out, resume, seed=seed, device=at) as folder:
        path = None if model is None else find_model(model)
        chat, head = None, None
        if remote is not None:
            preprocess, candidates = remote.preprocess, remote.known_answers()
        else:
            assert model is not None
            assert path is not None
            chat, preprocess = load_chat(model, device)
            head = load_head(chat, path, device) if has_head(path) else None
            candidates = load_answers(path).answers
        if head is not None and open_ended:
            raise ConfigError(
                f"{model} was tuned with a classification head, which cannot write: leave out --open_ended"
            )
        table = Manifest.load(manifest)
        source, good = split_source(folder, table, split, preprocess, frame_cache)
        rows = questions(table, good, every_s, closed_only=head is not None)
        if not rows:
            raise ConfigError(f"split {split!r} of {manifest} has no questions: choose another --split")
        engine: Engine
        features = (frame_cache or out) / "features"
        if remote is not None:
            engine = remote.engine(WithBlack(source))
        else:
            assert chat is not None
            stretches = [(row["video_id"], row["start_s"], row["end_s"]) for row in rows]
            shown = [*stretches, BLACK] if "black" in kinds else stretches
            look = Seen(chat, WithBlack(source), shown, preprocess.num_frames, features)
            source.problems |= look.problems
            rows = look.readable(rows)
            engine = LocalEngine(chat, look, device) if head is None else HeadEngine(chat, head, look, device)
        torch.manual_seed(seed)
        mode = "closed" if head is None else "head"
        answered = answer_rows(engine, rows, candidates, kinds, open_ended, mode, seed)
        write_answers(answered, out)
        if frame_cache is None:
            shutil.rmtree(features, ignore_errors=True)
        facts = training_record(path) if path else remote.trained if remote else {}
        about = {name: value for name, value in facts.items() if name != "pretraining_video_ids"}
        folder.record(table.hash, facts.get("pretraining_video_ids", []), **about)
        if not facts:
            print("what the model was trained on is not recorded: a video of this split may have been among it")
        folder.next(f"{summary(answered)} in {out}", next_command(out, manifest, kinds))
    return out


def load_chat(model: Path, device: str) -> "tuple[Chat, Preprocess]":
    """A chat model and how it takes clips.

    Raises:
        CheckpointError: the folder holds another model, or none.
    """
    from surgvl.models.chat import Chat
    from surgvl.models.checkpoint import load_model

    chat, preprocess = load_model(model, device)
    if not isinstance(chat, Chat):
        raise CheckpointError(f"{model} holds a {type(chat).__name__}, not a chat model: give a tune run folder")
    return chat, preprocess


def questions(table: Manifest, video_ids: Sequence[str], every_s: int, closed_only: bool = False) -> "list[Row]":
    """Questions about every n-th second of some videos; those with free answers are left out on demand, and counted."""
    rows = table.select(list(video_ids)).qa_table.to_pylist()
    rows = [row for row in rows if int(row["start_s"]) % every_s == 0]
    kept = [row for row in rows if not (closed_only and is_open(row["type"]))]
    if len(kept) < len(rows):
        free = plural(len(rows) - len(kept), "question")
        print(f"{free} with free answers left out: a classification head cannot write")
    return kept


def write_answers(answered: "Sequence[Row]", out: Path) -> None:
    """Write answers.jsonl, one row a line."""
    with atomic(out / "answers.jsonl") as path:
        path.write_text("".join(json.dumps(row) + "\n" for row in answered), encoding="utf-8")


def summary(answered: "Sequence[Row]") -> str:
    """How many answers there are, and how many are right with each video."""
    shares = []
    for kind in dict.fromkeys(row["ablated"] for row in answered):
        rows = [row for row in answered if row["ablated"] == kind]
        right = exact_match([row["answer"] for row in rows], [row["prediction"] for row in rows]).mean()
        shares.append(
            f"{right:.1%} right" + (f" with {'a black' if kind == 'black' else 'another'} video" if kind else "")
        )
    return f"{plural(len(answered), 'answer')} ({', '.join(shares)})"


def next_command(out: Path, manifest: Path, kinds: Sequence[str]) -> str:
    """What to type after these answers."""
    if "" in kinds:
        return command("eval", answers=out, manifest=manifest, out="eval")
    return command("eval", answers="ANSWERS", ablated=out, manifest=manifest, out="eval")
