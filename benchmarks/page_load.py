"""The page under load: 20 people for two minutes on an archive of 50 recordings.

    python benchmarks/page_load.py [--run runs/quickstart] [--users 20] [--seconds 120]

The archive (`page_load` in the run folder, kept for the next time) has 50 recordings of a run of `surgvl quickstart`,
all of them embedded, and the page is a process of its own (`surgvl demo --archive`). Each person is a thread with a
cookie of its own that opens the page, then again and again searches, looks at the frames of the hits, plays a part of a
recording, opens its timeline, and at times asks a question, or sets a label and takes it back, with one to four seconds
of thought in between, by a seeded generator. The load generator runs on the same machine. Writes
benchmarks/results/page_load.md.
"""

import argparse
import random
import re
import shlex
import statistics
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from surgvl import __version__
from surgvl.archive.archive import Archive
from surgvl.core.files import write_text
from surgvl.core.tables import markdown_table
from surgvl.core.version import commit

HERE = Path(__file__).resolve().parent
NUM_RECORDINGS = 50
SENTENCES = (
    "the {} dissects the gallbladder", "a {} near the cystic duct", "the {} grasps the liver", "the {} coagulates",
    "clipping with the {}", "nothing but the {}",
)  # fmt: skip
TOOLS = ("hook", "grasper", "clipper", "scissors", "bipolar", "irrigator")
QUESTION = "What is the surgical phase shown in the image?"
THOUGHT_S = (1.0, 4.0)
NUM_FRAMES = 6


class Person:
    """One person at a page; every request is timed, and what fails is kept.

    Args:
        url: of the page.
        seed: of what the person does.
        until: when the person stops, by the monotonic clock.
    """

    def __init__(self, url: str, seed: int, until: float) -> None:
        self.dice, self.until = random.Random(seed), until
        self.client = httpx.Client(base_url=url, timeout=120)
        self.took_s: dict[str, list[float]] = defaultdict(list)
        self.failures: list[str] = []

    def visit(self) -> None:
        """Come in, and do one thing after the other until the time is over."""
        with self.client:
            self._send("page", "GET", "/")
            self._send("archive", "GET", "/api/archive")
            rows = self._send("recordings", "GET", "/api/recordings")
            ids = [row["id"] for row in rows.json()] if rows else []
            while ids and time.monotonic() < self.until:
                time.sleep(self.dice.uniform(*THOUGHT_S))
                self._search()
                time.sleep(self.dice.uniform(*THOUGHT_S))
                self._watch(self.dice.choice(ids))

    def _search(self) -> None:
        text = self.dice.choice(SENTENCES).format(self.dice.choice(TOOLS))
        found = self._send("search", "POST", "/api/search", json={"text": text, "k": 12})
        for hit in found.json()["hits"][:NUM_FRAMES] if found else []:
            self._send("frame", "GET", f"/api/recordings/{hit['recording']}/frame?t={hit['start_s']:.1f}&h=160")

    def _watch(self, id: str) -> None:
        path = f"/api/recordings/{id}"
        self._send("timeline", "GET", f"{path}/timeline?smooth_s=5")
        start = self.dice.randrange(0, 500_000)
        self._send("video", "GET", f"{path}/video", headers={"Range": f"bytes={start}-{start + 262_143}"})
        what = self.dice.random()
        if what < 0.3:
            self._send("ask", "POST", "/api/ask", json={"recording": id, "start_s": 20, "question": QUESTION})
        elif what < 0.5:
            label = {"track": "phase", "name": "Preparation", "start_s": 3, "end_s": 9}
            self._send("label", "POST", f"{path}/labels", json=label)
            self._send("undo", "POST", "/api/undo")
        elif what < 0.7:
            like = {"recording": id, "start_s": 20, "end_s": 21}
            self._send("search", "POST", "/api/search", json={"like": like, "k": 12})

    def _send(self, kind: str, method: str, path: str, **more: object) -> httpx.Response | None:
        begun = time.monotonic()
        try:
            found = self.client.request(method, path, **more)  # type: ignore[arg-type]
        except httpx.HTTPError as error:
            self.failures.append(f"{kind}: {error!r}")
            return None
        self.took_s[kind].append(time.monotonic() - begun)
        if found.status_code >= 400:
            self.failures.append(f"{kind}: {found.status_code} {found.text[:100]}")
            return None
        return found


