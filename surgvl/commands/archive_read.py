"""The commands that read, check and export an archive: `archive list`, `info`, `details`, `verify`, `duplicates`,
`merge`, `export`.
"""

import getpass
import time
from collections import Counter
from pathlib import Path

from tqdm import tqdm

from surgvl.archive.archive import Archive
from surgvl.archive.creating import SPACES
from surgvl.archive.records import Details
from surgvl.archive.restoring import restore_header
from surgvl.archive.space import STOPPED, Space
from surgvl.core.errors import DataError
from surgvl.core.files import command, size_of
from surgvl.core.plurals import data_size, part_of, plural
from surgvl.core.tables import plain_table
from surgvl.core.times import clock
from surgvl.retrieval.duplicates import Duplicate
from surgvl.retrieval.where import Where


def archive_list(
    folder: Path,
    procedure: str = "",
    source: str = "",
    surgeon: str = "",
    tags: list[str] = [],  # noqa: B006 (never changed)
    phase: str = "",
    date_from: str = "",
    date_to: str = "",
) -> None:
    """List the recordings of an archive, or those that meet conditions.

    Args:
        folder: the archive.
        procedure: only of this procedure.
        source: only from this folder or data set.
        surgeon: only by this surgeon's code.
        tags: only with all these tags, on the recording or on a range of it.
        phase: only with a range labelled as this phase.
        date_from: only on this date, YYYY-MM-DD, YYYY-MM or YYYY, or later.
        date_to: only on this date or earlier.
    """
    where = Where(
        procedure=procedure,
        source=source,
        surgeon=surgeon,
        tags=tuple(tags),
        phase=phase,
        date_from=date_from,
        date_to=date_to,
    )
    with Archive.open(folder) as archive:
        found, everything = archive.recordings(where), len(archive.catalogue.rows())
        labels = Counter(each.recording for each in archive.catalogue.labels())
    rows: list[list[object]] = [["recording", "state", "length", "labels", "procedure", "date", "surgeon", "tags"]]
    for each in found:
        own = each.details
        line = [own.procedure, own.date, own.surgeon, ", ".join(own.tags)]
        rows.append([each.id, each.state, clock(each.duration_s), labels[each.id], *line])
    if found:
        print(plain_table(rows, indent=""))
    for each in found:
        if each.problem:
            print(f"{each.id}: {each.problem}")
    print(f"\n{len(found):,} of {plural(everything, 'recording')}; next: {command('archive info', folder)}")


def archive_info(folder: Path) -> None:
    """Show what an archive holds: recordings, hours, model, vectors, labels, storage.

    Args:
        folder: the archive.
    """
    with Archive.open(folder) as archive:
        recordings, meta, head = archive.recordings(), archive.space.meta, archive.header
        states, total_s = Counter(each.state for each in recordings), sum(each.duration_s for each in recordings)
        tracks = Counter(each.track for each in archive.catalogue.labels())
        sets = ", ".join(f"{name} ({facts.task})" for name, facts in meta.prompt_sets.items())
        lines = {
            "archive": head.name,
            "created": time.strftime("%Y-%m-%d %H:%M", time.localtime(head.created_s)),
            "recordings": f"{len(recordings):,}" + "".join(f", {count:,} {state}" for state, count in states.items()),
            "video": f"{total_s / 3600:,.2f} h, {data_size(sum(each.size for each in recordings))}",
            "model": f"{archive.model} ({meta.model_hash})",
            "answers": archive.chat
            or f"no model for questions: {command('archive set', folder)} --chat MODEL names one",
            "vectors": f"{meta.num_vectors:,} of {meta.dim} numbers, one every {meta.stride_s:g} s",
            "index": _index_line(archive),
            "sentences": sets or "none",
            "labels": ", ".join(f"{count:,} of {track}" for track, count in sorted(tracks.items())) or "none",
            "saved clips": f"{len(archive.catalogue.clips()):,}",
            **_begun(archive),
            "storage": data_size(size_of(archive.folder.rglob("*"))),
        }
    wide = max(map(len, lines))
    print("\n".join(f"{label:{wide}}  {value}" for label, value in lines.items()))
    waiting = states["waiting"] + states["coarse"]
    following = command("archive update", folder) if waiting else command("archive list", folder)
    print(f"next: {following}")


def _begun(archive: Archive) -> dict[str, str]:
    """The vectors that `reindex` was stopped at."""
    spaces = [Space(path.parent) for path in sorted(archive.folder.glob(f"{SPACES}/*/{STOPPED}"))]
    models = ", ".join(space.meta.model for space in spaces)
    again = command("archive reindex", archive.folder, model=spaces[0].meta.model) if spaces else ""
    return {"begun": f"vectors of {models}: `{again}` goes on"} if spaces else {}


def _index_line(archive: Archive) -> str:
    """The kind of index, its measured recall, and the removed vectors that it still holds."""
    index = archive.index()
    there = plural(index.version.head.num_removed, "removed vector")
    removed = f"{there} unsearchable until `surgvl archive reindex`" if index.version.head.num_removed else ""
    return "; ".join(filter(None, (index.why, index.version.placed, removed))) or "empty"


