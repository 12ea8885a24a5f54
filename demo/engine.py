"""Everything the page asks for, from a run folder: answers, moments, timelines, the model card.

Models run in this process, or behind a server (`surgvl serve`) with the same answers. The manifest is read at once, so
that the page can list its videos; models load in a thread, and a call that needs one waits for it.
A browser refers to videos by id (see `video_catalog`): no method takes a path from a browser.
Shapes: N steps, C classes, E embedding width.
"""

import importlib.util
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from surgvl import prompts
from surgvl.chat.question import DESCRIBE, Question
from surgvl.core.checks import check_choice
from surgvl.core.errors import ConfigError, DataError
from surgvl.core.files import read_json
from surgvl.data.manifest import Manifest
from surgvl.demo import run_info
from surgvl.demo.model_loader import ModelLoader
from surgvl.demo.schemas import AnswerCard, Download, ModelCard, SearchResults, Timeline
from surgvl.demo.timeline import timeline_file, zero_shot_timeline
from surgvl.demo.video_catalog import NUM_UPLOADS, UPLOAD, VideoCatalog
from surgvl.models.model_info import logit_scale
from surgvl.video.marks import counted

MAX_CHARACTERS = 300
NUM_ANSWERS = 4
# Clips this close share frames with the query clip.
NEAR_S = 3.0
NUM_EXAMPLES = 6
NEEDED = ("vectors", "index")


