"""Answers about a moment, a range or a whole recording, with what the model saw, and what it says without the video.

A closed question about a range is asked at several moments of it, and the probabilities are averaged; free text rests
on its middle. The control is a black clip: an answer that is the same without the video says nothing about it.
Shapes: T frames of H x W pixels.
"""

import base64
import math
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
import pyarrow.compute as pc

from surgvl.archive.archive import Archive
from surgvl.archive.derived import read_questions
from surgvl.archive.records import Recording
from surgvl.chat.answerer import DESCRIBE, Answer, Question, match_question
from surgvl.core.arrays import UInt8Array
from surgvl.core.errors import ConfigError
from surgvl.core.times import clock
from surgvl.demo.formatting import without_folders
from surgvl.demo.schemas import AskReply, Frame
from surgvl.demo.thumbnails import encode_jpeg
from surgvl.video.marks import counted

if TYPE_CHECKING:
    # Torch takes seconds to import.
    from surgvl.chat.answerer import Answerer

MAX_CHARACTERS = 300
NUM_MOMENTS = 5
NUM_ANSWERS = 4
# Questions whose answer without the video is kept, of each model.
NUM_BLIND = 256
# Of five moments, each shows fewer frames.
NUM_FRAMES = 24
# A closed answer with a lower probability is little better than any other option.
UNSURE = 0.5
# So close are probabilities that the video did not change.
SAME = 0.1


@dataclass(frozen=True)
class Looked:
    """A moment and the clip that stands for it, frames uint8 [T, H, W, 3]."""

    at_s: float
    frames: UInt8Array
    times_s: list[float]


def moments(start_s: float, end_s: float, clip_s: float) -> list[float]:
    """Up to five moments that cover a range; its middle where one clip does.

    Args:
        start_s: start of the range.
        end_s: its end; equal to its start for a moment.
        clip_s: length of a clip.
    """
    number = max(1, min(NUM_MOMENTS, math.ceil((end_s - start_s) / max(clip_s, 1e-3) - 1e-6)))
    step_s = (end_s - start_s) / number
    return [start_s + (at + 0.5) * step_s for at in range(number)]