@contextmanager
def served(archive: Path) -> Iterator[tuple[str, int]]:
    """Run the page of an archive; yields its address and the process."""
    argv = [sys.executable, "-m", "surgvl", "demo", "--archive", str(archive), "--port", "7899"]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = next((said for line in process.stdout if (said := re.search(r"at (http://\S+?)/? ", line))), None)
        if found is None:
            sys.exit("the page did not start")
        yield found[1], process.pid
    finally:
        process.terminate()  # a program in the background ignores SIGINT
        process.wait(120)


def resident_mb(process: int) -> float:
    """Resident memory of a process."""
    text = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    found = re.search(r"VmRSS:\s+(\d+) kB", text)
    assert found
    return int(found[1]) / 1024


def archive_of(run: Path) -> Path:
    """The archive of the first recordings of a run, made on first use."""
    folder = run / "page_load"
    if not (folder / "archive.json").is_file():
        Archive.from_run(run, folder).close()
    with Archive.open(folder) as archive:
        archive.remove([row.id for row in archive.recordings()][NUM_RECORDINGS:])
        archive.update()
        if len(archive.recordings()) != NUM_RECORDINGS:
            sys.exit(f"{run} has {len(archive.recordings())} recordings, and {NUM_RECORDINGS} are needed")
    return folder


def warmed(url: str) -> None:
    """Wait until the models are loaded and have answered once, as they have for the first visitor of a day."""
    with httpx.Client(base_url=url, timeout=300) as client:
        while client.get("/api/archive").json()["models_state"] == "loading":
            time.sleep(0.5)
        row = client.get("/api/recordings").json()[0]["id"]
        client.post("/api/search", json={"text": "the hook", "k": 12})
        client.post("/api/ask", json={"recording": row, "start_s": 20, "question": QUESTION})


def quantile(values: list[float], share: float) -> float:
    """The value that a share of the values does not exceed."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def processor() -> str:
    """The processor's name, and how many of it there are."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} x {names[0]}" if names else "unknown"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/quickstart"), help="folder of `surgvl quickstart`")
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "page_load.md")
    args = parser.parse_args()

    with served(archive_of(args.run)) as (url, process):
        warmed(url)
        memory = [resident_mb(process)]
        until = time.monotonic() + args.seconds
        people = [Person(url, seed, until) for seed in range(args.users)]
        threads = [threading.Thread(target=person.visit) for person in people]
        load = Path("/proc/loadavg").read_text(encoding="utf-8").split()[0]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            time.sleep(5)
            memory.append(resident_mb(process))
    write_text(args.out, page(people, memory, args.users, args.seconds, load))
    print(args.out.read_text(encoding="utf-8"))


def page(people: list[Person], memory: list[float], users: int, seconds: float, load: str) -> str:
    """The results as a page."""
    took_s: dict[str, list[float]] = defaultdict(list)
    for person in people:
        for kind, values in person.took_s.items():
            took_s[kind] += values
    failures = [line for person in people for line in person.failures]
    rows = [
        [
            kind,
            f"{len(values):,}",
            *(f"{1000 * value:.0f}" for value in (statistics.median(values), quantile(values, 0.95), max(values))),
        ]
        for kind, values in sorted(took_s.items())
    ]
    # The first fifth fills caches, whose size is limited.
    early, late = memory[len(memory) // 5 : len(memory) // 2], memory[len(memory) // 2 :]
    head = ["request", "number", "median ms", "p95 ms", "max ms"]
    return (
        "# The page under load\n\n"
        f"Written by `python benchmarks/page_load.py`: {users} people for {seconds:.0f} s on an archive of "
        f"{NUM_RECORDINGS} synthetic recordings of 90 s, with one to four seconds of thought before each step; page, "
        "models and load generator on one machine. What is measured is the time from request to the last byte.\n\n"
        + "\n".join(markdown_table(head, rows, head[1:]))
        + f"\n\n- failures: {len(failures)}{''.join(f' ({line})' for line in failures[:3])}\n"
        + f"- memory of the server: {memory[0]:.0f} MB before, {max(memory):.0f} MB at most, "
        + f"{statistics.median(early):.0f} MB in the first half, {statistics.median(late):.0f} MB in the second\n"
        + f"- processor: {processor()}; load before: {load}\n"
        + f"- command: `python benchmarks/page_load.py {shlex.join(sys.argv[1:])}`\n"
        + f"- surgvl {__version__}, commit {commit()}\n"
    )


if __name__ == "__main__":
    main()
