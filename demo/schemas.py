"""What the page and its server say to each other, as JSON. Times are seconds of the recording.

Class names are those of the prompt sets; the page writes them for people.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Seconds = Annotated[float, Field(ge=0, le=1e7, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Line = Annotated[str, Field(max_length=300)]


class Given(BaseModel):
    """Something that a browser sends: unknown fields are an error."""

    model_config = ConfigDict(extra="forbid")


# ---- recordings


class DetailsChange(Given):
    """Case details to change; what is absent stays."""

    title: str | None = None
    procedure: str | None = None
    date: str | None = None
    surgeon: str | None = None
    tags: list[str] | None = None
    notes: str | None = None


class Paths(Given):
    """Files and folders on the machine of the archive, to add."""

    paths: Annotated[list[str], Field(min_length=1, max_length=10_000)]


class Phase(BaseModel):
    """A stretch in which the model sees a phase; `confidence` is the mean probability in it."""

    name: str
    start_s: float
    end_s: float
    confidence: float


class Action(Phase):
    """A stretch in which the model sees a triplet; `name` is the whole triplet."""

    instrument: str


class NewJob(Given):
    """Work on all recordings: `update` embeds what waits and what has changed, `reindex` embeds all with another model.

    `model` is a name, or a folder on the machine of the archive.
    """

    kind: Literal["update", "reindex"]
    model: Line = ""


# ---- search


class Span(Given):
    """A range of a recording."""

    recording: str
    start_s: Seconds
    end_s: Seconds


class Conditions(Given):
    """Which clips are searched; an empty list or text is not a condition."""

    recordings: list[str] = []
    procedure: list[Line] = []
    source: list[Line] = []
    tags: list[Line] = []
    surgeon: list[Line] = []
    phase: list[Line] = []
    date_from: str = ""
    date_to: str = ""
    start_s: Seconds | None = None
    end_s: Seconds | None = None


class SearchRequest(Given):
    """A query; at least one of text, image, like and good is given.

    Attributes:
        text: a sentence.
        image: id of a picture that was sent before.
        like: a moment or range like which.
        minus: a sentence that hits must not be like.
        weight: of the sentence, where there is an image or moment as well.
        good: hits that fit.
        bad: hits that do not.
        where: which clips are searched.
        k: most hits.
    """

    text: str = ""
    image: str = ""
    like: Span | None = None
    minus: str = ""
    weight: Share = 0.5
    good: Annotated[list[Span], Field(max_length=200)] = []
    bad: Annotated[list[Span], Field(max_length=200)] = []
    where: Conditions = Conditions()
    k: Annotated[int, Field(ge=1, le=500)] = 12


class Hit(BaseModel):
    """A moment that was found; `word` is strong, maybe or weak, and one in `odds` random pairs scores as high."""

    recording: str
    title: str
    start_s: float
    end_s: float
    score: float
    word: str = ""
    odds: float | None = None


class SearchReply(BaseModel):
    """Hits, best first; `id` names this search for its score curve."""

    id: str
    hits: list[Hit]
    remark: str
    elapsed_s: float


# ---- questions


class AskRequest(Given):
    """A question about a moment (`end_s` is absent), a range, or a whole recording (both are)."""

    recording: str
    start_s: Seconds | None = None
    end_s: Seconds | None = None
    question: str


class Frame(BaseModel):
    """What the model saw at a time: a JPEG in base64."""

    time_s: float
    jpeg: str


class AskReply(BaseModel):
    """An answer with everything shown next to it.

    Attributes:
        question: as the model received it.
        answer: the answer.
        closed: whether it was chosen from known answers; otherwise it is free text.
        num_known: number of known answers.
        probabilities: most likely known answers with their probability; empty for free text.
        at_s: the moment, or the middle of the range.
        moments: moments that were looked at; several for a range, whose probabilities are averaged.
        frames: what the model saw.
        width_px: of these frames, as the model saw them.
        height_px: likewise.
        problem: why there is no answer, where a model says so; empty if there is one.
        without_video: what it says to black frames; empty if that cannot be asked.
        truth: the label's answer at this moment; empty if there is none.
        doubts: why the answer may be worth little, in lines.
        elapsed_s: from question to answer.
    """

    question: str
    answer: str
    closed: bool
    num_known: int
    probabilities: list[tuple[str, float]]
    at_s: float
    moments: list[float]
    frames: list[Frame]
    width_px: int
    height_px: int
    problem: str
    without_video: str
    truth: str
    doubts: list[str]
    elapsed_s: float


# ---- labels and clips


class NewLabel(Given):
    """A label for a range."""

    track: str
    name: str
    start_s: Seconds
    end_s: Seconds


class NewClip(Span):
    """A range to keep."""

    title: str = ""
    note: str = ""


class ClipWords(Given):
    """What a person writes about a saved clip."""

    title: str
    note: str


class UserName(Given):
    """How a visitor wants to be called."""

    name: Annotated[str, Field(min_length=1, max_length=40)]


Json = dict[str, Any]
