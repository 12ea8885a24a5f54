"""Prompt sets: what ships, what is refused and on which line, and that the phantom's prompts match its narrator."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from surgvl import prompts
from surgvl.core.errors import ConfigError, DataError
from surgvl.core.files import text_hash
from surgvl.core.ontology import CHOLEC80_PHASES, CHOLEC80_TOOLS, CHOLECT50_PHASES, TRIPLET_NAMES, TRIPLETS
from surgvl.data.phantom.text import PHASE_WORDS, say

# A changed sentence changes scores: raise the set's version with it, then its line here. A new set works without one.
GOLDEN = {
    "cholec80_phase": (1, "a26df2cdd1623647"),
    "cholect50_triplet": (1, "fb00aca245d03d55"),
    "phantom_phase": (1, "35c5582561993906"),
    "phantom_triplet": (1, "80dda1bf472db571"),
}
# A published copy of such a list swaps the last but two and the last: each class's own sentences must say what it is.
OWN_WORDS = ("start", "calot|triangle", "clip", "liver", "bag", "bleeding", "out|leaves|draws")

HEAD = """name: mine
version: 1
task: phase
dataset: mine
source: "mine"
licence: Apache-2.0
language: en
"""
CLASSES = """classes:
  - id: 0
    name: Open
    prompts: ["the abdomen is opened"]
  - id: 1
    name: Close
    aliases: [closing]
    prompts: ["the abdomen is closed", "the skin is stapled"]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_shipped_sets_have_the_classes_of_their_data_sets() -> None:
    assert {"cholec80_phase", "cholect50_triplet", "phantom_phase", "phantom_triplet"} <= set(prompts.names())
    for name in prompts.names():
        found = prompts.load(name)
        assert found.name == name
        labels = {"phase": CHOLEC80_PHASES, "triplet": TRIPLET_NAMES, "tool": CHOLEC80_TOOLS}
        if found.dataset in ("Cholec80", "CholecT50", "phantom"):
            assert tuple(row.name for row in found.classes) == labels[found.task]
        assert [row.id for row in found.classes] == list(range(len(found.classes)))
        assert min(len(row.prompts) for row in found.classes) >= 3


def test_sentences_are_those_of_their_version() -> None:
    found = {name: prompts.load(name) for name in GOLDEN}
    assert {name: (row.version, text_hash(repr(row.texts()))) for name, row in found.items()} == GOLDEN


def test_each_phase_says_what_it_is() -> None:
    classes = prompts.load("cholec80_phase").classes
    for row, words in zip(classes, OWN_WORDS, strict=True):
        assert any(re.search(words, prompt, re.IGNORECASE) for prompt in row.prompts), row.name
    assert "into the bag" in " ".join(classes[4].prompts)
    assert "pulled out through a trocar site" in " ".join(classes[6].prompts)


def test_shipped_phase_sets_know_both_spellings() -> None:
    for name in ("cholec80_phase", "phantom_phase"):
        for row, label in zip(prompts.load(name).classes, CHOLECT50_PHASES, strict=True):
            assert label in (row.name, *row.aliases)


def test_composed_sentences() -> None:
    texts = prompts.load("phantom_triplet").texts()
    at = TRIPLET_NAMES.index("hook,dissect,cystic_duct")
    assert [text for number, _, text in texts if number == at] == [
        "the hook dissects the cystic duct",
        "now I use the hook to dissect the cystic duct",
        "with the hook the surgeon is dissecting the cystic duct",
    ]
    said = {text for _, _, text in texts}
    assert {"the scissors cut the cystic artery", "the scissors are idle", "the grasper is idle"} <= said
    assert len(said) == len(texts) == 300


def test_phantom_prompts_are_what_its_narrator_says() -> None:
    plain = {name: sentence for _, name, sentence in reversed(prompts.load("phantom_triplet").texts())}
    for name, (instrument, verb, target) in zip(TRIPLET_NAMES, TRIPLETS, strict=True):
        action: Any = SimpleNamespace(instrument=instrument, verb=verb, target=target)
        assert plain[name] == say(action)
    for row in prompts.load("phantom_phase").classes:
        assert all(PHASE_WORDS[row.name][0] in prompt for prompt in row.prompts)


