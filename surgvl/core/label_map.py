"""SurgRec's label maps, `label_map.json` or `label_mapping.json`: the names of classes behind their ids."""

from pathlib import Path
from typing import Any

from surgvl.core.errors import DataError
from surgvl.core.files import read_json


def read_label_map(path: Path, key: str = "index_to_label") -> dict[int, str]:
    """Label id -> class name, from either published form: name -> id, or an object of id -> name under a key.

    Raises:
        DataError: a different form.
    """
    record: Any = read_json(path)
    try:
        pairs = record.get(key) or {number: name for name, number in record.items()}
        names = {int(number): str(name) for number, name in pairs.items()}
        "".join(names.values()).encode()  # fails on half of a surrogate pair
        return names
    except (AttributeError, TypeError, ValueError) as error:
        raise DataError(f"{path} does not map names to numbers ({error}): copy it again, or delete it") from error
