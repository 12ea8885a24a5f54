"""Paraphrases of the benchmark: ten of each triplet, none in the narrator's words or order of words."""

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from surgvl import prompts
from surgvl.core.ontology import TRIPLETS
from surgvl.data.phantom import text as narrator

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def paraphrases(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("paraphrases")


@pytest.fixture
def words() -> Any:
    return yaml.safe_load((BENCHMARKS / "paraphrases.yaml").read_text(encoding="utf-8"))


def test_ten_of_each_in_other_words(paraphrases: Any, words: Any) -> None:
    columns = [paraphrases.sentences(words, number) for number in range(10)]
    forms = re.compile("|".join(rf"\b{form}\b" for verb in narrator.VERB_WORDS.values() for form in verb))
    for at, triplet in enumerate(TRIPLETS):
        if triplet[1] == "null_verb":
            continue
        mine = [column[at] for column in columns]
        assert len(set(mine)) == 10
        assert not [sentence for sentence in mine if forms.search(sentence)]
        for number, sentence in enumerate(mine):
            own = paraphrases.chosen(words, triplet, number)
            fields = {"tool": own["instrument"], "target": own["target"], "base": own["base"], "gerund": own["ing"]}
            for template in narrator._ACTION_SENTENCES:
                assert template.format(**fields, third=f"{own['base']}s") not in sentence


def test_each_is_a_prompt_set_for_triplets(paraphrases: Any, words: Any, tmp_path: Path) -> None:
    (tmp_path / "set.yaml").write_text(yaml.safe_dump(paraphrases.prompt_set(words, 3)))
    found = prompts.load(tmp_path / "set.yaml")
    assert [row.name for row in found.classes] == [",".join(each) for each in TRIPLETS]
    assert all(len(row.prompts) == 1 for row in found.classes)
