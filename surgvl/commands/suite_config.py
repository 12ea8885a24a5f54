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
        fractions: shares of the training videos to train readouts on, each within the next larger one.
        workers: number of concurrent jobs; they share the cores equally.
        suite_device: torch device of the jobs, such as cpu or cuda.
        every_s: seconds between clips of probes; 0: as the encoder and the readout say, a clip a second in most cases.
        tokens_gb: maximum size of the tokens of a split that a probe keeps on disk, GB; readouts of all tokens of a
            large encoder need hundreds for a large data set, or a larger --suites.every_s.
    """

    root: Path | None = None
    encoders: tuple[str, ...] = ()
    fractions: tuple[float, ...] = (1.0,)
    workers: int = 2
    suite_device: str = "cpu"
    every_s: float = 0.0
    tokens_gb: float = 16.0

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ConfigError: one is out of range.
        """
        check_range("--suites.workers", self.workers, 1)
        check_range("--suites.every_s", self.every_s, 0)
        check_above("--suites.tokens_gb", self.tokens_gb)
        for share in self.fractions:
            check_above("--suites.fractions", share)
            check_range("--suites.fractions", share, 0, 1)
