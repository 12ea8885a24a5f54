"""Class names in words, as the page, captions, reports and notes have them."""

import pytest

from surgvl.core.class_names import class_name

# (track, class, its name in words)
SPOKEN = [
    ("phase", "CalotTriangleDissection", "Calot triangle dissection"),
    ("phase", "calot_triangle_dissection", "Calot triangle dissection"),
    ("phase", "ClippingCutting", "Clipping and cutting"),
    ("phase", "clipping-and-cutting", "Clipping and cutting"),
    ("step", "CleaningCoagulation", "Cleaning and coagulation"),
    ("step", "ICGInjection", "ICG injection"),
    ("cvs", "CVS", "CVS"),
    ("tool", "SpecimenBag", "Specimen bag"),
    ("narration", "the semi-lunar fold is seen on CT", "The semi-lunar fold is seen on CT"),
    ("phase", "", ""),
    ("triplet", "hook,dissect,cystic_duct", "hook · dissect · cystic duct"),
    ("triplet", "grasper,null_verb,null_target", "grasper · idle"),
    ("tag", "HookIn_here", "HookIn_here"),
]


@pytest.mark.parametrize(("track", "name", "wanted"), SPOKEN)
def test_names_are_read_as_they_are_said(track: str, name: str, wanted: str) -> None:
    assert class_name(track, name) == wanted
