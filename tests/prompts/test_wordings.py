"""Wordings of questions: what ships, and what is refused and on which line."""

from pathlib import Path

import pytest

from surgvl.core.errors import ConfigError, DataError
from surgvl.metrics.answer_types.base import answer_types
from surgvl.metrics.answer_types.options import Options
from surgvl.prompts import wordings

HEAD = "name: mine\nversion: 1\nsource: mine\nlicence: Apache-2.0\nlanguage: en\ntypes:\n  number:\n    wordings:\n"
FIVE = [f'      - "{word} {{question}}"\n' for word in ("a", "b", "c", "d", "e")]


@pytest.mark.parametrize("name", wordings.names())
def test_shipped_wordings_ask_everything_in_the_usual_way_first(name: str) -> None:
    found = wordings.load(name)
    assert set(found.types) == set(answer_types()) - {"open"}
    for kind, own in found.types.items():
        options = Options(("hook", "grasper") if answer_types()[kind].takes_options else ())
        usual = answer_types()[kind].prompt("Which?", options)
        prompts = [answer_types()[kind].prompt("Which?", options, each) for each in own.wordings]
        assert prompts[0] == usual
        assert len(set(prompts)) == len(prompts) >= 5
        assert own.example is not None
        for prompt in (*prompts, answer_types()[kind].prompt("Which?", options, own.example)):
            assert "Which?" in prompt
            assert all(line in prompt.splitlines() for line in options.lines)
            assert answer_types()[kind].instruction(options) in prompt


@pytest.mark.parametrize(
    ("lines", "fact"),
    [
        (FIVE[:4], "line 9: types.number.wordings"),
        ([*FIVE[:4], '      - "which?"\n'], r"line 13: .*'which\?' must have \{question\} once"),
        ([*FIVE[:4], '      - "{question} {video}"\n'], r"line 13: .*has fields \['video'\]"),
        ([*FIVE[:4], '      - "{question"\n'], "line 13: .*is not a template"),
    ],
)
def test_what_is_refused(lines: list[str], fact: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(HEAD + "".join(lines), encoding="utf-8")
    with pytest.raises(DataError, match=fact):
        wordings.load(path)


def test_ones_own_wordings_and_unknown_names(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(HEAD + "".join(FIVE), encoding="utf-8")
    found = wordings.load(path)
    assert found.types["number"].example is None
    path.write_text(HEAD + "".join(FIVE).replace("e {", "f {"), encoding="utf-8")
    assert wordings.load(path).hash != found.hash
    with pytest.raises(ConfigError, match="unknown wordings 'plane'; known are plain: did you mean plain"):
        wordings.load("plane")
