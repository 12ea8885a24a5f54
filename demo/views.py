"""From plain data to HTML: header, player, answer, moments, messages. Pure functions; no Gradio, no files.

`data-open` and `data-say` are what the page listens to; `data-of` names the recording that a card tells of.
"""

import base64
from collections.abc import Sequence
from urllib.parse import quote

from surgvl.demo import formatting
from surgvl.demo.schemas import Answer, Moment, Video
from surgvl.demo.thumbnails import jpeg
from surgvl.retrieval.moments import score_texts

# An answer with at least this share of the probability is more likely than all others together.
SURE = 0.5
NOTICE = "Research prototype. Not for clinical use."

# The mark: a scope's round view, edged by the seven phases.
_ARCS = "".join(
    f'<circle r="13" cx="16" cy="16" pathLength="70" stroke="var(--phase-{k})" '
    f'stroke-dasharray="8.2 61.8" stroke-dashoffset="{-10 * k}"/>'
    for k in range(7)
)
MARK = (
    '<svg class="mark" viewBox="0 0 32 32" aria-hidden="true"><g fill="none" stroke-width="3.4">'
    f'{_ARCS}</g><circle cx="16" cy="16" r="4.2" fill="currentColor"/></svg>'
)
_WARNING = (
    '<svg viewBox="0 0 16 16" aria-hidden="true"><path d="M8 1.8 15 14H1z" fill="none" stroke="currentColor" '
    'stroke-width="1.4" stroke-linejoin="round"/><path d="M8 6.2v4M8 11.7v.6" stroke="currentColor" '
    'stroke-width="1.5" stroke-linecap="round"/></svg>'
)

_PLAY = (
    '<svg class="go" viewBox="0 0 16 16" aria-hidden="true"><path d="M4 2.2v11.6L13.6 8z" fill="currentColor"/></svg>'
)
_PAUSE = (
    '<svg class="halt" viewBox="0 0 16 16" aria-hidden="true"><path d="M3.5 2.5h3v11h-3zM9.5 2.5h3v11h-3z" '
    'fill="currentColor"/></svg>'
)
_FULL = (
    '<svg viewBox="0 0 16 16" aria-hidden="true"><path d="M2 6V2h4M10 2h4v4M14 10v4h-4M6 14H2v-4" fill="none" '
    'stroke="currentColor" stroke-width="1.6"/></svg>'
)


def header(run: str, trained_on: str = "") -> str:
    """Banner and name; stands above all tabs.

    Args:
        run: name of the run folder.
        trained_on: what the models learnt from, such as `rendered videos`; empty where that is not known.
    """
    first, last = NOTICE.split(". ")
    notice = f"{first}. Trained on {formatting.safe(trained_on)}. {last}" if trained_on else NOTICE
    return (
        f'<p class="banner" role="note">{_WARNING}<span>{notice}</span></p>'
        f'<header class="masthead">{MARK}<div><h1>surgvl</h1><p>Ask, search and read surgical video</p></div>'
        f'<p class="run"><span>Run</span> {formatting.safe(run)}</p></header>'
    )


def status(text: str, state: str) -> str:
    """The pill that says whether models are loaded; state is `loading`, `ready` or `failed`."""
    return f'<p class="status {state}" role="status"><i></i>{formatting.safe(text)}</p>'


def label(video: Video) -> str:
    """What the list of videos shows."""
    return " · ".join(part for part in (video.title, video.split, formatting.clock(video.duration_s)) if part)


