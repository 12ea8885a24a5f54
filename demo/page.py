"""Layout and events of the page. Its HTML is in `views`, its content comes from an engine."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from surgvl.core.errors import SurgVLError
from surgvl.demo import formatting, model_card, timeline_view, views
from surgvl.demo.engine import MAX_CHARACTERS, Engine
from surgvl.demo.latest_request import LatestRequest
from surgvl.demo.video_catalog import MAX_UPLOAD_BYTES, MAX_UPLOAD_S

SANS = ("Inter", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Liberation Sans", "Arial", "sans-serif")
MONO = ("SF Mono", "Cascadia Mono", "Menlo", "Consolas", "Liberation Mono", "monospace")
NUM_MOMENTS = (4, 6, 10, 20)
SMOOTHING_S = (0, 5, 15, 30)
# Only the browser knows the player's time and whether a tab is open: its scripts fill in hidden components.
WITH_TIME = "(video, time, ...rest) => [video, window.surgvl.now(), ...rest]"
WITH_OPEN = "(video, open, ...rest) => [video, !!document.querySelector('#timeline')?.offsetParent, ...rest]"
ON_CHIP = """element.addEventListener('click', (event) => {
  const chip = event.target.closest('[data-say]');
  if (chip) trigger('say', {text: chip.dataset.say});
});"""
ON_OPEN = """element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-open]');
  if (button && !window.surgvl.open(button.dataset.open, Number(button.dataset.at))) {
    trigger('show', {video: button.dataset.open});
  }
});"""
EVENT: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": 4}


class PlayerState(NamedTuple):
    """Inputs of every tab: the selected video, and two values that only the browser knows."""

    video: gr.Dropdown
    time_s: gr.Number
    is_open: gr.Checkbox


def _html(value: str, elem_id: str | None = None, script: str | None = None) -> gr.HTML:
    """An HTML component without Gradio's prose styles."""
    return gr.HTML(value, elem_id=elem_id, js_on_load=script, apply_default_css=False)


def theme() -> gr.themes.Base:
    """System fonts, so that nothing is fetched, and the colours shown before style.css is loaded."""
    return gr.themes.Base(font=SANS, font_mono=MONO).set(
        body_background_fill="#f4f7f7",
        body_background_fill_dark="#0d1518",
        body_text_color="#12292f",
        body_text_color_dark="#e4eeee",
    )


def build(engine: Engine, uploads: Path) -> Any:
    """The page.

    Args:
        engine: answers, searches, makes timelines.
        uploads: the folder for uploads; its files are deleted after half a day.
    """
    card = engine.model_card()
    with gr.Blocks(title="surgvl", analytics_enabled=False, fill_width=True, delete_cache=(3600, 12 * 3600)) as page:
        _html(views.header(card.run, card.trained_on), elem_id="top")
        with gr.Row(elem_id="desk"):
            with gr.Column(elem_id="left"):
                player = _player(engine, uploads)
                status = _html(views.status("Loading models", "loading"))
            with gr.Column(elem_id="right"), gr.Tabs(elem_id="tabs"):
                if engine.models.has_answerer:
                    with gr.Tab("Ask", id="ask"):
                        _ask_tab(engine, player)
                with gr.Tab("Search", id="search"):
                    filters = _search_tab(engine, player)
                with gr.Tab("Timeline", id="timeline") as tab:
                    _timeline_tab(engine, player, tab)
                with gr.Tab("About this model", id="about"):
                    _html(model_card.model_card(card), elem_id="about")

        def loaded() -> tuple[Any, ...]:
            try:
                engine.wait()
                values = engine.filters()
            except SurgVLError as error:
                return views.status(_error_line(error), "failed"), *(gr.skip() for _ in FILTERS)
            choices = [_filter_choices(name, values[key]) for key, name in FILTERS.items()]
            return views.status("Models are ready", "ready"), *(gr.Dropdown(each, value="") for each in choices)

        page.load(loaded, None, [status, *filters], **EVENT)
    return page


