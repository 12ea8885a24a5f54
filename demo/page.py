"""Layout and events of the page. What things look like is in `views`, what they say comes from an engine."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from surgvl.core.errors import SurgVLError
from surgvl.demo import formatting, model_card, timeline_view, views
from surgvl.demo.engine import MAX_CHARACTERS, Engine
from surgvl.demo.turns import Turns
from surgvl.demo.video_catalog import MAX_UPLOAD_BYTES, MAX_UPLOAD_S

SANS = ("Inter", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Liberation Sans", "Arial", "sans-serif")
MONO = ("SF Mono", "Cascadia Mono", "Menlo", "Consolas", "Liberation Mono", "monospace")
NUM_MOMENTS = (4, 6, 10, 20)
SMOOTHING_S = (0, 5, 15, 30)
# Only the browser knows the player's time and whether a tab is open: they fill the place of hidden components.
WITH_TIME = "(video, time, ...rest) => [video, window.surgvl.now(), ...rest]"
WITH_OPEN = "(video, open, ...rest) => [video, !!document.querySelector('#timeline')?.offsetParent, ...rest]"
SAY = """element.addEventListener('click', (event) => {
  const chip = event.target.closest('[data-say]');
  if (chip) trigger('say', {text: chip.dataset.say});
});"""
SHOW = """element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-open]');
  if (button && !window.surgvl.open(button.dataset.open, Number(button.dataset.at))) {
    trigger('show', {video: button.dataset.open});
  }
});"""
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": 4}


class Desk(NamedTuple):
    """What every tab builds on: the picked video, and places for what only the browser knows."""

    video: gr.Dropdown
    time_s: gr.Number
    is_open: gr.Checkbox


def _html(value: str, elem_id: str | None = None, script: str | None = None) -> gr.HTML:
    """A place for HTML of our own; Gradio's styles for prose stay away from it."""
    return gr.HTML(value, elem_id=elem_id, js_on_load=script, apply_default_css=False)


def theme() -> gr.themes.Base:
    """Fonts of the reader's own machine, so that nothing is fetched; colours that stand before style.css is read."""
    return gr.themes.Base(font=SANS, font_mono=MONO).set(
        body_background_fill="#f4f7f7",
        body_background_fill_dark="#0d1518",
        body_text_color="#12292f",
        body_text_color_dark="#e4eeee",
    )


def build(engine: Engine, uploads: Path) -> Any:
    """The page.

    Args:
        engine: answers, searches, reads.
        uploads: the folder that uploads come from; files in it go after half a day.
    """
    about = engine.about()
    with gr.Blocks(title="surgvl", analytics_enabled=False, fill_width=True, delete_cache=(3600, 12 * 3600)) as page:
        _html(views.header(about.run, about.trained_on), elem_id="top")
        with gr.Row(elem_id="desk"):
            with gr.Column(elem_id="left"):
                desk = _left(engine, uploads)
                status = _html(views.status("Loading models", "loading"))
            with gr.Column(elem_id="right"), gr.Tabs(elem_id="tabs"):
                with gr.Tab("Ask", id="ask"):
                    _ask(engine, desk)
                with gr.Tab("Search", id="search"):
                    filters = _search(engine, desk)
                with gr.Tab("Timeline", id="timeline") as tab:
                    _timeline(engine, desk, tab)
                with gr.Tab("About this model", id="about"):
                    _html(model_card.about(about), elem_id="about")

        def loaded() -> tuple[Any, ...]:
            try:
                engine.wait()
                found = engine.filters()
            except SurgVLError as error:
                return views.status(_line(error), "failed"), gr.skip(), gr.skip(), gr.skip()
            boxes = [_all(name, found[key]) for key, name in FILTERS.items()]
            return views.status("Models are ready", "ready"), *boxes

        page.load(loaded, None, [status, *filters], **QUIET)
    return page