def player(video: Video) -> str:
    """The stage: a picture, and below it the controls, which therefore never cover it.

    Where a browser cannot play the file, or it is a folder of pictures, still frames take the picture's place.
    """
    name, folder = quote(video.video_id, safe=""), video.path.suffix == ""
    duration, title = f"{video.duration_s:.3f}", formatting.safe(video.title)
    source = "" if folder else f' src="media/{name}" poster="frame/{name}?t=0&amp;h=480"'
    about = " · ".join(formatting.safe(part) for part in (video.split, video.procedure) if part)
    return (
        f'<section class="stage" data-video="{formatting.safe(video.video_id)}" data-duration="{duration}">'
        f'<video{source} playsinline preload="metadata" aria-label="Recording {title}"'
        f"{' hidden' if folder else ''}></video>"
        f'<div class="stills"{"" if folder else " hidden"}><img alt="Frame of {title}" '
        f'data-frame="frame/{name}?h=480&amp;t="><p>This browser cannot play the file: its frames are shown.</p></div>'
        f'<div class="controls"><button type="button" data-play aria-label="Play or pause">{_PLAY}{_PAUSE}</button>'
        f'<input type="range" min="0" max="{duration}" step="0.1" value="0" aria-label="Moment in the recording">'
        f'<p class="timecode"><b class="now">00:00.0</b><span>{formatting.clock(video.duration_s)}</span></p>'
        f'<button type="button" data-full aria-label="Full screen">{_FULL}</button></div>'
        f'<p class="what"><b>{title}</b><span>{about}</span></p></section>'
    )


def message(text: str, kind: str = "error") -> str:
    """One line to a person: what went wrong (`error`) or what to do (`hint`)."""
    role = "alert" if kind == "error" else "status"
    icon = _WARNING if kind == "error" else ""
    return f'<p class="message {kind}" role="{role}">{icon}<span>{formatting.safe(" ".join(text.split()))}</span></p>'


def working(text: str, share: float | None = None) -> str:
    """A progress bar: of a known share, 0 to 1, or just busy."""
    value = "" if share is None else f' value="{share:.3f}"'
    percent = "" if share is None else f"<b>{share:.0%}</b>"
    return (
        f'<div class="working" role="status"><p>{formatting.safe(text)}{percent}</p>'
        f'<progress max="1"{value} aria-label="{formatting.safe(text)}"></progress></div>'
    )


def heading(title: str, text: str) -> str:
    """The head of a tab."""
    return f'<div class="tab-head"><h2>{formatting.safe(title)}</h2><p>{formatting.safe(text)}</p></div>'


def empty(text: str) -> str:
    """What stands where a result will be."""
    return f'<p class="waiting">{formatting.safe(text)}</p>'


def chips(texts: Sequence[str], heading: str) -> str:
    """Examples that a click asks or searches."""
    if not texts:
        return ""
    row = "".join(
        f'<button type="button" class="chip" data-say="{formatting.safe(t)}">{formatting.safe(t)}</button>'
        for t in texts
    )
    heading = formatting.safe(heading)
    return f'<div class="chips" role="group" aria-label="{heading}"><span>{heading}</span>{row}</div>'


def answer(found: Answer) -> str:
    """The answer, large; how it was made; the truth where it is known; the frames the model saw."""
    if found.closed:
        how = f"Chosen among {found.num_known} known answers"
        sure = found.shares[0][1] >= SURE if found.shares else False
        doubt = "" if sure else "Unsure: no answer has half of the probability"
    else:
        how = "Written freely, word by word"
        doubt = "Not certain: the model writes an answer to every question, also where the clip shows nothing of it"
    if found.is_upload:
        doubt = " · ".join(part for part in (doubt, "An upload may be unlike the videos of training") if part)
    doubt = " · ".join(part for part in (doubt, formatting.safe(found.damage)) if part)
    truth = ""
    if found.truth:
        right = found.truth == found.text
        verdict = "agrees" if right else "differs"
        truth = (
            f'<span class="tag {"right" if right else "wrong"}">Truth of this video: '
            f"<b>{formatting.answer(found.truth)}</b> ({verdict})</span>"
        )
    warning = f'<span class="tag doubt">{doubt}.</span>' if doubt else ""
    said = formatting.answer(found.text) or '<span class="nothing">(the model said nothing)</span>'
    bars = "".join(
        f'<li><span>{formatting.answer(text)}</span><i><b style="width:{100 * share:.1f}%"></b></i>'
        f"<em>{100 * share:.0f} %</em></li>"
        for text, share in found.shares
    )
    shares = f'<div class="part"><h3>Likeliest answers</h3><ol class="bars">{bars}</ol></div>' if bars else ""
    return (
        f'<article class="card answer{"" if found.closed else " free"}" data-of="{formatting.safe(found.video_id)}">'
        f'<p class="eyebrow"><span>{formatting.safe(found.title)} at '
        f"{formatting.clock(found.at_s, tenths=True)}</span><span>{formatting.took(found.took_s)}</span></p>"
        f'<p class="asked">{formatting.safe(found.question)}</p><p class="said">{said}</p>'
        f'<p class="tags"><span class="tag">{how}</span>{warning}{truth}</p>{shares}{_evidence(found)}</article>'
    )


