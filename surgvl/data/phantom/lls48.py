"""A phantom video in LLS48's terms: steps, tasks and actions, reconstructed from arXiv 2601.12312 and unverified.

A phase is a step, the current verbs determine the task, a triplet is an action. Tables and questions are written
independently from the scene; `surgvl.data.readers.lls48` generates the same questions from the tables.
"""

import csv
import io as stdio
from collections.abc import Sequence
from itertools import pairwise

from surgvl.data.formats.qa_text import QuestionLine
from surgvl.data.phantom.scene import Action, Scene
from surgvl.data.phantom.text import PHASE_ANSWERS
from surgvl.data.readers.lls48 import ACTION_FROM, COLUMNS, STEP, TASK

# Tasks by current verb; with two tools at work, the first task in this order counts.
_TASKS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("removal", ("pack",)),
    ("haemostasis", ("coagulate", "clip")),
    ("division", ("cut", "dissect")),
    ("lavage", ("aspirate", "irrigate")),
    ("exposure", ("retract", "grasp")),
    ("pause", ("null_verb",)),
)


def _task(active: tuple[Action, ...]) -> str:
    """The task of the current actions; empty if there is none."""
    doing = {action.verb for action in active}
    return next((name for name, verbs in _TASKS if doing & set(verbs)), "")


def lls48_questions(scene: Scene) -> list[list[QuestionLine]]:
    """Step, task and action questions for each second; second k is asked about at k + 0.5."""
    seconds = []
    for second in range(int(scene.duration_s)):
        time = second + 0.5
        active = scene.active(time)
        asked = [QuestionLine(STEP, PHASE_ANSWERS[scene.phase_at(time).name])]
        if task := _task(active):
            asked.append(QuestionLine(TASK, task))
        for action in active:
            if sum(other.side == action.side for other in active) == 1:
                answer = action.triplet.replace(",", "_")
                asked.append(QuestionLine(ACTION_FROM.format(side=action.side), answer))
        seconds.append(asked)
    return seconds


def lls48_tables(scene: Scene) -> dict[str, str]:
    """The CSV text of each level, exact in time; tasks and actions pause while the scope is out of the body."""
    edges = {0.0, scene.duration_s}
    edges |= {time for action in scene.actions for time in (action.start_s, action.end_s)}
    edges |= {time for event in scene.events for time in (event.start_s, event.end_s)}
    pieces = [(start_s, end_s) for start_s, end_s in pairwise(sorted(edges)) if 0 <= start_s < scene.duration_s]
    tasks: list[tuple[float, float, str]] = []
    for start_s, end_s in pieces:
        task = _task(scene.active(start_s))
        if task and tasks and tasks[-1][1:] == (start_s, task):
            start_s = tasks.pop()[0]
        if task:
            tasks.append((start_s, end_s, task))
    actions: list[tuple[float, float, str, str, str, str]] = []
    for action in scene.actions:
        words = (action.instrument, action.verb, action.target, action.side)
        first = len(actions)
        for start_s, end_s in pieces:
            if action in scene.active(start_s):
                if len(actions) > first and actions[-1][1] == start_s:
                    start_s = actions.pop()[0]
                actions.append((start_s, end_s, *words))
    steps = [(phase.start_s, phase.end_s, PHASE_ANSWERS[phase.name]) for phase in scene.phases]
    return {
        "step": _csv(("start", "end", *COLUMNS["step"]), steps),
        "task": _csv(("start", "end", *COLUMNS["task"]), tasks),
        "action": _csv(("start", "end", *COLUMNS["action"], "side"), actions),
    }


def _csv(header: Sequence[str], rows: Sequence[Sequence[float | str]]) -> str:
    buffer = stdio.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue()
