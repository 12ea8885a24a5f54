"""An archive of what a run folder holds: its manifest, vectors, index and models; nothing is embedded again."""

import os
import shutil
import time
from pathlib import Path

from surgvl import video
from surgvl.archive.catalogue import FILE, Catalogue
from surgvl.archive.creating import SPACES, new_folder, write_new
from surgvl.archive.derived import write_questions
from surgvl.archive.label_table import NewLabel
from surgvl.archive.recording_table import FileRow, stored_path
from surgvl.archive.space import Space
from surgvl.core.errors import CheckpointError, DataError
from surgvl.data.manifest import Manifest, VideoRow
from surgvl.embed.meta import Meta, read_meta, write_meta
from surgvl.embed.recordings import identity, read_contents
from surgvl.models.model_info import find_model, model_hash
from surgvl.retrieval.folder import read_header

# Who set the labels and details that came with a data set.
DATA_SET = "data set"
# Files that `Shards` never changes in place.
_LINKED = (".safetensors", ".parquet")


def make_from_run(run: Path, folder: Path, name: str) -> None:
    """Make an archive of a run of `surgvl quickstart`, or of a folder with the same parts.

    Args:
        run: has vectors/, manifest/ (or vectors/manifest/), and where they are known align/ (the model), index/ and
            tune/ (the model that answers questions). An index on a Milvus server is not taken over: archives keep
            their vectors in their own folder.
        folder: of the archive.
        name: its name on the page.

    Raises:
        ConfigError: the folder is not empty.
        DataError: the run lacks manifest or vectors.
    """
    # `surgvl embed --videos` writes the manifest into the vectors folder.
    table = next((run / name for name in ("manifest", "vectors/manifest") if (run / name).is_dir()), run / "manifest")
    manifest, meta = Manifest.load(table), read_meta(run / "vectors")
    with new_folder(folder) as home:
        space = Space(home / SPACES / meta.model_hash[:12])
        _link(run / "vectors", space.vectors)
        model = _model(run, meta)
        write_meta(space.vectors, meta.model_copy(update={"model": str(model)}))
        if (run / "index").is_dir() and not space.index_folder.exists() and not _is_far(run / "index"):
            shutil.copytree(run / "index", space.index_folder, ignore=shutil.ignore_patterns(".*"))
        catalogue = Catalogue(home / FILE)
        _fill(catalogue, manifest, home, read_contents(run / "vectors"))
        catalogue.close()
        write_questions(home, manifest.qa_table)
        chat = run / "tune"
        write_new(home, name or run.resolve().name, space.folder.name, model, chat if chat.is_dir() else "")


def _is_far(index: Path) -> bool:
    """Whether a server has the vectors of an index: an archive, whose removals would reach the run's, makes its own."""
    return read_header(index).config.backend == "milvus"


def _model(run: Path, meta: Meta) -> Path | str:
    """The run's own model if it made the vectors, since runs are moved; else the one that they name."""
    if (run / "align").is_dir():
        try:
            if model_hash(run / "align") == meta.model_hash:
                return find_model(run / "align").resolve()
        except CheckpointError:
            return meta.model
    return meta.model


def _link(source: Path, to: Path) -> None:
    """The same files; links where the file system can, since shards are replaced and never changed."""
    to.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.iterdir()):
        if path.name.startswith(".") or not path.is_file():
            continue
        (to / path.name).unlink(missing_ok=True)
        if path.suffix in _LINKED:
            try:
                os.link(path, to / path.name)
                continue
            except OSError:
                pass  # another file system
        shutil.copyfile(path, to / path.name)


def _fill(catalogue: Catalogue, manifest: Manifest, home: Path, contents: dict[str, str]) -> None:
    """Rows, details and labels of a manifest, as one transaction.

    Args:
        catalogue: an empty one.
        manifest: its videos without a path are left out.
        home: folder of the archive.
        contents: hashes of the contents that were embedded, by video.
    """
    with catalogue.transaction():
        there = set()
        for row in manifest.videos:
            if not row.path:
                continue
            catalogue.put(_row(row, manifest.path_of(row.video_id), home, contents.get(row.video_id, "")))
            there.add(row.video_id)
            if row.procedure:
                catalogue.set_details(row.video_id, who=DATA_SET, procedure=row.procedure)
        catalogue.add_labels(
            (
                NewLabel(each.video_id, each.task, each.label, each.start_s, each.end_s, each.xywh)
                for each in manifest.segments
                if each.video_id in there
            ),
            DATA_SET,
            "labels of the data set",
        )


def _row(row: VideoRow, path: Path, home: Path, content: str) -> FileRow:
    """The row of a video; one whose file is gone keeps its vectors, and one that cannot be read says so."""
    size = mtime_ns = width = height = 0
    problem = ""
    if path.exists():
        try:
            facts, content = path.stat(), identity(path)
            size, mtime_ns = facts.st_size, facts.st_mtime_ns
            info = video.probe(path)
            width, height = info.width_px, info.height_px
        except DataError as error:
            problem = str(error)
    return FileRow(
        id=row.video_id,
        path=stored_path(path, home),
        content=content,
        size=size,
        mtime_ns=mtime_ns,
        fps=row.fps,
        duration_s=row.duration_s,
        width=width,
        height=height,
        added_s=time.time(),
        state="failed" if problem else "waiting",
        problem=problem,
        source=row.source,
        specialty=row.specialty,
        licence=row.licence,
        split=row.split,
        dataset=row.dataset,
        rendered=row.rendered,
    )
