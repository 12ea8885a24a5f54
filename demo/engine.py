"""The engine: a run folder's models, index and vectors behind four questions that a page asks.

Models run in this process, or behind a server (`surgvl serve`) with the same answers. The manifest is read at once, so
that there is something to pick; models load in a thread, and who needs one waits.
Browsers name videos by id only (see `shelf`): no method takes a path from a browser.
Shapes: N steps, C classes, E width of the space.
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
from surgvl.chat.known import find_known
from surgvl.core.errors import ConfigError, DataError
from surgvl.core.files import read_json
from surgvl.data.manifest import Manifest
from surgvl.demo import run_info
from surgvl.demo.model_loader import Parts
from surgvl.demo.schemas import About, Answer, Found, Timeline
from surgvl.demo.timeline import read_timeline
from surgvl.demo.video_catalog import NUM_UPLOADS, UPLOAD, Shelf
from surgvl.video.clip import clip_start
from surgvl.video.marks import counted

MAX_CHARACTERS = 300
NUM_SHARES = 4
# Clips this near share frames with the one that is asked for.
NEAR_S = 3.0
NUM_EXAMPLES = 6
DESCRIBE = "What is happening in this clip?"
NEEDED = ("manifest", "align", "tune", "vectors", "index")


class Engine:
    """Models of a run folder.

    Args:
        run: what `surgvl quickstart` leaves.
        device: torch device of models in this process.
        server: address of a server that runs the models; empty: this process does.
        api_key: its key.

    Raises:
        ConfigError: not such a folder, or a part of it is missing.
        DataError: the manifest cannot be read.
    """

    def __init__(self, run: Path, device: str = "cpu", server: str = "", api_key: str = "") -> None:
        missing = [name for name in NEEDED if not (run / name).is_dir()]
        if missing:
            fact = f"lacks {', '.join(missing)}" if run.is_dir() else "is not there"
            raise ConfigError(f"--run {run} {fact}: make it with `surgvl quickstart --out {run}`")
        if importlib.util.find_spec("faiss") is None:
            raise ConfigError("the page needs faiss, which is not installed: pip install 'surgvl[demo]'")
        self.run = run
        self.manifest = Manifest.load(run / "manifest")
        self.shelf = Shelf(self.manifest)
        self.parts = Parts(run, device, server, api_key)
        # Vectors of uploads; the earliest go first.
        self._embedded: dict[str, tuple[NDArray[np.float32], NDArray[np.float64]]] = {}

    def start(self) -> None:
        """Begin to load models in the background; whatever needs one begins it too."""
        self.parts.start()

    def wait(self) -> None:
        """Wait until everything is loaded.

        Raises:
            SurgVLError: something could not be loaded.
        """
        self.parts.wait()

    @property
    def is_ready(self) -> bool:
        """Whether everything is loaded, or has failed to."""
        return self.parts.are_done

    def close(self) -> None:
        """Give up what is not loaded yet and close the index."""
        self.parts.close()

    # ---- ask

    def examples(self) -> list[str]:
        """Questions to offer: the open one, and the first of each type that the chat model knows."""
        first: dict[str, str] = {}
        for question, kind in run_info.questions(self.run / "tune").items():
            first.setdefault(kind, question)
        return [*list(first.values())[: NUM_EXAMPLES - 1], DESCRIBE]

    def ask(self, video_id: str, time_s: float, question: str) -> Answer:
        """Answer a question about the clip around a moment.

        A question the model was tuned on as a closed one is answered from its own answer set, see `chat.known`.

        Raises:
            DataError: unknown video, or it cannot be read there.
            ConfigError: no question, or one that is too long.
        """
        begun = time.monotonic()
        question = _sentence(question, "question")
        source, chat = self.shelf.get(video_id), self.parts.chat
        known = find_known(question, chat.known_questions())
        question = known or question
        answers = chat.known_answers() if known else []
        at_s = _clamp(time_s, source.duration_s)
        with counted() as marks:
            frames, want = chat.frames(source.path, at_s), chat.preprocess
        ranked = chat.shares(frames, question, answers)[:NUM_SHARES] if answers else []
        text = ranked[0][0] if ranked else chat.ask(frames, question, answers=answers)
        start_s = clip_start(at_s, want.clip_s, source.duration_s)
        return Answer(
            question=question,
            text=text,
            closed=bool(answers),
            num_known=len(answers),
            shares=ranked,
            truth=self._true_answer(video_id, at_s, question),
            video_id=video_id,
            title=source.title,
            at_s=at_s,
            frames=frames,
            times_s=[start_s + number / want.fps for number in range(want.num_frames)],
            took_s=time.monotonic() - begun,
            is_upload=source.split == UPLOAD,
            damage=marks.fact(Path(source.path)),
        )

    def _true_answer(self, video_id: str, at_s: float, question: str) -> str:
        table = self.manifest.qa_table
        fits = pc.and_(pc.equal(table["video_id"], video_id), pc.equal(table["question"], question))
        fits = pc.and_(fits, pc.and_(pc.less_equal(table["start_s"], at_s), pc.greater(table["end_s"], at_s)))
        found = table.filter(fits)["answer"].to_pylist()
        return str(found[0]) if found else ""

    # ---- search

    def sentences(self) -> list[str]:
        """Sentences to offer: what the manifest's commonest actions, or its phases, are called in prompts.

        Where the manifest has no labels, the first actions of an embedded prompt set.
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
        """What a search can be limited to: values of `video_id`, `procedure` and `source` in the index."""
        library = self.parts.library
        return {
            name: [value for value in library.counts(name) if value] for name in ("video_id", "procedure", "source")
        }

    def search(self, text: str, k: int, video_id: str = "", procedure: str = "", source: str = "") -> Found:
        """Moments of the run's videos that look as a sentence says, best first.

        Raises:
            ConfigError: no sentence, or filters that nothing fits.
        """
        text = _sentence(text, "sentence")
        from surgvl.api import DualModel

        dual = self.parts.dual
        vector = dual.encode_text([text])[0]
        found = self.parts.library.search(vector, k, video_id or None, procedure or None, source or None)
        # A server does not say what it left out.
        if isinstance(dual, DualModel):
            found.remark = " ".join(filter(None, (dual.left_out([text]), found.remark)))
        return found

    def alike(
        self, like_id: str, time_s: float, k: int, video_id: str = "", procedure: str = "", source: str = ""
    ) -> Found:
        """Moments of the run's videos like a moment of a video; itself and its neighbours are left out.

        Raises:
            DataError: unknown video.
            ConfigError: filters that nothing fits.
        """
        place, library = self.shelf.get(like_id), self.parts.library
        exclude = None
        if place.split == UPLOAD:
            vector = self.parts.dual.encode_video(place.path, at_s=_clamp(time_s, place.duration_s))[0]
        else:
            found = self.parts.vectors
            ends = found.end_s[np.asarray(found.video_ids) == like_id]
            at_s = _clamp(time_s, float(ends.max(initial=0.0)))
            vector, start_s, end_s = library.vector_at(like_id, at_s)
            exclude = (like_id, start_s - NEAR_S, end_s + NEAR_S)
        given = (video_id or None, procedure or None, source or None)
        return library.search(vector, k, *given, exclude, is_foreign_clip=place.split == UPLOAD)

    # ---- timeline

    def prompt_sets(self, task: str) -> list[str]:
        """Embedded prompt sets of a task (`phase` or `triplet`); those made for the run's own videos first."""
        embedded = read_json(self.run / "vectors" / "vectors.json")["prompt_sets"]
        sets = [each for each in map(prompts.load, prompts.names()) if each.task == task and each.name in embedded]
        own = {row.data_set.casefold() for row in self.manifest.videos}
        return [
            each.name
            for each in sorted(sets, key=lambda each: not own & {n.casefold() for n in (each.dataset, *each.also_for)})
        ]

    def prepare(self, video_id: str) -> Iterator[float]:
        """Embed a video that is not embedded yet; yields how much is done, 0 to 1. At once for videos of the run."""
        place = self.shelf.get(video_id)
        if place.split != UPLOAD or video_id in self._embedded:
            return
        model = self.parts.dual
        from surgvl.embed.windows import read_windows

        stream = read_windows(place.path, model.preprocess, 1.0)
        parts, middles = [], []
        while chunk := list(islice(stream, 16)):
            parts.append(model.encode_clips([clip for _, _, clip in chunk]))
            middles.append(np.array([(start_s + end_s) / 2 for start_s, end_s, _ in chunk]))
            yield min(1.0, chunk[-1][1] / place.duration_s)
        if not parts:
            raise DataError(f"{place.title} has no frames: check it with a player")
        while len(self._embedded) >= NUM_UPLOADS:
            self._embedded.pop(next(iter(self._embedded)), None)
        self._embedded[video_id] = np.concatenate(parts), np.concatenate(middles)

    def timeline(self, video_id: str, phase_set: str, triplet_set: str, smooth_s: float = 0.0) -> Timeline:
        """Zero-shot phases and triplets of a video, one a second.

        Args:
            video_id: the video; an upload is embedded first (see `prepare`).
            phase_set: prompt set of the phases.
            triplet_set: prompt set of the triplets.
            smooth_s: window of a centred moving average over the scores.
        """
        for _ in self.prepare(video_id):
            pass
        place = self.shelf.get(video_id)
        if place.split == UPLOAD:
            vectors, times_s = self._embedded[video_id]
        else:
            found = self.parts.vectors
            rows = np.flatnonzero(np.asarray(found.video_ids) == video_id)
            if not len(rows):
                raise DataError(f"{video_id} is not in {found.folder}: run `surgvl embed` with --resume")
            vectors, times_s = found.vectors[rows], found.times_s[rows]
        scale = run_info.logit_scale(self.run / "align")
        texts = self.parts.texts
        return read_timeline(place, vectors, times_s, texts, self.manifest, phase_set, triplet_set, smooth_s, scale)

    # ---- about

    def about(self) -> About:
        """Facts of the run folder."""
        return run_info.about(self.run, self.manifest)


def _sentence(text: str, what: str) -> str:
    text = " ".join(text.split())
    if not text:
        raise ConfigError(f"there is no {what} yet: write one, or choose an example")
    if len(text) > MAX_CHARACTERS:
        raise ConfigError(f"the {what} has {len(text)} characters; up to {MAX_CHARACTERS} are read: shorten it")
    return text


def _clamp(time_s: float, duration_s: float) -> float:
    return float(min(max(0.0, time_s), duration_s)) if np.isfinite(time_s) else 0.0
