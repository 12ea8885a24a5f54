"""The `data gather` command: one vectors folder of several."""

from pathlib import Path

from surgvl.core.errors import ConfigError
from surgvl.core.files import command
from surgvl.core.invocation import recorded
from surgvl.core.locks import locked
from surgvl.core.plurals import plural
from surgvl.core.run_folder import RunFolder
from surgvl.embed.gather import gather


@recorded
def data_gather(folders: list[Path], out: Path) -> None:
    """Gather the vectors of several jobs, or of separate runs with one model, in one folder.

    The result is what one process would have written. Files are linked where the file system can, so that the folders
    may be deleted afterwards.

    Args:
        folders: finished vectors folders; of `surgvl embed --shard i/n`, all n, in any order.
        out: vectors folder to write.

    Raises:
        ConfigError: a folder is given twice.
        DataError: a folder is unfinished, a shard is missing, or the folders do not fit together.
    """
    if len({folder.resolve() for folder in folders}) != len(folders):
        raise ConfigError(f"each folder must be given once, got {', '.join(map(str, folders))}")
    with locked(out), RunFolder(out) as folder:
        made = gather(folders, out)
        facts = {"model_hash": made.meta.model_hash, "stride_s": made.meta.stride_s, "precision": made.precision}
        folder.watch(
            made.problems, made.num_videos + len(made.problems), lambda: list(made.meta.damaged_frames.values())
        )
        folder.record(made.data_hash, made.meta.pretraining_video_ids, **facts)
        where = "manifest" if made.manifest is None else out / "manifest"
        said = f"{plural(made.meta.num_vectors, 'vector')} of {plural(made.num_videos, 'video')} in {out}"
        folder.next(said, command("index", vectors=out, manifest=where, out="index"))
