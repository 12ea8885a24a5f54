"""The `judge` command: a language model marks free answers, and how far it can be trusted."""

import csv
import json
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tqdm import tqdm

from surgvl.chat.replies import Replies, reply_key
from surgvl.chat.vision_language_config import ReplyConfig
from surgvl.commands.truth import load_truth
from surgvl.core.checks import check_range
from surgvl.core.errors import ConfigError, DataError
from surgvl.core.files import atomic, command, read_json, write_json, write_text
from surgvl.core.invocation import recorded
from surgvl.core.plurals import plural
from surgvl.core.run_folder import RunFolder
from surgvl.tasks.answer_files import AnswerRow
from surgvl.tasks.imported_answers import read_all
from surgvl.tasks.judge import VERDICTS, Case, in_words, instrument, majority, verdict
from surgvl.tasks.judge_agreement import measure
from surgvl.tasks.marked_lists import COLUMNS, drawn, read_lists
from surgvl.tasks.marking_sheet import instructions, sample, write_csv, write_workbook
from surgvl.tasks.marks.base import MarkedList

VOTES = 3
_FACTS = ("frozen", "num_trainable", "protocol", "closed_by", "sent_as")
_AGREEMENT = "agreement.json"


@recorded
def judge(
    out: Path,
    server: str = "",
    answers: Path | None = None,
    controls: list[Path] | None = None,
    manifest: Path | None = None,
    split: str = "test",
    model: str = "",
    marks: list[Path] | None = None,
    num_marks: int = 0,
    to_mark: int = 0,
    votes: int = VOTES,
    reply: ReplyConfig = ReplyConfig(max_tokens=512, temperature=0.7),  # noqa: B008 (frozen)
    seed: int = 0,
    api_key: str = "",
    in_flight: int = 8,
    resume: bool = False,
) -> Path:
    """Let a language model mark free answers as correct or not, by the majority of several votes.

    Args:
        out: folder for the same answers with their marks, which `surgvl eval --answers` scores.
        server: any OpenAI-compatible address; the judge reads text only.
        answers: folder of `surgvl ask --manifest`, or its answers.jsonl; or replies that another toolkit wrote, as
            `surgvl eval --answers` takes them. Without it, only --marks are marked, to find out how good the judge is.
        controls: answers of controls, as `surgvl eval --controls` takes them, which are marked too.
        manifest: manifest folder whose questions the replies of another toolkit answer, or NAME:ROOT: a data set
            (`surgvl data list`) and its folder.
        split: split whose questions they answer.
        model: name of one of the address's models; by default, its only one.
        marks: answers that people have marked correct or incorrect, which the judge marks, too; its agreement with them
            is printed with every score. Tables (CSV, XLSX) of question,answer,prediction,mark, several for several
            people on the same answers; evouna:FOLDER, a published list; or the folder of an earlier `surgvl judge
            --marks`, whose agreement is cited. Without them, every score says that the agreement was not measured.
        num_marks: answers of each list to use, drawn by --seed; 0 for all.
        to_mark: answers to draw, by question type, as a sheet for people to mark, in place of marking; needs no server.
        votes: number of votes on an answer, odd; each has a seed of its own.
        reply: how the judge replies; its options of closed questions are not used.
        seed: random seed of the first vote, and of what is drawn.
        api_key: the server's key, or @FILE that contains it; SURGVL_API_KEY by default, which is safer.
        in_flight: maximum number of concurrent requests to the server.
        resume: continue in an --out folder that is not empty.
    """
    check_range("--votes", votes, 1)
    check_range("--num_marks", num_marks, 0)
    check_range("--to_mark", to_mark, 0)
    if votes % 2 == 0:
        raise ConfigError(f"--votes must be odd, so that there is a majority, got {votes}")
    if answers is None and (controls or not marks or to_mark):
        raise ConfigError("nothing to mark: give --answers, or --marks alone to measure the judge's agreement")
    if bool(server) == bool(to_mark):
        raise ConfigError("give either --server, whose model marks, or --to_mark, for people to mark")
    if to_mark and (marks or controls):
        raise ConfigError(
            "--to_mark draws from --answers alone: leave --marks and --controls to the run that marks them"
        )
    table = load_truth(manifest)[0] if manifest else None
    files = read_all(answers, controls or [], table, split)
    rows = [row for file in files for row in file.rows]
    about = files[0].facts if files else {}
    free = [row for row in rows if row["mode"] == "open" and row["prediction"]]
    if answers and not free:
        raise ConfigError(f"{answers} has no free answers to mark: closed and typed ones are scored without a judge")
    data_hash = str(about.get("data_hash", table.hash if table else ""))
    if to_mark:
        with RunFolder(out, resume, seed=seed) as folder:
            folder.record(data_hash, about.get("pretraining_video_ids", []))
            asked = {"answers": answers, **({"manifest": manifest, "split": split} if manifest else {})}
            folder.next(*_write_sheet(folder.path, rows, to_mark, seed, command("judge", **asked)))
        return out

    # Imports the client's packages, which help and usage errors do without.
    from surgvl.serve.abilities import renamed_fields
    from surgvl.serve.endpoint import Endpoint, reply_of, text_message

    lists, earlier = _lists(marks or [])
    wholes = [sum(any(row.marks) for row in each.rows) for each in lists]
    lists = [drawn(each, num_marks, seed) for each in lists]
    with RunFolder(out, resume, seed=seed) as folder:
        address = Endpoint(server, api_key, model, reply.limit_s, reply.retries, in_flight)
        sampling = reply.sampling(seed)
        measured_by = instrument(address.model, votes, {name: sampling[name] for name in sampling if name != "seed"})
        cited = [words for path in earlier for words in _cited(path, measured_by)]
        renames, replies = renamed_fields(address, reply), Replies(folder.path / "replies.jsonl")
        cases = [_case(row) for row in free] + [row.case for each in lists for row in each.rows if any(row.marks)]

        def vote(case: Case, number: int) -> str:
            sampling = reply.sampling(seed + number)
            key = reply_key(address.model, case.prompt, "judge", sampling)
            if key not in replies:
                named = {renames.get(name, name): value for name, value in sampling.items()}
                body = {"messages": text_message([{"type": "text", "text": case.prompt}])}
                got = address.complete(body | {name: value for name, value in named.items() if name}, reply_of)
                replies.add(key, got, {"prompt": case.prompt, "sampling": sampling})
            return verdict(replies[key].text)

        found = _polled(list(dict.fromkeys(cases)), votes, vote, in_flight)
        agreements = [
            measure(each, [found.get(row.case, "") for row in each.rows], num)
            for each, num in zip(lists, wholes, strict=True)
        ]
        if answers:
            rows = [
                row | {"judged": found[_case(row)] if row["prediction"] else ""} if row["mode"] == "open" else row
                for row in rows
            ]
            with atomic(folder.path / "answers.jsonl") as path:
                path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        if lists:
            _write_marked(folder.path / "marked.csv", lists, found)
            values = [each.as_json for each in agreements]
            write_json(folder.path / _AGREEMENT, {"judge": measured_by, "seed": seed, "lists": values})
        words = in_words(
            address.model, str(about.get("model", "")), votes, [*(each.in_words for each in agreements), *cited]
        )
        own = {"model": address.model, "votes": votes, "protocol": words}
        facts = {name: about[name] for name in _FACTS if name in about}
        folder.record(data_hash, about.get("pretraining_video_ids", []), **facts, judge=own)
        print(words)
        for each in agreements:
            for reason, count in each.left_out.items():
                print(f"{each.name}: {count:,} left out ({reason})")
        said = [found[_case(row)] for row in free] if answers else [found[case] for case in cases]
        after = command("eval", answers=folder.path, manifest=manifest or "manifest", out="eval")
        if not answers:
            after = command("judge", answers="answers", server=server, marks=folder.path, out="judged")
        folder.next(f"{_counts(said)} in {folder.path}", after)
    return out


