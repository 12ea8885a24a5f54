"""What an archive is and what its page can do: the first thing that a page asks."""

import threading
import time
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from surgvl.archive.archive import Archive
from surgvl.archive.records import Recording
from surgvl.chat.answerer import DESCRIBE
from surgvl.core.errors import SurgVLError
from surgvl.core.files import size_of
from surgvl.demo import run_info
from surgvl.demo.conditions import occurring
from surgvl.demo.embedded_sets import TASKS, embedded_sets
from surgvl.demo.formatting import without_folders
from surgvl.demo.model_card import ModelCard, read_card
from surgvl.demo.model_loader import ModelLoader
from surgvl.demo.schemas import Json
from surgvl.demo.uploads import MAX_BYTES, MAX_S
from surgvl.export.base import formats
from surgvl.models.model_info import find_model, logit_scale
from surgvl.prompts import PromptClass

NUM_EXAMPLES = 6
COUNTED_S = 10.0
# A cut may have to be encoded again, while its reader waits.
MAX_CUT_S = 15 * 60.0
# CLIP's first temperature (arXiv 2103.00020), for timelines of a model that is gone.
DEFAULT_SCALE = 1 / 0.07


class ArchiveFacts:
    """Facts about an archive and its models.

    Args:
        archive: the archive.
        models: its models.
        temporary: whether the archive ends with the page.
    """

    def __init__(self, archive: Archive, models: ModelLoader, temporary: bool) -> None:
        self.archive, self.models, self.temporary = archive, models, temporary
        # Many people may arrive at once: one of them reads, and the others take what it found.
        self._reading, self._counting = threading.Lock(), threading.Lock()
        self._read: tuple[str, ModelCard] | None = None
        self._counted: tuple[float, dict[str, Counter[str]]] | None = None

    @property
    def card(self) -> ModelCard:
        """What is known of the model behind the vectors."""
        with self._reading:
            model_hash = self.archive.model_hash
            if self._read is None or self._read[0] != model_hash:
                self._read = model_hash, read_card(self.archive.model, self.archive.manifest(), self.models.model)
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
        classes = self._classes(sets["phase"][0]) if sets["phase"] else ()
        counts = self._counts()
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
                # A server's models are chosen where it is started.
                "reindex": not self.models.server,
            },
            "prompt_sets": sets,
            "sets": {task: names[0] if names else "" for task, names in sets.items()},
            "strip_classes": [each.name for each in classes],
            "formats": [
                {"name": name, "title": kind.title, "purpose": kind.purpose, "suffix": kind.suffix}
                for name, kind in formats().items()
            ],
            "filters": occurring(rows, [*(each.name for each in classes), *counts["phase"]]),
            "examples": {"sentences": self.sentences(counts), "questions": self.questions()},
            "seen": self._seen(),
            "limits": {"upload_mb": MAX_BYTES >> 20, "upload_minutes": int(MAX_S / 60), "cut_s": MAX_CUT_S},
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
            return size_of(self.archive.folder.glob(pattern))

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

    def _classes(self, prompt_set: str) -> tuple[PromptClass, ...]:
        return embedded_sets(self.archive, [prompt_set])[0].prompt_set.classes

    def _counts(self) -> dict[str, Counter[str]]:
        """How often each label occurs, by track; kept for a while."""
        with self._counting:
            if self._counted is not None and time.monotonic() - self._counted[0] < COUNTED_S:
                return self._counted[1]
            found: dict[str, Counter[str]] = {task: Counter() for task in TASKS}
            for label in self.archive.catalogue.labels():
                if label.track in found:
                    found[label.track][label.name] += 1
            self._counted = time.monotonic(), found
            return found

    def sentences(self, counts: Mapping[str, Counter[str]]) -> list[str]:
        """Example sentences: prompts of the most frequent labelled actions or phases, then of the first actions.

        Args:
            counts: how often each label occurs, by track.
        """
        sets = [(task, name) for task in ("triplet", "phase") for name in self.prompt_sets(task)]
        known = {name: [row for row in self._classes(name) if "null_verb" not in row.name] for _, name in sets}
        first: list[PromptClass] = []
        for task, name in sets:
            first = first or sorted(
                (row for row in known[name] if counts[task][row.name]), key=lambda row: -counts[task][row.name]
            )
        rows = [*first, *(known[sets[0][1]] if sets else [])]
        return list(dict.fromkeys(row.prompts[0] for row in rows))[:NUM_EXAMPLES]

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
        # Another model cuts clips in its own way.
        return run_info.seen(None if self.models.server else self._chat_folder()) if self.models.has_answerer else ""


def _fits(data_sets: list[str], own: set[str]) -> bool:
    return any(name.casefold() in own for name in data_sets)


@lru_cache(8)
def _logit_scale(model: str, model_hash: str) -> float:
    """Of the weights with this hash; that of most published models if the weights are gone."""
    try:
        return logit_scale(model)
    except (SurgVLError, OSError):
        return DEFAULT_SCALE
