"""Prompt sets as a vectors folder has them: their sentences' vectors, and facts by which they are known again.

Shapes: M sentences, E width of the space.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from surgvl import prompts
from surgvl.core.arrays import Float32Array
from surgvl.core.errors import ConfigError
from surgvl.embed.meta import PromptSetFacts
from surgvl.embed.vectors import Texts, write_texts


def load_sets(names: Sequence[str] | None) -> list[prompts.PromptSet]:
    """Prompt sets by name or path; by default, all that ship with surgvl.

    Raises:
        ConfigError: two have the same name.
    """
    sets = [prompts.load(name) for name in (prompts.names() if names is None else names)]
    for at, each in enumerate(sets):
        if each.name in {other.name for other in sets[:at]}:
            raise ConfigError(f"--prompt_sets: two sets are called {each.name!r}: rename one of them in its file")
    return sets


def facts_of(each: prompts.PromptSet) -> PromptSetFacts:
    """The facts that are stored with the vectors of a set."""
    return PromptSetFacts(
        version=each.version,
        task=each.task,
        datasets=[each.dataset, *each.also_for],
        aliases={alias: row.name for row in each.classes for alias in row.aliases},
        hash=each.hash,
    )


def embed_sets(encode: Callable[[list[str]], Float32Array], sets: Sequence[prompts.PromptSet], out: Path | str) -> None:
    """Encode every sentence of the sets, and write them with their vectors into a vectors folder."""
    rows = [(each.name, number, name, text) for each in sets for number, name, text in each.texts()]
    if not rows:
        return
    found = encode([row[3] for row in rows])
    names, ids, classes, texts = (list(column) for column in zip(*rows, strict=True))
    write_texts(out, Texts(found, names, ids, classes, texts))
