"""Another model for an archive: its vectors are made side by side with the present ones, which are used until then."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from surgvl.archive import header
from surgvl.archive.creating import SPACES, stored_model
from surgvl.archive.meter import Meter, Stop, Stopped, Tick
from surgvl.archive.opened import OpenArchive
from surgvl.archive.records import Report
from surgvl.archive.space import KEPT, STOPPED, Space
from surgvl.archive.space_writer import SpaceWriter
from surgvl.core.errors import ConfigError, Unreadable
from surgvl.core.files import durable
from surgvl.core.locks import locked
from surgvl.embed.meta import PromptSetFacts, read_meta, write_meta
from surgvl.embed.vectors import embed_sets
from surgvl.prompts import PromptSet, load_sets

if TYPE_CHECKING:
    from surgvl.embed.embedder import Embedder


def reindex(
    archive: OpenArchive,
    model: str | Path,
    stride_s: float | None,
    prompt_sets: Sequence[str] | None,
    keep: bool,
    tick: Tick,
    should_stop: Stop,
    wait_s: float,
) -> Report:
    """Embed all recordings with another model, then use it; see `Archive.reindex`.

    What a killed or stopped run has embedded is kept for the next one.
    """
    # Imports torch, which reading an archive must not wait for.
    from surgvl.embed.embedder import local_embedder

    sets = load_sets(prompt_sets)
    embedder = local_embedder(Path(model), stride_s, None, archive.device, archive.precision)
    done, aside = list[str](), dict[str, str]()
    with locked(archive.folder, wait_s, should_stop), durable():
        old = archive.space
        is_same = embedder.hash == old.meta.model_hash
        if is_same:
            _renew(old, embedder, sets)
        else:
            space = _begin(archive.folder / SPACES / embedder.hash[:12], embedder, sets)
            rows, videos = [row for row in archive.catalogue.rows() if row.state != "failed"], archive.manifest()
            meter = Meter(rows, tick, should_stop)
            with SpaceWriter(space) as writer:
                writer.settle(rows, videos)
                for row in rows:
                    path = archive.absolute(row.path)
                    try:
                        meter.check()
                        if writer.state(row) != "embedded":
                            writer.embed(embedder, row, videos, meter.read, path)
                        done.append(row.id)
                        meter.next()
                    except Unreadable as error:
                        aside[str(path)] = str(error)
                        meter.next()
                    except (Stopped, KeyboardInterrupt) as reason:
                        (space.folder / STOPPED).touch()
                        if isinstance(reason, KeyboardInterrupt):
                            raise
                        return Report(updated=tuple(done), aside=aside, stopped=True)
            # Of a file that is gone, the old vectors are all that is left.
            stays = keep or bool(aside)
            if stays:
                (old.folder / KEPT).touch()
            else:
                (old.folder / KEPT).unlink(missing_ok=True)
            now = {"space": space.folder.name, "model": stored_model(model, archive.folder)}
            header.write_header(archive.folder, archive.header.model_copy(update=now))
            archive.embedder = embedder
            archive.space.forget()
            if not stays:
                shutil.rmtree(old.folder)
    with archive.writing(wait_s) as writer:
        if is_same:
            writer.build_index(archive.manifest())
        return Report(updated=tuple(done), aside=aside)


def _begin(folder: Path, embedder: "Embedder", sets: Sequence[PromptSet]) -> Space:
    """The space to fill; one that was begun with a different step between clips is begun anew."""
    begun = (folder / "vectors" / "vectors.json").is_file()
    if begun and Space(folder).meta.stride_s != embedder.preprocess.step_s:
        shutil.rmtree(folder)
    (folder / STOPPED).unlink(missing_ok=True)
    return Space.create(folder, embedder, sets if embedder.texts is not None else [], embedder.texts)


def _renew(space: Space, embedder: "Embedder", sets: Sequence[PromptSet]) -> None:
    """The same model: the sentences are embedded again, before the index is built by them.

    Raises:
        ConfigError: a different step between clips.
    """
    if space.meta.stride_s != embedder.preprocess.step_s:
        raise ConfigError(
            f"the vectors of this model are {space.meta.stride_s:g} s apart, --stride_s is "
            f"{embedder.preprocess.step_s:g}: make another archive for that"
        )
    if embedder.texts is not None:
        embed_sets(embedder.texts, sets, space.vectors)
    facts = {each.name: PromptSetFacts.of(each) for each in sets if embedder.texts is not None}
    write_meta(space.vectors, read_meta(space.vectors).model_copy(update={"prompt_sets": facts}))
    space.forget()