def test_own_file_and_texts(tmp_path: Path) -> None:
    found = prompts.load(write(tmp_path, HEAD + CLASSES))
    assert found.texts() == [
        (0, "Open", "the abdomen is opened"),
        (1, "Close", "the abdomen is closed"),
        (1, "Close", "the skin is stapled"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: Open", "name: no", "line 10, column 11: 'no' is read by YAML as bool"),
        ("id: 1", "id: 01", "line 12, column 9: '01' is read by YAML as a number in another base"),
        ("id: 1", "id: 0x1", "line 12.*another base"),
        ("id: 1", "id: 1.0", "line 12.*as float"),
        ("name: Open", "name: 1:30", "line 10.*another base"),
        ("name: Open", "name: 2024-01-01", "line 10.*timestamp"),
        ("name: Open", "name:", "line 10.*as null"),
        ("name: Open", "name: 7", "line 10: classes.0.name: .*string"),
        ("name: Open", "name: Close", "'Close' occurs twice"),
        ("name: Open", "name: closing", "'closing' occurs twice"),
        ("id: 1", "id: 2", r"class ids must be .*, got \[0, 2\]"),
        ("id: 1", "id: 0", r"class ids must be .*, got \[0, 0\]"),
        ("[closing]", "closing", "line 14: classes.1.aliases"),
        ('"the skin is stapled"', '"The abdomen is CLOSED"', "occurs twice"),
        ('"the skin is stapled"', '"the abdomen is opened"', "occurs twice"),
        ('"the skin is stapled"', '""', "line 15: classes.1.prompts.1: .*at least 1 character"),
        ('"the skin is stapled"', '" "', "line 15: classes.1.prompts.1"),
        ('["the abdomen is opened"]', "[]", "line 11: classes.0.prompts"),
        ("    aliases", "    colour: red\n    aliases", "line 14: classes.1.colour: Extra"),
        ("language: en", "language: en\nname: other", "line 8, column 1: 'name' occurs twice"),
        ("version: 1", "version: 0", "line 2: version"),
        ("language: en\n", "", "language: Field required"),
        ("language: en", "language: [", "is not YAML"),
        ("name: mine", "name: Mine Own", "line 1: name"),
    ],
)
def test_slips_are_refused_where_they_stand(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = (HEAD + CLASSES).replace(old, new, 1)
    assert text != HEAD + CLASSES
    path = write(tmp_path, text)
    with pytest.raises(DataError, match=message) as caught:
        prompts.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{target}", "{organ}", "line [0-9]+: a template of grasper,dissect,cystic_plate fails on 'organ'"),
        ("{target}", "{target.x}", "fails on"),
        ("    gut: gut\n", "", "words for target: .*'gut'"),
        ("    gut: gut\n", "    gut: gut\n    spleen: spleen\n", "'spleen'"),
        ("plural: [scissors]", "plural: [scissor]", "'scissor'"),
        ("{base: grasp, third: grasps, ing: grasping}", "{base: grasp, third: grasps}", "grasp.ing: Field required"),
    ],
)
def test_slips_in_composed_sets(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = (Path(prompts.__file__).parent / "phantom_triplet.yaml").read_text(encoding="utf-8")
    assert old in text
    with pytest.raises(DataError, match=message):
        prompts.load(write(tmp_path, text.replace(old, new)))


def test_unknown_names_get_a_hint(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean cholec80_phase"):
        prompts.load("cholec80_phases")
    with pytest.raises(DataError, match="cannot be read"):
        prompts.load(tmp_path / "absent.yaml")
    with pytest.raises(DataError, match="must be a mapping"):
        prompts.load(write(tmp_path, "- 1\n"))
