"""All questions of a manifest's split: which are asked and how, and what is written."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from surgvl.commands.common import split_ids, split_store
from surgvl.core.checks import check_range
from surgvl.core.errors import ConfigError
from surgvl.core.files import atomic, command
from surgvl.core.operations import UNKNOWN
from surgvl.core.plurals import plural
from surgvl.core.run_folder import RunFolder
from surgvl.data.manifest import Manifest
from surgvl.data.tables import is_open
from surgvl.metrics.answer_types.base import is_typed, type_of
from surgvl.metrics.outcomes import PROBLEMS, in_words
from surgvl.metrics.outcomes import counted as counted_outcomes
from surgvl.prompts import wordings as wording_sets

# Modules that import torch are imported where they are used, so that help and usage errors need none.
if TYPE_CHECKING:
    from surgvl.chat.answerer import Answerer
    from surgvl.chat.question_rows import QuestionRow


@dataclass(frozen=True, kw_only=True)
class AskConfig:
    """Which questions of a manifest are answered, and how.

    Args:
        split: split of the manifest.
        every_s: answer only the questions about every n-th second.
        open_ended: generate instead of choosing among the known answers.
        controls: answer each question again about a black video and about another video of the split, and with a
            general model also without a video and with the options in another order; eval prints these scores next to
            the others, which exposes a model that ignores the video.
        only_control: answer about this control video only.
        wordings: put each closed question to a general model in other wordings too, and with its options in other
            orders: the name of a set of wordings that ships (plain), or your own YAML file; eval prints what this
            changes.
    """

    split: str = "test"
    every_s: int = 1
    open_ended: bool = False
    controls: bool = False
    only_control: Literal["none", "no_video", "black", "other"] = "none"
    wordings: str = ""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: a number is out of range, or two options exclude each other.
        """
        check_range("--questions.every_s", self.every_s, 1)
        if self.controls and self.only_control != "none":
            raise ConfigError(f"--questions.only_control must be none with --controls, got {self.only_control!r}")
        if self.wordings and (self.open_ended or self.only_control != "none"):
            other = "--open_ended" if self.open_ended else "--only_control"
            raise ConfigError(f"--wordings puts closed questions about their own video: leave {other} out")


