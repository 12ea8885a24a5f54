"""Indexes of clip vectors side by side, in one run: build, open, bytes, time of a query, recall, adding an hour.

    pip install --target PEERS --no-deps ...            (the packages: see `retrieval_peers.py`)
    python benchmarks/retrieval.py --peers PEERS        (20 minutes on two cores)

Vectors are made (`made_embeddings.py`); queries are 500 clips of 100 other recordings and 500 sentences that no build
has seen, one at a time, on one thread. Each size is run in a process of its own. The page is written whole.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from made_embeddings import PER_RECORDING, World
from retrieval_peers import PEERS
from retrieval_timing import NUM_SLOW, SLOW_S, K, Search, Took, recall, seconds, size_mb, timed
from threadpoolctl import threadpool_limits

from surgvl.core.files import write_text
from surgvl.core.tables import markdown_table
from surgvl.core.version import commit
from surgvl.data.manifest import Manifest, VideoRow
from surgvl.embed.meta import Meta
from surgvl.embed.vectors import Texts, Vectors
from surgvl.retrieval.clip_index import ClipIndex
from surgvl.retrieval.index_config import IndexConfig
from surgvl.retrieval.recall import exact

DIM, NUM_QUERIES = 512, 500
# Ours by name: how vectors are stored, and the largest number of them that is measured.
OURS = {
    "flat": (IndexConfig(backend="flat"), 100_000),
    "hnsw": (IndexConfig(backend="hnsw"), 100_000),
    "ivf": (IndexConfig(backend="ivf"), 1_000_000),
    "ivf_pq, refined": (IndexConfig(backend="ivf_pq", refine=True), 1_000_000),
}
SIZES = [10_000, 50_000, 100_000, 1_000_000]
# Sentences by which a build measures itself.
NUM_KNOWN = 1000
HEAD = [
    "vectors", "index", "build s", "processor s", "open s", "MB", "share of float32", "sentence ms", "p95",
    "processor ms", "recall@10", "clip ms", "p95", "processor ms", "recall@10", "5 moments ms", "p95", "first ms",
    "+1 hour s",
]  # fmt: skip
EFFORTS = ["vectors", "index", "effort", "", "sentence ms", "recall@10", "clip ms", "recall@10"]


def tell(**what: list[Any]) -> None:
    """Print cells of a table as JSON, for the process that writes the page."""
    print(json.dumps(what), flush=True)


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
        self.known = world.texts(NUM_KNOWN)
        ids = np.arange(num)
        self.truth = {kind: exact(each, self.vectors, ids, K) for kind, each in self.queries.items()}

    def row(self, name: str, build: Took, opened: Took, megabytes: float, search: Search, more: list[str]) -> None:
        """Print a row as JSON."""
        share = megabytes / (4e-6 * DIM * self.num)
        cells: list[object] = [f"{self.num:,}", name, f"{build.wall_s:.1f}", f"{build.processor_s:.1f}"]
        cells += [f"{opened.wall_s:.2f}", f"{megabytes:.0f}", f"{100 * share:.0f} %"]
        for kind, queries in self.queries.items():
            found, spent = timed(search, queries)
            cells += [*spent, f"{recall(found, self.truth[kind]):.3f}"]
        tell(row=cells + more)

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
                        self.row(kind.name, build, opening, size_mb(Path(name)), search, [""] * 4)
                del peer

    def ours(self) -> None:
        """Measure index folders of each kind, with filters where they are the largest."""
        names = [f"recording{at // PER_RECORDING:04d}" for at in range(self.num)]
        whole = self.folder_of(names, self.vectors)
        for label, (config, largest) in OURS.items():
            if self.num > largest:
                continue
            with tempfile.TemporaryDirectory() as name:
                index = ClipIndex.create(Path(name) / "index", "made", "made", DIM, config=config)
                _, build = seconds(lambda: index.add_vectors(*whole))  # noqa: B023
                opened, opening = seconds(lambda: ClipIndex.open(Path(name) / "index"))  # noqa: B023
                megabytes = size_mb(Path(name))
                print(f"{self.num:,}: {opened.why}", file=sys.stderr, flush=True)
                more = self.folder_of(["one more"] * PER_RECORDING, self.hour)
                layers, table = opened.version.index, opened.version.table

                def search(query: Any, where: Any = None) -> Any:
                    return table.rows_of(layers.search(query[None], K, where)[1][0])  # noqa: B023

                def moments(query: Any) -> Any:
                    return opened.search(query, 5)[0].score  # noqa: B023

                with threadpool_limits(1):
                    _, first = seconds(lambda: moments(self.queries["sentence"][0]))  # noqa: B023
                    median, p95, _ = timed(moments, self.queries["sentence"])[1]
                    _, hour = seconds(lambda: index.add_vectors(*more))  # noqa: B023
                    last = [median, p95, f"{1000 * first.wall_s:.0f}", f"{hour.wall_s:.1f}"]
                    self.row(f"surgvl, {label}", build, opening, megabytes, search, last)
                    if label != "flat":
                        self.efforts(label, layers.layers[0], search)
                    if label == "ivf":
                        self.filtered(search, layers, table)

    def efforts(self, label: str, index: Any, search: Search) -> None:
        """Rows of the efforts up to the one after that which the build chose, and what each takes."""
        chosen, after = index.effort, False
        for effort in index.efforts():
            index.effort = effort
            cells = [f"{self.num:,}", f"surgvl, {label}", f"{effort:,}", "chosen" if effort == chosen else ""]
            for kind, queries in self.queries.items():
                found, spent = timed(search, queries)
                cells += [spent[0], f"{recall(found, self.truth[kind]):.3f}"]
            tell(effort=cells)
            if after:
                break
            after = effort == chosen
        index.effort = chosen

    def filtered(self, search: Any, layers: Any, table: Any) -> None:
        """Rows of searches among a share of the recordings."""
        for share in (0.01, 0.1, 0.5):
            wanted = np.random.default_rng(0).random(len(table.names)) < share
            wanted[0] = True
            rows = np.flatnonzero(wanted[table.recordings_of(np.arange(len(table)))])
            among = layers.select(table.ids[rows])
            cells: list[object] = [f"{self.num:,}", f"surgvl, ivf, {len(rows):,} by a filter", "", "", "", "", ""]
            for queries in self.queries.values():
                truth = exact(queries, self.vectors[rows], rows, K)
                found, spent = timed(lambda query: search(query, among), queries)  # noqa: B023
                cells += [*spent, f"{recall(found, truth):.3f}"]
            tell(row=[*cells, *[""] * 4])

    def folder_of(self, names: list[str], vectors: Any) -> tuple[Vectors, Manifest]:
        """A vectors folder in memory, and its manifest."""
        starts = np.arange(len(names), dtype=float) % PER_RECORDING
        meta = Meta(
            model="made", model_hash="made", dim=DIM, clip_s=4, stride_s=1, num_vectors=len(names), frozen=True,
            num_trainable=0,
        )  # fmt: skip
        made = ["made"] * NUM_KNOWN
        texts = Texts(self.known, made, [0] * NUM_KNOWN, made, [""] * NUM_KNOWN)
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
    for name in ("hnswlib", "usearch", "lancedb", "milvus-lite"):
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"no {name}")
    load = f"load of other processes at the start {os.getloadavg()[0]:.1f}"
    return f"- device: {cpu}; {load}\n- versions: Python {platform.python_version()}, {', '.join(versions)}"


def measured(num: int, peers: Path | None) -> Iterator[dict[str, list[Any]]]:
    """Cells of the tables for one number of vectors."""
    # Threads that wait must not spin where others want the processor.
    command = [sys.executable, __file__, "--one", "--sizes", str(num)]
    command += ["--peers", str(peers)] if peers else []
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            yield json.loads(line)
    if process.returncode:
        sys.exit(process.returncode)


def main() -> None:
    begun = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES)
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
    before = machine()
    tables: dict[str, list[list[Any]]] = {"row": [], "effort": []}
    for num in sorted(arguments.sizes):
        for cells in measured(num, arguments.peers):
            for table, row in cells.items():
                tables[table].append(row)
    shown = ["--peers PEERS"] * bool(arguments.peers)
    shown += ["--sizes", *map(str, arguments.sizes)] if arguments.sizes != SIZES else []
    text = "\n".join(
        [
            "# Indexes of clip vectors", "",
            f"- command: `{' '.join(['python benchmarks/retrieval.py', *shown])}`, "
            f"{(time.monotonic() - begun) / 60:.0f} minutes",
            f"- commit: {commit()}",
            before, f"- vectors: {DIM} dimensions, made; {NUM_QUERIES} sentences and {NUM_QUERIES} clips of other "
            f"recordings, one at a time, one thread; a row's first numbers are medians; recall@{K} against float32; "
            f"exact search that takes more than {1000 * SLOW_S:.0f} ms is measured on {NUM_SLOW} of them",
            "- build: all threads, with training, measuring recall and writing; open: files in the page cache",
            "- columns named processor: time of the processor, which others that use it do not change",
            "- 5 moments: a whole search, from the vector of a sentence to spans; first: the first one after opening",
            "", *markdown_table(HEAD, tables["row"], right=HEAD[:1] + HEAD[2:]), "",
            "## What being sure of the recall takes", "",
            f"A build takes the least effort (lists, or candidates in a graph) whose recall@{K} is at least 0.95 with "
            f"99 % confidence, on {NUM_KNOWN:,} sentences and {NUM_KNOWN:,} clips of its own; here it is measured on "
            "those above.", "",
            *markdown_table(EFFORTS, tables["effort"], right=[EFFORTS[0], *EFFORTS[2:3], *EFFORTS[4:]]), "",
            "Made vectors: the numbers compare indexes on one machine, and say nothing about the quality of a model.",
            "",
        ]
    )  # fmt: skip
    write_text(arguments.out, text)
    print(text)


if __name__ == "__main__":
    main()
