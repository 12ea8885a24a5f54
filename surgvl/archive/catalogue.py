"""The catalogue of an archive: one SQLite file with its recordings, case details, labels, saved clips and jobs.

Its methods are thread-safe and take no lock of the archive: details, labels and clips are short transactions, which
wait for one another.
"""

from pathlib import Path

from surgvl.archive.detail_table import DetailTable
from surgvl.archive.job_table import JobTable
from surgvl.archive.label_table import LabelTable

FILE = "catalogue.sqlite"


class Catalogue(DetailTable, LabelTable):
    """The tables of a catalogue.

    Attributes:
        jobs: long work.

    Args:
        path: the file; created if missing.

    Raises:
        DataError: it is not a catalogue.
    """

    def __init__(self, path: Path | str) -> None:
        super().__init__(path)
        self.jobs = JobTable(self)
