"""Indexes of clip vectors side by side, in one run: build, open, bytes, time of a query, recall, adding an hour.

    python benchmarks/retrieval.py [--sizes 10000 100000 1000000] [--peers FOLDER]

Vectors are made (`made_embeddings.py`); queries are 200 clips of 40 other recordings and 200 sentences, one at a
time, on one thread. FOLDER has the packages of `retrieval_peers.py`. A size is run in a process of its own; rows of
other sizes stay on the page.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from made_embeddings import PER_RECORDING, World
from retrieval_peers import PEERS
from threadpoolctl import threadpool_limits

from surgvl.core.files import write_text
from surgvl.core.tables import markdown_table
from surgvl.core.version import commit
from surgvl.data.manifest import Manifest, VideoRow
from surgvl.embed.vectors import Meta, Texts, Vectors
from surgvl.retrieval import auto
from surgvl.retrieval.clip_index import ClipIndex
from surgvl.retrieval.index_config import IndexConfig

DIM, K, NUM_QUERIES = 512, 10, 200
# What takes longer than this for a query is timed on ten of them.
SLOW_S = 0.1
OURS = {"flat": 100_000, "hnsw": 100_000, "ivf": 1_000_000}
HEAD = [
    "vectors", "index", "build s", "processor s", "open s", "MB", "share of float32", "sentence ms", "p95",
    "processor ms", "recall@10", "clip ms", "p95", "processor ms", "recall@10", "5 moments ms", "+1 hour s",
]  # fmt: skip
Search = Callable[[Any], Any]


def timed(search: Search, queries: Any) -> tuple[Any, list[str]]:
    """Ids of each query; median and 95th percentile of the milliseconds, and the median of the processors'."""
    # The first search reads pages and sorts ids.
    search(queries[0])
    begin = time.perf_counter()
    search(queries[0])
    if time.perf_counter() - begin > SLOW_S:
        queries = queries[:: NUM_QUERIES // 10]
    times, spent, found = [], [], []
    for query in queries:
        begin, begin_spent = time.perf_counter(), time.process_time()
        found.append(search(query))
        times.append(1000 * (time.perf_counter() - begin))
        spent.append(1000 * (time.process_time() - begin_spent))
    return np.array(found), [f"{value:.2f}" for value in (*np.quantile(times, [0.5, 0.95]), np.median(spent))]


def recall(found: Any, truth: Any) -> float:
    """Share of the best K that were found."""
    truth = truth[:: len(truth) // len(found)]
    return float(np.mean([len(set(a) & set(b)) / K for a, b in zip(found.tolist(), truth.tolist(), strict=True)]))


class Took(NamedTuple):
    """Seconds that passed, and seconds of all processors."""

    wall_s: float
    processor_s: float


def seconds(act: Callable[[], Any]) -> tuple[Any, Took]:
    """What it returns, and how long it took."""
    begin, spent = time.perf_counter(), time.process_time()
    found = act()
    return found, Took(time.perf_counter() - begin, time.process_time() - spent)


def size_mb(folder: Path) -> float:
    """Of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


class Size:
    """All measurements of one number of vectors."""

    def __init__(self, num: int) -> None:
        world = World(DIM)
        self.num, self.vectors, at = num, np.empty((num, DIM), np.float32), 0
        for rows in world.recordings(num):
            self.vectors[at : at + len(rows)] = rows
            at += len(rows)
        self.hour = world.recording(PER_RECORDING)
        self.queries = {"sentence": world.texts(NUM_QUERIES), "clip": world.clips(NUM_QUERIES)}
        # Sentences by which a build measures itself; others than those that are timed.
        self.known = world.texts(NUM_QUERIES)
        ids = np.arange(num)
        self.truth = {kind: auto.exact(each, self.vectors, ids, K) for kind, each in self.queries.items()}

    def row(self, name: str, build: Took, opened: Took, megabytes: float, search: Search, more: list[str]) -> None:
        """Print a row as JSON."""
        share = megabytes / (4e-6 * DIM * self.num)
        cells: list[object] = [f"{self.num:,}", name, f"{build.wall_s:.1f}", f"{build.processor_s:.1f}"]
        cells += [f"{opened.wall_s:.2f}", f"{megabytes:.0f}", f"{100 * share:.0f} %"]
        for kind, queries in self.queries.items():
            found, spent = timed(search, queries)
            cells += [*spent, f"{recall(found, self.truth[kind]):.3f}"]
        print(json.dumps(cells + more), flush=True)

    def peers(self) -> None:
        """Measure the others."""
        for kind in PEERS:
            if self.num <= kind.largest and kind.is_there():
                peer = kind()
                with tempfile.TemporaryDirectory() as name:
                    _, build = seconds(lambda: peer.build(self.vectors, Path(name)))  # noqa: B023
                    _, opening = seconds(lambda: peer.open(Path(name), DIM))  # noqa: B023
                    with threadpool_limits(1):
                        search: Search = lambda query: peer.search(query, K)  # noqa: B023, E731
                        self.row(kind.name, build, opening, size_mb(Path(name)), search, ["", ""])
                del peer

    def ours(self) -> None:
        """Measure index folders of each kind, with filters where they are the largest."""
        names = [f"recording{at // PER_RECORDING:04d}" for at in range(self.num)]
        whole = self.folder_of(names, self.vectors)
        for backend, largest in OURS.items():
            if self.num > largest:
                continue
            with tempfile.TemporaryDirectory() as name:
                config = IndexConfig(backend=backend)  # type: ignore[arg-type]
                index = ClipIndex.create(Path(name) / "index", "made", "made", DIM, config=config)
                _, build = seconds(lambda: index.add_vectors(*whole))  # noqa: B023
                opened, opening = seconds(lambda: ClipIndex.open(Path(name) / "index"))  # noqa: B023
                megabytes = size_mb(Path(name))
                print(f"{self.num:,}: {opened.why}", file=sys.stderr, flush=True)
                more = self.folder_of(["one more"] * PER_RECORDING, self.hour)
                layers, table = opened.version.index, opened.version.table

                def search(query: Any, where: Any = None) -> Any:
                    return table.rows_of(layers.search(query[None], K, where)[1][0])  # noqa: B023

                with threadpool_limits(1):
                    moments_ms = timed(lambda query: opened.search(query, 5)[0].score, self.queries["sentence"])[1][0]  # noqa: B023
                    _, hour = seconds(lambda: index.add_vectors(*more))  # noqa: B023
                    self.row(
                        f"surgvl, {backend}",
                        build,
                        opening,
                        megabytes,
                        search,
                        [moments_ms, f"{hour.wall_s:.1f}"],
                    )
                    if backend == "ivf":
                        self.filtered(search, layers, table)

    def filtered(self, search: Any, layers: Any, table: Any) -> None:
        """Rows of searches among a share of the recordings."""
        for share in (0.01, 0.1, 0.5):
            wanted = np.random.default_rng(0).random(len(table.names)) < share
            wanted[0] = True
            rows = np.flatnonzero(wanted[table.recordings_of(np.arange(len(table)))])
            among = layers.select(table.ids[rows])
            cells: list[object] = [f"{self.num:,}", f"surgvl, ivf, {len(rows):,} by a filter", "", "", "", "", ""]
            for queries in self.queries.values():
                truth = auto.exact(queries, self.vectors[rows], rows, K)
                found, spent = timed(lambda query: search(query, among), queries)  # noqa: B023
                cells += [*spent, f"{recall(found, truth):.3f}"]
            print(json.dumps([*cells, "", ""]), flush=True)

    def folder_of(self, names: list[str], vectors: Any) -> tuple[Vectors, Manifest]:
        """A vectors folder in memory, and its manifest."""
        starts = np.concatenate([np.arange(names.count(name), dtype=float) for name in dict.fromkeys(names)])
        meta = Meta(
            model="made", model_hash="made", dim=DIM, clip_s=4, stride_s=1, num_vectors=len(names), frozen=True,
            num_trainable=0,
        )  # fmt: skip
        texts = Texts(self.known, ["made"] * NUM_QUERIES, [0] * NUM_QUERIES, ["made"] * NUM_QUERIES, [""] * NUM_QUERIES)
        rows = [
            VideoRow(video_id=name, path=f"{name}.mp4", source="made", fps=25, duration_s=PER_RECORDING, rendered=True)
            for name in dict.fromkeys(names)
        ]
        return Vectors(vectors, names, starts, starts + 4, meta, texts), Manifest(rows)


def machine() -> str:
    """Processor, cores, load and versions."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    extras = [each for each in ("avx2", "avx512f", "avx512_bf16") if any(each in line for line in lines)]
    cpu = f"{names[0] if names else platform.machine()} ({' '.join(extras)}), {os.cpu_count()} cores"
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("faiss-cpu", "numpy")]
    for name in ("hnswlib", "usearch", "lancedb"):
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"no {name}")
    load = f"load of other processes at the start {os.getloadavg()[0]:.1f}"
    return f"- device: {cpu}; {load}\n- versions: Python {platform.python_version()}, {', '.join(versions)}"


