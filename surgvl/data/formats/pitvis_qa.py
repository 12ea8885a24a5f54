"""Generate PitVQA's questions from PitVis' public step and instrument tables (He et al., arXiv 2405.13949).

Row i of the instrument table is second i. The two tables answer nine types of question for each second inside the
patient; all 25 videos give 109,173 seconds and 884,242 questions, the published counts. Two quirks of the published
text are reproduced: the step at second t is the row before the first row with a later time, whether or not the rows are
sorted (those of video 16 are not), and seconds after the last change take the first row (mostly
`operation_not_started`, so they are dropped).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from surgvl.core.errors import DataError
from surgvl.data.formats.text_files import no_rows, parse_int, read_csv
from surgvl.data.tables import QA, add_empty_columns

# (step, phase, operation), in the order of the procedure. The spelling is that of the data set.
STEP_TABLE = (
    ("nasal_corridor_creation", "nasal_sphenoid", "The middle and superior turbinates are laterally displaced"),
    ("anterior_sphenoidotomy", "nasal_sphenoid", "The sphenoid ostium is identified and opened"),
    ("septum_displacement", "nasal_sphenoid", "The septum is displaced until the opposite ostium is seen"),
    (
        "sphenoid_sinus_clearance",
        "nasal_sphenoid",
        "The sphenoid sinus is opened, with removal of sphenoid septations to expose the face of the sella and mucosa",
    ),
    ("sellotomy", "sellar", "The sella is identified, confirmed and carefully opened"),
    ("durotomy", "sellar", "A cruciate durotomy is performed"),
    ("tumour_excision", "sellar", "The tumour is seen and removed in a piecemeal fashion"),
    (
        "haemostasis",
        "closure",
        "Haemostasis is achieved with a surgiflo, a bipolar cautery, and a spongostan placement",
    ),
    ("synthetic_graft_placement", "closure", "spongostan, tachosil and duragen placement"),
    ("fat_graft_placement", "closure", "A fat graft is placed over the defact"),
    ("gasket_seal_construct", "closure", "A MedPor implant and a fascia lata graft are placed"),
    ("dural_sealant", "closure", "Evicel and Adherus dural sealant are applied"),
    ("nasal_packing", "closure", "The nasal cavity is packed with Bismuth soaked ribbon gauze"),
    ("debris_clearance", "closure", "Debris is cleared from the nasal cavity and choana"),
)
STEPS = tuple(step for step, _, _ in STEP_TABLE)
PHASES = ("nasal_sphenoid", "sellar", "closure")
NO_STEP = ("out_of_patient", "operation_not_started", "operation_ended")
INSTRUMENTS = (
    *("suction", "freer_elevator", "pituitary_rongeurs", "spatula_dissector", "kerrisons", "cottle"),
    *("haemostatic_foam", "micro_doppler", "nasal_cutting_forceps", "stealth_pointer", "irrigation_syringe"),
    *("retractable_knife", "dural_scissors", "ring_curette", "cup_forceps", "bipolar_forceps", "tissue_glue"),
    "surgical_drill",
)
NO_INSTRUMENT = ("out_of_patient", "no_visible_instrument", "no_secondary_instrument", "occluded_image_inside_patient")
COUNTS = ("zero", "one", "two")
POSITIONS = ("top-left", "top-right", "centre", "bottom-left", "bottom-right")

# An answer's position in the published list is its class id; steps and operations have their own order there.
_STEP_ORDER = (0, 1, 2, 3, 4, 7, 8, 5, 6, 9, 10, 11, 12, 13)
_OPERATION_ORDER = (0, 1, 2, 3, 7, 4, 5, 6, 8, 9, 11, 13, 10, 12)
ANSWERS: tuple[str, ...] = (
    *(STEPS[at] for at in _STEP_ORDER),
    "end_of_step",
    *PHASES,
    "end_of_phase",
    *INSTRUMENTS,
    *COUNTS,
    *POSITIONS,
    *(STEP_TABLE[at][2] for at in _OPERATION_ORDER),
)
DROPPED_ANSWERS = frozenset({"no_visible_instrument", "no_secondary_instrument"})


@dataclass(frozen=True)
class StepTable:
    """Step changes of a video: from `times_s[i]` on, step `steps[i]` (index into STEPS, -1 for none); int64 [C] each.

    Rows are in file order; `notes` has a line for each row that is not in temporal order.
    """

    times_s: Any
    steps: Any
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class InstrumentTable:
    """Two instruments per second: index into INSTRUMENTS + NO_INSTRUMENT, and position 1 to 5 or 0; int64 [S, 2]."""

    names: Any
    positions: Any


def read_steps(path: Path) -> StepTable:
    """Read `steps_01.csv`, a row for each change of step.

    Raises:
        DataError: wrong columns, an unknown step, a negative time.
    """
    columns = read_csv(path, ("int_time", "str_step"), ignore_others=True)
    times: list[int] = []
    steps: list[int] = []
    notes: list[str] = []
    for time, name, line in zip(columns["int_time"], columns["str_step"], columns["line"], strict=True):
        name = name.replace(" ", "_")
        if name not in STEPS and name not in NO_STEP:
            raise DataError(
                f"{path}, line {line}: unknown step {name!r}; allowed are {', '.join(STEPS)}: correct the row"
            )
        times.append(parse_int(time, path, line, "int_time"))
        steps.append(STEPS.index(name) if name in STEPS else -1)
        if times[-1] < 0:
            raise DataError(f"{path}, line {line}: time {time} is negative: correct the row")
        if len(times) > 1 and times[-1] < times[-2]:
            notes.append(f"{path.name}, line {line}: second {time} comes after second {times[-2]}")
    if not times:
        raise no_rows(path)
    return StepTable(np.array(times), np.array(steps), tuple(notes))


def read_instruments(path: Path) -> InstrumentTable:
    """Read `instruments_01.csv`, a row for each second from 0.

    Raises:
        DataError: wrong columns, an unknown instrument, a position outside 1 to 5, or a missing second.
    """
    names = ("str_instrument1", "str_instrument2")
    position_columns = ("pos_instrument1", "pos_instrument2")
    columns = read_csv(path, ("int_time", *names, *position_columns), ignore_others=True)
    code = {name: at for at, name in enumerate((*INSTRUMENTS, *NO_INSTRUMENT))}
    lines = columns["line"]
    for at, (time, line) in enumerate(zip(columns["int_time"], lines, strict=True)):
        if time != str(at) and parse_int(time, path, line, "int_time") != at:
            raise DataError(f"{path}, line {line}: second {time}, expected {at}: one row for each second from 0")
    if not lines:
        raise no_rows(path)
    slots: list[tuple[list[int], list[int]]] = []
    for name_column, position_column in zip(names, position_columns, strict=True):
        number = {"": 0}
        for name, position, line in zip(columns[name_column], columns[position_column], lines, strict=True):
            if name not in code:
                raise DataError(f"{path}, line {line}: unknown instrument {name!r}; allowed are {', '.join(code)}")
            if position in number:
                continue
            number[position] = parse_int(position, path, line, position_column)
            if not 1 <= number[position] <= len(POSITIONS):
                raise DataError(f"{path}, line {line}: {position_column} is {position}; it must be 1 to 5 or empty")
        slots.append(
            ([code[name] for name in columns[name_column]], [number[each] for each in columns[position_column]])
        )
    return InstrumentTable(*(np.array(each).T for each in zip(*slots, strict=True)))


def make_questions(
    video_ids: Sequence[str],
    steps: Sequence[StepTable],
    instruments: Sequence[InstrumentTable],
    source: str,
    drop: frozenset[str] = DROPPED_ANSWERS,
) -> Any:
    """All questions about some videos, vectorised over seconds.

    Args:
        video_ids: [V].
        steps: [V], see `read_steps`.
        instruments: [V], see `read_instruments`.
        source: value of the source column.
        drop: answers whose questions are dropped.

    Returns:
        Arrow table with the columns of `QA`, ordered by video and second, then as in the published files.
    """
    parts = [_inside(at, *tables) for at, tables in enumerate(zip(steps, instruments, strict=True))]
    video, second, step, names, positions = (np.concatenate(column) for column in zip(*parts, strict=True))
    phase = np.array([PHASES.index(phase) for _, phase, _ in STEP_TABLE])[step]
    count = (positions > 0).sum(1)
    book = _Book()
    every = np.ones(len(step), bool)
    book.add("phase", every, "What is the surgical phase shown in the image?", PHASES, phase)
    book.add("step", every, "What is the surgical step shown in this frame?", STEPS, step)
    operations = [operation for _, _, operation in STEP_TABLE]
    book.add("operation", count > 0, "What is the surgical operation performed in the image?", operations, step)
    book.add("next_phase", every, "What is the next surgical phase?", (*PHASES[1:], "end_of_phase"), phase)
    book.add("next_step", every, "What is the next surgical step?", (*STEPS[1:], "end_of_step"), step)
    known = (*INSTRUMENTS, *NO_INSTRUMENT)
    where = ["at the centre" if name == "centre" else f"in the {name}" for name in ("", *POSITIONS)]
    for slot in range(2):
        asked = [f"What instrument is used {place} of the image?" for place in where]
        book.add("instrument", positions[:, slot] > 0, asked, known, names[:, slot], positions[:, slot])
    for slot in range(2):
        asked = [f"What surgical activity is performing by the instrument {name}?" for name in known]
        book.add("activity", positions[:, slot] > 0, asked, operations, step, names[:, slot])
    for slot in range(2):
        asked = [f"Where is the surgical instrument {name} tip located in the image?" for name in known]
        book.add("position", positions[:, slot] > 0, asked, ("", *POSITIONS), positions[:, slot], names[:, slot])
    book.add("count", every, "How many instruments are present in the image?", COUNTS, count)
    row, question, answer, kind = book.rows(drop)
    start = second[row].astype(np.float64)
    columns = [
        _strings(video[row], video_ids),
        start,
        start + 1,
        _strings(question, book.texts),
        _strings(answer, book.texts),
        _strings(kind, book.texts),
        _strings(np.zeros(len(row), np.int64), [source]),
    ]
    names = ("video_id", "start_s", "end_s", "question", "answer", "type", "source")
    return add_empty_columns(pa.table(columns, names=names), QA)


def _inside(video: int, steps: StepTable, instruments: InstrumentTable) -> tuple[Any, Any, Any, Any, Any]:
    """The seconds of a video with questions: video, second, step [S], instrument names and positions [S, 2]."""
    seconds = np.arange(len(instruments.names))
    # With the running maximum, "first row with a later time" is a binary search even for unsorted rows.
    later = np.searchsorted(np.maximum.accumulate(steps.times_s), seconds, "right")
    # After the last change the published text takes row 0; before the first, Python's row -1.
    step = steps.steps[np.where(later == len(steps.times_s), 0, later - 1)]
    outside = (instruments.names == len(INSTRUMENTS) + NO_INSTRUMENT.index("out_of_patient")).any(1)
    kept = np.flatnonzero(~outside & (step >= 0))
    return np.full(len(kept), video), kept, step[kept], instruments.names[kept], instruments.positions[kept]


class _Book:
    """Questions as codes into one list of texts."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._code: dict[str, int] = {}
        self._parts: list[tuple[Any, Any, Any, Any]] = []

    def _codes(self, texts: Sequence[str]) -> Any:
        for text in texts:
            if text not in self._code:
                self._code[text] = len(self.texts)
                self.texts.append(text)
        return np.array([self._code[text] for text in texts])

    def add(
        self, kind: str, mask: Any, asked: str | Sequence[str], answers: Sequence[str], answer: Any, which: Any = None
    ) -> None:
        """Add a question for the seconds in `mask`; `which` selects one of several wordings."""
        rows = np.flatnonzero(mask)
        wordings = self._codes([asked] if isinstance(asked, str) else asked)
        question = wordings[which[rows] if which is not None else np.zeros(len(rows), np.int64)]
        kinds = np.full(len(rows), self._codes([kind])[0])
        self._parts.append((rows, question, self._codes(answers)[answer[rows]], kinds))

    def rows(self, drop: frozenset[str]) -> tuple[Any, Any, Any, Any]:
        """Second, question, answer and type codes of all questions, ordered by second, then by insertion."""
        row, question, answer, kind = (np.concatenate(column) for column in zip(*self._parts, strict=True))
        order = np.argsort(row, kind="stable")
        order = order[~np.isin(answer[order], [self._code[text] for text in drop if text in self._code])]
        return row[order], question[order], answer[order], kind[order]


def _strings(codes: Any, texts: Sequence[str]) -> Any:
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(texts, pa.string())).cast(pa.string())
