"""Loggers of a run: `metrics.jsonl` always, and with it a CSV table, TensorBoard or Weights & Biases."""

import csv
import importlib
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Self, TypeVar

from surgvl.core.errors import ConfigError
from surgvl.core.files import append_jsonl, atomic, text_hash, trim_jsonl

Row = dict[str, float]
T = TypeVar("T")


class Log:
    """Context manager that writes `metrics.jsonl` of a run folder; subclasses also write elsewhere.

    Args:
        out: the run folder.
        step: where the run starts or resumes.
    """

    def __init__(self, out: Path, step: int = 0):
        self.out = out
        # A resumed run repeats the steps after the last checkpoint.
        trim_jsonl(out / "metrics.jsonl", lambda row: row["step"] < step)

    def write(self, row: Row) -> None:
        """Write the numbers of a step; `row` holds `step`."""
        append_jsonl(self.out / "metrics.jsonl", row)

    def close(self) -> None:
        """Nothing to close by default."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class CsvLog(Log):
    """Also writes the numbers to `metrics.csv`; a column that appears later is added to all rows."""

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
    """Also writes event files to `tensorboard/`."""

    def __init__(self, out: Path, step: int = 0):
        super().__init__(out, step)
        from torch.utils.tensorboard import SummaryWriter

        # Hides what a killed run wrote after its last checkpoint.
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
    """Also logs to the project `surgvl` of Weights & Biases, whose own settings decide whether it is uploaded."""

    def __init__(self, out: Path, step: int = 0):
        super().__init__(out, step)
        wandb: Any = importlib.import_module("wandb")
        # One id for each run folder, so that a resumed run continues its own curves.
        name = text_hash(str(out.resolve()))
        self.run: Any = wandb.init(project="surgvl", name=out.name, id=name, dir=str(out), resume="allow")

    def write(self, row: Row) -> None:
        """Write the numbers of a step."""
        super().write(row)
        self.run.log({name: value for name, value in row.items() if name != "step"}, step=int(row["step"]))

    def close(self) -> None:
        """Finish the run."""
        self.run.finish()


LOGS: dict[str, type[Log]] = {"none": Log, "csv": CsvLog, "tensorboard": TensorBoardLog, "wandb": WandbLog}
MODULES = {"tensorboard": "torch.utils.tensorboard", "wandb": "wandb"}


def check_logger(kind: str) -> None:
    """Check that the package of a logger is installed.

    Raises:
        ConfigError: it is not.
    """
    try:
        importlib.import_module(MODULES.get(kind, "csv"))
    except ImportError as error:
        raise ConfigError(
            f"--run.logger {kind} needs {kind}, which is not installed: pip install 'surgvl[{kind}]', or use csv"
        ) from error


class Throughput:
    """Speed of a run, and the fraction of time that it waits for data, by the host's clock.

    Args:
        step: where the run starts or resumes.
    """

    def __init__(self, step: int) -> None:
        self.step, self.since, self.waited_s = step, time.perf_counter(), 0.0

    def timed(self, batches: Iterable[T]) -> Iterator[T]:
        """The same batches; the time until each comes counts as waiting for data."""
        begun = time.perf_counter()
        for batch in batches:
            self.waited_s += time.perf_counter() - begun
            yield batch
            begun = time.perf_counter()

    def read(self, step: int, batch: int) -> Row:
        """Clips per second and fraction of time spent waiting, since the last read."""
        now = time.perf_counter()
        elapsed_s = max(1e-9, now - self.since)
        row = {
            "clips_per_s": round((step - self.step) * batch / elapsed_s, 2),
            "wait": round(self.waited_s / elapsed_s, 4),
        }
        self.step, self.since, self.waited_s = step, now, 0.0
        return row
