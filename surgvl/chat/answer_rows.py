"""Answer the questions of a manifest, with their own video and with its controls.

Shapes: N rows.
"""

from collections.abc import Sequence

from tqdm import tqdm

from surgvl.chat.answerers import Answerer
from surgvl.chat.controls import replaced
from surgvl.chat.feature_cache import QuestionRow, window_of
from surgvl.chat.question import Question, Window
from surgvl.core.errors import ConfigError
from surgvl.data.tables import is_open

# Columns of answers.jsonl.
FIELDS = ("video_id", "start_s", "end_s", "question", "answer", "type", "prediction", "matched", "mode", "ablated")


def answer_rows(
    answerer: Answerer,
    rows: Sequence[QuestionRow],
    controls: Sequence[str] = ("",),
    open_ended: bool = False,
    seed: int = 0,
    batch: int = 64,
) -> list[QuestionRow]:
    """Answer a manifest's questions about their own video, about controls in its place, or about both.

    Equal questions about equal windows, such as one question about the black video, are answered once.

    Args:
        answerer: prepared for the windows of the rows.
        rows: N rows of a manifest's question table.
        controls: what to show: the empty string for the question's own video, or one of `controls.KINDS`.
        open_ended: also answer closed questions in free text; questions of an open type always are.
        seed: of the draws of other videos.
        batch: most questions in one call of the answerer.

    Returns:
        Rows of answers.jsonl, control by control, in the order of the questions.

    Raises:
        ConfigError: a closed question for a model that was tuned on no closed answers, or an invalid control.
    """
    closed = tuple(answerer.known.answers)
    known = {text for answer in closed for text in (answer, answer.replace("_", " "))}
    windows = [window_of(row) for row in rows]
    free = [open_ended or is_open(row["type"]) for row in rows]
    if not closed and not all(free):
        raise ConfigError("the model was tuned on no closed answers to choose from: add --open_ended for free answers")
    found = []
    with tqdm(total=len(rows) * len(controls), desc="answering", unit="question", disable=None, leave=False) as bar:
        for control in controls:
            # Row numbers by (question, free), then by the window that is shown.
            groups: dict[tuple[str, bool], dict[Window, list[int]]] = {}
            for number, window in enumerate(replaced(windows, control, seed)):
                groups.setdefault((rows[number]["question"], free[number]), {}).setdefault(window, []).append(number)
            texts: dict[int, str] = {}
            for (text, freely), numbers in groups.items():
                shown = list(numbers)
                for at in range(0, len(shown), batch):
                    part = shown[at : at + batch]
                    answers = answerer.answer([Question(window, text, () if freely else closed) for window in part])
                    for window, answer in zip(part, answers, strict=True):
                        texts |= dict.fromkeys(numbers[window], answer.text)
                    bar.update(sum(len(numbers[window]) for window in part))
            for number, row in enumerate(rows):
                facts = {
                    "prediction": texts[number],
                    "matched": not free[number] or is_open(row["type"]) or texts[number] in known,
                    "mode": "open" if free[number] else answerer.mode,
                    "ablated": control,
                }
                found.append({name: facts[name] if name in facts else row[name] for name in FIELDS})
    return found
