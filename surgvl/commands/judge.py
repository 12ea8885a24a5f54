"""The `judge` command: a language model marks the free answers of `surgvl ask`, and how far it can be trusted."""

import json
from collections.abc import Sequence
from pathlib import Path

from surgvl.chat.judge import VERDICTS, Case, agreement, facts_of, majority, read_marks, verdict
from surgvl.chat.replies import Replies, reply_key
from surgvl.chat.vision_language_config import ReplyConfig
from surgvl.core.checks import check_range
from surgvl.core.errors import ConfigError
from surgvl.core.files import atomic, command
from surgvl.core.invocation import recorded
from surgvl.core.plurals import plural
from surgvl.core.run_folder import RunFolder
from surgvl.tasks.answer_files import read_answers

VOTES = 3
_FACTS = ("frozen", "num_trainable", "protocol", "closed_by", "sent_as")


@recorded
def judge(
    answers: Path,
    server: str,
    out: Path,
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
        answers: folder of `surgvl ask --manifest`, or its answers.jsonl.
        server: any OpenAI-compatible address; the judge reads text only.
        out: folder for the same answers with their marks, which `surgvl eval --answers` scores.
        model: name of one of the address's models; by default, its only one.
        marks: CSV file of question,answer,prediction,mark that a person has marked correct or incorrect; the judge
            marks these too, and its agreement with the person is printed with every score. Without it, every score
            says that the agreement was not measured.
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
    # Imports the client's packages, which help and usage errors do without.
    from surgvl.serve.abilities import renamed_fields
    from surgvl.serve.endpoint import Endpoint, reply_of, text_message
    from surgvl.serve.in_flight import in_order

    file = read_answers(answers)
    marked = read_marks(marks) if marks else []
    free = [row for row in file.rows if row["mode"] == "open" and row["prediction"]]
    if not free:
        raise ConfigError(f"{file.path} has no free answers to mark: closed and typed ones are scored without a judge")
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
        rows = [
            row | {"judged": found[_case(row)] if row["prediction"] else ""} if row["mode"] == "open" else row
            for row in file.rows
        ]
        with atomic(folder.path / "answers.jsonl") as path:
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        facts = {name: file.facts[name] for name in _FACTS if name in file.facts}
        own = facts_of(address.model, str(file.facts.get("model", "")), votes, agrees)
        seen = file.facts.get("pretraining_video_ids", [])
        folder.record(str(file.facts.get("data_hash", "")), seen, **facts, judge=own)
        print(own["protocol"])
        done = f"{_counts([found[_case(row)] for row in free])} in {folder.path}"
        folder.next(done, command("eval", answers=folder.path, manifest="manifest", out="eval"))
    return out


def _case(row: dict[str, str]) -> Case:
    return Case(row["question"], row["answer"], row["prediction"])


def _counts(verdicts: Sequence[str]) -> str:
    """How many answers have which mark."""
    known = [(verdicts.count(mark), mark) for mark in VERDICTS]
    unsure = len(verdicts) - sum(count for count, _ in known)
    parts = ", ".join(f"{count:,} {mark}" for count, mark in [*known, (unsure, "without a verdict")])
    return f"{plural(len(verdicts), 'answer')}: {parts}"
