"""Lists of pictures with their classes, `video02/video02-17.jpg 3`, in any order: the form of SV-RCNet's Cholec80.

The last number of a name is the second that the picture shows.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from surgvl.core.errors import DataError
from surgvl.data.formats.frame_rows import FrameRows, label_key
from surgvl.data.formats.text_files import mark_note, parse_int, read_text, short_repr


def read_picture_lists(paths: Sequence[Path], classes: Mapping[str, str]) -> dict[str, FrameRows]:
    """Rows of each video with their phases, by the name of its folder.

    Args:
        paths: the lists; a path and a class in each line, separated by the last blank.
        classes: what labels mean, see `surgvl.data.formats.frame_rows`.

    Raises:
        DataError: a line of a different form, an unknown class, or a picture with two classes.
    """
    found: dict[str, dict[int, str]] = {}
    for path in paths:
        for line, text in enumerate(read_text(path).splitlines(), 1):
            if not text.strip():
                continue
            name, _, label = text.strip().replace("\t", " ").rpartition(" ")
            picture = PurePosixPath(name.strip().replace("\\", "/"))
            digits = re.findall(r"\d+", picture.stem)
            if len(picture.parts) < 2 or not digits:
                raise DataError(
                    f"{path}, line {line}: {short_repr(text)} is not a picture in a video's folder, and a class"
                )
            if label_key(label) not in classes:
                raise DataError(f"{path}, line {line}: unknown phase {short_repr(label)}: correct the line")
            own = found.setdefault(picture.parts[-2], {})
            number = parse_int(digits[-1], path, line, "picture", least=0)
            if own.setdefault(number, classes[label_key(label)]) != classes[label_key(label)]:
                raise DataError(f"{path}, line {line}: {picture.name} has two phases: keep one line")
    notes = [f"{path.name} {note}" for path in paths for note in mark_note(path)]
    return {
        video_id: FrameRows(sorted(own), [own[number] for number in sorted(own)], notes, 1)
        for video_id, own in sorted(found.items())
    }
