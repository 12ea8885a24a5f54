"""How sure a model is of what it wrote, against sums over made language models whose every probability is known."""

import math
from collections.abc import Mapping

import numpy as np
import pytest

from surgvl.chat.confidence import Token, option_confidence, reply_confidence

ORGANS = {"gut": ("A", "gut"), "liver": ("B", "liver"), "spleen": ("C", "spleen")}
# Probabilities of the next token, all of them.
FIRST = {"A": 0.3, "b": 0.02, "B": 0.4, " B": 0.08, "C": 0.05, "The": 0.1, "Both": 0.03, "li": 0.02}


def tokens_of(table: Mapping[str, float], said: str, num_listed: int) -> Token:
    likely = sorted(table.items(), key=lambda pair: -pair[1])[:num_listed]
    return Token(said, math.log(table[said]), tuple((text, math.log(share)) for text, share in likely))


def test_a_letter_is_as_sure_as_its_share_among_the_letters() -> None:
    # In both cases, with and without a blank, and by the text that begins so; "Both" and "The" are no options.
    liver, others = 0.4 + 0.08 + 0.02 + 0.02, 0.3 + 0.05
    for said in ("B", " B", "b"):
        found = option_confidence([tokens_of(FIRST, said, len(FIRST))], ORGANS, "liver")
        assert found == pytest.approx(liver / (liver + others), abs=1e-12)
    assert option_confidence([tokens_of(FIRST, "A", 8)], ORGANS, "gut") == pytest.approx(0.3 / (liver + others))
    # Where nothing but the capital letters could be written, the others lead nowhere.
    letters = {organ: (names[0],) for organ, names in ORGANS.items()}
    found = option_confidence([tokens_of(FIRST, "B", 8)], letters, "liver", held=True)
    assert found == pytest.approx(0.48 / (0.48 + 0.3 + 0.05))


@pytest.mark.slow
def test_options_that_are_not_listed_make_it_too_low_but_never_lower_than_the_token() -> None:
    rng = np.random.default_rng(0)
    letters = "ABCDEF"
    names = {letter: (letter,) for letter in letters}
    for _ in range(200):
        shares = rng.dirichlet(np.full(40, 0.3))
        table = dict(zip([*letters, *(f"word{at}" for at in range(34))], shares.tolist(), strict=True))
        best = max(letters, key=lambda letter: table[letter])
        exact = table[best] / math.fsum(table[letter] for letter in letters)
        found = [option_confidence([tokens_of(table, best, num)], names, best) for num in (0, 1, 5, 20, 40)]
        assert all(each is not None and table[best] - 1e-9 <= each <= exact + 1e-9 for each in found)
        assert found[-1] == pytest.approx(exact)
        # Without any alternatives, the token's own probability is all that is known.
        assert found[0] == pytest.approx(table[best])


def test_texts_of_several_tokens_are_told_apart_where_they_differ() -> None:
    names = {each: (each,) for each in ("cystic duct", "cystic artery", "clip")}
    written = [
        tokens_of({"cyst": 0.5, "c": 0.1, "clip": 0.2, "x": 0.2}, "cyst", 4),
        tokens_of({"ic": 0.9, "s": 0.1}, "ic", 2),
        tokens_of({" duct": 0.25, " artery": 0.5, "it": 0.25}, " duct", 3),
        tokens_of({"<end>": 1.0}, "<end>", 1),
    ]
    # Of the first, "c" leads to all three; then nothing but the duct and the artery is left.
    expected = (0.6 / 0.8) * 1 * (0.25 / 0.75)
    assert option_confidence(written, names, "cystic duct") == pytest.approx(expected)


@pytest.mark.parametrize("before", [[], ["{", '"answer', '": "'], ['{"answer": '], ["("], ['"'], [" ", "**"]])
def test_what_stands_before_an_option_does_not_count(before: list[str]) -> None:
    last = before[-1] if before == ['{"answer": '] else ""
    sure = [Token(text, -0.7) for text in before]
    quote = '"' if last else ""
    table = {f"{quote}{text}": share for text, share in {"A": 0.1, "B": 0.6, "C": 0.2, "x": 0.1}.items()}
    found = option_confidence([*sure, tokens_of(table, f"{quote}B", 4), Token('"}', -0.3)], ORGANS, "liver")
    assert found == pytest.approx(0.6 / 0.9)


@pytest.mark.parametrize("text", ["The answer is B", "Both, but rather B", "", "Bliver", "option B"])
def test_a_reply_that_begins_with_something_else_has_none(text: str) -> None:
    assert option_confidence([Token(text, -0.1)], ORGANS, "liver") is None
    assert option_confidence([], ORGANS, "liver") is None


def test_an_option_that_was_forced_against_all_odds_is_no_error() -> None:
    # As vLLM gives minus infinity.
    forced = Token("B", -9999.0, (("A", -9999.0), ("B", -9999.0), ("The", 0.0)))
    assert option_confidence([forced], ORGANS, "liver") == 0


def test_other_answers_by_the_whole_reply_and_free_text_by_its_mean() -> None:
    shares = [0.9, 0.5, 0.8]
    logs = [math.log(share) for share in shares]
    assert reply_confidence(logs, "number") == pytest.approx(math.prod(shares))
    assert reply_confidence(logs, "open") == pytest.approx(math.prod(shares) ** (1 / 3))
    assert reply_confidence([], "open") is None
    assert reply_confidence([1e-9], "open") == 1
