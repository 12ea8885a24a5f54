"""Free text, which is compared by words, and by a judge."""

from collections.abc import Sequence
from typing import ClassVar

from surgvl.metrics.answer_types.base import AnswerType
from surgvl.metrics.answer_types.options import Options
from surgvl.metrics.answer_types.reply_text import without_thought


class Open(AnswerType):
    """Any text."""

    name: ClassVar[str] = "open"

    def instruction(self, options: Options) -> str:
        """None: the form is free."""
        return ""

    def read(self, reply: str, options: Sequence[str] = ()) -> str | None:
        """The reply without the model's thought."""
        return without_thought(reply) or None
