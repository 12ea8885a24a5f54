"""Video question answering by `surgvl serve` next to transformers' `generate`, with the same weights and prompts.

    python benchmarks/serving.py [--models phantom small] [--seed 0]

Closed questions have PitVQA's 59 answers (constrained choice in the server; `generate` over a trie of the same tokens
in the peer), open ones get 32 tokens. Every question has its own clip, except in the part on shared clips: 12 of
PitVQA's question types per clip, with and without vLLM's prefix and clip caches.
Peers get pixels, the server gets PNGs over HTTP and returns JSON; the sides run one after the other in one run. Weights
are random: the work is real, and the answers mean nothing. Open answers are compared token by token; a closed answer
may be tokenised differently by the server, which random weights often do. Writes benchmarks/results/serving.md.
"""

import argparse
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch
from serving_peers import (
    BATCH,
    MODELS,
    NEW_TOKENS,
    ClipQuestion,
    Timed,
    built,
    by_likelihood,
    draw_questions,
    in_process,
    parts,
)

from surgvl import __version__
from surgvl.core.files import write_text
from surgvl.core.tables import markdown_table
from surgvl.core.version import commit
from surgvl.data.formats.pitvis_qa import ANSWERS
from surgvl.metrics.answer import to_text
from surgvl.models.chat import Chat
from surgvl.models.checkpoint import load_model, save_model
from surgvl.serve.payloads import video_part
from surgvl.video.clip import Preprocess

IN_FLIGHT = (1, 8, 32)
PER_CLIP = 12
NO_CACHE = ("--no-enable-prefix-caching", "--mm-processor-cache-gb", "0")


@contextmanager
def serving(folder: Path, extra: Sequence[str]) -> Iterator[str]:
    """Run `surgvl serve chat` and yield its address."""
    argv = [sys.executable, "-m", "surgvl", "serve", "chat", "--model", str(folder), "--port", "0"]
    argv += ["--engine_args", "--max-model-len", "1024", "--max-num-seqs", "32", *extra]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        said = ""
        while "Ctrl-C" not in said:
            line = process.stdout.readline()
            if not line:
                sys.exit(f"the server did not start:\n{said}")
            said += line
        found = re.search(r"at (http://\S+)/v1", said)
        assert found
        yield found[1]
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def body(one: ClipQuestion, closed: bool) -> dict[str, Any]:
    """The JSON body of a request."""
    clip, question = one
    parts = [video_part(clip), {"type": "text", "text": question}]
    out: dict[str, Any] = {"model": "surgvl-chat", "messages": [{"role": "user", "content": parts}], "temperature": 0}
    if closed:
        choices = [blank + to_text(each) for each in ANSWERS for blank in ("", " ")]
        return {**out, "max_tokens": 160, "structured_outputs": {"choice": choices}}
    return {**out, "max_tokens": NEW_TOKENS, "min_tokens": NEW_TOKENS, "return_token_ids": True}


def served(url: str, todo: Sequence[ClipQuestion], closed: bool, in_flight: int) -> Timed:
    """Answers of the server; request bodies are built beforehand."""
    bodies = [body(one, closed) for one in todo]
    limits = httpx.Limits(max_connections=in_flight)
    with httpx.Client(base_url=url, timeout=600, limits=limits) as client, ThreadPoolExecutor(in_flight) as pool:

        def ask(each: dict[str, Any]) -> tuple[float, str]:
            begun = time.perf_counter()
            answer = client.post("/v1/chat/completions", json=each).raise_for_status().json()
            choice = answer["choices"][0]
            said = choice["message"]["content"].strip() if closed else str(choice["token_ids"])
            return time.perf_counter() - begun, said

        begun = time.perf_counter()
        found = list(pool.map(ask, bodies))
        return time.perf_counter() - begun, [took for took, _ in found], [said for _, said in found]


def equal(mine: Sequence[str], theirs: Sequence[str]) -> str:
    count = min(len(mine), len(theirs))
    return f"{sum(a == b for a, b in zip(mine, theirs, strict=False))} of {count}"


HEAD = ("way", "requests/s", "p50 ms", "p95 ms", "speed over one by one", "same answers")


def row(what: str, timed: Timed, base: float, same: str) -> list[str]:
    total, took, said = timed
    middle, late = np.percentile(took, [50, 95])
    rate = len(said) / total
    return [what, f"{rate:.2f}", f"{1000 * middle:.0f}", f"{1000 * late:.0f}", f"{rate / base:.2f}", same]


def without_server(
    chat: Chat, todo: Sequence[ClipQuestion], few: int, closed: bool
) -> tuple[list[list[str]], float, list[str]]:
    """Rows without a server, requests/s one by one, and the answers of batches."""
    one = in_process(chat, todo[:few], closed, 1)
    together = in_process(chat, todo, closed, BATCH)
    base = few / one[0]
    rows = [
        row("transformers, one by one", one, base, "-"),
        row(f"transformers, batches of {BATCH}", together, base, equal(together[2], one[2])),
    ]
    if closed:
        own = by_likelihood(chat, todo[:few])
        rows.append(row("surgvl in process, likelihoods", own, base, equal(own[2], one[2])))
    return rows, base, together[2]