def _player(engine: Engine, uploads: Path) -> PlayerState:
    """Player, list of recordings, upload."""
    first = engine.catalog.videos[0]
    player = _html(views.player(first), elem_id="player")
    with gr.Row(elem_id="pick"):
        choices = [(views.label(video), video.video_id) for video in engine.catalog.videos]
        selected = gr.Dropdown(choices, value=first.video_id, label="Recording", elem_id="video", scale=3)
        upload = gr.UploadButton("Upload", file_types=["video"], elem_id="upload", scale=1)
    limits = f"Uploads: up to {MAX_UPLOAD_BYTES >> 20} MB and {MAX_UPLOAD_S / 60:.0f} minutes; they stay on the machine"
    notice = _html(views.message(f"{limits} that serves this page and are deleted when it stops.", "hint"))

    def show(video_id: str) -> str:
        try:
            return views.player(engine.catalog.get(video_id))
        except SurgVLError as error:
            return _error(error)

    uploaded: gr.State = gr.State([])

    def add(path: str, earlier: list[tuple[str, str]]) -> tuple[Any, ...]:
        try:
            video = engine.catalog.add_upload(Path(path), Path(path).name, uploads)
        except SurgVLError as error:
            return gr.skip(), _error(error), gr.skip()
        own = [(views.label(video), video.video_id), *earlier]
        ready = f"{video.title} is ready: ask about it, or open its timeline."
        return gr.Dropdown([*own, *choices], value=video.video_id), views.message(ready, "hint"), own

    selected.change(show, selected, player, **EVENT)
    upload.upload(add, [upload, uploaded], [selected, notice, uploaded], **EVENT)
    return PlayerState(selected, gr.Number(0.0, visible=False), gr.Checkbox(False, visible=False))


def _query(label: str, placeholder: str, elem_id: str) -> gr.Textbox:
    """The text box of a question or a sentence."""
    return gr.Textbox(
        label=label, placeholder=placeholder, max_length=MAX_CHARACTERS, lines=1, scale=5, elem_id=elem_id
    )


def _ask_tab(engine: Engine, player: PlayerState) -> None:
    """Question, examples, answer."""
    examples = engine.examples()
    hint = f"Pause the player anywhere: the model sees {engine.seen()}."
    _html(views.tab_heading("Ask about this moment", hint))
    with gr.Row(elem_classes="query"):
        question = _query("Question", examples[0], "question")
        go = gr.Button("Ask", variant="primary", elem_id="go-ask", scale=1, min_width=96)
    chips = _html(views.chips(examples, "Try"), elem_id="questions", script=ON_CHIP)
    hint = "The answer and the frames it is based on appear here."
    result = _html(views.placeholder(hint), elem_id="answer", script=ON_OPEN)
    latest = gr.State(LatestRequest())

    def ask(video_id: str, time_s: float, text: str, latest: LatestRequest) -> Iterator[Any]:
        is_latest = latest.begin()
        yield views.progress("Looking at the clip" if engine.is_ready else "Models are loading; the clip is next")
        try:
            reply = views.answer(engine.ask(video_id, time_s, text))
        except SurgVLError as error:
            reply = _error(error)
        yield reply if is_latest() else gr.skip()

    inputs = [player.video, player.time_s, question, latest]
    for event in (go.click, question.submit):
        event(ask, inputs, result, js=WITH_TIME, **EVENT)
    chips.say(_chip_text, None, question, **EVENT).then(ask, inputs, result, js=WITH_TIME, **EVENT)
    result.show(_opened_video, None, player.video, **EVENT)


# A sentence, or a moment: video id and time in seconds.
Query = str | tuple[str, float]
FILTERS = {"video_id": "recordings", "procedure": "procedures", "source": "sources"}


def _filter_choices(name: str, values: list[str]) -> list[tuple[str, str]]:
    return [(f"All {name}", ""), *((value, value) for value in values)]


