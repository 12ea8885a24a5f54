"""Everything the page asks for, from an archive: its recordings, moments, answers, timelines, and what it can do.

A browser refers to recordings by id: no method takes a path from it, except files to add, which `routes` accepts from
this machine alone.
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from surgvl.archive.archive import Archive
from surgvl.archive.label_table import latest
from surgvl.archive.records import Label, Recording, SavedClip
from surgvl.core.errors import ConfigError, DataError
from surgvl.demo.answering import Blind, ask, place
from surgvl.demo.archive_facts import ArchiveFacts
from surgvl.demo.conditions import where
from surgvl.demo.embedded_sets import embedded_sets
from surgvl.demo.events import Events
from surgvl.demo.finder import Finder
from surgvl.demo.formatting import without_folders
from surgvl.demo.insights import Insight, Insights, strip
from surgvl.demo.jobs import JobWorker
from surgvl.demo.model_loader import ModelLoader
from surgvl.demo.schemas import AskReply, AskRequest, Json, SearchReply, SearchRequest
from surgvl.demo.timeline import Download, clips_of, shown_timeline, timeline_file

# What browsers play; of other containers, and folders of images, single frames are shown.
PLAYED = (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".ogv", ".ogg")


class Engine:
    """An archive behind a page.

    Args:
        archive: the archive, which stays open until `close`.
        device: torch device of models in this process.
        server: address of a server that runs the models; if empty, this process does.
        api_key: key of the server.
        model: what answers questions in place of the archive's own model.
        temporary: whether the archive ends with the page.
        add: files and folders that are added as soon as the page is open.

    Raises:
        ConfigError: FAISS is not installed.
    """

    def __init__(
        self,
        archive: Archive,
        device: str = "cpu",
        server: str = "",
        api_key: str = "",
        model: str = "",
        temporary: bool = False,
        add: Sequence[Path] = (),
    ) -> None:
        if importlib.util.find_spec("faiss") is None:
            raise ConfigError("the page needs faiss, which is not installed: run pip install 'surgvl[demo]'")
        self.archive, self._add = archive, [str(each) for each in add]
        self.events = Events()
        self.models = ModelLoader(archive, device, server, api_key, model, self._tell_models)
        self.jobs = JobWorker(archive, self.events, self._renew_models)
        self.finder = Finder(archive, self.models)
        self.facts = ArchiveFacts(archive, self.models, temporary)
        self._insights, self._blind = Insights(archive), Blind()

    def start(self) -> None:
        """Start loading the models, and the jobs that wait.

        Where recordings are added at once, the models come after a few clips of each: what people wait for first is to
        see them.
        """
        self.jobs.start()
        if self._add:
            self.jobs.add("add", {"paths": self._add})
        else:
            self.models.start()

    def _renew_models(self) -> None:
        self.models.start()
        self.models.renew()

    def close(self) -> None:
        """Stop the job that runs, which goes on at the next start, and close the archive."""
        self.jobs.close()
        self.models.close()
        self.archive.close()

    def _tell_models(self) -> None:
        state, notice = self.models.state, without_folders(self.models.notice)
        self.events.publish("models", {"models_state": state, "notice": notice})

    # ---- recordings

    def recordings(self) -> list[Json]:
        """All recordings as the page lists them; those of test splits of data sets come before training ones."""
        order = {"test": 0, "val": 1, "": 2, "train": 3}
        clips: dict[str, int] = {}
        for clip in self.archive.catalogue.clips():
            clips[clip.recording] = clips.get(clip.recording, 0) + 1
        rows = sorted(self.archive.recordings(), key=lambda row: order.get(row.split, 2))
        return [self.listed(row, clips.get(row.id, 0)) for row in rows]

    def listed(self, row: Recording, num_clips: int) -> Json:
        """One recording as the page lists it."""
        insight = self.insight(row)
        return {
            "id": row.id,
            "title": row.title,
            "duration_s": row.duration_s,
            "fps": row.fps,
            "width": row.width,
            "height": row.height,
            "size": row.size,
            "added_s": row.added_s,
            "state": row.state,
            "progress": self.jobs.progress_of(row.id, row.duration_s) if row.state != "embedded" else None,
            "problem": without_folders(row.problem),
            "is_playable": row.path.suffix.lower() in PLAYED,
            "details": {**vars(row.details), "tags": list(row.details.tags)},
            "source": row.source,
            "split": row.split,
            "rendered": row.rendered,
            "strip": strip(insight.phases, insight.classes),
            "num_clips": num_clips,
            "is_foreign": insight.foreign,
        }

    def insight(self, row: Recording) -> Insight:
        """What the vectors say about a recording as a whole; nothing while it has none."""
        if row.state not in ("coarse", "embedded"):
            return Insight([], [], "")
        try:
            return self._insights.of(row, self.facts.logit_scale)
        except DataError:
            # Its vectors are being replaced, or a file of them is damaged: `archive verify` says which.
            return Insight([], [], "")

    def recording(self, id: str) -> Recording:
        """A recording.

        Raises:
            DataError: there is none of this id.
        """
        return self.archive.recording(id)

    # ---- search, ask, timeline

    def search(self, request: SearchRequest) -> SearchReply:
        """See `Finder.search`."""
        return self.finder.search(request, where(self.archive, request.where, self._phases_of))

    def curve(self, row: Recording, search: str, text: str) -> Json:
        """Scores of all clips of a recording; see `Finder.curve`."""
        found = self.finder.curve(row, search, text)
        return {"times": found.times_s, "scores": found.scores, "threshold": None}

    def _phases_of(self, row: Recording) -> list[tuple[str, float, float]]:
        return [(each.name, each.start_s, each.end_s) for each in self.insight(row).phases]

    def ask(self, request: AskRequest) -> AskReply:
        """See `surgvl.demo.answering.ask`."""
        row = self.recording(request.recording)
        start_s, end_s = place(request.start_s, request.end_s, row.duration_s)
        foreign = self.insight(row).foreign
        return ask(self.archive, self.models.answerer, row, start_s, end_s, request.question, foreign, self._blind)

    def timeline(self, row: Recording, names: list[str], smooth_s: float, user: str) -> Json:
        """The timeline of a recording with its labels and clips.

        Raises:
            ConfigError: prompt sets that are none of the archive's, or a negative window.
            DataError: it has no vectors yet.
        """
        sets = embedded_sets(self.archive, names)
        shown = shown_timeline(clips_of(self.archive, row), sets, self.facts.logit_scale, smooth_s, row.duration_s)
        return {
            "duration_s": row.duration_s,
            "remark": self.insight(row).foreign,
            "classes": shown.classes,
            "phases": [each.model_dump() for each in shown.phases],
            "actions": [each.model_dump() for each in shown.actions],
            "labels": self.labels(row, user),
            "clips": self.clips(row),
        }

    def timeline_file(self, row: Recording, names: list[str], smooth_s: float, format: str) -> Download:
        """The same as a file; see `surgvl.demo.timeline.timeline_file`."""
        sets = embedded_sets(self.archive, names)
        model = f"{self.facts.card.name} ({self.archive.model_hash})"
        return timeline_file(
            row, clips_of(self.archive, row), sets, self.facts.logit_scale, smooth_s, model,
            latest(self.archive.catalogue.labels(row.id)), format,
        )  # fmt: skip

    def labels(self, row: Recording, user: str) -> list[Json]:
        """Labels of a recording, as the page shows them."""
        return [label_json(each, user) for each in self.archive.catalogue.labels(row.id)]

    def clips(self, row: Recording | None = None) -> list[Json]:
        """Saved clips of a recording, or all."""
        return [clip_json(each) for each in self.archive.catalogue.clips(row.id if row else None)]


def label_json(label: Label, user: str) -> Json:
    """A label as the page shows it."""
    return {**vars(label), "is_mine": label.who == user}


def clip_json(clip: SavedClip) -> Json:
    """A saved clip as the page shows it."""
    return dict(vars(clip))