def answer_manifest(
    answerer: "Answerer",
    folder: RunFolder,
    manifest: Path,
    config: AskConfig,
    frame_cache: Path | None,
    seed: int,
) -> Path:
    """Answer the questions of a manifest's split and write `answers.jsonl`.

    A classification head and a video-text model answer closed questions only.
    """
    from surgvl.chat.answer_rows import answer_rows, unread_row
    from surgvl.chat.controls import BLACK, WithBlack, variant, variant_names
    from surgvl.chat.question_rows import readable_rows, window_of
    from surgvl.metrics.answer_options import options_of

    kinds: list[str] = ["" if config.only_control == "none" else config.only_control]
    kinds += answerer.controls if config.controls else ()
    if kinds[0] and kinds[0] not in answerer.controls:
        raise ConfigError(f"--only_control {kinds[0]} needs a general vision-language model: choose black or other")
    wordings = wording_sets.load(config.wordings) if config.wordings else None
    if wordings and not answerer.takes_options:
        raise ConfigError("--wordings needs a general vision-language model: this one was tuned on one wording")
    if config.open_ended and not answerer.can_write:
        raise ConfigError("--open_ended needs a model that generates text, and this one only chooses: leave it out")
    out, folder.device = folder.path, answerer.device
    table = Manifest.load(manifest)
    store, good = split_store(folder, table, config.split, answerer.preprocess, frame_cache)
    everything = select_questions(
        table, split_ids(table, config.split), config.every_s, closed_only=not answerer.can_write
    )
    ready = set(good)
    rows = [row for row in everything if row["video_id"] in ready]
    if wordings:
        closed = {type_of(row["type"]).name for row in everything if not is_open(row["type"])}
        kinds += [name for name in variant_names(wordings, closed) if name not in kinds]
    if not rows:
        raise ConfigError(f"split {config.split!r} of {manifest} has no questions: choose another --split")
    features = (frame_cache or out) / "features"
    windows = [*map(window_of, rows), *([BLACK] if "black" in kinds else [])]
    rows = readable_rows(rows, answerer.prepare(WithBlack(store), windows, features), store.problems)
    options = options_of(table.qa_table.to_pydict()) if answerer.takes_options else None
    answered = answer_rows(answerer, rows, kinds, config.open_ended, seed, options, wordings=wordings)
    read = {id(row) for row in rows}
    for row in everything:
        if id(row) not in read:
            free, of_type = config.open_ended or is_open(row["type"]), type_of(row["type"])
            mode = "typed" if is_typed(row["type"]) else "open" if free else answerer.mode
            put = "open" if free else of_type.name, wordings, of_type.takes_options
            answered += [unread_row(row, kind, mode) for kind in kinds if variant(kind, *put) is not None]
    write_answers(answered, out)
    if frame_cache is None:
        shutil.rmtree(features, ignore_errors=True)
    facts = answerer.training
    about = {name: value for name, value in facts.items() if name != "pretraining_video_ids"}
    about["protocol"] = answerer.preprocess.protocol
    about["outcomes"] = counted_outcomes(row["outcome"] for row in answered if row["ablated"] == kinds[0])
    if wordings:
        about["wordings"] = {"name": wordings.name, "version": wordings.version, "hash": wordings.hash}
    seen = facts.get("pretraining_video_ids", [UNKNOWN])
    folder.record(table.hash, seen, **about, **answerer.facts)
    if any(row["prediction"] for row in answered) and all(row["confidence"] is None for row in answered):
        print("this answerer does not say how sure it is, so that calibration cannot be measured")
    if UNKNOWN in seen:
        print("the model does not record its training videos: videos of this split may be among them")
    folder.next(f"{summary(answered)} in {out}", next_command(out, manifest, kinds))
    return out


_SHOWN = {
    "no_video": "without a video",
    "black": "with a black video",
    "other": "with another video",
    "example": "with an example",
}


def select_questions(
    table: Manifest, video_ids: Sequence[str], every_s: int, closed_only: bool = False
) -> "list[QuestionRow]":
    """Questions about every n-th second of some videos; `closed_only` leaves out, and counts, free answers."""
    rows = table.select(list(video_ids)).qa_table.to_pylist()
    rows = [row for row in rows if int(row["start_s"]) % every_s == 0]
    kept = [row for row in rows if not (closed_only and is_open(row["type"]))]
    if len(kept) < len(rows):
        free = plural(len(rows) - len(kept), "question")
        print(f"{free} with free-text answers left out: this model cannot generate text")
    return kept


def write_answers(answered: "Sequence[QuestionRow]", out: Path) -> None:
    """Write answers.jsonl, one row a line."""
    with atomic(out / "answers.jsonl") as path:
        path.write_text("".join(json.dumps(row) + "\n" for row in answered), encoding="utf-8")


def summary(answered: "Sequence[QuestionRow]") -> str:
    """How many answers there are, and how many are right with each video."""
    shares = []
    for kind in dict.fromkeys(row["ablated"] for row in answered):
        rows = [row for row in answered if row["ablated"] == kind]
        outcomes = [row["outcome"] for row in rows]
        named = f" {_SHOWN.get(kind, f'in {kind}')}" if kind else ""
        shares.append(f"{outcomes.count('correct') / len(rows):.1%} right{named}")
        if any(each in PROBLEMS for each in outcomes):
            shares[-1] += f": {in_words(outcomes)}"
    return f"{plural(len(answered), 'answer')} ({', '.join(shares)})"


def next_command(out: Path, manifest: Path, kinds: Sequence[str]) -> str:
    """What to type after these answers."""
    if "" in kinds:
        return command("eval", answers=out, manifest=manifest, out="eval")
    return command("eval", answers="ANSWERS", controls=out, manifest=manifest, out="eval")
