"""`archive.json` made again from what an archive holds, where it was lost."""

import time
from contextlib import closing
from pathlib import Path

from surgvl.archive import header
from surgvl.archive.catalogue import FILE, Catalogue
from surgvl.archive.creating import SPACES, stored_model
from surgvl.core.errors import DataError
from surgvl.core.files import durable
from surgvl.core.locks import locked
from surgvl.embed.meta import read_meta
from surgvl.embed.recordings import read_contents


def restore_header(folder: Path, wait_s: float = 0.0) -> list[str]:
    """Write the header of an archive that has lost it; one that is there is left as it is.

    Args:
        folder: of the archive.
        wait_s: seconds to wait for another writer.

    Returns:
        A line that says what was made; none if the header is there or the folder is not an archive.

    Raises:
        ConfigError: another process writes.
        DataError: it cannot be determined which vectors the archive used.
    """
    path = folder / FILE
    if (folder / header.FILE).is_file() or not path.is_file() or not path.stat().st_size:
        return []
    with locked(folder, wait_s), durable(), closing(Catalogue(path)) as catalogue:
        rows = catalogue.rows()
        embedded = {row.id for row in rows if row.state == "embedded"}
        spaces = [found.parents[1] for found in sorted(folder.glob(f"{SPACES}/*/vectors/vectors.json"))]
        whole = [space for space in spaces if embedded <= set(read_contents(space / "vectors"))]
        if len(whole) != 1:
            names = ", ".join(space.name for space in whole or spaces) or "none"
            raise DataError(
                f"{folder / header.FILE} is missing, and which of the vectors in {folder / SPACES} it named cannot be "
                f"determined ({names}): restore a copy of it, or move the others out of that folder"
            )
        model = read_meta(whole[0] / "vectors").model
        head = header.Header(
            name=folder.resolve().name,
            created_s=min((row.added_s for row in rows), default=time.time()),
            space=whole[0].name,
            model=stored_model(model, folder),
        )
        header.write_header(folder, head)
    return [
        f"{header.FILE} was missing: made again, with model {model}; name and model for questions are lost: "
        f"`surgvl archive set {folder} --name NAME --chat MODEL` gives them again"
    ]