def _case(row: AnswerRow) -> Case:
    return Case(row["question"], row["answer"], row["prediction"])


def _polled(cases: Sequence[Case], votes: int, vote: Callable[[Case, int], str], in_flight: int) -> dict[Case, str]:
    """What the majority says of each answer."""
    from surgvl.serve.in_flight import in_order

    polls = [(case, number) for case in cases for number in range(votes)]
    voted = in_order(lambda poll: vote(*poll), polls, in_flight)
    said = list(tqdm(voted, desc="marking", unit="vote", total=len(polls), disable=None, leave=False))
    return {case: majority(said[at * votes : (at + 1) * votes]) for at, case in enumerate(cases)}


def _lists(marks: Sequence[Path]) -> tuple[list[MarkedList], list[Path]]:
    """Lists to be marked, and folders of agreements that were measured before."""
    earlier = [path for path in marks if path.is_dir()]
    if lacks := [path for path in earlier if not (path / _AGREEMENT).is_file()]:
        raise DataError(f"{lacks[0]} has no {_AGREEMENT}: give a file, evouna:FOLDER, or an --out of `judge --marks`")
    return read_lists([path for path in marks if path not in earlier]), earlier


def _cited(path: Path, judge: dict[str, Any]) -> list[str]:
    """An agreement that was measured before, in words, if the judge is the same.

    Raises:
        DataError: it is not, or the file does not hold one.
    """
    found = read_json(path / _AGREEMENT)
    try:
        before, words = dict(found["judge"]), [str(each["in_words"]) for each in found["lists"]]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path / _AGREEMENT} does not hold an agreement: measure it again") from error
    for name, value in judge.items():
        if before.get(name) != value:
            raise DataError(
                f"{path} was measured with {name} {before.get(name)}, and this judge has {value}: "
                "an agreement is that of one judge; measure this one, or set it alike"
            )
    return words


