"""The contract of a list of marked answers: where it comes from, and its rows; a published list is one file."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, NamedTuple

from surgvl.tasks.judge import Case


class Marked(NamedTuple):
    """An answer with the marks of J people.

    Attributes:
        case: question, reference and answer.
        marks: of each person, `correct` or `incorrect`; empty where they gave none.
        part: what it is reported by, such as its question type; may be empty.
    """

    case: Case
    marks: tuple[str, ...]
    part: str = ""


@dataclass(frozen=True)
class MarkedList:
    """Answers that people have marked.

    Attributes:
        name: as it is called in scores.
        rows: the answers, each with the marks of the same people.
        people: who marked, in words.
        domain: what the questions are about, if it is not what is evaluated; empty otherwise.
        left_out: how many entries of the files were not taken, by reason.
    """

    name: str
    rows: list[Marked]
    people: str = "a person"
    domain: str = ""
    left_out: Mapping[str, int] = field(default_factory=dict)


class PublishedMarks(ABC):
    """A published list. A subclass is found by the name of its file below `surgvl/tasks/marks`.

    Attributes:
        name: public name, equal to the file's; `surgvl judge --marks NAME:PATH` reads it.
        title: as its authors call it.
        LICENCE: licence of the texts and marks.
        LICENCE_FROM: where it was read.
        SOURCE: the paper, and where to fetch it.
        DOMAIN: what the questions are about.
        NUM_MARKS: number of marks that are read from each file as published.
        SHA256: of each file as published.
    """

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    LICENCE: ClassVar[str] = ""
    LICENCE_FROM: ClassVar[str] = ""
    SOURCE: ClassVar[str] = ""
    DOMAIN: ClassVar[str] = ""
    NUM_MARKS: ClassVar[Mapping[str, int]] = {}
    SHA256: ClassVar[Mapping[str, str]] = {}

    @abstractmethod
    def read(self, path: Path) -> MarkedList:
        """Read one of its files, or the folder that holds them.

        Raises:
            DataError: nothing is there, or it has another layout.
        """
