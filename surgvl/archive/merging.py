"""Taking over the recordings of another archive of the same model, with everything that is known of them."""

from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from surgvl.archive.catalogue import Catalogue
from surgvl.archive.derived import read_questions, write_questions
from surgvl.archive.label_table import new_of
from surgvl.archive.opened import OpenArchive
from surgvl.archive.recording_table import stored_path
from surgvl.archive.records import Report
from surgvl.core.errors import ConfigError


def merge(archive: OpenArchive, other: OpenArchive, wait_s: float) -> Report:
    """Add another archive's recordings, vectors, case details, labels and clips; nothing is embedded again.

    A recording with the same content as one that is here is that one. An id that is taken gets the other archive's name
    in front. Merging the same archive again adds only what is new in it.

    Args:
        archive: the archive that grows.
        other: the one that is read.
        wait_s: seconds to wait for another writer.

    Raises:
        ConfigError: another model's archive, one with a different step between vectors, or the archive itself.
    """
    if other.folder == archive.folder:
        raise ConfigError(f"{archive.folder} cannot be merged with itself: give another archive")
    if other.model_hash != archive.model_hash:
        raise ConfigError(
            f"{other.folder} is in the space of {other.model} ({other.model_hash}), {archive.folder} in that of "
            f"{archive.model} ({archive.model_hash}): `surgvl archive reindex` one of them with the other's model first"
        )
    if (mine_s := archive.space.meta.stride_s) != (others_s := other.space.meta.stride_s):
        raise ConfigError(
            f"the vectors of {other.folder} are {others_s:g} s apart, those of {archive.folder} {mine_s:g} s: add the "
            "files instead"
        )
    with archive.writing(wait_s) as writer:
        ids, added, unchanged = {}, list[str](), list[str]()
        with archive.catalogue.transaction():
            for row in other.catalogue.rows():
                same = archive.catalogue.by_content(row.content) if row.content else None
                if same is None:
                    taken = {each.id for each in archive.catalogue.rows()}
                    name = row.id if row.id not in taken else f"{other.name}/{row.id}"
                    if name in taken:
                        raise ConfigError(f"{archive.folder} has other recordings {row.id!r} and {name!r}: rename one")
                    path = stored_path(other.absolute(row.path), archive.folder)
                    archive.catalogue.put(replace(row, id=name, path=path))
                    added.append(name)
                else:
                    name = same.id
                    unchanged.append(name)
                ids[row.id] = name
            _copy(other.catalogue, archive.catalogue, ids)
        table = read_questions(other.folder)
        if added and len(table):
            new = {old: name for old, name in ids.items() if name in added}
            table = table.filter(pc.is_in(table["video_id"], value_set=pa.array(sorted(new), pa.string())))
            names = pa.array([new[name] for name in table["video_id"].to_pylist()], pa.string())
            table = table.set_column(table.schema.get_field_index("video_id"), "video_id", names)
            write_questions(archive.folder, pa.concat_tables([read_questions(archive.folder), table]))
        videos = archive.manifest()
        for old, name in ids.items():
            if archive.catalogue.row(name).state != "failed":
                writer.copy(other.space, old, archive.catalogue.row(name), videos)
    return Report(added=tuple(added), unchanged=tuple(unchanged))


def _copy(other: Catalogue, catalogue: Catalogue, ids: dict[str, str]) -> None:
    """Valid details, labels and clips of another catalogue, with who and when.

    Those that are there are left out, and so are those that were there and have been removed here since.
    """
    ever, ever_kept = catalogue.ever_labelled(), catalogue.ever_kept()
    there = {(*new_of(row, row.recording), row.who) for row in catalogue.labels()}
    for label in other.labels():
        new = new_of(label, ids[label.recording])
        if (*new, label.who) not in there and (*new, label.who, label.made_s) not in ever:
            with catalogue.change(label.who, f"label of {new.recording}", label.made_s) as change:
                catalogue.insert_label(change, new)
    kept = {(row.recording, row.start_s, row.end_s, row.title, row.note, row.who) for row in catalogue.clips()}
    for clip in reversed(other.clips()):
        values = (ids[clip.recording], clip.start_s, clip.end_s, clip.title, clip.note)
        if (*values, clip.who) not in kept and (*values, clip.who, clip.made_s) not in ever_kept:
            with catalogue.change(clip.who, f"clip of {values[0]}", clip.made_s) as change:
                catalogue.insert_clip(change, *values)
    for old, name in ids.items():
        known = {(each.field, each.value, each.who, each.made_s) for each in catalogue.history(name)}
        for edit in other.history(old):
            if not edit.is_undone and (edit.field, edit.value, edit.who, edit.made_s) not in known:
                with catalogue.change(edit.who, f"{edit.field} of {name}", edit.made_s) as change:
                    catalogue.insert_detail(change, name, edit.field, edit.value)