def _evidence(found: Answer) -> str:
    nearest = min(range(len(found.times_s)), key=lambda at: abs(found.times_s[at] - found.at_s), default=-1)
    cells = []
    for at, (time_s, frame) in enumerate(zip(found.times_s, found.frames, strict=True)):
        data = base64.b64encode(jpeg(frame)).decode()
        clock = formatting.clock(time_s, tenths=True)
        mark = ' class="asked-here"' if at == nearest else ""
        cells.append(
            f'<li{mark}><button type="button" data-open="{formatting.safe(found.video_id)}" data-at="{time_s:.2f}" '
            f'aria-label="{clock}: show in player">'
            f'<img src="data:image/jpeg;base64,{data}" alt=""><time>{clock}</time></button></li>'
        )
    size = found.frames.shape[1]
    return (
        f'<figure class="part"><h3>What the model saw</h3><ol class="strip">{"".join(cells)}</ol>'
        f"<figcaption>{len(cells)} frames, {size} × {size} pixels each: nothing else entered the answer."
        "</figcaption></figure>"
    )


def moments(found: Sequence[Moment], query: str, took_s: float, remark: str = "") -> str:
    """Search results as playable clips; a remark, where their scores say little, stands above them."""
    if not found:
        return message("Nothing fits these filters: widen them.", "hint")
    doubt = f'<p class="message doubt">{_WARNING}<span>{formatting.safe(remark)}</span></p>' if remark else ""
    scores = score_texts([each.score for each in found], least=2)
    cards = "".join(_moment(place, *each) for place, each in enumerate(zip(found, scores, strict=True), 1))
    return (
        f'<p class="eyebrow found"><span>{formatting.plural(len(found), "moment")} like {query}</span>'
        f"<span>{formatting.took(took_s)}</span></p>"
        '<p class="note">The nearest clips there are, whether or not any of them shows it. '
        "Score: cosine similarity, 1 for the same.</p>"
        f"{doubt}"
        f'<ol class="hits">{cards}</ol>'
    )


def _moment(place: int, moment: Moment, shown: str) -> str:
    name = quote(moment.video_id, safe="")
    middle = (moment.start_s + moment.end_s) / 2
    span = f"{formatting.clock(moment.start_s)}–{formatting.clock(moment.end_s)}"
    title = formatting.safe(moment.video_id)
    score = min(max(moment.score, 0.0), 1.0)
    return (
        f'<li class="card hit"><div class="screen"><video src="media/{name}#t={moment.start_s:.2f},{moment.end_s:.2f}" '
        f'poster="frame/{name}?t={middle:.1f}&amp;h=240" data-start="{moment.start_s:.2f}" '
        f'data-end="{moment.end_s:.2f}" playsinline muted preload="none"></video><button type="button" class="cover" '
        f'data-clip aria-label="Play result {place}: {title}, {span}">{_PLAY}{_PAUSE}</button>'
        '<i class="passed"></i></div>'
        f'<div class="hit-foot"><p><span class="rank">{place}</span><b title="{title}">{title}</b><time>{span}</time>'
        "</p>"
        f'<div class="score"><i><b style="width:{100 * score:.1f}%"></b></i>'
        f"<em>{shown}</em></div>"
        f'<button type="button" class="quiet" data-open="{title}" data-at="{moment.start_s:.2f}" '
        f'aria-label="Show in player: result {place}">Show in player</button></div></li>'
    )