def _left(engine: Engine, uploads: Path) -> Desk:
    """Player, list of videos, upload."""
    first = engine.shelf.videos[0]
    player = _html(views.player(first), elem_id="player")
    with gr.Row(elem_id="pick"):
        choices = [(views.label(each), each.video_id) for each in engine.shelf.videos]
        video = gr.Dropdown(choices, value=first.video_id, label="Recording", elem_id="video", scale=3)
        upload = gr.UploadButton("Upload", file_types=["video"], elem_id="upload", scale=1)
    limits = f"Uploads: up to {MAX_UPLOAD_BYTES >> 20} MB and {MAX_UPLOAD_S / 60:.0f} minutes; they stay on the machine"
    notice = _html(views.message(f"{limits} that serves this page and are deleted when it stops.", "hint"))
    desk = Desk(video, gr.Number(0.0, visible=False), gr.Checkbox(False, visible=False))

    def show(video_id: str) -> str:
        try:
            return views.player(engine.shelf.get(video_id))
        except SurgVLError as error:
            return _error(error)

    uploaded: gr.State = gr.State([])

    def admit(path: str, earlier: list[tuple[str, str]]) -> tuple[Any, ...]:
        try:
            found = engine.shelf.admit(Path(path), Path(path).name, uploads)
        except SurgVLError as error:
            return gr.skip(), _error(error), gr.skip()
        own = [(views.label(found), found.video_id), *earlier]
        ready = f"{found.title} is here: ask about it, or read its timeline."
        return gr.Dropdown([*own, *choices], value=found.video_id), views.message(ready, "hint"), own

    video.change(show, video, player, **QUIET)
    upload.upload(admit, [upload, uploaded], [video, notice, uploaded], **QUIET)
    return desk


def _ask(engine: Engine, desk: Desk) -> None:
    """Question, examples, answer."""
    known = engine.examples()
    _html(
        views.heading(
            "Ask about this moment", "Pause the player anywhere: the model looks at the seconds around that moment."
        )
    )
    with gr.Row(elem_classes="query"):
        question = gr.Textbox(
            label="Question",
            placeholder=known[0],
            max_length=MAX_CHARACTERS,
            lines=1,
            scale=5,
            elem_id="question",
        )
        go = gr.Button("Ask", variant="primary", elem_id="go-ask", scale=1, min_width=96)
    examples = _html(views.chips(known, "Try"), elem_id="questions", script=SAY)
    place = _html(views.empty("The answer and the frames it rests on appear here."), elem_id="answer", script=SHOW)
    turns = gr.State(Turns())

    def ask(video_id: str, time_s: float, text: str, turns: Turns) -> Iterator[Any]:
        is_latest = turns.take()
        yield views.working("Looking at the clip" if engine.is_ready else "Models are loading; the clip is next")
        try:
            reply = views.answer(engine.ask(video_id, time_s, text))
        except SurgVLError as error:
            reply = _error(error)
        yield reply if is_latest() else gr.skip()

    inputs = [desk.video, desk.time_s, question, turns]
    for event in (go.click, question.submit):
        event(ask, inputs, place, js=WITH_TIME, **QUIET)
    examples.say(_said, None, question, **QUIET).then(ask, inputs, place, js=WITH_TIME, **QUIET)
    place.show(_shown, None, desk.video, **QUIET)


# A sentence, or a moment: video id and time in seconds.
Query = str | tuple[str, float]
FILTERS = {"video_id": "recordings", "procedure": "procedures", "source": "sources"}


def _all(name: str, values: list[str]) -> gr.Dropdown:
    return gr.Dropdown([(f"All {name}", ""), *((value, value) for value in values)], value="")


