"""The options of the questions of a manifest: what their answers are chosen from."""

from collections.abc import Mapping, Sequence

from surgvl.metrics.answer_types.base import type_of


def options_of(questions: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Options of each question of a manifest: all answers to it, or to questions of its type if there is but one.

    Args:
        questions: columns `question`, `answer` and `type` of a question table, N rows.

    Returns:
        Question -> its options in alphabetical order; questions with less than two, and those of types without
        options, have none.
    """
    by_question: dict[str, set[str]] = {}
    by_type: dict[str, set[str]] = {}
    types: dict[str, str] = {}
    for question, answer, kind in zip(questions["question"], questions["answer"], questions["type"], strict=True):
        if type_of(kind).takes_options:
            members = type_of(kind).members(answer)
            by_question.setdefault(question, set()).update(members)
            by_type.setdefault(kind, set()).update(members)
            types.setdefault(question, kind)
    found = {}
    for question, answers in by_question.items():
        wide = answers if len(answers) > 1 else by_type[types[question]]
        if len(wide) > 1:
            found[question] = tuple(sorted(wide))
    return found
