"""The report of a recording of an archive; see `surgvl.export.html_report`."""

from collections.abc import Sequence

from surgvl.archive.label_table import latest
from surgvl.archive.records import Recording
from surgvl.core.class_names import class_name
from surgvl.core.errors import DataError
from surgvl.core.times import clock
from surgvl.demo.embedded_sets import embedded_sets
from surgvl.demo.engine import Engine
from surgvl.demo.schemas import Phase
from surgvl.demo.thumbnails import frame_jpeg
from surgvl.demo.timeline import clips_of, shown_timeline
from surgvl.export.html_report import RecordingReport, Stretch, html_report

# More pictures would make a file that no mail takes.
NUM_PICTURES = 40
HEIGHT_PX = 180
NUM_ACTIONS = 200


def report(engine: Engine, row: Recording, names: Sequence[str], smooth_s: float) -> str:
    """The report of a recording as HTML; one that has no vectors yet has no part of the model's.

    Args:
        engine: the archive.
        row: the recording.
        names: prompt sets of the model's part, as on the page.
        smooth_s: window of a centred moving average over the cosines; 0 for none.
    """
    left = NUM_PICTURES

    def picture(start_s: float, end_s: float) -> bytes:
        nonlocal left
        if not left:
            return b""
        left -= 1
        try:
            return frame_jpeg(
                row.path, round(min((start_s + end_s) / 2, max(0.0, row.duration_s - 0.05)), 2), HEIGHT_PX
            )
        except DataError:
            # The file is gone or damaged there; the rest of the report is not.
            return b""

    classes, phases, actions, origin = _by_model(engine, row, names, smooth_s)
    labels = latest(engine.archive.catalogue.labels(row.id))
    clips = engine.archive.catalogue.clips(row.id)
    return html_report(
        RecordingReport(
            title=row.title,
            facts=_facts(row),
            notes=row.details.notes,
            duration_s=row.duration_s,
            phases=[
                Stretch(class_name("phase", each.name), each.start_s, each.end_s, each.confidence,
                        picture(each.start_s, each.end_s))
                for each in phases
            ],
            labels=[
                Stretch(class_name("phase", each.name), each.start_s, each.end_s, note=f"by {each.who}")
                for each in labels if each.track == "phase"
            ],
            others=[
                Stretch(class_name(each.track, each.name), each.start_s, each.end_s, note=f"{each.track} by {each.who}")
                for each in sorted(labels, key=lambda label: label.start_s) if each.track in ("step", "tag")
            ],
            actions=[
                Stretch(class_name("triplet", each.name), each.start_s, each.end_s, each.confidence)
                for each in actions[:NUM_ACTIONS]
            ],
            clips=[
                Stretch(each.title or "Clip", each.start_s, each.end_s, None, picture(each.start_s, each.end_s),
                        each.note)
                for each in clips
            ],
            origin=origin,
            warning=engine.insight(row).foreign,
            classes=[class_name("phase", each) for each in classes],
        )
    )  # fmt: skip


def _by_model(
    engine: Engine, row: Recording, names: Sequence[str], smooth_s: float
) -> tuple[list[str], list[Phase], list[Phase], list[str]]:
    """All phases that it knows, those it sees, actions, and how these were made."""
    if row.state not in ("coarse", "embedded") or not names:
        return [], [], [], []
    sets = embedded_sets(engine.archive, names)
    shown = shown_timeline(clips_of(engine.archive, row), sets, engine.facts.logit_scale, smooth_s, row.duration_s)
    card = engine.facts.card
    made = [f"Model: {card.name} ({engine.archive.model_hash})" + (f", licence {card.licence}" if card.licence else "")]
    made += [f"Trained on {card.trained_on}."] if card.trained_on else []
    made += [
        f"Zero-shot, prompt sets: {', '.join(f'{each.prompt_set.name} {each.prompt_set.version}' for each in sets)}."
    ]
    made += [f"Licence of the recording: {row.licence}."] if row.licence else []
    return shown.classes, shown.phases, list(shown.actions), made


def _facts(row: Recording) -> dict[str, str]:
    details = row.details
    return {
        "Recording": row.id,
        "Procedure": details.procedure,
        "Date": details.date,
        "Surgeon": details.surgeon,
        "Tags": ", ".join(details.tags),
        "Length": clock(row.duration_s),
        "Picture": f"{row.width} × {row.height} px, {row.fps:g} frames per second" if row.width else "",
    }