class Blind:
    """What a model says about black clips, kept by question: it does not depend on the recording."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Not by id(), which a later model may have again.
        self._known: WeakKeyDictionary[Answerer, OrderedDict[str, Answer]] = WeakKeyDictionary()

    def answers(self, answerer: "Answerer", frames: UInt8Array, question: str) -> tuple[Answer, Answer]:
        """The answer about a clip, and that about a black one of its shape."""
        with self._lock:
            known = self._known.setdefault(answerer, OrderedDict()).get(question)
        if known is not None:
            return answerer.answer([Question(frames, question)])[0], known
        seen, blind = answerer.answer([Question(frames, question), Question(np.zeros_like(frames), question)])
        if blind.problem:
            return seen, blind
        with self._lock:
            answers = self._known[answerer]
            answers[question] = blind
            while len(answers) > NUM_BLIND:
                answers.popitem(last=False)
        return seen, blind


def ask(
    archive: Archive,
    answerer: "Answerer",
    recording: Recording,
    start_s: float,
    end_s: float,
    question: str,
    foreign: str,
    blind: Blind,
) -> AskReply:
    """Answer a question about a range of a recording.

    Args:
        archive: the archive, whose labels may know the answer.
        answerer: what answers.
        recording: the recording.
        start_s: start of the range, or the moment.
        end_s: its end; equal to its start for a moment.
        question: in plain language.
        foreign: why labels of this recording may mean little; empty if they do not.
        blind: answers without the video.

    Raises:
        ConfigError: the question is empty or too long.
        DataError: the recording cannot be read there.
        ServerError: the server that answers fails.
    """
    begun = time.monotonic()
    question = sentence(question, "question")
    preprocess = answerer.preprocess
    with counted() as marks:
        looked = [
            Looked(at_s, answerer.frames(recording.path, at_s), preprocess.times_s(at_s, recording.duration_s))
            for at_s in moments(start_s, end_s, preprocess.clip_s)
        ]
    middle = looked[len(looked) // 2]
    first, without = blind.answers(answerer, middle.frames, question)
    is_closed = bool(first.question.answers)
    used = looked if is_closed and first.probabilities else [middle]
    others = [each for each in used if each is not middle]
    found = [first, *(answerer.answer([Question(each.frames, question) for each in others]) if others else [])]
    probabilities = _mean(found)
    text = probabilities[0][0] if probabilities else first.text
    # Of free text, confidence is no probability that it is right.
    sure = probabilities[0][1] if probabilities else first.confidence if is_closed else None
    doubts = [foreign, marks.fact(recording.path), *_doubts(text, sure, without, is_closed)]
    return AskReply(
        question=first.question.text,
        answer=text,
        closed=is_closed,
        num_known=len(first.question.answers or ()),
        probabilities=probabilities[:NUM_ANSWERS],
        at_s=middle.at_s,
        moments=[each.at_s for each in used],
        frames=_frames(used),
        width_px=middle.frames.shape[2],
        height_px=middle.frames.shape[1],
        problem=without_folders(f"{first.problem}, {first.raw[:MAX_CHARACTERS]!r}") if first.problem else "",
        without_video=without.text,
        truth=labelled_answer(archive, recording.id, middle.at_s, first.question.text),
        doubts=[line for line in doubts if line],
        elapsed_s=time.monotonic() - begun,
    )


def _mean(answers: list[Answer]) -> list[tuple[str, float]]:
    """Mean probability of each allowed answer, the most probable first; empty if there are none."""
    if not all(each.probabilities for each in answers):
        return []
    sums: dict[str, float] = {}
    for each in answers:
        for text, share in each.probabilities:
            sums[text] = sums.get(text, 0.0) + share / len(answers)
    return sorted(sums.items(), key=lambda pair: -pair[1])


def _doubts(text: str, sure: float | None, without: Answer, is_closed: bool) -> list[str]:
    """Why an answer may be worth little; `sure` is the probability of a closed one."""
    found: list[str] = []
    if not text:
        return found
    same = without.text == text
    blind = without.confidence if is_closed else None
    if sure is not None and sure < UNSURE:
        found.append(f"The model does not know: its best answer has a probability of {sure:.0%}.")
    if same and (blind is None or sure is None or abs(sure - blind) < SAME):
        found.append("The model says the same without the video, so this answer says nothing about it.")
    if not is_closed and match_question(without.question.text, [DESCRIBE]) is None:
        found.append("The model was not trained on this question with known answers.")
    return found


def _frames(looked: list[Looked]) -> list[Frame]:
    each = max(1, NUM_FRAMES // len(looked))
    found = []
    for moment in looked:
        kept = np.unique(np.linspace(0, len(moment.frames) - 1, min(each, len(moment.frames))).round().astype(int))
        found += [
            Frame(time_s=round(moment.times_s[at], 3), jpeg=base64.b64encode(encode_jpeg(moment.frames[at])).decode())
            for at in kept.tolist()
        ]
    return found


def labelled_answer(archive: Archive, recording: str, at_s: float, question: str) -> str:
    """The answer to a question at a moment, as a data set of the archive has it; empty if there is none."""
    table = read_questions(archive.folder)
    fits = pc.and_(pc.equal(table["video_id"], recording), pc.equal(table["question"], question))
    fits = pc.and_(fits, pc.and_(pc.less_equal(table["start_s"], at_s), pc.greater(table["end_s"], at_s)))
    found = table.filter(fits)["answer"].to_pylist()
    return str(found[0]) if found else ""


def sentence(text: str, what: str) -> str:
    """A sentence without needless blanks.

    Raises:
        ConfigError: it is empty or too long.
    """
    text = " ".join(text.split())
    if not text:
        raise ConfigError(f"the {what} is empty: write one, or choose an example")
    if len(text) > MAX_CHARACTERS:
        raise ConfigError(f"the {what} has {len(text)} characters and the limit is {MAX_CHARACTERS}: shorten it")
    return text


def place(start_s: float | None, end_s: float | None, duration_s: float) -> tuple[float, float]:
    """The range that a question is about: a moment, a range, or the whole recording.

    Raises:
        ConfigError: it ends before it starts.
    """
    if start_s is None:
        return 0.0, duration_s
    start_s = min(start_s, duration_s)
    if end_s is None:
        return start_s, start_s
    if end_s < start_s:
        raise ConfigError(f"the range ends at {clock(end_s)}, before it starts at {clock(start_s)}")
    return start_s, min(end_s, duration_s)
