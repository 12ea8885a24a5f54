"""HTML as a browser would take it apart, for tests of views."""

from html.parser import HTMLParser

NASTY = """<img src=x onerror="alert(1)"><script>alert('2')</script>" onload='alert(3)' & {{ 7 * 7 }}"""


class Parsed(HTMLParser):
    """Tags with their attributes, all text with single spaces, and whether tags are closed in the order they opened."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)
        self.close()
        self.text = " ".join(self.text.split())
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in ("img", "input", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str, **wanted: str) -> list[dict[str, str]]:
        """Attributes of the tags that have these classes (kind=...)."""
        kind = wanted.get("kind", "")
        return [
            attrs for name, attrs in self.tags if name == tag and (not kind or kind in attrs.get("class", "").split())
        ]
