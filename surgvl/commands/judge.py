"""The `judge` command: a language model marks free answers, and how far it can be trusted."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

from surgvl.chat.judge import COLUMNS, VERDICTS, Case, agreement, facts_of, majority, read_marks, verdict
from surgvl.chat.replies import Replies, reply_key
from surgvl.chat.vision_language_config import ReplyConfig
from surgvl.commands.truth import load_truth
from surgvl.core.checks import check_range
from surgvl.core.errors import ConfigError
from surgvl.core.files import atomic, command
from surgvl.core.invocation import recorded
from surgvl.core.plurals import plural
from surgvl.core.run_folder import RunFolder
from surgvl.tasks.answer_files import AnswerRow
from surgvl.tasks.imported_answers import read_all

VOTES = 3
_FACTS = ("frozen", "num_trainable", "protocol", "closed_by", "sent_as")


@recorded
def judge(
    server: str,
    out: Path,
    answers: Path | None = None,
    controls: list[Path] | None = None,
    manifest: Path | None = None,
    split: str = "test",
    model: str = "",
    marks: Path | None = None,
    votes: int = VOTES,
    reply: ReplyConfig = ReplyConfig(max_tokens=512, temperature=0.7),  # noqa: B008 (frozen)
    seed: int = 0,
    api_key: str = "",
    in_flight: int = 8,
    resume: bool = False,
) -> Path:
    """Let a language model mark free answers as correct or not, by the majority of several votes.

    Args:
        server: any OpenAI-compatible address; the judge reads text only.
        out: folder for the same answers with their marks, which `surgvl eval --answers` scores.
        answers: folder of `surgvl ask --manifest`, or its answers.jsonl; or replies that another toolkit wrote, as
            `surgvl eval --answers` takes them. Without it, only --marks are marked, to find out how good the judge is.
        controls: answers of controls, as `surgvl eval --controls` takes them, which are marked too.
        manifest: manifest folder whose questions the replies of another toolkit answer, or NAME:ROOT: a data set
            (`surgvl data list`) and its folder.
        split: split whose questions they answer.
        model: name of one of the address's models; by default, its only one.
        marks: CSV file of question,answer,prediction,mark that a person has marked correct or incorrect; the judge
            marks these too, and its agreement with the person (per cent and Cohen's kappa) is printed with every score;
            marked.csv has the marks of both. Without it, every score says that the agreement was not measured.
        votes: number of votes on an answer, odd; each has a seed of its own.
        reply: how the judge replies; its options of closed questions are not used.
        seed: random seed of the first vote.
        api_key: the server's key, or @FILE that contains it; SURGVL_API_KEY by default, which is safer.
        in_flight: maximum number of concurrent requests to the server.
        resume: continue in an --out folder that is not empty.
    """
    check_range("--votes", votes, 1)
    if votes % 2 == 0:
        raise ConfigError(f"--votes must be odd, so that there is a majority, got {votes}")
    if answers is None and (controls or marks is None):
        raise ConfigError("nothing to mark: give --answers, or --marks alone to measure the judge's agreement")
    # Imports the client's packages, which help and usage errors do without.
    from surgvl.serve.abilities import renamed_fields
    from surgvl.serve.endpoint import Endpoint, reply_of, text_message
    from surgvl.serve.in_flight import in_order

    table = load_truth(manifest)[0] if manifest else None
    files = read_all(answers, controls or [], table, split)
    rows = [row for file in files for row in file.rows]
    about = files[0].facts if files else {}
    marked = read_marks(marks) if marks else []
    free = [row for row in rows if row["mode"] == "open" and row["prediction"]]
    if answers and not free:
        raise ConfigError(f"{answers} has no free answers to mark: closed and typed ones are scored without a judge")
    with RunFolder(out, resume, seed=seed) as folder:
        address = Endpoint(server, api_key, model, reply.limit_s, reply.retries, in_flight)
        renames, replies = renamed_fields(address, reply), Replies(folder.path / "replies.jsonl")
        cases = list(dict.fromkeys([*(_case(row) for row in free), *(case for case, _ in marked)]))

        def vote(case: Case, number: int) -> str:
            sampling = reply.sampling(seed + number)
            key = reply_key(address.model, case.prompt, "judge", sampling)
            if key not in replies:
                named = {renames.get(name, name): value for name, value in sampling.items()}
                body = {"messages": text_message([{"type": "text", "text": case.prompt}])}
                got = address.complete(body | {name: value for name, value in named.items() if name}, reply_of)
                replies.add(key, got, {"prompt": case.prompt, "sampling": sampling})
            return verdict(replies[key].text)

        polls = [(case, number) for case in cases for number in range(votes)]
        said = list(in_order(lambda poll: vote(*poll), polls, in_flight))
        found = {case: majority(said[at * votes : (at + 1) * votes]) for at, case in enumerate(cases)}
        agrees = agreement([mark for _, mark in marked], [found[case] for case, _ in marked]) if marked else None
        if answers:
            rows = [
                row | {"judged": found[_case(row)] if row["prediction"] else ""} if row["mode"] == "open" else row
                for row in rows
            ]
            with atomic(folder.path / "answers.jsonl") as path:
                path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        if marked:
            _write_marked(folder.path / "marked.csv", [(case, mark, found[case]) for case, mark in marked])
        facts = {name: about[name] for name in _FACTS if name in about}
        own = facts_of(address.model, str(about.get("model", "")), votes, agrees)
        data_hash = str(about.get("data_hash", table.hash if table else ""))
        folder.record(data_hash, about.get("pretraining_video_ids", []), **facts, judge=own)
        print(own["protocol"])
        said = [found[_case(row)] for row in free] if answers else [found[case] for case, _ in marked]
        after = command("eval", answers=folder.path, manifest=manifest or "manifest", out="eval")
        if not answers:
            after = command("judge", answers="answers", server=server, marks=marks, out="judged")
        folder.next(f"{_counts(said)} in {folder.path}", after)
    return out


def _case(row: AnswerRow) -> Case:
    return Case(row["question"], row["answer"], row["prediction"])


def _write_marked(path: Path, rows: Sequence[tuple[Case, str, str]]) -> None:
    """Write marked.csv: answers with the mark of the person and that of the judge."""
    with atomic(path) as new, new.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*COLUMNS, "judged"])
        writer.writerows([*case, mark, said] for case, mark, said in rows)


def _counts(verdicts: Sequence[str]) -> str:
    """How many answers have which mark."""
    known = [(verdicts.count(mark), mark) for mark in VERDICTS]
    unsure = len(verdicts) - sum(count for count, _ in known)
    parts = ", ".join(f"{count:,} {mark}" for count, mark in [*known, (unsure, "without a verdict")])
    return f"{plural(len(verdicts), 'answer')}: {parts}"
