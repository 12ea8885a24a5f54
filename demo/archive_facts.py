"""What an archive is and what its page can do: the first thing that a page asks."""

from functools import lru_cache
from pathlib import Path

import pyarrow.compute as pc

from surgvl import prompts
from surgvl.archive.archive import Archive
from surgvl.archive.records import Recording
from surgvl.chat.question import DESCRIBE
from surgvl.core.errors import SurgVLError
from surgvl.demo import run_info
from surgvl.demo.conditions import occurring
from surgvl.demo.formatting import without_folders
from surgvl.demo.model_card import ModelCard, read_card
from surgvl.demo.model_loader import ModelLoader
from surgvl.demo.schemas import Json
from surgvl.demo.uploads import MAX_BYTES, MAX_S
from surgvl.export.base import formats
from surgvl.models.model_info import find_model

NUM_EXAMPLES = 6
TASKS = ("phase", "triplet")


class ArchiveFacts:
    """Facts about an archive and its models.

    Args:
        archive: the archive.
        models: its models.
        temporary: whether the archive ends with the page.
    """

    def __init__(self, archive: Archive, models: ModelLoader, temporary: bool) -> None:
        self.archive, self.models, self.temporary = archive, models, temporary
        self._read: tuple[str, ModelCard] | None = None

    @property
    def card(self) -> ModelCard:
        """What is known of the model behind the vectors."""
        model_hash = self.archive.model_hash
        if self._read is None or self._read[0] != model_hash:
            self._read = model_hash, read_card(self.archive.model, self.archive.manifest())
        return self._read[1]

    @property
    def logit_scale(self) -> float:
        """Factor of the model's cosines before the softmax."""
        return _logit_scale(self.archive.model, self.archive.model_hash)

    def describe(self, user: str, is_near: bool) -> Json:
        """What the page needs to know at first.

        Args:
            user: the visitor's name.
            is_near: whether the visitor sits at this machine.
        """
        rows = self.archive.recordings()
        sets = {task: self.prompt_sets(task) for task in TASKS}
        classes = prompts.load(sets["phase"][0]).classes if sets["phase"] else ()
        labelled = [each.name for each in self.archive.catalogue.labels() if each.track == "phase"]
        return {
            "name": self.archive.name or self.archive.folder.resolve().name,
            "num_recordings": len(rows),
            "hours": sum(each.duration_s for each in rows) / 3600,
            "model": self._card(rows),
            "can": {
                "search": self.models.can_search,
                "ask": self.models.has_answerer,
                "timeline": bool(sets["phase"] or sets["triplet"]),
                "paths": is_near,
                "edit": True,
            },
            "prompt_sets": sets,
            "sets": {task: names[0] if names else "" for task, names in sets.items()},
            "strip_classes": [each.name for each in classes],
            "formats": [
                {"name": name, "title": kind.title, "purpose": kind.purpose, "suffix": kind.suffix}
                for name, kind in formats().items()
            ],
            "filters": occurring(rows, [*(each.name for each in classes), *labelled]),
            "examples": {"sentences": self.sentences(), "questions": self.questions()},
            "seen": self._seen(),
            "limits": {"upload_mb": MAX_BYTES >> 20, "upload_minutes": int(MAX_S / 60)},
            "storage": self._storage(rows),
            "temporary": self.temporary,
            "models_state": self.models.state,
            "notice": without_folders(self.models.notice),
            "user": user,
        }

    def _card(self, rows: list[Recording]) -> Json:
        card = self.card
        splits: dict[str, tuple[int, float]] = {}
        for row in rows:
            count, hours = splits.get(row.split, (0, 0.0))
            splits[row.split] = (count + 1, hours + row.duration_s / 3600)
        return {
            "name": card.name,
            "title": card.title,
            "trained_on": card.trained_on,
            "licence": card.licence,
            "source": card.source,
            "hash": self.archive.model_hash,
            "num_rendered": sum(row.rendered for row in rows),
            "stages": [vars(stage) for stage in card.stages],
            "splits": splits,
            "sources": list(dict.fromkeys((row.source, row.licence) for row in rows)),
        }

    def _storage(self, rows: list[Recording]) -> dict[str, int]:
        def size(pattern: str) -> int:
            return sum(path.stat().st_size for path in self.archive.folder.glob(pattern) if path.is_file())

        return {
            "vectors": size("spaces/*/vectors/*"),
            "index": size("spaces/*/index/**/*"),
            "thumbnails": size("thumbnails/*"),
            "recordings": sum(row.size for row in rows),
        }

    def prompt_sets(self, task: str) -> list[str]:
        """Embedded prompt sets of a task, those made for the archive's data sets first."""
        own = {name.casefold() for row in self.archive.catalogue.rows() for name in (row.dataset, row.source)}
        facts = self.archive.space.meta.prompt_sets
        return sorted(self.archive.prompt_sets(task), key=lambda name: not _fits(facts[name].datasets, own))

    def sentences(self) -> list[str]:
        """Example sentences: prompts of the most frequent labelled actions or phases, else of the first actions."""
        for task in ("triplet", "phase"):
            segments = self.archive.manifest().segment_table
            names = segments.filter(pc.equal(segments["task"], task))["label"]
            counts = {row["values"]: row["counts"] for row in pc.value_counts(names).to_pylist()}
            for prompt_set in self.prompt_sets(task):
                rows = [each for each in prompts.load(prompt_set).classes if "null_verb" not in each.name]
                found = sorted((each for each in rows if counts.get(each.name)), key=lambda each: -counts[each.name])
                if found:
                    return [each.prompts[0] for each in found[:NUM_EXAMPLES]]
        unlabelled = [each for task in ("triplet", "phase") for each in self.prompt_sets(task)]
        known = prompts.load(unlabelled[0]).classes if unlabelled else ()
        return [row.prompts[0] for row in known if "null_verb" not in row.name][:NUM_EXAMPLES]

    def questions(self) -> list[str]:
        """Example questions: the first of each type the chat model was tuned on, and an open one."""
        if not self.models.has_answerer:
            return []
        first: dict[str, str] = {}
        folder = self._chat_folder()
        for question, kind in (run_info.known_questions(folder) if folder else {}).items():
            first.setdefault(kind, question)
        return [*list(first.values())[: NUM_EXAMPLES - 1], DESCRIBE]

    def _chat_folder(self) -> Path | None:
        """Folder of the model that answers questions, if it is one of ours on this machine."""
        try:
            return find_model(self.archive.chat) if self.archive.chat and not self.models.model else None
        except (SurgVLError, OSError):
            return None

    def _seen(self) -> str:
        folder = self._chat_folder()
        return run_info.seen(folder) if folder else ""


def _fits(data_sets: list[str], own: set[str]) -> bool:
    return any(name.casefold() in own for name in data_sets)


@lru_cache(8)
def _logit_scale(model: str, model_hash: str) -> float:
    """Of the weights with this hash; that of most published models if the weights are gone."""
    try:
        return run_info.logit_scale(find_model(model))
    except (SurgVLError, OSError):
        return run_info.DEFAULT_SCALE
