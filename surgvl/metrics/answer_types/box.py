"""A box in a picture: right from an intersection over union of 0.5 on.

Corners are in thousandths of the picture's width and height, so that they do not depend on the size at which a model is
shown it: "left, top, right, bottom".
"""

import re
from collections.abc import Mapping, Sequence
from typing import ClassVar

from surgvl.core.errors import DataError
from surgvl.metrics.answer_types.base import AnswerType
from surgvl.metrics.answer_types.options import Options
from surgvl.metrics.answer_types.reply_text import answer_text, declarations

WHOLE, IOU = 1000.0, 0.5
Corners = tuple[float, float, float, float]
# Four numbers with no words between them but names of coordinates: [1, 2, 3, 4], (1,2),(3,4), x1=1, y1=2, x2=3, y2=4.
_GAP = r"(?:[\s,;:=()\[\]<>\"'|]|\b[xy][12]?\b|\b(?:left|top|right|bottom|and|to)\b)+"
_BOX = re.compile(rf"(?<![\w.-]){_GAP.join([r'([0-9]+(?:[.][0-9]+)?)'] * 4)}(?![\d.]*\d)")


class Box(AnswerType):
    """Four numbers, "left, top, right, bottom"."""

    name: ClassVar[str] = "box"
    rule: ClassVar[str] = f"intersection over union at least {IOU:g}"
    measures: ClassVar[Mapping[str, str]] = {"iou": "mean intersection over union"}

    def instruction(self, options: Options) -> str:
        """Four numbers in thousandths."""
        return (
            "Answer with one box only: left, top, right, bottom, in thousandths of the picture's width and height, "
            "such as [100, 250, 400, 700]."
        )

    def read(self, reply: str, options: Sequence[str] = ()) -> str | None:
        """The last declared box; without a declaration, the only one."""
        for text in declarations(answer_text(reply)):
            found = {corners for each in _BOX.finditer(text) if (corners := _corners(each.groups())) is not None}
            if len(found) == 1:
                return ", ".join(f"{value:.12g}" for value in found.pop())
        return None

    def verify(self, answer: str) -> None:
        """Check that it is a box within the picture.

        Raises:
            DataError: it is not.
        """
        if _corners(answer.split(",")) is None:
            raise DataError(
                f"an answer of type box must be left,top,right,bottom from 0 to {WHOLE:g} with left < right and "
                f"top < bottom, got {answer!r}: correct it"
            )

    def right(self, truth: str, said: str) -> bool:
        """Whether two boxes overlap enough."""
        return iou(truth, said) >= IOU

    def measure(self, truth: str, said: str) -> dict[str, float]:
        """Intersection over union."""
        return {"iou": iou(truth, said)}


def iou(truth: str, said: str) -> float:
    """Intersection over union of two boxes as text; 0 if either is none."""
    a, b = _corners(truth.split(",")), _corners(said.split(","))
    if a is None or b is None:
        return 0.0
    common = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return common / (sum(areas) - common)


def _corners(parts: Sequence[str]) -> Corners | None:
    """Corners of a box within the picture; None if the parts are none."""
    try:
        left, top, right, bottom = map(float, parts)
    except ValueError:
        return None
    return (left, top, right, bottom) if 0 <= left < right <= WHOLE and 0 <= top < bottom <= WHOLE else None
