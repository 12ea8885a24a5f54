"""Which clips of an index or archive a search considers.

An index knows the recording, procedure, data set and times of a clip. Case details and labels are known to an archive,
which replaces their conditions by recordings and spans before it searches.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from surgvl.core.checks import check_date
from surgvl.core.errors import ConfigError

# Recording, start and end in seconds.
Segment = tuple[str, float, float]


@dataclass(frozen=True, kw_only=True)
class Where:
    """A conjunction of conditions; those that are not set hold for every clip.

    Args:
        recordings: one of these ids.
        procedure: of this procedure.
        source: of this data set.
        span_s: (start, end) in seconds of every recording.
        spans: in one of these (recording, start, end); a clip lies in a span if its middle does.
        tags: in recordings or spans that have all these tags; archives only.
        phase: in spans labelled as this phase; archives only.
        surgeon: by this surgeon's code; archives only.
        date_from: on this date, YYYY-MM-DD, YYYY-MM or YYYY, or later; archives only.
        date_to: on this date or earlier; archives only.
    """

    recordings: tuple[str, ...] | None = None
    procedure: str = ""
    source: str = ""
    span_s: tuple[float, float] | None = None
    spans: tuple[Segment, ...] | None = None
    tags: tuple[str, ...] = ()
    phase: str = ""
    surgeon: str = ""
    date_from: str = ""
    date_to: str = ""

    def __post_init__(self) -> None:
        """Check spans and dates.

        Raises:
            ConfigError: a span is empty, or a date is none.
        """
        for name in ("date_from", "date_to"):
            if value := vars(self)[name]:
                check_date(name, value)
        for start_s, end_s in [*([self.span_s] if self.span_s else []), *(span[1:] for span in self.spans or ())]:
            if not 0 <= start_s < end_s:
                raise ConfigError(
                    f"a span must begin at 0 s or later and end after it begins, got {start_s} to {end_s} s"
                )

    @classmethod
    def chosen(cls, recording: str, procedure: str, source: str) -> "Where":
        """These conditions of a form, in which empty means any."""
        return cls(recordings=(recording,) if recording else None, procedure=procedure, source=source)

    @property
    def of_archive(self) -> dict[str, object]:
        """The conditions that only an archive can answer, by name."""
        names = ("tags", "phase", "surgeon", "date_from", "date_to")
        return {name: value for name in names if (value := vars(self)[name])}

    @property
    def of_times(self) -> bool:
        """Whether a condition holds for parts of recordings."""
        return self.span_s is not None or self.spans is not None

    def resolved(self, recordings: Iterable[str] | None = None, spans: Iterable[Segment] | None = None) -> "Where":
        """These conditions for an index: those of the archive are replaced by recordings and spans that meet them."""
        found, there = self.recordings, self.spans
        if recordings is not None:
            among = tuple(recordings)
            found = among if found is None else tuple(name for name in among if name in set(found))
        if spans is not None:
            there = tuple(spans) if there is None else tuple(_common(there, spans))
        return replace(
            self, recordings=found, spans=there, tags=(), phase="", surgeon="", date_from="", date_to=""
        )  # fmt: skip

    def __str__(self) -> str:
        """The conditions in words, for messages."""
        words = [f"procedure {self.procedure!r}"] * bool(self.procedure) + [f"source {self.source!r}"] * bool(
            self.source
        )
        if self.recordings is not None:
            some = ", ".join(map(repr, self.recordings[:3])) + ", ..." * (len(self.recordings) > 3)
            words.insert(0, f"video {some}" if self.recordings else "no recording")
        if self.span_s:
            words.append(f"the time {self.span_s[0]:g} to {self.span_s[1]:g} s")
        if self.spans is not None:
            words.append(f"{len(self.spans)} spans")
        words += [f"{name} {value!r}" for name, value in self.of_archive.items()]
        return " and ".join(words) or "every clip"


EVERYWHERE = Where()


def _common(some: Iterable[Segment], others: Iterable[Segment]) -> Iterable[Segment]:
    """The spans that two sets of spans share."""
    of_recording: dict[str, list[Segment]] = {}
    for other in others:
        of_recording.setdefault(other[0], []).append(other)
    for name, start_s, end_s in some:
        for _, other_start_s, other_end_s in of_recording.get(name, []):
            if (start := max(start_s, other_start_s)) < (end := min(end_s, other_end_s)):
                yield name, start, end
