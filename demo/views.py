"""From plain data to HTML: header, player, answer, moments, messages. Pure functions; no Gradio, no files.

The page's script listens to `data-open` and `data-say`; `data-of` names the recording that a card is about.
"""

import base64
from collections.abc import Sequence

from surgvl.demo import formatting
from surgvl.demo.render import render
from surgvl.demo.schemas import AnswerCard, Moment, Video
from surgvl.demo.thumbnails import encode_jpeg
from surgvl.retrieval.moments import score_texts

# An answer with at least half of the probability is at least as likely as all others together.
MAJORITY = 0.5


def header(run: str, trained_on: str = "") -> str:
    """Banner and title above all tabs.

    Args:
        run: name of the run folder.
        trained_on: kind of training data, such as `rendered videos`; empty if unknown.
    """
    return render("header", run=run, trained_on=trained_on)


def status(text: str, state: str) -> str:
    """The pill that says whether the models are loaded; state is `loading`, `ready` or `failed`."""
    return render("status", text=text, state=state)


def label(video: Video) -> str:
    """The entry of a video in the list of recordings."""
    return " · ".join(part for part in (video.title, video.split, formatting.clock(video.duration_s)) if part)


def player(video: Video) -> str:
    """The video with its controls; still frames if the browser cannot play the file or it is a folder of images."""
    return render("player", video=video, is_file=video.path.suffix != "")


def message(text: str, kind: str = "error") -> str:
    """One line for the user: what went wrong (`error`) or what to do (`hint`)."""
    return render("message", text=" ".join(text.split()), kind=kind)


def progress(text: str, fraction: float | None = None) -> str:
    """A progress bar from 0 to 1; without a fraction it only shows that something is running."""
    return render("progress", text=text, fraction=fraction)


def tab_heading(title: str, text: str) -> str:
    """The heading of a tab."""
    return render("tab_heading", title=title, text=text)


def placeholder(text: str) -> str:
    """What is shown until there is a result."""
    return render("placeholder", text=text)


def chips(texts: Sequence[str], heading: str) -> str:
    """Examples to click on."""
    return render("chips", texts=texts, heading=heading)


def answer(card: AnswerCard) -> str:
    """The answer, how it was found, the ground truth if known, and the frames the model saw."""
    doubts = []
    if card.closed:
        how = f"Chosen from {card.num_known} known answers"
        if not card.probabilities or card.probabilities[0][1] < MAJORITY:
            doubts.append("Uncertain: no answer has half of the probability")
    else:
        how = "Free text, generated word by word"
        doubts.append("Uncertain: the model answers every question, even if the clip does not show what was asked")
    if card.is_upload:
        doubts.append("An upload may differ from the training videos")
    if card.damage:
        doubts.append(card.damage)
    nearest = min(range(len(card.times_s)), key=lambda at: abs(card.times_s[at] - card.at_s), default=-1)
    frames = [
        {"time_s": time_s, "jpeg": base64.b64encode(encode_jpeg(frame)).decode(), "is_nearest": at == nearest}
        for at, (time_s, frame) in enumerate(zip(card.times_s, card.frames, strict=True))
    ]
    height_px, width_px = card.frames.shape[1:3]
    shown = {"frames": frames, "width_px": width_px, "height_px": height_px}
    return render(
        "answer", answer=card, how=how, doubts=doubts, problem=formatting.without_folders(card.problem), **shown
    )


def moments(found: Sequence[Moment], query: str, elapsed_s: float, remark: str = "") -> str:
    """Search results as playable clips, below a remark if their scores say little."""
    if not found:
        return message("No clip matches these filters: widen them.", "hint")
    scores = score_texts([moment.score for moment in found], least=2)
    return render("moments", moments=found, query=query, elapsed_s=elapsed_s, remark=remark, scores=scores)
