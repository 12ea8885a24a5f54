"""Data and models of a suite of `surgvl eval`."""

from dataclasses import dataclass
from pathlib import Path

from surgvl.core.checks import check_above, check_range


@dataclass(frozen=True, kw_only=True)
class SuiteConfig:
    """Data and models of a suite.

    Args:
        root: folder with a folder for each data set, named as `surgvl data list` names them; a suite that renders its
            own data needs none.
        encoders: names or folders of the models to measure; `random` is random weights in the shape of the first other
            one; by default, those of the suite.
        fractions: shares of the training videos to train read-outs on, each within the next larger one.
        workers: number of concurrent jobs; they share the cores equally.
        suite_device: torch device of the jobs, such as cpu or cuda.
    """

    root: Path | None = None
    encoders: tuple[str, ...] = ()
    fractions: tuple[float, ...] = (1.0,)
    workers: int = 2
    suite_device: str = "cpu"

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ConfigError: one is out of range.
        """
        check_range("--suites.workers", self.workers, 1)
        for share in self.fractions:
            check_above("--suites.fractions", share)
            check_range("--suites.fractions", share, 0, 1)
