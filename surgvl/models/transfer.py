"""One file from an address to a folder: resumed where it was cut, checked, and renamed into place when it is whole.

What has arrived lies in `NAME.part`; `NAME.part.json` holds the address and the entity tag or date by which the server
recognises it (RFC 9110, 13.1.5 and 14.2). A server that ignores ranges, or whose file has changed in between, sends
the file from its beginning.
"""

import errno
import hashlib
import os
import re
import shutil
import ssl
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import httpx
from tqdm import tqdm

from surgvl.core.errors import ConfigError, DataError
from surgvl.core.files import read_json, write_json

MAX_REDIRECTS = 10
TRIES = 5
"""Tries in a row that bring nothing new."""
WAIT_S = 1.0
"""Seconds before the second try; they double from try to try."""
LONGEST_WAIT_S = 60.0
TIMEOUT = httpx.Timeout(60.0, connect=30.0)
SPARE = 64 << 20
"""Bytes that stay free on the disk."""
BLOCK = 1 << 20
AGAIN = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A file to fetch.

    Args:
        url: its address.
        target: where it goes.
        sha256: 64 hex digits; empty where they are not known.
        known_from: where they are known from, for messages.
        size: bytes; None where they are not known.
        headers: of the first request; an authorisation is not passed on to another host.
        refused: what to do where the server answers 401 or 403.
    """

    url: str
    target: Path
    sha256: str = ""
    known_from: str = "the registry"
    size: int | None = None
    headers: Mapping[str, str] | None = None
    refused: str = "check the address"


class _Retry(Exception):
    """Something that may go better the next time; `after_s` is what the server asks for."""

    def __init__(self, reason: str, after_s: float = 0.0):
        super().__init__(reason)
        self.after_s = after_s


def transfer(wanted: Wanted) -> str:
    """Fetch a file; nothing of that name exists until it is whole and checked. One process at a time may do this.

    Returns:
        Its SHA-256, 64 hex digits.

    Raises:
        DataError: the server does not have the file or does not give it, is not reached after several tries, or sends
            another file than the one that is wanted.
        ConfigError: the disk has too little space, or cannot be written.
    """
    part = wanted.target.with_name(wanted.target.name + ".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    check_space(part.parent, (wanted.size or 0) - _size(part))
    failed, before = 0, _size(part)
    with client() as session:
        while True:
            try:
                found = _try(session, wanted, part)
                break
            except _Retry as problem:
                failed, before = (1 if _size(part) > before else failed + 1), max(before, _size(part))
                if failed >= TRIES:
                    raise DataError(
                        f"{wanted.url} cannot be fetched ({problem}): check the network; the same command goes on "
                        "where it stopped"
                    ) from problem
                wait_s = min(LONGEST_WAIT_S, max(problem.after_s, WAIT_S * 2.0 ** (failed - 1)))
                tqdm.write(f"{wanted.target.name}: {problem}; again in {wait_s:.0f} s", file=sys.stderr)
                time.sleep(wait_s)
    os.replace(part, wanted.target)
    _facts_file(part).unlink(missing_ok=True)
    return found


def client() -> httpx.Client:
    """A client that follows a few redirects, does not wait for ever, and honours the system's proxies."""
    return httpx.Client(
        follow_redirects=True, max_redirects=MAX_REDIRECTS, timeout=TIMEOUT, verify=_certificates(), trust_env=True
    )


@cache
def _certificates() -> ssl.SSLContext:
    """Read once, which takes as long as a small file."""
    return httpx.create_ssl_context()


def check_space(folder: Path, num_bytes: int) -> None:
    """Refuse to begin what the disk cannot hold.

    Raises:
        ConfigError: it has too little space.
    """
    free = shutil.disk_usage(folder).free
    if num_bytes > 0 and free < num_bytes + SPARE:
        raise ConfigError(
            f"{folder} has {free / 1e9:.2f} GB free, and {num_bytes / 1e9:.2f} GB are needed: free some, or set "
            "SURGVL_MODELS to a folder on another disk"
        )


def _try(session: httpx.Client, wanted: Wanted, part: Path) -> str:
    """One request, from where the last one ended; the hash of the whole file."""
    headers = {"Accept-Encoding": "identity", **(wanted.headers or {})}
    validator = _validator(part, wanted)
    start = _size(part) if validator else 0
    if start:
        headers["Range"] = f"bytes={start}-"
        if validator != wanted.sha256:
            headers["If-Range"] = validator
    try:
        with session.stream("GET", wanted.url, headers=headers) as response:
            _refuse_insecure(response, wanted.url)
            if response.status_code == 416 and start:
                if response.headers.get("Content-Range", "") != f"bytes */{start}":
                    part.unlink()
                    raise _Retry("the server has less of it than before")
                # It was whole, but the process was killed before it was renamed.
                return _checked(_hash(part), wanted, part, "", resumed=True)
            _refuse(response, wanted)
            linked = linked_hash(response)
            if wanted.sha256 and linked and linked != wanted.sha256:
                raise DataError(
                    f"{wanted.url} has SHA-256 {linked[:16]} by its server, but {wanted.sha256[:16]} by "
                    f"{wanted.known_from}: the file has been replaced; nothing was fetched"
                )
            tag, resumed = response.headers.get("ETag", ""), response.status_code == 206
            if resumed and (
                not response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
                or (tag and validator.startswith('"') and tag != validator)
            ):
                part.unlink()
                raise _Retry("the server sent a part of another file")
            start = start if resumed else 0
            left = int(response.headers.get("Content-Length") or 0)
            check_space(part.parent, left)
            _note(part, wanted, response)
            digest = _receive(response, part, start, start + left if left else wanted.size)
            return _checked(digest, wanted, part, linked, resumed)
    except httpx.TooManyRedirects:
        raise DataError(f"{wanted.url} redirects more than {MAX_REDIRECTS} times: check the address") from None
    except (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.LocalProtocolError) as error:
        raise DataError(f"{wanted.url} is not an address that can be fetched ({error}): correct it") from error
    except httpx.TransportError as error:
        raise _Retry(f"{type(error).__name__}: {error}".rstrip(": ")) from error
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "free some space and type the same command, which goes on from there" if full else "check the folder"
        raise ConfigError(f"{part} cannot be written ({error.strerror}): {remedy}") from error