def _search_tab(engine: Engine, player: PlayerState) -> list[gr.Dropdown]:
    """Sentence or moment, filters, clips. Returns the filters, whose values are known once the index is open."""
    sentences = engine.sentences()
    _html(views.tab_heading("Find moments", "Search by a sentence, or by the moment shown in the player."))
    with gr.Row(elem_classes="query"):
        sentence = _query("Sentence", sentences[0] if sentences else "What the clip should show", "sentence")
        go = gr.Button("Search", variant="primary", elem_id="go-search", scale=1, min_width=96)
        like = gr.Button("Like this moment", elem_id="go-like", scale=1, min_width=150)
    chips = _html(views.chips(sentences, "Try"), elem_id="sentences", script=ON_CHIP)
    with gr.Row(elem_classes="filters"):
        filters = [
            gr.Dropdown(
                _filter_choices(name, []), value="", label=name.capitalize(), elem_id=f"filter-{key}", min_width=120
            )
            for key, name in FILTERS.items()
        ]
        count = gr.Dropdown(list(NUM_MOMENTS), value=NUM_MOMENTS[1], label="Results", min_width=90, elem_id="count")
    result = _html(views.placeholder("Clips appear here, the most similar first."), elem_id="hits", script=ON_OPEN)

    # A changed filter repeats the last search.
    last_query: gr.State = gr.State(None)
    latest = gr.State(LatestRequest())

    def find(query: Query | None, latest: LatestRequest, k: int, *where: str) -> Any:
        is_latest, begun = latest.begin(), time.monotonic()
        if query is None:
            return gr.skip()
        try:
            if isinstance(query, str):
                found, name = engine.search(query, k, *where), f"“{' '.join(query.split())}”"
            else:
                found = engine.alike(*query, k, *where)
                name = f"{engine.catalog.get(query[0]).title} at {formatting.clock(query[1])}"
            reply = views.moments(found, name, time.monotonic() - begun, found.remark)
        except SurgVLError as error:
            reply = _error(error)
        return reply if is_latest() else gr.skip()

    def by_text(text: str, *rest: Any) -> tuple[Any, str]:
        return find(text, *rest), text

    def by_moment(video_id: str, time_s: float, *rest: Any) -> tuple[Any, Query]:
        return find((video_id, time_s), *rest), (video_id, time_s)

    rest, outputs = [latest, count, *filters], [result, last_query]
    for event in (go.click, sentence.submit):
        event(by_text, [sentence, *rest], outputs, **EVENT)
    chips.say(_chip_text, None, sentence, **EVENT).then(by_text, [sentence, *rest], outputs, **EVENT)
    like.click(by_moment, [player.video, player.time_s, *rest], outputs, js=WITH_TIME, **EVENT)
    changes = [each.input for each in (count, *filters)]
    gr.on(changes, find, [last_query, *rest], result, trigger_mode="always_last", **EVENT)
    result.show(_opened_video, None, player.video, **EVENT)
    return filters


def _timeline_tab(engine: Engine, player: PlayerState, tab: gr.Tab) -> None:
    """Timeline of the selected video, made when the tab is opened and again when a choice changes."""
    hint = "Phases and actions second by second, matched to the sentences of a prompt set."
    _html(views.tab_heading("Timeline of the whole recording", hint))
    with gr.Row(elem_classes="filters"):
        phases, triplets = (
            gr.Dropdown(names, value=names[0] if names else None, label=f"{task.capitalize()} prompts", min_width=120)
            for task in ("phase", "triplet")
            for names in [engine.prompt_sets(task)]
        )
        spans = [(f"mean over {span_s} s" if span_s else "none", span_s) for span_s in SMOOTHING_S]
        smoothing = gr.Dropdown(spans, value=SMOOTHING_S[1], label="Smoothing", min_width=120, elem_id="smoothing")
    result = _html("", elem_id="timeline")
    latest = gr.State(LatestRequest())

    def read(
        video_id: str, is_open: bool, phase_set: str, triplet_set: str, smooth_s: float, latest: LatestRequest
    ) -> Iterator[Any]:
        # Any new request ends an earlier one, also that of a recording which is no longer selected.
        is_latest = latest.begin()
        if not is_open:
            yield gr.skip()
            return
        try:
            for fraction in engine.prepare(video_id):
                if not is_latest():
                    # Gradio sends the last value again at the end: it must be empty.
                    yield gr.skip()
                    return
                yield views.progress("Embedding the recording", fraction)
            reply = timeline_view.timeline(engine.timeline(video_id, phase_set, triplet_set, smooth_s))
        except SurgVLError as error:
            reply = _error(error)
        yield reply if is_latest() else gr.skip()

    inputs = [player.video, player.is_open, phases, triplets, smoothing, latest]
    for event in (tab.select, player.video.change, phases.input, triplets.input, smoothing.input):
        event(read, inputs, result, js=WITH_OPEN, trigger_mode="multiple", **EVENT)


def _chip_text(event: gr.EventData) -> str:
    """The text of the clicked example."""
    return str(event._data["text"])


def _opened_video(event: gr.EventData) -> str:
    """The video of the clicked result."""
    return str(event._data["video"])


def _error_line(error: SurgVLError) -> str:
    return formatting.without_folders(str(error))


def _error(error: SurgVLError) -> str:
    return views.message(_error_line(error))
