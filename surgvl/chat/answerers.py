"""Who answers the questions of a manifest: what an engine is, the model in this process, the loop over questions.

Shape letters: N rows, B stretches of a batch.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from tqdm import tqdm

from surgvl.chat.answer import choose, generate
from surgvl.chat.controls import replaced
from surgvl.chat.feature_cache import Seen, Stretch
from surgvl.chat.head import Head, predict
from surgvl.core.errors import ConfigError
from surgvl.data.tables import is_open
from surgvl.models.chat import Chat

Row = dict[str, Any]
# What a row of answers.jsonl holds.
FIELDS = ("video_id", "start_s", "end_s", "question", "answer", "type", "prediction", "matched", "mode", "ablated")


class Engine(Protocol):
    """Answers a question about stretches of video, wherever the model may be."""

    def answer(self, stretches: Sequence[Stretch], question: str, candidates: Sequence[str] | None) -> list[str]:
        """An answer about each of B stretches: one of the candidates as it is spelt there, or free text without them.

        `ablate.BLACK` is a stretch of a black video.
        """


class LocalEngine:
    """A chat model in this process.

    Args:
        chat: the model.
        look: its visual tokens of every stretch that is asked about.
        device: torch device of the model.
    """

    def __init__(self, chat: Chat, look: Seen, device: str = "cpu"):
        self.chat, self.look, self.device = chat, look, device

    def answer(self, stretches: Sequence[Stretch], question: str, candidates: Sequence[str] | None) -> list[str]:
        """The most likely candidate, or greedy text."""
        pooled = self.look.stack(stretches).to(self.device)
        if candidates is None:
            return generate(self.chat, pooled, question)
        return choose(self.chat, pooled, question, candidates)


class HeadEngine:
    """The classification head of a chat model in this process; it answers closed questions only.

    Args:
        chat: the trunk.
        head: the head.
        look: visual tokens of every stretch that is asked about.
        device: torch device of the model.
    """

    def __init__(self, chat: Chat, head: Head, look: Seen, device: str = "cpu"):
        self.chat, self.head, self.look, self.device = chat, head, look, device

    def answer(self, stretches: Sequence[Stretch], question: str, candidates: Sequence[str] | None) -> list[str]:
        """The candidate that scores highest.

        Raises:
            ConfigError: there are no candidates: a head cannot write.
        """
        if candidates is None:
            raise ConfigError(
                f"{question!r} is to be answered freely, which a classification head cannot: leave it out"
            )
        return predict(self.chat, self.head, self.look.stack(stretches).to(self.device), question, candidates)


def answer_rows(
    engine: Engine,
    rows: Sequence[Row],
    candidates: Sequence[str],
    kinds: Sequence[str] = ("",),
    open_ended: bool = False,
    mode: str = "closed",
    seed: int = 0,
    batch: int = 64,
) -> list[Row]:
    """Answer the questions of a manifest with their own video, with others in its place, or with both.

    What is asked twice, such as one question about the black video, is answered once.

    Args:
        engine: who answers.
        rows: N rows of a manifest's question table.
        candidates: allowed answers to closed questions.
        kinds: empty for the own video, and `ablate.KINDS`.
        open_ended: answer closed questions freely, too; questions of an open type always are.
        mode: how closed answers come about: `closed` or `head`.
        seed: of the draws of other videos.
        batch: most stretches in one call of the engine.

    Returns:
        Rows of answers.jsonl, kind by kind, in the order of the questions.
    """
    known = {text for answer in candidates for text in (answer, answer.replace("_", " "))}
    stretches = [(row["video_id"], row["start_s"], row["end_s"]) for row in rows]
    free = [open_ended or is_open(row["type"]) for row in rows]
    found = []
    with tqdm(total=len(rows) * len(kinds), desc="answering", unit="question", disable=None, leave=False) as bar:
        for kind in kinds:
            asked: dict[tuple[str, bool], dict[Stretch, list[int]]] = {}
            for number, stretch in enumerate(replaced(stretches, kind, seed)):
                asked.setdefault((rows[number]["question"], free[number]), {}).setdefault(stretch, []).append(number)
            replies: dict[int, str] = {}
            for (question, freely), numbers in asked.items():
                shown = list(numbers)
                for at in range(0, len(shown), batch):
                    part = shown[at : at + batch]
                    said = engine.answer(part, question, None if freely else candidates)
                    for stretch, reply in zip(part, said, strict=True):
                        replies |= dict.fromkeys(numbers[stretch], reply)
                    bar.update(sum(len(numbers[stretch]) for stretch in part))
            for number, row in enumerate(rows):
                reply, freely = replies[number], free[number]
                facts = {
                    "prediction": reply,
                    "matched": not freely or is_open(row["type"]) or reply in known,
                    "mode": "open" if freely else mode,
                    "ablated": kind,
                }
                found.append({name: facts[name] if name in facts else row[name] for name in FIELDS})
    return found