def _search(engine: Engine, desk: Desk) -> list[gr.Dropdown]:
    """Sentence or moment, filters, clips. Returns the filters, whose values are known once the index is open."""
    sentences = engine.sentences()
    _html(views.heading("Find moments", "By a sentence, or by what the player shows now."))
    with gr.Row(elem_classes="query"):
        sentence = gr.Textbox(
            label="Sentence",
            placeholder=sentences[0] if sentences else "What the clip should show",
            max_length=MAX_CHARACTERS,
            lines=1,
            scale=5,
            elem_id="sentence",
        )
        go = gr.Button("Search", variant="primary", elem_id="go-search", scale=1, min_width=96)
        like = gr.Button("Like this moment", elem_id="go-like", scale=1, min_width=150)
    examples = _html(views.chips(sentences, "Try"), elem_id="sentences", script=SAY)
    with gr.Row(elem_classes="filters"):
        boxes = [
            gr.Dropdown(
                [(f"All {name}", "")], value="", label=name.capitalize(), elem_id=f"filter-{key}", min_width=120
            )
            for key, name in FILTERS.items()
        ]
        count = gr.Dropdown(list(NUM_MOMENTS), value=NUM_MOMENTS[1], label="Results", min_width=90, elem_id="count")
    place = _html(views.empty("Clips appear here, the most similar first."), elem_id="hits", script=SHOW)

    # The last search, a sentence or a video and a time: filters search it again.
    asked: gr.State = gr.State(None)
    turns = gr.State(Turns())

    def find(query: Query | None, turns: Turns, k: int, *where: str) -> Any:
        is_latest, begun = turns.take(), time.monotonic()
        if query is None:
            return gr.skip()
        try:
            if isinstance(query, str):
                found, name = engine.search(query, k, *where), f"“{' '.join(query.split())}”"
            else:
                found = engine.alike(*query, k, *where)
                name = f"{engine.shelf.get(query[0]).title} at {formatting.clock(query[1])}"
            reply = views.moments(found, name, time.monotonic() - begun, found.remark)
        except SurgVLError as error:
            reply = _error(error)
        return reply if is_latest() else gr.skip()

    def by_text(text: str, *rest: Any) -> tuple[Any, str]:
        return find(text, *rest), text

    def by_moment(video_id: str, time_s: float, *rest: Any) -> tuple[Any, Query]:
        return find((video_id, time_s), *rest), (video_id, time_s)

    rest, out = [turns, count, *boxes], [place, asked]
    for event in (go.click, sentence.submit):
        event(by_text, [sentence, *rest], out, **QUIET)
    examples.say(_said, None, sentence, **QUIET).then(by_text, [sentence, *rest], out, **QUIET)
    like.click(by_moment, [desk.video, desk.time_s, *rest], out, js=WITH_TIME, **QUIET)
    gr.on([box.input for box in (count, *boxes)], find, [asked, *rest], place, trigger_mode="always_last", **QUIET)
    place.show(_shown, None, desk.video, **QUIET)
    return boxes


def _timeline(engine: Engine, desk: Desk, tab: gr.Tab) -> None:
    """Ribbons and rows of the picked video; read when the tab is open, and again when a choice changes."""
    _html(
        views.heading(
            "Read the whole recording",
            "Phases and actions of each second, as the sentences of a prompt set describe them.",
        )
    )
    with gr.Row(elem_classes="filters"):
        phases, triplets = (
            gr.Dropdown(names, value=names[0] if names else None, label=f"{kind.capitalize()} prompts", min_width=120)
            for kind in ("phase", "triplet")
            for names in [engine.prompt_sets(kind)]
        )
        spans = [(f"mean over {span} s" if span else "none", span) for span in SMOOTHING_S]
        smoothing = gr.Dropdown(spans, value=SMOOTHING_S[1], label="Smoothing", min_width=120, elem_id="smoothing")
    place = _html("", elem_id="timeline")
    turns = gr.State(Turns())

    def read(
        video_id: str, is_open: bool, phase_set: str, triplet_set: str, smooth_s: float, turns: Turns
    ) -> Iterator[Any]:
        # Whatever comes ends an earlier reading, also of a recording that is no longer the picked one.
        is_latest = turns.take()
        if not is_open:
            yield gr.skip()
            return
        try:
            for share in engine.prepare(video_id):
                if not is_latest():
                    # What was yielded last is sent once more at the end: that must be nothing.
                    yield gr.skip()
                    return
                yield views.working("Embedding the recording", share)
            reply = timeline_view.timeline(engine.timeline(video_id, phase_set, triplet_set, smooth_s))
        except SurgVLError as error:
            reply = _error(error)
        yield reply if is_latest() else gr.skip()

    inputs = [desk.video, desk.is_open, phases, triplets, smoothing, turns]
    for event in (tab.select, desk.video.change, phases.input, triplets.input, smoothing.input):
        event(read, inputs, place, js=WITH_OPEN, trigger_mode="multiple", **QUIET)


def _said(event: gr.EventData) -> str:
    """The text of the chip that was clicked."""
    return str(event._data["text"])


def _shown(event: gr.EventData) -> str:
    """The video of the result that was clicked."""
    return str(event._data["video"])


def _line(error: SurgVLError) -> str:
    return formatting.without_folders(str(error))


def _error(error: SurgVLError) -> str:
    return views.message(_line(error))
