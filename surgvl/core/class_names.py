"""Class names as people say them, for notes, captions and reports; files and labels keep the names of their data set.

The page's script `words.js` does the same in a browser, and a test holds both together.
"""

import re

# Two official phase names omit the "and" with which they are spoken.
_AND = {"clipping cutting": "clipping and cutting", "cleaning coagulation": "cleaning and coagulation"}
# Words end at underscores and dashes, and before a capital: CVSAssessment is CVS and Assessment.
_SEAM = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[_-]")
_ACRONYM = re.compile(r"[A-Z][A-Z0-9]+")


def class_name(track: str, name: str) -> str:
    """A class of a track in words; a sentence stays, and so does a tag, which is a person's own words.

    >>> class_name("phase", "CalotTriangleDissection"), class_name("phase", "ClippingCutting")
    ('Calot triangle dissection', 'Clipping and cutting')
    >>> class_name("triplet", "hook,dissect,cystic_duct"), class_name("triplet", "grasper,null_verb,null_target")
    ('hook · dissect · cystic duct', 'grasper · idle')
    """
    if track == "tag":
        return name
    if track == "triplet":
        return _triplet(name)
    if " " not in name:
        words = _SEAM.sub(" ", name).split(" ")
        name = " ".join(word if _ACRONYM.fullmatch(word) else word.lower() for word in words)
        name = _AND.get(name, name)
    return name[:1].upper() + name[1:]


def _triplet(name: str) -> str:
    parts = [part.strip().replace("_", " ") for part in name.split(",")]
    if parts[1:2] == ["null verb"]:
        return f"{parts[0]} · idle"
    return " · ".join(parts)
