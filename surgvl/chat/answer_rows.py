"""Answer the questions of a manifest, with their own video and with its controls.

Shapes: N rows.
"""

from collections.abc import Mapping, Sequence

from tqdm import tqdm

from surgvl.chat.answerer import Answer, Answerer, Question, Window
from surgvl.chat.controls import KINDS, replaced, variant
from surgvl.chat.question_rows import QuestionRow, window_of
from surgvl.core.errors import ConfigError, DataError
from surgvl.data.tables import is_open
from surgvl.metrics.answer_types.base import is_typed, read_answer, type_of
from surgvl.metrics.outcomes import outcome
from surgvl.prompts.wordings import Wordings

# Columns of answers.jsonl; those of general models have `raw`, `reply`, `options` and `seconds`, too.
FIELDS = (
    *("video_id", "start_s", "end_s", "question", "answer", "type"),
    *("prediction", "confidence", "matched", "mode", "ablated", "outcome"),
)


def answer_rows(
    answerer: Answerer,
    rows: Sequence[QuestionRow],
    controls: Sequence[str] = ("",),
    open_ended: bool = False,
    seed: int = 0,
    options: Mapping[str, tuple[str, ...]] | None = None,
    batch: int = 0,
    wordings: Wordings | None = None,
) -> list[QuestionRow]:
    """Answer a manifest's questions about their own video, about controls in its place, and put in other ways.

    Equal questions about equal windows, such as one question about the black video, are answered once.

    Args:
        answerer: prepared for the windows of the rows.
        rows: N rows of a manifest's question table.
        controls: the empty string for the question as it is, a video of `controls.KINDS`, or a name of a variant, which
            leaves out the questions that it does not change.
        open_ended: also answer closed questions in free text; questions of an open type always are.
        seed: of the draws of other videos.
        options: question -> its allowed answers, for a model that was tuned on none (`Answerer.takes_options`); a
            question that is not there is answered in free text, or in the form of its type.
        batch: most questions in one call of the answerer; 0: as many as it takes (`Answerer.num_at_once`).
        wordings: of the questions.

    Returns:
        Rows of answers.jsonl, control by control, in the order of the questions.

    Raises:
        ConfigError: a closed question for a model that was tuned on no closed answers, or an invalid control.
        DataError: a true answer is none of its type.
    """
    known = tuple(answerer.known.answers)
    for row in rows:
        try:
            type_of(row["type"]).verify(row["answer"])
        except DataError as error:
            raise DataError(f"{row['question']!r} about {row['video_id']} at {row['start_s']} s: {error}") from error
    windows = [window_of(row) for row in rows]
    free = [open_ended or is_open(row["type"]) for row in rows]
    if not known and options is None and not all(free):
        raise ConfigError("the model was tuned on no closed answers to choose from: add --open_ended for free answers")
    choices = [known if options is None else options.get(row["question"], ()) for row in rows]
    allowed = [() if free[number] else choices[number] for number in range(len(rows))]
    kinds = ["open" if free[number] else _asked_as(row["type"], allowed[number]) for number, row in enumerate(rows)]
    size = batch or answerer.num_at_once
    found = []
    with tqdm(total=len(rows) * len(controls), desc="answering", unit="question", disable=None, leave=False) as bar:

        def done(count: int) -> None:
            bar.update(count)

        for control in controls:
            pairs = [(kind, bool(among)) for kind, among in zip(kinds, allowed, strict=True)]
            ways = {pair: variant(control, pair[0], wordings, pair[1]) for pair in set(pairs)}
            # Row numbers by question and options, then by the window that is shown: neighbours may share a batch.
            groups: dict[tuple[str, tuple[str, ...], str], dict[Window, list[int]]] = {}
            for number, window in enumerate(replaced(windows, control if control in KINDS else "", seed)):
                if ways[pairs[number]] is not None:
                    group = rows[number]["question"], allowed[number], kinds[number]
                    groups.setdefault(group, {}).setdefault(window, []).append(number)
            asked = [
                (Question(window, text, answers, kind, way.wording, way.order), numbers)
                for (text, answers, kind), shown in groups.items()
                if (way := ways[kind, bool(answers)]) is not None
                for window, numbers in shown.items()
            ]
            said: dict[int, Answer] = {}
            for at in range(0, len(asked), size):
                part = asked[at : at + size]
                answers = answerer.answer([question for question, _ in part], done)
                for (_, numbers), answer in zip(part, answers, strict=True):
                    said |= dict.fromkeys(numbers, answer)
                bar.update(sum(len(numbers) - 1 for _, numbers in part))
            for number, row in enumerate(rows):
                if number in said:
                    mode, among = (answerer.mode, ()) if kinds[number] != "open" else ("open", choices[number])
                    mode = "typed" if is_typed(row["type"]) else mode
                    found.append(answered_row(row, said[number], control, mode, among))
    return found


def _asked_as(kind: str, allowed: Sequence[str]) -> str:
    """The type of answer that is asked for; a choice without options is free text."""
    name = type_of(kind).name
    return "open" if name == "choice" and not allowed else name


def answered_row(row: QuestionRow, answer: Answer, control: str, mode: str, among: Sequence[str]) -> QuestionRow:
    """A row of answers.jsonl.

    Args:
        row: of a manifest's question table.
        answer: what was answered.
        control: the video that was shown, empty for the question's own.
        mode: how it was answered, see `surgvl.tasks.answers.MODES`.
        among: what a free answer to a closed question must be one of.
    """
    said, problem, kind = answer.text, answer.problem, type_of(row["type"])
    if mode == "typed" and not problem and answer.shown is None:
        # Of a model that is not told the form of the answer.
        options = answer.question.answers or among
        said, problem = read_answer(kind, said, [each for option in options for each in kind.members(option)])
    texts = {text for each in among for text in (each, each.replace("_", " "))}
    is_answer = not problem and (mode != "open" or kind.name == "open" or said in texts)
    sure = None if problem or answer.confidence is None else round(answer.confidence, 6)
    facts = {
        "prediction": said,
        "confidence": sure,
        "matched": is_answer,
        "mode": mode,
        "ablated": control,
        "outcome": outcome(problem or ("" if is_answer else "unparsed"), kind.right(row["answer"], said)),
    }
    found = {name: facts[name] if name in facts else row[name] for name in FIELDS}
    found |= {"raw": answer.raw, "reply": answer.reply} if answer.reply else {}
    found |= {"options": list(answer.shown)} if answer.shown is not None else {}
    return found | ({"seconds": answer.seconds} if answer.seconds is not None else {})


def unread_row(row: QuestionRow, control: str, mode: str) -> QuestionRow:
    """A row of answers.jsonl about video that cannot be read: its answer is missing."""
    about = Question(window_of(row), row["question"])
    return answered_row(row, Answer(about, "", problem="missing"), control, mode, ())
