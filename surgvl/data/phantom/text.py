"""Text about a phantom video: timed narration, and PitVQA-style questions for each second.

The questions follow PitVQA's published templates (arXiv 2405.13949), with answers for cholecystectomy.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from surgvl.data.formats.qa_text import QuestionLine
from surgvl.data.phantom.scene import Action, Scene, tip_in_image

_NARRATION, _QUESTIONS = 10, 11  # random streams of a video's seed, in addition to those of `script`


class Words(NamedTuple):
    """The forms of a verb."""

    base: str
    third: str
    gerund: str


VERB_WORDS: dict[str, Words] = {
    "grasp": Words("grasp", "grasps", "grasping"),
    "retract": Words("retract", "retracts", "retracting"),
    "dissect": Words("dissect", "dissects", "dissecting"),
    "coagulate": Words("coagulate", "coagulates", "coagulating"),
    "clip": Words("clip", "clips", "clipping"),
    "cut": Words("cut", "cuts", "cutting"),
    "aspirate": Words("aspirate", "aspirates", "aspirating"),
    "irrigate": Words("irrigate", "irrigates", "irrigating"),
    "pack": Words("pack", "packs", "packing"),
    "null_verb": Words("rest idle", "rests idle", "resting idle"),
}
# The first word is the default, used three times out of four.
INSTRUMENT_WORDS: dict[str, tuple[str, ...]] = {
    "grasper": ("grasper", "grasping forceps"),
    "bipolar": ("bipolar", "bipolar forceps"),
    "hook": ("hook", "electric hook"),
    "scissors": ("scissors",),
    "clipper": ("clipper", "clip applier"),
    "irrigator": ("irrigator", "suction irrigator"),
}
TARGET_WORDS: dict[str, str] = {
    "gallbladder": "gallbladder",
    "cystic_plate": "cystic plate",
    "cystic_duct": "cystic duct",
    "cystic_artery": "cystic artery",
    "cystic_pedicle": "cystic pedicle",
    "blood_vessel": "blood vessel",
    "fluid": "fluid",
    "abdominal_wall_cavity": "abdominal wall cavity",
    "liver": "liver",
    "adhesion": "adhesion",
    "omentum": "omentum",
    "peritoneum": "peritoneum",
    "gut": "gut",
    "specimen_bag": "specimen bag",
    "null_target": "nothing",
}
# The first wording is the default, used three times out of four.
PHASE_WORDS: dict[str, tuple[str, ...]] = {
    "Preparation": ("the preparation phase", "preparation", "the preparation of the field"),
    "CalotTriangleDissection": (
        "the calot triangle dissection phase",
        "calot triangle dissection",
        "the dissection of calot's triangle",
    ),
    "ClippingCutting": ("the clipping and cutting phase", "clipping and cutting", "clipping and division"),
    "GallbladderDissection": (
        "the gallbladder dissection phase",
        "gallbladder dissection",
        "the dissection of the gallbladder from the liver bed",
    ),
    "GallbladderPackaging": (
        "the gallbladder packaging phase",
        "gallbladder packaging",
        "packaging of the gallbladder",
    ),
    "CleaningCoagulation": (
        "the cleaning and coagulation phase",
        "cleaning and coagulation",
        "cleaning and haemostasis",
    ),
    "GallbladderRetraction": (
        "the gallbladder retraction phase",
        "gallbladder retraction",
        "retraction of the gallbladder",
    ),
}
PHASE_ANSWERS: dict[str, str] = {
    "Preparation": "preparation",
    "CalotTriangleDissection": "calot_triangle_dissection",
    "ClippingCutting": "clipping_cutting",
    "GallbladderDissection": "gallbladder_dissection",
    "GallbladderPackaging": "gallbladder_packaging",
    "CleaningCoagulation": "cleaning_coagulation",
    "GallbladderRetraction": "gallbladder_retraction",
}
COUNT_ANSWERS = ("zero", "one", "two")
POSITIONS = ("top-left", "top-right", "centre", "bottom-left", "bottom-right")
_ACTION_SENTENCES = (
    "the {tool} {third} the {target}",
    "now I use the {tool} to {base} the {target}",
    "with the {tool} the surgeon is {gerund} the {target}",
    "{gerund} the {target} with the {tool}",
    "here you see the {tool} {gerund} the {target}",
)
_IDLE_SENTENCES = (
    "the {tool} is idle",
    "now I hold the {tool} still",
    "with the {tool} the surgeon is doing nothing",
    "the {tool} rests idle and touches nothing",
)
_PHASE_SENTENCES = (
    "we begin {phase}",
    "now {phase} begins",
    "this is the start of {phase}",
    "let us go on to {phase}",
)
_STILL_SENTENCES = (
    "still in {phase}, {clause}",
    "we are in {phase}, {clause}",
    "this is {phase}, {clause}",
    "during {phase} {clause}",
)


class Sentence(NamedTuple):
    """A sentence spoken from `start_s` to `end_s`."""

    start_s: float
    end_s: float
    text: str


def _rng(scene: Scene, stream: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence([scene.seed, scene.index, stream]))


def _choose(rng: np.random.Generator, texts: Sequence[str]) -> str:
    return texts[int(rng.integers(len(texts)))]


def _word(rng: np.random.Generator, words: Sequence[str]) -> str:
    """The default word three times out of four, else one of the others."""
    return words[0] if len(words) == 1 or rng.random() < 0.75 else _choose(rng, words[1:])


def say(action: Action, template: str = "", tool: str = "") -> str:
    """Describe an action in a sentence.

    Args:
        action: the action.
        template: a sentence with fields; the default one if empty. Idle tools have their own templates.
        tool: word for the instrument; the default one if empty.
    """
    tool = tool or INSTRUMENT_WORDS[action.instrument][0]
    words = VERB_WORDS[action.verb]
    template = template or (_IDLE_SENTENCES if action.verb == "null_verb" else _ACTION_SENTENCES)[0]
    # Scissors are plural.
    third = words.base if tool == "scissors" else words.third
    text = template.format(
        tool=tool, target=TARGET_WORDS[action.target], base=words.base, third=third, gerund=words.gerund
    )
    return text.replace("scissors is", "scissors are").replace("scissors rests", "scissors rest")


def narration(scene: Scene) -> list[Sentence]:
    """The narration, by start: a sentence for each action and each start of a phase, and reminders of the phase."""
    rng = _rng(scene, _NARRATION)
    sentences = []
    for action in scene.actions:
        templates = _IDLE_SENTENCES if action.verb == "null_verb" else _ACTION_SENTENCES
        text = say(action, _choose(rng, templates), _word(rng, INSTRUMENT_WORDS[action.instrument]))
        sentences.append(Sentence(action.start_s, action.end_s, text))
    for phase in scene.phases:
        wordings = PHASE_WORDS[phase.name]
        time = min(phase.end_s, round(phase.start_s + float(rng.uniform(4.0, 6.0)), 2))
        opening = _choose(rng, _PHASE_SENTENCES).format(phase=_word(rng, wordings))
        sentences.append(Sentence(phase.start_s, time, opening))
        while phase.end_s - time > 2.0:
            end = round(time + float(rng.uniform(5.0, 8.0)), 2)
            if phase.end_s - end < 2.0:
                end = phase.end_s
            active = scene.active((time + end) / 2)
            clause = say(active[int(rng.integers(len(active)))]) if active else "we look around"
            text = _choose(rng, _STILL_SENTENCES).format(phase=_word(rng, wordings), clause=clause)
            sentences.append(Sentence(time, end, text))
            time = end
    return sorted(sentences)


def position(x: float, y: float) -> str:
    """One of PitVQA's five positions, from coordinates in image sides: the central square, else the quadrant."""
    if abs(x - 0.5) < 0.15 and abs(y - 0.5) < 0.15:
        return "centre"
    return f"{'top' if y < 0.5 else 'bottom'}-{'left' if x < 0.5 else 'right'}"


