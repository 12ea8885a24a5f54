"""PitVis' tables as deposited (DOI 10.5522/04/26531686): `annotations_01.csv`, a row of numbers for each second.

Steps count from 1; instruments are numbered by name. Positions are not deposited, so no questions can be made.
"""

from pathlib import Path

from surgvl.core.errors import DataError
from surgvl.data.readers.pitvis_qa import INSTRUMENTS, STEP_TABLE, STEPS
from surgvl.data.readers.text_files import parse_int, read_csv
from surgvl.data.spans import Span, Track, runs

_COLUMNS = ("int_time", "int_step", "int_instrument1", "int_instrument2")
_TOOLS = dict(enumerate(sorted(INSTRUMENTS), 1))


def read_annotations(path: Path) -> dict[str, Track]:
    """Tracks `step`, `phase` and `instrument` of one video; each row stands for a second.

    Raises:
        DataError: wrong columns, a number that is none of the data set's, seconds that do not rise.
    """
    columns = read_csv(path, _COLUMNS, ignore_others=True)
    seconds: list[int] = []
    steps: list[int] = []
    tools: list[set[int]] = []
    for time, step, one, two, line in zip(*(columns[name] for name in (*_COLUMNS, "line")), strict=True):
        second = parse_int(time, path, line, "int_time", least=0)
        if seconds and second <= seconds[-1]:
            raise DataError(f"{path}, line {line}: second {second} comes after second {seconds[-1]}: sort the rows")
        seconds.append(second)
        steps.append(parse_int(step, path, line, "int_step"))
        if steps[-1] != -1 and not 1 <= steps[-1] <= len(STEPS):
            raise DataError(f"{path}, line {line}: int_step {step} is not -1 or 1 to {len(STEPS)}: correct the row")
        tools.append({parse_int(text, path, line, "instrument") for text in (one, two)})
        if wrong := tools[-1] - _TOOLS.keys() - {-2, -1, 0}:
            raise DataError(f"{path}, line {line}: instrument {min(wrong)} is not -2 to {len(_TOOLS)}: correct the row")
    if not seconds:
        raise DataError(f"{path} has a header and no row: copy it again, or delete it")
    end_s = seconds[-1] + 1.0
    gaps = seconds[-1] + 1 - len(seconds)
    notes = [f"{gaps} seconds have no row in {path.name}"] if gaps else []
    names = [STEPS[step - 1] if step > 0 else "" for step in steps]
    phases = [STEP_TABLE[step - 1][1] if step > 0 else "" for step in steps]
    instruments: list[Span] = []
    for number, tool in _TOOLS.items():
        instruments += runs(seconds, [tool if number in there else "" for there in tools])
    return {
        "step": Track(runs(seconds, names), end_s, notes),
        "phase": Track(runs(seconds, phases), end_s),
        "instrument": Track(sorted(instruments), end_s),
    }