def archive_details(
    folder: Path,
    recording: str,
    title: str | None = None,
    procedure: str | None = None,
    date: str | None = None,
    surgeon: str | None = None,
    tags: list[str] | None = None,
    notes: str | None = None,
    who: str = "",
    history: bool = False,
) -> Details:
    """Show or change the case details of a recording; nothing is overwritten: the history keeps every value.

    Args:
        folder: the archive.
        recording: its id.
        title: name of the recording on the page.
        procedure: the operation.
        date: YYYY-MM-DD, YYYY-MM or YYYY.
        surgeon: a code, not a name.
        tags: words; they replace the present ones.
        notes: free text.
        who: who changes them; your user name by default.
        history: show every change, with who and when.
    """
    with Archive.open(folder) as archive:
        given = {"title": title, "procedure": procedure, "date": date, "surgeon": surgeon, "notes": notes}
        if tags is not None or any(value is not None for value in given.values()):
            archive.catalogue.set_details(recording, who=who or getpass.getuser(), tags=tags, **given)
        found = archive.recording(recording)
        for name, value in vars(found.details).items():
            print(f"{name:9}  {value if isinstance(value, str) else ', '.join(value)}")
        if history:
            print()
            for edit in archive.catalogue.history(recording):
                when = time.strftime("%Y-%m-%d %H:%M", time.localtime(edit.made_s))
                value = edit.value if isinstance(edit.value, str) else ", ".join(edit.value)
                print(f"{when}  {edit.who}  {edit.field}: {value}{' (undone)' if edit.is_undone else ''}")
    return found.details


def archive_verify(folder: Path, mend: bool = True, wait_s: float = 0.0) -> None:
    """Check an archive: report what is damaged or missing, and rebuild index and manifest from what is intact.

    Args:
        folder: the archive.
        mend: repair what can be repaired; false only reports.
        wait_s: seconds to wait for another process that writes.
    """
    lines = restore_header(folder, wait_s) if mend else []
    with Archive.open(folder) as archive:
        lines += archive.verify(mend, wait_s=wait_s)
        states = [each.state for each in archive.recordings()]
    if lines:
        raise DataError(f"{plural(len(lines), 'problem')} in {folder}:" + "".join(f"\n  {line}" for line in lines))
    following = command("archive update" if "waiting" in states else "archive info", folder)
    print(f"{folder} is intact: {plural(len(states), 'recording')}; next: {following}")


def archive_duplicates(folder: Path, least_s: float = 10.0) -> list[Duplicate]:
    """List recordings that show the same footage: copies, cuts of one another, other encodings.

    Args:
        folder: the archive.
        least_s: shortest footage that counts, seconds.
    """
    with Archive.open(folder) as archive, tqdm(desc="duplicates", unit="pair", disable=None, leave=False) as bar:
        number = sum(row.state == "embedded" for row in archive.catalogue.rows())
        bar.total = number * (number - 1) // 2
        found = archive.duplicates(least_s, bar.update)
    rows: list[list[object]] = [["recording", "from", "to", "other", "from", "to", "cosine"]]
    for each in found:
        there = (each.start_s + each.offset_s, each.end_s + each.offset_s)
        spans = [clock(each.start_s), clock(each.end_s), each.other, *map(clock, there)]
        rows.append([each.recording, *spans, f"{each.cosine:.3f}"])
    if found:
        print(plain_table(rows, indent=""))
    pairs = plural(len({(each.recording, each.other) for each in found}), "pair")
    print(f"{pairs} of {plural(number, 'recording')} share footage; next: {command('archive list', folder)}")
    return found


def archive_merge(folder: Path, other: Path, wait_s: float = 0.0) -> None:
    """Add the recordings of another archive with the same model: their vectors, details, labels and clips.

    Args:
        folder: the archive that grows.
        other: the archive that is read.
        wait_s: seconds to wait for another process that writes.
    """
    with Archive.open(folder) as archive:
        report = archive.merge(other, wait_s=wait_s)
    there = f", {len(report.unchanged):,} were there" if report.unchanged else ""
    print(f"{plural(len(report.added), 'recording')} of {other} added{there}; next: {command('archive list', folder)}")


def archive_export(
    folder: Path,
    out: Path,
    formats: list[str] = ["csv", "manifest"],  # noqa: B006 (never changed)
    resume: bool = False,
) -> None:
    """Write case details, labels and saved clips of an archive as files of other tools.

    Args:
        folder: the archive.
        out: folder to write: tables labels.csv, details.csv, history.csv and clips.csv, and what --formats names.
        formats: manifest, which training and tests read; and formats of one file of labels a recording: csv, json,
            parquet, vtt, srt, eaf (ELAN), cvat, label_studio or fiftyone.
        resume: write into a folder that is not empty.
    """
    with Archive.open(folder) as archive:
        aside = archive.export(out, formats, resume=resume)
        num_recordings, vectors = len(archive.catalogue.rows()), archive.space.vectors
    following = command("archive list", folder)
    if "manifest" in formats:
        following = command("eval", vectors=vectors, manifest=out / "manifest", split="", out="eval")
    print(f"{plural(num_recordings, 'recording')} in {out}; next: {following}")
    if aside:
        lines = "".join(f"\n  {line}" for line in aside.values())
        part = part_of(len(aside), num_recordings, "recording", "has")
        raise DataError(f"{part} no file of labels, the others are done:{lines}")