class Engine:
    """Models of a run folder.

    Args:
        run: folder of `surgvl quickstart`; without `align`, the model that made the vectors is used, and without `tune`
            nothing answers questions.
        device: torch device of models in this process.
        server: address of a server that runs the models; if empty, this process does.
        api_key: key of the server.
        model: what answers questions in place of the run's own model.

    Raises:
        ConfigError: the folder or a part of it is missing.
        DataError: the manifest cannot be read.
    """

    def __init__(self, run: Path, device: str = "cpu", server: str = "", api_key: str = "", model: str = "") -> None:
        manifests = [each for each in (run / "manifest", run / "vectors" / "manifest") if each.is_dir()]
        missing = [name for name in NEEDED if not (run / name).is_dir()] + ["manifest"] * (not manifests)
        if missing:
            fact = f"lacks {', '.join(missing)}" if run.is_dir() else "does not exist"
            raise ConfigError(f"--run {run} {fact}: make it with `surgvl quickstart --out {run}`, or embed and index")
        if importlib.util.find_spec("faiss") is None:
            raise ConfigError("the page needs faiss, which is not installed: run pip install 'surgvl[demo]'")
        self.run = run
        self.manifest = Manifest.load(manifests[0])
        self.catalog = VideoCatalog(self.manifest)
        self.models = ModelLoader(run, device, server, api_key, model)
        # Vectors and times of uploads; the earliest are dropped first.
        self._embedded: dict[str, tuple[NDArray[np.float32], NDArray[np.float64]]] = {}

    def start(self) -> None:
        """Start loading the models in the background; a call that needs one also starts it."""
        self.models.start()

    def wait(self) -> None:
        """Wait until everything is loaded.

        Raises:
            SurgVLError: a part could not be loaded.
        """
        self.models.wait()

    @property
    def is_ready(self) -> bool:
        """Whether loading has finished, successfully or not."""
        return self.models.are_done

    def close(self) -> None:
        """Cancel what is not loaded yet and close the index."""
        self.models.close()

    # ---- ask

    def examples(self) -> list[str]:
        """Example questions: the first of each type the chat model was tuned on, and an open one."""
        first: dict[str, str] = {}
        for question, kind in run_info.known_questions(self.run / "tune").items():
            first.setdefault(kind, question)
        return [*list(first.values())[: NUM_EXAMPLES - 1], DESCRIBE]

    def seen(self) -> str:
        """What the chat model sees of a moment, such as "the seconds around the moment"."""
        # Another model cuts clips in its own way.
        return run_info.seen(None if self.models.model or self.models.server else self.run / "tune" / "model")

    def ask(self, video_id: str, time_s: float, question: str) -> AnswerCard:
        """Answer a question about the clip around a moment; see `surgvl.chat.answerers.Answerer`.

        Raises:
            DataError: the video is unknown, or cannot be read at that time.
            ConfigError: the question is empty or too long.
        """
        begun = time.monotonic()
        question = _sentence(question, "question")
        video, answerer = self.catalog.get(video_id), self.models.answerer
        at_s = _clamp(time_s, video.duration_s)
        with counted() as marks:
            frames, preprocess = answerer.frames(video.path, at_s), answerer.preprocess
        answer = answerer.answer([Question(frames, question)])[0]
        asked, answers = answer.question.text, answer.question.answers or ()
        return AnswerCard(
            question=asked,
            text=answer.text,
            closed=bool(answers),
            num_known=len(answers),
            probabilities=list(answer.probabilities[:NUM_ANSWERS]),
            ground_truth=self._labelled_answer(video_id, at_s, asked),
            video_id=video_id,
            title=video.title,
            at_s=at_s,
            frames=frames,
            times_s=preprocess.times_s(at_s, video.duration_s),
            elapsed_s=time.monotonic() - begun,
            is_upload=video.split == UPLOAD,
            damage=marks.fact(Path(video.path)),
            problem=f"{answer.problem}, {answer.raw[:MAX_CHARACTERS]!r}" if answer.problem else "",
        )

    def _labelled_answer(self, video_id: str, at_s: float, question: str) -> str:
        table = self.manifest.qa_table
        fits = pc.and_(pc.equal(table["video_id"], video_id), pc.equal(table["question"], question))
        fits = pc.and_(fits, pc.and_(pc.less_equal(table["start_s"], at_s), pc.greater(table["end_s"], at_s)))
        found = table.filter(fits)["answer"].to_pylist()
        return str(found[0]) if found else ""

    # ---- search

    def sentences(self) -> list[str]:
        """Example sentences: prompts of the most frequent actions, or phases, of the manifest.

        Without labels, the first actions of an embedded prompt set.
        """
        for task in ("triplet", "phase"):
            names = self.manifest.segment_table.filter(pc.equal(self.manifest.segment_table["task"], task))["label"]
            counts = {row["values"]: row["counts"] for row in pc.value_counts(names).to_pylist()}
            counts = {name: count for name, count in counts.items() if "null_verb" not in name}
            for prompt_set in self.prompt_sets(task):
                classes = prompts.load(prompt_set).classes
                order = sorted(classes, key=lambda row: -counts.get(row.name, 0))
                if counts.get(order[0].name):
                    return [row.prompts[0] for row in order[:NUM_EXAMPLES] if counts.get(row.name)]
        unlabelled = [each for task in ("triplet", "phase") for each in self.prompt_sets(task)]
        known = prompts.load(unlabelled[0]).classes if unlabelled else ()
        return [row.prompts[0] for row in known if "null_verb" not in row.name][:NUM_EXAMPLES]

    def filters(self) -> dict[str, list[str]]:
        """Filters of a search: values of `video_id`, `procedure` and `source` in the index."""
        index = self.models.index
        return {name: [value for value in index.counts(name) if value] for name in ("video_id", "procedure", "source")}

    def search(self, text: str, k: int, video_id: str = "", procedure: str = "", source: str = "") -> SearchResults:
        """Moments of the run's videos that match a sentence, best first.

        Raises:
            ConfigError: the sentence is empty, or no clip matches the filters.
        """
        text = _sentence(text, "sentence")
        from surgvl.api import DualModel

        model = self.models.video_text
        vector = model.encode_text([text])[0]
        found = self.models.index.search(vector, k, video_id or None, procedure or None, source or None)
        # A server does not say what it truncated.
        if isinstance(model, DualModel):
            found.remark = " ".join(filter(None, (model.left_out([text]), found.remark)))
        return found

    def alike(
        self, like_id: str, time_s: float, k: int, video_id: str = "", procedure: str = "", source: str = ""
    ) -> SearchResults:
        """Moments of the run's videos similar to a moment of a video, without that moment and its neighbours.

        Raises:
            DataError: the video is unknown.
            ConfigError: no clip matches the filters.
        """
        video, index = self.catalog.get(like_id), self.models.index
        exclude = None
        if video.split == UPLOAD:
            vector = self.models.video_text.encode_video(video.path, at_s=_clamp(time_s, video.duration_s))[0]
        else:
            found = self.models.vectors
            ends = found.end_s[np.asarray(found.video_ids) == like_id]
            at_s = _clamp(time_s, float(ends.max(initial=0.0)))
            vector, start_s, end_s = index.vector_at(like_id, at_s)
            exclude = (like_id, start_s - NEAR_S, end_s + NEAR_S)
        given = (video_id or None, procedure or None, source or None)
        return index.search(vector, k, *given, exclude, is_foreign_clip=video.split == UPLOAD)

    # ---- timeline

    def prompt_sets(self, task: str) -> list[str]:
        """Embedded prompt sets of a task (`phase` or `triplet`), those made for the run's data sets first."""
        embedded = read_json(self.run / "vectors" / "vectors.json")["prompt_sets"]
        sets = [each for each in map(prompts.load, prompts.names()) if each.task == task and each.name in embedded]
        own = {row.data_set.casefold() for row in self.manifest.videos}
        return [
            each.name
            for each in sorted(sets, key=lambda each: not own & {n.casefold() for n in (each.dataset, *each.also_for)})
        ]

    def prepare(self, video_id: str) -> Iterator[float]:
        """Embed an upload unless that is done, and yield the fraction done; videos of the run are embedded already."""
        video = self.catalog.get(video_id)
        if video.split != UPLOAD or video_id in self._embedded:
            return
        model = self.models.video_text
        from surgvl.embed.windows import read_windows

        stream = read_windows(video.path, model.preprocess.every(1.0))
        parts, middles = [], []
        while chunk := list(islice(stream, 16)):
            parts.append(model.encode_clips([clip for _, _, clip in chunk]))
            middles.append(np.array([(start_s + end_s) / 2 for start_s, end_s, _ in chunk]))
            yield min(1.0, chunk[-1][1] / video.duration_s)
        if not parts:
            raise DataError(f"{video.title} has no frames: check it with a player")
        while len(self._embedded) >= NUM_UPLOADS:
            self._embedded.pop(next(iter(self._embedded)), None)
        self._embedded[video_id] = np.concatenate(parts), np.concatenate(middles)

    def timeline(self, video_id: str, phase_set: str, triplet_set: str, smooth_s: float = 0.0) -> Timeline:
        """Zero-shot phases and triplets of a video, one a second.

        Args:
            video_id: the video; an upload is embedded first (see `prepare`).
            phase_set: prompt set of the phases.
            triplet_set: prompt set of the triplets.
            smooth_s: window of a centred moving average over the scores; 0 for none.
        """
        scale = logit_scale(run_info.video_text_folder(self.run))
        given = (self.catalog.get(video_id), *self._steps(video_id), self.models.texts, self.manifest)
        return zero_shot_timeline(*given, phase_set, triplet_set, smooth_s, scale)

    def timeline_file(self, video_id: str, phase_set: str, triplet_set: str, smooth_s: float, format: str) -> Download:
        """The same timeline as a file of a format of `surgvl.export`, with all triplets and tools above its threshold.

        Raises:
            ConfigError: the prompt sets are none of the page's, or there is no such format.
            DataError: the video is unknown, or cannot be read.
        """
        for task, name in (("phase", phase_set), ("triplet", triplet_set)):
            # A name from a browser must not open a file.
            check_choice(f"the {task} prompts", name, self.prompt_sets(task))
        scale = logit_scale(run_info.video_text_folder(self.run))
        given = (self.catalog.get(video_id), *self._steps(video_id), self.models.texts, (phase_set, triplet_set))
        model = f"{self.run.resolve().name} ({self.models.vectors.meta.model_hash})"
        return timeline_file(*given, smooth_s, scale, model, format)

    def _steps(self, video_id: str) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Vectors [N, E] of a video and their times [N]; an upload is embedded first."""
        for _ in self.prepare(video_id):
            pass
        if self.catalog.get(video_id).split == UPLOAD:
            return self._embedded[video_id]
        found = self.models.vectors
        rows = np.flatnonzero(np.asarray(found.video_ids) == video_id)
        if not len(rows):
            raise DataError(f"{video_id} is not in {found.folder}: run `surgvl embed` with --resume")
        return found.vectors[rows], found.times_s[rows]

    # ---- model card

    def model_card(self) -> ModelCard:
        """Data, training and scores of the models."""
        return run_info.read_model_card(self.run, self.manifest, self.models.model)


def _sentence(text: str, what: str) -> str:
    text = " ".join(text.split())
    if not text:
        raise ConfigError(f"the {what} is empty: write one, or choose an example")
    if len(text) > MAX_CHARACTERS:
        raise ConfigError(f"the {what} has {len(text)} characters and the limit is {MAX_CHARACTERS}: shorten it")
    return text


def _clamp(time_s: float, duration_s: float) -> float:
    return float(min(max(0.0, time_s), duration_s)) if np.isfinite(time_s) else 0.0
