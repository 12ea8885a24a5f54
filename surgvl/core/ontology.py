"""Fixed vocabularies of the field, in the ids of their datasets; all joins are by name, never by position in a file.

Sources: Cholec80 (Twinanda et al., arXiv 1602.03012), CholecT50 (Nwoye et al., arXiv 2109.03223, splits 2204.05235).
"""

import re

# The label that covers the moments which annotators looked at, where they did not look at all of a video.
RATED = "rated"
_RATER = re.compile(r"_rater_\d+$")


def rated_kind(kind: str) -> str:
    """The kind of the label `RATED` that belongs to a kind of label; raters of the same moments share one.

    >>> rated_kind("instrument"), rated_kind("cvs_rater_2")
    ('instrument_rated', 'cvs_rated')
    """
    return _RATER.sub("", kind) + "_rated"


def is_rater(kind: str, of: str) -> bool:
    """Whether labels of a kind are those that one rater gave for another kind.

    >>> is_rater("cvs_rater_2", "cvs"), is_rater("cvs_rated", "cvs")
    (True, False)
    """
    return _RATER.sub("", kind) == of != kind


_BOX = "_box"


def box_kind(kind: str) -> str:
    """The kind of label that has a box for each instance of a kind.

    >>> box_kind("triplet"), box_kind("triplet_box")
    ('triplet_box', 'triplet_box')
    """
    return kind.removesuffix(_BOX) + _BOX


def class_kind(kind: str) -> str:
    """The kind whose classes a kind of label has: that without boxes.

    >>> class_kind("triplet_box"), class_kind("phase")
    ('triplet', 'phase')
    """
    return kind.removesuffix(_BOX)


CHOLEC80_PHASES = (
    "Preparation",
    "CalotTriangleDissection",
    "ClippingCutting",
    "GallbladderDissection",
    "GallbladderPackaging",
    "CleaningCoagulation",
    "GallbladderRetraction",
)
CHOLEC80_TOOLS = ("Grasper", "Bipolar", "Hook", "Scissors", "Clipper", "Irrigator", "SpecimenBag")

# CholecT50 numbers its phases as Cholec80 does and spells them so (the misspelling is theirs).
CHOLECT50_PHASES = (
    "preparation",
    "carlot-triangle-dissection",
    "clipping-and-cutting",
    "gallbladder-dissection",
    "gallbladder-packaging",
    "cleaning-and-coagulation",
    "gallbladder-extraction",
)
INSTRUMENTS = ("grasper", "bipolar", "hook", "scissors", "clipper", "irrigator")
VERBS = ("grasp", "retract", "dissect", "coagulate", "clip", "cut", "aspirate", "irrigate", "pack", "null_verb")
TARGETS = (
    "gallbladder",
    "cystic_plate",
    "cystic_duct",
    "cystic_artery",
    "cystic_pedicle",
    "blood_vessel",
    "fluid",
    "abdominal_wall_cavity",
    "liver",
    "adhesion",
    "omentum",
    "peritoneum",
    "gut",
    "specimen_bag",
    "null_target",
)

PARTS: dict[str, tuple[str, ...]] = {"instrument": INSTRUMENTS, "verb": VERBS, "target": TARGETS}
"""The parts of a triplet, in the order of its name."""

# (instrument, verb, targets), in the order of CholecT50's ids: 94 valid combinations, then a null for each instrument.
_GROUPS = (
    ("grasper", "dissect", "cystic_plate gallbladder omentum"),
    (
        "grasper",
        "grasp",
        "cystic_artery cystic_duct cystic_pedicle cystic_plate gallbladder gut liver omentum peritoneum specimen_bag",
    ),
    ("grasper", "pack", "gallbladder"),
    ("grasper", "retract", "cystic_duct cystic_pedicle cystic_plate gallbladder gut liver omentum peritoneum"),
    (
        "bipolar",
        "coagulate",
        "abdominal_wall_cavity blood_vessel cystic_artery cystic_duct cystic_pedicle cystic_plate gallbladder liver "
        "omentum peritoneum",
    ),
    ("bipolar", "dissect", "adhesion cystic_artery cystic_duct cystic_plate gallbladder omentum"),
    ("bipolar", "grasp", "cystic_plate liver specimen_bag"),
    ("bipolar", "retract", "cystic_duct cystic_pedicle gallbladder liver omentum"),
    (
        "hook",
        "coagulate",
        "blood_vessel cystic_artery cystic_duct cystic_pedicle cystic_plate gallbladder liver omentum",
    ),
    ("hook", "cut", "blood_vessel peritoneum"),
    ("hook", "dissect", "blood_vessel cystic_artery cystic_duct cystic_plate gallbladder omentum peritoneum"),
    ("hook", "retract", "gallbladder liver"),
    ("scissors", "coagulate", "omentum"),
    (
        "scissors",
        "cut",
        "adhesion blood_vessel cystic_artery cystic_duct cystic_plate liver omentum peritoneum",
    ),
    ("scissors", "dissect", "cystic_plate gallbladder omentum"),
    ("clipper", "clip", "blood_vessel cystic_artery cystic_duct cystic_pedicle cystic_plate"),
    ("irrigator", "aspirate", "fluid"),
    ("irrigator", "dissect", "cystic_duct cystic_pedicle cystic_plate gallbladder omentum"),
    ("irrigator", "irrigate", "abdominal_wall_cavity cystic_pedicle liver"),
    ("irrigator", "retract", "gallbladder liver omentum"),
)
TRIPLETS: tuple[tuple[str, str, str], ...] = tuple(
    (instrument, verb, target) for instrument, verb, targets in _GROUPS for target in targets.split()
) + tuple((instrument, "null_verb", "null_target") for instrument in INSTRUMENTS)
TRIPLET_NAMES: tuple[str, ...] = tuple(",".join(triplet) for triplet in TRIPLETS)