def _write_sheet(folder: Path, rows: Sequence[AnswerRow], num: int, seed: int, again: str) -> tuple[str, str]:
    """Write answers for people to mark; returns what was made, and the next command."""
    if (folder / "to_mark.csv").exists():
        raise ConfigError(f"{folder} has a sheet, which may hold marks: give another --out")
    chosen = sample(rows, num, seed)
    if not chosen:
        raise ConfigError("--answers has no free answer to its own videos: controls are not for people to mark")
    write_csv(folder / "to_mark.csv", chosen)
    if find_spec("openpyxl"):
        write_workbook(folder / "to_mark.xlsx", chosen)
    after = f"{again} --server http://127.0.0.1:8000 --marks ann.csv ben.csv --out judged"
    write_text(folder / "instructions.md", instructions(len(chosen), after))
    types = len({kind for kind, _ in chosen})
    return f"{plural(len(chosen), 'answer')} of {plural(types, 'question type')} to mark in {folder}", after


def _write_marked(path: Path, lists: Sequence[MarkedList], found: dict[Case, str]) -> None:
    """Write marked.csv: a row for each mark of a person, with that of the judge."""
    with atomic(path) as new, new.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["list", *COLUMNS, "judged"])
        for each in lists:
            marks = [(row.case, mark) for row in each.rows for mark in row.marks if mark]
            writer.writerows([each.name, *case, mark, found[case]] for case, mark in marks)


def _counts(verdicts: Sequence[str]) -> str:
    """How many answers have which mark."""
    known = [(verdicts.count(mark), mark) for mark in VERDICTS]
    unsure = len(verdicts) - sum(count for count, _ in known)
    parts = ", ".join(f"{count:,} {mark}" for count, mark in [*known, (unsure, "without a verdict")])
    return f"{plural(len(verdicts), 'answer')}: {parts}"