def _checked(digest: str, wanted: Wanted, part: Path, linked: str, resumed: bool) -> str:
    """The hash of a whole file, which is deleted if it is another one than is wanted.

    Raises:
        DataError: it is another one; one of several parts is fetched again as a whole.
    """
    size, sha256 = _size(part), wanted.sha256 or linked
    if wanted.size not in (None, size):
        problem = f"has {size:,} bytes, but {wanted.size:,} by {wanted.known_from}"
    elif sha256 and digest != sha256:
        problem = (
            f"has SHA-256 {digest[:16]}, but {sha256[:16]} by {wanted.known_from if wanted.sha256 else 'its server'}"
        )
    else:
        return digest
    part.unlink()
    _facts_file(part).unlink(missing_ok=True)
    if resumed:
        raise _Retry("its parts do not fit together")
    raise DataError(f"{wanted.url} {problem}: it was damaged on the way or has been replaced, and was deleted")


def _hash(part: Path) -> str:
    with open(part, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _receive(response: httpx.Response, part: Path, start: int, total: int | None) -> str:
    """Write the body behind the first `start` bytes; the hash of both."""
    digest = hashlib.sha256()
    with open(part, "r+b" if start else "wb") as file:
        for _ in range(0, start, BLOCK):
            digest.update(file.read(min(BLOCK, start - file.tell())))
        name = part.name.removesuffix(".part")
        with tqdm(total=total, initial=start, desc=name, unit="B", unit_scale=True, disable=None, leave=False) as bar:
            for block in response.iter_raw():
                file.write(block)
                digest.update(block)
                bar.update(len(block))
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def linked_hash(response: httpx.Response) -> str:
    """The SHA-256 that the Hugging Face hub states for a large file, before it redirects; empty elsewhere."""
    for answer in (*response.history, response):
        found = str(answer.headers.get("X-Linked-Etag", "")).strip('"')
        if re.fullmatch(r"[0-9a-f]{64}", found):
            return found
    return ""


def _validator(part: Path, wanted: Wanted) -> str:
    """What the rest of a partial file is asked for by; empty if it must be fetched from its beginning.

    A hash that was known then and now is enough, because the whole is compared with it.
    """
    known = read_json(_facts_file(part)) if _facts_file(part).is_file() else {}
    if known.get("url") == wanted.url and known.get("validator"):
        return str(known["validator"])
    return wanted.sha256 if known.get("sha256") == wanted.sha256 else ""


def _note(part: Path, wanted: Wanted, response: httpx.Response) -> None:
    # A weak tag (W/) does not promise equal bytes, so it may not be used for ranges.
    tag, date = response.headers.get("ETag", ""), response.headers.get("Last-Modified", "")
    validator = tag if tag and not tag.startswith("W/") else date
    write_json(_facts_file(part), {"url": wanted.url, "validator": validator, "sha256": wanted.sha256})


def _facts_file(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _refuse_insecure(response: httpx.Response, url: str) -> None:
    """Refuse to be led from https to http, where anybody on the way may change the file."""
    if url.startswith("https:") and any(each.url.scheme != "https" for each in (*response.history, response)):
        raise DataError(f"{url} redirects to {response.url}, which is not encrypted: check the address")


def _refuse(response: httpx.Response, wanted: Wanted) -> None:
    """Raise for an answer without a file."""
    status, said = response.status_code, f"{response.status_code} {response.reason_phrase}".strip()
    if status in AGAIN:
        after = response.headers.get("Retry-After", "")
        raise _Retry(said, float(after) if after.isdecimal() else 0.0)
    if status in (401, 403):
        raise DataError(f"{wanted.url} needs permission ({said}): {wanted.refused}")
    if status in (404, 410):
        raise DataError(f"{wanted.url} is dead ({said}): if you have the file, add it with `surgvl models add`")
    if status not in (200, 206):
        raise DataError(f"{wanted.url} cannot be fetched ({said}): check the address")
    if response.headers.get("Content-Type", "").startswith("text/html"):
        raise DataError(f"{wanted.url} is a page, not a file: open it in a browser; it may ask for something first")
