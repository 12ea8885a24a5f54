"""The prompt sets of an archive as its vectors hold them, so that no file is read again, be it one's own or shipped."""

from collections.abc import Sequence
from functools import lru_cache

from surgvl.archive.archive import Archive
from surgvl.core.checks import check_choice
from surgvl.core.errors import DataError
from surgvl.embed.meta import PromptSetFacts
from surgvl.embed.vectors import Texts
from surgvl.export.zero_shot import ClassSet
from surgvl.prompts import PromptClass, PromptSet

TASKS = ("phase", "triplet")


def embedded_sets(archive: Archive, names: Sequence[str]) -> list[ClassSet]:
    """Embedded prompt sets with their class vectors.

    Raises:
        ConfigError: a name that is none of the archive's; a name from a browser opens no file.
        DataError: the archive has no sentences.
    """
    texts, facts = archive.texts(), archive.space.meta.prompt_sets
    known = [each for task in TASKS for each in archive.prompt_sets(task)]
    for name in names:
        check_choice("the prompt set", name, known)
    if texts is None:
        raise DataError("this archive has no sentences of prompt sets: embed it with a model that reads text")
    return [_set(archive.model_hash, name, _Held(texts, facts[name])) for name in names]


class _Held:
    """Texts and facts, which do not change while the model is the same: equal for the cache."""

    def __init__(self, texts: Texts, facts: PromptSetFacts) -> None:
        self.texts, self.facts = texts, facts

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Held) and (self.texts is other.texts or self.facts.hash == other.facts.hash)

    def __hash__(self) -> int:
        return hash(self.facts.hash)


@lru_cache(maxsize=32)
def _set(model_hash: str, name: str, held: _Held) -> ClassSet:
    names, vectors = held.texts.classes(name)
    found: dict[int, list[str]] = {at: [] for at in range(len(names))}
    rows = zip(held.texts.prompt_sets, held.texts.class_ids, held.texts.prompts, strict=True)
    for of, class_id, prompt in rows:
        if of == name:
            found[class_id].append(prompt)
    spellings: dict[str, list[str]] = {}
    for alias, known in held.facts.aliases.items():
        spellings.setdefault(known, []).append(alias)
    data_sets = held.facts.datasets or ["unknown"]
    prompt_set = PromptSet(
        name=name,
        version=held.facts.version,
        task=held.facts.task,
        dataset=data_sets[0],
        also_for=tuple(data_sets[1:]),
        source="the vectors of an archive",
        licence="that of the file which was embedded",
        language="en",
        classes=tuple(
            PromptClass(id=at, name=names[at], aliases=tuple(spellings.get(names[at], ())), prompts=tuple(found[at]))
            for at in found
        ),
    )
    return ClassSet(prompt_set, names, vectors)