def through(
    chat: Chat,
    url: str,
    todo: Sequence[ClipQuestion],
    few: int,
    closed: bool,
    seed: int,
    base: float,
    told: Sequence[str],
) -> tuple[list[list[str]], float]:
    """Rows of the server, and its rate at the highest load relative to one by one."""
    # Warm up with other clips than those that are timed.
    served(url, draw_questions(chat, 4, seed + 100 + closed), closed, 2)
    rows, times = [], 0.0
    for number, in_flight in enumerate(IN_FLIGHT):
        # Each level has its own clips, which no cache holds; those of the last level are the peers'.
        last = in_flight == IN_FLIGHT[-1]
        count = few if number == 0 else len(todo) // 2
        timed = served(
            url, todo if last else draw_questions(chat, count, seed + 10 + 20 * closed + number), closed, in_flight
        )
        same = equal(timed[2], told) if last else "-"
        rows.append(row(f"surgvl serve, {in_flight} in flight", timed, base, same))
        times = len(timed[2]) / timed[0] / base
    return rows, times


def measured(name: str, counts: tuple[int, int], place: Path, seed: int) -> str:
    """The section of one model."""
    folder = place / name
    made = built(name)
    clip = Preprocess(num_frames=made.ready.num_frames, fps=2.0, size_px=made.ready.size_px)
    save_model(made, folder, clip)
    chat, _ = load_model(folder)
    assert isinstance(chat, Chat)
    millions = [sum(p.numel() for p in part.parameters()) / 1e6 for part in (chat.encoder, chat.language)]
    few, many = counts
    todo = {closed: draw_questions(chat, many, seed + closed) for closed in (True, False)}
    made_of = parts(chat, todo[False][0])
    alone = {closed: without_server(chat, each, few, closed) for closed, each in todo.items()}
    shared = draw_questions(chat, 8 * PER_CLIP, seed + 7, PER_CLIP)
    tables: dict[bool, str] = {}
    times: dict[bool, float] = {}
    with serving(folder, ()) as url:
        for closed, each in todo.items():
            rows, base, told = alone[closed]
            more, times[closed] = through(chat, url, each, few, closed, seed, base, told)
            tables[closed] = "\n".join(markdown_table(HEAD, rows + more, right=HEAD[1:]))
        with_cache = served(url, shared, True, 8)
    with serving(folder, NO_CACHE) as url:
        served(url, draw_questions(chat, 4, seed + 200), True, 2)
        without = served(url, shared, True, 8)
    gain = without[0] / with_cache[0]
    floor = {
        False: made_of["clip"] + made_of["prompt"] + (NEW_TOKENS - 1) * made_of[f"token of {BATCH}"],
        True: made_of["clip"] + made_of["prompt"],
    }
    listed = ", ".join(f"{key} {value:.1f} ms" for key, value in made_of.items() if key != "prompt tokens")
    best = {closed: 1000 / alone[closed][1] / floor[closed] for closed in (True, False)}
    return (
        f"## {name}: encoder {millions[0]:.1f} M, language model {millions[1]:.1f} M parameters\n\n"
        f"Prompts have {made_of['prompt tokens']:.0f} tokens, 32 of them visual; clips "
        f"{clip.num_frames} x {clip.size_px} x {clip.size_px}.\n\n"
        f"Closed, {len(ANSWERS)} answers:\n\n{tables[True]}\n\n"
        f"Open, {NEW_TOKENS} tokens:\n\n{tables[False]}\n\n"
        f"Parts of an answer, in transformers in this process: {listed}. A server that computed only clip, prompt and "
        f"tokens, at that speed and with {BATCH} answers per step, would be {best[True]:.1f} times as fast as one by "
        f"one for closed questions (counting only clip and prompt) and {best[False]:.1f} times for open ones; "
        f"measured with {IN_FLIGHT[-1]} in flight: {times[True]:.1f} and {times[False]:.1f}.\n\n"
        f"One clip, {PER_CLIP} closed questions each, 8 in flight: {len(shared) / with_cache[0]:.2f} requests/s with "
        f"caches, {len(shared) / without[0]:.2f} without (`{' '.join(NO_CACHE)}`): **{gain:.1f} times**; "
        f"same answers {equal(with_cache[2], without[2])}.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--few", type=int, default=12, help="number of requests sent one by one")
    parser.add_argument("--many", type=int, default=96, help="number of requests at the highest load")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)
    import vllm

    with tempfile.TemporaryDirectory() as place:
        found = [measured(name, (args.few, args.many), Path(place), args.seed) for name in args.models]
    text = (
        "# Serving\n\nWritten by `python benchmarks/serving.py`. Random weights, float32; the rates are real, the "
        "answers mean nothing. Open answers are compared token by token with those of batches, closed ones by their "
        "words: the server may tokenise them differently, which random weights often do, so they need not be the "
        "same.\n\n"
        f"`{shlex.join(['python', 'benchmarks/serving.py', *sys.argv[1:]])}` at {commit()}: "
        f"surgvl {__version__}, vLLM {vllm.__version__}, torch {torch.__version__}, {os.cpu_count()} CPU cores, "
        f"load before the last part {os.getloadavg()[0]:.1f}.\n\n" + "\n".join(found)
    )
    out = Path(__file__).parent / "results" / "serving.md"
    write_text(out, text)
    print(text)


if __name__ == "__main__":
    main()
