"""The picture of the rooms in docs/architecture.md, drawn from the table of tests/test_floors.py.

python -m tests.helpers.rooms_picture
"""

import textwrap
from html import escape
from pathlib import Path

from tests.test_floors import ROOMS

PICTURE = Path(__file__).resolve().parents[2] / "docs" / "rooms.svg"
# What lies in a room, in a few words.
NOTES = {
    "core": "files, errors, results, registry, ontology",
    "video": "decoding by time, content area, clips",
    "prompts": "sentences for classes, as YAML",
    "metrics": "pure functions on arrays",
    "models": "encoder, towers, projector, chat; checkpoints",
    "data": "readers, manifest, sampling; the phantom",
    "train": "one loop, optimizer, schedule, logs",
    "embed": "vectors of videos and sentences",
    "pretrain": "one file a recipe",
    "align": "contrastive losses",
    "chat": "templates, answers, tuning",
    "probe": "readouts of frozen encoders",
    "tasks": "one file a benchmark task",
    "retrieval": "indexes and moments",
    "export": "one file a format",
    "serve": "vLLM plug-in, gateway, client",
    "api": "the Python face",
    "archive": "recordings of one's own: catalogue, labels, clips",
    "bench": "many runs, one table",
    "compat": "interfaces of other projects",
    "demo": "the page",
    "commands": "one file a verb",
    "cli": "the table of commands, arguments, help",
}
WIDTH, LEFT, GAP, HEIGHT = 960, 24, 12, 62
FONT = "font-family='Inter, -apple-system, Segoe UI, Roboto, Helvetica, Arial, sans-serif'"


def draw() -> str:
    """The SVG: a row for each floor, the lowest at the bottom, a box for each room."""
    floors = sorted({room.floor for name, room in ROOMS.items() if not name.startswith("__")})
    height = len(floors) * (HEIGHT + GAP) + 2 * LEFT - GAP
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' {FONT}>",
        "<title>Rooms of surgvl by floors: a room imports rooms of lower floors only</title>",
        f"<rect width='{WIDTH}' height='{height}' rx='16' fill='#f4f7f7'/>",
    ]
    for row, floor in enumerate(reversed(floors)):
        names = [name for name, room in ROOMS.items() if room.floor == floor and not name.startswith("__")]
        wide = (WIDTH - 2 * LEFT - GAP * (len(names) - 1)) / len(names)
        # From dark at the bottom to light at the top.
        light = 28 + 50 * row_share(floors.index(floor), len(floors))
        ink = "#ffffff" if light < 58 else "#10292f"
        for at, name in enumerate(names):
            x, y = LEFT + at * (wide + GAP), LEFT + row * (HEIGHT + GAP)
            lines = textwrap.wrap(NOTES[name], int(wide / 6.4))
            box = f"x='{x:.0f}' y='{y}' width='{wide:.0f}' height='{HEIGHT}' rx='10'"
            parts.append(f"<rect {box} fill='hsl(187 42% {light:.0f}%)'/>")
            top = y + (24 if len(lines) == 2 else 27)
            parts.append(_text(x + wide / 2, top, name, f"font-size='15' font-weight='650' fill='{ink}'"))
            for number, line in enumerate(lines):
                parts.append(_text(x + wide / 2, top + 16 + 13 * number, line, f"font-size='11' fill='{ink}'"))
    return "\n".join([*parts, "</svg>"]) + "\n"


def row_share(index: int, count: int) -> float:
    """Where a floor lies between the lowest, 0, and the highest, 1."""
    return index / max(1, count - 1)


def _text(x: float, y: float, text: str, style: str) -> str:
    return f"<text x='{x:.0f}' y='{y:.0f}' text-anchor='middle' {style}>{escape(text)}</text>"


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
