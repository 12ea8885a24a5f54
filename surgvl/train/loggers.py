"""Where the numbers of a run go: `metrics.jsonl` always, and beside it a table, TensorBoard or Weights & Biases."""

import csv
import importlib
import time
from pathlib import Path
from typing import Any

from surgvl.core.errors import ConfigError
from surgvl.core.files import append_jsonl, atomic, text_hash, trim_jsonl

Row = dict[str, float]


class Log:
    """`metrics.jsonl` of a run folder; subclasses write elsewhere too.

    Args:
        out: the run folder.
        step: where the run starts or goes on.
    """

    def __init__(self, out: Path, step: int = 0):
        self.out = out
        # What a killed run wrote after its last checkpoint is done once more.
        trim_jsonl(out / "metrics.jsonl", lambda row: row["step"] < step)

    def write(self, row: Row) -> None:
        """Write the numbers of a step; `row` holds `step`."""
        append_jsonl(self.out / "metrics.jsonl", row)

    def close(self) -> None:
        """Nothing more comes."""


class CsvLog(Log):
    """`metrics.csv` beside it, the same numbers; a column that comes later is added to the whole table."""

    def __init__(self, out: Path, step: int = 0):
        super().__init__(out, step)
        self._rewrite()

    def write(self, row: Row) -> None:
        """Write the numbers of a step."""
        super().write(row)
        if set(row) <= set(self.columns):
            with open(self.out / "metrics.csv", "a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, self.columns).writerow(row)
        else:
            self._rewrite()

    def _rewrite(self) -> None:
        rows = trim_jsonl(self.out / "metrics.jsonl", lambda row: True)
        self.columns = list(dict.fromkeys(name for row in rows for name in row))
        with atomic(self.out / "metrics.csv") as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns)
            writer.writeheader()
            writer.writerows(rows)


class TensorBoardLog(Log):
    """Event files in `tensorboard/` beside it."""

    def __init__(self, out: Path, step: int = 0):
        super().__init__(out, step)
        from torch.utils.tensorboard import SummaryWriter

        # What a killed run wrote after its last checkpoint is hidden.
        self.writer: Any = SummaryWriter(str(out / "tensorboard"), purge_step=step)

    def write(self, row: Row) -> None:
        """Write the numbers of a step."""
        super().write(row)
        for name, value in row.items():
            if name != "step":
                self.writer.add_scalar(name, value, int(row["step"]))

    def close(self) -> None:
        """Flush the event file."""
        self.writer.close()


class WandbLog(Log):
    """A run of the project `surgvl` at Weights & Biases; that package's own settings say whether it is sent."""

    def __init__(self, out: Path, step: int = 0):
        super().__init__(out, step)
        wandb: Any = importlib.import_module("wandb")
        # A run folder has one name there, so that a resumed run goes on in its own curves.
        name = text_hash(str(out.resolve()))
        self.run: Any = wandb.init(project="surgvl", name=out.name, id=name, dir=str(out), resume="allow")

    def write(self, row: Row) -> None:
        """Write the numbers of a step."""
        super().write(row)
        self.run.log({name: value for name, value in row.items() if name != "step"}, step=int(row["step"]))

    def close(self) -> None:
        """Say that the run is over."""
        self.run.finish()


LOGS: dict[str, type[Log]] = {"none": Log, "csv": CsvLog, "tensorboard": TensorBoardLog, "wandb": WandbLog}
MODULES = {"tensorboard": "torch.utils.tensorboard", "wandb": "wandb"}


def check_logger(kind: str) -> None:
    """Look for the package that a logger needs.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        importlib.import_module(MODULES.get(kind, "csv"))
    except ImportError as error:
        raise ConfigError(
            f"--run.logger {kind} needs {kind}, which is not installed: pip install 'surgvl[{kind}]', or take csv"
        ) from error


class Pace:
    """How fast a run goes, and which share of its time it waits for data; by the clock of the host."""

    def __init__(self) -> None:
        self.start(0)

    def start(self, step: int) -> None:
        """The run starts, or goes on, at this step."""
        self.step, self.since, self.ended, self.waited = step, time.perf_counter(), time.perf_counter(), 0.0

    def end_part(self) -> None:
        """A part of a step is done; the next batch is asked for."""
        self.ended = time.perf_counter()

    def begin_part(self) -> None:
        """The next batch is there."""
        self.waited += time.perf_counter() - self.ended

    def read(self, step: int, batch: int) -> Row:
        """Clips a second and share of waiting since the last read."""
        now = time.perf_counter()
        took = max(1e-9, now - self.since)
        row = {"clips_per_s": round((step - self.step) * batch / took, 2), "wait": round(self.waited / took, 4)}
        self.step, self.since, self.waited = step, now, 0.0
        return row
