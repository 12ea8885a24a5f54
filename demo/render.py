"""HTML from Jinja2 templates with autoescape: what people, files and models write is text on the page, never markup."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).resolve().parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(template: str, **values: object) -> str:
    """HTML of a template in `templates/`.

    Args:
        template: file name without `.html`.
        values: variables of the template; a missing one raises `jinja2.UndefinedError`.
    """
    return _TEMPLATES.get_template(f"{template}.html").render(**values)
