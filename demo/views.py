"""From plain data to HTML: header, player, answer, moments, messages. Pure functions; no Gradio, no files.

`data-open` and `data-say` are what the page listens to; `data-of` names the recording that a card tells of.
"""

import base64
from collections.abc import Sequence

from surgvl.demo import formatting
from surgvl.demo.render import render
from surgvl.demo.schemas import Answer, Moment, Video
from surgvl.demo.thumbnails import jpeg
from surgvl.retrieval.moments import score_texts

# An answer with at least this share of the probability is more likely than all others together.
SURE = 0.5


def header(run: str, trained_on: str = "") -> str:
    """Banner and name; stands above all tabs.

    Args:
        run: name of the run folder.
        trained_on: what the models learnt from, such as `rendered videos`; empty where that is not known.
    """
    return render("header", run=run, trained_on=trained_on)


def status(text: str, state: str) -> str:
    """The pill that says whether models are loaded; state is `loading`, `ready` or `failed`."""
    return render("status", text=text, state=state)


def label(video: Video) -> str:
    """What the list of videos shows."""
    return " · ".join(part for part in (video.title, video.split, formatting.clock(video.duration_s)) if part)


def player(video: Video) -> str:
    """The stage: a picture, and below it the controls, which therefore never cover it.

    Where a browser cannot play the file, or it is a folder of pictures, still frames take the picture's place.
    """
    return render("player", video=video, is_file=video.path.suffix != "")


def message(text: str, kind: str = "error") -> str:
    """One line to a person: what went wrong (`error`) or what to do (`hint`)."""
    return render("message", text=" ".join(text.split()), kind=kind)


def working(text: str, share: float | None = None) -> str:
    """A progress bar: of a known share, 0 to 1, or just busy."""
    return render("working", text=text, share=share)


def heading(title: str, text: str) -> str:
    """The head of a tab."""
    return render("heading", title=title, text=text)


def empty(text: str) -> str:
    """What stands where a result will be."""
    return render("empty", text=text)


def chips(texts: Sequence[str], heading: str) -> str:
    """Examples that a click asks or searches."""
    return render("chips", texts=texts, heading=heading)


def answer(found: Answer) -> str:
    """The answer, large; how it was made; the truth where it is known; the frames the model saw."""
    doubts = []
    if found.closed:
        how = f"Chosen among {found.num_known} known answers"
        if not found.shares or found.shares[0][1] < SURE:
            doubts.append("Unsure: no answer has half of the probability")
    else:
        how = "Written freely, word by word"
        doubts.append(
            "Not certain: the model writes an answer to every question, also where the clip shows nothing of it"
        )
    if found.is_upload:
        doubts.append("An upload may be unlike the videos of training")
    if found.damage:
        doubts.append(found.damage)
    nearest = min(range(len(found.times_s)), key=lambda at: abs(found.times_s[at] - found.at_s), default=-1)
    frames = [
        {"time_s": time_s, "jpeg": base64.b64encode(jpeg(frame)).decode(), "is_nearest": at == nearest}
        for at, (time_s, frame) in enumerate(zip(found.times_s, found.frames, strict=True))
    ]
    return render("answer", answer=found, how=how, doubts=doubts, frames=frames, size_px=found.frames.shape[1])


def moments(found: Sequence[Moment], query: str, took_s: float, remark: str = "") -> str:
    """Search results as playable clips; a remark, where their scores say little, stands above them."""
    if not found:
        return message("Nothing fits these filters: widen them.", "hint")
    scores = score_texts([each.score for each in found], least=2)
    return render("moments", moments=found, query=query, took_s=took_s, remark=remark, scores=scores)
