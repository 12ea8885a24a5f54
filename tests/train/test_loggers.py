"""Where the numbers of a run go besides metrics.jsonl; packages that are not installed are played by small ones."""

import csv
import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from surgvl.core.errors import ConfigError
from surgvl.train.config import LOGGERS
from surgvl.train.loggers import LOGS, Throughput, check_logger

ROWS = [{"step": 0, "loss": 1.5, "lr": 0.1}, {"step": 5, "loss": 1.25, "lr": 0.2}]


def lines(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_every_choice_has_a_log() -> None:
    assert tuple(LOGS) == LOGGERS


def test_a_table_grows_by_rows_and_by_columns(tmp_path: Path) -> None:
    for step, rows in ((0, ROWS), (10, [{"step": 10, "loss": 1.0, "lr": 0.3, "rank": 7.5}, {"step": 15, "loss": 0.5}])):
        log = LOGS["csv"](tmp_path, step)
        for row in rows:
            log.write(row)
        log.close()
    with open(tmp_path / "metrics.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["step"] for row in table] == ["0", "5", "10", "15"]
    assert [row["loss"] for row in table] == ["1.5", "1.25", "1.0", "0.5"]
    assert [row["rank"] for row in table] == ["", "", "7.5", ""]
    assert len(lines(tmp_path)) == 4


class Package(types.ModuleType):
    """Stands for TensorBoard's writer and for wandb; keeps what it was told."""

    def __init__(self, name: str):
        super().__init__(name)
        self.told: list[Any] = []

    def SummaryWriter(self, folder: str, purge_step: int | None) -> "Package":  # noqa: N802 (TensorBoard's name)
        self.told.append((Path(folder).name, purge_step))
        return self

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.told.append((name, value, step))

    def init(self, **given: Any) -> "Package":
        self.told.append(given)
        return self

    def log(self, row: dict[str, float], step: int) -> None:
        self.told.append((row, step))

    def close(self) -> None:
        self.told.append("closed")

    finish = close


def test_tensorboard_gets_scalars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = Package("torch.utils.tensorboard")
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", package)
    check_logger("tensorboard")
    log = LOGS["tensorboard"](tmp_path, 5)
    log.write(ROWS[1])
    log.close()
    assert package.told == [("tensorboard", 5), ("loss", 1.25, 5), ("lr", 0.2, 5), "closed"]
    assert lines(tmp_path) == ROWS[1:]


def test_wandb_goes_on_in_the_same_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = Package("wandb")
    monkeypatch.setitem(sys.modules, "wandb", package)
    check_logger("wandb")
    for step in (0, 5):
        log = LOGS["wandb"](tmp_path / "mine", step)
        (tmp_path / "mine").mkdir(exist_ok=True)
        log.write(ROWS[1])
        log.close()
    first, row, closed, again, *_ = package.told
    assert first == again
    assert (first["project"], first["name"], first["resume"]) == ("surgvl", "mine", "allow")
    assert row == ({"loss": 1.25, "lr": 0.2}, 5)
    assert closed == "closed"


@pytest.mark.parametrize(("kind", "module"), [("tensorboard", "torch.utils.tensorboard"), ("wandb", "wandb")])
def test_a_missing_package_is_one_line(kind: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=rf"--run.logger {kind} needs {kind}.*surgvl\[{kind}\]'"):
        check_logger(kind)
    check_logger("csv")
    check_logger("none")


def test_throughput_tells_work_from_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 0.0, 3.0, 4.0, 7.0, 8.0, 8.0])
    monkeypatch.setattr("surgvl.train.loggers.time.perf_counter", lambda: next(clock))
    throughput = Throughput(0)
    for _ in throughput.timed("ab"):
        pass  # 3 s of waiting before each, 1 s of work after it
    assert throughput.read(4, 10) == {"clips_per_s": 5.0, "wait": 0.75}


def test_lines_after_the_last_checkpoint_are_written_once(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 0}\n{"step": 5}\n{"step": 10}\n{"st')
    log = LOGS["none"](tmp_path, 10)
    log.write({"step": 10, "loss": 1.0})
    log.close()
    assert [row["step"] for row in lines(tmp_path)] == [0, 5, 10]


def test_a_table_holds_the_lines_of_a_resumed_run_once(tmp_path: Path) -> None:
    """Rows after the last checkpoint go, a half row too; a column that came with them comes when they come again."""
    rows = [{"step": 0, "loss": 1.5}, {"step": 5, "loss": 1.0}, {"step": 15, "loss": 0.5, "rank": 2.0}]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for out in (whole, broken):
        out.mkdir()
        log = LOGS["csv"](out, 0)
        for row in rows:
            log.write(row)
        log.close()
    with open(broken / "metrics.csv", "a") as file:
        file.write("20,0.")
    log = LOGS["csv"](broken, 10)
    with open(broken / "metrics.csv", newline="") as file:
        assert list(csv.DictReader(file)) == [{"step": "0", "loss": "1.5"}, {"step": "5", "loss": "1.0"}]
    log.write(rows[2])
    log.close()
    assert (broken / "metrics.csv").read_bytes() == (whole / "metrics.csv").read_bytes()
