"""The Hugging Face hub: addresses of files, what a repository holds, and who may have it.

`HF_ENDPOINT` names a mirror; the token is that of `HF_TOKEN` or of `hf auth login`.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from surgvl.core.errors import DataError
from surgvl.core.files import read_json
from surgvl.models.transfer import Wanted, transfer


class HubFile(NamedTuple):
    """A file of a repository; `sha256` is known of large files."""

    size: int | None
    sha256: str


class Listing(NamedTuple):
    """What a repository holds at a commit."""

    commit: str
    files: dict[str, HubFile]


def endpoint() -> str:
    """The address of the hub."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def headers() -> Mapping[str, str]:
    """The authorisation, if there is a token."""
    from huggingface_hub import get_token

    token = get_token()
    return {"Authorization": f"Bearer {token}"} if token else {}


def file_url(repo: str, file: str, revision: str) -> str:
    """The address of a file of a repository."""
    return f"{endpoint()}/{repo}/resolve/{quote(revision, safe='')}/{quote(file)}"


def refused(repo: str) -> str:
    """What to do where the hub gives a repository to nobody or to few."""
    return (
        f"open https://huggingface.co/{repo}, accept its terms if it has any, and set HF_TOKEN to a token of that "
        "account (the hub answers the same for a name that does not exist)"
    )


def listing(repo: str, revision: str, folder: Path) -> Listing:
    """Ask the hub what a repository holds.

    Args:
        repo: OWNER/NAME.
        revision: branch, tag or commit.
        folder: for the answer.

    Raises:
        DataError: the hub does not answer, does not have the repository, or does not give it.
    """
    url = f"{endpoint()}/api/models/{repo}/revision/{quote(revision, safe='')}?blobs=true"
    target = folder / "listing.json"
    transfer(Wanted(url=url, target=target, headers=headers(), refused=refused(repo)))
    found: Any = read_json(target)
    target.unlink()
    try:
        files = {
            str(each["rfilename"]): HubFile(each.get("size"), str((each.get("lfs") or {}).get("sha256", "")))
            for each in found["siblings"]
        }
        return Listing(str(found["sha"]), files)
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{url} is not a list of files ({error!r} is missing): check HF_ENDPOINT") from error
