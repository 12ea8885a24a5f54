"""How sure a model is of an answer that it wrote token by token, from the log-probabilities of its tokens.

One of some options: at each token, the probability of the tokens that lead to the option, among those that lead to any
option (Kadavath et al., arXiv 2207.05221). A server lists the most probable tokens only; an option that none of them
leads to counts as the least probable one listed, so that confidence is rather too low. Another short answer: the
probability of the whole reply. Free text: the geometric mean of the probabilities of its tokens, that is, normalised by
its length (Malinin and Gales, arXiv 2002.07650), which is no probability that the text is right.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

# What may stand before an option: the field of an object in JSON, quotes and brackets.
_BEFORE = re.compile(r"\{\"answer\":\"|[\"'(\[*]*")


class Token(NamedTuple):
    """A token that was written.

    Attributes:
        text: its text.
        logprob: natural logarithm of its probability.
        listed: the most probable tokens at its place with theirs; it may be one of them.
    """

    text: str
    logprob: float
    listed: tuple[tuple[str, float], ...] = ()


def reply_confidence(logprobs: Sequence[float], kind: str) -> float | None:
    """Probability of a reply as a whole; of free text, the geometric mean of its tokens' probabilities.

    Args:
        logprobs: of all generated tokens, natural logarithms; none: there is no confidence.
        kind: type of the answer (`surgvl.metrics.answer_types`).
    """
    if not logprobs:
        return None
    total = math.fsum(logprobs)
    return min(1.0, math.exp(total / len(logprobs) if kind == "open" else total))


def option_confidence(
    tokens: Sequence[Token], names: Mapping[str, Sequence[str]], said: str, held: bool = False
) -> float | None:
    """Probability of an option that a reply begins with, among all options; None if it begins with something else.

    Args:
        tokens: of the reply.
        names: each option with what declares it, such as its letter and its text.
        said: the option that the reply declares.
        held: whether nothing but these names could be written, so that those in another case do not count.
    """

    def folded(text: str) -> str:
        # Tokenizers keep or drop white space when they decode a single token.
        text = "".join(text.split())
        return text if held else text.casefold()

    spelt = {option: [folded(name) for name in each] for option, each in names.items()}
    tokens = [
        Token(folded(token.text), token.logprob, tuple((folded(text), logprob) for text, logprob in token.listed))
        for token in tokens
    ]
    whole = "".join(token.text for token in tokens)
    found = _BEFORE.match(whole)
    begin = found.end() if found else 0
    own = max((name for name in spelt[said] if _begins(whole[begin:], name)), key=len, default="")
    if not own:
        return None
    confidence, done = 1.0, ""
    for token in tokens:
        if len(done) >= begin + len(own):
            break
        if len(done) + len(token.text) > begin:
            confidence *= _share(token, done, begin, spelt, said)
        done += token.text
    return min(1.0, confidence)


def _share(token: Token, done: str, begin: int, spelt: Mapping[str, Sequence[str]], said: str) -> float:
    """Probability that a token leads to an option, among the tokens that lead to any, after what was written before."""
    listed = list(token.listed)
    if all(text != token.text for text, _ in listed):
        listed.append((token.text, token.logprob))
    left = {option for option, names in spelt.items() if any(name.startswith(done[begin:]) for name in names)}
    mine = leading = 0.0
    unseen = set(left)
    for text, logprob in listed:
        written = (done + text)[begin:]
        led = {
            option
            for option in left
            if written and any(name.startswith(written) or _begins(written, name) for name in spelt[option])
        }
        unseen -= led
        leading += math.exp(logprob) if led else 0.0
        mine += math.exp(logprob) if said in led else 0.0
    # The tokens that are not listed have what is left, and each of them at most what the least listed one has.
    shares = [math.exp(logprob) for _, logprob in listed]
    rest = max(0.0, 1 - math.fsum(shares)) if unseen else 0.0
    if token.listed:
        rest = min(rest, len(unseen) * min(shares))
    return mine / (leading + rest) if mine else 0.0


def _begins(text: str, name: str) -> bool:
    """Whether a text begins with a name that no letter or digit goes on with."""
    return text.startswith(name) and not text[len(name) : len(name) + 1].isalnum()
