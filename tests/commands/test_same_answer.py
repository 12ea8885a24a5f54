"""The same question gets the same answer from Python, the command, the page and a server."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("starlette", reason="starlette is not installed: pip install 'surgvl[serve]'")
pytest.importorskip("openai", reason="openai is not installed: pip install 'surgvl[client]'")

from surgvl.api import load_answerer  # noqa: E402
from surgvl.chat.answerer import DESCRIBE  # noqa: E402
from surgvl.chat.answerers import LocalAnswerer  # noqa: E402
from surgvl.chat.head import AnswerHead, save_head  # noqa: E402
from surgvl.cli import main as cli  # noqa: E402
from surgvl.data.manifest import Manifest  # noqa: E402
from surgvl.demo.answering import NUM_ANSWERS  # noqa: E402
from surgvl.demo.schemas import AskRequest  # noqa: E402
from tests.helpers.fake_gateway import before  # noqa: E402
from tests.helpers.few_answers import with_few_answers  # noqa: E402
from tests.helpers.opened_page import engine_of  # noqa: E402

EVERY_S = 20
"""Of the manifest's questions, those about every twentieth second are answered."""
FEW = 3
"""Answers whose probabilities are compared."""


@pytest.mark.parametrize("by", ["language model", "head"])
def test_the_same_question_gets_the_same_answer_everywhere(by: str, tiny_run: Path, tmp_path: Path) -> None:
    run = with_few_answers(tiny_run, tmp_path / "run")
    here = load_answerer(run / "tune")
    assert isinstance(here, LocalAnswerer)
    if by == "head":
        torch.manual_seed(1)
        save_head(AnswerHead.of(here.model, here.known.answers[::-1]), run / "tune" / "model")
        here = load_answerer(run / "tune")
    table = Manifest.load(run / "manifest")
    video_id = table.video_ids("test")[0]
    path = str(table.path_of(video_id))
    known = next(iter(here.known.questions))
    typed = {known: f" {known.upper().rstrip('?')} ", DESCRIBE: DESCRIBE}
    if by == "head":
        del typed[DESCRIBE]

    def manifest_rows(name: str, *flags: str) -> list[dict[str, Any]]:
        out = tmp_path / name
        words = ["ask", "--manifest", str(run / "manifest"), "--out", str(out), "--every_s", str(EVERY_S)]
        cli.run([*words, *flags])
        return [json.loads(line) for line in (out / "answers.jsonl").read_text().splitlines()]

    with ExitStack() as stack:
        flags, answerers, pages = [["--model", str(run / "tune")]], [here], [engine_of(run, tmp_path / "archive")]
        if by != "head":
            url = stack.enter_context(before(here, None))
            flags.append(["--server", url])
            answerers.append(load_answerer(server=url))
        for page in pages:
            stack.callback(page.close)
        for text, as_typed in typed.items():
            found = here.ask(path, text, at_s=7.5)
            # A server is asked once for each answer.
            few = here.known.answers[:FEW]
            known_here = dict(here.probabilities(path, text, few, at_s=7.5))
            assert len(known_here) == FEW
            # Models of two steps hardly tell clips apart, but their probabilities do.
            assert known_here != dict(here.probabilities(path, text, few, at_s=12.5))
            for answerer in answerers[1:]:
                assert answerer.ask(path, as_typed, at_s=7.5) == found
                theirs = answerer.answer_one(path, text, at_s=7.5, answers=few)
                assert dict(theirs.probabilities) == pytest.approx(known_here, abs=1e-5)
                assert theirs.confidence == pytest.approx(max(known_here.values()), abs=1e-5)
            assert here.ask(path, as_typed, at_s=7.5) == found
            for each in flags:
                assert cli.run(["ask", path, as_typed, "--at_s", "7.5", *each]) == found
            for page in pages:
                answer = page.ask(AskRequest(recording=video_id, start_s=7.5, question=as_typed))
                assert (answer.answer, answer.question) == (found, text)
                wanted = here.probabilities(path, text, here.known.answers, at_s=7.5) if text == known else []
                shown = dict(wanted[:NUM_ANSWERS])
                assert dict(answer.probabilities) == pytest.approx(shown, abs=1e-5)
        for number, each in enumerate(flags):
            rows = [row for row in manifest_rows(f"answers {number}", *each) if row["video_id"] == video_id]
            assert rows
            for row in rows:
                middle_s = (row["start_s"] + row["end_s"]) / 2
                mine = here.answer_one(path, row["question"], at_s=middle_s)
                assert row["prediction"] == mine.text, row
                # The stand-in for a server gives no log-probabilities.
                assert row["confidence"] == (pytest.approx(mine.confidence, abs=1e-5) if number == 0 else None)
