"""A drawing of rectangles, lines and text as an SVG file (W3C SVG 1.1), with the styles of all plots in one place."""

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from surgvl.core.files import write_text
from surgvl.export.xml_file import xml_text

# Of classes and series; they can be told apart in grey, too, and repeat after that.
COLOURS = ("#2e6fdb", "#e0a030", "#1b9e6f", "#9b5fc0", "#d9582b", "#7f8c8d", "#c8417f", "#17202a")
INK, SOFT, LINE, EMPTY = "#17202a", "#566573", "#d5dbdb", "#eaeded"
# Width of a character of the plots' font, for room beside labels.
CHAR_PX = 6.6
_SIZE_PX = 12


def colour(number: int) -> str:
    """Colour of a class or series."""
    return COLOURS[number % len(COLOURS)]


class Drawing:
    """An SVG drawing on white.

    Args:
        width: px.
        height: px.
        title: read out by screen readers and shown at the top.
    """

    def __init__(self, width: float, height: float, title: str) -> None:
        self.root = ElementTree.Element(
            "svg",
            {
                "xmlns": "http://www.w3.org/2000/svg",
                "viewBox": f"0 0 {width:g} {height:g}",
                "width": f"{width:g}",
                "height": f"{height:g}",
                "role": "img",
                "font-family": "system-ui, sans-serif",
                "font-size": str(_SIZE_PX),
            },
        )
        ElementTree.SubElement(self.root, "title").text = xml_text(title)
        self.rect(0, 0, width, height, "#ffffff")
        self.text(8, 18, title, bold=True)

    def rect(self, x: float, y: float, width: float, height: float, fill: str, tip: str = "") -> None:
        """A filled rectangle, with words that a browser shows beside the pointer."""
        found = self._add("rect", x=x, y=y, width=max(width, 0), height=max(height, 0), fill=fill)
        if tip:
            ElementTree.SubElement(found, "title").text = xml_text(tip)

    def line(self, points: Sequence[tuple[float, float]], stroke: str, width: float = 1, dashed: bool = False) -> None:
        """A line through points."""
        found = self._add("polyline", stroke=stroke, fill="none")
        found.set("points", " ".join(f"{x:.1f},{y:.1f}" for x, y in points))
        found.set("stroke-width", f"{width:g}")
        if dashed:
            found.set("stroke-dasharray", "4 3")

    def dot(self, x: float, y: float, radius: float, fill: str) -> None:
        """A filled circle."""
        self._add("circle", cx=x, cy=y, r=radius, fill=fill)

    def text(
        self,
        x: float,
        y: float,
        words: str,
        anchor: str = "start",
        fill: str = INK,
        bold: bool = False,
        turn: float = 0,
    ) -> None:
        """A line of text; `y` is its baseline, `turn` in degrees."""
        found = self._add("text", x=x, y=y, fill=fill)
        found.text = xml_text(words)
        found.set("text-anchor", anchor)
        if bold:
            found.set("font-weight", "600")
        if turn:
            found.set("transform", f"rotate({turn:g} {x:.1f} {y:.1f})")

    def legend(self, x: float, y: float, names: Sequence[str], width: float) -> float:
        """Names beside their colours in rows no wider than `width`; returns where they end."""
        left = x
        for number, name in enumerate(names):
            need = 26 + CHAR_PX * len(name)
            if left > x and left + need > x + width:
                left, y = x, y + 18
            self.rect(left, y - 9, 10, 10, colour(number))
            self.text(left + 14, y, name, fill=SOFT)
            left += need
        return y + 18

    def save(self, path: Path) -> Path:
        """Write the drawing, atomically."""
        ElementTree.indent(self.root)
        write_text(path, ElementTree.tostring(self.root, encoding="unicode") + "\n")
        return path

    def _add(self, tag: str, **values: float | str) -> ElementTree.Element:
        given = {name: value if isinstance(value, str) else f"{value:.1f}" for name, value in values.items()}
        return ElementTree.SubElement(self.root, tag, given)
