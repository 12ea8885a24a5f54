"""Report dead addresses of models and data sets: `make links`, by hand, and never in a test run.

Third parties keep these pages, so a dead one is not a defect of a commit.
"""

import re
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import httpx

from surgvl.commands.data import datasets
from surgvl.core.plurals import plural
from surgvl.models.hub import file_url, headers
from surgvl.models.published import registry
from surgvl.models.transfer import client

AT_ONCE = 8
# How sources of data sets name pages, and what is left out in front.
SHORT = {
    r"\b\d{4}\.\d{5}\b": "https://arxiv.org/abs/",
    r"\bDOI (10\.\S+\b)": "https://doi.org/",
    r"\b(?:[\w-]+\.)+(?:com|fr|io|org)\b[\w./-]*": "https://",
}


def addresses() -> dict[str, list[str]]:
    """Every address, and who names it."""
    found: dict[str, list[str]] = {}
    for name, entry in registry().items():
        files = [
            file.url or file_url(str(file.hub), file.name, file.revision) for file in entry.files if not file.several
        ]
        for url in filter(None, (entry.source, entry.paper, *files)):
            found.setdefault(url, []).append(f"model {name}")
    for name, kind in datasets().items():
        for pattern, before in SHORT.items():
            for each in re.findall(pattern, kind.SOURCE):
                found.setdefault(before + each, []).append(f"data set {name}")
    return found


def answer(session: httpx.Client, url: str) -> str:
    """What is wrong with an address; empty if there is a page.

    There is one where the server asks for an account (401, 403) or for fewer requests (429).
    """
    try:
        with session.stream("GET", url, headers=headers() if "/resolve/" in url else {}) as response:
            status = response.status_code
            return "" if status < 400 or status in (401, 403, 429) else f"{status} {response.reason_phrase}".strip()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return f"{type(error).__name__}: {error}".rstrip(": ")


def report(found: Mapping[str, list[str]]) -> int:
    """Ask all addresses, and print those that do not answer; exit status 1 if there are any.

    Where none can be reached, the network is at fault, and one line says so.
    """
    with client() as session, ThreadPoolExecutor(AT_ONCE) as pool:
        problems = dict(zip(found, pool.map(lambda url: answer(session, url), found), strict=True))
    dead = {url: problem for url, problem in problems.items() if problem}
    if len(dead) == len(found) > 1 and all(problem.startswith("ConnectError") for problem in dead.values()):
        print(f"none of {plural(len(found), 'link')} can be reached ({next(iter(dead.values()))}): check the network")
        return 1
    for url, problem in dead.items():
        print(f"{url}\n  {problem}; {', '.join(found[url])}")
    print(f"{len(dead)} dead of {plural(len(found), 'link')}")
    return int(bool(dead))


if __name__ == "__main__":
    sys.exit(report(addresses()))