def number(row: Sequence[str]) -> int:
    """How many vectors a row is about."""
    return int(row[0].replace(",", ""))


def kept(page: Path, sizes: list[int]) -> list[list[Any]]:
    """Rows of a page that an earlier run wrote about other sizes."""
    lines = page.read_text().splitlines() if page.is_file() else []
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if re.match(r"\| +\d", line)]
    return [row for row in rows if len(row) == len(HEAD) and number(row) not in sizes]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=int, default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--peers", type=Path, help="folder with the packages of the others")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/retrieval.md"))
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peers:
        sys.path.append(str(arguments.peers))
    if arguments.one:
        size = Size(arguments.sizes[0])
        size.ours()
        size.peers()
        return
    before, rows = machine(), kept(arguments.out, arguments.sizes)
    for num in arguments.sizes:
        # Threads that wait must not spin where others want the processor.
        command = [sys.executable, __file__, "--one", "--sizes", str(num)]
        command += ["--peers", str(arguments.peers)] if arguments.peers else []
        environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
            assert process.stdout is not None
            for line in process.stdout:
                print(line, end="", flush=True)
                rows.append(json.loads(line))
        if process.returncode:
            sys.exit(process.returncode)
    text = "\n".join(
        [
            "# Indexes of clip vectors", "", f"- command: `python {shlex.join(sys.argv)}`", f"- commit: {commit()}",
            before, f"- vectors: {DIM} dimensions, made; {NUM_QUERIES} sentences and {NUM_QUERIES} clips of other "
            f"recordings, one at a time, one thread; a row's first numbers are medians; recall@{K} against float32",
            "- build: all threads, with training, measuring recall and writing; open: files in the page cache",
            "- columns named processor: time of the processor, which others that use it do not change", "",
            *markdown_table(HEAD, sorted(rows, key=number), right=HEAD[:1] + HEAD[2:]), "",
            "Made vectors: the numbers compare indexes on one machine, and say nothing about the quality of a model.",
            "",
        ]
    )  # fmt: skip
    write_text(arguments.out, text)
    print(text)


if __name__ == "__main__":
    main()