def _where(place: str) -> str:
    return "at the centre" if place == "centre" else f"in the {place}"


def pitvqa_questions(scene: Scene) -> list[list[QuestionLine]]:
    """PitVQA-style questions for each second; second k is asked about at k + 0.5.

    Questions without a unique answer (two tools at one position, two graspers) are left out.
    """
    rng = _rng(scene, _QUESTIONS)
    seconds = []
    for second in range(int(scene.duration_s)):
        time = second + 0.5
        phase = scene.phase_at(time)
        at = scene.phases.index(phase)
        following = PHASE_ANSWERS[scene.phases[at + 1].name] if at + 1 < len(scene.phases) else "end_of_phase"
        active = scene.active(time)
        asked = [
            QuestionLine("What is the surgical phase shown in the image?", PHASE_ANSWERS[phase.name]),
            QuestionLine("What is the next surgical phase?", following),
            QuestionLine("How many instruments are present in the image?", COUNT_ANSWERS[len(active)]),
        ]
        places = [position(*tip_in_image(scene.style, action, time)) for action in active]
        empty = [place for place in POSITIONS if place not in places]
        if rng.random() < 0.25:
            place = _choose(rng, empty)
            asked.append(QuestionLine(f"What instrument is used {_where(place)} of the image?", "no_instrument"))
        for action, place in zip(active, places, strict=True):
            tool = action.instrument
            if places.count(place) == 1:
                asked.append(QuestionLine(f"What instrument is used {_where(place)} of the image?", tool))
            if sum(other.instrument == tool for other in active) == 1:
                verb = "idle" if action.verb == "null_verb" else action.verb
                target = "nothing" if action.target == "null_target" else action.target
                asked += [
                    QuestionLine(f"Where is the surgical instrument {tool} tip located in the image?", place),
                    QuestionLine(f"What surgical activity is performing by the instrument {tool}?", verb),
                    QuestionLine(f"What tissue is the instrument {tool} acting on?", target),
                ]
        seconds.append(asked)
    return seconds
