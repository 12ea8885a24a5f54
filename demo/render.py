"""HTML by Jinja2 templates with autoescape: what people, files and models write is text on the page, never markup."""

from functools import partial
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from surgvl.demo import formatting

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).resolve().parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters |= {
    "answer": formatting.answer,
    "clock": formatting.clock,
    "fmt": format,
    "hours": formatting.hours,
    "phase": formatting.phase,
    "plural": formatting.plural,
    "took": formatting.took,
    "url_part": partial(quote, safe=""),
}


def render(template: str, **values: object) -> str:
    """A template of `templates/`, filled in; a value that the template asks for and does not get is an error."""
    return _TEMPLATES.get_template(f"{template}.html").render(**values)
