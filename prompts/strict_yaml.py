"""A strict subset of YAML: text, decimal integers, lists and mappings, without implicit conversions.

YAML 1.1 (yaml.org/spec/1.1) reads a bare `no` as False, `010` as 8 and `1:30` as 90, and keeps the last of two equal
keys. In a prompt file, each of these is a mistake, and is refused with its line and column.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from surgvl.core.errors import DataError
from surgvl.core.files import YAML_LOADER, plain_yaml

_PLAIN_INT = re.compile(r"0|[1-9][0-9]*")
_SCALARS = {"tag:yaml.org,2002:str", "tag:yaml.org,2002:int"}


class Located:
    """A parsed file that knows the line of each value.

    Args:
        path: the YAML file.

    Attributes:
        value: plain dicts, lists, strings and integers.

    Raises:
        DataError: the file is absent, not YAML, not a mapping, or has a value that YAML would convert.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            node = yaml.compose(plain_yaml(path), Loader=YAML_LOADER)
        except yaml.YAMLError as error:
            raise DataError(f"{path} is not YAML ({' '.join(str(error).split())}): correct the line") from error
        if not isinstance(node, yaml.MappingNode):
            raise DataError(f"{path} must be a mapping: start it with `name: ...`")
        self._root = node
        self.value: dict[str, Any] = self._plain(node)

    def line(self, path: Sequence[str | int]) -> int:
        """Line (from 1) of the value at a path such as ("classes", 3, "name"), or of the innermost node that exists."""
        node: yaml.Node = self._root
        for step in path:
            inner: yaml.Node | None = None
            if isinstance(node, yaml.MappingNode):
                inner = next((value for key, value in node.value if key.value == str(step)), None)
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                inner = node.value[step]
            if inner is None:
                break
            node = inner
        return int(node.start_mark.line) + 1

    def _plain(self, node: yaml.Node) -> Any:
        if isinstance(node, yaml.SequenceNode):
            return [self._plain(part) for part in node.value]
        if isinstance(node, yaml.MappingNode):
            found: dict[str, Any] = {}
            for key, value in node.value:
                name = self._plain(key)
                if not isinstance(name, str):
                    raise self._refuse(key, "is not a text key")
                if name in found:
                    raise self._refuse(key, "occurs twice, and YAML would keep only the last")
                found[name] = self._plain(value)
            return found
        if node.tag not in _SCALARS:
            kind = node.tag.rsplit(":", 1)[-1]
            raise self._refuse(node, f"is read by YAML as {kind}")
        if node.tag.endswith(":int"):
            if not _PLAIN_INT.fullmatch(node.value):
                raise self._refuse(node, "is read by YAML as a number in another base or form")
            return int(node.value)
        return node.value

    def _refuse(self, node: yaml.Node, fact: str) -> DataError:
        mark = node.start_mark
        where = f"{self.path}, line {mark.line + 1}, column {mark.column + 1}"
        return DataError(f"{where}: {str(node.value)!r} {fact}: quote it or correct it")
