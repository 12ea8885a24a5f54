"""XML documents as bytes."""

import re
from xml.etree import ElementTree

# What XML 1.0 has no spelling for.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def xml_text(text: str) -> str:
    """A text with question marks for the characters that XML cannot hold."""
    return _FORBIDDEN.sub("?", text)


def document(root: ElementTree.Element) -> bytes:
    """An indented UTF-8 document; characters that XML cannot hold become question marks."""
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + xml_text(text).encode() + b"\n"
